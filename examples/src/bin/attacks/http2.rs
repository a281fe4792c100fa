//! HTTP/2 frame by frame: what a head may say there that a head of HTTP/1.1 cannot, and floods of
//! frames that cost a client nothing.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    bed::{Bed, PATIENCE},
    requests::{harmless, summary, with_token},
    rows::{Row, Verdict},
    wire::latin1,
};

const GROUP: &str = "HTTP/2";

/// What is sent behind the preface, and what has to become of it.
struct Case {
    name: &'static str,
    frames: Vec<u8>,
    expect: Expect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// An instance of `shop` sees it once and answers it.
    Served,
    /// No instance sees it, or none takes it for whole.
    Unseen,
    /// The one or the other.
    Either,
    /// As [`Unseen`](Self::Unseen), and the connection ends.
    Ended,
    /// The connection ends, whatever came of what was sent before.
    Over,
    /// Nothing but that all of it is read.
    Survived,
}

/// All of them.
pub(crate) async fn attempts(bed: &Bed, is_short: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for case in heads().into_iter().chain(bodies()).chain(frames(is_short)) {
        let row = case.attempt(bed).await;
        println!("{}", row.line());
        rows.push(row);
    }
    rows
}

impl Case {
    async fn attempt(self, bed: &Bed) -> Row {
        let token = bed.token();
        let frames = with_token(&self.frames, &token);
        let heard = say(bed, &frames, self.expect).await;
        bed.note(&heard.bytes);
        let seen = bed.seen(&token);
        let answer = format!("shop /{token}");
        let is_answered = latin1(&heard.bytes).contains(&answer);
        let served = || {
            let is_right =
                is_answered && seen.len() == 1 && seen[0].service == "shop" && !seen[0].is_cut;
            Verdict::held_if(is_right, "not answered by its service, once")
        };
        let unseen = || {
            let is_right = !is_answered && seen.iter().all(|one| one.is_cut);
            Verdict::held_if(is_right, "an instance took it for whole")
        };
        let closed = || Verdict::held_if(heard.is_closed, "the connection goes on");
        let verdict = harmless(&seen).and(|| match self.expect {
            Expect::Unseen => unseen(),
            Expect::Either if seen.is_empty() => unseen(),
            Expect::Served | Expect::Either => served(),
            Expect::Ended => unseen().and(closed),
            Expect::Over => closed(),
            Expect::Survived => {
                let is_well = heard.is_closed || heard.is_read();
                Verdict::held_if(is_well, "neither read nor ended")
            }
        });
        Row {
            group: GROUP,
            name: self.name.into(),
            sent: format!("{} bytes {}", frames.len(), latin1(&frames[..frames.len().min(80)])),
            heard: heard.summary(),
            seen: summary(&seen),
            verdict,
        }
    }
}

/// All that came back.
struct Heard {
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Heard {
    /// Kind and flags of each frame.
    fn frames(&self) -> Vec<(u8, u8)> {
        let mut frames = Vec::new();
        let mut rest = &self.bytes[..];
        while let [a, b, c, kind, flags, _, _, _, _, after @ ..] = rest {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            let Some(next) = after.get(length..) else { break };
            frames.push((*kind, *flags));
            rest = next;
        }
        frames
    }

    /// Whether all that was sent was read, as the answer to the last ping says.
    fn is_read(&self) -> bool {
        self.bytes.windows(8).any(|part| part == LAST)
    }

    /// Whether a request was answered to the end, or turned away.
    fn is_decided(&self) -> bool {
        self.frames().iter().any(|(kind, flags)| match *kind {
            RST_STREAM | GOAWAY => true,
            DATA | HEADERS => flags & END_STREAM != 0,
            _ => false,
        })
    }

    /// Kinds of frames, in order, each said once in a row.
    fn summary(&self) -> String {
        let mut kinds: Vec<&str> = Vec::new();
        for (kind, _) in self.frames() {
            let known = KINDS.get(usize::from(kind)).copied().unwrap_or("another");
            if kinds.last() != Some(&known) && kinds.len() < 12 {
                kinds.push(known);
            }
        }
        kinds.push(if self.is_closed { "closed" } else { "open" });
        kinds.join(" ")
    }
}

/// Says it all, and hears until there is nothing more to expect. The last frame is a ping: once it
/// is answered, all before it was read; an answer to a request comes in its own time.
async fn say(bed: &Bed, frames: &[u8], expect: Expect) -> Heard {
    let mut heard = Heard { bytes: Vec::new(), is_closed: false };
    let Ok(mut stream) = bed.connect().await else { return heard };
    let (mut read, mut write) = stream.split();
    let saying = async {
        for part in [PREFACE, &frame(SETTINGS, 0, 0, &[]), frames, &frame(PING, 0, 0, LAST)] {
            if write.write_all(part).await.is_err() {
                break;
            }
        }
        std::future::pending::<std::convert::Infallible>().await
    };
    let hearing = async {
        loop {
            let is_over = match expect {
                Expect::Ended | Expect::Over => false,
                Expect::Survived => heard.is_read(),
                Expect::Served | Expect::Unseen | Expect::Either => {
                    heard.is_read() && heard.is_decided()
                }
            };
            let patience = if is_over { QUIET } else { PATIENCE };
            match timeout(patience, read.read_buf(&mut heard.bytes)).await {
                Ok(Ok(0) | Err(_)) => {
                    heard.is_closed = true;
                    break;
                }
                Ok(Ok(_)) => {}
                Err(_) => break,
            }
        }
    };
    tokio::select! {
        () = hearing => {}
        never = saying => match never {},
    }
    heard
}

fn heads() -> Vec<Case> {
    let case = |name, frames: Vec<u8>, expect| Case { name, frames, expect };
    let with = |name: &str, value: &[u8]| request(&[USUAL.to_vec(), vec![(name, value)]].concat());
    let other = |name: &str, value: &'static [u8]| {
        let fields: Vec<_> = USUAL
            .iter()
            .map(|field| if field.0 == name { (field.0, value) } else { *field })
            .collect();
        request(&fields)
    };
    let without = |name: &str| {
        let fields: Vec<_> = USUAL.iter().filter(|field| field.0 != name).copied().collect();
        request(&fields)
    };
    vec![
        case("a request like any other", request(USUAL), Expect::Served),
        case("an end of a line in a value", with("x", b"a\r\nx-smuggled: 1"), Expect::Unseen),
        case("half an end of a line in a value", with("x", b"a\nx-smuggled: 1"), Expect::Unseen),
        case("a return in a value", with("x", b"a\rx-smuggled: 1"), Expect::Unseen),
        case("a null in a value", with("x", b"a\0b"), Expect::Unseen),
        case("a colon in a name", with("x: smuggled\r\ny", b"a"), Expect::Unseen),
        case("a space in a name", with("x y", b"a"), Expect::Unseen),
        case("capitals in a name", with("X-A", b"a"), Expect::Unseen),
        case("an empty name", with("", b"a"), Expect::Unseen),
        case("a coding", with("transfer-encoding", b"chunked"), Expect::Unseen),
        case("what belongs to a connection", with("connection", b"keep-alive"), Expect::Unseen),
        case("an upgrade", with("upgrade", b"h2c"), Expect::Unseen),
        case("a host beside the authority", with("host", b"shop.localhost"), Expect::Either),
        case("another host than the authority", with("host", b"vault.localhost"), Expect::Unseen),
        case("a pseudo-field behind the others", with(":path", b"/vault"), Expect::Unseen),
        case("a pseudo-field that is none", with(":smuggled", b"a"), Expect::Unseen),
        case(
            "a second request in the path",
            other(":path", b"/TOKEN HTTP/1.1\r\nhost: shop.localhost\r\n\r\nGET /TOKEN-smuggled"),
            Expect::Unseen,
        ),
        case("a space in the path", other(":path", b"/TOKEN smuggled"), Expect::Unseen),
        case("an empty path", other(":path", b""), Expect::Unseen),
        case("a path without a slash", other(":path", b"TOKEN"), Expect::Either),
        case("a way up in the path", other(":path", b"/x/../vault/TOKEN"), Expect::Unseen),
        case(
            "a second request in the method",
            other(":method", b"GET /TOKEN-smuggled HTTP/1.1\r\n\r\nGET"),
            Expect::Unseen,
        ),
        case("a space in the method", other(":method", b"GET /TOKEN-smuggled"), Expect::Unseen),
        case(
            "an end of a line in the authority",
            other(":authority", b"shop.localhost\r\nx-smuggled: 1"),
            Expect::Unseen,
        ),
        case(
            "a password in the authority",
            other(":authority", b"a@shop.localhost"),
            Expect::Unseen,
        ),
        case(
            "a path in the authority",
            other(":authority", b"shop.localhost/vault"),
            Expect::Unseen,
        ),
        case(
            "a scheme that is a request",
            other(":scheme", b"http://vault.localhost/?"),
            Expect::Unseen,
        ),
        case("no method", without(":method"), Expect::Unseen),
        case("no path", without(":path"), Expect::Unseen),
        case("no authority", without(":authority"), Expect::Unseen),
        case("a tunnel", other(":method", b"CONNECT"), Expect::Unseen),
        case("a forged address", with("x-forwarded-for", b"6.6.6.6"), Expect::Served),
    ]
}

fn bodies() -> Vec<Case> {
    let case = |name, frames: Vec<u8>, expect| Case { name, frames, expect };
    let post = |length: &'static [u8], data: &[u8]| {
        let fields = [USUAL.to_vec(), vec![("content-length", length)]].concat();
        [headers(1, END_HEADERS, &fields), frame(DATA, END_STREAM, 1, data)].concat()
    };
    let body_of = |fields: &[(&str, &[u8])]| {
        [
            headers(1, END_HEADERS, USUAL),
            frame(DATA, 0, 1, b"abc"),
            headers(1, END_HEADERS | END_STREAM, fields),
        ]
        .concat()
    };
    vec![
        case("a body as long as it says", post(b"3", b"abc"), Expect::Served),
        case(
            "a body longer than it says",
            post(b"3", b"abcdefGET /TOKEN-smuggled HTTP/1.1\r\n\r\n"),
            Expect::Unseen,
        ),
        case("a body shorter than it says", post(b"10", b"abc"), Expect::Unseen),
        case("a length that is none", post(b"+3", b"abc"), Expect::Unseen),
        case("a length beyond all numbers", post(b"99999999999999999999", b"abc"), Expect::Unseen),
        case(
            "a trailer with an end of a line",
            body_of(&[("x", b"a\r\n\r\nGET /TOKEN-smuggled HTTP/1.1")]),
            Expect::Unseen,
        ),
        case("a trailer with a pseudo-field", body_of(&[(":path", b"/vault")]), Expect::Either),
        case("a body before its head", frame(DATA, END_STREAM, 1, b"abc"), Expect::Ended),
    ]
}

/// Frames that make work, or hold memory, and cost next to nothing to send.
fn frames(is_short: bool) -> Vec<Case> {
    let many = if is_short { 2_000 } else { 20_000 };
    let case = |name, frames: Vec<u8>, expect| Case { name, frames, expect };
    let open_and_reset = |number: u32| {
        let stream = 2 * number + 1;
        [
            headers(stream, END_HEADERS | END_STREAM, USUAL),
            frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
        ]
        .concat()
    };
    let resets: Vec<u8> = (0..many / 2).flat_map(open_and_reset).collect();
    let mut endless = headers(1, 0, USUAL);
    for _ in 0..many {
        endless.extend(frame(CONTINUATION, 0, 1, &field("x-more", b"of the same")));
    }
    let mut empty = headers(1, 0, USUAL);
    empty.extend(frame(CONTINUATION, 0, 1, &[]).repeat(many as usize));
    // One large field is put into the table, and then named again and again with a byte.
    let large = vec![b'a'; 3_000];
    let mut bomb = block(USUAL);
    bomb.push(0x40);
    bomb.extend(text(b"x-bomb"));
    bomb.extend(text(&large));
    bomb.extend(vec![0xbe; 10_000]);
    // Each takes a slot while it lasts, so not those that others wait for.
    let elsewhere: Vec<_> = USUAL
        .iter()
        .map(|(name, value)| match *name {
            ":authority" => (*name, &b"liar.localhost"[..]),
            name => (name, *value),
        })
        .collect();
    let open = |count: u32| -> Vec<u8> {
        (0..count).flat_map(|number| headers(2 * number + 1, END_HEADERS, &elsewhere)).collect()
    };
    vec![
        case("requests that are taken back at once", resets, Expect::Over),
        case("a head without an end", endless, Expect::Ended),
        case("a head without an end, of nothing", empty, Expect::Ended),
        case(
            "a head that grows when it is read",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb),
            Expect::Unseen,
        ),
        case("a thousand requests that do not end", open(1_000), Expect::Survived),
        case(
            "settings again and again",
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(many as usize),
            Expect::Survived,
        ),
        case(
            "pings again and again",
            frame(PING, 0, 0, b"12345678").repeat(many as usize),
            Expect::Survived,
        ),
        case(
            "empty data again and again",
            [headers(1, END_HEADERS, &elsewhere), frame(DATA, 0, 1, &[]).repeat(many as usize)]
                .concat(),
            Expect::Survived,
        ),
        case(
            "priorities again and again",
            frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]).repeat(many as usize),
            Expect::Survived,
        ),
        case(
            "a window beyond all numbers",
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
            Expect::Ended,
        ),
        case(
            "a window of nothing more",
            frame(WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes()),
            Expect::Ended,
        ),
        case(
            "a frame of 16 MB",
            [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 1_000]].concat(),
            Expect::Ended,
        ),
        case("a frame that is none", vec![0xff; 100], Expect::Ended),
        case(
            "a stream of the other side",
            headers(2, END_HEADERS | END_STREAM, USUAL),
            Expect::Ended,
        ),
        case(
            "a stream twice",
            [request(&[(":method", b"GET")]), request(USUAL)].concat(),
            Expect::Unseen,
        ),
        case(
            "a push",
            frame(
                PUSH_PROMISE,
                END_HEADERS,
                1,
                &[&2_u32.to_be_bytes()[..], &block(USUAL)].concat(),
            ),
            Expect::Ended,
        ),
        case(
            "a table index beyond all numbers",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 32]),
            Expect::Ended,
        ),
    ]
}

/// Requests whose answers are never taken: the window is shut. Answers how long it took until the
/// connection was ended.
pub(crate) async fn shut_window(bed: &Bed) -> Option<Duration> {
    let began = tokio::time::Instant::now();
    let mut stream: TcpStream = bed.connect().await.ok()?;
    let fields: Vec<_> = [
        (":method", &b"GET"[..]),
        (":scheme", b"http"),
        (":authority", b"liar.localhost"),
        (":path", b"/shut-window/endless-body"),
    ]
    .into();
    let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let asked = [PREFACE, &shut, &headers(1, END_HEADERS | END_STREAM, &fields)].concat();
    stream.write_all(&asked).await.ok()?;
    let mut heard = Vec::new();
    loop {
        match timeout(PATIENCE, stream.read_buf(&mut heard)).await {
            Ok(Ok(0) | Err(_)) => return Some(began.elapsed()),
            // The stream alone is reset.
            Ok(Ok(_)) => {
                let heard = Heard { bytes: heard.clone(), is_closed: false };
                if heard.frames().iter().any(|(kind, _)| *kind == RST_STREAM) {
                    return Some(began.elapsed());
                }
            }
            Err(_) => return None,
        }
    }
}

type Fields<'a> = &'a [(&'a str, &'a [u8])];

/// A whole request on the first stream.
fn request(fields: Fields<'_>) -> Vec<u8> {
    headers(1, END_HEADERS | END_STREAM, fields)
}

fn headers(stream: u32, flags: u8, fields: Fields<'_>) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(fields))
}

fn block(fields: Fields<'_>) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A field as it is, outside of every table.
fn field(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0][..], &text(name.as_bytes()), &text(value)].concat()
}

fn text(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut length = text.len();
    if length < 127 {
        out.push(length as u8);
    } else {
        out.push(127);
        length -= 127;
        while length >= 128 {
            out.push((length % 128 + 128) as u8);
            length /= 128;
        }
        out.push(length as u8);
    }
    out.extend_from_slice(text);
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const USUAL: Fields<'static> = &[
    (":method", b"GET"),
    (":scheme", b"http"),
    (":authority", b"shop.localhost"),
    (":path", b"/TOKEN"),
];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const KINDS: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST",
    "SETTINGS",
    "PUSH",
    "PING",
    "GOAWAY",
    "WINDOW",
    "CONTINUATION",
];

/// What the last ping says.
const LAST: &[u8] = b"all-read";
/// How long a connection on which everything was decided is listened to.
const QUIET: Duration = Duration::from_millis(200);
