//! Everything about a service, for people and for a support ticket.

use std::sync::Arc;

use serde::Serialize;

use super::{Kind, Service, Status};
use crate::{
    admission::Snapshot,
    deployment::{Cause, Instance, Stage, Timing, Wait},
    id::{InstanceId, OperationId, RevisionNumber, ServiceId},
};

/// Everything about a service at one moment. Serialises as JSON; holds no secret's value, since
/// the machine knows none.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Dump {
    /// Which service.
    pub service: ServiceId,
    /// App Runner's state.
    pub status: Status,
    /// The operation under way.
    pub operation: Option<(OperationId, Kind)>,
    /// The operation that waits for it.
    pub queued: Option<(OperationId, Kind)>,
    /// The revision that serves.
    pub live: Option<RevisionNumber>,
    /// The revision that is to serve.
    pub green: Option<RevisionNumber>,
    /// The revision that is kept for a return.
    pub warm: Option<RevisionNumber>,
    /// Where the deployment stands.
    pub stage: Option<Stage>,
    /// How long each stage of the last deployment took, the one under way included.
    pub timings: Vec<Timing>,
    /// How many instances are wanted.
    pub desired: u32,
    /// Every instance there is.
    pub instances: Vec<(InstanceId, Instance)>,
    /// What requests see.
    pub traffic: Snapshot,
    /// Everything that is waited for.
    pub waits: Vec<Wait>,
    /// Why it failed, the last time it did.
    pub trouble: Option<Arc<Cause>>,
}

impl Service {
    /// Everything about it.
    pub fn dump(&self) -> Dump {
        let instances = self.instances().iter();
        Dump {
            service: self.id(),
            status: self.status(),
            operation: self.operation(),
            queued: self.queued(),
            live: self.live(),
            green: self.green(),
            warm: self.warm(),
            stage: self.stage(),
            timings: self.timings().to_vec(),
            desired: self.desired(),
            instances: instances.map(|(id, one)| (*id, one.clone())).collect(),
            traffic: self.snapshot(),
            waits: self.waits(),
            trouble: self.trouble().cloned(),
        }
    }

    /// Everything that is waited for, with a name, a beginning, an end at the latest and what ends
    /// it.
    pub fn waits(&self) -> Vec<Wait> {
        let mut waits = self.sides.waits();
        waits.extend(self.waits_for_values());
        waits
    }
}
