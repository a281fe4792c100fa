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
    /// Return to a revision that was promoted before. The ten newest that were are kept.
    RollBack(RevisionNumber),
    /// Have no instance until it is resumed.
    Pause,
    /// Have instances again, of the revision that served last.
    Resume,
    /// Be gone. It takes the place of whatever is under way, at once.
    Delete,
    /// Give up the operation under way, and return to what was: of a deployment until it is
    /// promoted, of a resume to being paused.
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
    #[error("an operation is under way and another waits; wait, or cancel the one under way")]
    QueueFull,
    /// The state of the service does not allow it.
    #[error("the service is {0}, and this is not possible then")]
    State(Status),
    /// No operation is under way.
    #[error("no operation is under way, so there is nothing to cancel")]
    NothingToCancel,
    /// The deployment is promoted already: the way back is another one.
    #[error("the new revision is promoted already; roll back instead")]
    Promoted,
    /// The deployment failed, or was cancelled before.
    #[error("the deployment is on its way back already; its waits say until when")]
    TurnsBack,
    /// The service is being paused or deleted.
    #[error(
        "instances leave to pause or delete the service, which cannot be cancelled; resume it when \
         it is paused, or delete it"
    )]
    InstancesLeave,
    /// Nothing waits for approval.
    #[error("nothing waits for approval")]
    NothingToApprove,
    /// There is no such revision any more, or it never passed.
    #[error(
        "revision {0} is not kept (the ten newest that served are), or it never served; see the \
         list of revisions"
    )]
    UnknownRevision(RevisionNumber),
    /// That revision serves already.
    #[error("revision {0} serves already")]
    ServesAlready(RevisionNumber),
}
