//! A body of any size passes both ways in the same memory.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use runner_core::spec::Protocol;
use tokio::task::JoinSet;

use crate::{
    peers::{Client, instance},
    proxy::{LONG, Proxy, Setup},
    size,
};

const PIECE: u64 = 64 << 10;

/// The piece of a number has that number in each byte.
fn piece(number: u64) -> Bytes {
    Bytes::from(vec![number as u8; PIECE as usize])
}

/// So many pieces, with or without a word on how many.
struct Pieces {
    sent: u64,
    all: u64,
    is_sized: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.sent;
        self.sent += u64::from(next < self.all);
        Poll::Ready((next < self.all).then(|| Ok(Frame::data(piece(next)))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_sized {
            true => SizeHint::with_exact((self.all - self.sent) * PIECE),
            false => SizeHint::default(),
        }
    }
}

/// Sends so much and hears it all again, while it is sent.
async fn echo(client: &mut Client<Pieces>, all: u64, is_sized: bool) {
    let body = Pieces { sent: 0, all, is_sized };
    let response = client.send(Request::post("http://a/").body(body).unwrap()).await;
    assert_eq!(response.status(), 200);
    let mut body = pin!(response.into_body());
    let mut heard = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min((PIECE - heard % PIECE) as usize));
            assert!(now == &piece(heard / PIECE)[..now.len()], "other bytes at {heard}");
            heard += now.len() as u64;
            rest = later;
        }
    }
    assert_eq!(heard, all * PIECE);
}

#[tokio::test]
async fn a_large_body_passes_both_ways_in_constant_memory() {
    let pieces = (size("RUNNER_BODY_MIB", 24) << 20) / PIECE;
    for (is_two, is_sized, protocol) in [
        (false, true, Protocol::Http1),
        (false, false, Protocol::Http1),
        (true, false, Protocol::Http1),
        (true, true, Protocol::H2c),
    ] {
        let answer = |request: Request<Incoming>| async { Response::new(request.into_body()) };
        let (to, _instance) = instance(answer).await;
        let mut proxy = Proxy::start(&Setup { protocol, ..Setup::before([to], 1) });
        let mut tasks = JoinSet::new();
        let mut client = match is_two {
            false => Client::of_http1(proxy.address, &mut tasks).await,
            true => Client::of_http2(proxy.address, &mut tasks).await,
        };
        echo(&mut client, 16, is_sized).await;
        let before = proxy.report().get("peak");
        tokio::time::timeout(LONG, echo(&mut client, pieces, is_sized)).await.expect("it ends");
        let after = proxy.report().get("peak");
        let from = if is_two { "HTTP/2" } else { "HTTP/1.1" };
        let framing = if is_sized { "sized" } else { "without a size" };
        let grown = after.saturating_sub(before);
        println!("{from}, {framing}, to {protocol:?}: {before} KiB, at most {grown} KiB more");
        assert!(grown <= MOST_KIB, "grown by {grown} KiB");
    }
}

/// What may be on its way: a mebibyte that the door lets a client send, two that the instance may,
/// and as much again in buffers on both sides.
const MOST_KIB: u64 = 12 << 10;
