//! When it is ready, and what that keeps from others: nothing.

use futures_util::FutureExt;
use http::Request;
use tower::ServiceExt;
use tower::layer::Layer;

use crate::support::{Script, Stage};
use crate::{built, call, queue, taken};

#[tokio::test(start_paused = true)]
async fn it_is_always_ready_and_idle_clones_keep_nothing_from_others() {
    let stage = Stage::prompt();
    let layer = built(1);
    let service = layer.layer(stage.worker());
    let mut clones = vec![service; 100];
    for clone in &mut clones {
        let ready = ServiceExt::<Request<()>>::ready(clone).now_or_never();
        assert!(ready.is_some_and(|ready| ready.is_ok()));
    }
    let mut one = layer.layer(stage.worker());
    assert_eq!(call(&mut one, "/").done().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_while_full_and_while_the_inner_service_is_not() {
    let stage = Stage::default();
    stage.shut();
    let (_, mut service, _holder) = taken(queue(1), &stage);
    let _waiting = call(&mut service, "/");
    let ready = ServiceExt::<Request<()>>::ready(&mut service).now_or_never();
    assert!(ready.is_some_and(|ready| ready.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_clone_becomes_ready_while_the_slot_is_held() {
    let stage = Stage::prompt();
    stage.pend(3);
    let layer = built(1);
    let mut service = layer.layer(stage.worker());
    let mut one = call(&mut service, "/");
    assert_eq!((layer.counters().in_flight, stage.calls()), (1, 0));
    for _ in 0..2 {
        one.pends();
        assert_eq!((layer.counters().in_flight, stage.calls()), (1, 0));
    }
    // The worker panics where it is called without having been ready.
    assert_eq!(one.done().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_readiness_is_woken_by_it() {
    let stage = Stage::prompt();
    stage.shut();
    let layer = built(1);
    let mut one = call(&mut layer.layer(stage.worker()), "/");
    one.pends();
    assert_eq!(one.woken(), 0);
    stage.open();
    assert_eq!(one.woken(), 1);
    assert_eq!(one.done().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_a_slot_drives_readiness_too() {
    let stage = Stage::default();
    let (_, mut service, mut holder) = taken(queue(1), &stage);
    stage.pend(1);
    let mut second = call(&mut service, "/second");
    second.pends();
    stage.answer(0, Ok(Script::of(&[])));
    drop(holder.done());
    assert_eq!(second.woken(), 1);
    stage.answer_all(&[]);
    assert_eq!(second.done().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_budget_spent_on_other_things_is_not_read_as_overload() {
    // tokio makes what is polled too often in one go pend, whether or not it could go on.
    let stage = Stage::prompt();
    let layer = built(1);
    let mut service = layer.layer(stage.worker());
    while tokio::task::coop::consume_budget().now_or_never().is_some() {}
    let mut one = call(&mut service, "/");
    assert_eq!(one.done().status(), 200);
    assert_eq!(layer.counters().refused_in_all(), 0);
}
