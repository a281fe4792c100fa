//! What holds around any policy: bounds, rates, delays.
//!
//! A policy says what the load asks for; limits say what is done about it. They are applied in a
//! fixed order, each to what the one before left:
//!
//! 1. a start that would be ready only after the backlog is gone is not begun;
//! 2. an instance is idle for some time before it is frozen, and fewer are enough for some time
//!    before one is given up (both are the largest wish of a window, as in Kubernetes);
//! 3. the last instance of a service that may go to zero stays for some time, after which nothing
//!    is kept by 2 either;
//! 4. steps and rates, out and in;
//! 5. the minimum that is never frozen, and never fewer than who is in flight needs;
//! 6. minimum, maximum, and what the backend has left.
//!
//! Bounds come after rates: a minimum that was raised is met at once, however slow steps are.

mod memory;
mod otherwise;
mod pass;
mod setting;

pub(crate) use memory::Memory;
pub use setting::Setting;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::InvalidPolicy;

/// What holds around a policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// How many there are at least, frozen ones included.
    pub minimum: u32,
    /// How many there are at most.
    pub maximum: u32,
    /// How many of them are never frozen.
    pub minimum_active: u32,
    /// Whether instances can be frozen. Where not, what is kept serves.
    pub standby: bool,
    /// How many may be added at once.
    pub step_out: Option<u32>,
    /// How many may be taken at once.
    pub step_in: Option<u32>,
    /// How many may be added within some time.
    pub rate_out: Option<Rate>,
    /// How many may be taken within some time.
    pub rate_in: Option<Rate>,
    /// For how long fewer have to be enough before one is given up.
    pub scale_in_delay: Duration,
    /// How long an instance is idle before it is frozen.
    pub standby_after: Duration,
    /// How long nothing may come before the last instance of a minimum of zero goes, and all that
    /// the two delays above would still keep. Zero where it goes as soon as they let it.
    pub zero_after: Duration,
    /// Whether starts are left out that would be ready only after the backlog is gone.
    pub skip_useless_starts: bool,
}

/// So many within some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a count and a time")]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// Within what time.
    pub per: Duration,
}

impl Default for Limits {
    /// Between 1 and 25 as App Runner has it, and nothing else.
    fn default() -> Self {
        Self::between(1, 25)
    }
}

impl Limits {
    /// Bounds, and no other limit.
    pub const fn between(minimum: u32, maximum: u32) -> Self {
        Self {
            minimum,
            maximum,
            minimum_active: 0,
            standby: true,
            step_out: None,
            step_in: None,
            rate_out: None,
            rate_in: None,
            scale_in_delay: Duration::ZERO,
            standby_after: Duration::ZERO,
            zero_after: Duration::ZERO,
            skip_useless_starts: false,
        }
    }

    /// Whether they can all hold at once.
    ///
    /// # Errors
    ///
    /// The first contradiction.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let Self { minimum, maximum, minimum_active, .. } = *self;
        if maximum == 0 {
            return Err(InvalidPolicy::NoMaximum);
        }
        if minimum > maximum {
            return Err(InvalidPolicy::MinimumAboveMaximum { minimum, maximum });
        }
        if minimum_active > minimum {
            return Err(InvalidPolicy::ActiveAboveMinimum { minimum_active, minimum });
        }
        for (name, step) in [("step out", self.step_out), ("step in", self.step_in)] {
            if step == Some(0) {
                return Err(InvalidPolicy::NeverMoves { name });
            }
        }
        for (name, rate) in [("rate out", self.rate_out), ("rate in", self.rate_in)] {
            if rate.is_some_and(|rate| rate.count == 0 || rate.per.is_zero()) {
                return Err(InvalidPolicy::NeverMoves { name });
            }
        }
        if minimum > 0 && !self.zero_after.is_zero() {
            return Err(InvalidPolicy::ZeroNeverReached { minimum });
        }
        Ok(())
    }

    /// The same limits with one setting changed: how a [`Change`](crate::Change) is tried out.
    #[must_use]
    pub fn changed(mut self, setting: Setting) -> Self {
        match setting {
            Setting::Maximum(maximum) => self.maximum = maximum,
            Setting::Minimum(minimum) => {
                self.minimum = minimum;
                self.maximum = self.maximum.max(minimum);
                self.minimum_active = self.minimum_active.min(minimum);
            }
            Setting::MinimumActive(active) => self.minimum_active = active,
            Setting::RateUnlimited => (self.rate_out, self.rate_in) = (None, None),
            Setting::ScaleInDelay(delay) => self.scale_in_delay = delay,
            Setting::StartsForAnyBacklog => self.skip_useless_starts = false,
            Setting::StandbyAfter(delay) => self.standby_after = delay,
            Setting::StepUnlimited => (self.step_out, self.step_in) = (None, None),
            Setting::ZeroAfter(delay) => self.zero_after = delay,
        }
        self
    }
}
