//! What an instance says before its answer (1xx): it ends at the proxy, and the answer is found
//! behind it however the bytes are cut.

use std::{io, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runner_core::{
    address::Address,
    admission::{Instance, QueueSettings, Snapshot},
    id::{RevisionNumber, ServiceId},
};
use runner_proxy::{
    forward::{Connect, Forward},
    front_door::Limits,
    pool::Pool,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower::Layer;

use super::memory::{self, Inner};

/// An instance that answers each request with these bytes, piece by piece.
struct Says(Vec<&'static str>);

impl Connect for Says {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Address) -> io::Result<DuplexStream> {
        let (ours, mut stream) = duplex(64 << 10);
        let pieces = self.0.clone();
        tokio::spawn(async move {
            let (mut heard, mut room) = (Vec::new(), [0; 4096]);
            while let Ok(size @ 1..) = stream.read(&mut room).await {
                heard.extend_from_slice(&room[..size]);
                if !heard.ends_with(b"\r\n\r\n") {
                    continue;
                }
                heard.clear();
                for piece in &pieces {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    // Time is virtual: it goes on when the piece was read and understood.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        });
        Ok(ours)
    }
}

fn door(pieces: &[&'static str]) -> (Inner, Forward<Says>) {
    let id = ServiceId::from_random(1).instance(1);
    let mut snapshot = Snapshot::default();
    let to = Address::Memory("a".into());
    snapshot.instances = vec![Instance::new(id, to, RevisionNumber::FIRST, 1)];
    let pool = Pool::new(QueueSettings::new(10, Duration::from_secs(10)), snapshot);
    let (forward, connections) = Forward::builder(Says(pieces.to_vec())).build();
    tokio::spawn(connections.run());
    let path = pool.layer().layer(forward.clone());
    (memory::open(path, Limits::default(), |door| door), forward)
}

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test(start_paused = true)]
async fn early_hints_end_here_and_the_answer_behind_them_is_found() {
    let together: &'static str = format!("{HINTS}{ANSWER}").leak();
    let (first, second) = together.split_at(30);
    let lying = "HTTP/1.1 103 Early Hints\r\ncontent-length: 200\r\n\r\n";
    for pieces in [
        &[HINTS, ANSWER][..],
        &[together],
        &[first, second],
        &["HTTP/1.1 102 Processing\r\n\r\n", HINTS, HINTS, ANSWER],
        &["HTTP/1.1 100 Continue\r\n\r\n", together],
        // A body is none of its own, whatever its head says.
        &[lying, ANSWER],
    ] {
        let (door, forward) = door(pieces);
        let mut client = door.client(4096);
        for _ in 0..3 {
            client.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let heard = client.hear_until("\r\n\r\nok").await;
            assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{pieces:?}: {heard}");
            assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{pieces:?}: {heard}");
            assert!(!heard.contains("link"), "{pieces:?}: {heard}");
        }
        let counters = forward.counters();
        assert_eq!(counters.connections_opened, 1, "{pieces:?}: the next answer begins well");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http_2_hears_the_answer_alone() {
    let (door, _forward) = door(&[HINTS, ANSWER]);
    let stream = TokioIo::new(door.client(64 << 10).0);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("link"));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_only_hints_runs_into_the_time_of_the_request() {
    let (door, _forward) = door(&[HINTS]);
    let heard = door.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{heard}");
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");
}
