//! Requests that just work, over sockets and inside the program.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use runner_core::address::Address;
use runner_proxy::{
    exchange::ServedBy,
    forward::{Forward, Keep, Memory, Network},
};
use tower::service_fn;

use crate::bed::{
    Bed, Upstream, Wire, answer_ok, at, echo_heads, in_memory, instance_id, snapshot, text,
};

#[tokio::test]
async fn a_request_goes_to_its_instance_and_the_connection_is_used_again() {
    let upstream = Upstream::new(|wire, _| answer_ok(wire)).await;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 10)]);
    for _ in 0..5 {
        let response = bed.get("/").await;
        assert_eq!((response.status(), text(&response)), (StatusCode::OK, "ok"));
        let served = response.extensions().get::<ServedBy>().expect("it says by whom");
        assert_eq!((served.instance, served.attempts), (instance_id(1), 1));
    }
    assert_eq!(upstream.accepted(), 1);
    let counters = bed.forward.counters();
    let instance = counters.instances[&instance_id(1)];
    assert_eq!((instance.outcomes.requests, instance.outcomes.errors), (5, 0));
    assert_eq!((counters.connections_opened, instance.idle_connections), (1, 1));
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test]
async fn an_instance_may_listen_on_a_unix_socket() {
    let folder = std::env::temp_dir().join(format!("runner-proxy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("instance.sock");
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).expect("bound");
    let instance = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("somebody comes");
        let server = hyper::server::conn::http1::Builder::new();
        let answer = hyper::service::service_fn(async |_| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("from a socket")))
        });
        let _ = server.serve_connection(hyper_util::rt::TokioIo::new(stream), answer).await;
    });
    let mut there = at(1, "127.0.0.1:1".parse().expect("an address"), 1);
    there.address = Address::Unix(path.as_path().into());
    let bed = Bed::new(Forward::builder(Network::new()), vec![there]);
    assert_eq!(text(&bed.get("/").await), "from a socket");
    instance.abort();
    std::fs::remove_dir_all(&folder).expect("it was ours");
}

#[tokio::test]
async fn a_body_goes_both_ways_with_its_trailers() {
    let memory = Memory::new();
    memory.serve(
        "i1",
        service_fn(async |request: Request<runner_proxy::forward::InstanceBody>| {
            let mut response = Response::new(request.into_body());
            response.headers_mut().insert("trailer", "x-sum".parse().expect("a value"));
            Ok::<_, Infallible>(response)
        }),
    );
    let bed = in_memory(Forward::builder(memory), 1, 1);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "42".parse().expect("a value"));
    // What has its place in the head, and was not asked about there.
    for name in ["x-forwarded-for", "x_real_ip", "x-request-id", "authorization", "te"] {
        trailers.insert(name, "forged".parse().expect("a value"));
    }
    let body = Full::<Bytes>::from("over there").with_trailers(async { Some(Ok(trailers)) });
    let request = Request::post("/")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .header("transfer-encoding", "chunked")
        .body(body)
        .expect("a request");
    let service = bed.service.clone();
    let Ok(response) = tower::ServiceExt::oneshot(service, request).await;
    let whole = response.into_body().collect().await.expect("a body");
    let trailers = whole.trailers().expect("trailers");
    assert_eq!((trailers["x-sum"].as_bytes(), trailers.len()), (&b"42"[..], 1), "{trailers:?}");
    assert_eq!(whole.to_bytes(), "over there");
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test]
async fn connections_close_with_their_instance() {
    let (gone, noticed) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::new(move |wire, number| {
        let gone = gone.clone();
        async move {
            answer_ok(wire).await;
            let _ = gone.send(number);
        }
    })
    .await;
    let mut noticed = noticed;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 10)]);
    bed.forward.retain([instance_id(1)]);
    bed.get("/").await;
    bed.forward.close(instance_id(1));
    assert_eq!(noticed.recv().await, Some(0));
    bed.get("/").await;
    assert_eq!(upstream.accepted(), 2, "a new one after it was closed");
    let outcomes = bed.forward.counters().instances[&instance_id(1)].outcomes;
    assert_eq!(outcomes.requests, 2, "its counters stay");
    bed.forward.retain([]);
    assert_eq!(noticed.recv().await, Some(1));
    // A request that is older than the news leaves nothing behind.
    bed.get("/").await;
    assert_eq!(noticed.recv().await, Some(2));
    assert!(bed.forward.counters().instances.is_empty());
    bed.pool.apply(snapshot(vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_in_its_time() {
    let memory = Memory::new();
    echo_heads(&memory, "i1");
    let bed = in_memory(Forward::builder(memory), 1, 1);
    let idle =
        |bed: &Bed<Memory>| bed.forward.counters().instances[&instance_id(1)].idle_connections;
    bed.get("/").await;
    assert_eq!(idle(&bed), 1);
    tokio::time::advance(Duration::from_secs(3)).await;
    bed.until(|bed| idle(bed) == 1).await;
    tokio::time::advance(Duration::from_secs(3)).await;
    bed.until(|bed| idle(bed) == 0).await;
    bed.get("/").await;
    assert_eq!(bed.forward.counters().connections_opened, 2);
}

#[tokio::test]
async fn no_connection_is_kept_where_none_should_be() {
    let memory = Memory::new();
    echo_heads(&memory, "i1");
    let bed = in_memory(Forward::builder(memory).keep(Keep::NONE), 1, 1);
    for _ in 0..3 {
        assert_eq!(bed.get("/").await.status(), 200);
    }
    assert_eq!(bed.forward.counters().connections_opened, 3);
}

#[tokio::test]
async fn a_stream_comes_as_it_is_written() {
    let (go, gone) = tokio::sync::mpsc::unbounded_channel::<&str>();
    let gone = std::sync::Arc::new(tokio::sync::Mutex::new(gone));
    let upstream = Upstream::new(move |mut wire, _| {
        let gone = std::sync::Arc::clone(&gone);
        async move {
            wire.head().await;
            wire.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
            while let Some(event) = gone.lock().await.recv().await {
                wire.say(event).await;
            }
        }
    })
    .await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let mut client = Wire::to(bed.listen().await).await;
    client.say("GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.head().await.expect("the head comes before any event");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        go.send(event).expect("it listens");
        assert!(client.until(event.as_bytes()).await.is_some());
        assert_eq!(bed.in_flight(), 1, "the slot is held to the end of the stream");
    }
    drop(go);
    client.until(b"0\r\n\r\n").await.expect("the end");
    bed.until(|bed| bed.in_flight() == 0).await;
}
