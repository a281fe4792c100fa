//! A deployment by itself, for those who bring everything around it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Aside, CauseCode, Effect, Event, Fleet, Instance, Outcome, Phase, Policy, Side, Sides, Stage,
    Timer, Timing, Wait,
};
use crate::{
    address::Address,
    admission::Snapshot,
    id::{InstanceId, ServiceId},
    time::Timestamp,
};

/// One deployment: blue's instances, green's, and how far it is.
///
/// See the [module page](super) for the contract.
///
/// ```
/// use std::{collections::BTreeMap, sync::Arc};
/// use runner_core::{
///     deployment::{Deployment, Effect, Event, Outcome, Plan, Policy, Side, Timer},
///     id::{RevisionNumber, ServiceId},
///     spec::ServiceSpec,
///     time::Timestamp,
/// };
///
/// let spec = ServiceSpec::command(["./hello"]).between(1, 4).check("hello")?.value;
/// let plan = Plan {
///     service: ServiceId::from_random(7),
///     policy: Arc::new(Policy::new(spec.settings(), false)),
///     blue: None,
///     green: Side::new(RevisionNumber::FIRST, spec.revision()),
///     desired: 1,
///     next_instance: 1,
/// };
/// let now = Timestamp::EPOCH;
/// let (mut deployment, effects) = Deployment::begin(plan, now);
/// let started = effects.iter().find_map(|effect| match effect {
///     Effect::Start { instance, .. } => Some(*instance),
///     _ => None,
/// });
/// let instance = started.expect("one is wanted");
/// let address = "127.0.0.1:8081".parse().ok();
/// let _ = deployment.handle(Event::Started(instance, address), now);
/// let _ = deployment.handle(Event::BecameReady(instance), now);
/// assert!(deployment.snapshot().instances[0].accepting);
///
/// let effects = deployment.handle(Event::Due(Timer::Stage), now);
/// assert!(effects.contains(&Effect::Promote(RevisionNumber::FIRST)));
/// assert_eq!(deployment.outcome(), Some(&Outcome::Succeeded));
/// # Ok::<(), runner_core::spec::Faults>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Deployment {
    sides: Sides,
    outcome: Option<Outcome>,
}

/// What a deployment begins with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose instances they are.
    pub service: ServiceId,
    /// How to go about it.
    pub policy: Arc<Policy>,
    /// What serves, and its instances; none for a first deployment.
    pub blue: Option<(Side, BTreeMap<InstanceId, Address>)>,
    /// What is to serve.
    pub green: Side,
    /// How many instances are wanted.
    pub desired: u32,
    /// The number of the next instance; never one that was used.
    pub next_instance: u64,
}

impl Deployment {
    /// Begins. Blue's instances are taken as ready.
    ///
    /// # Panics
    ///
    /// When blue and green are one revision.
    pub fn begin(plan: Plan, now: Timestamp) -> (Self, Vec<Effect>) {
        let (mut deployment, green) = Self::prepare(plan, now);
        let effects = deployment.go(green, now);
        (deployment, effects)
    }

    fn prepare(plan: Plan, now: Timestamp) -> (Self, Side) {
        let Plan { service, policy, blue, green, desired, next_instance } = plan;
        let mut sides = Sides::new(service, policy, desired, now);
        sides.next = Aside(next_instance);
        if let Some((side, instances)) = blue {
            for (id, address) in instances {
                let mut instance = Instance::new(side.revision, Phase::Ready, now);
                instance.address = Aside(Some(address));
                sides.instances.insert(id, instance);
                sides.next = Aside((*sides.next).max(id.number + 1));
            }
            sides.live = Some(side);
        }
        (Self { sides, outcome: None }, green)
    }

    fn go(&mut self, green: Side, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.sides.begin(green, now, &mut effects);
        self.sides.settle(0, now, &mut effects);
        self.conclude(&effects);
        effects
    }

    /// How long each stage took, the one under way included.
    pub fn timings(&self) -> &[Timing] {
        self.sides.timings()
    }

    /// Takes an event in and says what to do. What is late, repeated or about something that is
    /// gone changes nothing.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.sides.handle(event, now, &mut effects);
        self.conclude(&effects);
        effects
    }

    /// Goes back to blue. After promotion there is nothing to cancel: the way back is another
    /// deployment.
    pub fn cancel(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        let _ = self.sides.cancel(CauseCode::Cancelled, now, &mut effects);
        self.conclude(&effects);
        effects
    }

    /// Where it stands; none once it is over.
    pub fn stage(&self) -> Option<Stage> {
        match (self.sides.rollout(), &self.outcome) {
            (Some(rollout), _) => Some(rollout.stage),
            (None, None) => Some(Stage::Leaving),
            (None, Some(_)) => None,
        }
    }

    /// Whether blue leaves before green comes.
    pub fn is_in_place(&self) -> bool {
        self.sides.policy().shift == super::Shift::InPlace
    }

    /// How it ended; none while it is under way.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// What requests see now.
    pub fn snapshot(&self) -> Snapshot {
        self.sides.snapshot()
    }

    /// Every instance there is.
    pub fn instances(&self) -> &Fleet {
        self.sides.instances()
    }

    /// Every timer that is armed, with its time.
    pub fn timers(&self) -> Vec<(Timer, Timestamp)> {
        self.sides.timers()
    }

    /// Everything that is waited for.
    pub fn waits(&self) -> Vec<Wait> {
        self.sides.waits()
    }

    fn conclude(&mut self, effects: &[Effect]) {
        let outcome = effects.iter().find_map(|effect| match effect {
            Effect::Conclude(outcome) => Some(outcome),
            _ => None,
        });
        if let Some(outcome) = outcome {
            self.outcome = Some(outcome.clone());
        }
    }
}
