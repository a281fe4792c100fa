//! What those who are refused are told.

use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body::Body;
use tower::layer::Layer;
use tower_service::Service;

use crate::support::{Held, Script, Stage, Step, text_of};
use crate::{call, queue, taken, with_headers};

/// The response to a request that is refused since nobody may wait.
fn refusal(
    stage: &Stage,
    request: Request<()>,
) -> Response<runner_proxy::queue::ResponseBody<Script>> {
    let (_, mut service, _holder) = taken(queue(1).max_waiting(0), stage);
    Held::new(service.call(request)).done()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().expect("text"))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_a_response_that_says_all_there_is_to_say() {
    let stage = Stage::default();
    let response = refusal(&stage, with_headers(&[("x-request-id", "abc-1")]));
    assert_eq!(response.status(), 429);
    let headers = response.headers();
    assert_eq!(header(headers, "retry-after"), Some("10"));
    assert_eq!(header(headers, "retry-after-ms"), Some("10000"));
    assert_eq!(header(headers, "x-refusal-reason"), Some("queue_full"));
    assert_eq!(header(headers, "x-request-id"), Some("abc-1"));
    assert_eq!(header(headers, "cache-control"), Some("no-store"));
    assert_eq!(header(headers, "content-type"), Some("text/plain; charset=utf-8"));
    let length = response.body().size_hint().exact();
    let text = text_of(response.into_body());
    assert_eq!(length, Some(text.len() as u64));
    assert!(text.contains("Try again in 10 seconds") && text.contains("request: abc-1"), "{text}");
    assert_eq!(stage.calls(), 1, "the inner service never saw it");
}

#[tokio::test(start_paused = true)]
async fn it_speaks_json_to_those_who_ask_for_it() {
    for (accept, json) in [
        ("application/json", true),
        ("application/problem+json;q=0.9, text/html", true),
        ("text/html, application/json", false),
        ("*/*", false),
        ("", false),
    ] {
        let response = refusal(&Stage::default(), with_headers(&[("accept", accept)]));
        let kind = header(response.headers(), "content-type").expect("a type").to_owned();
        let text = text_of(response.into_body());
        assert_eq!(kind == "application/json", json, "{accept}: {kind}");
        assert_eq!(text.starts_with("{\"reason\":\"queue_full\""), json, "{accept}: {text}");
        assert_eq!(text.contains("\"retry_after_ms\":10000"), json, "{accept}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_speaks_grpc_to_grpc() {
    let response =
        refusal(&Stage::default(), with_headers(&[("content-type", "application/grpc+proto")]));
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(header(headers, "grpc-status"), Some("8"), "RESOURCE_EXHAUSTED");
    assert_eq!(header(headers, "grpc-retry-pushback-ms"), Some("10000"));
    assert_eq!(header(headers, "content-type"), Some("application/grpc"));
    assert_eq!(header(headers, "x-refusal-reason"), Some("queue_full"));
    assert!(response.body().is_end_stream(), "a response of headers alone");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_could_do_harm_is_not_repeated() {
    let harmful = with_headers(&[("x-request-id", "\"},{\"admin\":\"")]);
    let first = refusal(&Stage::default(), harmful);
    let own = header(first.headers(), "x-request-id").expect("one of ours").to_owned();
    assert!(!own.contains('"'), "{own}");
}

#[tokio::test(start_paused = true)]
async fn ids_of_its_own_differ() {
    let (_, mut service, _holder) = taken(queue(1).max_waiting(0), &Stage::default());
    let mut ids: Vec<_> =
        (0..10).map(|_| call(&mut service, "/").done().headers()["x-request-id"].clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_the_programs_to_give() {
    let own = queue(1).max_waiting(0).refuse_with(|head, refusal| {
        let text = format!("{} {}", head.uri.path(), refusal.reason);
        let mut response = Response::new(text.into());
        *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
        response
    });
    let (_, mut service, _holder) = taken(own, &Stage::default());
    let response = call(&mut service, "/pot").done();
    assert_eq!(response.status(), 418);
    assert_eq!(text_of(response.into_body()), "/pot queue_full");
}

#[tokio::test(start_paused = true)]
async fn once_it_is_known_how_long_requests_take_nobody_waits_in_vain() {
    let stage = Stage::prompt();
    let layer = queue(1).max_wait(Duration::from_millis(2_500)).build().expect("valid");
    let mut service = layer.layer(stage.worker());
    // Sixty-four teach it: one in so many is timed.
    for _ in 0..64 {
        stage.answer_all(&[Step::Data("one"), Step::Data("two")]);
        let response = call(&mut service, "/").done();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(response);
    }
    assert_eq!(layer.counters().hold_time, Some(Duration::from_secs(1)));
    let _holder = call(&mut service, "/holder");
    let _second = call(&mut service, "/second");
    let _third = call(&mut service, "/third");
    let response = call(&mut service, "/fourth").done();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["x-refusal-reason"], "would_wait_too_long");
    // By 1.75 s the wait is down to half of the longest.
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(response.headers()["retry-after-ms"], "1750");
}
