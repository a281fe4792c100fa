//! Both sides and all their instances: the hub that events go through.
//!
//! One event is one pass: what it says is noted at its instance, then the course is advanced as
//! far as it goes, then each side is brought towards its target, then requests are told. The last
//! three look at nothing but the state, so it never matters in which order two events came.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Aside, Effect, Event, Fleet, Guard, Phase, Policy, Side, Timing,
    guard::Guards,
    instance::Count,
    plan::{Hold, Pace},
    rollout::{Course, Rollout},
};
use crate::{
    id::{InstanceId, RevisionNumber, ServiceId},
    time::Timestamp,
};

/// Blue, green, and every instance of either.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Sides {
    pub(super) guards: Guards,
    pub(super) service: Aside<ServiceId>,
    /// The number of the next instance.
    pub(super) next: Aside<u64>,
    pub(super) instances: Fleet,
    /// Blue: what was promoted last.
    pub(super) live: Option<Side>,
    /// What was promoted before it, while it is kept for a return.
    pub(super) warm: Option<Warm>,
    pub(super) course: Course,
    pub(super) desired: u32,
    pub(super) gate: Gate,
    pub(super) policy: Arc<Policy>,
    pub(super) listing: Listing,
    /// How long a start takes until it is ready, as learned.
    #[serde(default)]
    pub(super) start_up: Aside<Option<Duration>>,
    /// When each stage of the last deployment began, and what ended it.
    #[serde(default)]
    pub(super) timings: Aside<Arc<Vec<Timing>>>,
}

/// The revision that is kept for a return.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Warm {
    pub(super) revision: RevisionNumber,
    pub(super) since: Aside<Timestamp>,
}

/// Whether there is to be any instance at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gate {
    Open,
    Paused,
    Ending,
}

/// Whether a list is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(super) number: Aside<u64>,
    pub(super) awaited: bool,
    /// Whether something changed since it was asked for.
    pub(super) again: bool,
    pub(super) since: Aside<Timestamp>,
}

impl Sides {
    pub(crate) fn new(
        service: ServiceId,
        policy: Arc<Policy>,
        desired: u32,
        now: Timestamp,
    ) -> Self {
        Self {
            guards: Guards::default(),
            service: Aside(service),
            next: Aside(1),
            instances: Fleet::default(),
            live: None,
            warm: None,
            course: Course::Steady,
            desired,
            gate: Gate::Open,
            policy,
            listing: Listing { number: Aside(0), awaited: false, again: false, since: Aside(now) },
            start_up: Aside(None),
            timings: Aside(Arc::default()),
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn leave_out(&mut self, guard: Guard) {
        self.guards = Guards::without(guard);
    }

    /// Notes what an event says, then does all that follows.
    pub(crate) fn handle(&mut self, event: Event, now: Timestamp, effects: &mut Vec<Effect>) {
        let from = effects.len();
        match event {
            // It decides what goes first when something goes, and moves nothing by itself.
            Event::Load(loads) => return self.loaded(&loads),
            Event::Begun(id) => self.begun(id, now),
            Event::Started(id, address) => self.started(id, address, now, effects),
            Event::StartFailed(id, cause) => self.start_failed(id, cause, now, effects),
            Event::BecameReady(id) => self.became_ready(id, now),
            Event::BecameUnwell(id) => self.became_unwell(id, now),
            Event::BecameDead(id, cause) => self.became_dead(id, cause, now, effects),
            Event::TooSlow(id, cause) => self.too_slow(id, cause, now, effects),
            Event::BecameIdle(id) => self.became_idle(id, now, effects),
            Event::Drained { instance, asked } => self.drained(instance, asked, now, effects),
            Event::Ended(id, exit) => self.ended(id, exit, now, effects),
            Event::Stopped(id) => self.stopped(id),
            Event::StopFailed(id, cause) => self.stop_failed(id, cause, now, effects),
            Event::Frozen(id) => self.frozen(id, now),
            Event::FreezeFailed(id) => self.freeze_failed(id, now, effects),
            Event::Thawed(id) => self.thawed(id, now, effects),
            Event::ThawFailed(id, cause) => self.thaw_failed(id, cause, now, effects),
            Event::Changed => self.changed(now, effects),
            Event::Listed { asked, found } => self.listed(asked, found, now, effects),
            Event::ListFailed { asked } => self.list_failed(asked, now),
            Event::Desired(count) => self.desired = count.min(self.policy.maximum),
            Event::Demand => self.demand(now, effects),
            Event::Measured { green, blue } => self.measured(green, blue, now, effects),
            Event::Approved => self.approve(),
            Event::Due(timer) => self.due(timer, now, effects),
        }
        self.settle(from, now, effects);
    }

    /// Does all that follows from the state as it is. What requests see goes before everything
    /// that was asked for since `from`: nothing is stopped, drained or frozen that they still see.
    pub(crate) fn settle(&mut self, from: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        loop {
            while self.advance(now, effects) {}
            if !self.keep(now, effects) {
                break;
            }
        }
        effects.insert(from, Effect::Publish(self.snapshot()));
    }

    /// Sets what is read at each decision.
    pub(crate) fn set_policy(&mut self, policy: Arc<Policy>) {
        self.desired = self.desired.min(policy.maximum);
        self.policy = policy;
    }

    pub(crate) fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
        if gate != Gate::Open {
            // Nobody returns to what is paused or deleted.
            self.warm = None;
        }
    }

    /// Whether instances are wanted at all.
    pub(crate) fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }

    /// What serves begins anew: its failures are of another time.
    pub(crate) fn forgive(&mut self) {
        if let Some(live) = &mut self.live {
            // Whoever lacks the values of secrets goes on lacking them.
            let hold = live.pace.hold.filter(|hold| *hold == Hold::Values);
            live.pace = Pace { hold, ..Pace::default() };
        }
    }

    /// How long all instances of what serves may take until they are ready.
    pub(crate) fn come_back_within(&self) -> Duration {
        self.live.as_ref().map_or(Duration::ZERO, |live| self.policy.provision(live))
    }

    pub(crate) fn instances(&self) -> &Fleet {
        &self.instances
    }

    pub(crate) fn live(&self) -> Option<&Side> {
        self.live.as_ref()
    }

    pub(crate) fn warm(&self) -> Option<RevisionNumber> {
        self.warm.as_ref().map(|warm| warm.revision)
    }

    pub(crate) fn rollout(&self) -> Option<&Rollout> {
        match &self.course {
            Course::Rolling(rollout) => Some(rollout),
            Course::Steady | Course::Leaving => None,
        }
    }

    pub(crate) fn course(&self) -> &Course {
        &self.course
    }

    /// How long each stage of the last deployment took.
    pub(crate) fn timings(&self) -> &[Timing] {
        &self.timings
    }

    pub(crate) fn desired(&self) -> u32 {
        self.desired
    }

    pub(crate) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The side of a revision that is blue or green.
    pub(crate) fn side_mut(&mut self, revision: RevisionNumber) -> Option<&mut Side> {
        let live = self.live.as_mut().filter(|side| side.revision == revision);
        let green = match &mut self.course {
            Course::Rolling(rollout) => {
                Some(&mut rollout.green).filter(|side| side.revision == revision)
            }
            Course::Steady | Course::Leaving => None,
        };
        live.or(green)
    }

    pub(crate) fn side(&self, revision: RevisionNumber) -> Option<&Side> {
        let green = self.rollout().map(|rollout| &rollout.green);
        [self.live.as_ref(), green].into_iter().flatten().find(|side| side.revision == revision)
    }

    pub(crate) fn count(&self, revision: RevisionNumber) -> Count {
        let job = self.job();
        let mut count = Count::default();
        for (id, instance) in self.instances.iter() {
            if instance.revision == revision && job.is_none_or(|job| job != *id) {
                count.add(instance.phase);
            }
        }
        count
    }

    pub(crate) fn live_count(&self) -> Count {
        self.live.as_ref().map_or_else(Count::default, |side| self.count(side.revision))
    }

    /// What runs the pre-deploy command, while its end is waited for.
    pub(super) fn job(&self) -> Option<InstanceId> {
        match self.rollout()?.stage {
            super::Stage::PreDeploy { job } => Some(*job),
            _ => None,
        }
    }

    pub(super) fn phase(&self, id: InstanceId) -> Option<Phase> {
        self.instances.get(&id).map(|instance| instance.phase)
    }

    pub(super) fn set(&mut self, id: InstanceId, phase: Phase, now: Timestamp) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.phase = phase;
            instance.since = Aside(now);
        }
    }

    pub(crate) fn holds_guard(&self, guard: Guard) -> bool {
        self.guards.hold(guard)
    }

    pub(super) fn holds(&self, guard: Guard) -> bool {
        self.guards.hold(guard)
    }
}
