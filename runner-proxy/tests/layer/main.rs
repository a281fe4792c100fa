//! The contract of the layer, clause by clause.

mod cap;
mod counters;
mod failures;
mod lease;
mod order;
mod readiness;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use http::Request;
use runner_proxy::{
    OverflowQueue, OverflowQueueBuilder, OverflowQueueLayer, queue::ResponseFuture,
};
use support::{Held, Stage, Worker, request};
use tower::layer::Layer;
use tower_service::Service;

type Call = Held<ResponseFuture<Worker, ()>>;

fn queue(cap: u32) -> OverflowQueueBuilder {
    OverflowQueueLayer::builder().concurrency(cap)
}

fn built(cap: u32) -> OverflowQueueLayer {
    queue(cap).build().expect("a valid queue")
}

fn call(service: &mut OverflowQueue<Worker>, path: &str) -> Call {
    Held::new(service.call(request(path)))
}

/// A layer of one slot that is taken, and its service.
fn taken(
    builder: OverflowQueueBuilder,
    stage: &Stage,
) -> (OverflowQueueLayer, OverflowQueue<Worker>, Call) {
    let layer = builder.concurrency(1).build().expect("a valid queue");
    let mut service = layer.layer(stage.worker());
    let holder = call(&mut service, "/holder");
    (layer, service, holder)
}

/// The headers of a request, as pairs.
fn with_headers(headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = request("/");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    request
}
