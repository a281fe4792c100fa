//! From stage to stage. What a stage waits for stands at its [`Stage`]; here is what ends it.

use std::sync::Arc;

use super::{
    Aside, Cause, CauseCode, Effect, Guard, Notice, Outcome, Shift, Side, Timing, Window,
    numbers::worse,
    plan::Hold,
    rollout::{Course, Rollout, Stage},
    sides::{Gate, Sides, Warm},
};
use crate::{id::InstanceId, time::Timestamp};

impl Sides {
    /// Begins to replace blue. A revision that is still warm keeps its instances.
    ///
    /// # Panics
    ///
    /// When another deployment is under way, or green is blue: a bug of the caller.
    pub(crate) fn begin(&mut self, green: Side, now: Timestamp, effects: &mut Vec<Effect>) {
        assert!(self.course == Course::Steady, "one deployment at a time");
        let revision = green.revision;
        let same = self.live.as_ref().is_some_and(|live| live.revision == revision);
        assert!(!same, "revision {revision} serves already");
        self.warm = None;
        let pre_deploy = green.pre_deploy.is_some();
        self.timings = Aside(Arc::default());
        self.course = Course::Rolling(Box::new(Rollout {
            green,
            // Replaced at once below.
            stage: Stage::Emptying,
            since: Aside(now),
            passed: false,
            approved: false,
            baseline: None,
            in_place: self.policy.shift == Shift::InPlace,
            makes_way: false,
            outlasted: false,
            cause: Aside(None),
        }));
        effects.push(Effect::Note(Notice::Began(revision)));
        match pre_deploy {
            true => {
                let job = self.start(revision, true, now, effects);
                self.enter(Stage::PreDeploy { job: Aside(job) }, now, effects);
            }
            false => self.enter_provisioning(now, effects),
        }
    }

    /// Blue is what was wanted: over when nothing is left of what was begun in between.
    pub(crate) fn stay(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let from = effects.len();
        self.course = Course::Leaving;
        self.settle(from, now, effects);
    }

    /// (nothing | `PreDeploy`) => (`Holding` | `Emptying` | `Provisioning`)
    pub(super) fn enter_provisioning(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let in_place = self.rollout().is_some_and(|rollout| rollout.in_place);
        // In place the gap begins with the first instance that leaves, so that is what waits.
        let next = match in_place && self.waits_for_approval() {
            true => Stage::Holding,
            false => self.provisions(),
        };
        self.enter(next, now, effects);
    }

    /// Where a deployment begins once nobody is asked any more.
    fn provisions(&self) -> Stage {
        let in_place = self.rollout().is_some_and(|rollout| rollout.in_place);
        match in_place && self.holds(Guard::EmptyBeforeInPlace) {
            true => Stage::Emptying,
            false => Stage::Provisioning,
        }
    }

    /// Whether somebody has to say that requests may move. Where nothing serves none can.
    fn waits_for_approval(&self) -> bool {
        self.policy.approval
            && self.live.is_some()
            && self.rollout().is_some_and(|rollout| !rollout.approved)
    }

    fn enter(&mut self, stage: Stage, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Course::Rolling(rollout) = &mut self.course {
            rollout.stage = stage;
            rollout.since = Aside(now);
            effects.push(Effect::Note(Notice::Entered(stage)));
        }
        self.time(Some(stage), now);
    }

    /// Writes down that a stage ended, and which one began.
    fn time(&mut self, next: Option<Stage>, now: Timestamp) {
        let timings = Arc::make_mut(&mut self.timings.0);
        if let Some(last) = timings.last_mut() {
            // A step that takes longer, or a proof that is asked for anew, is no stage of its own.
            if Some(last.stage) == next {
                return;
            }
            last.took.get_or_insert_with(|| now.since(last.began));
        }
        // A hold and its end may alternate for as long as somebody pleases.
        if timings.len() < TIMINGS_KEPT {
            timings.extend(next.map(|stage| Timing { stage, began: now, took: None }));
        }
    }

    /// Takes the course one stage further, if that is due; whether it was.
    pub(super) fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        let rollout = match &self.course {
            Course::Steady => return false,
            Course::Leaving => return self.left(now, effects),
            Course::Rolling(rollout) => rollout,
        };
        let (stage, green) = (rollout.stage, self.count(rollout.green.revision));
        if stage == Stage::TurningBack {
            return self.turned_back(now, effects);
        }
        if let Some(cause) = self.hopeless() {
            self.turn_back(cause, now, effects);
            return true;
        }
        let next = match stage {
            // => Provisioning
            Stage::Emptying => (self.live_count().present() == 0).then_some(Stage::Provisioning),
            // => Holding | Shifting | Replacing | Baking
            Stage::Provisioning => {
                let needed = if rollout.in_place { self.needed() } else { self.share() };
                let proven = green.ready >= needed || !self.holds(Guard::ProveBeforeTraffic);
                proven.then(|| self.proven())
            }
            // => in place as it begins; else what follows Provisioning, once more proven
            Stage::Holding => rollout.approved.then(|| match rollout.in_place {
                true => self.provisions(),
                false => Stage::Provisioning,
            }),
            // => Baking
            Stage::Replacing => (self.live_count().staying() == 0 && green.ready >= self.needed())
                .then_some(Stage::Baking),
            Stage::PreDeploy { .. }
            | Stage::Shifting { .. }
            | Stage::Baking
            | Stage::Leaving
            | Stage::TurningBack => None,
        };
        let Some(next) = next else { return false };
        // What waits for somebody's word has never served, and is nothing to fall back on.
        if stage == Stage::Provisioning && next != Stage::Holding {
            self.rollout_mut(|rollout| rollout.passed = true);
        }
        self.enter(next, now, effects);
        true
    }

    /// Where a revision goes that is proven.
    fn proven(&self) -> Stage {
        let Some(rollout) = self.rollout() else { return Stage::Provisioning };
        if !rollout.in_place && self.waits_for_approval() {
            return Stage::Holding;
        }
        match &self.policy.shift {
            _ if rollout.in_place => Stage::Baking,
            // Without a blue there is nothing to move requests away from.
            Shift::Stepped(_) if self.live.is_some() => Stage::Shifting { step: 0 },
            Shift::Stepped(_) | Shift::AtOnce | Shift::InPlace => self.whole(),
        }
    }

    /// Where all requests are green's at last: at once, or when all of green is there.
    fn whole(&self) -> Stage {
        match self.share() < self.needed() {
            true => Stage::Replacing,
            false => Stage::Baking,
        }
    }

    /// Why there is no way forward any more.
    fn hopeless(&self) -> Option<Arc<Cause>> {
        let rollout = self.rollout()?;
        if self.gate != Gate::Open {
            return Some(Arc::new(Cause::new(CauseCode::Closed)));
        }
        let pace = &rollout.green.pace;
        if pace.failures >= self.policy.failure_limit {
            return pace.cause.0.clone();
        }
        let serves =
            matches!(rollout.stage, Stage::Shifting { .. } | Stage::Replacing | Stage::Baking);
        let lost = serves
            && self.count(rollout.green.revision).ready == 0
            && self.needed() > 0
            && self.holds(Guard::ProveBeforeTraffic);
        lost.then(|| {
            let cause = pace.cause.0.clone();
            cause.unwrap_or_else(|| Arc::new(Cause::new(CauseCode::LostInstances)))
        })
    }

    /// Anything before promotion => `TurningBack`
    pub(super) fn turn_back(
        &mut self,
        cause: Arc<Cause>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let turned = self.rollout().is_none_or(|rollout| rollout.stage == Stage::TurningBack);
        if turned {
            return;
        }
        let one_job = self.holds(Guard::OneJobAtATime);
        self.rollout_mut(|rollout| {
            rollout.cause = Aside(Some(Arc::clone(&cause)));
            // In place nothing runs beside anything, and no command runs beside another.
            let job = matches!(rollout.stage, Stage::PreDeploy { .. }) && one_job;
            rollout.makes_way = cause.code == CauseCode::Superseded && !rollout.in_place && !job;
        });
        effects.push(Effect::Note(Notice::TurnedBack(cause)));
        // What there is room for is another question from here on.
        if let Some(live) = self.live.as_mut().filter(|one| one.pace.hold == Some(Hold::Exhausted))
        {
            live.pace.hold = None;
        }
        self.enter(Stage::TurningBack, now, effects);
    }

    /// Back to blue because somebody wants it; whether there was anything to go back from. After
    /// promotion there is not: the way back is a deployment of its own.
    pub(crate) fn cancel(
        &mut self,
        code: CauseCode,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let rolling = self.rollout().is_some();
        if rolling {
            self.give_up(Arc::new(Cause::new(code)), now, effects);
        }
        rolling
    }

    /// Back to blue, for a cause that was found elsewhere.
    pub(crate) fn give_up(&mut self, cause: Arc<Cause>, now: Timestamp, fx: &mut Vec<Effect>) {
        let from = fx.len();
        self.turn_back(cause, now, fx);
        self.settle(from, now, fx);
    }

    /// `TurningBack` => over
    fn turned_back(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        let Some(rollout) = self.rollout() else { return false };
        let blue_back = self.gate != Gate::Open
            || self.live.is_none()
            || self.live_count().capacity() >= self.desired
            || rollout.outlasted;
        // What takes its place does not wait for green's last requests: green leaves beside it.
        let over = blue_back && (rollout.makes_way || self.only_kept());
        if over || !self.holds(Guard::FinishAtRest) {
            let cause = rollout.cause.0.clone();
            let cause = cause.unwrap_or_else(|| Arc::new(Cause::new(CauseCode::Cancelled)));
            self.course = Course::Steady;
            self.time(None, now);
            effects.push(Effect::Conclude(Outcome::Failed(cause)));
        }
        over
    }

    /// `Leaving` => over
    fn left(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        let over = self.only_kept() || !self.holds(Guard::FinishAtRest);
        if over {
            self.course = Course::Steady;
            self.time(None, now);
            effects.push(Effect::Conclude(Outcome::Succeeded));
        }
        over
    }

    /// Whether nothing is there but what serves, and what is kept warm.
    fn only_kept(&self) -> bool {
        let kept = [self.live.as_ref().map(|live| live.revision), self.warm()];
        self.instances.values().all(|one| kept.contains(&Some(one.revision)))
    }

    /// The stage has taken its time.
    pub(super) fn stage_is_over(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(rollout) = self.rollout() else { return };
        let code = match rollout.stage {
            Stage::PreDeploy { .. } => CauseCode::PreDeployTimedOut,
            Stage::Provisioning | Stage::Replacing => CauseCode::TooLong,
            Stage::Holding => CauseCode::NotApproved,
            Stage::Shifting { step } => return self.next_step(step, now, effects),
            Stage::Baking => match self.count(rollout.green.revision).unwell {
                0 => return self.promote(now, effects),
                _ => CauseCode::LostInstances,
            },
            // What is left of green goes, and blue comes when it can: a deployment that never ends
            // would keep out the one that mends it.
            Stage::TurningBack if self.live.is_some() => {
                return self.rollout_mut(|rollout| rollout.outlasted = true);
            }
            Stage::Emptying | Stage::Leaving | Stage::TurningBack => return,
        };
        let late = rollout.green.pace.cause.0.clone();
        let cause = late.filter(|_| code == CauseCode::TooLong);
        self.turn_back(cause.unwrap_or_else(|| Arc::new(Cause::new(code))), now, effects);
    }

    /// Shifting => (Shifting | Replacing | Baking | `TurningBack`)
    fn next_step(&mut self, step: u8, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(rollout) = self.rollout() else { return };
        let green = self.count(rollout.green.revision);
        let next = match self.step_weight(step + 1) {
            _ if green.unwell > 0 => {
                let cause = Arc::new(Cause::new(CauseCode::LostInstances));
                return self.turn_back(cause, now, effects);
            }
            // It grows, as the load or the step does: the step takes that much longer.
            _ if green.ready < self.part(step) => Stage::Shifting { step },
            Some(1..=99) => Stage::Shifting { step: step + 1 },
            // The step with all of the traffic is the bake.
            _ => self.whole(),
        };
        self.enter(next, now, effects);
    }

    /// How many hundredths of the traffic green has at a step; none where there is no such step.
    pub(super) fn step_weight(&self, step: u8) -> Option<u8> {
        match &self.policy.shift {
            Shift::Stepped(steps) => steps.get(usize::from(step)).copied(),
            Shift::AtOnce | Shift::InPlace => None,
        }
    }

    /// How many green instances a step takes: all of them, or where only a part of green stands
    /// beside blue as many as the step's share of the requests asks for.
    pub(super) fn part(&self, step: u8) -> u32 {
        let (needed, share) = (self.needed(), self.share());
        let weight = u32::from(self.step_weight(step).unwrap_or(100));
        match share < needed {
            true => (needed * weight).div_ceil(100).clamp(share, needed),
            false => needed,
        }
    }

    /// Baking => Leaving: green is blue from here on.
    fn promote(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Course::Rolling(rollout) = std::mem::replace(&mut self.course, Course::Leaving) else {
            return;
        };
        let Rollout { green, in_place, .. } = *rollout;
        effects.push(Effect::Promote(green.revision));
        effects.push(Effect::Note(Notice::Entered(Stage::Leaving)));
        self.time(Some(Stage::Leaving), now);
        let old = self.live.replace(green);
        self.warm = old
            .filter(|_| self.policy.keep_warm && !in_place)
            .map(|old| Warm { revision: old.revision, since: Aside(now) });
    }

    /// (Shifting | Replacing | Baking) => `TurningBack`, where the numbers are worse.
    pub(super) fn measured(
        &mut self,
        green: Window,
        blue: Option<Window>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(rollout) = self.rollout() else { return };
        match rollout.stage {
            Stage::Shifting { .. } | Stage::Replacing | Stage::Baking => {
                if let Some(cause) = worse(green, blue.or(rollout.baseline)) {
                    self.turn_back(Arc::new(cause), now, effects);
                }
            }
            Stage::Provisioning | Stage::Holding => {
                self.rollout_mut(|rollout| rollout.baseline = blue.or(rollout.baseline));
            }
            Stage::PreDeploy { .. } | Stage::Emptying | Stage::Leaving | Stage::TurningBack => {}
        }
    }

    /// What the pre-deploy command came to cannot be known any more: it never runs twice.
    pub(super) fn job_is_lost(&mut self, id: InstanceId, now: Timestamp, fx: &mut Vec<Effect>) {
        let cause = Cause::new(CauseCode::PreDeployUnknown).of(id);
        self.turn_back(Arc::new(cause), now, fx);
    }

    pub(super) fn rollout_mut(&mut self, change: impl FnOnce(&mut Rollout)) {
        if let Course::Rolling(rollout) = &mut self.course {
            change(rollout);
        }
    }
}

/// More than any deployment has that nobody interferes with.
const TIMINGS_KEPT: usize = 64;
