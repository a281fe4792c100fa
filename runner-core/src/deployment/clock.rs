//! Timers as data: which are armed, until when, and what their running out means.

use std::sync::Arc;

use super::{
    Cause, CauseCode, Effect, Phase, Timer,
    plan::{Hold, Pace},
    rollout::{Course, Stage},
    sides::Sides,
};
use crate::{id::InstanceId, time::Timestamp};

/// How often one looks what is there when nobody has hinted at anything.
const LOOK: std::time::Duration = std::time::Duration::from_secs(30);

impl Sides {
    /// Every timer that is armed, with its time.
    pub(crate) fn timers(&self) -> Vec<(Timer, Timestamp)> {
        let mut timers = Vec::new();
        let spans = &self.policy.spans;
        let job = self.job();
        for (id, one) in self.instances.iter() {
            let since = one.since.0;
            let timer = match one.phase {
                Phase::Starting { asked: true } | Phase::Proving | Phase::Waking { .. }
                    if job != Some(*id) =>
                {
                    let side = self.side(one.revision);
                    let allowance = side.map(|side| side.start_allowance.0).unwrap_or_default();
                    (Timer::Allowance(*id), since + allowance)
                }
                Phase::Draining | Phase::Freezing { asked: false } => {
                    (Timer::Drain(*id), since + spans.drain)
                }
                Phase::Stopping { asked: false } => {
                    (Timer::StopAgain(*id), since + spans.stop_again)
                }
                _ => continue,
            };
            timers.push(timer);
        }
        let backoff = |pace: &Pace, timer| {
            let held = matches!(pace.hold, Some(Hold::Failed | Hold::Exhausted));
            held.then(|| (timer, pace.since.0 + pace.span(spans)))
        };
        if let Some(live) = &self.live {
            timers.extend(backoff(&live.pace, Timer::BlueBackoff));
            let lives = live.pace.failures > 0 && live.pace.hold.is_none();
            if lives && self.live_count().pending == 0 {
                timers.push((Timer::BlueForgives, live.pace.since.0 + spans.forgive));
            }
        }
        if let Course::Rolling(rollout) = &self.course {
            timers.extend(backoff(&rollout.green.pace, Timer::GreenBackoff));
            let span = match rollout.stage {
                Stage::PreDeploy { .. } => rollout.green.pre_deploy,
                Stage::Provisioning | Stage::Replacing => {
                    Some(self.policy.provision(&rollout.green))
                }
                Stage::Holding => Some(spans.approval),
                Stage::Shifting { .. } => Some(spans.step),
                Stage::Baking if self.live.is_none() => Some(spans.first_bake),
                Stage::Baking => Some(spans.bake),
                // Green leaves in turn, so each of blue's may have to wait for a way out.
                Stage::TurningBack if !rollout.outlasted => {
                    self.live.as_ref().map(|live| self.policy.provision(live) + spans.drain)
                }
                Stage::Emptying | Stage::Leaving | Stage::TurningBack => None,
            };
            timers.extend(span.map(|span| (Timer::Stage, rollout.since.0 + span)));
        }
        if let Some(warm) = &self.warm {
            timers.push((Timer::Warm, warm.since.0 + spans.keep_warm));
        }
        if !self.listing.awaited {
            timers.push((Timer::List, self.listing.since.0 + LOOK));
        }
        timers
    }

    /// A timer has run out. One that is not armed any more means nothing.
    pub(super) fn due(&mut self, timer: Timer, now: Timestamp, effects: &mut Vec<Effect>) {
        match timer {
            Timer::Allowance(id) => {
                self.too_slow(id, Arc::new(Cause::new(CauseCode::SlowStart).of(id)), now, effects);
            }
            Timer::Drain(id) => self.drain_is_over(id, now, effects),
            Timer::StopAgain(id) => {
                if self.phase(id) == Some(Phase::Stopping { asked: false }) {
                    self.stop(id, now, effects);
                }
            }
            Timer::BlueBackoff => {
                if let Some(live) = &mut self.live {
                    live.pace.ends_hold();
                }
            }
            Timer::GreenBackoff => self.rollout_mut(|rollout| rollout.green.pace.ends_hold()),
            Timer::BlueForgives => {
                if let Some(live) = &mut self.live
                    && live.pace.hold.is_none()
                {
                    live.pace = Pace::default();
                }
            }
            Timer::Stage => self.stage_is_over(now, effects),
            Timer::List => self.look(now, effects),
            Timer::Warm => self.warm = None,
        }
    }

    /// Draining => Stopping; Freezing => Ready, since it is not idle after all
    fn drain_is_over(&mut self, id: InstanceId, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.phase(id) {
            Some(Phase::Draining) => self.stop(id, now, effects),
            Some(Phase::Freezing { asked: false }) => self.wake(id, now, effects),
            _ => {}
        }
    }
}

impl Pace {
    fn ends_hold(&mut self) {
        if matches!(self.hold, Some(Hold::Failed | Hold::Exhausted)) {
            self.hold = None;
        }
    }
}
