//! The whole path: door, router, queue, forwarding, and an upstream that keeps what it received.

use std::{sync::Arc, time::Duration};

use runner_core::{
    address::Address,
    admission::{Instance, QueueSettings, Snapshot},
    id::{RevisionNumber, ServiceId},
};
use runner_proxy::{
    forward::{Forward, Network},
    pool::Pool,
    refusal_response,
    router::{Route, Router, Routes, Sticky},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
};
use tower::Layer;

use super::bed::{Door, Raw, open, until};

/// What the upstream received, on all connections.
#[expect(clippy::disallowed_types, reason = "guards what a test looks at")]
type Received = Arc<std::sync::Mutex<Vec<u8>>>;

struct Path {
    door: Door,
    pool: Pool,
    received: Received,
    /// How many requests the upstream may answer.
    answers: Arc<Semaphore>,
}

impl Path {
    fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }

    /// How many requests that is, as somebody reads them who trusts nobody.
    fn requests(&self) -> usize {
        self.received().matches(" HTTP/1.1\r\n").count()
    }
}

/// An upstream that reads whatever comes, and answers each time a request's head and body are
/// there, as long as it may: it knows them by what the test puts at their end.
async fn upstream(received: Received, ends: &'static str, answers: Arc<Semaphore>) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (received, answers) = (Arc::clone(&received), Arc::clone(&answers));
            tokio::spawn(async move {
                let (mut seen, mut room) = (Vec::new(), [0; 4096]);
                let mut answered = 0;
                while let Ok(size @ 1..) = stream.read(&mut room).await {
                    received.lock().unwrap().extend_from_slice(&room[..size]);
                    seen.extend_from_slice(&room[..size]);
                    let whole = String::from_utf8_lossy(&seen).matches(ends).count();
                    while answered < whole {
                        answered += 1;
                        answers.acquire().await.unwrap().forget();
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Address::from(address)
}

/// A path whose upstream answers as often as it is asked.
async fn path(cap: u32, ends: &'static str) -> Path {
    path_with(cap, ends, Semaphore::MAX_PERMITS).await
}

async fn path_with(cap: u32, ends: &'static str, answers: usize) -> Path {
    let (received, answers) = (Received::default(), Arc::new(Semaphore::new(answers)));
    let to = upstream(Arc::clone(&received), ends, Arc::clone(&answers)).await;
    let service = ServiceId::from_random(7);
    let mut snapshot = Snapshot::default();
    snapshot.instances =
        vec![Instance::new(service.instance(0x1f), to, RevisionNumber::FIRST, cap)];
    let sticky = Sticky::new(service, "at").unwrap();
    let ask = sticky.clone();
    let pool = Pool::with(
        QueueSettings::new(100, Duration::from_secs(10)),
        snapshot,
        move |head| ask.ask(head),
        |head, refusal| refusal_response(head, refusal, ""),
    );
    let (forward, connections) = Forward::builder(Network::new()).build();
    tokio::spawn(connections.run());
    let mut routes = Routes::new();
    let leased = sticky.layer().layer(pool.layer().layer(forward));
    routes.add(&Route::named("shop", "apps.example").unwrap(), "shop", leased).unwrap();
    let door = open(Router::new(routes), |door| door).await;
    Path { door, pool, received, answers }
}

const GET: &str = "GET /x HTTP/1.1\r\nhost: shop.apps.example\r\n\r\n";

#[tokio::test]
async fn a_request_goes_all_the_way_and_comes_back_with_its_cookie() {
    let path = path(2, "\r\n\r\n").await;
    let heard =
        Raw::ask(&path.door, GET.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("ok"), "{heard}");
    assert!(heard.contains("set-cookie: at=1f; Path=/; HttpOnly; SameSite=Lax\r\n"), "{heard}");
    let received = path.received();
    assert!(received.starts_with("GET /x HTTP/1.1\r\n"), "{received}");
    assert!(received.contains("x-forwarded-for: 127.0.0.1\r\n"), "{received}");
    let with = GET.replace("\r\n\r\n", "\r\nconnection: close\r\ncookie: at=1f\r\n\r\n");
    let heard = Raw::ask(&path.door, &with).await;
    assert!(!heard.contains("set-cookie"), "it is where it wants to be: {heard}");
    let heard = Raw::ask(&path.door, with.replace("shop.", "nobody.")).await;
    assert!(heard.starts_with("HTTP/1.1 404 Not Found\r\n"), "{heard}");
    assert!(heard.contains("x-request-id: ") && heard.contains("no_route"), "{heard}");
}

#[tokio::test]
async fn of_every_attack_the_instance_sees_one_request_with_framing_of_ours_or_none() {
    let path = path(8, "END").await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: shop.apps.example\r\n\r\nEND";
    for (head, body, passes) in [
        ("content-length: 3\r\ntransfer-encoding: chunked\r\n", "3\r\nEND\r\n0\r\n\r\n", true),
        ("transfer-encoding: chunked\r\ncontent-length: 3\r\n", "3\r\nEND\r\n0\r\n\r\n", true),
        ("transfer-encoding: chunked\r\n", "3;x=\"y\"\r\nEND\r\n0\r\n\r\n", true),
        ("Transfer-Encoding: CHUNKED\r\n", "03\r\nEND\r\n0\r\n\r\n", true),
        ("content-length: 3\r\ncontent-length: 3\r\n", "END", true),
        ("content-length: 3\n", "END", true),
        ("content-length: 3\r\nconnection: close, content-length\r\n", "END", true),
        ("content-length: 3\r\nconnection: close, host\r\n", "END", true),
        ("content-length: 3, 3\r\n", "END", false),
        ("content-length: 3\r\ncontent-length: 30\r\n", "END", false),
        ("content-length: 0\r\ntransfer-encoding: identity\r\n", "END", false),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            "3\r\nEND\r\n0\r\n\r\n",
            false,
        ),
        ("transfer-encoding: \x0bchunked\r\n", "3\r\nEND\r\n0\r\n\r\n", false),
        ("x: y\r\n\tz: fold\r\ncontent-length: 3\r\n", "END", false),
        ("x: y\rcontent-length: 3\r\n", "END", false),
        ("content-length : 3\r\n", "END", false),
        ("transfer-encoding: chunked\r\n", "3\nEND\r\n0\r\n\r\n", false),
    ] {
        path.received.lock().unwrap().clear();
        let mut raw = Raw::to(&path.door).await;
        // With two lengths, what stands behind the shorter must not be read as a request.
        let two = head.starts_with("content-length") && head.contains("transfer-encoding")
            || head.starts_with("transfer-encoding") && head.contains("content-length");
        let more = if two { smuggled } else { "" };
        raw.say(format!("POST /one HTTP/1.1\r\nhost: shop.apps.example\r\n{head}\r\n{body}{more}"))
            .await;
        if passes {
            let heard = if two { raw.hear_all().await } else { raw.hear_until("ok").await };
            assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
            let ours = path.received();
            assert_eq!(path.requests(), 1, "{head:?}: {ours}");
            let lengths = ours.to_ascii_lowercase().matches("\r\ncontent-length: 3\r\n").count();
            let chunks =
                ours.to_ascii_lowercase().matches("\r\ntransfer-encoding: chunked\r\n").count();
            assert_eq!(lengths + chunks, 1, "{head:?}: {ours}");
            assert_eq!(ours.matches("\r\nhost: shop.apps.example\r\n").count(), 1, "{ours}");
            assert!(!ours.contains("x=\"y\"") && !ours.contains("CHUNKED"), "{ours}");
        } else {
            let heard = raw.hear_all().await;
            assert!(!heard.contains("200 OK"), "{head:?}: {heard}");
            let ours = path.received();
            assert!(path.requests() <= 1, "{head:?}: {ours}");
            assert!(!ours.contains("END"), "{head:?}: {ours}");
        }
    }
}

#[tokio::test]
async fn fields_of_an_answer_cannot_be_made_by_a_request() {
    let path = path(8, "\r\n\r\n").await;
    for target in ["/%0d%0ax-made:%20up", "/?a=%0d%0aset-cookie:%20x"] {
        let heard = Raw::ask(
            &path.door,
            format!("GET {target} HTTP/1.1\r\nhost: nobody\r\nconnection: close\r\n\r\n"),
        )
        .await;
        assert!(!heard.contains("x-made") && !heard.contains("set-cookie"), "{heard}");
    }
    let heard = Raw::ask(&path.door, "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
}

#[tokio::test]
async fn who_leaves_the_queue_gives_up_the_place_and_is_never_sent() {
    let path = path_with(1, "\r\n\r\n", 0).await;
    let mut first = Raw::to(&path.door).await;
    first.say(GET).await;
    until("it is worked on", || path.requests() == 1).await;
    let mut leaves = Raw::to(&path.door).await;
    leaves.say(GET.replace("/x", "/left")).await;
    until("it waits", || path.pool.counters().waiting == 1).await;
    drop(leaves);
    until("it has left", || path.pool.counters().left() == 1).await;
    let mut last = Raw::to(&path.door).await;
    last.say(GET.replace("/x", "/last")).await;
    path.answers.add_permits(2);
    first.hear_until("ok").await;
    last.hear_until("ok").await;
    assert!(!path.received().contains("/left"));
    until("all slots are free", || path.pool.counters().in_flight == 0).await;
}

#[tokio::test]
async fn who_leaves_in_the_body_ends_the_request_and_frees_its_slot() {
    let path = path(1, "END").await;
    let mut raw = Raw::to(&path.door).await;
    raw.say("POST / HTTP/1.1\r\nhost: shop.apps.example\r\ncontent-length: 1000\r\n\r\nsome").await;
    until("it has begun", || path.received().contains("some")).await;
    assert_eq!(path.pool.counters().in_flight, 1);
    drop(raw);
    until("the slot is free", || path.pool.counters().in_flight == 0).await;
    let mut raw = Raw::to(&path.door).await;
    raw.say(
        "POST / HTTP/1.1\r\nhost: shop.apps.example\r\nconnection: close\r\n\
         content-length: 3\r\n\r\nEND",
    )
    .await;
    assert!(raw.hear_all().await.ends_with("ok"));
}

#[tokio::test]
async fn a_header_flood_does_not_reach_further_than_its_own_connection() {
    let path = path(8, "\r\n\r\n").await;
    let mut floods = Vec::new();
    for number in 0..20 {
        let mut raw = Raw::to(&path.door).await;
        floods.push(tokio::spawn(async move {
            let _ = raw.0.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await;
            let field = format!("x-{number}: {}\r\n", "y".repeat(1_000));
            let mut sent = 0_usize;
            // It has to end, since the door does not read on.
            while raw.0.write_all(field.as_bytes()).await.is_ok() {
                sent += field.len();
            }
            sent
        }));
    }
    for flood in floods {
        super::bed::within(flood).await.unwrap();
    }
    let counters = path.door.handle.counters();
    assert_eq!(counters.refused.too_large, 20, "{counters:?}");
    assert_eq!(path.requests(), 0);
    let heard =
        Raw::ask(&path.door, GET.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await;
    assert!(heard.ends_with("ok"), "{heard}");
}
