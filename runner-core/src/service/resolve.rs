//! What has to be known before anything of a revision is started.
//!
//! A revision is resolved before its deployment begins: what is missing fails the operation at
//! once, by name, and what serves goes on. After a restart the values of secrets are gone from
//! memory: they are looked up anew, and until then nothing of that revision is started, while what
//! runs goes on running.

use std::sync::Arc;

use super::{
    Effect, Notice, Resolution, Service, Timer,
    state::{Step, Values},
};
use crate::{
    deployment::{self, Aside, Cause, EndsWith, Sides, Wait},
    id::RevisionNumber,
    time::Timestamp,
};

impl Service {
    /// Looks up what the operation's revision is made from, or goes on where that is known.
    pub(super) fn resolve(
        &mut self,
        number: RevisionNumber,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(revision) = self.revision_mut(number) else { return };
        match revision.values {
            Values::Known => self.go_on(number, now, effects),
            Values::Asked { .. } => {}
            Values::Unknown | Values::Again { .. } => {
                revision.values = Values::Asked { failures: 0 };
                effects.push(Effect::Resolve(number));
            }
        }
    }

    pub(super) fn resolved(
        &mut self,
        number: RevisionNumber,
        found: Arc<Resolution>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(revision) = self.revision_mut(number) else { return };
        if !matches!(revision.values, Values::Asked { .. }) {
            return;
        }
        revision.values = Values::Known;
        // Pinned once: what is found later can only be the same.
        if revision.pinned.is_none() {
            revision.pinned = Aside(Some(found));
        }
        self.tell_fleet(number, true, now, effects);
        self.go_on(number, now, effects);
    }

    pub(super) fn not_resolved(
        &mut self,
        number: RevisionNumber,
        cause: Arc<Cause>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let limit = self.sides.policy().failure_limit;
        let resuming = self.is_resuming() && self.live() == Some(number);
        let awaited = self.awaited() == Some(number) || resuming;
        let green = self.sides.rollout().is_some_and(|rollout| rollout.green.revision == number);
        let Some(revision) = self.revision_mut(number) else { return };
        let Values::Asked { failures } = revision.values else { return };
        let failures = (failures + 1).min(limit);
        effects.push(Effect::Note(Notice::NotResolved(number, Arc::clone(&cause))));
        if awaited && (!cause.may_pass() || failures >= limit) {
            revision.values = Values::Unknown;
            if resuming {
                return self.resume_failed(cause, now, effects);
            }
            let result = self.failed_back(cause);
            return self.finish(result, now, effects);
        }
        revision.values = Values::Again { failures, since: Aside(now) };
        if green && !cause.may_pass() {
            self.turn_back(cause, now, effects);
        }
    }

    pub(super) fn ask_again(&mut self, number: RevisionNumber, effects: &mut Vec<Effect>) {
        // Nothing is started while it is paused: whoever resumes it asks.
        let serves = self.sides.is_open() && self.sides.side(number).is_some();
        let used = self.awaited() == Some(number) || serves;
        let Some(revision) = self.revision_mut(number) else { return };
        if let Values::Again { failures, .. } = revision.values {
            match used {
                true => {
                    revision.values = Values::Asked { failures };
                    effects.push(Effect::Resolve(number));
                }
                false => revision.values = Values::Unknown,
            }
        }
    }

    /// Goes on after a restart from what was on record: the values of secrets are asked for
    /// first, then everything else is looked for.
    pub(super) fn resume(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let (awaited, open) = (self.awaited(), self.sides.is_open());
        // How long the platform was down is no part of what a resume takes.
        if let Some(operation) = self.operation.as_mut().filter(|one| one.step == Step::Resuming) {
            operation.since = Aside(now);
        }
        for (number, revision) in Arc::make_mut(&mut self.revisions) {
            revision.values = match revision.values {
                Values::Known if revision.spec.secrets().is_empty() => Values::Known,
                _ => Values::Unknown,
            };
            let has_side = self.sides.side(*number).is_some();
            if revision.values == Values::Known {
                continue;
            }
            if awaited == Some(*number) || has_side && open {
                revision.values = Values::Asked { failures: 0 };
                effects.push(Effect::Resolve(*number));
            }
            if has_side {
                self.sides.set_values(*number, false);
            }
        }
        let resume =
            |sides: &mut Sides, effects: &mut Vec<deployment::Effect>| sides.resume(now, effects);
        self.fleet(resume, now, effects);
    }

    /// Before instances come again: asks for what they need, where it is not in memory. What is
    /// under way counts from here.
    pub(super) fn ask_for_live(&mut self, effects: &mut Vec<Effect>) {
        let Some(live) = self.live() else { return };
        let Some(revision) = self.revision_mut(live) else { return };
        match revision.values {
            Values::Known => return,
            Values::Asked { .. } => {}
            Values::Unknown | Values::Again { .. } => effects.push(Effect::Resolve(live)),
        }
        revision.values = Values::Asked { failures: 0 };
    }

    /// What is asked of stores and registries, and what is to be asked again.
    pub(super) fn waits_for_values(&self) -> impl Iterator<Item = Wait> {
        let began = self.operation.as_ref().map_or(Timestamp::EPOCH, |operation| operation.since.0);
        self.revisions.iter().filter_map(move |(number, revision)| {
            let again = Timer::ResolveAgain(*number);
            match revision.values {
                Values::Asked { .. } => {
                    Some(Wait::new("source and secrets", began, None, EndsWith::Answer))
                }
                Values::Again { since, .. } => {
                    let at = self.timers().into_iter().find(|(timer, _)| *timer == again);
                    let until = at.map(|(_, at)| at);
                    Some(Wait::new("source and secrets, again", since.0, until, EndsWith::Time))
                }
                Values::Unknown | Values::Known => None,
            }
        })
    }

    /// The revision that the operation waits for.
    fn awaited(&self) -> Option<RevisionNumber> {
        match self.operation.as_ref()?.step {
            Step::Resolving(revision) => Some(revision),
            _ => None,
        }
    }

    fn go_on(&mut self, number: RevisionNumber, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.awaited() == Some(number) && self.is_steady() {
            self.roll(number, now, effects);
        }
    }

    fn tell_fleet(
        &mut self,
        number: RevisionNumber,
        known: bool,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.sides.side(number).is_some() {
            let tell = |sides: &mut Sides, effects: &mut Vec<deployment::Effect>| {
                sides.set_values(number, known);
                sides.settle(effects.len(), now, effects);
            };
            self.fleet(tell, now, effects);
        }
    }

    fn turn_back(&mut self, cause: Arc<Cause>, now: Timestamp, effects: &mut Vec<Effect>) {
        let back = |sides: &mut Sides, effects: &mut Vec<deployment::Effect>| {
            sides.give_up(cause, now, effects);
        };
        self.fleet(back, now, effects);
    }
}
