//! What requests see: a pure reading of the state.

use super::{
    Phase,
    instance::Count,
    plan::Hold,
    rollout::{Course, Stage},
    sides::{Gate, Sides},
};
use crate::{
    admission::{Attainable, Closed, Expected, Instance, Snapshot, Weight, Why},
    id::RevisionNumber,
};

/// Which sides requests go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    live: bool,
    green: bool,
    /// Green's hundredths, where requests are dealt by weight.
    weight: Option<u8>,
}

impl Sides {
    /// What requests see now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let route = self.route();
        let live = self.live.as_ref().map(|side| side.revision);
        let green = self.rollout().map(|rollout| rollout.green.revision);
        let cap = self.policy.cap;
        let (of_live, of_green) = (live.filter(|_| route.live), green.filter(|_| route.green));
        let takes = |revision| Some(revision) == of_live || Some(revision) == of_green;
        let serving = if live.is_some() { live } else { green };
        let job = self.job();
        let mut count = Count::default();
        let mut snapshot = Snapshot::default();
        snapshot.instances.reserve_exact(self.instances.len());
        for (id, one) in self.instances.iter() {
            let revision = one.revision;
            if Some(revision) == serving && job.is_none_or(|job| job != *id) {
                count.add(one.phase);
                if let Some(expected) = self.expected(one) {
                    snapshot.expected.push(expected);
                }
            }
            let accepting = match one.phase {
                Phase::Ready => takes(revision),
                Phase::Draining | Phase::Unwell | Phase::Freezing { asked: false } => false,
                _ => continue,
            };
            if let Some(address) = &one.address.0 {
                let (id, address) = (*id, address.clone());
                let instance = Instance { id, address, revision, cap, ramp: None, accepting };
                snapshot.instances.push(instance);
            }
        }
        if let (Some(part), Some(live), Some(green)) = (route.weight, live, green) {
            snapshot.weights = vec![
                Weight { revision: live, weight: u32::from(100 - part) },
                Weight { revision: green, weight: u32::from(part) },
            ];
        }
        snapshot.attainable = self.attainable(serving, count);
        snapshot.closed = match self.gate {
            Gate::Open => None,
            Gate::Paused => Some(Closed::Paused),
            Gate::Ending => Some(Closed::Draining),
        };
        snapshot
    }

    /// What an instance will bring: one that starts, by when it was asked for and how long that
    /// takes; one that wakes at once, which is as good as there.
    fn expected(&self, one: &super::Instance) -> Option<Expected> {
        let at = match one.phase {
            Phase::Waking { proven: true } => Some(one.since.0),
            Phase::Starting { .. } | Phase::Proving => {
                one.begun.0.zip(self.start_up.0).map(|(begun, took)| begun + took)
            }
            Phase::Adopting | Phase::Waking { proven: false } => None,
            _ => return None,
        };
        Some(Expected { slots: self.policy.cap, at })
    }

    fn route(&self) -> Route {
        let live = Route { live: true, green: false, weight: None };
        let Course::Rolling(rollout) = &self.course else { return live };
        match rollout.stage {
            Stage::Shifting { step } => {
                let ready = self.count(rollout.green.revision).ready;
                let both = self.live_count().ready > 0 && ready > 0;
                // No more than it has the instances for: some of them may still be on their way.
                let able = (ready * 100 / self.needed().max(1)).clamp(1, 100) as u8;
                let weight = self.step_weight(step).map(|weight| weight.min(able));
                Route {
                    live: true,
                    green: true,
                    weight: weight.filter(|weight| both && *weight < 100),
                }
            }
            Stage::Replacing => Route { green: true, ..live },
            Stage::Baking => Route { live: false, green: true, weight: None },
            Stage::TurningBack => Route { green: self.green_is_needed(), ..live },
            Stage::PreDeploy { .. }
            | Stage::Emptying
            | Stage::Provisioning
            | Stage::Holding
            | Stage::Leaving => live,
        }
    }

    /// What could be started beyond what is coming, or why there is nothing.
    fn attainable(&self, serving: Option<RevisionNumber>, count: Count) -> Attainable {
        let Some(side) = serving.and_then(|revision| self.side(revision)) else {
            return Attainable::default();
        };
        let (present, asleep) = (count.staying(), count.standby);
        let slots = |instances: u32| Attainable::Slots {
            count: instances * self.policy.cap,
            after: self.start_up.0,
        };
        match side.pace.hold {
            _ if self.gate != Gate::Open => Attainable::Nothing(Why::Paused),
            // What sleeps is woken whatever else cannot be had.
            Some(_) if asleep > 0 => slots(asleep),
            Some(Hold::Exhausted) => Attainable::Nothing(Why::BackendExhausted),
            Some(Hold::Failed) if side.pace.failures >= self.policy.failure_limit => {
                Attainable::Nothing(Why::CrashLoop)
            }
            Some(Hold::Failed | Hold::Values) | None => {
                match self.policy.maximum.saturating_sub(present) + asleep {
                    0 => Attainable::Nothing(Why::AtMaximum),
                    more => slots(more),
                }
            }
        }
    }
}
