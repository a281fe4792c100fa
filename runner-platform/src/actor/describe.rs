//! What a task says of its service.

use runner_core::{
    id::ServiceName,
    spec::{RevisionSpec, ServiceSettings, ServiceSpec},
};

use super::Actor;
use crate::describe::{Description, InstanceSummary};

impl Actor {
    pub(super) fn describe(&self) -> Description {
        let machine = &self.machine;
        let instances = machine.instances().iter();
        let counters = self.way.pool.counters();
        Description {
            name: self.name.clone(),
            id: machine.id(),
            created: self.created,
            status: machine.status(),
            spec: spec_of(&self.name, machine.wanted(), machine.settings()),
            operation: machine.operation(),
            operations: self.operations.iter().cloned().collect(),
            live: machine.live(),
            green: machine.green(),
            revisions: machine.revisions().map(|(number, _)| number).collect(),
            stage: machine.stage(),
            desired: machine.desired(),
            instances: instances
                .map(|(id, one)| InstanceSummary {
                    id: *id,
                    revision: one.revision,
                    phase: one.phase,
                    since: one.since.0,
                    address: one.address.0.clone(),
                    leases: self.way.pool.leases_of(*id),
                })
                .collect(),
            in_flight: counters.in_flight,
            waiting: counters.waiting,
            waits: machine.waits(),
            trouble: machine.trouble().cloned(),
            decision: self.decision(),
            list_trouble: self.list_trouble.clone(),
            unrouted: self.unrouted.clone(),
            storing_fails: self.outbox.fails(self.shared.clock.now()),
        }
    }
}

fn spec_of(name: &ServiceName, revision: &RevisionSpec, settings: &ServiceSettings) -> ServiceSpec {
    ServiceSpec::new(name.clone(), revision.clone(), settings.clone())
}
