//! What a service remembers beside its instances.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    deployment::Aside,
    id::{OperationId, RevisionNumber},
    secret::SecretVersion,
    source::ResolvedSource,
    spec::RevisionSpec,
    time::Timestamp,
};

/// App Runner's states of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Status {
    /// `CREATE_FAILED`
    CreateFailed,
    /// `RUNNING`
    Running,
    /// `DELETED`
    Deleted,
    /// `DELETE_FAILED`
    DeleteFailed,
    /// `PAUSED`
    Paused,
    /// `OPERATION_IN_PROGRESS`
    OperationInProgress,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateFailed => "CREATE_FAILED",
            Self::Running => "RUNNING",
            Self::Deleted => "DELETED",
            Self::DeleteFailed => "DELETE_FAILED",
            Self::Paused => "PAUSED",
            Self::OperationInProgress => "OPERATION_IN_PROGRESS",
        })
    }
}

/// What a service is when no operation is under way, or was before the one that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Life {
    /// Nothing has ever passed.
    New,
    /// The last attempt to have anything at all failed.
    CreateFailed,
    Running,
    Paused,
    DeleteFailed,
    Deleted,
}

/// What a user started and can follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) id: Aside<OperationId>,
    pub(crate) kind: Kind,
    pub(crate) step: Step,
    pub(crate) since: Aside<Timestamp>,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// What the revision is made from is looked up. Goes to `Rolling`.
    Resolving(RevisionNumber),
    /// The deployment is under way, or its end.
    Rolling,
    /// Instances leave: to be paused.
    Pausing,
    /// Instances leave: to be deleted.
    Deleting { failures: u8 },
    /// Instances come. Goes to `Resolving` where something was changed meanwhile.
    Resuming,
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    Roll(RevisionNumber),
    Pause,
    Resume,
    Delete,
}

/// An operation that waits for the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Next {
    pub(crate) id: Aside<OperationId>,
    pub(crate) kind: Kind,
    pub(crate) work: Work,
}

/// A revision: numbered, and its specification never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Revision {
    pub(crate) spec: Aside<Arc<RevisionSpec>>,
    /// What exactly it runs, once that was resolved.
    pub(crate) pinned: Aside<Option<Arc<Resolution>>>,
    /// Whether it was ever promoted.
    pub(crate) served: bool,
    pub(crate) values: Values,
}

/// Whether the shell has what it takes to start an instance of a revision: the pinned source and
/// the values of its secrets, which are never written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Values {
    /// Nobody has asked.
    Unknown,
    /// Asked for; so often it failed before.
    Asked {
        failures: u8,
    },
    /// To be asked for again, in time.
    Again {
        failures: u8,
        since: Aside<Timestamp>,
    },
    Known,
}

/// What resolving a revision found: the part of it that is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Resolution {
    /// What exactly runs.
    pub source: ResolvedSource,
    /// Which version of each secret, by the variable that it is for, where its store has versions.
    pub secrets: BTreeMap<String, SecretVersion>,
}

impl Resolution {
    /// A source, and no secrets that have versions.
    pub const fn of(source: ResolvedSource) -> Self {
        Self { source, secrets: BTreeMap::new() }
    }
}
