//! The machine: the hub that events and commands go through.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Effect, Event, Kind, Notice, Status, Timer,
    state::{Life, Next, Operation, Revision, Step, Values, Work},
};
use crate::{
    deployment::{self, Aside, Cause, Course, Policy, Sides},
    id::{OperationId, RevisionNumber, ServiceId},
    spec::{ConcurrentEdits, RevisionSpec, ServiceSettings, ServiceSpec},
    time::Timestamp,
};

/// One service: what it is, what it should be, and what is being done about it.
///
/// See the [module page](super) for the contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Service {
    pub(super) id: Aside<ServiceId>,
    pub(super) settings: Aside<Arc<ServiceSettings>>,
    /// Of the settings what decides here, so that it is part of the essence.
    pub(super) edits: Edits,
    /// What the next revision is made from.
    pub(super) wanted: Aside<Arc<RevisionSpec>>,
    /// Shared with the records that are being committed: it changes with operations alone.
    pub(super) revisions: Arc<BTreeMap<RevisionNumber, Revision>>,
    pub(super) newest: RevisionNumber,
    pub(super) sides: Sides,
    pub(super) life: Life,
    pub(super) operation: Option<Operation>,
    pub(super) next: Option<Next>,
    /// What was changed while it was paused, for when it is resumed.
    pub(super) edited: Option<RevisionNumber>,
    /// Why it failed, the last time it did.
    pub(super) trouble: Aside<Option<Arc<Cause>>>,
}

/// [`ConcurrentEdits`], exhaustively.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Edits {
    Refuse,
    Queue,
    Supersede,
}

impl Edits {
    pub(super) fn of(settings: &ServiceSettings) -> Self {
        match settings.deployment().concurrent_edits {
            ConcurrentEdits::Refuse => Self::Refuse,
            ConcurrentEdits::Queue => Self::Queue,
            ConcurrentEdits::Supersede => Self::Supersede,
        }
    }
}

impl Service {
    /// A new service, whose first revision is being resolved and deployed. `standby` says whether
    /// the backend can freeze.
    pub fn create(
        id: ServiceId,
        operation: OperationId,
        spec: &ServiceSpec,
        standby: bool,
        now: Timestamp,
    ) -> (Self, Vec<Effect>) {
        let mut service = Self::blank(id, spec, standby, now);
        let effects = service.first(operation, now);
        (service, effects)
    }

    pub(crate) fn blank(id: ServiceId, spec: &ServiceSpec, standby: bool, now: Timestamp) -> Self {
        let settings = Arc::new(spec.settings().clone());
        let policy = Arc::new(Policy::new(&settings, standby));
        let desired = settings.scaling().minimum.number();
        let wanted = Aside(Arc::new(spec.revision().clone()));
        Self {
            id: Aside(id),
            edits: Edits::of(&settings),
            settings: Aside(settings),
            revisions: Arc::default(),
            newest: RevisionNumber::new(0),
            wanted,
            sides: Sides::new(id, policy, desired, now),
            life: Life::New,
            operation: None,
            next: None,
            edited: None,
            trouble: Aside(None),
        }
    }

    /// The first revision of a blank service.
    pub(crate) fn first(&mut self, id: OperationId, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        let revision = self.new_revision();
        let next = Next { id: Aside(id), kind: Kind::CreateService, work: Work::Roll(revision) };
        effects.push(Effect::Accepted(id, next.kind));
        self.begin(next, now, &mut effects);
        effects
    }

    #[cfg(feature = "testing")]
    pub(crate) fn leave_out(&mut self, guard: deployment::Guard) {
        self.sides.leave_out(guard);
    }

    /// Takes an event in and says what to do. What is late, repeated or about something that is
    /// gone changes nothing.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        let status = self.status();
        match event {
            Event::Fleet(event) => {
                let stop_failed = match &event {
                    deployment::Event::StopFailed(_, cause) => Some(Arc::clone(cause)),
                    _ => None,
                };
                self.fleet(|sides, effects| sides.handle(event, now, effects), now, &mut effects);
                if let Some(cause) = stop_failed {
                    self.stop_failed(cause, now, &mut effects);
                }
            }
            Event::Resolved(revision, Ok(found)) => {
                self.resolved(revision, found, now, &mut effects);
            }
            Event::Resolved(revision, Err(cause)) => {
                self.not_resolved(revision, cause, now, &mut effects);
            }
            Event::Due(Timer::Fleet(timer)) => {
                let event = deployment::Event::Due(timer);
                self.fleet(|sides, effects| sides.handle(event, now, effects), now, &mut effects);
            }
            Event::Due(Timer::ResolveAgain(revision)) => self.ask_again(revision, &mut effects),
            Event::Due(Timer::Resume) => self.resume_is_over(now, &mut effects),
        }
        self.progress(now, &mut effects);
        self.note_status(status, &mut effects);
        effects
    }

    /// Every timer that is armed, with its time.
    pub fn timers(&self) -> Vec<(Timer, Timestamp)> {
        let fleet = self.sides.timers().into_iter();
        let mut timers: Vec<_> = fleet.map(|(timer, at)| (Timer::Fleet(timer), at)).collect();
        for (number, revision) in self.revisions.iter() {
            if let Values::Again { since, .. } = revision.values {
                timers.push((Timer::ResolveAgain(*number), since.0 + ASK_AGAIN));
            }
        }
        if let Some(Operation { step: Step::Resuming, since, .. }) = &self.operation {
            timers.push((Timer::Resume, since.0 + self.sides.come_back_within()));
        }
        timers
    }

    /// Lets something happen to the fleet, and hands on what it wants.
    pub(super) fn fleet(
        &mut self,
        happens: impl FnOnce(&mut Sides, &mut Vec<deployment::Effect>),
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let mut wanted = Vec::new();
        happens(&mut self.sides, &mut wanted);
        for effect in wanted {
            match effect {
                deployment::Effect::Conclude(outcome) => self.concluded(outcome, now, effects),
                deployment::Effect::Promote(revision) => {
                    if let Some(revision) = self.revision_mut(revision) {
                        revision.served = true;
                    }
                    effects.push(Effect::Fleet(deployment::Effect::Promote(revision)));
                }
                effect => effects.push(Effect::Fleet(effect)),
            }
        }
    }

    pub(super) fn revision_mut(&mut self, number: RevisionNumber) -> Option<&mut Revision> {
        Arc::make_mut(&mut self.revisions).get_mut(&number)
    }

    pub(super) fn note_status(&self, from: Status, effects: &mut Vec<Effect>) {
        let to = self.status();
        if from != to {
            effects.push(Effect::Note(Notice::Status { from, to }));
        }
    }

    pub(super) fn is_steady(&self) -> bool {
        *self.sides.course() == Course::Steady
    }
}

/// How long until a store or registry that did not answer is asked again.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);
