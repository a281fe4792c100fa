//! What is sent again, to whom, and what never is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use runner_core::id::RevisionNumber;
use runner_proxy::{
    exchange::ServedBy,
    forward::{Forward, Network, Replay},
};

use crate::bed::{Bed, Upstream, Wire, answer_ok, at, instance_id, snapshot, text};

fn request(method: Method, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri("/").header("host", "a");
    request.body(Full::from(body)).expect("a request")
}

/// Reads one request and closes, without a word.
async fn hang_up(mut wire: Wire) {
    wire.head().await;
}

/// Answers once and closes when the next request has come.
async fn answer_once(mut wire: Wire) {
    wire.head().await;
    wire.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    wire.head().await;
}

fn served_by(response: &http::Response<Bytes>) -> (u64, u32) {
    let served = response.extensions().get::<ServedBy>().expect("an instance answered");
    (served.instance.number, served.attempts)
}

#[tokio::test]
async fn what_no_instance_was_sent_goes_to_another_whatever_it_is() {
    let good = Upstream::new(|wire, _| answer_ok(wire)).await;
    let nobody = "127.0.0.1:1".parse().expect("an address");
    let instances = vec![at(1, nobody, 5), at(2, good.address, 5)];
    let bed = Bed::new(Forward::builder(Network::new()), instances);
    for _ in 0..4 {
        let response = bed.ask(request(Method::POST, "body")).await;
        assert_eq!((response.status(), served_by(&response).0), (StatusCode::OK, 2));
    }
    let counters = bed.forward.counters();
    assert!(counters.replays(Replay::Unreached) > 0);
    let of = |number| counters.instances[&instance_id(number)].outcomes;
    assert_eq!(of(1).connect_failures_in_a_row, counters.replays(Replay::Unreached));
    assert_eq!((of(2).requests, of(2).errors), (4, 0));
    assert_eq!(bed.in_flight(), 0);
}

#[tokio::test]
async fn an_idempotent_request_is_tried_elsewhere_and_another_is_not() {
    for (method, is_again) in [
        (Method::GET, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
    ] {
        let bad = Upstream::new(|wire, _| hang_up(wire)).await;
        let good = Upstream::new(|wire, _| answer_ok(wire)).await;
        let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, bad.address, 5)]);
        let both = || vec![at(1, bad.address, 5), at(2, good.address, 0)];
        // The first one is the only one with a slot until it has failed.
        bed.pool.apply(snapshot(both()));
        let asked = bed.ask(request(method.clone(), ""));
        let opened = async {
            // By the time that it is looked at, it may have been tried again there.
            bed.until(|_| bad.accepted() >= 1).await;
            bed.pool.apply(snapshot(vec![at(1, bad.address, 5), at(2, good.address, 5)]));
        };
        let (response, ()) = tokio::join!(asked, opened);
        let counters = bed.forward.counters();
        assert_eq!(bed.in_flight(), 0);
        if is_again {
            // Whether the second had a slot by then is a race that both may win.
            assert!(counters.replays(Replay::Unanswered) > 0, "{method}");
            continue;
        }
        assert_eq!(response.headers()["x-refusal-reason"], "closed_early", "{method}");
        assert_eq!((bad.accepted(), good.accepted()), (1, 0), "{method}");
        assert_eq!(counters.replays(Replay::Unanswered), 0, "{method}");
    }
}

#[tokio::test]
async fn a_small_body_in_hand_is_sent_again_as_it_was() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    let upstream = Upstream::new(move |mut wire: Wire, number| {
        let seen = Arc::clone(&seen);
        async move {
            let head = wire.head().await.expect("a head");
            let body = wire.take(9).await.expect("a body");
            seen.lock().expect("not poisoned").push((head, body));
            if number > 0 {
                wire.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 5)]);
    let response = bed.ask(request(Method::PUT, "some body")).await;
    assert_eq!((response.status(), served_by(&response)), (StatusCode::OK, (1, 2)));
    let bodies = bodies.lock().expect("not poisoned");
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0].1, b"some body");
}

#[tokio::test]
async fn a_large_body_is_not_kept_for_another_try() {
    let upstream = Upstream::new(|mut wire: Wire, _| async move {
        wire.take(70_000).await;
    })
    .await;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 5)]);
    let body = Bytes::from(vec![b'x'; 70_000]);
    let request = Request::put("/").body(Full::new(body)).expect("a request");
    let response = bed.ask(request).await;
    assert_eq!(response.headers()["x-refusal-reason"], "closed_early");
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_stale_connection_is_no_news_about_its_instance() {
    // Each connection answers once, reads the next request and closes.
    let upstream = Upstream::new(|wire, _| answer_once(wire)).await;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    for _ in 0..2 {
        let response = bed.ask(request(Method::GET, "")).await;
        assert_eq!((text(&response), served_by(&response)), ("ok", (1, 1)));
    }
    let counters = bed.forward.counters();
    assert_eq!(counters.replays(Replay::StaleConnection), 1);
    let outcomes = counters.instances[&instance_id(1)].outcomes;
    assert_eq!((outcomes.requests, outcomes.errors, upstream.accepted()), (2, 0, 2));
    // What is not idempotent was sent, and nobody knows what became of it.
    let response = bed.ask(request(Method::POST, "x")).await;
    assert_eq!(response.headers()["x-refusal-reason"], "closed_early");
    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test]
async fn the_revision_stays_the_same_unless_nothing_was_sent() {
    let bad = Upstream::new(|wire, _| hang_up(wire)).await;
    let green = Upstream::new(|wire, _| answer_ok(wire)).await;
    let instances = || {
        let mut of_green = at(3, green.address, 50);
        of_green.revision = RevisionNumber::new(2);
        vec![at(1, bad.address, 1), at(2, bad.address, 1), of_green]
    };
    let bed = Bed::new(Forward::builder(Network::new()), instances());
    // Blue's two instances are tried by turns; green, with all its free slots, is not asked.
    let mut seen = BTreeMap::new();
    for _ in 0..30 {
        let response = bed.ask(request(Method::GET, "")).await;
        match response.extensions().get::<ServedBy>() {
            Some(served) => assert_eq!((served.instance.number, served.attempts), (3, 1)),
            None => assert_eq!(response.headers()["x-refusal-reason"], "closed_early"),
        }
        *seen.entry(response.status()).or_insert(0) += 1;
    }
    assert!(bed.forward.counters().replays(Replay::Unanswered) > 0);
    assert!(seen.contains_key(&StatusCode::OK) && seen.contains_key(&StatusCode::BAD_GATEWAY));
}

#[tokio::test]
async fn who_comes_back_stands_at_the_head_of_the_queue_with_one_lease_at_a_time() {
    // The first connection is closed when told; all later ones answer with what they were asked.
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let closed = Arc::new(Mutex::new(Some(closed)));
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&paths);
    let upstream = Upstream::new(move |mut wire: Wire, _| {
        let (closed, seen) = (closed.lock().expect("not poisoned").take(), Arc::clone(&seen));
        async move {
            let head = wire.head().await.expect("a head");
            if let Some(closed) = closed {
                let _ = closed.await;
                return;
            }
            let path = head.split(' ').nth(1).expect("a path").to_owned();
            seen.lock().expect("not poisoned").push(path);
            wire.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        }
    })
    .await;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let get = |path: &str| Request::get(path).body(Full::default()).expect("a request");
    let first = tokio::spawn(bed.send(get("/first")));
    bed.until(|bed| bed.in_flight() == 1).await;
    let second = tokio::spawn(bed.send(get("/second")));
    bed.until(|bed| bed.pool.counters().waiting == 1).await;
    bed.until(|_| upstream.accepted() >= 1).await;
    close.send(()).expect("it waits");
    for asked in [first, second] {
        let Ok(response) = asked.await.expect("no panic");
        assert_eq!(response.status(), StatusCode::OK);
        drop(response);
    }
    // The slot went to who waited, and then to who came back before any newcomer.
    assert_eq!(*paths.lock().expect("not poisoned"), ["/second", "/first"]);
    let counters = bed.pool.counters();
    assert_eq!((counters.in_flight, counters.admitted(), counters.releases()), (0, 3, 3));
}

#[tokio::test]
async fn a_storm_is_not_made_worse() {
    let upstream = Upstream::new(|wire, _| hang_up(wire)).await;
    let bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 5)]);
    for _ in 0..100 {
        bed.ask(request(Method::GET, "")).await;
    }
    let counters = bed.forward.counters();
    let again = counters.replays(Replay::Unanswered);
    assert!((10..=30).contains(&again), "ten at first, and 20 of a hundred: {again}");
    assert!(counters.replays_over_budget > 0);
    assert_eq!(upstream.accepted() as u64, 100 + again);
    assert_eq!(bed.in_flight(), 0);
}
