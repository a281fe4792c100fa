//! All instances of a service together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use runner_core::{id::InstanceId, time::Timestamp};

use super::{
    Answer, Ask, Cause, Change, InstanceEffect, InstanceEvent, InstanceHealth, Outcomes, Verdict,
};
use crate::{
    passive::{Passive, PassiveEffect, PassiveSettings},
    settings::HealthSettings,
};

/// The health of a fleet. See the [rules](super).
///
/// ```
/// use std::sync::Arc;
/// use runner_core::{id::ServiceId, time::Timestamp};
/// use runner_health::{
///     HealthSettings,
///     passive::PassiveSettings,
///     probe::Seen,
///     verdict::{Answer, FleetEffect, FleetEvent, FleetHealth, Verdict},
/// };
///
/// let now = Timestamp::from_secs(1_777_507_200);
/// let mut fleet = FleetHealth::new(PassiveSettings::default(), 7);
/// let (instance, settings) = (ServiceId::from_random(1).instance(1), Arc::default());
/// let effects = fleet.handle(FleetEvent::Added { instance, settings }, now);
/// let [FleetEffect::Ask { ask, .. }] = effects[..] else { panic!("it is asked at once") };
/// let answer = Answer {
///     question: ask.question,
///     ticket: ask.ticket,
///     begun: now,
///     seen: Seen::Accepted,
///     disturbed: false,
/// };
/// let effects = fleet.handle(FleetEvent::Answered { instance, answer }, now);
/// assert!(matches!(&effects[1], FleetEffect::Changed(change) if change.to == Verdict::Ready));
/// assert_eq!(fleet.verdict(instance), Some(Verdict::Ready));
/// # let _: Arc<HealthSettings> = Arc::default();
/// ```
#[derive(Clone, Debug)]
pub struct FleetHealth {
    /// Boxed: a map has room for a dozen values, and most fleets are of one.
    members: BTreeMap<InstanceId, Box<Member>>,
    passive: Passive,
    seed: u64,
    /// How many instances are well.
    well: usize,
    /// How many were ever added: who is new and who is not.
    added: u64,
    /// Those that should be replaced and have not been told so.
    wanting: BTreeSet<InstanceId>,
    trial: Option<Trial>,
}

/// What happens to a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever drives it has to know each")]
pub enum FleetEvent {
    /// An instance was started, or found; one that is there already is left as it is.
    Added {
        /// Which.
        instance: InstanceId,
        /// How its health is found out.
        settings: Arc<HealthSettings>,
    },
    /// An instance is gone, or is about to be stopped.
    Removed {
        /// Which.
        instance: InstanceId,
    },
    /// A question was answered.
    Answered {
        /// By which instance.
        instance: InstanceId,
        /// What came of it.
        answer: Answer,
    },
    /// Requests to an instance ended.
    Reported {
        /// To which.
        instance: InstanceId,
        /// How they went.
        outcomes: Outcomes,
    },
    /// An instance is about to be frozen.
    Freeze {
        /// Which.
        instance: InstanceId,
    },
    /// An instance was thawed.
    Thaw {
        /// Which.
        instance: InstanceId,
    },
    /// This long this program did not run, and could not ask.
    Lost(Duration),
    /// [`FleetHealth::next_due`] has come.
    Tick,
}

/// What is to be done about a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "to ignore one is a bug")]
#[must_use = "an effect that nobody carries out leaves instances unasked"]
pub enum FleetEffect {
    /// Ask an instance something.
    Ask {
        /// Which.
        instance: InstanceId,
        /// What, and when.
        ask: Ask,
    },
    /// A verdict changed.
    Changed(Change),
    /// This instance may be replaced now.
    Replace {
        /// Which.
        instance: InstanceId,
    },
}

#[derive(Clone, Debug)]
struct Member {
    health: InstanceHealth,
    /// As it was last told.
    verdict: Verdict,
    is_well: bool,
    /// The how-manieth it was to be added.
    added: u64,
    /// It was said that it may be replaced.
    is_granted: bool,
}

/// A replacement that was allowed while nobody was well.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// Whoever is added after this many is what it was allowed for.
    added: u64,
    /// When it has failed at the latest.
    until: Timestamp,
}

impl FleetHealth {
    /// A fleet without instances. The seed decides the jitter and nothing else.
    pub const fn new(passive: PassiveSettings, seed: u64) -> Self {
        Self {
            members: BTreeMap::new(),
            passive: Passive::new(passive),
            seed,
            well: 0,
            added: 0,
            wanting: BTreeSet::new(),
            trial: None,
        }
    }

    /// What an instance is held to be.
    pub fn verdict(&self, instance: InstanceId) -> Option<Verdict> {
        self.members.get(&instance).map(|member| member.verdict)
    }

    /// All instances and what they are held to be.
    pub fn verdicts(&self) -> impl Iterator<Item = (InstanceId, Verdict)> {
        self.members.iter().map(|(id, member)| (*id, member.verdict))
    }

    /// When a [`Tick`](FleetEvent::Tick) is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        let trial = self.trial.filter(|_| !self.wanting.is_empty()).map(|trial| trial.until);
        self.passive.next_due().into_iter().chain(trial).min()
    }

    /// Takes an event and says what is to be done.
    pub fn handle(&mut self, event: FleetEvent, now: Timestamp) -> Vec<FleetEffect> {
        let mut effects = Vec::new();
        match event {
            FleetEvent::Added { instance, settings } => {
                self.add(instance, settings, now, &mut effects);
            }
            FleetEvent::Removed { instance } => self.remove(instance, now, &mut effects),
            FleetEvent::Answered { instance, answer } => {
                self.tell(instance, InstanceEvent::Answered(answer), now, &mut effects);
            }
            FleetEvent::Freeze { instance } => {
                self.tell(instance, InstanceEvent::Freeze, now, &mut effects);
            }
            FleetEvent::Thaw { instance } => {
                self.tell(instance, InstanceEvent::Thaw, now, &mut effects);
            }
            FleetEvent::Reported { instance, outcomes } => {
                let passive = self.passive.handle_report(instance, outcomes, now);
                self.carry_out(passive, now, &mut effects);
            }
            FleetEvent::Lost(span) => {
                self.passive.handle_lost();
                self.trial.iter_mut().for_each(|trial| trial.until += span);
                for member in self.members.values_mut() {
                    // It moves deadlines and asks nothing.
                    let _ = member.health.handle(InstanceEvent::Lost(span), now);
                }
            }
            FleetEvent::Tick => {
                if self.trial.is_some_and(|trial| trial.until <= now) {
                    self.trial = None;
                }
                let passive = self.passive.handle_tick(now);
                self.carry_out(passive, now, &mut effects);
            }
        }
        self.replace(now, &mut effects);
        effects
    }

    fn add(
        &mut self,
        instance: InstanceId,
        settings: Arc<HealthSettings>,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        if self.members.contains_key(&instance) {
            return;
        }
        let seed = (self.seed, instance.number);
        let (health, asks) = InstanceHealth::begin(settings, seed, now);
        self.added += 1;
        let verdict = health.verdict();
        let added = self.added;
        let member = Member { health, verdict, is_well: false, added, is_granted: false };
        self.members.insert(instance, Box::new(member));
        for effect in asks {
            if let InstanceEffect::Ask(ask) = effect {
                effects.push(FleetEffect::Ask { instance, ask });
            }
        }
    }

    fn remove(&mut self, instance: InstanceId, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        let Some(member) = self.members.remove(&instance) else { return };
        self.well -= usize::from(member.is_well);
        self.wanting.remove(&instance);
        // What was to show whether new ones are better is gone without having passed.
        self.end_trial_of(&member);
        let passive = self.passive.handle_removed(instance, now);
        self.carry_out(passive, now, effects);
    }

    fn tell(
        &mut self,
        instance: InstanceId,
        event: InstanceEvent,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(member) = self.members.get_mut(&instance) else { return };
        let mut turned = None;
        for effect in member.health.handle(event, now) {
            match effect {
                InstanceEffect::Ask(ask) => effects.push(FleetEffect::Ask { instance, ask }),
                InstanceEffect::Turned { cause, .. } => turned = Some(cause),
            }
        }
        let is_well = member.health.is_well();
        self.well = self.well + usize::from(is_well) - usize::from(member.is_well);
        member.is_well = is_well;
        let Some(cause) = turned else { return };
        let verdict = member.health.verdict();
        // Whoever recovers may fail, and be told so, again.
        member.is_granted &= verdict != Verdict::Ready;
        match member.health.wants_replacement() && !member.is_granted {
            true => drop(self.wanting.insert(instance)),
            false => drop(self.wanting.remove(&instance)),
        }
        if verdict == Verdict::NeverReady {
            let member = member.clone();
            self.end_trial_of(&member);
        }
        let passive = self.passive.handle_eligible(instance, verdict == Verdict::Ready, now);
        self.publish(instance, cause, effects);
        self.carry_out(passive, now, effects);
    }

    fn carry_out(
        &mut self,
        passive: Vec<PassiveEffect>,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        for effect in passive {
            match effect {
                PassiveEffect::Eject { instance, grounds, span } => {
                    self.publish(instance, Cause::Ejected { grounds, span }, effects);
                    // Whether it is really gone is better known soon.
                    self.tell(instance, InstanceEvent::Suspected, now, effects);
                }
                PassiveEffect::Readmit { instance, failed_open } => {
                    let open = if failed_open { Cause::FailedOpen } else { Cause::ServedItsTime };
                    self.publish(instance, open, effects);
                }
            }
        }
    }

    /// Tells a verdict if it is another than was told before.
    fn publish(&mut self, instance: InstanceId, cause: Cause, effects: &mut Vec<FleetEffect>) {
        let is_ejected = self.passive.is_ejected(instance);
        let Some(member) = self.members.get_mut(&instance) else { return };
        let to = match member.health.verdict() {
            Verdict::Ready if is_ejected => Verdict::Ejected,
            verdict => verdict,
        };
        let from = std::mem::replace(&mut member.verdict, to);
        if from != to {
            effects.push(FleetEffect::Changed(Change { instance, from, to, cause }));
        }
    }

    /// Allows replacements: all while somebody is well, otherwise one at a time.
    fn replace(&mut self, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        if self.well > 0 {
            self.trial = None;
        }
        while self.trial.is_none() {
            let Some(instance) = self.wanting.pop_first() else { return };
            let Some(member) = self.members.get_mut(&instance) else { continue };
            member.is_granted = true;
            if self.well == 0 {
                // It has to be stopped, another started, and that one to pass.
                let until = now + member.health.start_allowance() * 2;
                self.trial = Some(Trial { added: self.added, until });
            }
            effects.push(FleetEffect::Replace { instance });
        }
    }

    fn end_trial_of(&mut self, member: &Member) {
        if self.trial.is_some_and(|trial| member.added > trial.added) {
            self.trial = None;
        }
    }
}
