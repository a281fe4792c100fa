//! One signal held at a target.

use std::{collections::VecDeque, time::Duration};

use runner_core::time::Timestamp;

use super::{Asked, Look, Policy, just_above, whole};
use crate::{
    decision::{Because, Signal, Wish},
    error::InvalidPolicy,
    observation::Name,
};

/// Holds a signal at a target, as Kubernetes does.
///
/// Signals that grow with the load ([`Signal::Concurrency`], [`Signal::ArrivalRate`],
/// [`Signal::Waiting`]) have a target per instance: so many instances as bring each to it. The
/// others are what the instances that serve show, and the wish is for as many as would show the
/// target if what they do were spread over them: `serving * value / target`. Within the tolerance
/// of the target nothing moves, since every signal is a little off.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetTracking {
    rule: Name,
    signal: Signal,
    target: f64,
    tolerance: f64,
    window: Duration,
    fresh: Duration,
    stale: Stale,
    samples: VecDeque<(Timestamp, f64)>,
    /// What was wished last.
    held: Option<u32>,
}

/// What becomes of a rule whose named number is too old or was not told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Stale {
    /// The rule wishes for what it wished last, so that silence scales nothing in.
    #[default]
    Hold,
    /// The rule has no opinion.
    Ignore,
    /// The number is taken to be this.
    Assume(f64),
}

impl TargetTracking {
    /// Holds `signal` at `target`: the mean of a minute, nothing moving within a tenth of it.
    ///
    /// # Errors
    ///
    /// When the signal is the clock or the target is not above zero.
    pub fn new(signal: Signal, target: f64) -> Result<Self, InvalidPolicy> {
        if signal == Signal::Clock {
            return Err(InvalidPolicy::ClockAsTarget);
        }
        let above_zero = f64::MIN_POSITIVE..=1e12;
        InvalidPolicy::check("the target", target, above_zero, "a number above 0")?;
        Ok(Self {
            rule: Name::fixed("target"),
            signal,
            target,
            tolerance: 0.1,
            window: Duration::from_secs(60),
            fresh: Duration::from_secs(30),
            stale: Stale::Hold,
            samples: VecDeque::new(),
            held: None,
        })
    }

    /// The same under another name.
    #[must_use]
    pub fn called(mut self, rule: Name) -> Self {
        self.rule = rule;
        self
    }

    /// The same over another window; zero takes each value as it comes.
    #[must_use]
    pub fn over(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The same with another tolerance, a part of the target.
    ///
    /// # Errors
    ///
    /// When it is negative or a whole target wide.
    pub fn tolerance(mut self, part: f64) -> Result<Self, InvalidPolicy> {
        InvalidPolicy::check("the tolerance", part, 0.0..1.0, "a part from 0 to below 1")?;
        self.tolerance = part;
        Ok(self)
    }

    /// The same with a rule for numbers older than `fresh`.
    #[must_use]
    pub fn when_stale(mut self, fresh: Duration, stale: Stale) -> Self {
        (self.fresh, self.stale) = (fresh, stale);
        self
    }

    fn grows_with_load(&self) -> bool {
        matches!(self.signal, Signal::ArrivalRate | Signal::Concurrency | Signal::Waiting)
    }

    /// The newest value, unless it is too old.
    fn value(&self, look: &Look<'_>) -> Option<f64> {
        let told = match &self.signal {
            Signal::Named(name) => {
                let named = look.seen.load.named.iter().find(|one| one.name == *name);
                let fresh = named.filter(|one| look.now.since(one.at) <= self.fresh);
                fresh.map(|one| one.value).filter(|value| value.is_finite() && *value >= 0.0)
            }
            signal => signal.read(look.seen),
        };
        told.or(match self.stale {
            Stale::Assume(value) => Some(value),
            Stale::Hold | Stale::Ignore => None,
        })
    }
}

impl Policy for TargetTracking {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        let Some(value) = self.value(look) else {
            if let (Stale::Hold, Some(held)) = (self.stale, self.held) {
                let because = Because::new(self.signal.clone(), f64::NAN, self.target);
                asked.wish(Wish::new(self.rule.clone(), held, because));
            }
            return;
        };
        while self.samples.front().is_some_and(|(at, _)| *at + self.window <= look.now) {
            self.samples.pop_front();
        }
        self.samples.push_back((look.now, value));
        while self.samples.len() > MOST_SAMPLES {
            self.samples.pop_front();
        }
        let count = self.samples.len() as f64;
        let others: f64 = self.samples.iter().rev().skip(1).map(|(_, value)| value).sum();
        let mean = (others + value) / count;
        let serving = f64::from(look.fleet.ready.max(1));
        let each = if self.grows_with_load() { self.target } else { self.target / serving };
        let wanted = mean / each;
        let stays = f64::from(look.fleet.active().max(1));
        let within = (wanted / stays - 1.0).abs() <= self.tolerance;
        let active = if within { stays as u32 } else { whole(wanted) };
        // One more than is wished, and outside of the tolerance around those that are there.
        let edge = (f64::from(active) * each).max(stays * (1.0 + self.tolerance) * each);
        let more_at = just_above(edge).mul_add(count, -others);
        self.held = Some(active);
        let because = Because::new(self.signal.clone(), mean, self.target);
        asked.wish(Wish::new(self.rule.clone(), active, because.more_at(just_above(more_at))));
    }
}

/// An hour of looks once a second: a bound, not a choice.
const MOST_SAMPLES: usize = 3_600;
