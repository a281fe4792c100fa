//! What a decision allocates. In a binary of its own, since the allocator that counts is that of
//! the whole program.

use std::time::Duration;

use runner_core::time::Timestamp;
use runner_scaler::{
    AppRunner, CloudRun, DefaultPolicy, Engine, Forecast, Knative, Largest, Load, Observation,
    Policy, PolicyExt as _, Signal, Steps, TargetTracking,
};

/// The most that one of a hundred decisions allocated, as often, once the engine knows its load.
fn most_allocations<P: Policy>(policy: P) -> u64 {
    let bounded = policy.between(1, 200).scale_in_delay(Duration::from_secs(120));
    let mut engine = Engine::new(bounded).expect("sound limits");
    let mut seen = Observation::of_ready(100, 10, Timestamp::EPOCH);
    let mut load = Load::now(700, 0);
    (load.span, load.arrivals, load.completed) = (Duration::from_secs(1), 3_500, 3_500);
    (load.service_time, load.cpu) = (Some(Duration::from_millis(200)), Some(0.5));
    seen.load = load;
    let mut decide = |second: u64| {
        seen.load.in_flight = 690 + second * 7 % 20;
        allocation_counter::measure(|| {
            let decision = engine.decide(&seen, Timestamp::from_secs(second));
            assert!(decision.active >= 69, "{decision}");
        })
    };
    // What is remembered of the load has its size by then; where it grows for days, minute by
    // minute and doubling, it does not in these.
    (0..2_100).for_each(|second| _ = decide(second));
    (2_100..2_200).map(|second| decide(second).count_total).max().unwrap_or(0)
}

#[test]
fn a_decision_on_a_hundred_instances_is_one_allocation() {
    let target = |signal, target| TargetTracking::new(signal, target).expect("a target");
    let steps = Steps::new(Signal::Concurrency, [(1.0, 1), (300.0, 40), (690.0, 90)]);
    let three = Largest::of(DefaultPolicy::default())
        .and(AppRunner::default())
        .and(target(Signal::Cpu, 0.6));
    let knative = Knative::default().tick(Duration::ZERO);
    for (name, most) in [
        ("default", most_allocations(DefaultPolicy::default())),
        ("app runner", most_allocations(AppRunner::default())),
        ("knative", most_allocations(knative)),
        ("cloud run", most_allocations(CloudRun::default())),
        ("target", most_allocations(target(Signal::Concurrency, 7.0))),
        ("steps", most_allocations(steps.expect("steps"))),
        ("forecast", most_allocations(Forecast::new(0.7).expect("a part"))),
        ("three rules", most_allocations(three)),
    ] {
        assert_eq!(most, 1, "{name}");
    }
}
