//! What the service machine hears and wants done.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Ending, Finished, Kind, Resolution, Status};
use crate::{
    deployment::{self, Cause},
    id::{OperationId, RevisionNumber},
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// To an instance, to the wish for instances, or to a timer of theirs.
    Fleet(deployment::Event),
    /// The stores and registries answered [`Effect::Resolve`].
    Resolved(RevisionNumber, Result<Arc<Resolution>, Arc<Cause>>),
    /// A timer of the service itself has run out.
    Due(Timer),
}

impl From<deployment::Event> for Event {
    fn from(event: deployment::Event) -> Self {
        Self::Fleet(event)
    }
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an effect that is not carried out leaves the machine waiting"]
#[expect(clippy::exhaustive_enums, reason = "an effect that is ignored is a bug")]
pub enum Effect {
    /// With an instance, or what requests see.
    Fleet(deployment::Effect),
    /// Volatile: find out what a revision runs and the values of its secrets, pinned where it is
    /// pinned already; keep the values in memory.
    Resolve(RevisionNumber),
    /// Durable: the operation is accepted. Only now may its caller be told.
    Accepted(OperationId, Kind),
    /// Durable: the operation is over.
    Finished(Finished),
    /// Durable: the service is gone; its record may go too.
    Retire,
    /// For people: kept in the history with whatever is committed next.
    Note(Notice),
}

impl Effect {
    /// Whether it has to wait for the journal's commit of the state that asks for it.
    pub const fn is_durable(&self) -> bool {
        match self {
            Self::Fleet(effect) => effect.is_durable(),
            Self::Accepted(..) | Self::Finished(_) | Self::Retire => true,
            Self::Resolve(_) | Self::Note(_) => false,
        }
    }
}

/// Which timer of the service itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Timer {
    /// A store or registry that did not answer is due to be asked again.
    ResolveAgain(RevisionNumber),
    /// A resume has taken as long as it may.
    Resume,
    /// Of the fleet.
    Fleet(deployment::Timer),
}

/// Something that people want to know about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// App Runner's event `AppRunner Service Status Change`.
    Status {
        /// What it was.
        from: Status,
        /// What it is.
        to: Status,
    },
    /// App Runner's event `AppRunner Service Operation Status Change`.
    Operation(Finished),
    /// What a revision is made from cannot be had; it is asked for again.
    NotResolved(RevisionNumber, Arc<Cause>),
}

impl Notice {
    /// A code that programs may match.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Status { .. } => "ServiceStatusChange",
            Self::Operation(finished) => finished.event_code(),
            Self::NotResolved(..) => "NotResolved",
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { from, to } => write!(f, "Service status changed from {from} to {to}"),
            Self::Operation(Finished { result, .. }) => match result {
                Ending::Succeeded => f.write_str("The operation completed successfully"),
                Ending::Failed(cause) => write!(f, "The operation failed: {cause}"),
                Ending::RollbackSucceeded(cause) => {
                    write!(f, "The operation failed and was rolled back: {cause}")
                }
            },
            Self::NotResolved(revision, cause) => {
                write!(f, "Revision {revision} cannot be resolved: {cause}")
            }
        }
    }
}
