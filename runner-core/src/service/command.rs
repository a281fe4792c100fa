//! What a user may ask of a service, and why it may be refused.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Status;
use crate::{
    deployment::Cause,
    id::{OperationId, RevisionNumber},
    spec::{RevisionSpec, ServiceSettings},
};

/// What a user asks for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Deploy once more what is specified now: a tag that moved, secrets that were rotated.
    Deploy,
    /// Change what is specified. A change of settings applies at once, one of the revision deploys.
    Update {
        /// What revisions are made from, from now on.
        revision: Option<Arc<RevisionSpec>>,
        /// The settings, from now on.
        settings: Option<Arc<ServiceSettings>>,
    },
    /// Return to a revision that was promoted before.
    RollBack(RevisionNumber),
    /// Have no instance until it is resumed.
    Pause,
    /// Have instances again, of the revision that served last.
    Resume,
    /// Be gone.
    Delete,
    /// Give up the operation under way, and return to what was.
    Cancel,
    /// Let the requests move.
    Approve,
}

/// Which kind of operation it is, as App Runner counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Kind {
    /// `CREATE_SERVICE`
    CreateService,
    /// `START_DEPLOYMENT`, a roll-back included.
    StartDeployment,
    /// `UPDATE_SERVICE`
    UpdateService,
    /// `PAUSE_SERVICE`
    PauseService,
    /// `RESUME_SERVICE`
    ResumeService,
    /// `DELETE_SERVICE`
    DeleteService,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(clippy::exhaustive_enums, reason = "who waits for it has to know each")]
pub enum Ending {
    /// It did what was asked.
    Succeeded,
    /// It did not, and there was nothing to return to.
    Failed(Arc<Cause>),
    /// It did not, and the service is as it was before.
    RollbackSucceeded(Arc<Cause>),
}

/// An operation that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Which one.
    pub operation: OperationId,
    /// Of which kind it was.
    pub kind: Kind,
    /// How it ended.
    pub result: Ending,
}

impl Finished {
    /// The code of App Runner's event about it.
    pub const fn event_code(&self) -> &'static str {
        let well = matches!(self.result, Ending::Succeeded);
        match (self.kind, well) {
            (Kind::CreateService, true) => "CreateServiceCompletedSuccessfully",
            (Kind::CreateService, false) => "CreateServiceFailed",
            (Kind::StartDeployment, true) => "DeploymentCompletedSuccessfully",
            (Kind::StartDeployment, false) => "DeploymentFailed",
            (Kind::UpdateService, true) => "UpdateServiceCompletedSuccessfully",
            (Kind::UpdateService, false) => "UpdateServiceFailed",
            (Kind::PauseService, true) => "PauseServiceCompletedSuccessfully",
            (Kind::PauseService, false) => "PauseServiceFailed",
            (Kind::ResumeService, true) => "ResumeServiceCompletedSuccessfully",
            (Kind::ResumeService, false) => "ResumeServiceFailed",
            (Kind::DeleteService, true) => "DeleteServiceCompletedSuccessfully",
            (Kind::DeleteService, false) => "DeleteServiceFailed",
        }
    }
}

/// Why a command was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Another operation is under way, and the settings say that it goes first.
    #[error(
        "another operation is under way; wait for it, cancel it, or set deployment.concurrent_edits"
    )]
    Busy,
    /// One is under way and another waits already.
    #[error("an operation is under way and another waits; cancel one of them first")]
    QueueFull,
    /// The state of the service does not allow it.
    #[error("the service is {0}, and this is not possible then")]
    State(Status),
    /// There is nothing to cancel, or it is promoted already.
    #[error("there is nothing under way that can be cancelled; roll back instead")]
    NothingToCancel,
    /// Nothing waits for approval.
    #[error("nothing waits for approval")]
    NothingToApprove,
    /// There is no such revision any more, or it never passed.
    #[error("revision {0} is not kept, or it never served; see the list of revisions")]
    UnknownRevision(RevisionNumber),
    /// That revision serves already.
    #[error("revision {0} serves already")]
    ServesAlready(RevisionNumber),
}
