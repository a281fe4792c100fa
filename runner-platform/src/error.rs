//! What a platform answers when it does not do what was asked.

use std::sync::Arc;

use runner_core::{
    error::{ErrorKind, Retry},
    id::{OperationId, ServiceName},
    service::Refused,
    spec::Faults,
};

use crate::NotOffered;

/// Why something that was asked for is not done. Nothing has changed then.
///
/// The first five are the caller's to mend, the others the environment's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The specification is not sound; all that is wrong with it.
    #[error("the specification is not sound")]
    Invalid(#[source] Faults),
    /// It asks for what would have no effect here; all of it.
    #[error("this platform does not do all that is asked for: {}", list(.0))]
    NotOffered(Vec<NotOffered>),
    /// There is no service of this name.
    #[error("there is no service `{0}`; see the list of services")]
    NoSuchService(String),
    /// There is one already, or one that a host name would not tell from it.
    #[error("the name `{name}` is taken by `{by}`; choose another, or update that service")]
    NameTaken {
        /// What was asked for.
        name: ServiceName,
        /// Whose it is.
        by: ServiceName,
    },
    /// Somebody else has that route.
    #[error("the route {route} is taken by `{by}`; choose another")]
    RouteTaken {
        /// Which.
        route: String,
        /// Who has it.
        by: String,
    },
    /// The service is not in a state for it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It cannot be remembered, so it is not done. What runs goes on.
    ///
    /// Of kind [`TimedOut`](ErrorKind::TimedOut) the journal had not answered yet: should it write
    /// the change after all, it is undone at once, and the name of a service that was to be created
    /// is taken until then. Only a crash between the two leaves it made.
    #[error("the change cannot be stored, so it was not made")]
    NotStored(#[source] runner_core::Error),
    /// A store, a registry, the backend or the disk.
    #[error(transparent)]
    Outside(#[from] runner_core::Error),
    /// The driver does not run, or not any more.
    #[error("the platform's driver does not run any more; what was accepted goes on when it does")]
    Stopped,
    /// The service's task has panicked. It is begun anew from what is on record.
    #[error("the task of the service panicked and is begun anew; ask again")]
    Panicked,
}

impl Error {
    /// Of which kind it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::NotOffered(_) => ErrorKind::Unsupported,
            Self::NoSuchService(_) => ErrorKind::NotFound,
            Self::NameTaken { .. } | Self::RouteTaken { .. } | Self::Refused(_) => {
                ErrorKind::Conflict
            }
            Self::NotStored(error) | Self::Outside(error) => error.kind(),
            Self::Stopped => ErrorKind::Unavailable,
            Self::Panicked => ErrorKind::Bug,
        }
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotStored(error) | Self::Outside(error) => error.retry(),
            Self::Refused(Refused::Busy | Refused::QueueFull) | Self::Stopped | Self::Panicked => {
                Retry::Backoff
            }
            _ => Retry::Never,
        }
    }
}

fn list(missing: &[NotOffered]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Why an operation did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationFailed {
    /// There was nothing to return to.
    #[error("it failed: {0}")]
    Failed(Arc<runner_core::deployment::Cause>),
    /// The service is as it was before.
    #[error("it failed and was rolled back: {0}")]
    RolledBack(Arc<runner_core::deployment::Cause>),
    /// The service's task panicked while it was under way. What is on record is carried on.
    #[error("the task of the service panicked: {0}")]
    Panicked(Arc<str>),
    /// The driver ended. The operation goes on when a driver runs again: ask for it by its id.
    #[error("the platform's driver ended before operation {0} did; it goes on with the next one")]
    Stopped(OperationId),
}
