//! Runs of traces that are made up here.

use proptest::prelude::*;

use super::*;
use crate::{AppRunner, CloudRun, DefaultPolicy, Knative, PolicyExt, TargetTracking};

fn trace(counts: impl IntoIterator<Item = u32>) -> Trace {
    Trace::of_counts(counts).expect("it has requests")
}

fn ours(scenario: &Scenario) -> Bounded<DefaultPolicy> {
    DefaultPolicy::default().within(scenario.limits()).skipping_useless_starts()
}

fn priced(change: impl FnOnce(&mut PriceTable)) -> Scenario {
    let mut scenario = Scenario::default();
    change(&mut scenario.prices);
    scenario
}

/// A quiet service that is found by ten times as many for three minutes, again and again.
fn crowds() -> Trace {
    trace((0..3_600).map(|second| if second % 700 > 519 { 120 } else { 12 }))
}

#[test]
fn a_run_repeats_to_the_last_digit() {
    let (trace, scenario) = (crowds(), Scenario::default());
    let simulation = Simulation::new(&trace, &scenario).expect("sound");
    let first = simulation.run("default", ours(&scenario)).expect("sound");
    assert_eq!(first, simulation.run("default", ours(&scenario)).expect("sound"));
    let other = Scenario { seed: 2, ..scenario };
    let simulation = Simulation::new(&trace, &other).expect("sound");
    assert_ne!(first, simulation.run("default", ours(&other)).expect("sound"));
}

#[test]
fn every_request_is_served_or_refused() {
    let (trace, scenario) = (trace([600; 120]), Scenario { maximum: 2, ..Scenario::default() });
    let simulation = Simulation::new(&trace, &scenario).expect("sound");
    let report = simulation.run("default", ours(&scenario)).expect("sound");
    assert_eq!(report.requests, trace.requests());
    // Two of ten slots at 200 ms serve 100 a second: five of six have to go elsewhere.
    let share = report.refused as f64 / report.requests as f64;
    assert!((0.75..0.87).contains(&share), "{share}");
    assert!(report.wait_p999_ms <= 10_160.0, "{}", report.wait_p999_ms);
}

#[test]
fn one_instance_that_always_serves_costs_what_the_price_table_says() {
    let scenario = Scenario { minimum_active: 1, maximum: 1, ..Scenario::default() };
    let trace = trace([1; 3_600]);
    let simulation = Simulation::new(&trace, &scenario).expect("sound");
    let report =
        simulation.run("apprunner", AppRunner::as_served(1, 1).minimum_active(1)).expect("sound");
    assert!((report.cost_usd - 0.078).abs() < 1e-4, "{}", report.cost_usd);
    assert_eq!(report.cold_starts, 0);
}

#[test]
fn the_default_policy_holds_the_objective_for_less_than_those_who_keep_more() {
    let (trace, scenario) = (crowds(), Scenario::default());
    let simulation = Simulation::new(&trace, &scenario).expect("sound");
    let run = |report: Result<Report, _>| report.expect("sound");
    let default = run(simulation.run("default", ours(&scenario)));
    let apprunner = run(simulation.run("apprunner", AppRunner::as_served(1, 25)));
    let cloudrun = run(simulation.run("cloudrun", CloudRun::as_served(1, 25)));
    let knative = run(simulation.run("knative", Knative::as_deployed(1, 25)));
    let table =
        Table(&[default.clone(), apprunner.clone(), cloudrun.clone(), knative.clone()]).to_string();
    assert!(default.within_objective > apprunner.within_objective, "{table}");
    assert!(default.within_objective > knative.within_objective, "{table}");
    assert!(default.cost_usd < cloudrun.cost_usd, "{table}");
}

#[test]
fn who_knows_the_future_holds_the_objective_and_pays_least() {
    let (trace, scenario) = (crowds(), Scenario::default());
    let simulation = Simulation::new(&trace, &scenario).expect("sound");
    let clairvoyant = simulation.clairvoyant(&mut |_| {});
    let default = simulation.run("default", ours(&scenario)).expect("sound");
    assert!(clairvoyant.objective_met, "{clairvoyant:?}");
    assert!(clairvoyant.cost_usd < default.cost_usd);
    assert!(clairvoyant.lower_bound_usd <= clairvoyant.cost_usd);
}

#[test]
fn what_goes_wrong_is_survived() {
    let trace = trace([40; 1_800]);
    for disturbance in [Disturbance::SlowService, Disturbance::SlowStarts, Disturbance::FlashCrowd]
    {
        let scenario = Scenario { disturbance, ..Scenario::default() };
        let simulation = Simulation::new(&trace, &scenario).expect("sound");
        let report = simulation.run("default", ours(&scenario)).expect("sound");
        let least = if disturbance == Disturbance::FlashCrowd { 0.85 } else { 0.999 };
        assert!(report.within_objective >= least, "{disturbance:?}: {report:?}");
        let refused = report.refused as f64 / report.requests as f64;
        assert!(refused < 0.01, "{disturbance:?}: {refused}");
    }
}

#[test]
fn a_picture_shows_every_run() {
    let (trace, scenario) = (trace([5; 60]), Scenario::default());
    let simulation = Simulation::new(&trace, &scenario).expect("sound").recording();
    let reports = [
        simulation.run("a<b", ours(&scenario)).expect("sound"),
        simulation.run("knative", Knative::as_deployed(1, 25)).expect("sound"),
    ];
    let picture = svg(&reports);
    assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
    assert!(picture.contains("a&lt;b") && picture.contains("knative"));
    assert_eq!(picture.matches("<path").count(), 8);
}

#[test]
fn a_scenario_that_cannot_be_is_refused() {
    let trace = trace([1]);
    // More nanoseconds than are counted.
    let ages = Duration::from_millis(1_000_000_000_000_000_000);
    for scenario in [
        Scenario { cap: 0, ..Scenario::default() },
        Scenario { minimum: 9, maximum: 3, ..Scenario::default() },
        Scenario { minimum_active: 2, ..Scenario::default() },
        Scenario { service: Duration::ZERO, ..Scenario::default() },
        Scenario { service_cv: f64::NAN, ..Scenario::default() },
        Scenario { tick: Duration::ZERO, ..Scenario::default() },
        Scenario { max_wait: ages, ..Scenario::default() },
        Scenario { wake: ages, ..Scenario::default() },
        Scenario { objective: crate::wait_below(ages, 0.99), ..Scenario::default() },
        priced(|prices| prices.minimum = ages),
        priced(|prices| prices.cpu_hour = f64::NAN),
        priced(|prices| prices.gigabytes = -1.0),
        priced(|prices| prices.transfer = (1.0, f64::INFINITY)),
    ] {
        assert!(Simulation::new(&trace, &scenario).is_err(), "{scenario:?}");
    }
}

#[test]
fn what_is_within_its_bounds_is_counted_without_overflow() {
    let day = Duration::from_secs(86_400);
    let scenario = Scenario { max_wait: day, wake: day, ..priced(|prices| prices.minimum = day) };
    let trace = trace((0..200).map(|second| second % 3));
    let simulation = Simulation::new(&trace, &scenario).expect("sound");
    let report = simulation.run("default", ours(&scenario)).expect("sound");
    assert!(report.lower_bound_usd <= report.cost_usd, "{report:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever decides, on whatever trace, it pays at least the bound.
    #[test]
    fn nothing_beats_the_lower_bound(
        counts in prop::collection::vec(0..60_u32, 1..400),
        repeat in 1..20_u32,
        seed: u64,
        cap in 1..30_u32,
        maximum in 1..8_u32,
        patience in 0..20_u64,
        which in 0..5_u32,
    ) {
        let quiet = counts.iter().flat_map(|count| {
            std::iter::once(*count).chain(std::iter::repeat_n(0, repeat as usize))
        });
        let Ok(trace) = Trace::of_counts(quiet) else { return Ok(()) };
        let scenario = Scenario {
            seed,
            cap,
            maximum,
            minimum: seed as u32 % 2,
            max_wait: Duration::from_secs(patience),
            ..Scenario::default()
        };
        let simulation = Simulation::new(&trace, &scenario).expect("sound");
        let minimum = scenario.minimum;
        let report = match which {
            0 => simulation.run("default", ours(&scenario)),
            1 => simulation.run("apprunner", AppRunner.between(minimum, maximum)),
            2 => simulation.run("knative", Knative::as_deployed(minimum, maximum)),
            3 => {
                let waiting = TargetTracking::new(crate::Signal::Waiting, 5.0).expect("sound");
                simulation.run("waiting", waiting.over(Duration::ZERO).between(minimum, maximum))
            }
            _ => Ok(simulation.clairvoyant(&mut |_| {})),
        }
        .expect("sound");
        prop_assert_eq!(report.requests, trace.requests());
        prop_assert!(report.lower_bound_usd <= report.cost_usd * (1.0 + 1e-9), "{:?}", report);
    }
}
