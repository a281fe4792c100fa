//! The generator, against a server that answers as its paths say.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};

use super::*;

/// Counts the connections that were made to it.
async fn serve(listener: TcpListener, connections: Arc<AtomicU64>) -> Infallible {
    let mut tasks = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        connections.fetch_add(1, Ordering::Relaxed);
        let answers =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tasks.spawn(answers);
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, &'static str> {
    let mut response = Response::new(Full::from("v1\n"));
    match request.uri().path() {
        "/" => {}
        "/close" => {
            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        "/full" => {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            let reason = HeaderValue::from_static("queue_full");
            response.headers_mut().insert("x-refusal-reason", reason);
        }
        "/busy" => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
        "/host" => {
            let host = request.headers()["host"].as_bytes().to_owned();
            response = Response::new(Full::from(host));
        }
        "/hang" => std::future::pending().await,
        _ => return Err("this connection is closed without an answer"),
    }
    Ok(response)
}

/// A burst of four, and how many connections that took.
async fn burst(path: &str) -> (Tally, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = Target::new(listener.local_addr().expect("bound"), "shop.localhost", path);
    let limit = Duration::from_millis(if path == "/hang" { 50 } else { 10_000 });
    let (load, generator) = load(target.expect("sound").limit(limit));
    let connections = Arc::new(AtomicU64::new(0));
    let asked = async {
        load.expect(["v1"]);
        let tally = load.burst(4).await;
        let all = load.finish().await;
        assert_eq!((all.sent, all.to_string()), (4, tally.to_string()));
        tally
    };
    let tally = tokio::select! {
        (tally, ()) = async { tokio::join!(asked, generator.run()) } => tally,
        never = serve(listener, Arc::clone(&connections)) => match never {},
    };
    (tally, connections.load(Ordering::Relaxed))
}

#[tokio::test]
async fn each_request_is_counted_by_what_became_of_it() {
    for (path, said) in [
        ("/", "4 sent: 4 answered, 0 refused, 0 lost"),
        ("/close", "4 sent: 4 answered, 0 refused, 0 lost"),
        ("/full", "4 sent: 0 answered, 4 refused (429 queue_full), 0 lost"),
        ("/busy", "4 sent: 0 answered, 0 refused, 4 lost (4 x status 503)"),
        ("/drop", "4 sent: 0 answered, 0 refused, 4 lost (4 x connection broke)"),
        ("/hang", "4 sent: 0 answered, 0 refused, 4 lost (4 x no answer in time)"),
        (
            "/host",
            "4 sent: 0 answered, 0 refused, 4 lost (4 x an unexpected answer: \"shop.localhost\")",
        ),
    ] {
        assert_eq!(burst(path).await.0.to_string(), said, "{path}");
    }
}

#[tokio::test]
async fn a_burst_is_at_once() {
    assert_eq!(burst("/").await.1, 4, "none waited for another's connection");
}

#[tokio::test]
async fn nobody_listens() {
    // Bound, so that nobody else gets it, and never listened on.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = socket.local_addr().expect("bound");
    let (load, generator) = load(Target::new(address, "shop", "/").expect("sound"));
    let asked = async {
        let tally = load.burst(2).await;
        load.finish().await;
        tally
    };
    let (tally, ()) = tokio::join!(asked, generator.run());
    assert_eq!(tally.lost, BTreeMap::from([(Loss::Unconnected, 2)]));
}

#[tokio::test]
async fn a_rate_goes_on_until_it_is_ended_and_connections_are_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (load, generator) = load(Target::new(address, "shop", "/").expect("sound"));
    let connections = Arc::new(AtomicU64::new(0));
    let asked = async {
        load.expect(["v1"]);
        load.rate(1_000.0);
        load.counted(|tally| tally.answered() >= 100).await;
        load.rate(0.0);
        // Orders are taken one after the other: from here on none is sent by the rate.
        load.burst(0).await;
        load.counted(|tally| tally.under_way() == 0).await;
        // Now all connections are idle, and those that come next need no more of them.
        let before = connections.load(Ordering::Relaxed);
        for _ in 0..10 {
            load.burst(1).await;
        }
        assert_eq!(connections.load(Ordering::Relaxed), before);
        let tally = load.finish().await;
        assert_eq!((tally.answered(), tally.lost()), (tally.sent, 0), "{tally}");
        assert!(tally.waits.quantile(0.5) > Duration::ZERO);
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(asked, generator.run()) } => {}
        never = serve(listener, Arc::clone(&connections)) => match never {},
    }
}

#[tokio::test]
async fn what_is_expected_may_change_while_a_request_is_under_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (load, generator) = load(Target::new(address, "shop", "/").expect("sound"));
    let asked = async {
        for (before, after, lost) in [("v0", "v1", 0), ("v1", "v2", 0), ("v0", "v2", 1)] {
            load.expect([before]);
            let sent = load.tally().sent + 1;
            let under_way = load.burst(1);
            // It is accepted by this very task, which changes what is expected before that.
            let changed = async {
                load.counted(|tally| tally.sent == sent).await;
                load.expect([after]);
            };
            let (tally, ()) = tokio::join!(under_way, changed);
            assert_eq!(tally.lost(), lost, "{before} {after}: {tally}");
        }
        load.finish().await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(asked, generator.run()) } => {}
        never = serve(listener, Arc::default()) => match never {},
    }
}

#[test]
fn a_host_or_a_path_that_is_none_is_told_at_once() {
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    assert!(Target::new(address, "a\nb", "/").is_err());
    assert!(Target::new(address, "a", "not a path").is_err());
}
