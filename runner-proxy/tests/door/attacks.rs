//! Requests that mean one thing to us and might mean another behind us.
//!
//! Every case goes to two places: a service that says what it got, and, through a plain client of
//! hyper, an upstream that keeps the very bytes it received.

use super::bed::{Door, Raw, mirror, open};
use runner_proxy::answer::DoorFault;
use tower::service_fn;

async fn mirrored() -> Door {
    open(service_fn(mirror), |door| door).await
}

/// How many answers there are in what was heard, and the first's status.
fn answers(heard: &str) -> (usize, &str) {
    (heard.matches("HTTP/1.1 ").count(), heard.get(9..12).unwrap_or(""))
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_the_connection_closed() {
    let door = mirrored().await;
    let second = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for (what, head) in [
        ("lengths that disagree", "content-length: 5\r\ncontent-length: 6\r\n\r\nabcde"),
        ("a list of lengths", "content-length: 5, 6\r\n\r\nabcde"),
        ("a length with a sign", "content-length: +5\r\n\r\nabcde"),
        ("a negative length", "content-length: -5\r\n\r\nabcde"),
        ("a length in hexadecimal", "content-length: 0x5\r\n\r\nabcde"),
        ("an empty length", "content-length:\r\n\r\nabcde"),
        ("a length beyond all numbers", "content-length: 99999999999999999999\r\n\r\nabcde"),
        (
            "a coding that is not chunked at last",
            "transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        ),
        ("a coding that is none", "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("an empty coding", "transfer-encoding:\r\n\r\n0\r\n\r\n"),
        ("a coding with a control character", "transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
        ("a space before the colon", "transfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
        ("an obsolete fold", "x: a\r\n chunked\r\n\r\n"),
        ("a folded coding", "transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        ("a field without a colon", "x\r\n\r\n"),
        ("a field without a name", ": x\r\n\r\n"),
        ("a null in a field", "x: a\0b\r\n\r\n"),
        ("a bare carriage return", "x: a\rtransfer-encoding: chunked\r\n\r\n"),
        ("two hosts", "host: b\r\n\r\n"),
    ] {
        let asked = format!("POST / HTTP/1.1\r\nhost: a\r\n{head}{second}");
        let heard = Raw::ask(&door, asked).await;
        assert_eq!(answers(&heard), (1, "400"), "{what}: {heard}");
        assert!(!heard.contains("smuggled"), "{what}: {heard}");
    }
}

#[tokio::test]
async fn bad_chunks_end_the_body_in_an_error_and_the_connection_with_it() {
    let door = mirrored().await;
    for (what, body) in [
        ("no number", "x\r\nabc\r\n0\r\n\r\n"),
        ("a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("more than all memory", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("more than it says", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("less than it says", "5\r\nabc\r\n0\r\n\r\n"),
        ("a bare line feed after the size", "3\nabc\r\n0\r\n\r\n"),
        ("a bare line feed in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("a null in the size", "3\0\r\nabc\r\n0\r\n\r\n"),
    ] {
        let asked = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}\
             GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let heard = Raw::ask(&door, asked).await;
        assert!(heard.matches("HTTP/1.1 ").count() <= 1, "{what}: {heard}");
        assert!(!heard.contains("GET /smuggled"), "{what}: {heard}");
        assert!(
            heard.is_empty() || heard.contains("failed: the client left or sent"),
            "{what}: {heard}"
        );
    }
}

#[tokio::test]
async fn a_length_beside_a_coding_is_dropped_and_the_connection_closes_after_its_answer() {
    let door = mirrored().await;
    for head in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "content-length: 4\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n",
    ] {
        let asked = format!(
            "POST / HTTP/1.1\r\nhost: a\r\n{head}\r\n3\r\nabc\r\n0\r\n\r\n\
             GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let heard = Raw::ask(&door, asked).await;
        assert_eq!(answers(&heard), (1, "200"), "{heard}");
        assert!(heard.contains("connection: close\r\n"), "{heard}");
        assert!(heard.ends_with("\nabc") && !heard.contains("content-length: 4\n"), "{heard}");
    }
}

#[tokio::test]
async fn http_1_0_has_no_codings() {
    let door = mirrored().await;
    let heard = Raw::ask(
        &door,
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    .await;
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
}

#[tokio::test]
async fn what_hyper_reads_as_usual_is_listed_and_one_request_each() {
    let door = mirrored().await;
    // Bare line feeds, empty lines before the request line, space around a value.
    for asked in [
        "GET /one HTTP/1.1\nhost: a\nconnection: close\n\n",
        "\r\n\r\nGET /one HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /one HTTP/1.1\r\nhost: \t a \t\r\nconnection: close\r\n\r\n",
    ] {
        let heard = Raw::ask(&door, asked).await;
        assert_eq!(answers(&heard), (1, "200"), "{asked:?}: {heard}");
        assert!(heard.contains("GET /one\n") && heard.contains("\nhost: a\n"), "{heard}");
    }
}

#[tokio::test]
async fn a_tunnel_to_elsewhere_and_http_2_over_an_upgrade_are_not_to_be_had() {
    let door = mirrored().await;
    let heard = Raw::ask(&door, "CONNECT b:25 HTTP/1.1\r\nhost: b:25\r\n\r\nEHLO").await;
    assert_eq!(answers(&heard), (1, "405"), "{heard}");
    assert_eq!(door.handle.counters().answered(DoorFault::ConnectNotAllowed), 1);
    for upgrade in ["h2c", "websocket, H2C", "HTTP/2.0"] {
        let heard = Raw::ask(
            &door,
            format!(
                "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, upgrade, http2-settings\r\n\
                 upgrade: {upgrade}\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
            ),
        )
        .await;
        assert_eq!(answers(&heard), (1, "200"), "{heard}");
        assert!(!heard.contains("\nupgrade:") && !heard.contains("\nhttp2-settings:"), "{heard}");
    }
    let heard = Raw::ask(
        &door,
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n\r\n",
    )
    .await;
    assert!(heard.contains("\nupgrade: websocket\n"), "{heard}");
}

#[tokio::test]
async fn a_request_names_one_host() {
    let door = mirrored().await;
    for (line, fields, status) in [
        ("GET / HTTP/1.1", "", "400"),
        ("GET / HTTP/1.1", "host:\r\n", "400"),
        ("GET / HTTP/1.1", "host: a\r\nhost: a\r\n", "400"),
        ("GET http://a/ HTTP/1.1", "host: b\r\n", "400"),
        ("GET http://me:pw@a/ HTTP/1.1", "host: a\r\n", "400"),
        ("GET http://a/ HTTP/1.1", "host: a\r\n", "200"),
        ("GET / HTTP/1.1", "host: a\r\n", "200"),
    ] {
        let heard = Raw::ask(&door, format!("{line}\r\n{fields}connection: close\r\n\r\n")).await;
        assert_eq!(answers(&heard), (1, status), "{line} {fields}: {heard}");
    }
    let heard = Raw::ask(&door, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.0 200"), "HTTP/1.0 knows no hosts: {heard}");
}
