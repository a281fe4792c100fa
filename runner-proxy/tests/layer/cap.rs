//! What holds of the cap, over clones, layers and changes.

use std::collections::BTreeMap;

use http::{Request, Response};
use runner_proxy::{OverflowQueue, OverflowQueueBuilder, OverflowQueueLayer};
use tower::util::BoxCloneService;
use tower::{ServiceExt, layer::Layer};
use tower_service::Service;

use crate::support::{Broken, Held, Script, Stage, Step, Worker, next_frame, text_of};
use crate::{Call, built, call, queue};

#[tokio::test(start_paused = true)]
async fn one_cap_holds_over_all_that_is_made_from_a_layer() {
    let stage = Stage::default();
    let layer = built(3);
    let twin = layer.clone();
    // As a router does it: the layer is applied to each route, and each request gets a clone.
    let routes: BTreeMap<&str, OverflowQueue<Worker>> = ["/a", "/b", "/c"]
        .into_iter()
        .map(|path| {
            (
                path,
                if path == "/b" { twin.layer(stage.worker()) } else { layer.layer(stage.worker()) },
            )
        })
        .collect();
    let mut calls: Vec<Call> = (0..30)
        .map(|n| {
            let path = ["/a", "/b", "/c"][n % 3];
            let mut service = routes[path].clone();
            call(&mut service, path)
        })
        .collect();
    calls.iter_mut().for_each(Held::pends);
    assert_eq!((stage.calls(), stage.busy()), (3, 3));
    assert_eq!((layer.counters().in_flight, twin.counters().waiting), (3, 27));
    for number in 0..30 {
        stage.answer(number, Ok(Script::of(&[Step::Data("x")])));
        let mut response = calls[number as usize].done();
        assert!(next_frame(response.body_mut()).is_ready());
        calls.iter_mut().skip(number as usize + 1).for_each(Held::pends);
    }
    assert_eq!((stage.most(), stage.calls()), (3, 30));
}

#[tokio::test(start_paused = true)]
async fn two_layers_have_nothing_to_do_with_each_other() {
    let stage = Stage::default();
    let (one, two) = (built(1), built(1));
    let _first = call(&mut one.layer(stage.worker()), "/");
    let _second = call(&mut two.layer(stage.worker()), "/");
    assert_eq!((one.counters().in_flight, two.counters().in_flight), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn it_stands_in_a_boxed_stack() {
    let layer = built(1);
    let inner = tower::service_fn(|request: Request<String>| async move {
        Ok::<_, Broken>(Response::new(http_body_util::Full::<bytes::Bytes>::from(
            request.into_body(),
        )))
    });
    let mut boxed = BoxCloneService::new(layer.layer(inner));
    // The request's body is any type at all, and comes through as it is.
    let response = boxed.ready().await.expect("ready").call(Request::new("hello".to_owned())).await;
    assert_eq!(text_of(response.expect("served").into_body()), "hello");
    assert_eq!(layer.counters().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn the_cap_changes_under_way() {
    let stage = Stage::default();
    let layer = built(2);
    let mut service = layer.layer(stage.worker());
    let mut calls: Vec<_> = (0..8).map(|_| call(&mut service, "/")).collect();
    calls.iter_mut().for_each(Held::pends);
    assert_eq!(stage.busy(), 2);
    layer.set_concurrency(4).expect("valid");
    assert_eq!(calls.iter().map(Held::woken).collect::<Vec<_>>(), [0, 0, 1, 1, 0, 0, 0, 0]);
    calls.iter_mut().for_each(Held::pends);
    assert_eq!((stage.busy(), layer.counters().slots), (4, 4));
    // Down: leases stay, and none is given until fewer are out.
    layer.set_concurrency(1).expect("valid");
    assert_eq!((layer.counters().in_flight, layer.counters().slots), (4, 1));
    stage.answer_all(&[]);
    for done in 0..3 {
        drop(calls[done].done());
        assert_eq!(calls[4].woken(), 0, "{} are still out", 3 - done);
    }
    drop(calls[3].done());
    assert_eq!(calls[4].woken(), 1);
    assert!(layer.set_concurrency(0).is_err());
    assert!(layer.set_concurrency(OverflowQueueBuilder::MAX_CONCURRENCY + 1).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_lower_cap_holds_without_anybody_waiting_too() {
    let stage = Stage::default();
    let layer = built(3);
    let mut service = layer.layer(stage.worker());
    let mut calls: Vec<_> = (0..3).map(|_| call(&mut service, "/")).collect();
    layer.set_concurrency(1).expect("valid");
    stage.answer_all(&[]);
    drop(calls.pop().expect("three").done());
    drop(calls.pop().expect("three").done());
    let _waiting = call(&mut service, "/");
    assert_eq!((layer.counters().in_flight, layer.counters().waiting), (1, 1));
}

#[test]
fn a_queue_without_a_width_is_none() {
    let without = OverflowQueueLayer::builder().build().expect_err("no width");
    assert!(without.to_string().contains("concurrency"), "{without}");
    for cap in [0, OverflowQueueBuilder::MAX_CONCURRENCY + 1] {
        assert!(
            queue(cap).build().expect_err("no such width").to_string().contains(&cap.to_string())
        );
    }
    let widest = queue(OverflowQueueBuilder::MAX_CONCURRENCY).build().expect("the widest");
    assert_eq!(widest.counters().slots, u64::from(OverflowQueueBuilder::MAX_CONCURRENCY));
}
