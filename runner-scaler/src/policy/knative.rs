//! Knative's stable and panic windows.
//!
//! The formulae of its autoscaler, with the names they have there, at its defaults. It averages
//! concurrency (queued requests included) over a stable window of 60 s and over the last tenth of
//! that; it panics when the short window asks for twice what is ready, and while it panics the
//! count never falls. Only ready instances enter: those that are starting are not capacity to it,
//! and start-up time is not known to it. That is the point of having it here exactly.

use std::{collections::VecDeque, time::Duration};

use runner_core::time::Timestamp;

use super::{Asked, Bounded, Look, Policy, PolicyExt, just_above, whole};
use crate::{
    decision::{Because, Signal, Wish},
    error::InvalidPolicy,
    limits::Limits,
    observation::Name,
    peaks::Peaks,
};

/// Knative's rule.
#[derive(Clone, Debug)]
pub struct Knative {
    utilisation: f64,
    stable_window: Duration,
    panic_window: Duration,
    panic_threshold: f64,
    max_scale_up_rate: f64,
    max_scale_down_rate: f64,
    scale_down_delay: Duration,
    tick: Duration,
    buckets: VecDeque<Bucket>,
    began: bool,
    /// Since when it has not been below the threshold.
    panicking: Option<Timestamp>,
    max_panic: u32,
    delayed: Peaks,
    last: Option<(Timestamp, Wish)>,
}

/// What was seen in one second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    second: u64,
    /// Concurrency times the time it lasted.
    area: f64,
    secs: f64,
    /// How long the newest look of it was, and what it added.
    newest: (f64, f64),
}

impl Bucket {
    fn mean(&self) -> f64 {
        self.area / self.secs
    }

    /// What the newest look would have to say for the mean to be this.
    fn newest_for(&self, mean: f64) -> f64 {
        let (secs, area) = self.newest;
        (mean.mul_add(self.secs, area) - self.area) / secs
    }
}

impl Default for Knative {
    fn default() -> Self {
        Self {
            utilisation: 0.7,
            stable_window: Duration::from_secs(60),
            panic_window: Duration::from_secs(6),
            panic_threshold: 2.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            scale_down_delay: Duration::ZERO,
            tick: Duration::from_secs(2),
            buckets: VecDeque::new(),
            began: false,
            panicking: None,
            max_panic: 0,
            delayed: Peaks::default(),
            last: None,
        }
    }
}

impl Knative {
    /// The rule as it is deployed: nothing is frozen, what is not wanted leaves at once.
    pub fn as_deployed(minimum: u32, maximum: u32) -> Bounded<Self> {
        Self::default().within(Limits::between(minimum, maximum)).without_standby()
    }

    /// How full instances are meant to be. Default: 0.7.
    ///
    /// # Errors
    ///
    /// When it is not within 0.01 to 1.
    pub fn utilisation(mut self, part: f64) -> Result<Self, InvalidPolicy> {
        InvalidPolicy::check("the utilisation", part, 0.01..=1.0, "a part from 0.01 to 1")?;
        self.utilisation = part;
        Ok(self)
    }

    /// The stable window, and the part of it that is the panic window. Default: 60 s and 0.1.
    ///
    /// # Errors
    ///
    /// When the panic window would be shorter than a second or longer than the stable one.
    pub fn windows(mut self, stable: Duration, part: f64) -> Result<Self, InvalidPolicy> {
        InvalidPolicy::check("the panic window", part, 0.01..=1.0, "a part from 0.01 to 1")?;
        let secs = stable.as_secs_f64();
        InvalidPolicy::check("the stable window", secs, 6.0..=3_600.0, "6 s to an hour")?;
        self.stable_window = stable;
        self.panic_window = stable.mul_f64(part).max(Duration::from_secs(1));
        Ok(self)
    }

    /// The part of what is ready from which it panics. Default: 2.
    ///
    /// # Errors
    ///
    /// When it is not above 1.
    pub fn panic_threshold(mut self, times: f64) -> Result<Self, InvalidPolicy> {
        InvalidPolicy::check(
            "the panic threshold",
            times,
            1.01..=10.0,
            "a number from 1.01 to 10",
        )?;
        self.panic_threshold = times;
        Ok(self)
    }

    /// How many times what is ready may be wished at most, and by what it is divided at least.
    /// Default: 1000 and 2.
    ///
    /// # Errors
    ///
    /// When one of them is not above 1.
    pub fn rates(mut self, up: f64, down: f64) -> Result<Self, InvalidPolicy> {
        InvalidPolicy::check("the scale-up rate", up, 1.01..=1e6, "a number above 1")?;
        InvalidPolicy::check("the scale-down rate", down, 1.01..=1e6, "a number above 1")?;
        (self.max_scale_up_rate, self.max_scale_down_rate) = (up, down);
        Ok(self)
    }

    /// The window whose largest wish counts. Default: none.
    #[must_use]
    pub fn scale_down_delay(mut self, delay: Duration) -> Self {
        self.scale_down_delay = delay;
        self
    }

    /// How often it looks. Default: 2 s.
    #[must_use]
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    fn record(&mut self, look: &Look<'_>) {
        let load = &look.seen.load;
        let second = look.now.as_nanos().div_ceil(1_000_000_000);
        let secs = load.span.as_secs_f64().max(1e-3);
        let area = load.mean_concurrency() * secs;
        match self.buckets.back_mut() {
            Some(bucket) if bucket.second == second => {
                bucket.area += area;
                bucket.secs += secs;
                bucket.newest = (secs, area);
            }
            _ => self.buckets.push_back(Bucket { second, area, secs, newest: (secs, area) }),
        }
        let kept = self.stable_window.as_secs();
        while self.buckets.front().is_some_and(|bucket| bucket.second + kept <= second) {
            self.buckets.pop_front();
        }
    }

    /// The mean of the buckets of a window, and what the newest would have to say for the mean
    /// to be `wanted`.
    fn average(&self, window: Duration) -> (f64, f64, f64) {
        let newest = self.buckets.back().map_or(0, |bucket| bucket.second);
        let within = self.buckets.iter().rev();
        let within = within.take_while(|bucket| bucket.second + window.as_secs() > newest);
        let (mut sum, mut count) = (0.0, 0.0);
        for bucket in within {
            sum += bucket.mean();
            count += 1.0;
        }
        let own = self.buckets.back().map_or(0.0, Bucket::mean);
        (sum / f64::max(count, 1.0), sum - own, f64::max(count, 1.0))
    }

    fn decide(&mut self, look: &Look<'_>) -> Wish {
        let ready_now = look.fleet.ready;
        if !self.began {
            // A restart with instances about must not take them away on an empty window.
            self.began = true;
            if ready_now > 1 {
                (self.panicking, self.max_panic) = (Some(look.now), ready_now);
            }
        }
        let target = look.seen.slots_each() * self.utilisation;
        let ready = f64::from(ready_now.max(1));
        let most = (self.max_scale_up_rate * ready).ceil();
        let least = (ready / self.max_scale_down_rate).floor();
        let (stable, others, count) = self.average(self.stable_window);
        let (panic, panic_others, panic_count) = self.average(self.panic_window);
        let wanted_stable = f64::from(whole(stable / target));
        let wanted_panic = f64::from(whole(panic / target));
        let desired_stable = wanted_stable.max(least).min(most) as u32;
        let desired_panic = wanted_panic.max(least).min(most) as u32;

        let over = wanted_panic / ready >= self.panic_threshold;
        if over {
            self.panicking = Some(look.now);
        } else if self.panicking.is_some_and(|since| since + self.stable_window < look.now) {
            (self.panicking, self.max_panic) = (None, 0);
        }
        let (rule, value, desired) = match self.panicking {
            Some(_) => {
                self.max_panic = self.max_panic.max(desired_stable).max(desired_panic);
                (Name::fixed("knative panic"), panic, self.max_panic)
            }
            None => (Name::fixed("knative stable"), stable, desired_stable),
        };
        self.delayed.push(look.now, desired, self.scale_down_delay);
        let delayed = self.delayed.largest(self.scale_down_delay, look.now);
        let desired = delayed.map_or(desired, |(_, largest)| largest.max(desired));
        let because = Because::new(Signal::Concurrency, value, target);
        // While it does not panic only the stable window counts, unless the short one begins a
        // panic; the stable one always ends up there.
        let edge = just_above(f64::from(desired) * target);
        let by_stable = edge.mul_add(count, -others);
        let by_panic = edge.mul_add(panic_count, -panic_others);
        let more_at = match self.panicking.is_some() && f64::from(desired) < most {
            true => by_stable.min(by_panic),
            false => by_stable,
        };
        let because = match self.buckets.back() {
            Some(bucket) if f64::from(desired) < most => {
                because.more_at(just_above(bucket.newest_for(more_at)))
            }
            _ => because,
        };
        Wish::new(rule, desired, because)
    }
}

impl Policy for Knative {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        self.record(look);
        // From zero the activator tells at once that somebody waits.
        let at_zero = look.fleet.active() == 0 && look.seen.load.waiting > 0;
        let due = self.last.as_ref().is_none_or(|(at, _)| *at + self.tick <= look.now);
        if due || at_zero {
            let mut wish = self.decide(look);
            if at_zero {
                wish.active = wish.active.max(1);
            }
            self.last = Some((look.now, wish));
        }
        if let Some((at, wish)) = &self.last {
            let mut wish = wish.clone();
            if *at != look.now {
                // Nothing that it reads now would change it before the next tick.
                wish.because.more_at = None;
            }
            asked.wish(wish);
        }
    }
}

#[cfg(test)]
mod tests;
