//! Brings each side towards its target.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Effect, Guard, Instance, Phase,
    instance::Count,
    rollout::{Course, Stage},
    sides::{Gate, Sides},
    targets::{Moves, Target, moves},
};
use crate::{
    id::{InstanceId, RevisionNumber},
    time::Timestamp,
};

impl Sides {
    /// How many instances blue and green should have.
    pub(super) fn targets(&self) -> (Target, Target) {
        let none = Target::Exactly(0);
        if self.gate != Gate::Open {
            return (none, none);
        }
        let desired = self.desired;
        let rollout = match &self.course {
            Course::Steady => return (Target::Exactly(desired), none),
            Course::Leaving => return (Target::AtLeast(desired), none),
            Course::Rolling(rollout) => rollout,
        };
        let needed = self.needed();
        let share = self.share();
        let (live, green) = (self.live_count(), self.count(rollout.green.revision));
        match rollout.stage {
            Stage::Emptying => (none, none),
            Stage::Holding if rollout.in_place => (Target::AtLeast(desired), none),
            Stage::Provisioning if rollout.in_place => (none, Target::Exactly(needed)),
            Stage::Provisioning | Stage::Holding => {
                (Target::AtLeast(desired), Target::Exactly(share))
            }
            Stage::Shifting { .. } if share >= needed => {
                (Target::AtLeast(desired), Target::AtLeast(needed))
            }
            Stage::Shifting { step } => self.in_turn(self.part(step), live, green),
            Stage::Replacing => self.in_turn(needed, live, green),
            Stage::Baking if rollout.in_place => (none, Target::AtLeast(needed)),
            Stage::Baking if self.holds(Guard::HoldBlueUntilPromotion) => {
                (Target::Keep, Target::AtLeast(needed))
            }
            Stage::Baking => (none, Target::AtLeast(needed)),
            Stage::TurningBack if rollout.in_place => match green.present() {
                0 => (Target::AtLeast(desired), none),
                _ => (none, none),
            },
            Stage::TurningBack if self.green_is_needed() => {
                // Of green stays what blue cannot carry yet.
                (Target::AtLeast(desired), Target::AtMost(desired.saturating_sub(live.capacity())))
            }
            Stage::PreDeploy { .. } | Stage::TurningBack | Stage::Leaving => {
                (Target::AtLeast(desired), none)
            }
        }
    }

    /// So many of green in the end. Together they are as many as are needed and a share more; blue
    /// leaves as green comes.
    fn in_turn(&self, part: u32, live: Count, green: Count) -> (Target, Target) {
        let (needed, share) = (self.needed(), self.share());
        let room = (needed + share).saturating_sub(live.staying());
        let there = match self.holds(Guard::ReplaceInTurn) {
            true => green.ready.min(part),
            false => part,
        };
        let target = room.clamp(share.min(part), part);
        (Target::Exactly(needed - there), Target::AtLeast(target))
    }

    /// How many instances a revision needs to carry the load that there is: at least one, so that
    /// there is one to prove it.
    pub(super) fn needed(&self) -> u32 {
        match self.holds(Guard::ProveOneAtZero) {
            true => self.desired.max(1),
            false => self.desired,
        }
    }

    /// How many green instances are proven before requests move.
    pub(super) fn share(&self) -> u32 {
        match self.needed() {
            0 => 0,
            needed => self.policy.share(needed),
        }
    }

    /// Whether green goes on serving although the way leads back: blue cannot carry the load yet.
    pub(super) fn green_is_needed(&self) -> bool {
        self.rollout().is_some_and(|rollout| {
            rollout.stage == Stage::TurningBack
                && rollout.passed
                && !rollout.in_place
                && !rollout.outlasted
                && self.live.is_some()
                && self.live_count().capacity() < self.desired
                && self.holds(Guard::GreenServesUntilBlueIsBack)
        })
    }

    /// Starts what is missing, gives up what is too much; whether there was anything to do.
    pub(super) fn keep(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        let before = effects.len();
        let (live, green) = self.targets();
        if let Some(side) = &self.live {
            let revision = side.revision;
            self.keep_side(revision, live, self.policy.minimum_active, now, effects);
        }
        if let Some(rollout) = self.rollout() {
            let revision = rollout.green.revision;
            // All of green has to be awake to be proven.
            self.keep_side(revision, green, u32::MAX, now, effects);
        }
        self.drop_the_unwanted(now, effects);
        self.ask_again(now, effects);
        effects.len() > before
    }

    fn keep_side(
        &mut self,
        revision: RevisionNumber,
        target: Target,
        active: u32,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let count = self.count(revision);
        let Moves { start, drop_pending, drop_unwell, drop_capacity, wake } =
            moves(count, target, active);
        let held = self.side(revision).is_some_and(|side| side.pace.hold.is_some());
        if !held && (self.holds(Guard::ReplaceTheLost) || count == Count::default()) {
            for _ in 0..start {
                self.start(revision, false, now, effects);
            }
        }
        if drop_pending + drop_unwell + drop_capacity > 0 {
            self.drop_some(revision, drop_pending, now, effects, |phase| {
                let mut of = Count::default();
                of.add(phase);
                of.pending > 0
            });
            self.drop_some(revision, drop_unwell, now, effects, |phase| phase == Phase::Unwell);
            let asleep = count.standby.min(drop_capacity);
            self.drop_some(revision, asleep, now, effects, |phase| {
                matches!(phase, Phase::Standby | Phase::Freezing { .. })
            });
            self.drop_some(revision, drop_capacity - asleep, now, effects, |phase| {
                matches!(phase, Phase::Ready | Phase::Waking { proven: true })
            });
        }
        if wake > 0 {
            let asleep = self.of(revision, |phase| {
                matches!(phase, Phase::Standby | Phase::Freezing { asked: false })
            });
            for id in asleep.into_iter().take(wake as usize) {
                self.wake(id, now, effects);
            }
        }
    }

    /// What is least far first, then what has the fewest requests, then the newest: the older ones
    /// are warmer.
    fn drop_some(
        &mut self,
        revision: RevisionNumber,
        some: u32,
        now: Timestamp,
        effects: &mut Vec<Effect>,
        which: impl Fn(Phase) -> bool,
    ) {
        if some == 0 {
            return;
        }
        let mut ids = self.of(revision, which);
        ids.sort_by_key(|id| {
            let worth = self.instances.get(id).map(|one| (one.phase.worth(), one.load));
            (worth, Reverse(*id))
        });
        for id in ids.into_iter().take(some as usize) {
            self.drop_instance(id, now, effects);
        }
    }

    /// The backend has no room for blue's next instance on the way back: one of green makes it,
    /// and of those that serve only where all that are wanted do, and never the last. Not while
    /// another of blue is coming, which had room, nor while any is on its way out, which makes it.
    pub(super) fn make_room(&mut self, refused: InstanceId, now: Timestamp, fx: &mut Vec<Effect>) {
        let Some(live) = self.live.as_ref().map(|side| side.revision) else { return };
        let Some(green) = self.rollout().map(|rollout| rollout.green.revision) else { return };
        let of_blue = self.instances.get(&refused).is_some_and(|one| one.revision == live);
        let leaves = |one: &Instance| match one.phase {
            Phase::Draining => true,
            // Those of blue were refused as this one was, and have no room to leave.
            Phase::Stopping { .. } => one.revision != live,
            _ => false,
        };
        let comes = self.live_count().pending > 1 || self.instances.values().any(leaves);
        let needed = self.green_is_needed() && self.holds(Guard::MakeRoomForBlue);
        if comes || !of_blue || !needed {
            return;
        }
        let (capacity, count) = (self.live_count().capacity(), self.count(green));
        let serve = capacity + count.capacity();
        if count.pending > 0 {
            self.drop_some(green, 1, now, fx, |phase| {
                let mut of = Count::default();
                of.add(phase);
                of.pending > 0
            });
        } else if count.unwell > 0 {
            self.drop_some(green, 1, now, fx, |phase| phase == Phase::Unwell);
        } else if serve > 1 && serve >= self.desired {
            self.drop_some(green, 1, now, fx, |phase| phase == Phase::Ready);
        }
    }

    fn of(&self, revision: RevisionNumber, which: impl Fn(Phase) -> bool) -> Vec<InstanceId> {
        let job = self.job();
        let of_it = self.instances.iter().filter(|(id, instance)| {
            instance.revision == revision && Some(**id) != job && which(instance.phase)
        });
        of_it.map(|(id, _)| *id).collect()
    }

    /// What belongs to no side, and jobs that nobody waits for.
    fn drop_the_unwanted(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.holds(Guard::StopTheUnwanted) {
            return;
        }
        let job = self.job();
        let green = self.rollout().map(|rollout| rollout.green.revision);
        let wanted = [self.live.as_ref().map(|side| side.revision), green, self.warm()];
        let unwanted = self.instances.iter().filter(|(id, one)| {
            !one.phase.is_leaving()
                && (!wanted.contains(&Some(one.revision))
                    || one.phase == Phase::Running && job != Some(**id))
        });
        let ids: Vec<_> = unwanted.map(|(id, _)| *id).collect();
        for id in ids {
            self.drop_instance(id, now, effects);
        }
    }

    /// After a restart: what was being started is asked for again, under its own id.
    fn ask_again(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.holds(Guard::StartAgainAfterRestart) {
            return;
        }
        let waiting = self.instances.iter().filter(|(_, instance)| {
            instance.phase == Phase::Starting { asked: false }
                && self.side(instance.revision).is_some_and(|side| side.pace.hold.is_none())
        });
        let waiting: Vec<_> = waiting.map(|(id, instance)| (*id, instance.revision)).collect();
        let job = self.job();
        for (id, revision) in waiting {
            self.set(id, Phase::Starting { asked: true }, now);
            effects.push(Effect::Start { instance: id, revision, job: job == Some(id) });
        }
    }

    /// So many requests each has; what is not named has none.
    pub(super) fn loaded(&mut self, loads: &BTreeMap<InstanceId, u32>) {
        for (id, instance) in self.instances.iter_mut() {
            instance.load = loads.get(id).copied().unwrap_or(0);
        }
    }

    /// Somebody waits for what nobody present can give: wakes one that is asleep, or has one
    /// started where none is wanted.
    pub(super) fn demand(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.gate != Gate::Open {
            return;
        }
        self.desired = self.desired.max(1);
        if let Some(side) = &self.live {
            let asleep = self.of(side.revision, |phase| {
                matches!(phase, Phase::Standby | Phase::Freezing { asked: false })
            });
            if let Some(id) = asleep.first() {
                self.wake(*id, now, effects);
            }
        }
    }
}
