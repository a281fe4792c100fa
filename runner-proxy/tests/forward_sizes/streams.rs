//! As many streams at once as one connection of HTTP/2 is asked to carry.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use runner_core::spec::Protocol;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    peers::{Client, instance},
    proxy::{LONG, Proxy, Setup},
    size,
};

/// Through one connection of a client, all of them held by the instance or the queue before one is
/// answered.
async fn streams_at_once(protocol: Protocol, cap: u32) {
    let streams = size("RUNNER_STREAMS", 200);
    let (gate, met) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let (of_instance, counted) = (Arc::clone(&gate), Arc::clone(&met));
    let answer = move |request: Request<Incoming>| {
        let (gate, met) = (Arc::clone(&of_instance), Arc::clone(&counted));
        async move {
            met.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()))
        }
    };
    let (to, _instance) = instance(answer).await;
    let mut proxy = Proxy::start(&Setup { protocol, ..Setup::before([to], cap) });
    let mut tasks = JoinSet::new();
    let client = Client::of_http2(proxy.address, &mut tasks).await;
    let Client::Two(sender) = client else { unreachable!("it was asked for") };
    let before = proxy.report().get("peak");
    let mut asked = JoinSet::new();
    for number in 0..streams {
        let mut client = Client::Two(sender.clone());
        asked.spawn(async move {
            let text = format!("body {number}");
            let request = Request::post("http://a/").body(Full::<Bytes>::from(text.clone()));
            let response = client.send(request.unwrap()).await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), text);
        });
    }
    let worked_on = streams.min(u64::from(cap));
    let all = |met: u64, in_flight, waiting| {
        (met, in_flight, waiting) == (worked_on, worked_on, streams - worked_on)
    };
    let is_all = |report: &crate::proxy::Report| {
        all(met.load(Ordering::SeqCst), report.get("in_flight"), report.get("waiting"))
    };
    let held = proxy.until("all are held at once", is_all).await;
    assert_eq!(held.get("accepted"), 1);
    gate.add_permits(streams as usize);
    let answered = async {
        while let Some(done) = asked.join_next().await {
            done.expect("no stream failed");
        }
    };
    tokio::time::timeout(LONG, answered).await.expect("all are answered");
    let after = proxy.until("all slots are free", |report| report.get("in_flight") == 0).await;
    assert!(after.get("opened") <= worked_on, "no more connections than slots");
    println!(
        "{streams} streams, {worked_on} of them at an instance of {protocol:?} by {} connections: \
         {} KiB more",
        after.get("opened"),
        after.get("peak").saturating_sub(before),
    );
}

#[tokio::test]
async fn a_thousand_streams_are_at_an_instance_of_http2_at_once() {
    streams_at_once(Protocol::H2c, 1_000_000).await;
}

#[tokio::test]
async fn a_thousand_streams_take_turns_at_the_slots_of_an_instance_of_http1() {
    streams_at_once(Protocol::Http1, 50).await;
}
