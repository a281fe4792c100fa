//! What one client may take, in virtual time.

use std::{convert::Infallible, future::pending, num::NonZeroU32, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use runner_proxy::{
    answer::{Answers, DoorFault},
    front_door::{Limits, Rate, RequestBody},
};
use tokio::time::{Instant, sleep};
use tower::service_fn;

use super::{
    bed::{Answer, mirror, text, ticking},
    memory::{Inner, open},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// After how long something happened, with what the looks may add to it.
fn about(began: Instant, expected: Duration) {
    let took = began.elapsed();
    assert!(took >= expected, "after {took:?}, too early for {expected:?}");
    assert!(took <= expected + Duration::from_millis(760), "after {took:?}, not {expected:?}");
}

fn quick(service_limits: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    service_limits(&mut limits);
    limits
}

fn mirrored(limits: impl FnOnce(&mut Limits)) -> Inner {
    open(service_fn(mirror), quick(limits), |door| door)
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_left_without_a_word() {
    let door = mirrored(|_| {});
    let began = Instant::now();
    assert_eq!(door.client(1024).hear_all().await, "");
    about(began, seconds(30));
    assert_eq!(door.handle.counters().timeouts.idle, 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_whole_is_answered_with_a_bare_408() {
    let door = mirrored(|_| {});
    let began = Instant::now();
    let mut client = door.client(1024);
    client.say("GET / HTTP/1.1\r\n").await;
    let (mut hears, mut says) = tokio::io::split(client.0);
    tokio::spawn(async move {
        // Byte by byte it comes no nearer to its end.
        while tokio::io::AsyncWriteExt::write_all(&mut says, b"x").await.is_ok() {
            sleep(seconds(1)).await;
        }
    });
    let mut room = [0; 1024];
    let size = tokio::io::AsyncReadExt::read(&mut hears, &mut room).await.unwrap();
    about(began, seconds(30));
    let heard = String::from_utf8_lossy(&room[..size]);
    assert!(heard.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{heard}");
    assert_eq!(door.handle.counters().timeouts.head, 1);
    assert_eq!(door.handle.counters().requests.http11, 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_head_is_its_own_and_not_that_of_the_silence_before() {
    let door = mirrored(|_| {});
    let mut client = door.client(4096);
    for _ in 0..4 {
        client.say(GET).await;
        client.hear_until("host: a\n\n").await;
        sleep(seconds(70)).await;
        client.say("GET /").await;
        sleep(seconds(25)).await;
        client.say(" HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.hear_until("host: a\n\n").await;
    }
    assert_eq!(door.handle.counters().requests.http11, 8);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_without_a_word() {
    let door = mirrored(|_| {});
    let mut client = door.client(4096);
    client.say(GET).await;
    client.hear_until("host: a\n\n").await;
    let began = Instant::now();
    assert_eq!(client.hear_all().await, "");
    about(began, seconds(75));
    assert_eq!(door.handle.counters().timeouts.idle, 1);
    assert_eq!(door.handle.counters().open, 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_of_http_2_that_does_not_go_is_counted_once() {
    let door = mirrored(|limits| limits.idle = seconds(5));
    let mut client = door.client(64 << 10);
    // The preface and empty settings; what the door says to it is heard and ignored.
    client.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    client.hear_all().await;
    let counters = door.handle.counters();
    assert_eq!((counters.timeouts.idle, counters.timeouts.reader, counters.open), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_gets_504_and_its_service_is_told_by_a_drop() {
    struct Told(tokio::sync::mpsc::UnboundedSender<Duration>, Instant);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(self.1.elapsed());
        }
    }
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |_: Request<RequestBody>| {
        let told = Told(tell.clone(), Instant::now());
        async move {
            pending::<()>().await;
            drop(told);
            Ok::<_, Infallible>(text("never"))
        }
    });
    let door = open(service, Limits::default(), |door| door);
    let began = Instant::now();
    let heard = door.ask("GET / HTTP/1.1\r\nhost: a\r\naccept: application/json\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{heard}");
    assert!(heard.contains("x-refusal-reason: took_too_long\r\n"), "{heard}");
    assert!(heard.contains("connection: close\r\n"), "{heard}");
    assert!(heard.contains("{\"reason\":\"took_too_long\",\"message\":\""), "{heard}");
    assert!(told.recv().await.unwrap() >= seconds(120));
    assert!(began.elapsed() < seconds(124));
    let counters = door.handle.counters();
    assert_eq!((counters.timeouts.total, counters.answered(DoorFault::TookTooLong)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_ends_in_the_middle() {
    let service = service_fn(async |_: Request<RequestBody>| {
        let body = ticking(seconds(10));
        Ok::<_, Infallible>(Response::new(body))
    });
    let door = open(service, Limits::default(), |door| door);
    let began = Instant::now();
    let heard = door.ask(GET).await;
    about(began, seconds(120));
    assert!(heard.matches("tick ").count() >= 12, "{heard}");
    assert!(!heard.ends_with("0\r\n\r\n"), "an end would be a lie");
    assert_eq!(door.handle.counters().timeouts.total, 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_an_answer_may_take_for_ever() {
    let service = service_fn(async |_: Request<RequestBody>| {
        sleep(seconds(100_000)).await;
        Ok::<_, Infallible>(text("at last"))
    });
    let door = open(service, quick(|limits| limits.total = None), |door| door);
    let heard = door.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(heard.ends_with("at last"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_too_slowly_gets_408() {
    let door = mirrored(|_| {});
    let began = Instant::now();
    let mut client = door.client(64 << 10);
    client.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").await;
    client.say([b'x'; 10_000]).await;
    let heard = client.hear_all().await;
    assert!(heard.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{heard}");
    assert!(heard.contains("x-refusal-reason: body_too_slow"), "{heard}");
    // What came at once is no credit, and the grace is ten seconds.
    assert!(began.elapsed() < seconds(13), "{:?}", began.elapsed());
    assert_eq!(door.handle.counters().timeouts.body, 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_slowly_but_steadily_is_waited_for() {
    let door = mirrored(|limits| limits.total = Some(seconds(100)));
    let mut client = door.client(64 << 10);
    client
        .say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9000\r\nconnection: close\r\n\r\n")
        .await;
    for _ in 0..30 {
        sleep(seconds(1)).await;
        client.say([b'x'; 300]).await;
    }
    assert!(client.hear_all().await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_is_not_its_clients_fault() {
    let service = service_fn(async |request: Request<RequestBody>| {
        sleep(seconds(60)).await;
        let body = request.into_body().collect().await.expect("it is whole").to_bytes();
        Ok::<_, Infallible>(text(format!("{} bytes", body.len())))
    });
    let door = open(service, Limits::default(), |door| door);
    let mut client = door.client(1 << 20);
    client
        .say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\nconnection: close\r\n\r\n")
        .await;
    client.say(vec![b'x'; 100_000]).await;
    assert!(client.hear_all().await.ends_with("100000 bytes"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
    let service =
        service_fn(async |_: Request<RequestBody>| Ok::<_, Infallible>(text(vec![b'x'; 10 << 20])));
    let door = open(service, Limits::default(), |door| door);
    let began = Instant::now();
    let mut client = door.client(1024);
    client.say(GET).await;
    while door.handle.counters().open > 0 || door.handle.counters().accepted == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    about(began, seconds(10));
    assert_eq!(door.handle.counters().timeouts.reader, 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_announced_too_large_is_refused_unread() {
    let door = mirrored(|limits| limits.body_bytes = Some(10));
    let asked = |length| {
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )
    };
    let heard = door.ask(&(asked(10) + "0123456789")).await;
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    let heard = door.ask(&asked(11)).await;
    assert!(heard.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{heard}");
    assert!(heard.contains("x-refusal-reason: body_too_large\r\n"), "{heard}");
    assert!(heard.contains("connection: close\r\n"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_turns_out_too_large_is_refused_whatever_the_service_makes_of_it() {
    let door = mirrored(|limits| limits.body_bytes = Some(10));
    let heard = door
        .ask(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
             8\r\n01234567\r\n8\r\n01234567\r\n",
        )
        .await;
    assert!(heard.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{heard}");
    assert_eq!(door.handle.counters().answered(DoorFault::BodyTooLarge), 1);
    // The next request of another connection is none the worse for it.
    let heard = door.ask(&GET.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await;
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn heads_are_bounded_in_fields_in_bytes_and_in_their_target() {
    let door = mirrored(|limits| {
        limits.fields = 10;
        limits.head_bytes = 2_000;
        limits.target_bytes = 100;
    });
    let with = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n")
    };
    let field = |number: usize| format!("x-{number}: y\r\n");
    let many = |count: usize| (0..count).map(field).collect::<String>();
    for (asked, status) in [
        (with("/", &many(8)), "200 OK"),
        (with("/", &many(9)), "431 Request Header Fields Too Large"),
        (with("/", &format!("x: {}\r\n", "y".repeat(1_800))), "200 OK"),
        (
            with("/", &format!("x: {}\r\n", "y".repeat(1_990))),
            "431 Request Header Fields Too Large",
        ),
        // A method may be any word, and counts as well.
        (with("/", "").replace("GET", &"M".repeat(1_990)), "431 Request Header Fields Too Large"),
        (with(&format!("/{}", "p".repeat(99)), ""), "200 OK"),
        (with(&format!("/{}", "p".repeat(100)), ""), "414 URI Too Long"),
        (with(&format!("/?{}", "q".repeat(99)), ""), "414 URI Too Long"),
    ] {
        let heard = door.ask(&asked).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{asked}\n{heard}");
        assert_eq!(heard.contains("request: "), status != "200 OK", "{heard}");
    }
    // Above the limits of hyper there is no head to answer.
    let heard = door.ask(&with("/", &format!("x: {}\r\n", "y".repeat(20_000)))).await;
    assert!(heard.starts_with("HTTP/1.1 431 "), "{heard}");
    assert!(!heard.contains("request: "), "{heard}");
    assert_eq!(door.handle.counters().refused.too_large, 1);
}

#[tokio::test(start_paused = true)]
async fn answers_may_be_the_programs_own() {
    let answers = Answers::with(|asked, fault| {
        let id = asked.id.as_ref().expect("the door names requests");
        let mut response = Response::new(Bytes::from(format!("sorry, {fault}: {id:?}")));
        *response.status_mut() = fault.status();
        response
    });
    let door = open(service_fn(mirror), Limits::default(), |door| door.answers(answers));
    let heard = door.ask("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert!(heard.contains("sorry, the request does not name one host"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_service_never_reaches_a_client() {
    let service = service_fn(async |_: Request<RequestBody>| -> Result<Answer, std::io::Error> {
        Err(std::io::Error::other("password is hunter2"))
    });
    let door = open(service, Limits::default(), |door| door);
    let mut client = door.client(4096);
    for _ in 0..2 {
        client.say(GET).await;
        let heard = client.hear_until("request: ").await;
        assert!(heard.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{heard}");
        assert!(!heard.contains("hunter2"));
    }
    assert_eq!(door.handle.counters().answered(DoorFault::ServiceFailed), 2);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_most_connections_others_wait_until_somebody_leaves() {
    let door = mirrored(|limits| limits.connections = Some(2));
    let first = door.client(4096);
    let _second = door.client(4096);
    let third = door.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let mut third = std::pin::pin!(third);
    assert!(tokio::time::timeout(seconds(1), &mut third).await.is_err());
    let counters = door.handle.counters();
    assert_eq!((counters.open, counters.accepted, counters.full), (2, 2, 1));
    drop(first);
    assert!(third.await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(start_paused = true)]
async fn a_least_rate_holds_for_streams_of_http_2_too() {
    let limits = quick(|limits| {
        limits.rate = Some(Rate::new(NonZeroU32::new(100).unwrap(), seconds(2)));
    });
    let door = open(service_fn(mirror), limits, |door| door);
    let stream = hyper_util::rt::TokioIo::new(door.client(64 << 10).0);
    let exec = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(exec, stream).await.unwrap();
    tokio::spawn(connection);
    let frames = futures_util::stream::unfold(true, async |first| {
        if !first {
            pending::<()>().await;
        }
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from("x"))), false))
    });
    let body = BodyExt::boxed_unsync(StreamBody::new(frames));
    let began = Instant::now();
    let response =
        client.send_request(Request::post("http://a/").body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 408);
    assert!(began.elapsed() < seconds(4));
    // The connection goes on, and takes its other limit: no stream is open.
    let body = Full::new(Bytes::from("whole")).boxed_unsync();
    let response = client.send_request(Request::post("http://a/").body(body).unwrap()).await;
    assert_eq!(response.unwrap().status(), 200);
    let idle = Instant::now();
    while door.handle.counters().open > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    about(idle, seconds(75));
}

/// A client of HTTP/2 that asks for an answer without an end and reads none of it.
async fn taken_by_nobody(limits: Limits) -> (Inner, Duration) {
    let endless = service_fn(async |_: Request<RequestBody>| {
        let frames = futures_util::stream::repeat_with(|| {
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 16 << 10])))
        });
        Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
    });
    let door = open(endless, limits, |door| door);
    let stream = hyper_util::rt::TokioIo::new(door.client(64 << 10).0);
    let exec = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(exec, stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://a/").body(Full::new(Bytes::new())).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let began = Instant::now();
    let ended = || {
        let timeouts = door.handle.counters().timeouts;
        timeouts.reader + timeouts.total > 0
    };
    while !ended() && began.elapsed() < seconds(300) {
        sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    assert!(ended(), "it goes on, and would for ever");
    // What was on its way is there, and then it is over: the stream alone was ended.
    let broken = response.into_body().collect().await;
    assert!(broken.is_err());
    assert_eq!(door.handle.counters().open, 1);
    (door, took)
}

#[tokio::test(start_paused = true)]
async fn who_opens_no_window_is_a_reader_that_is_too_slow() {
    let (door, took) = taken_by_nobody(quick(|limits| {
        limits.rate = Some(Rate::new(NonZeroU32::new(100).unwrap(), seconds(2)));
    }))
    .await;
    assert!(took >= seconds(2) && took < seconds(4), "{took:?}");
    assert_eq!(door.handle.counters().timeouts.reader, 1);
}

#[tokio::test(start_paused = true)]
async fn who_opens_no_window_has_no_longer_than_any_other() {
    let (door, took) = taken_by_nobody(quick(|limits| {
        (limits.rate, limits.total) = (None, Some(seconds(20)));
    }))
    .await;
    assert!(took >= seconds(20) && took < seconds(22), "{took:?}");
    assert_eq!(door.handle.counters().timeouts.total, 1);
}
