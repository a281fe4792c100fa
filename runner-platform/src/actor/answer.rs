//! What calls to the outside come to.

use std::{collections::BTreeMap, sync::Arc};

use runner_core::{
    Error,
    backend::Started,
    deployment::{self, Cause},
    id::{InstanceId, RevisionNumber},
    secret::Secret,
    service::{Event, Resolution},
    source::ResolvedSource,
};
use tokio::sync::OwnedSemaphorePermit;

/// What a call came to.
pub(super) enum Answer {
    Event(Event),
    /// The backend could not say what is there.
    ListFailed(u64, Error),
    FreezeFailed(InstanceId, Error),
    /// A start has its place in the budget; none where there is no budget any more.
    Turn(InstanceId, Option<OwnedSemaphorePermit>),
    Started {
        instance: InstanceId,
        started: Started,
        permit: Option<OwnedSemaphorePermit>,
    },
    Resolved(RevisionNumber, Box<Resolved>),
    TooSlow(InstanceId, Arc<Cause>),
    /// What answers its probes is the instance itself.
    Proven(InstanceId),
}

impl Answer {
    /// Whether it says what there is, and not that something has changed.
    pub(super) fn is_list(&self) -> bool {
        use deployment::Event::Listed;
        matches!(self, Self::ListFailed(..) | Self::Event(Event::Fleet(Listed { .. })))
    }
}

/// Everything that it takes to start an instance.
pub(super) struct Values {
    pub(super) source: ResolvedSource,
    pub(super) secrets: BTreeMap<String, Secret>,
}

/// What was found, and the part of it that is written down.
pub(super) type Resolved = Result<(Values, Arc<Resolution>), Arc<Cause>>;
