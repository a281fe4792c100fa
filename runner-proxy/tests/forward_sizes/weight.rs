//! What a connection and a request that waits weigh.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    bed::{Upstream, Wire},
    proxy::{Proxy, Setup, all_files},
    size,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const HOLD: &[u8] = b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n";

/// Answers all but what asks for `/hold`, which is never answered.
async fn answer_or_hold(mut wire: Wire) {
    while let Some(head) = wire.head().await {
        if head.starts_with("GET /hold ") {
            wire.rest().await;
            return;
        }
        wire.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
}

async fn asked(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\nok") {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "it ended");
    }
    stream
}

#[tokio::test]
async fn idle_connections_and_waiting_requests_weigh_little() {
    // Each is a file here and one in the proxy, and other tests have theirs beside it.
    let room = all_files() / 2;
    let clients = size("RUNNER_IDLE", 2_000).min(room.saturating_sub(WARM + 50)).max(100);
    println!("{clients} connections, of {room} that there may be");
    let upstream = Upstream::new(|wire, _| answer_or_hold(wire)).await;
    let mut proxy = Proxy::start(&Setup::before([upstream.address], 1));
    let mut warm = Vec::new();
    for _ in 0..WARM {
        warm.push(asked(&proxy).await);
    }
    let before = proxy.report().get("resident");
    let mut idle = Vec::new();
    for _ in 0..clients {
        idle.push(asked(&proxy).await);
    }
    let open = proxy.until("all are open", |report| report.get("open") == WARM + clients).await;
    // The one slot there is goes to the first, the others of the warm ones wait behind it.
    for stream in &mut warm {
        stream.write_all(HOLD).await.unwrap();
    }
    let held = proxy.until("the warm ones wait", |report| report.get("waiting") == WARM - 1).await;
    for stream in &mut idle {
        stream.write_all(GET).await.unwrap();
    }
    let all = WARM - 1 + clients;
    let waiting = proxy.until("all wait", |report| report.get("waiting") == all).await;
    let each = |after: u64, before: u64| after.saturating_sub(before) * 1024 / clients;
    let connection = each(open.get("resident"), before);
    let request = each(waiting.get("resident"), held.get("resident"));
    println!("resident: {connection} bytes for an idle connection, {request} more while it waits");
    assert!(connection <= 16 << 10, "{connection} bytes for an idle connection");
    assert!(request <= MOST_OF_A_WAIT, "{request} bytes for a request that waits");
}

/// Connections before the first measurement: what the first ones bring about is no part of it.
const WARM: u64 = 200;

/// Of this one KiB is ours. While it waits hyper listens for the client's departure, into a second
/// buffer of 8 KiB: the first belongs to the head that was read from it. Of the second a page is
/// resident, or two, until something comes.
const MOST_OF_A_WAIT: u64 = 10 << 10;
