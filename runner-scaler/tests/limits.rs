//! What holds around any policy, step by step, and in words.

use std::time::Duration;

use runner_core::time::Timestamp;
use runner_scaler::{
    AppRunner, Bounded, Change, Clamp, Decision, DefaultPolicy, Engine, InvalidPolicy, Limits,
    Load, Observation, Observed, Phase, Policy, PolicyExt as _, Reading, Schedule, Setting, Signal,
    Stale, Steps, TargetTracking, Window,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn at(n: u64) -> Timestamp {
    Timestamp::from_secs(n)
}

fn engine<P: Policy>(bounded: Bounded<P>) -> Engine<P> {
    Engine::new(bounded).expect("it does not contradict itself")
}

fn seen(ready: u32, in_flight: u64, waiting: u64, now: Timestamp) -> Observation {
    Observation::of_ready(ready, 10, now).with_load(Load::now(in_flight, waiting))
}

fn clamps(decision: &Decision) -> Vec<Clamp> {
    decision.clamps().map(|clamped| clamped.clamp).collect()
}

#[test]
fn fewer_have_to_be_enough_for_the_whole_delay() {
    let mut engine = engine(AppRunner::default().between(1, 25).scale_in_delay(secs(120)));
    assert_eq!(engine.decide(&seen(1, 10, 30, at(0)), at(0)).active, 4);
    let later = engine.decide(&seen(4, 5, 0, at(119)), at(119));
    assert_eq!((later.active, later.standby, clamps(&later)), (1, 3, vec![Clamp::ScaleInDelay]));
    assert_eq!(later.until, Some(at(120)));
    let gone = engine.decide(&seen(4, 5, 0, at(120)), at(120));
    assert_eq!((gone.active, gone.standby), (1, 0));
}

#[test]
fn after_a_restart_what_there_was_is_held_for_the_delays() {
    let delays =
        AppRunner::default().between(0, 25).scale_in_delay(secs(120)).standby_after(secs(30));
    let mut engine = engine(delays.zero_after(secs(900)));
    engine.resume(4, at(0));
    let held = engine.decide(&seen(4, 0, 0, at(1)), at(1));
    assert_eq!((held.active, held.total(), held.until), (4, 4, Some(at(30))));
    let frozen = engine.decide(&seen(4, 0, 0, at(119)), at(119));
    assert_eq!((frozen.active, frozen.total()), (0, 4));
    assert_eq!(engine.decide(&seen(4, 0, 0, at(120)), at(120)).total(), 1, "the last one stays");
    assert_eq!(engine.decide(&seen(1, 0, 0, at(900)), at(900)).total(), 0);
}

#[test]
fn what_was_learned_goes_to_a_policy_of_the_same_kind() {
    let next = |policy: Box<dyn Policy>| {
        let first: Box<dyn Policy> = Box::new(DefaultPolicy::default());
        let mut engine = engine(first.between(0, 25));
        assert_eq!(engine.decide(&seen(4, 40, 0, at(0)), at(0)).active, 4);
        engine.set_policy(policy);
        engine.decide(&seen(4, 0, 0, at(1)), at(1)).active
    };
    // What was woken is paid for, which the one that was woken by knew.
    assert_eq!(next(Box::<DefaultPolicy>::default()), 4);
    assert_eq!(next(Box::<AppRunner>::default()), 0);
}

#[test]
fn one_is_idle_for_a_while_before_it_is_frozen() {
    let bounded = AppRunner::default().between(2, 25).standby_after(secs(30));
    let mut engine = engine(bounded);
    assert_eq!(engine.decide(&seen(2, 20, 0, at(0)), at(0)).active, 2);
    assert_eq!(engine.decide(&seen(2, 3, 0, at(29)), at(29)).active, 2);
    let frozen = engine.decide(&seen(2, 3, 0, at(30)), at(30));
    assert_eq!((frozen.active, frozen.standby), (1, 1));
}

#[test]
fn the_last_goes_when_nothing_came_for_the_time_to_zero() {
    let mut engine = engine(AppRunner::default().between(0, 5).zero_after(secs(900)));
    assert_eq!(engine.decide(&seen(1, 1, 0, at(0)), at(0)).active, 1);
    let idle = engine.decide(&seen(1, 0, 0, at(899)), at(899));
    assert_eq!((idle.total(), clamps(&idle)), (1, vec![Clamp::ZeroAfter]));
    assert_eq!(engine.decide(&seen(1, 0, 0, at(900)), at(900)).total(), 0);
    assert_eq!(engine.decide(&seen(0, 0, 1, at(950)), at(950)).active, 1);
}

#[test]
fn no_other_delay_keeps_what_the_time_to_zero_takes() {
    let delays = || AppRunner::default().between(0, 5).scale_in_delay(secs(120));
    let mut engine = engine(delays().standby_after(secs(30)).zero_after(secs(9)));
    assert_eq!(engine.decide(&seen(0, 30, 0, at(0)), at(0)).active, 3);
    let kept = engine.decide(&seen(3, 0, 0, at(1)), at(1));
    assert_eq!((kept.active, kept.total(), kept.until), (3, 3, Some(at(9))));
    assert_eq!(engine.decide(&seen(3, 0, 0, at(8)), at(8)).total(), 3);
    let gone = engine.decide(&seen(3, 0, 0, at(9)), at(9));
    assert_eq!((gone.total(), clamps(&gone)), (0, vec![]));
    // What came a moment ago keeps all that the delays keep.
    let mut engine = self::engine(delays().zero_after(secs(9)));
    assert_eq!(engine.decide(&seen(0, 30, 0, at(0)), at(0)).active, 3);
    assert_eq!(engine.decide(&seen(3, 1, 0, at(8)), at(8)).total(), 3);
    assert_eq!(engine.decide(&seen(3, 0, 0, at(16)), at(16)).total(), 3);
    assert_eq!(engine.decide(&seen(3, 0, 0, at(17)), at(17)).total(), 0);
}

#[test]
fn steps_and_rates_bound_how_fast_it_moves() {
    let mut engine = engine(AppRunner::default().between(1, 25).steps(3, 1));
    assert_eq!(engine.decide(&seen(2, 20, 100, at(0)), at(0)).active, 5);
    assert_eq!(engine.decide(&seen(5, 0, 0, at(1)), at(1)).active, 4);

    let mut engine = self::engine(AppRunner::default().between(1, 25).rate_out(4, secs(60)));
    assert_eq!(engine.decide(&seen(2, 20, 10, at(0)), at(0)).active, 3);
    assert_eq!(engine.decide(&seen(3, 30, 90, at(1)), at(1)).active, 6);
    let spent = engine.decide(&seen(6, 60, 90, at(2)), at(2));
    assert_eq!((spent.active, clamps(&spent)), (6, vec![Clamp::Rate]));
    assert_eq!(engine.decide(&seen(6, 60, 90, at(61)), at(61)).active, 10);
}

#[test]
fn bounds_come_after_steps_and_who_is_in_flight_keeps_its_instance() {
    let mut engine = engine(AppRunner::default().between(4, 6).steps(1, 1));
    assert_eq!(engine.decide(&seen(0, 0, 0, at(0)), at(0)).total(), 4);
    assert_eq!(engine.decide(&seen(4, 40, 500, at(1)), at(1)).active, 5);
    // A rule that wants nothing does not take away what serves.
    let steps = Steps::new(Signal::Cpu, [(0.5, 1)]).expect("a step");
    let mut engine = self::engine(steps.between(0, 6));
    let mut busy = seen(4, 31, 0, at(0));
    busy.load.cpu = Some(0.1);
    let decision = engine.decide(&busy, at(0));
    assert_eq!((decision.active, clamps(&decision)), (4, vec![Clamp::InFlight]));
}

#[test]
fn what_the_backend_does_not_have_is_not_asked_for() {
    let mut engine = engine(AppRunner::default().between(1, 25));
    let mut full = seen(3, 30, 50, at(0));
    full.exhausted = true;
    let decision = engine.decide(&full, at(0));
    assert_eq!((decision.active, clamps(&decision)), (3, vec![Clamp::Exhausted]));
    let otherwise = decision.otherwise.expect("there is one").change;
    assert!(matches!(otherwise, Change::NotExhausted), "{otherwise}");
}

#[test]
fn a_start_that_would_be_ready_after_the_backlog_is_not_begun() {
    let slow_start = |skipping| {
        let bounded = AppRunner::default().between(1, 25);
        let bounded = if skipping { bounded.skipping_useless_starts() } else { bounded };
        let mut engine = engine(bounded);
        let mut look = seen(2, 20, 15, at(0));
        look.started = vec![secs(20)];
        (look.load.span, look.load.arrivals) = (secs(1), 50);
        look.load.service_time = Some(Duration::from_millis(200));
        engine.decide(&look, at(0))
    };
    // Twenty slots serve 100 a second, 50 come: 15 who wait are gone in 0.3 s, a start takes 20.
    assert_eq!(slow_start(false).active, 4);
    let skipped = slow_start(true);
    assert_eq!((skipped.active, clamps(&skipped)), (2, vec![Clamp::UselessStart]));
    let otherwise = skipped.otherwise.expect("there is one").change;
    assert_eq!(otherwise, Change::Setting(Setting::StartsForAnyBacklog));
}

#[test]
fn a_decision_is_one_sentence() {
    let mut engine = engine(AppRunner::default().between(1, 7));
    let mut look = seen(5, 50, 31, at(9));
    let starting = Observed { phase: Phase::Starting, since: at(8) };
    look.instances.extend([starting; 2]);
    look.started = vec![Duration::from_millis(2_400)];
    let decision = engine.decide(&look, at(9));
    assert_eq!(
        decision.to_string(),
        "7 instances: 50 in flight + 31 waiting at cap 10; rule `app runner` asks for 9 \
         (concurrency 81 against 10); the maximum makes that 7 instead of 9; 2 are starting, \
         ready in 1.4 s; with a maximum of 8 it would be 8 instances"
    );
}

#[test]
fn a_schedule_begins_early_enough_to_be_ready_on_time() {
    let office = Window::new("0 8 * * mon-fri", "+01:00", secs(10 * 3_600), 5).expect("a window");
    let mut engine = engine(Schedule::of([office]).expect("one").between(1, 25));
    let mut decide = |time: &str| {
        let now: Timestamp = time.parse().expect(time);
        let mut look = seen(1, 0, 0, now);
        look.started = vec![secs(30)];
        let decision = engine.decide(&look, now);
        (decision.active, decision.until.map(|until| until.to_string()))
    };
    // Thursday; eight o'clock there is seven in UTC. Starts were prepared for by the prior of 5 s
    // until one was seen, and are seen here at each look.
    assert_eq!(decide("2026-04-30T06:00:00Z").0, 0);
    assert_eq!(decide("2026-04-30T06:59:29Z"), (0, Some("2026-04-30T06:59:30Z".into())));
    assert_eq!(decide("2026-04-30T06:59:30Z").0, 5);
    assert_eq!(decide("2026-04-30T16:59:59Z"), (5, Some("2026-04-30T17:00:00Z".into())));
    assert_eq!(decide("2026-04-30T17:00:00Z").0, 0);
    assert_eq!(decide("2026-05-02T12:00:00Z").0, 0);
}

#[test]
fn a_number_that_is_too_old_is_held_ignored_or_assumed() {
    let wished = |stale| {
        let rule = TargetTracking::new(Signal::Named("jobs".into()), 10.0).expect("a target");
        let rule = rule.over(Duration::ZERO).when_stale(secs(30), stale);
        let mut engine = engine(rule.between(0, 25));
        let mut look = seen(2, 0, 0, at(100));
        look.load.named = vec![Reading { name: "jobs".into(), value: 25.0, at: at(100) }];
        let fresh = engine.decide(&look, at(130)).active;
        (fresh, engine.decide(&look, at(131)).active)
    };
    // 25 on each of two serving instances is 5 at a target of 10.
    assert_eq!(wished(Stale::Hold), (5, 5));
    assert_eq!(wished(Stale::Ignore), (5, 2));
    assert_eq!(wished(Stale::Assume(10.0)), (5, 2));
    assert_eq!(wished(Stale::Assume(0.0)), (5, 0));
}

#[test]
fn a_table_of_steps_is_looked_up() {
    let steps = [(1.0, 1), (30.0, 4), (90.0, 9)];
    let mut engine =
        engine(Steps::new(Signal::Concurrency, steps).expect("they rise").between(0, 25));
    for (present, expected) in [(0, 0), (1, 1), (29, 1), (30, 4), (89, 4), (500, 9)] {
        let decision = engine.decide(&seen(0, 0, present, at(present)), at(present));
        assert_eq!(decision.active, expected, "{present}");
    }
}

#[test]
fn policies_that_contradict_themselves_do_not_build() {
    let refused = |bounded: Bounded<AppRunner>| Engine::new(bounded).expect_err("it contradicts");
    let one = AppRunner::default;
    assert_eq!(refused(one().between(0, 0)), InvalidPolicy::NoMaximum);
    assert!(matches!(refused(one().between(5, 3)), InvalidPolicy::MinimumAboveMaximum { .. }));
    assert!(matches!(
        refused(one().between(1, 3).minimum_active(2)),
        InvalidPolicy::ActiveAboveMinimum { .. }
    ));
    assert!(matches!(refused(one().between(1, 3).steps(0, 1)), InvalidPolicy::NeverMoves { .. }));
    assert!(matches!(
        refused(one().between(1, 3).rate_in(1, Duration::ZERO)),
        InvalidPolicy::NeverMoves { .. }
    ));
    assert!(matches!(
        refused(one().between(1, 3).zero_after(secs(9))),
        InvalidPolicy::ZeroNeverReached { .. }
    ));
    assert!(TargetTracking::new(Signal::Clock, 1.0).is_err());
    assert!(TargetTracking::new(Signal::Cpu, 0.0).is_err());
    assert!(TargetTracking::new(Signal::Cpu, f64::NAN).is_err());
    assert!(Steps::new(Signal::Waiting, []).is_err());
    assert!(Steps::new(Signal::Waiting, [(5.0, 2), (5.0, 3)]).is_err());
    assert!(Steps::new(Signal::Waiting, [(5.0, 2), (6.0, 1)]).is_err());
    assert!(Window::new("0 8 * * *", "Nowhere/Land", secs(60), 1).is_err());
    assert!(Window::new("0 8 * * *", "UTC", Duration::ZERO, 1).is_err());
    assert!(Schedule::of([]).is_err());
    let objective = runner_scaler::wait_below(secs(1), 1.0);
    let bounded = DefaultPolicy::default().between(1, 3).objective(objective);
    assert!(Engine::new(bounded).is_err());
    let limits = Limits::between(9, 3);
    let mut engine = engine(AppRunner::default().between(1, 3));
    assert!(engine.set_limits(limits).is_err());
    assert_eq!(engine.limits().maximum, 3);
}
