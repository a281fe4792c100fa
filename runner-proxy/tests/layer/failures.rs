//! Inner services that fail, or panic.

use std::task::Poll;

use tower::layer::Layer;
use tower_service::Service;

use crate::support::{Broken, Stage, request};
use crate::{built, call, queue, taken};

#[tokio::test(start_paused = true)]
async fn errors_of_the_inner_service_pass_untouched_and_give_the_slot_back() {
    let stage = Stage::default();
    let layer = built(1);
    let mut service = layer.layer(stage.worker());
    let mut one = call(&mut service, "/");
    stage.answer(0, Err(Broken("the call")));
    assert_eq!(one.poll().map(|r| r.err()), Poll::Ready(Some(Broken("the call"))));
    assert_eq!(layer.counters().in_flight, 0);
    stage.fail_to_ready(true);
    let mut two = call(&mut service, "/");
    assert_eq!(layer.counters().in_flight, 0, "at once, though nobody has looked");
    assert_eq!(two.poll().map(|r| r.err()), Poll::Ready(Some(Broken("readiness"))));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_later_gives_the_slot_to_the_next() {
    let stage = Stage::default();
    stage.shut();
    let (layer, mut service, mut holder) = taken(queue(1), &stage);
    let mut next = call(&mut service, "/next");
    holder.pends();
    next.pends();
    stage.fail_to_ready(true);
    assert_eq!(holder.poll().map(|r| r.err()), Poll::Ready(Some(Broken("readiness"))));
    assert_eq!(next.woken(), 1);
    assert_eq!(next.poll().map(|r| r.err()), Poll::Ready(Some(Broken("readiness"))));
    assert_eq!(layer.counters().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_inside_costs_no_slot() {
    let stage = Stage::default();
    stage.panic_in_call(true);
    let layer = built(1);
    let service = layer.layer(stage.worker());
    for _ in 0..3 {
        let mut clone = service.clone();
        let call = move || drop(clone.call(request("/")));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
        assert_eq!(layer.counters().in_flight, 0);
    }
    stage.panic_in_call(false);
    stage.answer_all(&[]);
    let mut service = service;
    assert_eq!(call(&mut service, "/").done().status(), 200);
}
