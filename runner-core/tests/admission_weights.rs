//! Weights between revisions: shares over any stretch of dispatches, strict or not, and what they
//! yield to.

mod support;

use std::collections::VecDeque;

use proptest::prelude::*;
use runner_core::{
    admission::{Ask, Lease, Pin, QueueSettings, Snapshot},
    id::RevisionNumber,
};
use support::{Desk, instance_id, instance_of, secs, snapshot, weight};

/// One instance of `slots` for each revision, the revisions weighed.
fn weighed(weights: &[u32], slots: u32, strict: bool) -> Snapshot {
    let revisions = || (1..).zip(weights);
    let mut all = snapshot(revisions().map(|(revision, _)| instance_of(revision, revision, slots)));
    all.weights = revisions().map(|(revision, &of)| weight(revision, of)).collect();
    all.strict_weights = strict;
    all
}

fn desk(all: Snapshot) -> Desk {
    Desk::new(QueueSettings::new(1_000, secs(60)), all)
}

fn revision_of(desk: &Desk, lease: &Lease) -> u64 {
    desk.ledger.instance(lease).revision.number()
}

/// The largest deviation from the weights over any stretch of `served`, in parts of a round.
fn deviation(weights: &[u32], served: &[u64]) -> f64 {
    let all: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let of = |(revision, &weight): (u64, &u32)| {
        // Over any stretch: the highest less the lowest of the deviations of all prefixes.
        let (mut ahead, mut high, mut low) = (0.0_f64, 0.0_f64, 0.0_f64);
        for &one in served {
            ahead += f64::from(u8::from(one == revision)) - f64::from(weight) / all;
            (high, low) = (high.max(ahead), low.min(ahead));
        }
        (high - low) / all
    };
    (1..).zip(weights).map(of).fold(0.0, f64::max)
}

/// Serves one after the other.
fn serve(desk: &mut Desk, count: usize) -> Vec<u64> {
    let one = |_| {
        let lease = desk.admitted(&Ask::default());
        let served = revision_of(desk, &lease);
        let _ = desk.release(lease);
        served
    };
    (0..count).map(one).collect()
}

#[test]
fn over_any_stretch_of_dispatches_the_shares_are_within_one_round_of_the_weights() {
    let mut worst = 0.0_f64;
    for weights in [&[1, 1][..], &[9, 1], &[1, 9], &[5, 1, 1], &[1, 2, 3, 4], &[97, 3], &[7, 3, 2]]
    {
        for strict in [false, true] {
            let mut desk = desk(weighed(weights, 3, strict));
            let served = serve(&mut desk, 1_000);
            let off = deviation(weights, &served);
            worst = worst.max(off);
            assert!(off < 1.0, "{weights:?}: {off:.2} rounds off");
        }
    }
    println!("worst deviation over any stretch: {worst:.2} rounds");
}

#[test]
fn a_snapshot_between_any_two_dispatches_changes_nothing_about_the_shares() {
    // Snapshots come with every start and stop of an instance, on a busy day more often than a
    // round of the weights takes.
    for weights in [&[9, 1][..], &[1, 9], &[1, 2, 3, 4]] {
        let all = weighed(weights, 3, false);
        let mut desk = desk(all.clone());
        let mut served = Vec::new();
        for _ in 0..500 {
            served.extend(serve(&mut desk, 1));
            let _ = desk.apply(all.clone());
        }
        let off = deviation(weights, &served);
        assert!(off < 1.0, "{weights:?}: {off:.2} rounds off");
    }
}

#[test]
fn the_heaviest_is_first() {
    for weights in [[1, 9], [9, 1]] {
        let mut desk = desk(weighed(&weights, 3, false));
        let first = serve(&mut desk, 1)[0];
        assert_eq!(weights[first as usize - 1], 9);
    }
}

#[test]
fn who_waited_goes_where_the_most_is_owed_at_dispatch() {
    let mut desk = desk(weighed(&[3, 1], 4, false));
    // Everybody took what was free, so the heavier revision is owed two.
    assert_eq!(desk.fill().len(), 8);
    let waiting: Vec<_> = (0..4).map(|_| desk.waits(&Ask::default())).collect();
    let woken = desk.apply(weighed(&[3, 1], 6, false));
    assert_eq!(woken, waiting.iter().map(|(request, _)| *request).collect::<Vec<_>>());
    let leases = waiting.into_iter().map(|(_, ticket)| desk.granted(ticket)).collect::<Vec<_>>();
    let served: Vec<_> = leases.iter().map(|lease| revision_of(&desk, lease)).collect();
    assert_eq!(served, [1, 1, 2, 2]);
}

#[test]
fn weights_yield_to_any_free_slot_unless_they_are_strict() {
    let mut lenient = desk(weighed(&[9, 1], 2, false));
    assert_eq!(lenient.fill().len(), 4);
    let mut strict = desk(weighed(&[9, 1], 2, true));
    let leases = strict.fill();
    assert_eq!(leases.len(), 2, "the heavier is full, and the lighter is not owed yet");
    let (request, ticket) = strict.waits(&Ask::default());
    let of_heavier = leases.into_iter().next().expect("two");
    assert_eq!(strict.release(of_heavier), [request]);
    let lease = strict.granted(ticket);
    assert_eq!(revision_of(&strict, &lease), 1);
}

#[test]
fn strict_weights_wait_for_no_revision_without_instances() {
    let mut all = weighed(&[9, 1], 2, true);
    all.instances.remove(0);
    let mut desk = desk(all);
    assert_eq!(desk.fill().len(), 2);
}

#[test]
fn a_revision_of_no_weight_gets_nothing() {
    let mut desk = desk(weighed(&[1, 0], 2, false));
    assert_eq!(desk.fill().len(), 2);
    let preview = Ask::default().pinned_to(Pin::Revision(RevisionNumber::new(2)));
    assert!(desk.ledger.admit(&preview).is_none());
}

/// What strict weights make wait is overtaken by nobody: neither by one that likes the other
/// revision nor by one that comes after somebody was pinned to a third.
#[test]
fn a_preference_does_not_get_round_strict_weights() {
    let mut desk = desk(weighed(&[9, 1], 2, true));
    let _leases = desk.fill();
    let (_, ticket) = desk.waits(&Ask::default());
    let mut sticky = Ask::default();
    sticky.prefer = Some(instance_id(2));
    let _ = desk.waits(&sticky);
    desk.still_waits(ticket);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 10_000 }))]

    /// However requests with and without pins come and go.
    #[test]
    fn under_strict_weights_nobody_is_overtaken_and_the_shares_are_kept(
        weights in prop::collection::vec(1..6_u32, 2..4),
        steps in prop::collection::vec((0..4_u8, 0..8_usize), 1..60),
    ) {
        let mut desk = desk(weighed(&weights, 2, true));
        let mut leases: Vec<Lease> = Vec::new();
        let mut waiting = VecDeque::new();
        let mut steered = Vec::new();
        for (step, which) in steps {
            let mut woken = Vec::new();
            match step {
                0 | 1 => match desk.arrive(&Ask::default()) {
                    support::Entry::Admitted(lease) => {
                        prop_assert!(waiting.is_empty(), "a newcomer overtook {waiting:?}");
                        steered.push(revision_of(&desk, &lease));
                        leases.push(lease);
                    }
                    support::Entry::Waits(request, ticket) => waiting.push_back((request, ticket)),
                    support::Entry::Refused(refusal) => panic!("{refusal}"),
                },
                2 => {
                    let revision = RevisionNumber::new(1 + (which % weights.len()) as u64);
                    leases.extend(desk.ledger.admit(&Ask::default().pinned_to(Pin::Revision(revision))));
                }
                _ if leases.is_empty() => {}
                _ => {
                    let lease = leases.swap_remove(which % leases.len());
                    woken = desk.release(lease);
                }
            }
            for request in woken {
                let (first, ticket) = waiting.pop_front().expect("somebody waits");
                prop_assert_eq!(request, first);
                let lease = desk.granted(ticket);
                steered.push(revision_of(&desk, &lease));
                leases.push(lease);
            }
        }
        prop_assert!(deviation(&weights, &steered) < 1.0, "{steered:?}");
    }
}
