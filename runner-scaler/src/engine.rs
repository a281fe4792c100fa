//! A policy, its limits and what was learned, as one value.

use std::time::Duration;

use runner_core::time::Timestamp;

use crate::{
    decision::{Change, Count, Decision, Reason, Seen, Wish},
    error::InvalidPolicy,
    learn::StartUp,
    limits::{Limits, Memory},
    observation::Observation,
    policy::{Asked, Bounded, Look, Policy},
};

/// Decides how many instances there should be, from one look to the next.
///
/// ```
/// use std::time::Duration;
/// use runner_core::time::Timestamp;
/// use runner_scaler::{DefaultPolicy, Engine, Load, Observation, PolicyExt, wait_below};
///
/// let objective = wait_below(Duration::from_millis(200), 0.999);
/// let mut engine = Engine::new(DefaultPolicy::default().between(1, 25).objective(objective))?;
/// let now = Timestamp::from_secs(60);
/// let seen = Observation::of_ready(2, 10, now).with_load(Load::now(20, 41));
/// let decision = engine.decide(&seen, now);
/// assert!(decision.active >= 7, "{decision}");
/// assert!(decision.to_string().contains("20 in flight + 41 waiting at cap 10"), "{decision}");
/// # Ok::<(), runner_scaler::InvalidPolicy>(())
/// ```
#[derive(Clone, Debug)]
pub struct Engine<P> {
    policy: P,
    limits: Limits,
    memory: Memory,
    start_up: StartUp,
}

impl<P: Policy> Engine<P> {
    /// An engine that has seen nothing.
    ///
    /// # Errors
    ///
    /// When the policy or its limits contradict themselves.
    pub fn new(bounded: Bounded<P>) -> Result<Self, InvalidPolicy> {
        let Bounded { policy, limits, fault } = bounded;
        if let Some(fault) = fault {
            return Err(fault);
        }
        limits.check()?;
        Ok(Self { policy, limits, memory: Memory::default(), start_up: StartUp::default() })
    }

    /// Goes on where another engine stopped that decided on so many: after a restart, what was seen
    /// before it is lost, and that there is no load at this moment says nothing about the one
    /// before. So the count is held as one that was wished for just now: fewer have to be enough
    /// for the whole delay, and the last one stays for its time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runner_core::time::Timestamp;
    /// use runner_scaler::{AppRunner, Engine, Observation, PolicyExt};
    ///
    /// let limits = AppRunner::default().between(1, 9).scale_in_delay(Duration::from_secs(120));
    /// let (mut engine, began) = (Engine::new(limits)?, Timestamp::from_secs(60));
    /// engine.resume(4, began);
    /// let mut decide = |at| engine.decide(&Observation::of_ready(4, 10, at), at).total();
    /// assert_eq!(decide(began), 4);
    /// assert_eq!(decide(began + Duration::from_secs(120)), 1);
    /// # Ok::<(), runner_scaler::InvalidPolicy>(())
    /// ```
    pub fn resume(&mut self, count: u32, now: Timestamp) {
        self.memory.resume(count, &self.limits, now);
    }

    /// The limits that hold.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Puts limits in the place of those before; what was learned stays.
    ///
    /// # Errors
    ///
    /// When they contradict themselves; those before hold on.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), InvalidPolicy> {
        limits.check()?;
        self.limits = limits;
        Ok(())
    }

    /// Puts a policy in the place of the one before, which hands on what it learned where the new
    /// one is of its kind; see [`Policy::take_over`].
    pub fn set_policy(&mut self, mut policy: P) {
        if let Some(learned) = self.policy.learned() {
            policy.take_over(learned);
        }
        self.policy = policy;
    }

    /// The policy itself, for calls of its own such as fitting a season.
    pub const fn policy_mut(&mut self) -> &mut P {
        &mut self.policy
    }

    /// How long a start takes, as far as was learned; the prior until then.
    pub fn start_up(&self) -> Duration {
        self.start_up.expected()
    }

    /// What was learned about starts.
    pub const fn starts(&self) -> &StartUp {
        &self.start_up
    }

    /// How many instances there should be. Calls follow each other in time.
    pub fn decide(&mut self, observation: &Observation, now: Timestamp) -> Decision {
        let fleet = observation.fleet(now);
        for took in &observation.started {
            self.start_up.handle_start(*took);
        }
        self.start_up.handle_waiting(fleet.oldest_start);
        let start_up = self.start_up.expected();
        let seen = Seen::new(observation, fleet, start_up);

        // The one allocation of a decision: room for what rules and limits usually say.
        let mut reasons = Vec::with_capacity(USUAL_REASONS);
        let look = Look { seen: observation, fleet, start_up, limits: &self.limits, now };
        self.policy.ask(&look, &mut Asked::new(&mut reasons));
        let wishes = reasons.iter().filter_map(|reason| match reason {
            Reason::Asked(wish) => Some(wish),
            Reason::Clamped(_) => None,
        });
        let turns = wishes.clone().filter_map(|wish| wish.until).min();
        let wish = largest(wishes).unwrap_or_else(|| Count::new(fleet.active(), fleet.present()));
        self.memory.note(wish, &self.limits, &seen, now);
        let passed = self.limits.pass(wish, &self.memory, &seen, now, &mut |clamped| {
            reasons.push(Reason::Clamped(clamped));
        });
        let count = passed.count;
        let otherwise = self.limits.otherwise(count, wish, &reasons, &self.memory, &seen, now);
        self.memory.settle(count, &self.limits, &seen, now);
        let until = [turns, passed.until].into_iter().flatten().min();
        let (active, standby) = (count.active, count.total - count.active);
        Decision { at: now, active, standby, until, reasons, otherwise, seen }
    }
}

impl<P: Policy + Clone> Engine<P> {
    /// What would be decided if something were different, this engine staying as it is.
    pub fn what_if(&self, observation: &Observation, change: &Change, now: Timestamp) -> Decision {
        let (mut other, mut seen) = (self.clone(), observation.clone());
        match change {
            Change::NotExhausted => seen.exhausted = false,
            Change::Setting(setting) => other.limits = other.limits.changed(*setting),
            Change::Signal { signal, value } => signal.write(&mut seen, *value, now),
        }
        other.decide(&seen, now)
    }
}

/// The wish for most of several, and the most standby beside any.
fn largest<'a>(wishes: impl Iterator<Item = &'a Wish>) -> Option<Count> {
    wishes.fold(None, |best, wish| {
        let total = wish.active.saturating_add(wish.standby);
        let best = best.unwrap_or_default();
        Some(Count::new(best.active.max(wish.active), best.total.max(total)))
    })
}

/// What rules and limits say in all but rare cases: three wishes and five clamps.
const USUAL_REASONS: usize = 8;
