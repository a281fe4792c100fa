//! The prediction, through the ledger's public face: who waits, who is refused, and why.

mod support;

use std::{collections::VecDeque, time::Duration};

use runner_core::admission::{
    Ask, Attainable, Closed, FairKey, QueueSettings, Reason, Snapshot, Why,
};
use support::{Desk, NOBODY, START, attainable, expected, instance, millis, secs, snapshot};

const FIXED: Attainable = Attainable::Nothing(Why::Fixed);

fn any() -> Ask {
    Ask::default()
}

fn with_supplies(present: u32, coming: &[(u32, Duration)], more: Attainable) -> Snapshot {
    let mut all = snapshot((present > 0).then(|| instance(1, present)));
    all.expected = coming.iter().map(|&(slots, after)| expected(slots, Some(after))).collect();
    all.attainable = more;
    all
}

// === the three supplies ===

#[test]
fn as_many_wait_as_each_supply_serves_in_time() {
    struct Case {
        what: &'static str,
        present: u32,
        coming: &'static [(u32, Duration)],
        more: Attainable,
        hold: Duration,
        max_wait: Duration,
        waits: u32,
    }
    const CASES: [Case; 8] = [
        Case {
            what: "four slots, each free twice in a second, serve sixteen in two",
            present: 4,
            coming: &[],
            more: FIXED,
            hold: millis(500),
            max_wait: secs(2),
            waits: 16,
        },
        Case {
            what: "an instance in three seconds serves as many as it has slots",
            present: 0,
            coming: &[(10, secs(3))],
            more: FIXED,
            hold: secs(1),
            max_wait: secs(3),
            waits: 10,
        },
        Case {
            what: "and its slots again, once they had time to come free",
            present: 0,
            coming: &[(10, secs(3))],
            more: FIXED,
            hold: secs(1),
            max_wait: secs(4),
            waits: 20,
        },
        Case {
            what: "an instance that comes too late serves nobody in time",
            present: 1,
            coming: &[(10, secs(3))],
            more: FIXED,
            hold: secs(1),
            max_wait: millis(2_999),
            waits: 2,
        },
        Case {
            what: "what can still be started counts from when it would be there",
            present: 0,
            coming: &[],
            more: attainable(5, Some(secs(2))),
            hold: secs(1),
            max_wait: secs(2),
            waits: 5,
        },
        Case {
            what: "all three together: 2 x 5 from those present, 4 x 4 and 3 x 3 from those to come",
            present: 2,
            coming: &[(4, secs(2))],
            more: attainable(3, Some(secs(3))),
            hold: secs(1),
            max_wait: secs(5),
            waits: 35,
        },
        Case {
            what: "two instances that start at their own times",
            present: 0,
            coming: &[(2, secs(4)), (3, secs(1))],
            more: FIXED,
            hold: secs(1),
            max_wait: secs(4),
            waits: 3 * 4 + 2,
        },
        Case {
            what: "a crash loop adds nothing to those present",
            present: 2,
            coming: &[],
            more: Attainable::Nothing(Why::CrashLoop),
            hold: secs(1),
            max_wait: secs(3),
            waits: 6,
        },
    ];
    for case in CASES {
        let all = with_supplies(case.present, case.coming, case.more);
        let (mut desk, _leases) = Desk::busy(case.max_wait, all, case.hold);
        let (waits, refusal) = desk.until_refused(&any());
        assert_eq!(waits, case.waits, "{}", case.what);
        assert_eq!(refusal.reason, Reason::WouldWaitTooLong, "{}", case.what);
        let wait = refusal.wait.expect("all was known");
        assert!(wait > case.max_wait, "{}: {wait:?} would have fitted", case.what);
    }
}

#[test]
fn what_is_overdue_comes_any_moment() {
    let all = with_supplies(0, &[(2, secs(1))], FIXED);
    let (mut desk, _) = Desk::busy(millis(100), all, secs(1));
    desk.pass(secs(5));
    assert_eq!(desk.until_refused(&any()).0, 2);
}

#[test]
fn before_anything_is_learned_nobody_is_refused_for_time() {
    let mut never_released = snapshot([instance(1, 1)]);
    never_released.attainable = Attainable::Nothing(Why::AtMaximum);
    let mut first_start = Snapshot::default();
    first_start.expected = vec![expected(1, None)];
    let mut could_start = Snapshot::default();
    could_start.attainable = attainable(1, None);
    // A slow instance, but one more of unknown start-up time.
    let mut slow = snapshot([instance(1, 1)]);
    slow.attainable = attainable(1, None);
    for (learned, all) in
        [(None, never_released), (None, first_start), (None, could_start), (Some(secs(60)), slow)]
    {
        let mut desk = Desk::new(QueueSettings::new(1_000, secs(1)), all);
        let _leases = desk.fill();
        if let Some(hold) = learned {
            desk.ledger.learn(hold);
        }
        let (waits, refusal) = desk.until_refused(&any());
        assert_eq!((waits, refusal.reason), (1_000, Reason::QueueFull));
    }
}

#[test]
fn what_was_learned_from_a_full_queue_bounds_the_next() {
    // Nobody tells how long requests take: releases alone teach it.
    let mut desk = Desk::new(QueueSettings::new(1_000, secs(1)), snapshot([instance(1, 10)]));
    let mut leases = VecDeque::from(desk.fill());
    let mut queue: VecDeque<_> = (0..500).map(|_| desk.waits(&any())).collect();
    for _ in 0..100 {
        desk.pass(millis(20));
        let _ = desk.tick();
        let lease = leases.pop_front().expect("ten are out");
        let (request, ticket) = queue.pop_front().expect("more wait than are served");
        assert_eq!(desk.release(lease), [request], "first come, first served");
        leases.push_back(desk.granted(ticket));
    }
    // Fifty a second were released, so 400 are served in eight seconds.
    let hold = desk.ledger.hold_time().expect("two seconds taught it");
    assert!(hold.abs_diff(millis(200)) < millis(5), "{hold:?}");
    let refusal = desk.refused(&any());
    assert_eq!(refusal.reason, Reason::WouldWaitTooLong);
    assert!(refusal.wait.expect("known").abs_diff(millis(8_020)) < millis(200), "{refusal:?}");
}

#[test]
fn leases_beyond_the_slots_there_are_teach_nothing() {
    // Fifty a second are released by ten slots. When eight of them go, what they still have ends as
    // fast as before, which says nothing about the two that stay.
    let fallen = || snapshot([instance(1, 2)]);
    let drained = || snapshot([instance(1, 10).draining(), instance(2, 2)]);
    for after in [fallen, drained] {
        let (mut desk, mut leases) = Desk::busy(secs(60), snapshot([instance(1, 10)]), millis(200));
        for _ in 0..20 {
            let _ = desk.waits(&any());
        }
        let _ = desk.apply(after());
        for _ in 0..8 {
            let _ = desk.tick();
            desk.pass(millis(20));
            let _ = desk.release(leases.pop().expect("ten"));
        }
        let _ = desk.tick();
        assert_eq!(desk.ledger.hold_time(), Some(millis(200)));
    }
}

#[test]
fn one_request_that_was_long_beyond_measure_shuts_nobody_out() {
    let (mut desk, _leases) = Desk::busy(secs(4), snapshot([instance(1, 10)]), millis(200));
    for _ in 0..200 {
        desk.ledger.learn(millis(200));
    }
    // From here on releases say how fast slots come free, and samples how much requests differ.
    let _ = desk.tick();
    desk.ledger.learn(secs(600));
    // Two hundred are served in time. Some are kept back, since requests differ; were all of the
    // ten minutes counted, it would be half of them.
    let (waits, _) = desk.until_refused(&any());
    assert!((150..200).contains(&waits), "{waits}");
}

// === promises that break ===

#[test]
fn when_an_instance_fails_to_start_those_who_no_longer_fit_are_refused_then() {
    let promised = with_supplies(2, &[(8, secs(1))], FIXED);
    let (mut desk, mut leases) = Desk::busy(secs(5), promised, secs(1));
    let tickets: Vec<_> = (0..40).map(|_| desk.waits(&any())).collect();
    desk.pass(millis(500));
    // Two a second for the four and a half seconds that are left.
    let woken = desk.apply(with_supplies(2, &[], FIXED));
    let (stay, go) = tickets.split_at(9);
    assert_eq!(woken, go.iter().map(|(request, _)| *request).collect::<Vec<_>>());
    for (_, ticket) in go {
        let refusal = desk.dismissed(*ticket);
        assert_eq!((refusal.reason, refusal.reason.status()), (Reason::WouldWaitTooLong, 429));
        assert_eq!(refusal.budget, millis(4_500));
        assert!(refusal.retry_after.is_some());
    }
    for (request, ticket) in stay {
        desk.still_waits(*ticket);
        desk.pass(millis(500));
        let lease = leases.remove(0);
        assert_eq!(desk.release(lease), [*request]);
        leases.push(desk.granted(*ticket));
    }
    assert_eq!(desk.ledger.waiting(), 0);
}

#[test]
fn a_promise_that_is_put_off_is_broken_for_those_who_cannot_wait_as_long() {
    let (mut desk, _) = Desk::busy(secs(10), with_supplies(0, &[(3, secs(2))], FIXED), secs(60));
    let patient = desk.waits(&any());
    let hasty = desk.waits(&any().within(secs(3)));
    let hopeful = desk.waits(&any());
    assert_eq!(desk.apply(with_supplies(0, &[(3, secs(4))], FIXED)), [hasty.0]);
    assert_eq!(desk.dismissed(hasty.1).wait, Some(secs(4)));
    desk.still_waits(patient.1);
    desk.still_waits(hopeful.1);
    // A promise that is kept early is no reason to refuse anybody.
    assert_eq!(desk.apply(with_supplies(3, &[], FIXED)), [patient.0, hopeful.0]);
}

#[test]
fn the_same_promise_told_again_refuses_nobody() {
    let promised = with_supplies(2, &[(8, secs(1))], attainable(4, Some(secs(2))));
    let (mut desk, _leases) = Desk::busy(secs(3), promised.clone(), secs(1));
    let (waits, _) = desk.until_refused(&any());
    for _ in 0..3 {
        assert_eq!(desk.apply(promised.clone()), NOBODY);
    }
    assert_eq!(desk.ledger.waiting(), waits);
}

#[test]
fn when_nothing_is_coming_any_more_everybody_is_told_why() {
    for (why, reason) in [
        (Why::AtMaximum, Reason::NoCapacityComing),
        (Why::BackendExhausted, Reason::NoCapacityComing),
        (Why::CrashLoop, Reason::NoCapacityComing),
        (Why::Fixed, Reason::NoCapacityComing),
        (Why::Paused, Reason::Paused),
    ] {
        let (mut desk, _) = Desk::busy(secs(5), with_supplies(0, &[(1, secs(1))], FIXED), secs(1));
        let tickets: Vec<_> = (0..4).map(|_| desk.waits(&any())).collect();
        let woken = desk.apply(with_supplies(0, &[], Attainable::Nothing(why)));
        assert_eq!(woken.len(), 4, "{why:?}");
        for (_, ticket) in tickets {
            let refusal = desk.dismissed(ticket);
            assert_eq!((refusal.reason, refusal.unattainable), (reason, Some(why)));
            assert_eq!(refusal.reason.status(), 503);
            assert_eq!(refusal.retry_after, None, "nobody can tell when {why:?} ends");
        }
        // And so are those who come now.
        assert_eq!(desk.refused(&any()).reason, reason);
    }
}

#[test]
fn a_broken_promise_is_shared_among_keys_by_what_each_has_waiting() {
    let promised = with_supplies(1, &[(40, secs(1))], FIXED);
    let (mut desk, _leases) = Desk::busy(secs(8), promised, secs(1));
    let on_behalf = |key| any().on_behalf_of(FairKey(key));
    let many: Vec<_> = (0..20).map(|_| desk.waits(&on_behalf(1))).collect();
    let few: Vec<_> = (0..2).map(|_| desk.waits(&on_behalf(2))).collect();
    let woken = desk.apply(with_supplies(1, &[], FIXED));
    // One a second for eight seconds: every other turn is of the key that came late, until it has
    // nobody waiting.
    for (request, ticket) in few {
        assert!(!woken.contains(&request), "its turns come within four seconds");
        desk.still_waits(ticket);
    }
    let stay = many.iter().filter(|(request, _)| !woken.contains(request)).count();
    assert!((4..=6).contains(&stay), "{stay} of the other key stay");
}

// === reasons ===

#[test]
fn each_cause_has_its_reason_and_its_status() {
    let hold = secs(10);
    let at_maximum = with_supplies(1, &[], Attainable::Nothing(Why::AtMaximum));
    let mut draining = snapshot([instance(1, 1)]);
    draining.closed = Some(Closed::Draining);
    let mut paused = snapshot([instance(1, 1)]);
    paused.closed = Some(Closed::Paused);
    let nothing = Snapshot::default();
    let busy = snapshot([instance(1, 1)]);
    for (all, reason, status, comes_back) in [
        (at_maximum, Reason::AtMaximum, 429, true),
        (busy, Reason::WouldWaitTooLong, 429, true),
        (draining, Reason::Draining, 503, true),
        (paused, Reason::Paused, 503, false),
        (nothing, Reason::NoCapacityComing, 503, false),
    ] {
        let (mut desk, _leases) = Desk::busy(secs(1), all, hold);
        let refusal = desk.refused(&any());
        assert_eq!((refusal.reason, refusal.reason.status()), (reason, status));
        assert_eq!(refusal.retry_after.is_some(), comes_back, "{reason}");
        assert_eq!(desk.ledger.tally().refused_for(reason), 1);
        assert_eq!(desk.ledger.tally().refused_in_all(), 1);
    }
}

#[test]
fn who_waited_in_vain_is_told_so_and_for_how_long() {
    let mut desk = Desk::new(QueueSettings::new(1, secs(2)), snapshot([instance(1, 1)]));
    let _leases = desk.fill();
    let (request, ticket) = desk.waits(&any());
    assert_eq!(desk.refused(&any()).reason, Reason::QueueFull);
    desk.pass(secs(2));
    let (refusal, who) = desk.ledger.expire(ticket, desk.now).expect("it waits");
    assert_eq!(
        (who, refusal.reason, refusal.wait),
        (request, Reason::WaitedTooLong, Some(secs(2)))
    );
    assert_eq!((refusal.reason.status(), desk.ledger.waiting()), (503, 0));
}

#[test]
fn a_pause_refuses_those_who_wait_and_a_drain_does_not() {
    let (mut desk, mut leases) = Desk::busy(secs(5), snapshot([instance(1, 1)]), secs(1));
    let (first, ticket) = desk.waits(&any());
    let (second, other) = desk.waits(&any());
    let closed = |closed| {
        let mut all = snapshot([instance(1, 1)]);
        all.closed = Some(closed);
        all
    };
    assert_eq!(desk.apply(closed(Closed::Draining)), NOBODY);
    assert_eq!(desk.release(leases.remove(0)), [first]);
    assert_eq!(desk.apply(closed(Closed::Paused)), [second]);
    assert_eq!(desk.dismissed(other).reason, Reason::Paused);
    // The slot that was given before the pause is good.
    let lease = desk.granted(ticket);
    assert_eq!(desk.release(lease), NOBODY);
}

// === budgets ===

#[test]
fn the_budget_is_the_smallest_of_maximum_wait_and_own() {
    for (own, whole) in [(None, secs(4)), (Some(secs(3)), secs(3)), (Some(secs(9)), secs(4))] {
        let mut desk = Desk::new(QueueSettings::new(10, secs(4)), snapshot([instance(1, 1)]));
        let _leases = desk.fill();
        let mut ask = any();
        ask.budget = own;
        let queued = desk.enqueue(&ask).expect("nothing was learned");
        assert_eq!(queued.deadline, START + whole);
    }
}

#[test]
fn one_that_fits_its_own_budget_waits_where_another_is_refused() {
    let (mut desk, _leases) = Desk::busy(secs(10), snapshot([instance(1, 1)]), secs(1));
    for _ in 0..4 {
        let _ = desk.waits(&any());
    }
    let refusal = desk.refused(&any().within(millis(4_900)));
    assert_eq!((refusal.budget, refusal.wait), (millis(4_900), Some(secs(5))));
    let _ = desk.waits(&any().within(secs(5)));
}

#[test]
fn no_budget_at_all_is_a_question_for_a_free_slot_only() {
    let mut desk = Desk::new(QueueSettings::new(10, secs(4)), snapshot([instance(1, 1)]));
    let ask = any().within(Duration::ZERO);
    let lease = desk.admitted(&ask);
    assert_eq!(desk.refused(&ask).reason, Reason::WouldWaitTooLong);
    let _ = desk.release(lease);
}
