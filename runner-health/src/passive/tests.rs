//! Ejecting, by table and by property.

use proptest::prelude::*;
use runner_core::id::ServiceId;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const START: Timestamp = Timestamp::from_secs(1_777_507_200);

fn id(number: u64) -> InstanceId {
    ServiceId::from_random(7).instance(number)
}

fn fleet(instances: u64) -> Passive {
    let mut passive = Passive::new(PassiveSettings::default());
    for number in 1..=instances {
        assert_eq!(passive.handle_eligible(id(number), true, START), []);
    }
    passive
}

fn run(errors: u64) -> Outcomes {
    Outcomes { requests: errors, errors, errors_in_a_row: errors, ..Outcomes::default() }
}

fn share(requests: u64, errors: u64) -> Outcomes {
    Outcomes { requests, errors, ..Outcomes::default() }
}

fn ejected(effects: &[PassiveEffect]) -> Vec<(InstanceId, Duration)> {
    let eject = |effect: &PassiveEffect| match effect {
        PassiveEffect::Eject { instance, span, .. } => Some((*instance, *span)),
        PassiveEffect::Readmit { .. } => None,
    };
    effects.iter().filter_map(eject).collect()
}

#[test]
fn five_errors_in_a_row_eject_and_four_do_not() {
    let mut passive = fleet(2);
    assert_eq!(passive.handle_report(id(1), run(4), START), []);
    let one_more = Outcomes { requests: 1, errors: 1, errors_in_a_row: 5, ..Outcomes::default() };
    let effects = passive.handle_report(id(1), one_more, START);
    assert_eq!(ejected(&effects), [(id(1), 30 * SECOND)]);
    assert!(passive.is_ejected(id(1)));
}

#[test]
fn three_failed_connections_say_more_than_errors() {
    let mut passive = fleet(2);
    let outcomes = Outcomes {
        requests: 3,
        errors: 3,
        connect_failures: 3,
        errors_in_a_row: 3,
        connect_failures_in_a_row: 3,
    };
    let effects = passive.handle_report(id(1), outcomes, START);
    assert!(matches!(
        effects[..],
        [PassiveEffect::Eject { grounds: Grounds::ConnectFailuresInARow(3), .. }]
    ));
}

#[test]
fn a_run_from_before_it_was_taken_back_is_forgiven() {
    let mut passive = fleet(2);
    let _ = passive.handle_report(id(1), run(5), START);
    let back = START + 30 * SECOND;
    let effects = passive.handle_tick(back);
    assert_eq!(effects, [PassiveEffect::Readmit { instance: id(1), failed_open: false }]);
    let one = Outcomes { requests: 1, errors: 1, errors_in_a_row: 6, ..Outcomes::default() };
    assert_eq!(passive.handle_report(id(1), one, back), [], "one error since");
    let more = Outcomes { requests: 4, errors: 4, errors_in_a_row: 10, ..Outcomes::default() };
    assert_eq!(ejected(&passive.handle_report(id(1), more, back)), [(id(1), 60 * SECOND)]);
}

#[test]
fn each_ejection_is_twice_as_long_until_it_was_in_for_long() {
    let (mut passive, mut now) = (fleet(2), START);
    let mut spans = Vec::new();
    for _ in 0..6 {
        let effects = passive.handle_report(id(1), run(5), now);
        let [(_, span)] = ejected(&effects)[..] else { panic!("it is ejected: {effects:?}") };
        spans.push(span.as_secs());
        now += span;
        let _ = passive.handle_tick(now);
    }
    assert_eq!(spans, [30, 60, 120, 240, 300, 300]);
    now += 300 * SECOND;
    assert_eq!(ejected(&passive.handle_report(id(1), run(5), now)), [(id(1), 30 * SECOND)]);
}

#[test]
fn a_single_instance_is_never_ejected_and_of_three_one_is() {
    let mut alone = fleet(1);
    assert_eq!(alone.handle_report(id(1), run(100), START), []);
    let mut three = fleet(3);
    let effects: Vec<_> =
        (1..=3).flat_map(|number| three.handle_report(id(number), run(5), START)).collect();
    assert_eq!(ejected(&effects), [(id(1), 30 * SECOND)]);
}

#[test]
fn the_last_is_not_ejected_even_where_all_may_be() {
    let settings = PassiveSettings { most_ejected: Percent::MAX, ..PassiveSettings::default() };
    let mut passive = Passive::new(settings);
    let _ = passive.handle_eligible(id(1), true, START);
    let _ = passive.handle_eligible(id(2), true, START);
    assert_eq!(ejected(&passive.handle_report(id(1), run(5), START)).len(), 1);
    assert_eq!(passive.handle_report(id(2), run(5), START), []);
    let effects = passive.handle_eligible(id(2), false, START);
    assert_eq!(effects, [PassiveEffect::Readmit { instance: id(1), failed_open: true }]);
}

#[test]
fn an_outlier_is_measured_against_the_others_and_a_common_fault_has_none() {
    for (own, others, is_out) in [
        (50, 0, true),
        (30, 0, true),
        (29, 0, false),
        (80, 50, true),
        (79, 50, false),
        (100, 100, false),
    ] {
        let mut passive = fleet(4);
        let _ = passive.handle_report(id(1), share(100, own), START);
        for number in 2..=4 {
            let _ = passive.handle_report(id(number), share(100, others), START);
        }
        let end = passive.next_due().expect("the window ends");
        assert_eq!(end, START + 10 * SECOND);
        assert_eq!(passive.handle_tick(end - Duration::from_nanos(1)), []);
        let effects = passive.handle_tick(end);
        assert_eq!(ejected(&effects).len(), usize::from(is_out), "{own} {others}");
        assert_eq!(passive.handle_tick(end + SECOND), [], "and the window is empty again");
    }
}

#[test]
fn few_requests_show_nothing() {
    let mut passive = fleet(2);
    let _ = passive.handle_report(id(1), share(19, 19), START);
    let _ = passive.handle_report(id(2), share(100, 0), START);
    assert_eq!(passive.handle_tick(START + 10 * SECOND), []);
    let _ = passive.handle_report(id(1), share(20, 20), START);
    let _ = passive.handle_report(id(2), share(19, 0), START);
    assert_eq!(passive.handle_tick(START + 20 * SECOND), []);
}

#[test]
fn the_worst_go_first_where_not_all_may() {
    let mut passive = fleet(6);
    for (number, errors) in [(1, 40), (2, 90), (3, 60), (4, 80), (5, 0), (6, 0)] {
        // Most requests go where they are answered, so that the others are far from common.
        let requests = if errors == 0 { 10_000 } else { 100 };
        let _ = passive.handle_report(id(number), share(requests, errors), START);
    }
    let effects = passive.handle_tick(START + 10 * SECOND);
    let ids: Vec<_> = ejected(&effects).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [id(2), id(4), id(3)]);
}

#[test]
fn after_a_pause_what_requests_saw_before_is_forgotten() {
    let mut passive = fleet(2);
    let _ = passive.handle_report(id(1), run(4), START);
    passive.handle_lost();
    let one = Outcomes { requests: 1, errors: 1, errors_in_a_row: 5, ..Outcomes::default() };
    assert_eq!(passive.handle_report(id(1), one, START), []);
}

proptest! {
    #[test]
    fn never_more_than_the_share_is_out_and_never_the_last(
        most in 1..=100_u8,
        steps in proptest::collection::vec((0..5_u8, 1..=8_u64, 0..100_u64), 1..200),
    ) {
        let settings = PassiveSettings {
            most_ejected: Percent::new(most).expect("within bounds"),
            ..PassiveSettings::default()
        };
        let (mut passive, mut now) = (Passive::new(settings), START);
        let mut eligible = BTreeSet::new();
        for (what, number, amount) in steps {
            let effects = match what {
                0 => {
                    eligible.insert(number);
                    passive.handle_eligible(id(number), true, now)
                }
                1 => {
                    eligible.remove(&number);
                    passive.handle_eligible(id(number), false, now)
                }
                2 => {
                    eligible.remove(&number);
                    passive.handle_removed(id(number), now)
                }
                3 => passive.handle_report(id(number), run(amount), now),
                _ => {
                    now += Duration::from_secs(amount);
                    passive.handle_tick(now)
                }
            };
            let out = eligible.iter().filter(|number| passive.is_ejected(id(**number))).count();
            prop_assert_eq!(passive.ejected(), (out, eligible.len()));
            prop_assert!(out * 100 <= eligible.len() * usize::from(most));
            prop_assert!(out == 0 || out < eligible.len());
            for effect in effects {
                match effect {
                    PassiveEffect::Eject { instance, .. } => {
                        prop_assert!(passive.is_ejected(instance));
                    }
                    PassiveEffect::Readmit { instance, .. } => {
                        prop_assert!(!passive.is_ejected(instance));
                    }
                }
            }
            prop_assert!(passive.next_due().is_none_or(|due| due > now || what != 4));
        }
    }
}
