//! Everything that a run assumes besides the trace and the policy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cost::{DAY, PriceTable};
use crate::{Limits, Objective, wait_below};

/// What a run assumes. It is printed with every table, since no figure means anything without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scenario {
    /// How long a request holds its slot, on average (log-normal).
    pub service: Duration,
    /// The deviation of that, as a part of it.
    pub service_cv: f64,
    /// How long a start takes, on average (log-normal).
    pub start: Duration,
    /// The deviation of that, as a part of it.
    pub start_cv: f64,
    /// How long waking one from standby takes.
    pub wake: Duration,
    /// How many requests an instance is given at once.
    pub cap: u32,
    /// How many instances there are at least, frozen ones included; as many are ready at the
    /// beginning.
    pub minimum: u32,
    /// How many there are at most.
    pub maximum: u32,
    /// How many are never frozen.
    pub minimum_active: u32,
    /// How long a request may wait.
    pub max_wait: Duration,
    /// How many may wait.
    pub max_waiting: u32,
    /// How often the policy looks, besides whenever somebody begins to wait.
    pub tick: Duration,
    /// How requests come within a second.
    pub spread: Spread,
    /// What all chance comes from.
    pub seed: u64,
    /// What is to hold, for the column that says whether it did and for the schedule that knows
    /// the future.
    pub objective: Objective,
    /// What it costs.
    pub prices: PriceTable,
    /// What goes wrong.
    pub disturbance: Disturbance,
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Disturbance {
    /// Twenty times the requests for a minute in the middle.
    FlashCrowd,
    /// Nothing.
    #[default]
    None,
    /// Service time doubles for the middle third.
    SlowService,
    /// From the middle on starts take five times as long as was learned.
    SlowStarts,
}

/// How the requests of one second come within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Spread {
    /// At even distances.
    Even,
    /// All at its beginning.
    Front,
    /// Each at a time of its own, independent of the others.
    #[default]
    Random,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            service: Duration::from_millis(200),
            service_cv: 1.0,
            start: Duration::from_secs(3),
            start_cv: 0.2,
            wake: Duration::from_millis(20),
            cap: 10,
            minimum: 1,
            maximum: 25,
            minimum_active: 0,
            max_wait: Duration::from_secs(10),
            max_waiting: 100_000,
            tick: Duration::from_secs(1),
            spread: Spread::Random,
            seed: 1,
            objective: wait_below(Duration::from_millis(200), 0.999),
            prices: PriceTable::default(),
            disturbance: Disturbance::None,
        }
    }
}

impl Scenario {
    /// Whether it can be run.
    ///
    /// # Errors
    ///
    /// What is wrong, and what would be right.
    pub fn check(&self) -> Result<(), crate::InvalidPolicy> {
        use crate::InvalidPolicy as Invalid;
        let secs = self.service.as_secs_f64();
        Invalid::check("the service time in seconds", secs, 1e-6..=3_600.0, "1 us to an hour")?;
        let secs = self.start.as_secs_f64();
        Invalid::check("the start-up time in seconds", secs, 0.0..=DAY, "up to a day")?;
        let secs = self.wake.as_secs_f64();
        Invalid::check("the time to wake in seconds", secs, 0.0..=DAY, "up to a day")?;
        let secs = self.max_wait.as_secs_f64();
        Invalid::check("the longest wait in seconds", secs, 0.0..=DAY, "up to a day")?;
        let secs = self.objective.wait.as_secs_f64();
        Invalid::check("the wait of the objective in seconds", secs, 0.0..=DAY, "up to a day")?;
        let secs = self.tick.as_secs_f64();
        Invalid::check("the tick in seconds", secs, 0.01..=3_600.0, "10 ms to an hour")?;
        let right = "0 to 10";
        Invalid::check("the deviation of service times", self.service_cv, 0.0..=10.0, right)?;
        Invalid::check("the deviation of starts", self.start_cv, 0.0..=10.0, right)?;
        Invalid::check("the cap", f64::from(self.cap), 1.0..=100_000.0, "1 to 100,000")?;
        let most = f64::from(self.maximum);
        Invalid::check("the maximum", most, 1.0..=10_000.0, "1 to 10,000")?;
        self.prices.check()?;
        self.limits().check()
    }

    /// The bounds as limits, nothing else limited.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::between(self.minimum, self.maximum);
        limits.minimum_active = self.minimum_active;
        limits
    }

    /// Whether requests that come then take twice as long.
    pub(super) fn slow_service(&self, at: u64, seconds: usize) -> bool {
        if self.disturbance != Disturbance::SlowService {
            return false;
        }
        let end = seconds as u64 * SECOND;
        (end / 3..end / 3 * 2).contains(&at)
    }

    /// How many times as long a start takes that begins then.
    pub(super) fn start_factor(&self, at: u64, seconds: usize) -> u64 {
        let late = at > seconds as u64 * SECOND / 2;
        if self.disturbance == Disturbance::SlowStarts && late { 5 } else { 1 }
    }
}

pub(super) const SECOND: u64 = 1_000_000_000;
