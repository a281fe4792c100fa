//! The end of a wait in time, though most who wait share one timer: whoever else is polled late,
//! or never again, and whichever runtimes are there.

mod support;

use std::{convert::Infallible, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use runner_proxy::{OverflowQueueLayer, queue::ResponseBody};
use support::{Held, Stage, request};
use tokio::runtime::Runtime;
use tower::layer::Layer;
use tower_service::Service;

const MAX_WAIT: Duration = Duration::from_millis(200);
/// What a wait that is not ended is ended by.
const FAR_TOO_LONG: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_for_another_that_is_never_polled_again() {
    let stage = Stage::default();
    let layer = OverflowQueueLayer::builder().concurrency(1).max_wait(Duration::from_secs(2));
    let mut service = layer.build().expect("a valid queue").layer(stage.worker());
    let _holder = service.call(request("/holder"));
    let mut setter = Held::new(service.call(request("/setter")));
    setter.pends();
    tokio::time::advance(Duration::from_millis(100)).await;
    let mut calls: Vec<_> = (0..50).map(|_| Held::new(service.call(request("/waits")))).collect();
    calls.iter_mut().for_each(Held::pends);
    // Each is roused once, and then has a timer of its own.
    tokio::time::advance(Duration::from_millis(901)).await;
    for call in &mut calls {
        assert_eq!(call.woken(), 1);
        call.pends();
    }
    tokio::time::advance(Duration::from_millis(1_094)).await;
    for call in &mut calls {
        call.pends();
    }
    tokio::time::advance(Duration::from_millis(6)).await;
    for mut call in calls {
        assert_eq!(call.woken(), 1);
        assert_eq!(call.done().headers()["x-refusal-reason"], "waited_too_long");
    }
    assert_eq!(setter.done().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_an_alarm_is_set_that_is_too_late_for_it_has_its_own_timer() {
    let stage = Stage::default();
    let layer = OverflowQueueLayer::builder().concurrency(1).max_wait(Duration::from_secs(60));
    let mut service = layer.build().expect("a valid queue").layer(stage.worker());
    let _holder = service.call(request("/holder"));
    let mut patient = Held::new(service.call(request("/patient")));
    patient.pends();
    let mut hasty = request("/hasty");
    hasty.headers_mut().insert("grpc-timeout", "250m".parse().expect("a header"));
    let mut hasty = Held::new(service.call(hasty));
    hasty.pends();
    tokio::time::advance(Duration::from_millis(251)).await;
    assert_eq!((hasty.woken(), patient.woken()), (1, 0));
    assert_eq!(hasty.done().headers()["x-refusal-reason"], "waited_too_long");
    patient.pends();
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_handed_on_after_the_alarm_as_before() {
    let stage = Stage::default();
    let layer = OverflowQueueLayer::builder().concurrency(1).max_wait(Duration::from_secs(2));
    let mut service = layer.build().expect("a valid queue").layer(stage.worker());
    let mut holder = Held::new(service.call(request("/holder")));
    let mut roused = Held::new(service.call(request("/roused")));
    roused.pends();
    tokio::time::advance(Duration::from_millis(1_001)).await;
    // Given the slot between its rousing and its next poll: it is woken already, and looks.
    assert_eq!(roused.woken(), 1);
    stage.become_prompt();
    drop(holder.done());
    assert_eq!(roused.done().status(), 200);
}

type Answer = Result<Response<ResponseBody<Full<Bytes>>>, Infallible>;
type Call = Pin<Box<dyn Future<Output = Answer>>>;

/// Two who wait at a queue whose slot is taken for as long as the first of them is there.
fn two_who_wait() -> [Call; 2] {
    let layer = OverflowQueueLayer::builder().concurrency(1).max_wait(MAX_WAIT).build();
    let mut service = layer.expect("a valid queue").layer(tower::service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    }));
    let holder = service.call(Request::new(()));
    let [one, other] = [(); 2].map(|()| service.call(Request::new(())));
    let one = async move {
        let _holder = holder;
        one.await
    };
    [Box::pin(one), Box::pin(other)]
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// Polls a call once on a runtime that is not driven again.
fn poll_once(runtime: &Runtime, call: &mut Call) {
    runtime.block_on(async { assert!(call.now_or_never().is_none(), "it waits") });
}

fn ends_in_time(runtime: &Runtime, call: Call) {
    let ended = runtime.block_on(async { tokio::time::timeout(FAR_TOO_LONG, call).await });
    let answer = ended.expect("its wait ended").expect("it cannot fail");
    assert_eq!(answer.headers()["x-refusal-reason"], "waited_too_long");
}

#[test]
fn a_runtime_that_nobody_drives_makes_nobody_wait_on_another() {
    let [mut one, other] = two_who_wait();
    let idle = runtime();
    poll_once(&idle, &mut one);
    ends_in_time(&runtime(), other);
    // That one is as late as its own runtime.
    ends_in_time(&idle, one);
}

#[test]
fn who_was_first_polled_on_a_runtime_that_is_gone_has_a_timer_on_the_next() {
    let [mut one, _other] = two_who_wait();
    let gone = runtime();
    poll_once(&gone, &mut one);
    drop(gone);
    ends_in_time(&runtime(), one);
}
