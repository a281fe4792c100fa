//! Everything about a service, for people and for a support ticket.

use std::sync::Arc;

use serde::Serialize;

use super::{Kind, Service, Status, Timer, state::Step};
use crate::{
    admission::Snapshot,
    deployment::{Cause, EndsWith, Instance, Stage, Timing, Wait},
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
        let timers = self.timers();
        let at = |wanted: &dyn Fn(&Timer) -> bool| {
            timers.iter().filter(|(timer, _)| wanted(timer)).map(|(_, at)| *at).min()
        };
        // Who starts instances knows that values are missing, and here is known who asks for them.
        let asked = at(&|timer| matches!(timer, Timer::ResolveAgain(_)));
        for wait in waits.iter_mut().filter(|wait| wait.ends_with == EndsWith::Secrets) {
            wait.until = wait.until.or(asked);
        }
        if let Some(operation) = &self.operation {
            let (name, until) = match operation.step {
                Step::Resuming => ("instances to come back", at(&|timer| *timer == Timer::Resume)),
                Step::Pausing => ("instances to leave, to be paused", self.sides.gone_by()),
                Step::Deleting { .. } => ("instances to leave, for good", self.sides.gone_by()),
                // Their waits are those of the deployment, and of what is looked up.
                Step::Resolving(_) | Step::Rolling => return self.with_values(waits),
            };
            waits.push(Wait::new(name, operation.since.0, until, EndsWith::Instances));
        }
        self.with_values(waits)
    }

    fn with_values(&self, mut waits: Vec<Wait>) -> Vec<Wait> {
        waits.extend(self.waits_for_values());
        waits
    }
}
