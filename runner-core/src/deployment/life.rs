//! What happens to one instance. Each arm says what it may become; everything else is too late, or
//! told twice, and changes nothing.

use std::sync::Arc;

use super::{
    Aside, Cause, CauseCode, Effect, Guard, Instance, Notice, Phase,
    plan::Hold,
    rollout::{Course, Stage},
    sides::Sides,
};
use crate::{
    address::Address,
    backend::{Exit, ExitStatus},
    id::{InstanceId, RevisionNumber},
    time::Timestamp,
};

impl Sides {
    /// Takes a number and asks for a start.
    pub(super) fn start(
        &mut self,
        revision: RevisionNumber,
        job: bool,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> InstanceId {
        let id = self.service.instance(*self.next);
        *self.next += 1;
        let mut instance = Instance::new(revision, Phase::Starting { asked: true }, now);
        instance.begun = Aside(Some(now));
        self.instances.insert(id, instance);
        effects.push(Effect::Start { instance: id, revision, job });
        id
    }

    /// Starting, from now on. One that was asked for again after a restart has no beginning to
    /// learn from, and gets none.
    pub(super) fn begun(&mut self, id: InstanceId, now: Timestamp) {
        if let Some(instance) = self.instances.get_mut(&id)
            && instance.phase == (Phase::Starting { asked: true })
        {
            instance.since = Aside(now);
            instance.begun = Aside(instance.begun.0.map(|_| now));
        }
    }

    /// Gives an instance up: what may have requests drains first.
    pub(super) fn drop_instance(&mut self, id: InstanceId, now: Timestamp, fx: &mut Vec<Effect>) {
        match self.phase(id) {
            // Ready | Unwell | Freezing => Draining
            Some(Phase::Ready | Phase::Unwell | Phase::Freezing { asked: false })
                if self.holds(Guard::DrainBeforeStop) =>
            {
                self.set(id, Phase::Draining, now);
                self.drain(id, fx);
            }
            Some(Phase::Draining | Phase::Stopping { .. }) | None => {}
            Some(_) => self.stop(id, now, fx),
        }
    }

    /// Asks when its requests are finished.
    fn drain(&mut self, id: InstanceId, effects: &mut Vec<Effect>) {
        if let Some(instance) = self.instances.get_mut(&id) {
            *instance.drains += 1;
            effects.push(Effect::Drain { instance: id, asked: *instance.drains });
        }
    }

    pub(super) fn stop(&mut self, id: InstanceId, now: Timestamp, effects: &mut Vec<Effect>) {
        self.set(id, Phase::Stopping { asked: true }, now);
        effects.push(Effect::Stop { instance: id });
    }

    /// Starting => (Proving | Running)
    pub(super) fn started(
        &mut self,
        id: InstanceId,
        address: Option<Address>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let (job, awaited) = (self.job() == Some(id), self.listing.awaited);
        let Some(phase) = self.phase(id) else { return };
        let waited_for = phase == Phase::Starting { asked: true };
        // An answer that was held up must not bring back what is being stopped.
        if !waited_for && self.holds(Guard::StartedWhileStarting) {
            return;
        }
        self.set(id, if job { Phase::Running } else { Phase::Proving }, now);
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.address = Aside(address);
            instance.too_new_to_miss = awaited;
        }
        if !job {
            effects.push(Effect::Probe(id));
        }
    }

    /// Starting => Stopping: whoever says that it failed may be wrong about that too.
    pub(super) fn start_failed(
        &mut self,
        id: InstanceId,
        cause: Arc<Cause>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.phase(id) == Some(Phase::Starting { asked: true }) {
            self.failed(id, cause, now, effects);
            match self.holds(Guard::StopAfterFailedStart) {
                true => self.stop(id, now, effects),
                false => self.instances.remove(&id),
            }
        }
    }

    /// (Proving | Unwell) => Ready
    pub(super) fn became_ready(&mut self, id: InstanceId, now: Timestamp) {
        match self.phase(id) {
            Some(Phase::Proving) => {
                self.learn_start(id, now);
                self.set(id, Phase::Ready, now);
                self.came_ready(id, now);
            }
            Some(Phase::Unwell) => self.set(id, Phase::Ready, now),
            Some(phase) if phase.is_leaving() && !self.holds(Guard::ReadyWhileProving) => {
                self.set(id, Phase::Ready, now);
            }
            _ => {}
        }
    }

    /// There was room for it, so there may be for another. On the way back each of blue's that
    /// comes is worth a longer wait, as long as blue does not fail over and over.
    fn came_ready(&mut self, id: InstanceId, now: Timestamp) {
        let Some(revision) = self.instances.get(&id).map(|instance| instance.revision) else {
            return;
        };
        if let Some(side) = self.side_mut(revision) {
            side.pace.exhausted = Aside(0);
        }
        let limit = self.policy.failure_limit;
        let comes = |live: &super::Side| live.revision == revision && live.pace.failures < limit;
        if self.live.as_ref().is_some_and(comes) {
            self.rollout_mut(|rollout| {
                if rollout.stage == Stage::TurningBack {
                    rollout.since = Aside(now);
                }
            });
        }
    }

    /// From asked for to ready, averaged over the last few starts: one that met a cold cache is
    /// not taken for what all are like.
    fn learn_start(&mut self, id: InstanceId, now: Timestamp) {
        let begun = self.instances.get(&id).and_then(|instance| instance.begun.0);
        if let Some(took) = begun.map(|begun| now.since(begun)) {
            let before = self.start_up.0.unwrap_or(took);
            self.start_up = Aside(Some((before * 3 + took) / 4));
        }
    }

    /// Ready => Unwell
    pub(super) fn became_unwell(&mut self, id: InstanceId, now: Timestamp) {
        if self.phase(id) == Some(Phase::Ready) {
            self.set(id, Phase::Unwell, now);
        }
    }

    /// (Proving | Ready | Unwell) => (Stopping | Draining): it will not recover, so nobody waits
    /// for it, and its replacement is held back as after any failure.
    pub(super) fn became_dead(
        &mut self,
        id: InstanceId,
        cause: Arc<Cause>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.phase(id), Some(Phase::Proving | Phase::Ready | Phase::Unwell)) {
            self.failed(id, cause, now, effects);
            self.drop_instance(id, now, effects);
        }
    }

    /// Ready => Freezing, where enough others stay awake and no deployment counts on it.
    pub(super) fn became_idle(&mut self, id: InstanceId, now: Timestamp, fx: &mut Vec<Effect>) {
        let Some(instance) = self.instances.get(&id) else { return };
        let kept_warm = self.warm() == Some(instance.revision);
        let awake = self.count(instance.revision).ready > self.policy.minimum_active;
        let at_rest = !matches!(self.course, Course::Rolling(_));
        if instance.phase == Phase::Ready && self.policy.standby && at_rest && (awake || kept_warm)
        {
            match self.holds(Guard::DrainBeforeFreeze) {
                true => {
                    self.set(id, Phase::Freezing { asked: false }, now);
                    self.drain(id, fx);
                }
                false => {
                    self.set(id, Phase::Freezing { asked: true }, now);
                    fx.push(Effect::Freeze(id));
                }
            }
        }
    }

    /// Draining => Stopping, Freezing => Freezing and asked
    pub(super) fn drained(
        &mut self,
        id: InstanceId,
        asked: u64,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(instance) = self.instances.get(&id) else { return };
        // It may have been given requests again since it was asked the time before.
        if asked != *instance.drains && self.holds(Guard::DrainedAsAsked) {
            return;
        }
        match self.phase(id) {
            Some(Phase::Draining) => self.stop(id, now, effects),
            Some(Phase::Freezing { asked: false }) => {
                self.set(id, Phase::Freezing { asked: true }, now);
                effects.push(Effect::Freeze(id));
            }
            _ => {}
        }
    }

    /// Anything => gone. What was not being stopped counts as a failure of its revision.
    pub(super) fn ended(
        &mut self,
        id: InstanceId,
        exit: Exit,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.job() == Some(id) {
            return self.job_ended(id, exit, now, effects);
        }
        let Some(phase) = self.phase(id) else { return };
        if !phase.is_leaving() {
            let was_ready = !matches!(
                phase,
                Phase::Starting { .. } | Phase::Proving | Phase::Adopting | Phase::Running
            );
            let cause = Arc::new(Cause::from_exit(exit, was_ready).of(id));
            self.failed(id, cause, now, effects);
        }
        self.instances.remove(&id);
    }

    fn job_ended(&mut self, id: InstanceId, exit: Exit, now: Timestamp, fx: &mut Vec<Effect>) {
        self.instances.remove(&id);
        let code = match exit.status {
            ExitStatus::Code(0) => return self.enter_provisioning(now, fx),
            ExitStatus::Unknown => CauseCode::PreDeployUnknown,
            _ => CauseCode::PreDeployFailed,
        };
        let cause = Cause::new(code).of(id).with(super::Evidence::Exit(exit));
        self.turn_back(Arc::new(cause), now, fx);
    }

    /// Stopping => gone
    pub(super) fn stopped(&mut self, id: InstanceId) {
        if matches!(self.phase(id), Some(Phase::Stopping { .. })) {
            self.instances.remove(&id);
        }
    }

    /// Stopping => Stopping and to be asked again
    pub(super) fn stop_failed(
        &mut self,
        id: InstanceId,
        cause: Arc<Cause>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.phase(id) == Some(Phase::Stopping { asked: true }) {
            if self.holds(Guard::RetryStop) {
                self.set(id, Phase::Stopping { asked: false }, now);
            }
            effects.push(Effect::Note(Notice::StopFailed(id, cause)));
        }
    }

    /// Freezing => Standby
    pub(super) fn frozen(&mut self, id: InstanceId, now: Timestamp) {
        if self.phase(id) == Some(Phase::Freezing { asked: true }) {
            self.set(id, Phase::Standby, now);
        }
    }

    /// Freezing => Ready: it runs as before, on the verdict that it had.
    pub(super) fn freeze_failed(&mut self, id: InstanceId, now: Timestamp, fx: &mut Vec<Effect>) {
        if matches!(self.phase(id), Some(Phase::Freezing { .. })) {
            self.set(id, Phase::Ready, now);
            fx.push(Effect::Probe(id));
        }
    }

    /// Waking => Ready at once where it was proven, else Proving
    pub(super) fn thawed(&mut self, id: InstanceId, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(Phase::Waking { proven }) = self.phase(id) {
            self.set(id, if proven { Phase::Ready } else { Phase::Proving }, now);
            effects.push(Effect::Probe(id));
        }
    }

    /// Waking => Stopping
    pub(super) fn thaw_failed(
        &mut self,
        id: InstanceId,
        cause: Arc<Cause>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.phase(id), Some(Phase::Waking { .. })) {
            self.failed(id, cause, now, effects);
            self.stop(id, now, effects);
        }
    }

    pub(super) fn wake(&mut self, id: InstanceId, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.phase(id) {
            Some(Phase::Standby) => {
                self.set(id, Phase::Waking { proven: true }, now);
                effects.push(Effect::Thaw(id));
            }
            // It was never asked to freeze, so it runs.
            Some(Phase::Freezing { asked: false }) => {
                self.set(id, Phase::Ready, now);
                effects.push(Effect::Probe(id));
            }
            _ => {}
        }
    }

    /// (Starting | Proving | Waking) => Stopping: it had its time.
    pub(super) fn too_slow(
        &mut self,
        id: InstanceId,
        cause: Arc<Cause>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let slow = matches!(
            self.phase(id),
            Some(Phase::Starting { asked: true } | Phase::Proving | Phase::Waking { .. })
        );
        if slow && self.job() != Some(id) {
            self.failed(id, cause, now, effects);
            self.stop(id, now, effects);
        }
    }

    /// Counts a failure of the instance's revision, which holds back its next start.
    fn failed(&mut self, id: InstanceId, cause: Arc<Cause>, now: Timestamp, fx: &mut Vec<Effect>) {
        let Some(revision) = self.instances.get(&id).map(|instance| instance.revision) else {
            return;
        };
        if self.job() == Some(id) {
            return self.turn_back(cause, now, fx);
        }
        let limit = self.policy.failure_limit;
        if let Some(side) = self.side_mut(revision) {
            let exhausted = cause.code == CauseCode::Exhausted;
            let pace = &mut side.pace;
            match exhausted {
                // Several that are refused at once are one refusal.
                true if pace.hold == Some(Hold::Exhausted) => {}
                true => {
                    *pace.exhausted = pace.exhausted.saturating_add(1);
                    fx.push(Effect::Note(Notice::Exhausted(revision)));
                }
                false => {
                    pace.failures = (pace.failures + 1).min(limit);
                    if pace.failures == limit {
                        fx.push(Effect::Note(Notice::CrashLoop(revision, cause.code)));
                    }
                }
            }
            // Whoever lacks the values of secrets knows when that is over.
            if pace.hold != Some(Hold::Values) {
                pace.hold = Some(if exhausted { Hold::Exhausted } else { Hold::Failed });
            }
            pace.since = Aside(now);
            pace.cause = Aside(Some(Arc::clone(&cause)));
            if exhausted {
                self.make_room(id, now, fx);
            }
        }
        fx.push(Effect::Note(Notice::InstanceFailed(id, cause)));
    }

    /// What waits for somebody's word gets it.
    pub(super) fn approve(&mut self) {
        if let Course::Rolling(rollout) = &mut self.course
            && rollout.stage == Stage::Holding
        {
            rollout.approved = true;
        }
    }
}
