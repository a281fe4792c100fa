//! What users ask for: whether it may be had, and what it begins.

use std::sync::Arc;

use super::{
    Command, Effect, Ending, Finished, Kind, Refused, Service,
    machine::Edits,
    state::{Life, Next, Step, Work},
};
use crate::{
    deployment::{self, Aside, Cause, CauseCode, Policy, Sides},
    id::{OperationId, RevisionNumber},
    spec::{RevisionSpec, ServiceSettings},
    time::Timestamp,
};

impl Service {
    /// Does what a user asks for. `id` is what the user follows it by, where it takes time.
    ///
    /// # Errors
    ///
    /// Why not. Nothing has changed then.
    pub fn command(
        &mut self,
        id: OperationId,
        command: Command,
        now: Timestamp,
    ) -> Result<Vec<Effect>, Refused> {
        let mut effects = Vec::new();
        let status = self.status();
        match command {
            Command::Cancel => self.cancel(now, &mut effects)?,
            Command::Approve => self.approve(now, &mut effects)?,
            Command::Update { revision, settings } => {
                self.update(id, revision, settings, now, &mut effects)?;
            }
            Command::Deploy => {
                self.admits(Kind::StartDeployment)?;
                let revision = self.new_revision();
                self.accept(id, Kind::StartDeployment, Work::Roll(revision), now, &mut effects);
            }
            Command::RollBack(to) => {
                self.can_roll_back(to)?;
                self.admits(Kind::StartDeployment)?;
                self.accept(id, Kind::StartDeployment, Work::Roll(to), now, &mut effects);
            }
            Command::Pause => {
                self.admits(Kind::PauseService)?;
                self.accept(id, Kind::PauseService, Work::Pause, now, &mut effects);
            }
            Command::Resume => {
                self.admits(Kind::ResumeService)?;
                self.accept(id, Kind::ResumeService, Work::Resume, now, &mut effects);
            }
            Command::Delete => {
                let under_way = self.operation.as_ref().map(|operation| operation.step);
                if matches!(under_way, Some(Step::Deleting { .. })) {
                    return Err(Refused::Busy);
                }
                if under_way.is_none() && !self.allows(Kind::DeleteService) {
                    return Err(Refused::State(status));
                }
                let kind = Kind::DeleteService;
                let next = Next { id: Aside(id), kind, work: Work::Delete };
                self.take_over(next, now, &mut effects);
            }
        }
        self.progress(now, &mut effects);
        self.note_status(status, &mut effects);
        Ok(effects)
    }

    /// Whether an operation of a kind may come now.
    fn admits(&self, kind: Kind) -> Result<(), Refused> {
        let busy = self.operation.is_some();
        match self.edits {
            Edits::Refuse if busy => return Err(Refused::Busy),
            Edits::Queue if self.next.is_some() => return Err(Refused::QueueFull),
            Edits::Refuse | Edits::Queue | Edits::Supersede => {}
        }
        // What waits is judged when its turn comes, by what the service is then.
        match busy || self.allows(kind) {
            true => Ok(()),
            false => Err(Refused::State(self.status())),
        }
    }

    pub(super) fn allows(&self, kind: Kind) -> bool {
        match (kind, self.life) {
            (Kind::CreateService, life) => life == Life::New,
            (Kind::DeleteService, life) => life != Life::Deleted,
            (Kind::UpdateService, life) => !matches!(life, Life::Deleted | Life::DeleteFailed),
            // Wider than App Runner, which wants an update there: what failed may be tried again.
            (Kind::StartDeployment, life) => matches!(life, Life::Running | Life::CreateFailed),
            (Kind::PauseService, life) => life == Life::Running,
            (Kind::ResumeService, life) => life == Life::Paused,
        }
    }

    fn update(
        &mut self,
        id: OperationId,
        revision: Option<Arc<RevisionSpec>>,
        settings: Option<Arc<ServiceSettings>>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let changed = revision.filter(|revision| **revision != **self.wanted);
        // Settings go around operations: they apply at once, whatever is under way.
        if changed.is_some() {
            self.admits(Kind::UpdateService)?;
        } else if !self.allows(Kind::UpdateService) {
            return Err(Refused::State(self.status()));
        }
        if let Some(settings) = settings {
            self.apply(settings, now, effects);
        }
        let Some(changed) = changed else {
            effects.push(Effect::Accepted(id, Kind::UpdateService));
            let (operation, kind, result) = (id, Kind::UpdateService, Ending::Succeeded);
            self.report(Finished { operation, kind, result }, effects);
            return Ok(());
        };
        self.wanted = Aside(changed);
        let revision = self.new_revision();
        self.accept(id, Kind::UpdateService, Work::Roll(revision), now, effects);
        Ok(())
    }

    /// New settings, at once: also in the middle of a deployment.
    fn apply(&mut self, settings: Arc<ServiceSettings>, now: Timestamp, effects: &mut Vec<Effect>) {
        let policy = Arc::new(Policy::new(&settings, self.sides.policy().standby));
        self.edits = Edits::of(&settings);
        self.settings = Aside(settings);
        let apply = |sides: &mut Sides, effects: &mut Vec<deployment::Effect>| {
            let from = effects.len();
            sides.set_policy(policy);
            sides.settle(from, now, effects);
        };
        self.fleet(apply, now, effects);
    }

    fn cancel(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        let Some(operation) = &self.operation else { return Err(Refused::NothingToCancel) };
        match operation.step {
            Step::Pausing | Step::Deleting { .. } => return Err(Refused::InstancesLeave),
            Step::Rolling => match self.stage() {
                Some(deployment::Stage::TurningBack) => return Err(Refused::TurnsBack),
                Some(deployment::Stage::Leaving) | None => return Err(Refused::Promoted),
                Some(_) => {}
            },
            Step::Resolving(_) | Step::Resuming => {}
        }
        self.give_way(CauseCode::Cancelled, now, effects);
        Ok(())
    }

    /// Gives up what is under way, where that can be undone.
    pub(super) fn give_way(&mut self, code: CauseCode, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(operation) = &self.operation else { return };
        let cause = Arc::new(Cause::new(code));
        match operation.step {
            Step::Resolving(_) => {
                let result = self.failed_back(cause);
                self.finish(result, now, effects);
            }
            Step::Rolling => {
                let cancel = |sides: &mut Sides, effects: &mut Vec<deployment::Effect>| {
                    let _ = sides.cancel(code, now, effects);
                };
                self.fleet(cancel, now, effects);
            }
            // What comes next needs the instances as well.
            Step::Resuming if code == CauseCode::Superseded => {}
            Step::Resuming => self.resume_failed(cause, now, effects),
            Step::Pausing | Step::Deleting { .. } => {}
        }
    }

    fn approve(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        let stage = self.sides.rollout().map(|rollout| rollout.stage);
        if stage != Some(deployment::Stage::Holding) {
            return Err(Refused::NothingToApprove);
        }
        let event = deployment::Event::Approved;
        self.fleet(|sides, effects| sides.handle(event, now, effects), now, effects);
        Ok(())
    }

    fn can_roll_back(&self, to: RevisionNumber) -> Result<(), Refused> {
        let served = self.revisions.get(&to).is_some_and(|revision| revision.served);
        match self.live() {
            _ if !served => Err(Refused::UnknownRevision(to)),
            Some(live) if live == to && self.operation.is_none() => Err(Refused::ServesAlready(to)),
            _ => Ok(()),
        }
    }
}
