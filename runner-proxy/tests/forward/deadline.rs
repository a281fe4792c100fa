//! How long a client waits, as gRPC says it: what is left of it is what the instance is told, and
//! when it is over the request is.

use std::{convert::Infallible, future::pending, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use runner_proxy::forward::{Fault, Forward, InstanceBody, Memory, Network};
use tokio::time::{Instant, sleep};
use tower::service_fn;

use crate::bed::{Bed, Upstream, Wire, at, in_memory, instance_id, text};

/// Says how long its client waits, as it was told; `/slow` takes 200 ms, `/never` for ever, and
/// `/ticks` says something every 50 ms.
async fn told(
    request: Request<InstanceBody>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let said = request.headers().get("grpc-timeout").map(|said| said.as_bytes().to_vec());
    let body = Full::new(Bytes::from(said.unwrap_or_default())).boxed_unsync();
    Ok(Response::new(match request.uri().path() {
        "/never" => pending().await,
        "/ticks" => {
            let ticks = futures_util::stream::unfold((), |()| async {
                sleep(Duration::from_millis(50)).await;
                Some((Ok(Frame::data(Bytes::from("tick "))), ()))
            });
            StreamBody::new(ticks).boxed_unsync()
        }
        path => {
            if path == "/slow" {
                sleep(Duration::from_millis(200)).await;
            }
            body
        }
    }))
}

fn one_slot() -> Bed<Memory> {
    let memory = Memory::new();
    memory.serve("i1", service_fn(told));
    in_memory(Forward::builder(memory), 1, 1)
}

fn within(timeout: &str, path: &str) -> Request<Full<Bytes>> {
    let request = Request::get(path).header("host", "a").header("grpc-timeout", timeout);
    request.body(Full::default()).expect("a request")
}

/// Asks while the only slot is taken for 200 ms more.
async fn after_a_wait(bed: &Bed<Memory>, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let (_, response) = tokio::join!(bed.get("/slow"), bed.ask(request));
    response
}

/// As gRPC writes it.
fn parsed(said: &str) -> Duration {
    let (count, unit) = said.split_at(said.len() - 1);
    assert!(count.len() <= 8, "{said}");
    let unit = match unit {
        "H" => Duration::from_secs(3_600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => panic!("no unit in {said}"),
    };
    unit * count.parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_told_what_a_wait_has_left_and_otherwise_what_was_said() {
    let bed = one_slot();
    for said in ["300m", "1H", "99999999u"] {
        assert_eq!(text(&bed.ask(within(said, "/")).await), said, "nothing was waited away");
    }
    assert_eq!(text(&bed.get("/").await), "");
    for (said, most) in [("300m", 100), ("2S", 1_800), ("10M", 599_800), ("99999999H", u64::MAX)] {
        let response = after_a_wait(&bed, within(said, "/")).await;
        let left = parsed(text(&response));
        let most = match most {
            u64::MAX => parsed(said) - Duration::from_millis(200),
            most => Duration::from_millis(most),
        };
        assert!(left <= most, "{left:?} of {said}");
        // The clock of a runtime goes by the millisecond, and the coarsest unit is an hour.
        let rounded = if said.ends_with('H') { 3_600_000 } else { 10 };
        assert!(left + Duration::from_millis(rounded) >= most, "{left:?} of {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_it_is_over_the_request_is_and_the_instance_is_not_blamed() {
    let bed = one_slot();
    for (is_grpc, waits) in [(true, true), (false, true), (true, false)] {
        let mut request = within("300m", "/never");
        if is_grpc {
            let kind = "application/grpc".parse().expect("a value");
            request.headers_mut().insert("content-type", kind);
        }
        let began = Instant::now();
        let response = match waits {
            true => after_a_wait(&bed, request).await,
            false => bed.ask(request).await,
        };
        let took = began.elapsed().as_millis();
        assert!((300..=310).contains(&took), "{took} ms, its wait included");
        assert_eq!(response.headers()["x-refusal-reason"], "total_timed_out");
        match is_grpc {
            true => assert_eq!(response.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED"),
            false => assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT),
        }
    }
    assert_eq!(bed.in_flight(), 0);
    let counters = bed.forward.counters();
    assert_eq!(counters.faults(Fault::TotalTimedOut), 3);
    assert_eq!(counters.instances[&instance_id(1)].outcomes.errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_has_begun_ends_with_it_too() {
    let bed = one_slot();
    let began = Instant::now();
    let Ok(response) = bed.send(within("300m", "/ticks")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.into_body().collect().await.is_err(), "it was broken off");
    let took = began.elapsed().as_millis();
    assert!((300..=310).contains(&took), "{took} ms");
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test]
async fn who_is_sent_again_is_sent_with_less() {
    let upstream = Upstream::new(|mut wire: Wire, number| async move {
        if number == 0 {
            wire.head().await;
            return;
        }
        let head = wire.head().await.expect("a head");
        let said = head.lines().find_map(|line| line.strip_prefix("grpc-timeout: "));
        let said = said.expect("it is told").to_owned();
        wire.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}", said.len())).await;
    })
    .await;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let response = bed.ask(within("1H", "/")).await;
    let left = parsed(text(&response));
    assert!(left < Duration::from_secs(3_600), "{left:?}");
    assert!(left > Duration::from_secs(3_000), "{left:?}");
}
