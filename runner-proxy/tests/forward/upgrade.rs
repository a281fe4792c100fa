//! Connections that become another protocol's.

use std::time::Duration;

use runner_proxy::forward::{Forward, Network, TimeLimits};

use crate::bed::{Bed, Upstream, Wire, at};

const ASK: &str = "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";

/// Upgrades, sends back what it gets until the client is done, and says goodbye.
async fn echo(mut wire: Wire) {
    let head = wire.head().await.expect("a head");
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-key: x\r\n"), "{head}");
    wire.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello ")
        .await;
    while let Some(byte) = wire.take(1).await {
        wire.say(std::str::from_utf8(&byte).expect("text")).await;
    }
    wire.say("bye").await;
}

#[tokio::test]
async fn an_upgraded_connection_holds_its_slot_to_the_end_of_both_halves() {
    let upstream = Upstream::new(|wire, _| echo(wire)).await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let mut client = Wire::to(bed.listen().await).await;
    client.say(ASK).await;
    let head = client.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("connection: upgrade\r\nupgrade: websocket\r\n"), "{head}");
    client.until(b"hello ").await.expect("what came with the head");
    client.say("abc").await;
    client.until(b"abc").await.expect("the echo");
    let counters = bed.forward.counters();
    assert_eq!((bed.in_flight(), counters.upgraded, counters.upgraded_now), (1, 1, 1));
    // Half closed: the instance still has something to say.
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.expect("closed");
    assert_eq!(client.rest().await, "bye");
    bed.until(|bed| bed.in_flight() == 0).await;
    let counters = bed.forward.counters();
    assert_eq!((counters.upgraded, counters.upgraded_now), (1, 0));
}

#[tokio::test]
async fn an_instance_may_answer_instead() {
    let upstream = Upstream::new(|mut wire, _| async move {
        wire.head().await;
        wire.say("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
        wire.rest().await;
    })
    .await;
    let mut bed = Bed::new(Forward::builder(Network::new()), vec![at(1, upstream.address, 1)]);
    let mut client = Wire::to(bed.listen().await).await;
    client.say(ASK).await;
    let answer = client.until(b"\r\n\r\nno").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    bed.until(|bed| bed.in_flight() == 0).await;
}

#[tokio::test]
async fn a_tunnel_that_nobody_speaks_in_is_closed() {
    let upstream = Upstream::new(|wire, _| echo(wire)).await;
    let mut limits = TimeLimits::default();
    limits.upgraded_idle = Some(Duration::from_millis(80));
    let builder = Forward::builder(Network::new()).limits(limits);
    let mut bed = Bed::new(builder, vec![at(1, upstream.address, 1)]);
    let mut client = Wire::to(bed.listen().await).await;
    client.say(ASK).await;
    client.until(b"hello ").await.expect("it is open");
    assert_eq!(client.rest().await, "", "closed without another word");
    bed.until(|bed| bed.in_flight() == 0).await;
}

#[tokio::test]
async fn a_tunnel_by_connect_is_passed_on_where_that_is_allowed() {
    let upstream = Upstream::new(|mut wire, _| async move {
        let head = wire.head().await.expect("a head");
        assert!(head.starts_with("CONNECT example.org:443 HTTP/1.1\r\n"), "{head}");
        wire.say("HTTP/1.1 200 OK\r\n\r\n").await;
        let word = wire.take(4).await.expect("a word");
        wire.say(std::str::from_utf8(&word).expect("text")).await;
    })
    .await;
    let builder = Forward::builder(Network::new()).allow_connect(true);
    let mut bed = Bed::new(builder, vec![at(1, upstream.address, 1)]);
    let mut client = Wire::to(bed.listen().await).await;
    client.say("CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n").await;
    assert!(client.head().await.expect("a head").starts_with("HTTP/1.1 200"));
    client.say("ping").await;
    assert_eq!(client.rest().await, "ping");
    assert_eq!(bed.in_flight(), 1, "the client may still speak");
    drop(client);
    bed.until(|bed| bed.in_flight() == 0).await;
}
