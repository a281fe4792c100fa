//! Every interleaving of a few threads over the real queue and lease types, under loom.
//!
//! ```text
//! RUSTFLAGS="--cfg runner_loom" cargo test --release -p runner-proxy --test loom
//! ```
//!
//! Scenes of two threads are searched whole. Those of three and four are searched up to a number of
//! preemptions, which is where bugs of this kind are found: a preemption is a switch away from a
//! thread that could have gone on, and switches at a lock or at a wait are free. Each prints the
//! bound it ran under. `LOOM_MAX_PREEMPTIONS` sets another for all of them.
#![cfg(runner_loom)]

mod interleavings;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use interleavings::{
    blue_becomes_green_while_two_call, callers_share_a_cap, counters_are_read_while_two_call,
    demand_reaches_whoever_waits_for_it, one_leaves_while_two_call, the_cap_changes_while_two_call,
    waits_end_as_slots_come_free,
};

#[expect(clippy::disallowed_methods, reason = "how long the search took is printed")]
fn search(scene: &str, preemptions: Option<usize>, play: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    let played = Arc::new(AtomicU64::new(0));
    let (bound, count) = (builder.preemption_bound, Arc::clone(&played));
    let begun = Instant::now();
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        play();
    });
    let bound = bound.map_or_else(|| "all".to_owned(), |bound| format!("up to {bound}"));
    let played = played.load(Ordering::Relaxed);
    println!("{scene}: {played} interleavings, {bound} preemptions, {:.1?}", begun.elapsed());
}

#[test]
fn two_callers_share_a_slot() {
    search("two callers, one slot", None, || callers_share_a_cap(2, 1, 1));
}

#[test]
fn three_callers_share_a_slot() {
    search("three callers, one slot", Some(2), || callers_share_a_cap(3, 1, 1));
}

#[test]
fn three_callers_share_two_slots() {
    search("three callers, two slots", Some(2), || callers_share_a_cap(3, 2, 1));
}

#[test]
fn one_leaves() {
    search("two callers, one leaves", Some(3), one_leaves_while_two_call);
}

#[test]
fn the_cap_rises() {
    search("two callers, the cap rises", Some(2), || the_cap_changes_while_two_call(1, 2, false));
}

#[test]
fn the_cap_falls() {
    search("two callers, the cap falls", Some(2), || the_cap_changes_while_two_call(2, 1, false));
}

#[test]
fn the_cap_changes_and_one_leaves() {
    search("two callers, the cap rises, one leaves", Some(2), || {
        the_cap_changes_while_two_call(1, 2, true);
    });
}

#[test]
fn waits_end() {
    search("two callers without time", None, waits_end_as_slots_come_free);
}

#[test]
fn counters_are_read() {
    search("two callers, one reads counters", Some(3), counters_are_read_while_two_call);
}

#[test]
fn blue_becomes_green() {
    search("two callers, a switch", Some(4), || blue_becomes_green_while_two_call(false));
}

#[test]
fn blue_becomes_green_and_one_leaves() {
    search("two callers, a switch, one leaves", Some(3), || {
        blue_becomes_green_while_two_call(true)
    });
}

#[test]
fn demand_wakes_from_zero() {
    search("a caller at zero, a notice", None, demand_reaches_whoever_waits_for_it);
}
