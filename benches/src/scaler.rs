//! What does a decision cost, and how fast is a simulated request?
//!
//! Decisions are made on 100 observed instances, as one engine makes them second after second. A
//! simulated request is one that comes, is admitted by the ledger, is served and gives its slot
//! back; the fleet is fixed, so that the figure is of requests and not of scaling.

use std::time::{Duration, Instant};

use runner_core::time::Timestamp;
use runner_scaler::{
    AppRunner, DefaultPolicy, Engine, Knative, Largest, Load, Observation, Policy, PolicyExt as _,
    Signal, TargetTracking,
    simulator::{Scenario, Simulation, Trace},
};

use crate::admission::Measure;

/// All questions by name.
pub const QUESTIONS: [(&str, Measure); 6] = [
    ("decide_100/default", |n| decide(n, DefaultPolicy::default())),
    ("decide_100/app_runner", |n| decide(n, AppRunner::default())),
    ("decide_100/knative", |n| decide(n, Knative::default().tick(Duration::ZERO))),
    ("decide_100/three_rules", |n| {
        let cpu = TargetTracking::new(Signal::Cpu, 0.6).expect("a target");
        decide(n, Largest::of(DefaultPolicy::default()).and(AppRunner::default()).and(cpu))
    }),
    ("request_50_instances/fits", |n| simulate(n, 1_500)),
    ("request_50_instances/twice_too_many", |n| simulate(n, 5_000)),
];

#[expect(clippy::disallowed_methods, reason = "measuring is what a clock is for")]
fn decide<P: Policy>(times: u64, policy: P) -> Duration {
    let bounded = policy.between(1, 200).scale_in_delay(Duration::from_secs(120));
    let mut engine = Engine::new(bounded).expect("sound limits");
    let mut seen = Observation::of_ready(100, 10, Timestamp::EPOCH);
    let mut load = Load::now(700, 0);
    (load.span, load.arrivals, load.completed) = (Duration::from_secs(1), 3_500, 3_500);
    (load.service_time, load.cpu) = (Some(Duration::from_millis(200)), Some(0.5));
    seen.load = load;
    let begun = Instant::now();
    let mut active = 0;
    for second in 0..times {
        seen.load.in_flight = 690 + second % 20;
        active += u64::from(engine.decide(&seen, Timestamp::from_secs(second)).active);
    }
    let took = begun.elapsed();
    assert!(active >= times, "as many as are in flight are never taken away");
    took
}

#[expect(clippy::disallowed_methods, reason = "measuring is what a clock is for")]
fn simulate(requests: u64, per_second: u32) -> Duration {
    let mut scenario = Scenario::default();
    (scenario.minimum, scenario.minimum_active, scenario.maximum) = (50, 50, 50);
    let seconds = requests.div_ceil(u64::from(per_second)).max(1);
    let trace = Trace::of_counts((0..seconds).map(|_| per_second)).expect("requests");
    let simulation = Simulation::new(&trace, &scenario).expect("a scenario");
    let begun = Instant::now();
    let policy = AppRunner::default().within(scenario.limits());
    let report = simulation.run("fixed", policy).expect("sound limits");
    let took = begun.elapsed();
    assert_eq!(report.requests, trace.requests());
    // The whole seconds that were simulated are more than was asked for.
    took.mul_f64(requests as f64 / report.requests as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_an_answer() {
        for (name, measure) in QUESTIONS {
            assert!(measure(2_000) > Duration::ZERO, "{name}");
        }
    }
}
