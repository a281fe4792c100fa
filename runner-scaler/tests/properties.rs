//! What holds for any policy, within any limits, on any load.

use std::time::Duration;

use proptest::prelude::*;
use runner_core::time::Timestamp;
use runner_scaler::{
    AppRunner, Change, CloudRun, DefaultPolicy, Engine, Forecast, Knative, Largest, Limits, Load,
    Observation, Observed, Phase, Policy, PolicyExt as _, Signal, Steps, TargetTracking,
};

type AnyPolicy = Box<dyn Cloned>;

/// A policy that can be cloned though its type is not known.
trait Cloned: Policy {
    fn cloned(&self) -> AnyPolicy;
}

impl<P: Policy + Clone + 'static> Cloned for P {
    fn cloned(&self) -> AnyPolicy {
        Box::new(self.clone())
    }
}

struct Any(AnyPolicy);

impl Clone for Any {
    fn clone(&self) -> Self {
        Self((*self.0).cloned())
    }
}

impl Policy for Any {
    fn ask(&mut self, look: &runner_scaler::Look<'_>, asked: &mut runner_scaler::Asked<'_>) {
        self.0.ask(look, asked);
    }
}

const POLICIES: u32 = 8;

fn policy(which: u32) -> Any {
    let target = |signal, target| TargetTracking::new(signal, target).expect("a target");
    Any(match which {
        0 => Box::new(DefaultPolicy::default()),
        1 => Box::new(AppRunner::default()),
        2 => Box::new(Knative::default().tick(Duration::from_secs(1))),
        3 => Box::new(CloudRun::default()),
        4 => Box::new(target(Signal::Concurrency, 7.0)),
        5 => Box::new(
            Steps::new(Signal::Concurrency, [(1.0, 1), (30.0, 4), (90.0, 9)]).expect("steps"),
        ),
        6 => Box::new(Forecast::new(0.7).expect("a part")),
        _ => Box::new(Largest::of(AppRunner::default()).and(target(Signal::ArrivalRate, 20.0))),
    })
}

#[derive(Clone, Copy, Debug)]
struct Step {
    load: u64,
    arrivals: u64,
    ready: u32,
    starting: u32,
    standby: u32,
    exhausted: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let exhausted = prop::bool::weighted(0.1);
    (0..400_u64, 0..500_u64, 0..12_u32, 0..3_u32, 0..4_u32, exhausted).prop_map(
        |(load, arrivals, ready, starting, standby, exhausted)| Step {
            load,
            arrivals,
            ready,
            starting,
            standby,
            exhausted,
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    let bounds = (0..4_u32, 1..20_u32, 0..3_u32);
    let moves =
        (prop::option::of(1..5_u32), prop::option::of(1..5_u32), prop::option::of(1..6_u32));
    (bounds, moves, 0..90_u64, 0..60_u64, any::<bool>(), any::<bool>()).prop_map(
        |((minimum, more, active), (out, r#in, rate), delay, idle, useless, standby)| {
            let bounded = AppRunner::default()
                .between(minimum, minimum + more)
                .minimum_active(active.min(minimum))
                .scale_in_delay(Duration::from_secs(delay))
                .standby_after(Duration::from_secs(idle));
            let mut limits = *bounded.limits();
            (limits.step_out, limits.step_in, limits.standby) = (out, r#in, standby);
            limits.rate_out =
                rate.map(|count| runner_scaler::Rate { count, per: Duration::from_secs(10) });
            limits.skip_useless_starts = useless;
            limits
        },
    )
}

const CAP: u32 = 10;

fn observe(step: Step, now: Timestamp) -> Observation {
    let mut seen = Observation::of_ready(step.ready, CAP, now);
    let add = |seen: &mut Observation, phase, count| {
        seen.instances.extend((0..count).map(|_| Observed { phase, since: now }));
    };
    add(&mut seen, Phase::Starting, step.starting);
    add(&mut seen, Phase::Standby, step.standby);
    let slots = u64::from(step.ready * CAP);
    let in_flight = step.load.min(slots);
    let mut load = Load::now(in_flight, step.load - in_flight);
    load.span = Duration::from_secs(1);
    (load.arrivals, load.completed) = (step.arrivals, step.arrivals);
    load.service_time = Some(Duration::from_millis(200));
    load.concurrency = Some(step.load as f64);
    seen.load = load;
    seen.exhausted = step.exhausted;
    seen
}

fn engine(which: u32, limits: Limits) -> Engine<Any> {
    Engine::new(policy(which).within(limits)).expect("limits are made to hold")
}

fn second(number: usize) -> Timestamp {
    Timestamp::from_secs(1_000 + number as u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_decision_is_inside_the_bounds_and_keeps_who_is_in_flight(
        which in 0..POLICIES,
        limits in limits(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut engine = engine(which, limits);
        for (number, step) in steps.into_iter().enumerate() {
            let now = second(number);
            let seen = observe(step, now);
            let decision = engine.decide(&seen, now);
            let present = step.ready + step.starting + step.standby;
            prop_assert!(decision.total() <= limits.maximum);
            if !step.exhausted {
                prop_assert!(decision.total() >= limits.minimum);
                prop_assert!(decision.active >= limits.minimum_active);
            } else {
                prop_assert!(decision.total() <= present);
            }
            let needed = seen.load.in_flight.div_ceil(u64::from(CAP)) as u32;
            prop_assert!(decision.active >= needed.min(limits.maximum));
        }
    }

    #[test]
    fn the_same_observations_lead_to_the_same_decisions(
        which in 0..POLICIES,
        limits in limits(),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let (mut one, mut other) = (engine(which, limits), engine(which, limits));
        for (number, step) in steps.into_iter().enumerate() {
            let seen = observe(step, second(number));
            let decision = one.decide(&seen, second(number));
            prop_assert_eq!(&decision, &other.decide(&seen, second(number)));
            // Reading a decision back gives the decision, but for what JSON has no number for.
            let json = serde_json::to_string(&decision).expect("it serialises");
            let back: runner_scaler::Decision = serde_json::from_str(&json).expect("and back");
            prop_assert_eq!(back.count(), decision.count());
            prop_assert_eq!(back.reasons.len(), decision.reasons.len());
        }
    }

    /// What is named as "otherwise" is tried out on the engine as it was.
    #[test]
    fn the_named_counterfactual_changes_the_decision(
        which in 0..POLICIES,
        limits in limits(),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let mut engine = engine(which, limits);
        for (number, step) in steps.iter().enumerate() {
            let now = second(number);
            let seen = observe(*step, now);
            let before = engine.clone();
            let decision = engine.decide(&seen, now);
            let Some(otherwise) = &decision.otherwise else {
                // Only where the backend has nothing and nothing is there to take.
                prop_assert!(step.exhausted || decision.total() == 0, "{}", decision);
                continue;
            };
            let other = before.what_if(&seen, &otherwise.change, now);
            prop_assert_ne!(other.count(), decision.count(), "{} | {}", decision, other);
            if matches!(otherwise.change, Change::Signal { .. }) {
                prop_assert!(other.active > decision.active, "{} | {}", decision, other);
            }
        }
    }

    #[test]
    fn more_load_never_leads_to_fewer_instances(
        which in 0..POLICIES,
        limits in limits(),
        history in prop::collection::vec(step(), 0..20),
        last in step(),
        more in 1..200_u64,
    ) {
        // Leaving out useless starts looks at pace and not at load alone.
        let limits = Limits::changed(limits, runner_scaler::Setting::StartsForAnyBacklog);
        let mut engine = engine(which, limits);
        for (number, step) in history.iter().enumerate() {
            let _ = engine.decide(&observe(*step, second(number)), second(number));
        }
        let now = second(history.len());
        let mut other = engine.clone();
        let heavier = Step { load: last.load + more, arrivals: last.arrivals + more, ..last };
        let (light, heavy) = (engine.decide(&observe(last, now), now), other.decide(&observe(heavier, now), now));
        prop_assert!(light.active <= heavy.active, "{} | {}", light, heavy);
    }

    #[test]
    fn under_constant_load_it_settles(
        which in 0..POLICIES,
        limits in limits(),
        load in 0..200_u64,
    ) {
        let mut engine = engine(which, limits);
        let (mut active, mut standby) = (limits.minimum_active, limits.minimum - limits.minimum_active);
        let mut last = Vec::new();
        for number in 0..3_000 {
            let step = Step { load, arrivals: load * 5, ready: active, starting: 0, standby, exhausted: false };
            let decision = engine.decide(&observe(step, second(number)), second(number));
            (active, standby) = (decision.active, decision.standby);
            if number >= 2_000 {
                last.push((active, standby));
            }
        }
        last.dedup();
        prop_assert_eq!(last.len(), 1, "{:?}", last);
    }
}
