//! Instances that fail at each stage, and how their clients are told.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use runner_core::admission::Attainable;
use runner_proxy::forward::{
    Fault, Forward, ForwardCounters, InstanceBody, InstanceOutcomes, Memory, Network, Replay,
    TimeLimits,
};
use tower::service_fn;

use crate::bed::{
    Bed, Upstream, Wire, answer_ok, at, echo_heads, in_memory, instance_id, pause, snapshot, text,
};

fn limits(head: u64, total: u64) -> TimeLimits {
    let mut limits = TimeLimits::default();
    limits.head = Some(Duration::from_secs(head));
    limits.total = Some(Duration::from_secs(total));
    limits
}

fn outcomes(counters: &ForwardCounters) -> InstanceOutcomes {
    counters.instances[&instance_id(1)].outcomes
}

fn post(text: &'static str) -> Request<Full<Bytes>> {
    Request::post("/").header("host", "a").body(Full::from(text)).expect("a request")
}

/// An instance that does the same to each connection once it has read a head.
async fn that_says(answer: &'static str) -> Upstream {
    Upstream::new(move |mut wire: Wire, _| async move {
        if wire.head().await.is_some() {
            wire.say(answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn each_fault_has_its_answer_and_its_count() {
    let cases: [(&str, &str, Fault); 5] = [
        ("POST", "", Fault::ClosedEarly),
        ("POST", "HTTP/1.1 200 OK\r\ncontent-le", Fault::ClosedEarly),
        ("POST", "SSH-2.0-OpenSSH\r\n\r\n", Fault::BadResponse),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Fault::BadResponse),
        ("GET", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", Fault::BadResponse),
    ];
    for (method, answer, fault) in cases {
        let upstream = that_says(answer).await;
        let builder = Forward::builder(Network::new()).replay_percent(0);
        let bed = Bed::new(builder, vec![at(1, upstream.address, 1)]);
        let request = Request::builder().method(method).uri("/").body(Full::default());
        let response = bed.ask(request.expect("a request")).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{answer}");
        assert_eq!(response.headers()["x-refusal-reason"], fault.code(), "{answer}");
        let counters = bed.forward.counters();
        assert_eq!(counters.faults(fault), 1, "{answer}");
        assert_eq!(bed.in_flight(), 0, "{answer}");
    }
}

#[tokio::test]
async fn an_answer_says_what_happened_in_the_form_that_is_asked_for() {
    let upstream = that_says("").await;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let response = bed.ask(post("x")).await;
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(
        text(&response),
        format!(
            "the instance closed the connection before it answered\nreason: closed_early\n\
             request: {id}\n"
        )
    );
    let mut request = post("x");
    request.headers_mut().insert("accept", "application/json".parse().expect("a value"));
    let response = bed.ask(request).await;
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(
        text(&response),
        format!(
            "{{\"reason\":\"closed_early\",\"message\":\"the instance closed the connection before \
             it answered\",\"retry_after_ms\":null,\"request_id\":\"{id}\"}}\n"
        )
    );
    let mut request = post("x");
    request.headers_mut().insert("content-type", "application/grpc+proto".parse().expect("one"));
    let response = bed.ask(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["content-type"], "application/grpc");
}

#[tokio::test]
async fn answers_can_be_written_by_the_program() {
    let builder = Forward::builder(Memory::new()).answer_with(|failure| {
        let text = format!("<p>{} {}</p>", failure.fault, failure.request_id.is_some());
        Response::builder().status(418).body(text.into()).expect("a response")
    });
    let bed = in_memory(builder, 1, 1);
    let response = bed.get("/").await;
    assert_eq!(response.status(), 418);
    assert_eq!(text(&response), "<p>no instance could be connected to true</p>");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_can_be_reached_is_worth_coming_back_for() {
    let began = tokio::time::Instant::now();
    let bed = in_memory(Forward::builder(Memory::new()), 3, 1);
    let response = bed.ask(post("once")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["x-refusal-reason"], "no_instance_reachable");
    assert_eq!(response.headers()["retry-after"], "1");
    let counters = bed.forward.counters();
    assert_eq!((counters.replays(Replay::Unreached), counters.instances.len()), (7, 3));
    for instance in counters.instances.values() {
        assert!(instance.outcomes.connect_failures_in_a_row >= 2, "by turns");
    }
    let took = began.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(2), "{took:?}");
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_the_only_instance_has_ended_a_request_waits_for_the_next() {
    let memory = Memory::new();
    let bed = in_memory(Forward::builder(memory.clone()), 1, 1);
    let asked = tokio::spawn(bed.send(post("once")));
    bed.until(|bed| bed.forward.counters().replays(Replay::Unreached) == 1).await;
    // Now it is known that it has ended, and that there will be another.
    let mut none = snapshot(Vec::new());
    none.attainable = Attainable::Slots { count: 1, after: None };
    bed.pool.apply(none);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bed.pool.counters().waiting, 1, "it waits, and is not told");
    echo_heads(&memory, "i2");
    bed.pool.apply(snapshot(vec![crate::bed::memory(2, 1)]));
    let Ok(response) = asked.await.expect("it ends");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_no_instance_was_given_says_so() {
    let (forward, _connections) = Forward::builder(Memory::new()).build();
    let request = Request::get("/").body(Full::<Bytes>::default()).expect("a request");
    let Ok(response) = tower::ServiceExt::oneshot(forward, request).await;
    assert_eq!(response.headers()["x-refusal-reason"], "not_assigned");
}

#[tokio::test]
async fn connect_is_refused_unless_it_is_asked_for() {
    let memory = Memory::new();
    echo_heads(&memory, "i1");
    let bed = in_memory(Forward::builder(memory), 1, 1);
    let request = Request::connect("example.org:443").body(Full::default()).expect("a request");
    let response = bed.ask(request).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["x-refusal-reason"], "connect_not_allowed");
    assert!(response.headers().contains_key("allow"));
}

#[tokio::test]
async fn a_coding_that_would_have_to_be_undone_is_refused() {
    let memory = Memory::new();
    echo_heads(&memory, "i1");
    let bed = in_memory(Forward::builder(memory), 1, 1);
    let mut request = post("x");
    request.headers_mut().insert("transfer-encoding", "gzip, chunked".parse().expect("a value"));
    let response = bed.ask(request).await;
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(response.headers()["x-refusal-reason"], "coding_not_supported");
}

// === time ===

/// Answers after so many seconds, and then writes a body that takes as long again.
fn slow(memory: &Memory, seconds: u64) {
    memory.serve(
        "i1",
        service_fn(move |_: Request<InstanceBody>| async move {
            let span = Duration::from_secs(seconds);
            pause(span).await;
            let body = futures_util::stream::once(async move {
                pause(span).await;
                Ok::<_, Infallible>(http_body::Frame::data(Bytes::from("late")))
            });
            Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(body)))
        }),
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_that_takes_too_long_is_one_thing_and_the_whole_another() {
    let cases = [
        (limits(2, 120), 3, Some(Fault::HeadTimedOut), 1),
        (limits(5, 2), 3, Some(Fault::TotalTimedOut), 0),
        (limits(5, 120), 3, None, 0),
    ];
    for (limits, seconds, fault, timeouts) in cases {
        let memory = Memory::new();
        slow(&memory, seconds);
        let bed = in_memory(Forward::builder(memory).limits(limits), 1, 1);
        let response = bed.get("/").await;
        let counters = bed.forward.counters();
        assert_eq!(outcomes(&counters).timeouts, timeouts);
        assert_eq!(bed.in_flight(), 0);
        let Some(fault) = fault else {
            assert_eq!(text(&response), "late");
            assert_eq!(outcomes(&counters).head_time, Duration::from_secs(3));
            continue;
        };
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(response.headers()["x-refusal-reason"], fault.code());
        assert_eq!(counters.faults(fault), 1);
        assert_eq!(counters.replays(Replay::Unanswered), 0, "it may still be worked on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_ends_where_the_time_of_its_request_does() {
    let memory = Memory::new();
    slow(&memory, 3);
    let bed = in_memory(Forward::builder(memory).limits(limits(5, 5)), 1, 1);
    let Ok(response) = bed.send(Request::get("/").body(Full::default()).expect("one")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let error = response.into_body().collect().await.expect_err("two seconds too late");
    assert!(error.is_timeout(), "{error}");
    assert_eq!(outcomes(&bed.forward.counters()).late_bodies, 1);
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_answer_slowly_has_no_more_time_for_it() {
    let memory = Memory::new();
    memory.serve(
        "i1",
        service_fn(|_: Request<InstanceBody>| async {
            let frames = futures_util::stream::repeat_with(|| {
                Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(&[b'x'; 8_192])))
            });
            Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(frames)))
        }),
    );
    let bed = in_memory(Forward::builder(memory).limits(limits(5, 20)), 1, 1);
    let Ok(response) = bed.send(Request::get("/").body(Full::default()).expect("one")).await;
    let mut body = response.into_body();
    for second in 1.. {
        // There is always more to take, so nobody waits for anything.
        pause(Duration::from_secs(1)).await;
        match body.frame().await.expect("it never ends") {
            Ok(_) => assert!(second < 30, "long after its time"),
            Err(error) => {
                assert!(error.is_timeout() && second >= 20, "{second}: {error}");
                break;
            }
        }
    }
    drop(body);
    assert_eq!(outcomes(&bed.forward.counters()).late_bodies, 1);
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_takes_no_connection_is_given_up() {
    struct Never;
    impl runner_proxy::forward::Connect for Never {
        type Stream = tokio::io::DuplexStream;
        async fn connect(
            &self,
            _: &runner_core::address::Address,
        ) -> std::io::Result<Self::Stream> {
            std::future::pending().await
        }
    }
    let bed = Bed::new(
        Forward::builder(Never).replay_percent(0),
        vec![at(1, "127.0.0.1:1".parse().expect("an address"), 1)],
    );
    let response = bed.get("/").await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.headers()["x-refusal-reason"], "connect_timed_out");
    assert_eq!(outcomes(&bed.forward.counters()).connect_failures, 1);
}

// === instances that never stop ===

/// A connection on which there is always more to read at once: first some words, then others again
/// and again.
struct Ready(&'static [u8], &'static [u8], usize);

impl tokio::io::AsyncRead for Ready {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let text = std::mem::take(&mut self.0);
        match (text.is_empty(), self.2) {
            (false, _) => buffer.put_slice(text),
            (true, 0) => {}
            (true, _) => {
                self.2 -= 1;
                buffer.put_slice(self.1);
            }
        }
        std::task::Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Ready {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

struct Always(&'static [u8], &'static [u8]);

impl runner_proxy::forward::Connect for Always {
    type Stream = Ready;
    async fn connect(&self, _: &runner_core::address::Address) -> std::io::Result<Ready> {
        Ok(Ready(self.0, self.1, 100_000))
    }
}

fn before(connect: Always) -> Bed<Always> {
    let builder = Forward::builder(connect).replay_percent(0).limits(limits(5, 5));
    Bed::new(builder, vec![at(1, "127.0.0.1:1".parse().expect("an address"), 1)])
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_always_about_to_answer_is_given_up() {
    let bed = before(Always(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"));
    let response = bed.get("/").await;
    assert_eq!(response.headers()["x-refusal-reason"], Fault::BadResponse.code());
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_pauses_ends_where_the_time_of_its_request_does() {
    let bed =
        before(Always(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"4\r\nmore\r\n"));
    let Ok(response) = bed.send(Request::get("/").body(Full::default()).expect("one")).await;
    let (began, mut body) = (tokio::time::Instant::now(), response.into_body());
    let error = loop {
        match body.frame().await.expect("no end") {
            Ok(_) => tokio::time::advance(Duration::from_millis(1)).await,
            Err(error) => break error,
        }
    };
    assert!(error.is_timeout(), "{error}");
    let late = began.elapsed() - Duration::from_secs(5);
    assert!(late < Duration::from_millis(100), "{late:?}");
    assert_eq!(outcomes(&bed.forward.counters()).late_bodies, 1);
    assert_eq!(bed.in_flight(), 0);
}

// === bodies that break ===

#[tokio::test]
async fn a_response_that_breaks_off_is_an_error_and_no_end() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let upstream = that_says(answer).await;
        let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
        let Ok(response) = bed.send(Request::get("/").body(Full::default()).expect("one")).await;
        let error = response.into_body().collect().await.expect_err("it is not whole");
        assert!(!error.is_timeout());
        let outcomes = outcomes(&bed.forward.counters());
        assert_eq!((outcomes.broken_bodies, outcomes.errors_in_a_row), (1, 1));
        assert_eq!(bed.in_flight(), 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_body_takes_its_connection_with_it() {
    let (gone, mut noticed) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::new(move |mut wire, _| {
        let gone = gone.clone();
        async move {
            wire.head().await;
            wire.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await;
            let _ = gone.send(wire.rest().await);
        }
    })
    .await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let mut client = Wire::to(bed.listen().await).await;
    client.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.until(b"1\r\na\r\n").await.expect("the first part");
    assert_eq!(bed.in_flight(), 1);
    drop(client);
    assert_eq!(noticed.recv().await.as_deref(), Some(""), "the instance sees its client leave");
    bed.until(|bed| bed.in_flight() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_never_sent() {
    let upstream = Upstream::new(|mut wire, _| async move {
        wire.head().await;
        wire.rest().await;
    })
    .await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let address = bed.listen().await;
    let mut first = Wire::to(address).await;
    first.say("GET /first HTTP/1.1\r\nhost: a\r\n\r\n").await;
    bed.until(|bed| bed.in_flight() == 1).await;
    let mut second = Wire::to(address).await;
    second.say("GET /second HTTP/1.1\r\nhost: a\r\n\r\n").await;
    bed.until(|bed| bed.pool.counters().waiting == 1).await;
    drop(second);
    bed.until(|bed| bed.pool.counters().waiting == 0).await;
    drop(first);
    bed.until(|bed| bed.in_flight() == 0).await;
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_client_that_breaks_off_its_body_does_not_speak_against_the_instance() {
    let (gone, mut noticed) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::new(move |mut wire, _| {
        let gone = gone.clone();
        async move {
            let _ = gone.send(wire.rest().await);
        }
    })
    .await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let mut client = Wire::to(bed.listen().await).await;
    client.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    bed.until(|bed| bed.in_flight() == 1).await;
    drop(client);
    let seen = noticed.recv().await.expect("the connection is closed, so that it sees no end");
    assert!(seen.ends_with("\r\n\r\nhalf") || seen.is_empty(), "{seen}");
    bed.until(|bed| bed.in_flight() == 0).await;
    let errors = bed.forward.counters().instances.get(&instance_id(1)).map(|i| i.outcomes.errors);
    assert_eq!(errors.unwrap_or(0), 0);
}

// === 100-continue ===

#[tokio::test]
async fn a_body_is_sent_when_the_instance_says_continue() {
    let upstream = Upstream::new(|mut wire, _| async move {
        let head = wire.head().await.expect("a head");
        assert!(head.contains("expect: 100-continue"), "{head}");
        wire.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = wire.take(4).await.expect("a body");
        assert_eq!(body, b"body");
        wire.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        wire.rest().await;
    })
    .await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let mut client = Wire::to(bed.listen().await).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    client.say(head).await;
    assert_eq!(client.head().await.as_deref(), Some("HTTP/1.1 100 Continue\r\n\r\n"));
    client.say("body").await;
    let answer = client.until(b"\r\n\r\nok").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_body_that_the_instance_does_not_want_is_never_asked_for() {
    let upstream = Upstream::new(|mut wire, number| async move {
        let head = wire.head().await.expect("a head");
        let answer = if number == 0 { "417 Expectation Failed" } else { "200 OK" };
        assert_eq!(head.contains("expect"), number == 0);
        wire.say(&format!("HTTP/1.1 {answer}\r\ncontent-length: 2\r\n\r\nno")).await;
        assert_eq!(wire.rest().await, "", "nothing more");
    })
    .await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let mut client = Wire::to(bed.listen().await).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    client.say(head).await;
    let answer = client.until(b"\r\n\r\nno").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 417"), "{answer}");
    bed.until(|bed| bed.in_flight() == 0).await;
    assert_eq!(bed.get("/").await.status(), 200);
    assert_eq!(upstream.accepted(), 2, "what was promised a body is not used again");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_says_nothing_gets_the_body_after_a_second() {
    let memory = Memory::new();
    // hyper's server says continue when the body is read, and this one reads it late.
    memory.serve(
        "i1",
        service_fn(async |request: Request<InstanceBody>| {
            pause(Duration::from_millis(1_500)).await;
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            Ok::<_, Infallible>(Response::new(Full::new(body)))
        }),
    );
    let bed = in_memory(Forward::builder(memory), 1, 1);
    let mut request = post("body");
    request.headers_mut().insert("expect", "100-continue".parse().expect("a value"));
    assert_eq!(text(&bed.ask(request).await), "body");
}

#[tokio::test]
async fn an_answer_before_the_upload_is_over_does_not_free_the_connection() {
    let upstream = Upstream::new(|mut wire, _| async move {
        wire.head().await;
        wire.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        wire.take(4).await;
        answer_ok(wire).await;
    })
    .await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 2)]);
    let mut client = Wire::to(bed.listen().await).await;
    client.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n").await;
    client.until(b"\r\n\r\nok").await.expect("an answer");
    assert_eq!(text(&bed.get("/").await), "ok");
    assert_eq!(upstream.accepted(), 2, "the first one is still sent to");
}

#[tokio::test]
async fn what_an_instance_says_unasked_answers_nobody() {
    let upstream = Upstream::new(|mut wire, number| async move {
        while wire.head().await.is_some() {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{number:02}");
            wire.say(&answer.repeat(2)).await;
        }
    })
    .await;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    for number in 0..3 {
        assert_eq!(text(&bed.get("/").await), format!("{number:02}"));
    }
    assert_eq!(upstream.accepted(), 3, "a connection with an answer too many is not used again");
}
