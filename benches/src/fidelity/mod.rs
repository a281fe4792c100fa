//! Whether the simulator tells the truth: one trace on real processes and in
//! [`runner_scaler::simulator`], under one policy with one set of limits.
//!
//! The real side is a platform with the process backend; its instances are the sample app, which
//! takes a time to start and a time for each request and hardly any processor for either, so that
//! what is compared is waiting and scaling and not this machine. What a simulation is told about
//! the world is measured on the way: how long a lone request holds its slot, and how long starts
//! took. What it says about the rest (refusals, waits, starts, the time that instances lived) is
//! what is compared.
//!
//! Requests enter the platform's data path as a tower service: clients' sockets are no part of the
//! simulator's world.

mod real;
mod trace;

use std::{fmt, time::Duration};

use runner_core::spec::{ServiceBuilder, ServiceSpec};
use runner_examples::sample_app::SampleApp;
use runner_scaler::{
    DefaultPolicy, Largest, Limits, Policy, PolicyExt, Signal, TargetTracking,
    simulator::{Scenario, Simulation, Spread},
};

pub use real::{Real, real};
pub use trace::trace;

/// What came of a trace, on either side.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "four measures are compared, and these are they")]
pub struct Measures {
    /// Requests that were turned away.
    pub refused: f64,
    /// The wait for a slot that 99 % of those served did not exceed.
    pub wait_p99_ms: f64,
    /// Instances that were started after the first.
    pub cold_starts: f64,
    /// How long instances lived with their processors, all together.
    pub instance_seconds: f64,
}

impl Measures {
    /// What each is called.
    pub const NAMES: [&str; 4] = ["refused", "wait_p99_ms", "cold_starts", "instance_seconds"];

    /// All of them, in the order of their names.
    pub fn all(&self) -> [f64; 4] {
        [self.refused, self.wait_p99_ms, self.cold_starts, self.instance_seconds]
    }

    /// How far each may be from the real one where `requests` came: a tenth, or where that is more
    /// one request of a thousand, 20 ms, one start and five seconds.
    pub fn tolerance(&self, requests: u64) -> [f64; 4] {
        let waits = WAITS_DIFFER.as_secs_f64() * 1e3;
        let least = [requests as f64 / 1_000.0, waits, 1.0, 5.0];
        let real = self.all();
        std::array::from_fn(|at| (real[at] / 10.0).max(least[at]))
    }

    /// The median of each over several runs.
    pub fn median(runs: &[Self]) -> Self {
        let [refused, wait_p99_ms, cold_starts, instance_seconds] = std::array::from_fn(|at| {
            let mut values: Vec<f64> = runs.iter().map(|run| run.all()[at]).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        });
        Self { refused, wait_p99_ms, cold_starts, instance_seconds }
    }
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { refused, wait_p99_ms, cold_starts, instance_seconds } = self;
        write!(
            f,
            "{refused:.0} refused, wait p99 {wait_p99_ms:.0} ms, {cold_starts:.0} starts, \
             {instance_seconds:.0} instance-seconds"
        )
    }
}

/// The same trace in the simulator, told what `real` found out about the world.
///
/// # Panics
///
/// When the scenario contradicts itself, which is a fault of this module.
pub fn simulated(counts: &[u32], real: &Real) -> Measures {
    let trace = runner_scaler::simulator::Trace::of_counts(counts.iter().copied());
    let trace = trace.expect("a trace has requests");
    let mut scenario = Scenario::default();
    (scenario.service, scenario.service_cv) = (real.service, 0.0);
    (scenario.start, scenario.start_cv) = (real.start, 0.0);
    (scenario.cap, scenario.minimum, scenario.maximum) = (CAP, 1, MOST);
    scenario.minimum_active = 1;
    (scenario.max_wait, scenario.max_waiting) = (MAX_WAIT, MAX_WAITING);
    scenario.spread = Spread::Even;
    let mut limits: Limits = scenario.limits();
    (limits.scale_in_delay, limits.standby_after) = (SCALE_IN_DELAY, STANDBY_AFTER);
    let simulation = Simulation::new(&trace, &scenario).expect("a sound scenario");
    let report = simulation.run("ours", policy().within(limits)).expect("a sound policy");
    Measures {
        refused: report.refused as f64,
        wait_p99_ms: report.wait_p99_ms,
        cold_starts: report.cold_starts as f64,
        instance_seconds: report.active_seconds,
    }
}

/// The policy of both sides: what the objective needs, and room as the settings say.
fn policy() -> impl Policy + Send {
    let target = TargetTracking::new(Signal::Concurrency, f64::from(CAP) * 0.7);
    let target = target.expect("a part of a cap is above zero").over(Duration::from_secs(10));
    Largest::of(DefaultPolicy::default()).and(target)
}

/// The service of both sides.
fn service() -> ServiceBuilder {
    let app = SampleApp::new("v1").start_delay(START).work(WORK);
    let service = ServiceSpec::command(app.command()).cap(CAP).between(1, MOST);
    service.max_wait(MAX_WAIT).max_waiting(MAX_WAITING).with(|raw| {
        let seconds = |span: Duration| Some(format!("{}s", span.as_secs()).into());
        raw.scaling.minimum_active = Some(1);
        raw.scaling.scale_in_delay = seconds(SCALE_IN_DELAY);
        raw.scaling.standby_after = seconds(STANDBY_AFTER);
        raw.overflow.hold_while_starting = seconds(MAX_WAIT);
        raw.deployment.bake = Some("100ms".into());
        // All of them are to fit into a small machine.
        raw.instance.memory = Some("64 MB".into());
    })
}

/// What waits may differ by in any case.
const WAITS_DIFFER: Duration = Duration::from_millis(20);
/// How long the app takes to start.
const START: Duration = Duration::from_millis(1_000);
/// How long a request takes it.
const WORK: Duration = Duration::from_millis(50);
/// How many requests an instance is given at once.
const CAP: u32 = 2;
/// How many instances there are at most.
const MOST: u32 = 6;
const MAX_WAIT: Duration = Duration::from_secs(2);
const MAX_WAITING: u32 = 200;
const SCALE_IN_DELAY: Duration = Duration::from_secs(10);
const STANDBY_AFTER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_of_each_measure_alone() {
        let of = |n: f64| Measures {
            refused: n,
            wait_p99_ms: -n,
            cold_starts: (n - 2.0).abs(),
            instance_seconds: 7.0,
        };
        let median = Measures::median(&[of(1.0), of(3.0), of(2.0)]);
        assert_eq!(median.all(), [2.0, -2.0, 1.0, 7.0]);
    }

    #[test]
    fn little_may_differ_by_more_than_a_tenth() {
        let of =
            |n: f64| Measures { refused: n, wait_p99_ms: n, cold_starts: n, instance_seconds: n };
        assert_eq!(of(0.0).tolerance(10_000), [10.0, 20.0, 1.0, 5.0]);
        assert_eq!(of(1_000.0).tolerance(10_000), [100.0; 4]);
    }
}
