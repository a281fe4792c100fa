//! Random schedules of more threads and operations than can be searched whole, under shuttle.
//!
//! ```text
//! RUSTFLAGS="--cfg runner_shuttle" cargo test --release -p runner-proxy --test shuttle
//! ```
//!
//! 100,000 schedules of each scene; `SHUTTLE_SCHEDULES` sets another number. A failure prints the
//! schedule that led to it, which `shuttle::replay` takes.
#![cfg(runner_shuttle)]

mod interleavings;

use std::time::Instant;

use interleavings::{
    blue_becomes_green_while_two_call, callers_share_a_cap, counters_are_read_while_two_call,
    demand_reaches_whoever_waits_for_it, many_come_and_go, one_leaves_while_two_call,
    the_cap_changes_while_two_call, the_pool_changes_while_many_come_and_go,
    waits_end_as_slots_come_free,
};

#[expect(clippy::disallowed_methods, reason = "how long the search took is printed")]
fn search(scene: &str, play: impl Fn() + Send + Sync + 'static) {
    let set = std::env::var("SHUTTLE_SCHEDULES").ok().and_then(|text| text.parse().ok());
    let schedules = set.unwrap_or(100_000);
    let mut config = shuttle::Config::new();
    config.silence_warnings = true;
    let begun = Instant::now();
    let scheduler = shuttle::scheduler::RandomScheduler::new(schedules);
    shuttle::Runner::new(scheduler, config).run(play);
    println!("{scene}: {schedules} schedules, {:.1?}", begun.elapsed());
}

#[test]
fn callers_share_slots() {
    search("six callers, two slots, three times", || callers_share_a_cap(6, 2, 3));
}

#[test]
fn many_come_go_and_change_the_cap() {
    search("seven threads, caps", many_come_and_go);
}

#[test]
fn many_come_go_and_change_the_pool() {
    search("seven threads, snapshots", the_pool_changes_while_many_come_and_go);
}

#[test]
fn one_leaves() {
    search("two callers, one leaves", one_leaves_while_two_call);
}

#[test]
fn the_cap_changes() {
    search("two callers, the cap rises, one leaves", || the_cap_changes_while_two_call(1, 2, true));
    search("two callers, the cap falls, one leaves", || the_cap_changes_while_two_call(2, 1, true));
}

#[test]
fn waits_end() {
    search("two callers without time", waits_end_as_slots_come_free);
}

#[test]
fn counters_are_read() {
    search("two callers, one reads counters", counters_are_read_while_two_call);
}

#[test]
fn blue_becomes_green() {
    search("two callers, a switch, one leaves", || blue_becomes_green_while_two_call(true));
}

#[test]
fn demand_wakes_from_zero() {
    search("a caller at zero, a notice", demand_reaches_whoever_waits_for_it);
}
