//! Who is served when.

use std::{num::NonZeroU32, time::Duration};

use runner_core::admission::{Ask, FairKey, Priority, Reason};
use tower_service::Service;

use crate::support::{Held, Script, Stage};
use crate::{call, queue, taken, with_headers};

#[tokio::test(start_paused = true)]
async fn places_are_taken_by_calls_and_not_by_polls() {
    let stage = Stage::default();
    let (layer, mut service, mut holder) = taken(queue(1), &stage);
    let mut calls: Vec<_> = ["/1", "/2", "/3"].map(|path| call(&mut service, path)).into();
    assert_eq!(layer.counters().waiting, 3);
    calls.iter_mut().rev().for_each(Held::pends);
    stage.answer_all(&[]);
    drop(holder.done());
    for next in &mut calls {
        assert_eq!(next.woken(), 1);
        drop(next.done());
    }
    assert_eq!(stage.names(), ["/holder", "/1", "/2", "/3"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_polled_last_is_woken() {
    let stage = Stage::default();
    let (_, mut service, mut holder) = taken(queue(1), &stage);
    let mut waiting = call(&mut service, "/");
    for _ in 0..3 {
        waiting.pends();
        waiting.moves();
    }
    waiting.pends();
    stage.answer_all(&[]);
    drop(holder.done());
    assert_eq!(waiting.woken(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_barges_in_between_a_release_and_the_poll_of_who_was_served() {
    let stage = Stage::default();
    let (layer, mut service, mut holder) = taken(queue(1), &stage);
    let mut waiting = call(&mut service, "/waiting");
    waiting.pends();
    stage.answer(0, Ok(Script::of(&[])));
    drop(holder.done());
    // The slot is given, though the one it was given to has not looked.
    let mut barging = call(&mut service, "/barging");
    barging.pends();
    assert_eq!((layer.counters().in_flight, layer.counters().waiting), (1, 1));
    waiting.pends();
    assert_eq!(stage.names(), ["/holder", "/waiting"]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_skipped_and_a_slot_given_to_it_goes_on() {
    let stage = Stage::default();
    let (layer, mut service, mut holder) = taken(queue(1), &stage);
    let mut calls: Vec<_> = ["/1", "/2", "/3"].map(|path| call(&mut service, path)).into();
    calls.iter_mut().for_each(Held::pends);
    drop(calls.remove(0));
    assert_eq!(layer.counters().waiting, 2);
    stage.answer(0, Ok(Script::of(&[])));
    drop(holder.done());
    assert_eq!((calls[0].woken(), calls[1].woken()), (1, 0));
    // It leaves without having looked.
    drop(calls.remove(0));
    assert_eq!(calls[0].woken(), 1);
    calls[0].pends();
    assert_eq!(stage.names(), ["/holder", "/3"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_time_and_not_before() {
    let stage = Stage::default();
    let (layer, mut service, _holder) = taken(queue(1).max_wait(Duration::from_secs(2)), &stage);
    let mut early = call(&mut service, "/early");
    early.pends();
    tokio::time::advance(Duration::from_millis(500)).await;
    let mut late = call(&mut service, "/late");
    late.pends();
    tokio::time::advance(Duration::from_millis(1_495)).await;
    early.pends();
    tokio::time::advance(Duration::from_millis(6)).await;
    assert!(early.woken() > 0);
    let response = early.done();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-refusal-reason"], "waited_too_long");
    late.pends();
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(late.done().status(), 503);
    assert_eq!(layer.counters().refused(Reason::WaitedTooLong), 2);
    assert_eq!(stage.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_comes_in_the_same_moment_as_the_end_of_the_wait_is_taken() {
    let stage = Stage::default();
    let (_, mut service, mut holder) = taken(queue(1).max_wait(Duration::from_secs(1)), &stage);
    let mut waiting = call(&mut service, "/");
    waiting.pends();
    tokio::time::advance(Duration::from_secs(2)).await;
    stage.answer_all(&[]);
    drop(holder.done());
    assert_eq!(waiting.done().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_how_long_it_waits_waits_no_longer() {
    let stage = Stage::default();
    let (layer, mut service, _holder) = taken(queue(1), &stage);
    let mut hasty = Held::new(service.call(with_headers(&[("grpc-timeout", "250m")])));
    hasty.pends();
    tokio::time::advance(Duration::from_millis(245)).await;
    hasty.pends();
    tokio::time::advance(Duration::from_millis(6)).await;
    assert_eq!(hasty.done().headers()["x-refusal-reason"], "waited_too_long");
    // One that cannot wait at all is told so at once.
    let mut now = Held::new(service.call(with_headers(&[("grpc-timeout", "0n")])));
    assert_eq!(now.done().headers()["x-refusal-reason"], "would_wait_too_long");
    assert_eq!(layer.counters().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_request_asks_for_is_the_programs_to_say() {
    let stage = Stage::default();
    let by_path = queue(1)
        .ask_with(|head| match head.uri.path() {
            "/low" => Ask::with_priority(Priority::Low),
            "/high" => Ask::with_priority(Priority::High),
            path => Ask::default().on_behalf_of(FairKey(path.len() as u64)),
        })
        .key_weight(FairKey(3), NonZeroU32::new(2).expect("not zero"));
    let (_, mut service, mut holder) = taken(by_path, &stage);
    let mut calls: Vec<_> = ["/low", "/a", "/a", "/bb", "/bb", "/bb", "/high"]
        .map(|path| call(&mut service, path))
        .into();
    calls.iter_mut().for_each(Held::pends);
    stage.answer_all(&[]);
    drop(holder.done());
    while !calls.is_empty() {
        let next = calls.iter().position(|call| call.woken() > 0).expect("a slot is free");
        drop(calls.remove(next).done());
    }
    assert_eq!(stage.names()[1..], ["/high", "/a", "/bb", "/bb", "/a", "/bb", "/low"]);
}
