//! The versions of HTTP, and what each may do.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runner_proxy::{
    exchange::{ClientConnection, RequestId},
    front_door::{Limits, RequestBody},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tower::service_fn;

use super::{
    bed::{Answer, Raw, mirror, open, text, until, within},
    memory,
};

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_and_closed_when_asked() {
    let door = open(service_fn(mirror), |door| door).await;
    let mut raw = Raw::to(&door).await;
    for number in 0..3 {
        raw.say(format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let heard = raw.hear_until("host: a\n\n").await;
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
        assert!(heard.contains(&format!("GET /{number}\n")), "{heard}");
    }
    raw.say("GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let heard = raw.hear_all().await;
    assert!(heard.contains("connection: close\r\n"), "{heard}");
    let counters = door.handle.counters();
    assert_eq!((counters.accepted, counters.requests.http11), (1, 4));
    assert!(counters.sent > 0 && counters.received > 0, "{counters:?}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let door = open(service_fn(mirror), |door| door).await;
    let mut raw = Raw::to(&door).await;
    let mut said = String::new();
    for number in 0..50 {
        said +=
            &format!("POST /{number} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{number:02}");
    }
    said += "GET /end HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    raw.say(said).await;
    let heard = raw.hear_all().await;
    let asked: Vec<_> = heard.match_indices("POST /").map(|(at, _)| at).collect();
    assert_eq!(asked.len(), 50);
    for (number, at) in asked.into_iter().enumerate() {
        assert!(heard[at..].starts_with(&format!("POST /{number}\n")), "{number}");
    }
    assert!(heard.contains("GET /end"));
}

#[tokio::test]
async fn http_1_0_is_answered_in_kind() {
    let streamed = service_fn(async |_: Request<RequestBody>| {
        let frames = futures_util::stream::iter(["one ", "two"])
            .map(|part| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(part))));
        Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
    });
    use futures_util::StreamExt;
    let door = open(streamed, |door| door).await;
    let heard = Raw::ask(&door, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.0 200 OK\r\n"), "{heard}");
    assert!(heard.ends_with("\r\n\r\none two") && !heard.contains("chunked"), "{heard}");
    let door = open(service_fn(mirror), |door| door).await;
    let mut raw = Raw::to(&door).await;
    raw.say("GET /kept HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    assert!(raw.hear_until("GET /kept").await.contains("connection: keep-alive"));
    raw.say("GET /again HTTP/1.0\r\n\r\n").await;
    assert!(raw.hear_all().await.contains("GET /again"));
    assert_eq!(door.handle.counters().requests.http10, 2);
}

#[tokio::test]
async fn chunks_and_trailers_come_through_both_ways() {
    let door = open(service_fn(mirror), |door| door).await;
    let heard = Raw::ask(
        &door,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\
         trailer: x-sum\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nx-sum: 5\r\n\r\n",
    )
    .await;
    assert!(heard.ends_with("\nabcde\ntrailer x-sum: 5"), "{heard}");
}

#[tokio::test]
async fn http_2_is_understood_from_its_first_bytes_however_they_are_cut() {
    let door = open(service_fn(mirror), |door| door).await;
    // The preface and an empty SETTINGS frame, byte by byte: the answer is SETTINGS too.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut raw = Raw::to(&door).await;
    raw.0.set_nodelay(true).unwrap();
    for byte in preface {
        raw.say([*byte]).await;
        tokio::task::yield_now().await;
    }
    let mut head = [0; 9];
    within(tokio::io::AsyncReadExt::read_exact(&mut raw.0, &mut head)).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS");
    for method in ["PRI", "P", "POST", "PRIX"] {
        let heard = Raw::ask(
            &door,
            format!("{method} /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        )
        .await;
        assert!(heard.contains(&format!("{method} /x\n")), "{heard}");
    }
}

#[tokio::test]
async fn a_thousand_streams_of_one_connection_are_served_at_once() {
    let gate = std::sync::Arc::new(tokio::sync::Barrier::new(1_000));
    let service = service_fn(move |request: Request<RequestBody>| {
        let gate = gate.clone();
        async move {
            // Nobody is answered before all have come.
            gate.wait().await;
            Ok::<_, Infallible>(text(request.uri().path().to_owned()))
        }
    });
    let door = open(service, |door| {
        let mut limits = Limits::default();
        limits.streams = 1_000.try_into().unwrap();
        // However long a busy machine takes to bring all of them.
        (limits.total, limits.rate) = (None, None);
        door.limits(limits)
    })
    .await;
    let stream = TokioIo::new(TcpStream::connect(door.address).await.unwrap());
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let asked = (0..1_000).map(|number| {
        let mut client = client.clone();
        async move {
            let request = Request::get(format!("http://a/{number}")).body(Empty::<Bytes>::new());
            let response = client.send_request(request.unwrap()).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("/{number}"));
        }
    });
    within(futures_util::future::join_all(asked)).await;
    assert_eq!(door.handle.counters().requests.http2, 1_000);
    drop(client);
    within(driver).await.unwrap().unwrap();
    let handle = door.handle.clone();
    until("the connection is gone", || handle.counters().open == 0).await;
}

#[tokio::test]
async fn a_request_comes_with_its_connection_and_a_name() {
    async fn names(request: Request<RequestBody>) -> Result<Answer, Infallible> {
        let by = request.extensions().get::<ClientConnection>().copied().unwrap();
        let id = request.extensions().get::<RequestId>().cloned().unwrap();
        Ok(text(format!("<{}> <{}>", by.peer.unwrap().ip(), id.0.to_str().unwrap())))
    }
    const ASKED: &str =
        "GET / HTTP/1.1\r\nhost: a\r\nx-request-id: mine-1\r\nconnection: close\r\n\r\n";
    let door = open(service_fn(names), |door| door).await;
    let heard = Raw::ask(&door, ASKED).await;
    assert!(heard.contains("<127.0.0.1>") && !heard.contains("mine-1"), "{heard}");
    assert!(heard.contains("-0000000000000000>"), "{heard}");
    let door = open(service_fn(names), |door| {
        door.trust_request_ids(|by| by.peer.is_some_and(|peer| peer.ip().is_loopback()))
    })
    .await;
    assert!(Raw::ask(&door, ASKED).await.contains("<mine-1>"));
    let unfit = ASKED.replace("mine-1", "\"><script>");
    assert!(!Raw::ask(&door, unfit).await.contains("script"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closed_its_sending_half_is_served_where_that_was_said() {
    let slow = service_fn(async |request: Request<RequestBody>| {
        // Time goes on when nobody has anything left to do: the client's end was seen by then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(request.uri().to_string()))))
    });
    let ask = async |door: &memory::Inner| {
        let mut client = door.client(4096);
        client.say("GET /half HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.0.shutdown().await.unwrap();
        client.hear_all().await
    };
    let door = memory::open(slow, Limits::default(), |door| door.half_closed_clients());
    assert!(ask(&door).await.ends_with("/half"));
    assert_eq!(door.handle.counters().refused.left, 0);
    let door = memory::open(slow, Limits::default(), |door| door);
    assert_eq!(ask(&door).await, "", "it is taken for gone");
    until("it is counted", || door.handle.counters().refused.left == 1).await;
}
