//! Demands of those who may not wait, and what those are told whose time was up already.

mod support;

use runner_core::admission::{
    Ask, Attainable, Demand, DemandCause, Pin, QueueSettings, Reason, Refusal, Snapshot,
    TurnedAway, Why,
};
use runner_core::id::RevisionNumber;
use support::{Desk, attainable, instance, millis, secs, snapshot};

fn any() -> Ask {
    Ask::default()
}

fn at_zero(attainable: Attainable) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.attainable = attainable;
    snapshot
}

/// Somebody for whom there is no slot, and who is refused.
fn turned_away(desk: &mut Desk, ask: &Ask) -> (Refusal, Option<Demand>) {
    assert_eq!(desk.ledger.admit(ask), None);
    match desk.ledger.enqueue(ask, 7, desk.now) {
        Err(TurnedAway { refusal, waiter: 7, demand }) => (refusal, demand),
        other => panic!("it should be refused: {other:?}"),
    }
}

#[test]
fn a_service_at_zero_wakes_though_nobody_may_wait() {
    let asleep = at_zero(attainable(10, Some(secs(3))));
    let mut desk = Desk::new(QueueSettings::new(0, secs(5)), asleep.clone());
    let (refusal, demand) = turned_away(&mut desk, &any());
    assert_eq!(demand.map(|demand| demand.cause), Some(DemandCause::FirstToWait));
    assert_eq!((refusal.reason, refusal.retry_after), (Reason::QueueFull, Some(secs(3))));
    let text = refusal.to_string();
    assert!(text.contains("is being started") && text.contains("nobody may wait"), "{text}");
    // An edge is told once, and once more when the world has changed.
    let (again, demand) = turned_away(&mut desk, &any());
    assert_eq!((again.retry_after, demand), (Some(secs(3)), None));
    assert!(desk.apply(asleep).is_empty());
    assert!(turned_away(&mut desk, &any()).1.is_some());
    assert_eq!(desk.ledger.tally().demands, 2);
}

#[test]
fn who_cannot_wait_for_the_start_begins_it_all_the_same() {
    let asleep = at_zero(attainable(10, Some(secs(3))));
    let mut desk = Desk::new(QueueSettings::new(10, secs(1)), asleep);
    let (refusal, demand) = turned_away(&mut desk, &any());
    assert_eq!((refusal.reason, refusal.wait), (Reason::WouldWaitTooLong, Some(secs(3))));
    assert!(refusal.to_string().contains("is being started"), "{refusal}");
    assert!(demand.is_some());
}

#[test]
fn nothing_is_demanded_that_could_not_come_or_is_there() {
    for (snapshot, reason) in [
        (at_zero(Attainable::Nothing(Why::CrashLoop)), Reason::NoCapacityComing),
        (at_zero(Attainable::Nothing(Why::Paused)), Reason::Paused),
        (snapshot([instance(1, 1)]), Reason::QueueFull),
    ] {
        let mut desk = Desk::new(QueueSettings::new(0, secs(5)), snapshot);
        let _leases = desk.fill();
        let (refusal, demand) = turned_away(&mut desk, &any());
        assert_eq!((refusal.reason, demand), (reason, None));
    }
}

#[test]
fn a_revision_without_instances_is_demanded_from_a_full_queue() {
    let mut snapshot = snapshot([instance(1, 1)]);
    snapshot.attainable = attainable(1, None);
    let mut desk = Desk::new(QueueSettings::new(1, secs(5)), snapshot);
    let _leases = desk.fill();
    let _ = desk.waits(&any());
    let preview = |number| any().pinned_to(Pin::Revision(RevisionNumber::new(number)));
    for number in [2, 3] {
        let (refusal, demand) = turned_away(&mut desk, &preview(number));
        let demand = demand.expect("nobody waits for it");
        assert_eq!(refusal.reason, Reason::QueueFull);
        assert_eq!(demand.cause, DemandCause::NobodyCouldServe);
        assert_eq!(demand.revision, Some(RevisionNumber::new(number)));
    }
    assert_eq!(turned_away(&mut desk, &preview(3)).1, None);
}

#[test]
fn who_is_past_its_time_when_a_snapshot_comes_waited_too_long() {
    let (mut desk, _leases) = Desk::busy(secs(9), snapshot([instance(1, 1)]), secs(1));
    let (late, ticket) = desk.waits(&any().within(secs(2)));
    let (hasty, its) = desk.waits(&any().within(millis(3_500)));
    let (patient, _) = desk.waits(&any());
    desk.pass(secs(3));
    // The one has waited longer than it could, the other would.
    assert_eq!(desk.apply(snapshot([instance(1, 1)])), [late, hasty]);
    let refusal = desk.dismissed(ticket);
    assert_eq!((refusal.reason, refusal.reason.status()), (Reason::WaitedTooLong, 503));
    assert_eq!((refusal.wait, refusal.budget), (Some(secs(3)), secs(2)));
    let refusal = desk.dismissed(its);
    assert_eq!((refusal.reason, refusal.budget), (Reason::WouldWaitTooLong, millis(500)));
    assert_eq!(desk.ledger.waiting(), 1, "{patient} waits on");
}
