//! Cases worked out by hand from the formulae.

use super::*;
use crate::{Engine, Load, Observation};

/// Cap 10 at 0.7: a target of 7.
fn seen(ready: u32, concurrency: f64, now: Timestamp) -> Observation {
    let mut seen = Observation::of_ready(ready, 10, now);
    seen.load = Load { span: Duration::from_secs(1), ..Load::now(0, 0) };
    seen.load.concurrency = Some(concurrency);
    seen
}

fn engine(minimum: u32) -> Engine<Knative> {
    let knative = Knative::default().tick(Duration::from_secs(1));
    Engine::new(knative.within(Limits::between(minimum, 10_000)).without_standby()).expect("sound")
}

/// Seconds of (concurrency, ready) and what is wished in the last of them.
fn wished(steps: &[(u64, f64, u32)]) -> (u32, String) {
    let mut engine = engine(0);
    let mut now = 0;
    let mut last = None;
    for &(secs, concurrency, ready) in steps {
        for _ in 0..secs {
            now += 1;
            let now = Timestamp::from_secs(now);
            last = Some(engine.decide(&seen(ready, concurrency, now), now));
        }
    }
    let last = last.expect("a step");
    let wish = last.wishes().next().expect("a wish").clone();
    (wish.active, wish.rule.to_string())
}

#[test]
fn the_stable_window_divides_its_mean_by_the_target() {
    // 21 / 7 = 3 exactly; 21.1 / 7 = 3.01, rounded up.
    assert_eq!(wished(&[(1, 7.0, 1), (60, 21.0, 3)]), (3, "knative stable".into()));
    assert_eq!(wished(&[(1, 7.0, 1), (60, 21.1, 3)]), (4, "knative stable".into()));
}

#[test]
fn the_mean_is_of_what_was_seen_until_the_window_is_full() {
    // One second of 14: the mean is 14 and not 14 / 60.
    assert_eq!(wished(&[(1, 14.0, 2)]).0, 2);
    // Thirty of 0 and thirty of 13.9: 6.95, so 1; the floor of 2 / 2 is 1 as well.
    assert_eq!(wished(&[(30, 0.0, 1), (30, 13.9, 2)]), (1, "knative stable".into()));
}

#[test]
fn twice_what_is_ready_over_six_seconds_is_a_panic() {
    // 54 s of 7 and 6 s of 14: the short window says 14, so 2, twice the one that is ready.
    // The long one says (54 * 7 + 6 * 14) / 60 = 7.7, so 2 as well, but panic is entered.
    assert_eq!(wished(&[(54, 7.0, 1), (6, 14.0, 1)]), (2, "knative panic".into()));
    // 13.9 for six seconds is 1.99, so 2: the ceiling counts, not the mean.
    assert_eq!(wished(&[(54, 7.0, 1), (6, 7.1, 1)]).1, "knative panic");
    // With two ready 2 / 2 is 1, below the threshold.
    assert_eq!(wished(&[(54, 7.0, 1), (6, 14.0, 2)]).1, "knative stable");
}

#[test]
fn in_panic_the_count_never_falls_until_a_whole_stable_window_is_calm() {
    // Up to ceil(70 / 7) = 10 in panic, then nothing at all with ten ready.
    let calm = |secs| wished(&[(60, 7.0, 1), (6, 70.0, 1), (secs, 0.0, 10)]);
    assert_eq!(calm(30), (10, "knative panic".into()));
    // Below the threshold from when the short window says less than 20 instances: at once. The
    // panic was last extended in the last second at 70, and ends after 60 s have passed since.
    assert_eq!(calm(60), (10, "knative panic".into()));
    assert_eq!(calm(61).1, "knative stable");
    // Ten ready over a down rate of two: at least five.
    assert_eq!(calm(61).0, 5);
}

#[test]
fn rates_bound_what_is_wished() {
    // Up to 1,000 times what is ready: 7 * 2,000 asks for 2,000, one is ready.
    assert_eq!(wished(&[(1, 14_000.0, 1)]).0, 1_000);
    // Down to half: 9 ready, floor(9 / 2) = 4. It began in panic with more than one ready, so
    // only after a stable window.
    assert_eq!(wished(&[(62, 0.0, 9)]).0, 4);
}

#[test]
fn a_restart_with_instances_about_begins_in_panic_at_their_count() {
    assert_eq!(wished(&[(1, 0.0, 8)]), (8, "knative panic".into()));
    assert_eq!(wished(&[(1, 0.0, 1)]), (0, "knative stable".into()));
}

#[test]
fn the_scale_down_delay_is_the_largest_of_its_window() {
    let knative =
        Knative::default().tick(Duration::from_secs(1)).scale_down_delay(Duration::from_secs(30));
    let mut engine = Engine::new(knative.between(0, 100)).expect("sound");
    let mut wishes = Vec::new();
    for second in 1..=150 {
        let now = Timestamp::from_secs(second);
        let load = if second <= 60 { 6.9 } else { 0.0 };
        wishes.push(engine.decide(&seen(1, load, now), now).active);
    }
    // The stable window forgets the last load 60 s after it, and the delay 30 s after that.
    assert_eq!((wishes[59], wishes[118], wishes[147], wishes[149]), (1, 1, 1, 0));
}

#[test]
fn from_zero_the_first_who_waits_is_told_at_once() {
    let mut engine = Engine::new(Knative::as_deployed(0, 10)).expect("sound");
    let at = |millis| Timestamp::from_millis(millis);
    let idle = seen(0, 0.0, at(1_000));
    assert_eq!(engine.decide(&idle, at(1_000)).active, 0);
    let mut waits = seen(0, 0.0, at(1_300));
    waits.load.waiting = 1;
    waits.load.span = Duration::from_millis(300);
    assert_eq!(engine.decide(&waits, at(1_300)).active, 1);
}

#[test]
fn windows_and_rates_that_contradict_themselves_do_not_build() {
    assert!(Knative::default().utilisation(0.0).is_err());
    assert!(Knative::default().windows(Duration::from_secs(60), 1.5).is_err());
    assert!(Knative::default().panic_threshold(1.0).is_err());
    assert!(Knative::default().rates(1.0, 2.0).is_err());
    assert!(Knative::default().rates(f64::NAN, 2.0).is_err());
}
