//! Clients that are slow on purpose, and clients that never come to an end: memory stays flat.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{interval, timeout},
};

use crate::{
    bed::{Upstream, answer_ok},
    peers::instance,
    proxy::{LONG, Proxy, Report, Setup},
    size,
};

/// The heap grows a little less from each to the next, and no more after six.
const WAVES: u64 = 3;

/// How a client keeps on.
#[derive(Clone)]
struct Manner {
    opening: Vec<u8>,
    more: Vec<u8>,
    /// Nothing: as fast as it is read.
    every: Option<Duration>,
}

/// Keeps on until the door ends it; what it was told.
async fn keep_on(to: std::net::SocketAddr, manner: Manner) -> Vec<u8> {
    let (mut reads, mut writes) = TcpStream::connect(to).await.unwrap().into_split();
    let says = async {
        let mut written = writes.write_all(&manner.opening).await;
        let mut ticks = manner.every.map(interval);
        while written.is_ok() {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            written = writes.write_all(&manner.more).await;
        }
        // Who is not read any more still listens.
        std::future::pending::<()>().await;
    };
    let hears = async {
        let mut heard = Vec::new();
        // A reset is an end too; what came before it was heard.
        let _ = reads.read_to_end(&mut heard).await;
        heard
    };
    tokio::select! {
        () = says => unreachable!("it never ends"),
        heard = hears => heard,
    }
}

/// Waves of such clients, one after another; how many of them were told so, and the last report.
///
/// While they are there the path serves others, and what it holds for all of them together is
/// bounded by so many KiB for each.
async fn flood(
    proxy: &mut Proxy,
    clients: u64,
    manner: &Manner,
    words: &str,
    most_kib: u64,
) -> (u64, Report) {
    let good = b"GET /good HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let good = Manner { opening: good.to_vec(), more: Vec::new(), every: Some(LONG) };
    while !keep_on(proxy.address, good.clone()).await.starts_with(b"HTTP/1.1 200") {}
    let before = proxy.report();
    let (mut told, mut residents) = (0, Vec::new());
    for _ in 0..WAVES {
        let mut all = JoinSet::new();
        let came = proxy.report().get("accepted");
        for client in 1..=clients {
            all.spawn(keep_on(proxy.address, manner.clone()));
            // More at once than the system holds for a listener, it turns away by itself.
            if client % AT_ONCE == 0 {
                let all_came = |report: &Report| report.get("accepted") >= came + client;
                proxy.until("they are let in", all_came).await;
            }
        }
        let served = async {
            // On a busy machine it may be too slow for a strict door as well, and tries again.
            while !keep_on(proxy.address, good.clone()).await.starts_with(b"HTTP/1.1 200") {}
        };
        timeout(LONG, served).await.expect("others are served");
        while let Some(heard) = timeout(LONG, all.join_next()).await.expect("it is ended") {
            let heard = String::from_utf8_lossy(&heard.unwrap()).into_owned();
            told += u64::from(heard.contains(words));
        }
        let gone = proxy.until("all have gone", |report| report.get("open") == 0).await;
        residents.push(gone.get("resident"));
    }
    let after = proxy.until("all slots are free", |report| report.get("in_flight") == 0).await;
    let (peak, from) = (after.get("peak"), before.get("resident"));
    println!(
        "{WAVES} x {clients} clients: {from} KiB before, {peak} at most, {residents:?} after each; \
         {} KiB for each at once",
        peak.saturating_sub(from) / clients,
    );
    let most = from + clients * most_kib + SLACK_KIB;
    assert!(peak <= most, "{peak} KiB, more than {most}");
    (told, after)
}

#[tokio::test]
async fn heads_that_come_byte_by_byte_are_cut_off_and_memory_stays_flat() {
    let clients = size("RUNNER_FLOOD", 100);
    let upstream = Upstream::new(|wire, _| answer_ok(wire)).await;
    let setup = Setup { is_strict: true, ..Setup::before([upstream.address], 10) };
    let mut proxy = Proxy::start(&setup);
    let opening = b"GET / HTTP/1.1\r\nhost: a\r\nx: ".to_vec();
    let every = Some(Duration::from_millis(200));
    let manner = Manner { opening, more: b"y".to_vec(), every };
    // A connection takes 12 KiB, and the heap up to twice that once pieces of many lie in it.
    let (told, report) = flood(&mut proxy, clients, &manner, " 408 Request Timeout", 32).await;
    // Who on a busy machine did not come to say anything in time is left without a word.
    let cut = report.get("slow_heads") + report.get("idle_cut");
    assert!(cut >= WAVES * clients, "{cut} were cut off");
    assert!(told > 0 && upstream.accepted() <= 10, "{told} were told");
}

#[tokio::test]
async fn bodies_that_come_byte_by_byte_are_cut_off_and_memory_stays_flat() {
    // Each of them takes a connection to the instance too.
    let clients = size("RUNNER_FLOOD", 100) / 2;
    let answer = |request: Request<Incoming>| async move {
        // What breaks off is no news to it.
        let _ = request.into_body().collect().await;
        Response::new(Full::<bytes::Bytes>::from("ok"))
    };
    let (to, _instance) = instance(answer).await;
    let mut proxy = Proxy::start(&Setup { is_strict: true, ..Setup::before([to], 100_000) });
    let opening = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    let every = Some(Duration::from_millis(200));
    let manner = Manner { opening, more: b"y".to_vec(), every };
    let (told, report) = flood(&mut proxy, clients, &manner, "body_too_slow", 40).await;
    let cut = report.get("slow_bodies") + report.get("slow_heads") + report.get("idle_cut");
    assert!(cut >= WAVES * clients, "{cut} were cut off");
    assert!(told > 0, "somebody has heard it");
}

#[tokio::test]
async fn heads_without_an_end_are_refused_and_memory_stays_flat() {
    // As many would be a matter of how fast the machine writes.
    let clients = size("RUNNER_FLOOD", 100) / 4;
    let upstream = Upstream::new(|wire, _| answer_ok(wire)).await;
    let mut proxy = Proxy::start(&Setup::before([upstream.address], 10));
    let opening = b"GET / HTTP/1.1\r\nhost: a\r\n".to_vec();
    let field = format!("x: {}\r\n", "y".repeat(1_000));
    let manner = Manner { opening, more: field.into_bytes(), every: None };
    // A head may be 64 KiB, and the buffer that it grows in has twice that while it is moved.
    let (told, report) = flood(&mut proxy, clients, &manner, " 431 ", 192).await;
    assert_eq!(report.get("too_large"), WAVES * clients);
    assert!(told > 0 && upstream.accepted() <= 10, "{told} were told");
}

#[tokio::test]
async fn heads_of_http2_without_an_end_are_refused_and_memory_stays_flat() {
    let clients = size("RUNNER_FLOOD", 100) / 4;
    let upstream = Upstream::new(|wire, _| answer_ok(wire)).await;
    let mut proxy = Proxy::start(&Setup::before([upstream.address], 10));
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = size[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, stream]);
        frame.extend(payload);
        frame
    };
    // A field that is not kept, of a name and a value of a letter each: the most fields for a byte.
    let fields = b"\x00\x01x\x01y".repeat(3_000);
    let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    opening.extend(frame(4, 0, 0, b""));
    opening.extend(frame(1, 0, 1, b"\x82\x86\x84\x41\x01a"));
    let manner = Manner { opening, more: frame(9, 0, 1, &fields), every: None };
    // GOAWAY says so, to who still hears it.
    let (told, report) = flood(&mut proxy, clients, &manner, "too_many_continuations", 192).await;
    assert_eq!(report.get("broken"), WAVES * clients);
    assert!(told > 0, "somebody has heard it");
    assert!(report.get("accepted") > WAVES * clients, "all of them came in");
    assert!(upstream.accepted() <= 10);
}

/// Far below any system's backlog.
const AT_ONCE: u64 = 50;

/// What a process needs that has begun to work, however many clients there are.
const SLACK_KIB: u64 = 6 << 10;
