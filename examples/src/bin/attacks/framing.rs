//! Where a message ends: requests that one server takes for one and the next for two.

use crate::{
    app::Seen,
    requests::{Case, Expect, fine},
};

use Expect::{Broken, Once, Refused, RefusedOr};

/// A second request behind the first one's head and body, which nobody may answer.
const SMUGGLED: &str = "GET /TOKEN-smuggled HTTP/1.1\r\nhost: shop.localhost\r\n\r\n";

const BAD: Expect = Refused(&[400]);

fn post(name: &'static str, rest: impl AsRef<[u8]>, expect: Expect) -> Case {
    let head = b"POST /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\n";
    Case::new(name, [head, rest.as_ref(), SMUGGLED.as_bytes()].concat(), expect)
}

/// Without a second request: the head is one that might be read to its end in several ways.
fn alone(name: &'static str, bytes: impl Into<Vec<u8>>, expect: Expect) -> Case {
    Case::new(name, bytes, expect)
}

fn abc_in_chunks(seen: &Seen) -> Option<String> {
    let is_chunked = seen.head.only("transfer-encoding") == Some("chunked");
    let is_right = is_chunked && seen.head.all("content-length").count() == 0 && seen.body == "abc";
    (!is_right).then(|| "not three bytes in chunks".into())
}

fn abc(seen: &Seen) -> Option<String> {
    (seen.body != "abc").then(|| "not three bytes".into())
}

fn nothing(seen: &Seen) -> Option<String> {
    (!seen.body.is_empty()).then(|| "a body".into())
}

fn no_forged_trailer(seen: &Seen) -> Option<String> {
    let forged =
        ["host:", "content-length:", "transfer-encoding:", "x-forwarded-for:", "x-real-ip:"];
    let found = forged.iter().find(|name| seen.body.contains(&format!("trailer {name}")));
    let in_head =
        seen.head.all("x-real-ip").count() > 0 || seen.head.only("host") != Some("shop.localhost");
    match (found, in_head) {
        (Some(name), _) => Some(format!("a trailer {name}")),
        (None, true) => Some("a trailer has become a field".into()),
        (None, false) => None,
    }
}

fn keeps_what_is_needed(seen: &Seen) -> Option<String> {
    let kept = ["host", "content-length", "authorization", "x-forwarded-for", "x-request-id"];
    let lost = kept.iter().find(|name| seen.head.only(name).is_none())?;
    Some(format!("{lost} was removed because the client said so"))
}

fn one_at_a_time(seen: &Seen) -> Option<String> {
    (seen.body.len() != 2_000).then(|| format!("{} bytes", seen.body.len()))
}

fn no_other_http(seen: &Seen) -> Option<String> {
    let found =
        ["upgrade", "http2-settings"].into_iter().find(|name| seen.head.only(name).is_some());
    found.map(|name| format!("it was asked for another HTTP by {name}"))
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = lengths();
    cases.extend(codings());
    cases.extend(chunks());
    cases.extend(lines());
    cases
}

fn lengths() -> Vec<Case> {
    let mut cases = vec![
        post("lengths that disagree", "content-length: 5\r\ncontent-length: 6\r\n\r\nabcde", BAD),
        post(
            "lengths that agree",
            "content-length: 3\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
            RefusedOr(&[400], "shop", abc),
        ),
        post("a list of lengths", "content-length: 5, 6\r\n\r\nabcde", BAD),
        post(
            "a length in two spellings",
            "content-length: 3\r\nCONTENT-LENGTH: 03\r\nconnection: close\r\n\r\nabc",
            RefusedOr(&[400], "shop", abc),
        ),
    ];
    for (name, length) in [
        ("a length with a sign", "+5"),
        ("a negative length", "-5"),
        ("a length in hexadecimal", "0x5"),
        ("a length with a fraction", "5.0"),
        ("a length of two numbers", "5 6"),
        ("an empty length", ""),
        ("a length beyond all numbers", "99999999999999999999"),
        ("a length in other digits", "\u{0665}"),
    ] {
        cases.push(post(name, format!("content-length: {length}\r\n\r\nabcde"), BAD));
    }
    cases
}

fn codings() -> Vec<Case> {
    let chunked = "3\r\nabc\r\n0\r\n\r\n";
    let mut cases = vec![
        post(
            "a length, then a coding",
            format!("content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"),
            RefusedOr(&[400], "shop", abc_in_chunks),
        ),
        post(
            "a coding, then a length",
            format!("transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n{chunked}"),
            RefusedOr(&[400], "shop", abc_in_chunks),
        ),
        post(
            "a length beyond the last chunk",
            "content-length: 100\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            RefusedOr(&[400], "shop", abc_in_chunks),
        ),
        post(
            "a coding that one spells otherwise",
            format!("content-length: 4\r\nTransfer-Encoding:\tchunked \r\n\r\n{chunked}"),
            RefusedOr(&[400], "shop", abc_in_chunks),
        ),
        post(
            "a coding with an underline",
            "transfer_encoding: chunked\r\ncontent-length: 3\r\n\
             connection: close\r\n\r\nabc",
            Once("shop", abc),
        ),
    ];
    for (name, coding) in [
        ("a coding before which there is another", "transfer-encoding: gzip, chunked"),
        ("a coding behind which there is another", "transfer-encoding: chunked, gzip"),
        ("the coding that is none", "transfer-encoding: identity"),
        ("a coding that is almost one", "transfer-encoding: xchunked"),
        ("a coding with a parameter", "transfer-encoding: chunked;q=1"),
        ("a coding in quotes", "transfer-encoding: \"chunked\""),
        ("an empty coding", "transfer-encoding:"),
        ("two codings", "transfer-encoding: chunked\r\ntransfer-encoding: identity"),
        ("a coding with a control character", "transfer-encoding: \x0bchunked"),
        ("a space before the colon", "transfer-encoding : chunked"),
        ("a folded coding", "transfer-encoding:\r\n chunked"),
    ] {
        let rest = format!("{coding}\r\ncontent-length: 5\r\n\r\n0\r\n\r\n");
        cases.push(post(name, rest, Refused(&[400, 501])));
    }
    cases.push(alone(
        "a coding in HTTP/1.0",
        format!("POST /TOKEN HTTP/1.0\r\nhost: shop.localhost\r\ntransfer-encoding: chunked\r\n\r\n{chunked}{SMUGGLED}"),
        BAD,
    ));
    cases
}

fn chunks() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, body) in [
        ("a chunk of no number", "x\r\nabc\r\n0\r\n\r\n"),
        ("a chunk with a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a chunk with a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a chunk beyond all numbers", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("a chunk that is longer than it says", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("a chunk that is shorter than it says", "5\r\nabc\r\n0\r\n\r\n"),
        ("a bare line feed after a size", "3\nabc\r\n0\r\n\r\n"),
        ("a bare line feed in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("a bare return after a size", "3\rabc\r\n0\r\n\r\n"),
        ("a null in a size", "3\0\r\nabc\r\n0\r\n\r\n"),
        ("a bare line feed after a chunk", "3\r\nabc\n0\r\n\r\n"),
    ] {
        cases.push(post(name, format!("transfer-encoding: chunked\r\n\r\n{body}"), Broken));
    }
    let extended = format!("3;{}\r\nabc\r\n0\r\n\r\n", "extended".repeat(64 << 10));
    cases.push(post(
        "an extension of 512 KiB",
        format!("transfer-encoding: chunked\r\n\r\n{extended}"),
        Broken,
    ));
    let crumbs = "1\r\na\r\n".repeat(2_000);
    cases.push(alone(
        "two thousand chunks of a byte",
        format!(
            "POST /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\
                 transfer-encoding: chunked\r\n\r\n{crumbs}0\r\n\r\n"
        ),
        Once("shop", one_at_a_time),
    ));
    cases.push(alone(
        "fields in a trailer",
        "POST /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\nte: trailers\r\n\
         transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nhost: vault.localhost\r\n\
         content-length: 9\r\ntransfer-encoding: gzip\r\nx-forwarded-for: 6.6.6.6\r\n\
         x-real-ip: 6.6.6.6\r\n\r\n",
        RefusedOr(&[400], "shop", no_forged_trailer),
    ));
    let trailers = "x-more: of the same\r\n".repeat(50_000);
    cases.push(alone(
        "a megabyte of trailers",
        format!(
            "POST /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\
                 transfer-encoding: chunked\r\n\r\n0\r\n{trailers}\r\n"
        ),
        Broken,
    ));
    cases
}

fn lines() -> Vec<Case> {
    let get = |line: &str| format!("{line}\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n");
    let mut cases = vec![
        post("an obsolete fold", "x: a\r\n chunked\r\n\r\n", BAD),
        post("a field without a colon", "x\r\n\r\n", BAD),
        post("a field without a name", ": x\r\n\r\n", BAD),
        post("a name with a space", "x y: a\r\n\r\n", BAD),
        post("a name with a byte of another alphabet", b"x\xe9: a\r\n\r\n", BAD),
        post("a null in a field", "x: a\0b\r\n\r\n", BAD),
        post("a bare return in a field", "x: a\rtransfer-encoding: chunked\r\n\r\n", BAD),
        post("a first field that is folded", " x: a\r\n\r\n", BAD),
        alone(
            "bare line feeds",
            "POST /TOKEN HTTP/1.1\nhost: shop.localhost\nconnection: close\n\
               content-length: 3\n\nabc",
            RefusedOr(&[400], "shop", abc),
        ),
        alone(
            "a bare line feed that hides a length",
            "POST /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\n\
               x: a\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
            RefusedOr(&[400], "shop", abc),
        ),
        alone(
            "a GET with a body",
            "GET /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\
               content-length: 3\r\n\r\nabc",
            Once("shop", abc),
        ),
        alone(
            "fields that the client has removed",
            "POST /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\n\
               content-length: 3\r\nauthorization: a\r\nconnection: close, host, content-length, \
               authorization, x-forwarded-for, x-request-id\r\n\r\nabc",
            Once("shop", keeps_what_is_needed),
        ),
        alone(
            "HTTP/2 by an upgrade",
            "GET /TOKEN HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close, \
               upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
            Once("shop", no_other_http),
        ),
        alone(
            "a tunnel",
            format!(
                "CONNECT vault.localhost:80 HTTP/1.1\r\nhost: vault.localhost:80\r\n\r\n{SMUGGLED}"
            ),
            Refused(&[400, 405]),
        ),
        alone(
            "a method that is a word of its own",
            get("TOKEN-smug /TOKEN HTTP/1.1"),
            Once("shop", nothing),
        ),
    ];
    for (name, line) in [
        ("no version", "GET /TOKEN"),
        ("a version to come", "GET /TOKEN HTTP/1.2"),
        ("a version of two digits", "GET /TOKEN HTTP/1.10"),
        ("another protocol", "GET /TOKEN ICAP/1.0"),
        ("two spaces", "GET  /TOKEN HTTP/1.1"),
        ("a tab for a space", "GET\t/TOKEN\tHTTP/1.1"),
        ("four words", "GET /TOKEN HTTP/1.1 HTTP/1.1"),
        ("a null in the target", "GET /TOKEN\0 HTTP/1.1"),
        ("a return in the target", "GET /TOKEN\rx HTTP/1.1"),
        ("a space before the method", " GET /TOKEN HTTP/1.1"),
        ("a method in brackets", "(GET) /TOKEN HTTP/1.1"),
    ] {
        cases.push(alone(name, get(line), Refused(&[400, 505])));
    }
    cases.push(alone(
        "bytes of another alphabet in the target",
        [&b"GET /TOKEN\xe9\xff HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n"[..]]
            .concat(),
        RefusedOr(&[400], "shop", fine),
    ));
    cases
}
