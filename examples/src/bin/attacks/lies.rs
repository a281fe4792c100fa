//! What an instance says that lies, and what its clients are told.
//!
//! After each lie the next client of that instance asks, over a connection to it that the lie may
//! have spoilt, and has to get its own answer.

use std::time::Duration;

/// One lie.
pub(crate) struct Lie {
    /// What it is called in the path that asks for it.
    pub(crate) name: &'static str,
    /// How it is asked for.
    pub(crate) method: &'static str,
    pub(crate) says: &'static [u8],
    pub(crate) then: Then,
    pub(crate) told: Told,
}

/// What an instance does once it has said a lie.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// Waits for the next request.
    Stays,
    Ends,
    /// Goes on without end.
    Repeats {
        what: &'static [u8],
        pause: Duration,
    },
    /// Says nothing more for as long.
    Waits(Duration),
    /// Says something that nobody asked for, a little later.
    SaysLater(&'static [u8]),
}

/// What the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// That the instance failed: 502, or 504 where it took too long.
    Instead,
    /// A beginning, which nobody can take for the whole.
    Cut,
    /// One answer with this body, and no field called `x-of-this-connection`.
    Once(&'static str),
    /// A beginning, for as long as it is read.
    Endless,
}

const fn lie(name: &'static str, says: &'static [u8], then: Then, told: Told) -> Lie {
    Lie { name, method: "GET", says, then, told }
}

const fn for_ever(what: &'static [u8]) -> Then {
    Then::Repeats { what, pause: Duration::ZERO }
}

const fn dripping(what: &'static [u8]) -> Then {
    Then::Repeats { what, pause: Duration::from_millis(200) }
}

use Then::{Ends, SaysLater, Stays, Waits};
use Told::{Cut, Endless, Instead, Once};

pub(crate) const LIES: &[Lie] = &[
    // === lengths ===
    lie("too-short", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", Ends, Cut),
    lie(
        "too-long",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfourHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        Stays,
        Once("four"),
    ),
    lie(
        "two-answers",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\noneHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        Stays,
        Once("one"),
    ),
    lie(
        "answers-later-unasked",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none",
        SaysLater(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"),
        Once("one"),
    ),
    lie(
        "body-of-204",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\npoison",
        Stays,
        Once(""),
    ),
    lie(
        "body-of-304",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\npoison",
        Stays,
        Once(""),
    ),
    Lie {
        name: "body-of-head",
        method: "HEAD",
        says: b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        then: Stays,
        told: Once(""),
    },
    lie(
        "two-lengths",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 9\r\n\r\nonepoison",
        Stays,
        Instead,
    ),
    lie("list-of-lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 3, 9\r\n\r\nonepoison", Stays, Instead),
    lie("length-with-sign", b"HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\none", Stays, Instead),
    lie("negative-length", b"HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\none", Stays, Instead),
    lie(
        "length-beyond-numbers",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\none",
        Stays,
        Instead,
    ),
    lie(
        "length-beside-coding",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        Stays,
        Once("one"),
    ),
    lie(
        "unknown-coding",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        Stays,
        Instead,
    ),
    // === chunks ===
    lie(
        "chunk-of-no-number",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\none\r\n0\r\n\r\n",
        Stays,
        Cut,
    ),
    lie(
        "chunk-beyond-numbers",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\none\r\n0\r\n\r\n",
        Stays,
        Cut,
    ),
    lie(
        "chunk-longer-than-it-says",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nonepoison\r\n0\r\n\r\n",
        Stays,
        Cut,
    ),
    lie(
        "no-last-chunk",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
        Ends,
        Cut,
    ),
    lie(
        "endless-chunk-extension",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
        for_ever(b"extended"),
        Cut,
    ),
    lie(
        "endless-trailers",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        for_ever(b"x-more: of the same\r\n"),
        Cut,
    ),
    lie(
        "endless-body",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        for_ever(b"10\r\n0123456789abcdef\r\n"),
        Endless,
    ),
    // === heads ===
    lie("endless-fields", b"HTTP/1.1 200 OK\r\n", for_ever(b"x-more: of the same\r\n"), Instead),
    lie("endless-field", b"HTTP/1.1 200 OK\r\nx-more: ", for_ever(b"of the same "), Instead),
    lie("endless-status", b"HTTP/1.1 200 ", for_ever(b"of the same "), Instead),
    lie("endless-continue", b"", for_ever(b"HTTP/1.1 100 Continue\r\n\r\n"), Instead),
    lie("dripping-continue", b"", dripping(b"HTTP/1.1 100 Continue\r\n\r\n"), Instead),
    lie(
        "endless-hints",
        b"",
        for_ever(b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"),
        Instead,
    ),
    lie("dripping-head", b"HTTP/1.1 200 OK\r\nx-more: ", dripping(b"a"), Instead),
    lie("no-answer", b"", Waits(Duration::from_secs(60)), Instead),
    lie("early-close", b"", Ends, Instead),
    lie("half-a-head", b"HTTP/1.1 200 OK\r\ncontent-le", Ends, Instead),
    lie("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Ends, Instead),
    lie("http-2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80", Ends, Instead),
    lie("http-0.9", b"<html>hello</html>\r\n\r\n", Ends, Instead),
    lie("ssh", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Ends, Instead),
    lie("status-of-two-digits", b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n", Stays, Instead),
    lie("status-of-four-digits", b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n", Stays, Instead),
    lie("status-of-letters", b"HTTP/1.1 2OO OK\r\ncontent-length: 0\r\n\r\n", Stays, Instead),
    lie(
        "unasked-upgrade",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\npoison",
        Stays,
        Instead,
    ),
    // === splitting ===
    lie(
        "bare-return",
        b"HTTP/1.1 200 OK\r\nx: a\rset-cookie: poison=1\r\ncontent-length: 3\r\n\r\none",
        Stays,
        Instead,
    ),
    lie("null-in-a-field", b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 3\r\n\r\none", Stays, Instead),
    lie(
        "folded-field",
        b"HTTP/1.1 200 OK\r\nx: a\r\n set-cookie: poison=1\r\ncontent-length: 3\r\n\r\none",
        Stays,
        Instead,
    ),
    lie(
        "space-before-colon",
        b"HTTP/1.1 200 OK\r\ncontent-length : 9\r\ncontent-length: 3\r\n\r\nonepoison",
        Stays,
        Instead,
    ),
    lie("field-without-colon", b"HTTP/1.1 200 OK\r\nx\r\ncontent-length: 3\r\n\r\none", Stays, Instead),
    lie(
        "nominated-field",
        b"HTTP/1.1 200 OK\r\nconnection: x-of-this-connection\r\nx-of-this-connection: poison\r\n\
          content-length: 3\r\n\r\none",
        Stays,
        Once("one"),
    ),
    lie(
        "nominated-length",
        b"HTTP/1.1 200 OK\r\nconnection: content-length\r\ncontent-length: 3\r\n\r\nonepoison",
        Stays,
        Once("one"),
    ),
];
