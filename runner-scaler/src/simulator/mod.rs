//! What a policy would have done to recorded traffic, and what that would have cost.
//!
//! A [`Simulation`] is a [`Trace`] and a [`Scenario`]. It runs any policy through the engine that
//! decides for real and the [ledger](runner_core::admission::Ledger) that admits for real, one
//! event after the other, and gives a [`Report`]. The same seed gives the same report to the last
//! digit; all policies see the same arrivals and the same service times.
//!
//! ```
//! use runner_scaler::{AppRunner, DefaultPolicy, PolicyExt};
//! use runner_scaler::simulator::{Scenario, Simulation, Trace};
//!
//! let trace = Trace::of_counts((0..300).map(|second| if second < 150 { 5 } else { 80 }))?;
//! let scenario = Scenario::default();
//! let simulation = Simulation::new(&trace, &scenario)?;
//! let ours = simulation.run("default", DefaultPolicy::default().within(scenario.limits()))?;
//! let theirs = simulation.run("apprunner", AppRunner::as_served(1, 25))?;
//! assert_eq!(ours.requests, theirs.requests);
//! assert!(ours.lower_bound_usd <= ours.cost_usd);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It is no model of a network, of processors that slow each other down, or of clients that come
//! back after a refusal.

mod arrivals;
mod bounds;
mod chance;
mod cost;
mod fleet;
mod histogram;
mod report;
mod run;
mod scenario;
mod svg;
mod trace;

pub(crate) use chance::mixed;

pub use cost::{PriceTable, Usage};
pub use report::{Report, Table};
pub use run::Point;
pub use scenario::{Disturbance, Scenario, Spread};
pub use svg::svg;
pub use trace::{InvalidTrace, Trace};

use std::time::Duration;

use runner_core::time::Timestamp;

use self::{
    bounds::{Script, Seconds},
    run::{Driver, Run, SHORTEST_LOOK},
};
use crate::{Bounded, Count, Engine, InvalidPolicy, Observation, Policy};

/// A trace and what is assumed about the rest of the world.
#[derive(Debug)]
pub struct Simulation<'a> {
    trace: std::borrow::Cow<'a, Trace>,
    scenario: &'a Scenario,
    record: bool,
}

impl<'a> Simulation<'a> {
    /// A simulation that can be run.
    ///
    /// # Errors
    ///
    /// When the scenario contradicts itself.
    pub fn new(trace: &'a Trace, scenario: &'a Scenario) -> Result<Self, InvalidPolicy> {
        scenario.check()?;
        let trace = match scenario.disturbance {
            Disturbance::FlashCrowd => {
                let middle = trace.seconds() / 2;
                std::borrow::Cow::Owned(trace.crowded(middle..middle + 60, 20))
            }
            Disturbance::None | Disturbance::SlowService | Disturbance::SlowStarts => {
                std::borrow::Cow::Borrowed(trace)
            }
        };
        Ok(Self { trace, scenario, record: false })
    }

    /// The same, recording each run by the second for a [picture](svg).
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.record = true;
        self
    }

    /// What came of this policy.
    ///
    /// # Errors
    ///
    /// When the policy contradicts itself.
    pub fn run<P: Policy>(&self, name: &str, policy: Bounded<P>) -> Result<Report, InvalidPolicy> {
        self.run_telling(name, policy, &mut |_| {})
    }

    /// The same, telling how many seconds of the trace are over.
    ///
    /// # Errors
    ///
    /// When the policy contradicts itself.
    pub fn run_telling<P: Policy>(
        &self,
        name: &str,
        policy: Bounded<P>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Report, InvalidPolicy> {
        let engine = Engine::new(policy)?;
        let tick = self.scenario.tick.as_nanos() as u64;
        let driver = Deciding { engine, tick, until: None };
        Ok(self.drive(name, driver, progress))
    }

    /// What a schedule cost that knew the future: it honours start-up time, the shortest bill and,
    /// where anything can, the objective. Of those tried that hold it the cheapest.
    pub fn clairvoyant(&self, progress: &mut dyn FnMut(usize)) -> Report {
        let load = Seconds::new(&self.trace, self.scenario);
        let mut best: Option<Report> = None;
        // The tightest that holds the objective, by halving; the loosest is the fallback.
        let (mut low, mut high) = (0.0, 1.0);
        for tightness in [Some(1.0), Some(0.0), None, None, None] {
            let tightness = tightness.unwrap_or_else(|| f64::midpoint(low, high));
            let script = Script::new(&self.trace, self.scenario, tightness, &load);
            let report = self.drive("clairvoyant", script, progress);
            match report.objective_met {
                true => high = tightness,
                false => low = tightness,
            }
            let better = best.as_ref().is_none_or(|best| {
                let (holds, held) = (report.objective_met, best.objective_met);
                holds && (!held || report.cost_usd < best.cost_usd)
            });
            if better {
                best = Some(report);
            }
            if high == 0.0 || low >= 1.0 {
                break;
            }
        }
        best.expect("the first one tried is kept")
    }

    fn drive<D: Driver>(&self, name: &str, driver: D, progress: &mut dyn FnMut(usize)) -> Report {
        let run = Run::new(&self.trace, self.scenario, driver, self.record);
        let out = run.finish(progress);
        Report::new(name, self.scenario, self.trace.seconds(), out)
    }
}

/// An engine that decides at every tick, whenever somebody begins to wait, and when what it
/// decided no longer holds.
struct Deciding<P> {
    engine: Engine<P>,
    tick: u64,
    /// Until when the last decision holds.
    until: Option<u64>,
}

impl<P: Policy> Driver for Deciding<P> {
    fn decide(&mut self, seen: &Observation, now: Timestamp) -> Count {
        let decision = self.engine.decide(seen, now);
        self.until = decision.until.map(Timestamp::as_nanos);
        decision.count()
    }

    fn start_up(&self) -> Option<Duration> {
        // The first start is awaited as long as it takes: nobody is refused on a guess.
        (self.engine.starts().count() > 0).then(|| self.engine.start_up())
    }

    fn next_look(&self, now: u64) -> u64 {
        let tick = (now / self.tick + 1) * self.tick;
        match self.until {
            Some(until) if until > now => tick.min(until.max(now + SHORTEST_LOOK)),
            _ => tick,
        }
    }

    fn looks_on_demand(&self) -> bool {
        true
    }

    fn freezes(&self) -> bool {
        self.engine.limits().standby
    }
}

#[cfg(test)]
mod tests;
