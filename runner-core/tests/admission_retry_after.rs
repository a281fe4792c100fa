//! When those who are refused are told to come back, through the ledger's public face.

mod support;

use std::time::Duration;

use runner_core::admission::{Ask, Priority, QueueSettings, Ticket};
use support::{Desk, instance, millis, secs, snapshot};

fn any() -> Ask {
    Ask::default()
}

#[test]
fn those_refused_together_are_told_to_come_back_one_by_one_as_slots_come_free() {
    let (mut desk, _leases) = Desk::busy(secs(2), snapshot([instance(1, 4)]), secs(1));
    let (waits, first) = desk.until_refused(&any());
    assert_eq!(waits, 8);
    let mut told = vec![first.retry_after.expect("told")];
    told.extend((0..20).map(|_| desk.refused(&any()).retry_after.expect("told")));
    // By then the wait is down to half of the longest one.
    assert!(told[0] >= millis(1_250) - millis(1), "{told:?}");
    for pair in told.windows(2) {
        assert_eq!(pair[1] - pair[0], millis(250), "four slots, a second each: {told:?}");
    }
}

#[test]
fn it_follows_the_state() {
    let told = |slots: u32, hold: Duration| {
        let (mut desk, _leases) = Desk::busy(secs(4), snapshot([instance(1, slots)]), hold);
        let (_, first) = desk.until_refused(&any());
        desk.pass(secs(1));
        let later = desk.refused(&any()).retry_after.expect("told");
        (first.retry_after.expect("told"), later)
    };
    let (slow, _) = told(1, secs(3));
    let (fast, later) = told(100, millis(100));
    assert!(slow > fast, "{slow:?} {fast:?}");
    assert!(later <= fast + millis(1), "a second later nobody is sent further off");
}

#[test]
fn whoever_obeys_it_is_let_in() {
    // Eight slots of half a second each: sixteen a second, for a minute. Twice as many come.
    let (mut desk, mut leases) = Desk::busy(secs(2), snapshot([instance(1, 8)]), millis(500));
    let mut queue: Vec<Ticket> = Vec::new();
    let mut back: Vec<(runner_core::time::Timestamp, u64)> = Vec::new();
    let (mut tried_again, mut refused_again) = (0, 0);
    let period = millis(1_000) / 16;
    for step in 0..960_u64 {
        desk.pass(period);
        let lease = leases.remove(0);
        let _ = desk.release(lease);
        if !queue.is_empty() {
            let next = queue.remove(0);
            leases.push(desk.granted(next));
        }
        let due: Vec<_> = back.extract_if(.., |(at, _)| *at <= desk.now).collect();
        let fresh = if step < 320 { 2 } else { 0 };
        for tries in due.iter().map(|(_, tries)| *tries).chain((0..fresh).map(|_| 0)) {
            tried_again += u64::from(tries == 1);
            match desk.arrive(&any()) {
                support::Entry::Admitted(lease) => leases.push(lease),
                support::Entry::Waits(_, ticket) => queue.push(ticket),
                support::Entry::Refused(refusal) => {
                    refused_again += u64::from(tries == 1);
                    back.push((desk.now + refusal.retry_after.expect("told"), tries + 1));
                }
            }
        }
        leases.extend(desk.fill());
    }
    assert!(tried_again > 100, "too few were refused to say anything: {tried_again}");
    assert_eq!(refused_again, 0, "of {tried_again} who came back when told");
}

#[test]
fn those_who_come_in_any_case_are_left_their_slots() {
    // Ten slots of a second, usually half of them taken: what is spare is five a second.
    let mut desk = Desk::new(QueueSettings::new(10_000, secs(2)), snapshot([instance(1, 10)]));
    let mut leases: Vec<_> = (0..5).map(|_| desk.admitted(&any())).collect();
    for _ in 0..10 {
        desk.ledger.learn(secs(1));
    }
    leases.extend(desk.fill());
    let (_, first) = desk.until_refused(&any());
    let mut told = vec![first.retry_after.expect("told")];
    told.extend((0..20).map(|_| desk.refused(&any()).retry_after.expect("told")));
    // Twice as long until the line is down to half, and twice as far apart; and a tenth over.
    assert!(told[0] > millis(2_000), "{told:?}");
    for pair in told.windows(2) {
        let apart = (pair[1] - pair[0]).as_secs_f64();
        assert!((apart - 1.0 / 4.5).abs() < 1e-6, "{apart}");
    }
}

#[test]
fn a_crowd_too_large_for_the_latest_return_is_not_told_to_come_at_once_then() {
    let (mut desk, _leases) = Desk::busy(secs(2), snapshot([instance(1, 1)]), secs(1));
    let (_, first) = desk.until_refused(&any());
    let mut told = vec![first.retry_after.expect("told")];
    told.extend((0..1_000).map(|_| desk.refused(&any()).retry_after.expect("told")));
    told.sort_unstable();
    assert!(told.last().is_some_and(|last| *last <= secs(120)));
    // A thousand over two minutes, and nowhere more than their share.
    for pair in told.windows(20) {
        assert!(pair[19] - pair[0] >= secs(1), "{:?} to {:?}", pair[0], pair[19]);
    }
}

#[test]
fn who_waited_in_vain_is_told_to_come_back_when_its_own_class_is_served() {
    let (mut desk, _leases) = Desk::busy(secs(60), snapshot([instance(1, 1)]), secs(1));
    let low = Ask::with_priority(Priority::Low);
    let (_, ticket) = desk.waits(&low.within(secs(1)));
    for _ in 0..49 {
        let _ = desk.waits(&low);
    }
    desk.pass(secs(1));
    let (refusal, _) = desk.ledger.expire(ticket, desk.now).expect("it waits");
    // Behind the fifty it is the last, half a minute of which fits; of a higher class the first.
    assert_eq!(refusal.retry_after, Some(secs(21)));
}

#[test]
fn whole_seconds_are_rounded_up() {
    for (exact, header) in [
        (millis(100), 1),
        (millis(999), 1),
        (secs(1), 1),
        (secs(1) + Duration::from_nanos(1), 2),
        (millis(2_500), 3),
        (secs(120), 120),
    ] {
        // Where nothing was learned it is the maximum wait.
        let mut desk = Desk::new(QueueSettings::new(0, exact), snapshot([instance(1, 1)]));
        let _leases = desk.fill();
        let refusal = desk.refused(&any());
        assert_eq!((refusal.retry_after, refusal.retry_after_secs()), (Some(exact), Some(header)));
    }
}

#[test]
fn nobody_is_told_to_come_at_once_or_in_an_hour() {
    for (max_wait, told) in [(Duration::ZERO, millis(100)), (secs(3_600), secs(120))] {
        let mut desk = Desk::new(QueueSettings::new(0, max_wait), snapshot([instance(1, 1)]));
        let _leases = desk.fill();
        assert_eq!(desk.refused(&any()).retry_after, Some(told));
    }
}
