//! What is tested of time in memory, once more over real sockets.
//!
//! Clients are threads that block, and while one does paused time stands still, however slow the
//! machine is: what a client says has arrived before any time goes by. Then time is moved on until
//! what is waited for has happened, so no limit is raced with and none is long.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    num::NonZeroU32,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use runner_proxy::front_door::{
    Drain, Drained, FrontDoorBuilder, FrontDoorHandle, Limits, Rate, RequestBody,
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::advance};
use tower::service_fn;

use super::bed::{self, Door, PATIENCE, mirror, text};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A client that has said this, which the door has read.
async fn said(door: &Door, words: impl AsRef<[u8]>) -> TcpStream {
    let (address, handle) = (door.address, door.handle.clone());
    let words = words.as_ref().to_vec();
    spawn_blocking(move || say(address, &handle, &words)).await.unwrap()
}

fn say(address: SocketAddr, handle: &FrontDoorHandle, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(words).unwrap();
    let size = words.len() as u64;
    while handle.counters().received < size {
        std::thread::yield_now();
    }
    stream
}

/// All that the door still says to it, while time goes by.
async fn hears(mut stream: TcpStream) -> Vec<u8> {
    let client = spawn_blocking(move || {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("it ends well");
        heard
    });
    until(|| client.is_finished()).await;
    client.await.unwrap()
}

/// Moves time on until it is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        advance(Duration::from_millis(50)).await;
    }
}

fn limited(change: impl FnOnce(&mut Limits)) -> impl FnOnce(Limits) -> Limits {
    move |mut limits| {
        change(&mut limits);
        limits
    }
}

async fn mirrored(change: impl FnOnce(&mut Limits)) -> Door {
    bed::open(service_fn(mirror), |door| door.limits(limited(change)(Limits::default()))).await
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_answered_with_408() {
    let door = mirrored(|limits| limits.head = Duration::from_secs(1)).await;
    let heard = hears(said(&door, &GET[..20]).await).await;
    assert!(heard.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&heard));
    assert_eq!(door.handle.counters().timeouts.head, 1);
}

#[tokio::test(start_paused = true)]
async fn who_asks_no_more_is_left_without_a_word() {
    let door = mirrored(|limits| limits.idle = Duration::from_secs(1)).await;
    let heard = String::from_utf8(hears(said(&door, GET).await).await).unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.ends_with("host: a\n\n"), "{heard}");
    assert_eq!(door.handle.counters().timeouts.idle, 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_turns_out_too_large_is_answered_with_413() {
    let door = mirrored(|limits| limits.body_bytes = Some(10)).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let heard = hears(said(&door, format!("{head}20\r\n{}\r\n", "x".repeat(32))).await).await;
    assert!(heard.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&heard));
}

#[tokio::test(start_paused = true)]
async fn who_has_closed_its_half_is_answered_where_that_was_said_and_gone_elsewhere() {
    static GATE: Semaphore = Semaphore::const_new(0);
    let gated = service_fn(async |_: Request<RequestBody>| {
        GATE.acquire().await.unwrap().forget();
        Ok::<_, Infallible>(text("answered"))
    });
    let opened = |door: FrontDoorBuilder<_>| door.half_closed_clients();
    let door = bed::open(gated, opened).await;
    let stream = said(&door, GET).await;
    stream.shutdown(Shutdown::Write).unwrap();
    GATE.add_permits(1);
    assert!(hears(stream).await.ends_with(b"answered"));
    let unlimited = limited(|limits| limits.total = None)(Limits::default());
    let door = bed::open(gated, |door| door.limits(unlimited)).await;
    let stream = said(&door, GET).await;
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(hears(stream).await, b"", "nobody opens the gate, and it ends all the same");
    assert_eq!(door.handle.counters().refused.left, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http_2_is_told_to_go() {
    let mut door = mirrored(|_| {}).await;
    let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let stream = said(&door, settings).await;
    door.handle.drain(Drain::within(Duration::from_secs(5)));
    let heard = hears(stream).await;
    let (mut kinds, mut rest) = (Vec::new(), &heard[..]);
    while let [a, b, c, kind, ..] = *rest {
        kinds.push(kind);
        rest = &rest[9 + u32::from_be_bytes([0, a, b, c]) as usize..];
    }
    assert!(kinds.contains(&7), "no GOAWAY among the frames {kinds:?}");
    let running = std::mem::replace(&mut door.running, tokio::spawn(async { Drained::default() }));
    until(|| running.is_finished()).await;
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_its_answer_is_cut_off() {
    // More than any two sockets hold between them.
    let large = service_fn(async |_: Request<RequestBody>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; 64 << 20]))))
    });
    let door = bed::open(large, |door| {
        let rate = Rate::new(NonZeroU32::MIN, Duration::from_secs(1));
        door.limits(limited(|limits| limits.rate = Some(rate))(Limits::default()))
    })
    .await;
    let stream = said(&door, GET).await;
    until(|| door.handle.counters().timeouts.reader == 1).await;
    until(|| door.handle.counters().open == 0).await;
    drop(stream);
}
