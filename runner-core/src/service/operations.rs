//! How operations go: from their turn to their end, and to the next one.

use std::sync::Arc;

use super::{
    Effect, Ending, Finished, Kind, Notice, Service,
    machine::Edits,
    state::{Life, Next, Operation, Revision, Step, Values, Work},
};
use crate::{
    deployment::{self, Aside, Cause, CauseCode, Gate, Guard, Outcome, Side, Sides},
    id::{OperationId, RevisionNumber},
    time::Timestamp,
};

impl Service {
    /// The part of a command that takes time: begun at once, or after what is under way.
    pub(super) fn accept(
        &mut self,
        id: OperationId,
        kind: Kind,
        work: Work,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let next = Next { id: Aside(id), kind, work };
        effects.push(Effect::Accepted(id, kind));
        if self.operation.is_none() {
            return self.begin(next, now, effects);
        }
        if let Some(superseded) = self.next.replace(next) {
            let cause = Arc::new(Cause::new(CauseCode::Superseded));
            let (operation, kind) = (*superseded.id, superseded.kind);
            self.report(Finished { operation, kind, result: Ending::Failed(cause) }, effects);
        }
        if self.edits == Edits::Supersede {
            self.give_way(CauseCode::Superseded, now, effects);
        }
    }

    pub(super) fn begin(&mut self, next: Next, now: Timestamp, effects: &mut Vec<Effect>) {
        let Next { id, kind, work } = next;
        if !self.allows(kind) {
            let cause = Arc::new(Cause::new(CauseCode::Closed));
            let result = Ending::Failed(cause);
            return self.report(Finished { operation: *id, kind, result }, effects);
        }
        let step = match work {
            Work::Roll(revision) => Step::Resolving(revision),
            Work::Pause => Step::Pausing,
            Work::Resume => Step::Resuming,
            Work::Delete => Step::Deleting { failures: 0 },
        };
        self.operation = Some(Operation { id, kind, step, since: Aside(now) });
        let gate = match work {
            Work::Roll(revision) => return self.resolve(revision, now, effects),
            Work::Pause => Gate::Paused,
            Work::Resume => {
                self.sides.forgive();
                self.ask_for_live(effects);
                Gate::Open
            }
            Work::Delete => Gate::Ending,
        };
        self.set_gate(gate, now, effects);
    }

    /// A deletion takes the place of whatever is under way and waits, at once: nothing of it is
    /// worth an end, and what cannot end must not keep a service from going.
    pub(super) fn take_over(&mut self, next: Next, now: Timestamp, effects: &mut Vec<Effect>) {
        effects.push(Effect::Accepted(*next.id, next.kind));
        let under_way = self.operation.take().map(|operation| (*operation.id, operation.kind));
        let waiting = self.next.take().map(|next| (*next.id, next.kind));
        for (operation, kind) in under_way.into_iter().chain(waiting) {
            let cause = Arc::new(Cause::new(CauseCode::Superseded));
            self.report(Finished { operation, kind, result: Ending::Failed(cause) }, effects);
        }
        self.begin(next, now, effects);
    }

    fn set_gate(&mut self, gate: Gate, now: Timestamp, effects: &mut Vec<Effect>) {
        let settle = |sides: &mut Sides, effects: &mut Vec<deployment::Effect>| {
            sides.set_gate(gate);
            sides.settle(effects.len(), now, effects);
        };
        self.fleet(settle, now, effects);
    }

    /// Begins the deployment of a revision that is resolved.
    pub(super) fn roll(
        &mut self,
        revision: RevisionNumber,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.life == Life::Paused {
            // Nothing runs that it could replace; it is deployed when the service is resumed.
            self.edited = Some(revision);
            return self.finish(Ending::Succeeded, now, effects);
        }
        if let Some(operation) = &mut self.operation {
            operation.step = Step::Rolling;
        }
        if self.live() == Some(revision) {
            // What it waited for, or took the place of, ended where it wants to go.
            return self.fleet(|sides, effects| sides.stay(now, effects), now, effects);
        }
        let Some(known) = self.revisions.get(&revision) else { return };
        let mut side = Side::new(revision, &known.spec);
        if known.served {
            // It ran when the revision was new, and never runs twice.
            side.pre_deploy = None;
        }
        let begin = |sides: &mut Sides, effects: &mut Vec<deployment::Effect>| {
            let from = effects.len();
            sides.begin(side, now, effects);
            sides.settle(from, now, effects);
        };
        self.fleet(begin, now, effects);
    }

    /// The deployment came to rest.
    pub(super) fn concluded(
        &mut self,
        outcome: Outcome,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let rolling = |operation: &Operation| operation.step == Step::Rolling;
        if !self.operation.as_ref().is_some_and(rolling) {
            // A deletion took its place, and waits for more than its end.
            return;
        }
        let result = match outcome {
            Outcome::Succeeded => {
                self.life = Life::Running;
                Ending::Succeeded
            }
            Outcome::Failed(cause) => self.failed_back(cause),
        };
        self.finish(result, now, effects);
        self.forget_revisions();
    }

    /// What a failure before promotion comes to: the old revision goes on, where there is one.
    pub(super) fn failed_back(&mut self, cause: Arc<Cause>) -> Ending {
        self.trouble = Aside(Some(Arc::clone(&cause)));
        match self.sides.live() {
            Some(_) => Ending::RollbackSucceeded(cause),
            None => {
                self.life = Life::CreateFailed;
                Ending::Failed(cause)
            }
        }
    }

    /// The operation is over; the next one may begin.
    pub(super) fn finish(&mut self, result: Ending, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(Operation { id: operation, kind, .. }) = self.operation.take() {
            self.report(Finished { operation: *operation, kind, result }, effects);
        }
        if let Some(next) = self.next.take() {
            self.begin(next, now, effects);
        }
    }

    pub(super) fn report(&mut self, finished: Finished, effects: &mut Vec<Effect>) {
        effects.push(Effect::Note(Notice::Operation(finished.clone())));
        effects.push(Effect::Finished(finished));
    }

    /// Operations that end when the fleet is as they want it.
    pub(super) fn progress(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        // The one that begins when another ends may be at its own end already.
        loop {
            let before = self.operation.as_ref().map(|operation| *operation.id);
            self.progress_once(now, effects);
            let after = self.operation.as_ref().map(|operation| *operation.id);
            if after.is_none() || after == before {
                return;
            }
        }
    }

    fn progress_once(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(operation) = &self.operation else { return };
        let empty = self.sides.instances().is_empty();
        let early = !self.sides.holds_guard(Guard::FinishAtRest);
        match operation.step {
            Step::Pausing if empty || early => {
                self.life = Life::Paused;
                self.finish(Ending::Succeeded, now, effects);
            }
            Step::Deleting { .. } if empty || early => {
                self.life = Life::Deleted;
                self.finish(Ending::Succeeded, now, effects);
                effects.push(Effect::Retire);
            }
            Step::Resuming => self.resuming(now, effects),
            Step::Resolving(_) | Step::Rolling | Step::Pausing | Step::Deleting { .. } => {}
        }
    }

    fn resuming(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let live = self.sides.live_count();
        let pace = self.sides.live().map(|side| side.pace.clone()).unwrap_or_default();
        if live.capacity() >= self.sides.desired() {
            self.life = Life::Running;
            match self.edited.take() {
                Some(revision) => {
                    if let Some(operation) = &mut self.operation {
                        operation.step = Step::Resolving(revision);
                    }
                    self.resolve(revision, now, effects);
                }
                None => self.finish(Ending::Succeeded, now, effects),
            }
        } else if pace.failures >= self.sides.policy().failure_limit {
            let cause = pace.cause.0.unwrap_or_else(|| Arc::new(Cause::new(CauseCode::Crashed)));
            self.resume_failed(cause, now, effects);
        }
    }

    /// It is paused as before, and what came of it until now leaves.
    pub(super) fn resume_failed(
        &mut self,
        cause: Arc<Cause>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.trouble = Aside(Some(Arc::clone(&cause)));
        // What waits may be one more resume, which goes on with what is there.
        if self.next.is_none_or(|next| next.work != Work::Resume) {
            self.set_gate(Gate::Paused, now, effects);
        }
        self.finish(Ending::Failed(cause), now, effects);
    }

    /// Resuming => paused as before, for the last thing that went wrong.
    pub(super) fn resume_is_over(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.is_resuming() {
            let cause = self.sides.live().and_then(|live| live.pace.cause.0.clone());
            let cause = cause.unwrap_or_else(|| Arc::new(Cause::new(CauseCode::TooLong)));
            self.resume_failed(cause, now, effects);
        }
    }

    pub(super) fn is_resuming(&self) -> bool {
        self.operation.as_ref().is_some_and(|operation| operation.step == Step::Resuming)
    }

    pub(super) fn stop_failed(
        &mut self,
        cause: Arc<Cause>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Operation { step: Step::Deleting { failures }, .. }) = &mut self.operation else {
            return;
        };
        *failures += 1;
        if *failures >= self.sides.policy().failure_limit {
            self.life = Life::DeleteFailed;
            self.trouble = Aside(Some(Arc::clone(&cause)));
            self.finish(Ending::Failed(cause), now, effects);
        }
    }

    /// A revision of what is wanted now.
    pub(super) fn new_revision(&mut self) -> RevisionNumber {
        self.newest = self.newest.next();
        let revision = Revision {
            spec: self.wanted.clone(),
            pinned: Aside(None),
            served: false,
            values: Values::Unknown,
        };
        Arc::make_mut(&mut self.revisions).insert(self.newest, revision);
        self.newest
    }

    /// Keeps the newest ones that served, and all that anything refers to.
    fn forget_revisions(&mut self) {
        let next = self.next.and_then(|next| match next.work {
            Work::Roll(revision) => Some(revision),
            Work::Pause | Work::Resume | Work::Delete => None,
        });
        let resolving = self.operation.as_ref().and_then(|operation| match operation.step {
            Step::Resolving(revision) => Some(revision),
            _ => None,
        });
        let rolling = self.sides.rollout().map(|rollout| rollout.green.revision);
        let kept = [self.live(), self.sides.warm(), next, resolving, rolling, self.edited];
        let newest = self.revisions.iter().rev().filter(|(_, revision)| revision.served);
        let oldest = newest.map(|(number, _)| *number).nth(REVISIONS_KEPT - 1);
        Arc::make_mut(&mut self.revisions).retain(|number, revision| {
            kept.contains(&Some(*number))
                || revision.served && oldest.is_none_or(|oldest| *number >= oldest)
        });
    }
}

/// How many revisions that served can be returned to.
const REVISIONS_KEPT: usize = 10;
