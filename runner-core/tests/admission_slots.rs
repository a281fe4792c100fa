//! Which slot a request is given and which it is not: caps that change, ramps, drains, preferences,
//! pins, and those who come back unserved.

mod support;

use std::time::Duration;

use runner_core::admission::{Ask, FairKey, Pin, Priority, QueueSettings, Ramp, Reason, Snapshot};
use support::{
    Desk, NOBODY, START, attainable, instance, instance_id, instance_of, millis, secs, snapshot,
};

fn any() -> Ask {
    Ask::default()
}

// === caps ===

#[test]
fn a_ramp_lets_in_as_much_as_it_has_risen_and_no_more() {
    let ramp = Ramp { since: START, over: secs(10) };
    let ramping = instance(1, 10).ramping(ramp);
    let mut desk = Desk::new(QueueSettings::new(100, secs(60)), snapshot([ramping]));
    let mut leases = desk.fill();
    assert_eq!(leases.len(), 1, "there is always one slot");
    let mut tickets: Vec<_> = (0..20).map(|_| desk.waits(&any())).collect();
    for second in 1..=12_u64 {
        desk.pass(secs(1));
        let woken = desk.tick();
        let cap = second.clamp(1, 10);
        let came = tickets.drain(..woken.len()).collect::<Vec<_>>();
        assert_eq!(woken, came.iter().map(|(request, _)| *request).collect::<Vec<_>>());
        leases.extend(came.into_iter().map(|(_, ticket)| desk.granted(ticket)));
        assert_eq!((leases.len() as u64, desk.ledger.slots()), (cap, cap), "after {second} s");
        assert!(desk.ledger.admit(&any()).is_none());
    }
}

#[test]
fn when_a_cap_falls_leases_are_kept_and_none_is_granted_above_it() {
    let (mut desk, mut leases) = Desk::busy(secs(60), snapshot([instance(1, 5)]), millis(10));
    let tickets: Vec<_> = (0..3).map(|_| desk.waits(&any())).collect();
    assert_eq!(desk.apply(snapshot([instance(1, 2)])), NOBODY);
    assert_eq!((desk.ledger.in_flight(), desk.ledger.slots()), (5, 2));
    for left in [4, 3, 2] {
        assert_eq!(desk.release(leases.remove(0)), NOBODY, "{left} are still out");
        assert!(desk.ledger.admit(&any()).is_none());
    }
    assert_eq!(desk.release(leases.remove(0)), [tickets[0].0]);
    leases.push(desk.granted(tickets[0].1));
    assert_eq!(desk.ledger.in_flight(), 2);
    // And when it rises again those who wait are served at once.
    assert_eq!(desk.apply(snapshot([instance(1, 4)])), [tickets[1].0, tickets[2].0]);
    assert_eq!(desk.ledger.in_flight(), 4);
}

#[test]
fn a_drained_instance_is_told_once_its_last_lease_has_ended() {
    let both = || [instance(1, 2), instance(2, 2)];
    let mut desk = Desk::new(QueueSettings::new(10, secs(60)), snapshot(both()));
    let (of_first, of_second): (Vec<_>, Vec<_>) =
        desk.fill().into_iter().partition(|lease| desk.instance_of(lease) == instance_id(1));
    let _ = desk.waits(&any());
    let [first, second] = both();
    assert_eq!(desk.apply(snapshot([first.draining(), second])), NOBODY);
    let mut drained = of_first.into_iter().map(|lease| desk.ledger.release(lease));
    let (one, two) = (drained.next().expect("two"), drained.next().expect("two"));
    drop(drained);
    assert_eq!((one.drained, two.drained), (None, Some(instance_id(1))));
    assert!(one.woken.is_empty() && two.woken.is_empty(), "a draining instance serves nobody");
    assert_eq!(desk.ledger.waiting(), 1);
    for lease in of_second {
        assert_eq!(desk.ledger.release(lease).drained, None);
    }
}

#[test]
fn an_instance_that_need_not_drain_after_all_goes_on_with_what_it_has() {
    let mut desk = Desk::new(QueueSettings::new(10, secs(60)), snapshot([instance(1, 2)]));
    let kept = desk.admitted(&any());
    assert_eq!(desk.apply(with_supplies_draining()), NOBODY);
    let (request, ticket) = desk.waits(&any());
    assert_eq!(desk.ledger.leases_of(instance_id(1)), 1);
    assert_eq!(desk.apply(snapshot([instance(1, 2)])), [request]);
    let lease = desk.granted(ticket);
    assert_eq!(desk.instance_of(&lease), instance_id(1));
    assert!(desk.ledger.admit(&any()).is_none(), "the lease from before the drain counts");
    assert_eq!(desk.ledger.release(kept).drained, None);
    assert_eq!(desk.ledger.release(lease).drained, None);
}

fn with_supplies_draining() -> Snapshot {
    let mut all = snapshot([instance(1, 2).draining()]);
    all.attainable = attainable(2, None);
    all
}

// === preferences, pins, returns ===

#[test]
fn a_preference_is_kept_while_it_has_a_slot_and_yields_when_it_has_none() {
    let mut desk =
        Desk::new(QueueSettings::new(10, secs(60)), snapshot([instance(1, 2), instance(2, 2)]));
    let mut liked = any();
    liked.prefer = Some(instance_id(1));
    let leases: Vec<_> = (0..4).map(|_| desk.admitted(&liked)).collect();
    let served: Vec<_> = leases.iter().map(|lease| desk.instance_of(lease).number).collect();
    assert_eq!(served, [1, 1, 2, 2]);
    // Who waits takes what comes first.
    let (request, ticket) = desk.waits(&liked);
    let other = leases.into_iter().next_back().expect("four");
    assert_eq!(desk.release(other), [request]);
    let lease = desk.granted(ticket);
    assert_eq!(desk.instance_of(&lease), instance_id(2));
}

#[test]
fn a_pin_waits_for_its_instance_while_others_pass() {
    let mut desk =
        Desk::new(QueueSettings::new(10, secs(60)), snapshot([instance(1, 1), instance(2, 1)]));
    let mut leases = desk.fill();
    leases.sort_by_key(|lease| desk.instance_of(lease));
    let pinned = desk.waits(&any().pinned_to(Pin::Instance(instance_id(1))));
    let free = desk.waits(&any());
    let second = leases.pop().expect("two");
    assert_eq!(desk.release(second), [free.0], "it may not use that slot, so nobody waits for it");
    assert_eq!(desk.release(leases.remove(0)), [pinned.0]);
    let lease = desk.granted(pinned.1);
    assert_eq!(desk.instance_of(&lease), instance_id(1));
}

#[test]
fn a_pin_to_an_instance_that_goes_away_is_a_pin_to_nothing() {
    let mut desk =
        Desk::new(QueueSettings::new(10, secs(60)), snapshot([instance(1, 1), instance(2, 1)]));
    let mut leases = desk.fill();
    leases.sort_by_key(|lease| desk.instance_of(lease));
    let pinned = desk.waits(&any().pinned_to(Pin::Instance(instance_id(1))));
    let behind = desk.waits(&any());
    assert_eq!(desk.apply(snapshot([instance(1, 1).draining(), instance(2, 1)])), NOBODY);
    let second = leases.pop().expect("two");
    assert_eq!(desk.release(second), [pinned.0], "it keeps its place");
    desk.still_waits(behind.1);
}

#[test]
fn a_pin_to_a_revision_that_could_never_be_served_is_refused() {
    let (mut desk, _leases) = Desk::busy(secs(5), snapshot([instance_of(1, 1, 1)]), secs(1));
    let preview =
        |revision| any().pinned_to(Pin::Revision(runner_core::id::RevisionNumber::new(revision)));
    assert_eq!(desk.refused(&preview(2)).reason, Reason::NoCapacityComing);
    let _ = desk.waits(&preview(1));
}

#[test]
fn who_comes_back_unserved_is_first_in_its_class_and_has_waited_since_it_first_came() {
    let mut desk = Desk::new(QueueSettings::new(10, secs(10)), snapshot([instance(1, 1)]));
    let mut leases = desk.fill();
    desk.pass(secs(4));
    let normal = desk.waits(&any());
    let urgent = desk.waits(&Ask::with_priority(Priority::High));
    let mut again = any().on_behalf_of(FairKey(9));
    again.returned = Some(START);
    let queued = desk.enqueue(&again).expect("it has six seconds left");
    assert_eq!(queued.deadline, START + secs(10));
    let returned = (urgent.0 + 1, queued.ticket);
    for (who, (request, ticket)) in [("high", urgent), ("returned", returned), ("normal", normal)] {
        let lease = leases.pop().expect("the one slot");
        assert_eq!(desk.release(lease), [request], "{who} is next");
        leases.push(desk.granted(ticket));
    }
}

#[test]
fn who_comes_back_waits_only_if_those_before_it_leave_it_the_time() {
    let (mut desk, _leases) = Desk::busy(secs(10), snapshot([instance(1, 1)]), secs(1));
    for _ in 0..5 {
        let _ = desk.waits(&Ask::with_priority(Priority::High));
    }
    let mut again = any();
    again.returned = Some(START);
    let _ = desk.waits(&again);
    // Five of a higher class and one that came back before it: seven seconds.
    assert_eq!(desk.refused(&again.within(millis(6_900))).wait, Some(secs(7)));
    let _ = desk.waits(&again.within(secs(7)));
}

#[test]
fn one_that_comes_back_too_late_is_refused_for_its_whole_time() {
    let mut desk = Desk::new(QueueSettings::new(10, secs(10)), snapshot([instance(1, 1)]));
    let _leases = desk.fill();
    desk.pass(secs(11));
    let mut again = any();
    again.returned = Some(START);
    let refusal = desk.refused(&again);
    assert_eq!((refusal.reason, refusal.budget), (Reason::WouldWaitTooLong, Duration::ZERO));
}
