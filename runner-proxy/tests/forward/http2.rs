//! HTTP/2, from clients and to instances.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runner_core::{id::RevisionNumber, spec::Protocol};
use runner_proxy::forward::{Forward, InstanceBody, Memory, Network, Replay};
use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet};
use tower::service_fn;

use crate::bed::{Bed, Upstream, Wire, answer_ok, at, echo_heads, in_memory, text};

/// Streams at once.
const STREAMS: usize = if cfg!(debug_assertions) { 300 } else { 1_000 };

type Client = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn client(address: std::net::SocketAddr) -> (Client, JoinSet<()>) {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .expect("a handshake");
    let mut tasks = JoinSet::new();
    tasks.spawn(async { drop(connection.await) });
    (sender, tasks)
}

#[tokio::test]
async fn a_request_of_http2_is_one_of_http1_to_an_instance_that_speaks_it() {
    let memory = Memory::new();
    echo_heads(&memory, "i1");
    let mut bed = in_memory(Forward::builder(memory), 1, 10);
    let (mut client, _tasks) = client(bed.listen().await).await;
    let request = Request::get("http://example.org/a?b").header("te", "trailers");
    let request = request.body(Full::default()).expect("a request");
    let response = client.send_request(request).await.expect("a response");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("text");
    assert!(body.starts_with("GET /a?b\n"), "{body}");
    assert!(body.contains("\nhost: example.org\n"), "{body}");
    assert!(body.contains("\nte: trailers\n"), "{body}");
}

#[tokio::test]
async fn many_streams_share_few_connections_to_an_instance_that_speaks_http2() {
    let memory = Memory::new();
    let (gate, met) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (of_instance, counted) = (Arc::clone(&gate), Arc::clone(&met));
    memory.serve(
        "i1",
        service_fn(move |request: Request<InstanceBody>| {
            let (gate, met) = (Arc::clone(&of_instance), Arc::clone(&counted));
            async move {
                assert_eq!(request.version(), http::Version::HTTP_2);
                assert_eq!(request.uri().authority().expect("one"), "example.org");
                met.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.expect("open").forget();
                let body = request.into_body().collect().await.expect("a body").to_bytes();
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            }
        }),
    );
    let builder = Forward::builder(memory).protocol(Protocol::H2c);
    let bed = in_memory(builder, 1, u32::MAX);
    println!("{STREAMS} streams");
    let mut asked = JoinSet::new();
    for number in 0..STREAMS {
        let text = format!("body {number}");
        let request = Request::post("/").header("host", "example.org").body(Full::from(text));
        let sent = bed.send(request.expect("a request"));
        asked.spawn(async move {
            let Ok(response) = sent.await;
            assert_eq!(response.status(), StatusCode::OK);
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(body, format!("body {number}"));
        });
    }
    // All are there at once, over as many connections as it takes at a hundred each.
    bed.until(|_| met.load(Ordering::SeqCst) == STREAMS).await;
    assert_eq!(bed.in_flight(), STREAMS as u64);
    assert_eq!(bed.forward.counters().connections_opened, STREAMS as u64 / 100);
    gate.add_permits(STREAMS);
    while let Some(done) = asked.join_next().await {
        done.expect("no stream failed");
    }
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_over_each_pair_of_protocols() {
    for protocol in [Protocol::H2c, Protocol::Http1] {
        let memory = Memory::new();
        memory.serve(
            "i1",
            service_fn(async |request: Request<InstanceBody>| {
                assert_eq!(request.headers()["te"], "trailers");
                let message = request.into_body().collect().await.expect("a body").to_bytes();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().expect("a value"));
                let frames =
                    [Ok::<_, Infallible>(Frame::data(message)), Ok(Frame::trailers(trailers))];
                let mut response =
                    Response::new(StreamBody::new(futures_util::stream::iter(frames)));
                let headers = response.headers_mut();
                headers.insert("content-type", "application/grpc".parse().expect("a value"));
                headers.insert("trailer", "grpc-status".parse().expect("a value"));
                Ok::<_, Infallible>(response)
            }),
        );
        let mut bed = in_memory(Forward::builder(memory).protocol(protocol), 1, 10);
        let (mut client, _tasks) = client(bed.listen().await).await;
        let request = Request::post("http://example.org/hello.Greeter/Say")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::<Bytes>::from("\0\0\0\0\u{2}hi"))
            .expect("a request");
        let response = client.send_request(request).await.expect("a response");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let whole = response.into_body().collect().await.expect("a body");
        assert_eq!(whole.trailers().expect("trailers")["grpc-status"], "0", "{protocol:?}");
        assert_eq!(whole.to_bytes(), "\0\0\0\0\u{2}hi");
        assert_eq!(bed.in_flight(), 0);
    }
}

#[tokio::test]
async fn what_is_spoken_belongs_to_the_revision() {
    let memory = Memory::new();
    for name in ["i1", "i2"] {
        memory.serve(
            name,
            service_fn(async |request: Request<InstanceBody>| {
                let version = format!("{:?}", request.version());
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(version)))
            }),
        );
    }
    let mut green = crate::bed::memory(2, 1);
    green.revision = RevisionNumber::new(2);
    let bed = Bed::new(Forward::builder(memory), vec![crate::bed::memory(1, 1), green]);
    bed.forward.speak(RevisionNumber::new(2), Protocol::H2c);
    let mut seen = [text(&bed.get("/").await).to_owned(), text(&bed.get("/").await).to_owned()];
    seen.sort();
    assert_eq!(seen, ["HTTP/1.1", "HTTP/2.0"]);
}

#[tokio::test]
async fn an_instance_that_does_not_speak_it_is_a_fault_and_no_hang() {
    let upstream = Upstream::new(|mut wire: Wire, _| async move {
        wire.say("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
        wire.rest().await;
    })
    .await;
    let builder = Forward::builder(Network::new()).protocol(Protocol::H2c);
    let bed = Bed::new(builder, vec![at(1, upstream.address, 1)]);
    let request = Request::post("/").body(Full::<Bytes>::from("x")).expect("a request");
    let response = bed.ask(request).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test]
async fn a_connection_that_is_closed_is_replaced() {
    let memory = Memory::new();
    echo_heads(&memory, "i1");
    let bed = in_memory(Forward::builder(memory).protocol(Protocol::H2c), 1, 10);
    assert_eq!(bed.get("/").await.status(), 200);
    assert_eq!(bed.get("/").await.status(), 200);
    assert_eq!(bed.forward.counters().connections_opened, 1);
    bed.forward.close(crate::bed::instance_id(1));
    assert_eq!(bed.get("/").await.status(), 200);
    let counters = bed.forward.counters();
    assert_eq!((counters.connections_opened, counters.replays(Replay::Unwritten)), (2, 0));
}

#[tokio::test]
async fn clients_of_http2_reach_an_instance_of_http1_in_their_hundreds() {
    let upstream = Upstream::new(|wire, _| answer_ok(wire)).await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 50)]);
    let (client, _tasks) = client(bed.listen().await).await;
    let mut asked = JoinSet::new();
    for _ in 0..STREAMS {
        let mut client = client.clone();
        asked.spawn(async move {
            let request = Request::get("http://a/").body(Full::default()).expect("a request");
            let response = client.send_request(request).await.expect("a response");
            assert_eq!(response.status(), StatusCode::OK);
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(body, "ok");
        });
    }
    while let Some(done) = asked.join_next().await {
        done.expect("no stream failed");
    }
    assert!(upstream.accepted() <= 50, "no more than there are slots");
    bed.until(|bed| bed.in_flight() == 0).await;
}
