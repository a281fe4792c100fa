//! What a service is at this moment, for whoever asks.

use std::sync::Arc;

use super::{Kind, Resolution, Service, Status, state::Life};
use crate::{
    admission::Snapshot,
    deployment::{self, Cause, Course, Fleet},
    id::{OperationId, RevisionNumber, ServiceId},
    spec::{RevisionSpec, ServiceSettings},
};

impl Service {
    /// App Runner's state.
    pub fn status(&self) -> Status {
        match self.life {
            _ if self.operation.is_some() => Status::OperationInProgress,
            Life::New => Status::OperationInProgress,
            Life::CreateFailed => Status::CreateFailed,
            Life::Running => Status::Running,
            Life::Paused => Status::Paused,
            Life::DeleteFailed => Status::DeleteFailed,
            Life::Deleted => Status::Deleted,
        }
    }

    /// What requests see now.
    pub fn snapshot(&self) -> Snapshot {
        self.sides.snapshot()
    }

    /// Which service it is.
    pub fn id(&self) -> ServiceId {
        *self.id
    }

    /// The settings in effect.
    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// The specification of a revision that is kept.
    pub fn revision(&self, number: RevisionNumber) -> Option<&RevisionSpec> {
        self.revisions.get(&number).map(|revision| &**revision.spec)
    }

    /// What exactly a revision runs, once that was resolved. It stays so for good.
    pub fn resolution(&self, number: RevisionNumber) -> Option<&Arc<Resolution>> {
        self.revisions.get(&number)?.pinned.0.as_ref()
    }

    /// The number and the specification of every revision that is kept.
    pub fn revisions(&self) -> impl Iterator<Item = (RevisionNumber, &Arc<RevisionSpec>)> {
        self.revisions.iter().map(|(number, revision)| (*number, &*revision.spec))
    }

    /// What the next revision is made from.
    pub fn wanted(&self) -> &Arc<RevisionSpec> {
        &self.wanted
    }

    /// The revision that was promoted last.
    pub fn live(&self) -> Option<RevisionNumber> {
        self.sides.live().map(|side| side.revision)
    }

    /// Where the deployment that is under way stands.
    pub fn stage(&self) -> Option<deployment::Stage> {
        match self.sides.course() {
            Course::Steady => None,
            Course::Rolling(rollout) => Some(rollout.stage),
            Course::Leaving => Some(deployment::Stage::Leaving),
        }
    }

    /// How long each stage of the last deployment took, the one under way included.
    pub fn timings(&self) -> &[deployment::Timing] {
        self.sides.timings()
    }

    /// The revision that is to take the place of the one that serves.
    pub fn green(&self) -> Option<RevisionNumber> {
        self.sides.rollout().map(|rollout| rollout.green.revision)
    }

    /// The revision that is kept for a return.
    pub fn warm(&self) -> Option<RevisionNumber> {
        self.sides.warm()
    }

    /// The operation that is under way.
    pub fn operation(&self) -> Option<(OperationId, Kind)> {
        self.operation.as_ref().map(|operation| (*operation.id, operation.kind))
    }

    /// The operation that waits for the one under way.
    pub fn queued(&self) -> Option<(OperationId, Kind)> {
        self.next.as_ref().map(|next| (*next.id, next.kind))
    }

    /// How many instances are wanted.
    pub fn desired(&self) -> u32 {
        self.sides.desired()
    }

    /// Every instance there is.
    pub fn instances(&self) -> &Fleet {
        self.sides.instances()
    }

    /// Why it failed, the last time it did.
    pub fn trouble(&self) -> Option<&Arc<Cause>> {
        self.trouble.as_ref()
    }
}
