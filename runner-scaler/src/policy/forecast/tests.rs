use super::*;
use crate::{Engine, Load, Observation, PolicyExt};

fn run(
    engine: &mut Engine<Forecast>,
    minutes: std::ops::Range<u64>,
    load: impl Fn(u64) -> f64,
) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    for minute in minutes {
        for second in 0..6 {
            let now = Timestamp::from_secs(minute * 60 + second * 10);
            let mut seen = Observation::of_ready(1, 10, now);
            seen.load = Load { span: Duration::from_secs(10), ..Load::now(0, 0) };
            seen.load.concurrency = Some(load(minute));
            let decision = engine.decide(&seen, now);
            let rule = decision.winner().map(|wish| wish.rule.to_string());
            all.push((decision.active, rule.unwrap_or_default()));
        }
    }
    all
}

fn engine() -> Engine<Forecast> {
    Engine::new(Forecast::new(1.0).expect("full").between(0, 1_000)).expect("sound")
}

#[test]
fn a_steady_rise_is_followed_ahead_of_itself() {
    let mut engine = engine();
    let wishes = run(&mut engine, 0..120, |minute| minute as f64 * 10.0);
    // At minute 119 the load is 1,190: reaction asks for 119, the trend for more.
    let (active, rule) = wishes.last().expect("a wish");
    assert_eq!(rule, "trend");
    assert!((120..=125).contains(active), "{active}");
    assert!(engine.policy_mut().confidence().0 > 0.5);
}

#[test]
fn noise_gives_no_confidence_and_is_only_reacted_to() {
    let mut engine = engine();
    let noise = |minute: u64| 50.0 + (crate::simulator::mixed(3, minute) % 50) as f64;
    run(&mut engine, 0..500, noise);
    let wishes = run(&mut engine, 500..600, noise);
    let followed = wishes.iter().filter(|(_, rule)| rule == "trend").count();
    let (trend, season) = engine.policy_mut().confidence();
    assert!(trend < 0.5 && season == 0.0, "{trend}");
    // What little confidence there is moves a wish by little.
    let most = wishes.iter().map(|(active, _)| *active).max().unwrap_or(0);
    assert!(most <= 11, "{most} after {followed}");
}

#[test]
fn a_day_that_was_seen_twice_is_expected_a_third_time() {
    let mut engine = engine();
    let day =
        |minute: u64| 100.0 - 80.0 * (minute as f64 / DAY as f64 * std::f64::consts::TAU).cos();
    run(&mut engine, 0..2 * DAY, day);
    assert_eq!(engine.policy_mut().confidence().1, 0.0, "nothing was fitted yet");
    assert_eq!(engine.policy_mut().fit().map(|season| season.days), Some(2));
    // Confidence is earned by what came true.
    run(&mut engine, 2 * DAY..2 * DAY + 360, day);
    let (_, season) = engine.policy_mut().confidence();
    assert!(season > 0.5, "{season}");
    let usual = engine.policy_mut().fit().map(|season| season.minutes[720]).expect("a season");
    assert!((usual - 180.0).abs() < 1.0, "{usual}");
}

#[test]
fn less_than_a_day_has_no_season() {
    let mut engine = engine();
    run(&mut engine, 0..100, |_| 5.0);
    assert_eq!(engine.policy_mut().fit(), None);
}
