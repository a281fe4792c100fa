//! The whole path before an instance that forgives nothing: what a client says goes in, and what
//! the instance received is read by the letter.
//!
//! Whatever a client says, of each connection to the instance there is one reading: whole requests,
//! one after another, as many as were admitted, and each of them somebody's. A bare line feed, a
//! fold, two lengths, a length beside a coding or a byte too many is a failure. After each client
//! comes an honest one, over the same connections to the instance: what it is answered has to be
//! the answer to what it asked.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use runner_core::{
    address::Address,
    admission::{Instance, QueueSettings, Snapshot},
    id::{RevisionNumber, ServiceId},
};
use runner_proxy::{
    forward::{Connect, Forward},
    front_door::Limits,
    pool::Pool,
    router::{Router, Routes},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};
use tower::Layer;

#[path = "../door/memory.rs"]
mod memory;

mod bed {
    pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
}

/// Lets each client say its pieces, one client after the other; how many requests the instance
/// received of them.
///
/// # Panics
///
/// When the instance saw anything that it should not have, or somebody was answered what is not
/// theirs.
pub(crate) fn ask(clients: &[Vec<&[u8]>]) -> u64 {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // In virtual time: whoever holds on is cut off at once.
    let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(asked(clients))
}

async fn asked(clients: &[Vec<&[u8]>]) -> u64 {
    let seen = Arc::<Seen>::default();
    let id = ServiceId::from_random(1).instance(1);
    let mut snapshot = Snapshot::default();
    let to = Address::Memory("strict".into());
    snapshot.instances = vec![Instance::new(id, to, RevisionNumber::FIRST, 4)];
    let pool = Pool::new(QueueSettings::new(100, Duration::from_secs(10)), snapshot);
    let (forward, connections) = Forward::builder(Strict(Arc::clone(&seen))).build();
    tokio::spawn(connections.run());
    let mut routes = Routes::new();
    let everybody = "*".parse().expect("a route");
    routes.add(&everybody, "all", pool.layer().layer(forward)).expect("the first");
    let door = memory::open(Router::new(routes), Limits::default(), |door| door);
    for pieces in clients {
        let said = || String::from_utf8_lossy(&pieces.concat()).into_owned();
        let heard = heard(&door, pieces).await;
        assert!(heard.is_some(), "{:?} holds on", said());
        let heard = heard.unwrap_or_default();
        let is_ours =
            heard.is_empty() || heard.starts_with(b"HTTP/1.") || heard[3..].starts_with(b"\x04");
        assert!(is_ours, "{:?}", String::from_utf8_lossy(&heard));
        let honest = self::heard(&door, &[HONEST]).await.expect("it was told to close");
        let honest = String::from_utf8_lossy(&honest).into_owned();
        assert_eq!(seen.wrong.get(), None, "{:?}", said());
        let is_its_own =
            honest.starts_with("HTTP/1.1 200 OK") && honest.ends_with("\r\n\r\n/honest");
        assert!(is_its_own, "after {:?}: {honest:?}", said());
        let good = heard.windows(OK.len()).filter(|window| *window == OK).count() as u64;
        assert!(good <= seen.whole.load(Ordering::Relaxed), "{:?}", said());
    }
    // The last client has just gone, and its connection is given time to see that.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (at_door, counters) = (door.handle.counters(), pool.counters());
    assert_eq!((at_door.open, at_door.panicked), (0, 0));
    assert_eq!((counters.in_flight, counters.waiting), (0, 0), "a slot was lost");
    let heads = seen.heads.load(Ordering::Relaxed);
    assert!(heads <= counters.admitted(), "{heads} requests of {} admitted", counters.admitted());
    seen.whole.load(Ordering::Relaxed) - clients.len() as u64
}

/// All that a client is told on a connection of its own; nothing if that does not end.
async fn heard(door: &memory::Inner, pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let mut client = door.client(64 << 10);
    for piece in pieces {
        if client.0.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut heard = Vec::new();
    // Every connection ends: by its own words, or by a limit.
    let ended = timeout(Duration::from_secs(600), client.0.read_to_end(&mut heard)).await;
    ended.is_ok().then_some(heard)
}

const HONEST: &[u8] = b"GET /honest HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
const OK: &[u8] = b" 200 OK\r\n";

/// What the instance has seen.
#[derive(Default)]
struct Seen {
    /// Requests whose heads came; their bodies may be missing.
    heads: AtomicU64,
    /// Requests that came to their end.
    whole: AtomicU64,
    wrong: OnceLock<String>,
}

/// An instance whose every connection is read by the letter.
struct Strict(Arc<Seen>);

impl Connect for Strict {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Address) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(64 << 10);
        tokio::spawn(serve(theirs, Arc::clone(&self.0)));
        Ok(ours)
    }
}

/// Answers each request with its target.
async fn serve(mut stream: DuplexStream, seen: Arc<Seen>) {
    let (mut bytes, mut room, mut is_counted) = (Vec::new(), [0; 4096], false);
    loop {
        match read_one(&bytes) {
            Ok(read) => {
                seen.heads.fetch_add(u64::from(!is_counted && read.is_some()), Ordering::Relaxed);
                is_counted = read.is_some();
                if let Some(Read { whole: Some(used), target, is_head }) = read {
                    is_counted = false;
                    bytes.drain(..used);
                    seen.whole.fetch_add(1, Ordering::Relaxed);
                    let body = if is_head { "" } else { &*target };
                    let size = target.len();
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{body}");
                    // Whoever does not listen any more is seen at the next read.
                    let _ = stream.write_all(answer.as_bytes()).await;
                    continue;
                }
            }
            Err(what) => {
                let said = String::from_utf8_lossy(&bytes).into_owned();
                let _ = seen.wrong.set(format!("{what}: {said:?}"));
                return;
            }
        }
        match stream.read(&mut room).await {
            Ok(0) | Err(_) => return,
            Ok(size) => bytes.extend_from_slice(&room[..size]),
        }
    }
}

/// A request of which the head is there.
struct Read {
    target: String,
    is_head: bool,
    /// How long all of it is, once it is there.
    whole: Option<usize>,
}

/// The first request, once its head is whole; or what is wrong with it.
fn read_one(bytes: &[u8]) -> Result<Option<Read>, &'static str> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    // Fields may hold bytes above ASCII; nothing that matters does.
    let head = String::from_utf8_lossy(&bytes[..end]);
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return Err("a bare carriage return, line feed or null");
    }
    let mut lines = head.split("\r\n");
    let parts: Vec<_> = lines.next().unwrap_or("").split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return Err("a request line") };
    if !target.starts_with('/') && target != "*" {
        return Err("a target that is not of an origin");
    }
    let framing = Framing::of(lines)?;
    let body = &bytes[end + 4..];
    let size = match framing {
        Framing { length: Some(_), is_chunked: true, .. } => {
            return Err("a length beside a coding");
        }
        Framing { is_chunked: true, .. } => chunks(body)?,
        Framing { length, .. } => length.or(Some(0)).filter(|length| body.len() >= *length),
    };
    let whole = size.map(|size| end + 4 + size);
    Ok(Some(Read { target: target.to_owned(), is_head: method == "HEAD", whole }))
}

#[derive(Default)]
struct Framing {
    length: Option<usize>,
    is_chunked: bool,
    hosts: usize,
}

impl Framing {
    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, &'static str> {
        let mut framing = Self::default();
        for line in lines {
            let (name, value) =
                line.split_once(": ").or_else(|| line.split_once(':')).ok_or("a field")?;
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                return Err("the name of a field");
            }
            framing.read(&name.to_ascii_lowercase(), value)?;
        }
        match framing.hosts {
            0 | 1 => Ok(framing),
            _ => Err("two hosts"),
        }
    }

    fn read(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        match name {
            "host" => self.hosts += 1,
            "content-length" if self.length.is_some() => return Err("two lengths"),
            "content-length" if is_number => {
                self.length = Some(value.parse().or(Err("a length above all measure"))?);
            }
            "content-length" => return Err("a length"),
            "transfer-encoding" if value == "chunked" && !self.is_chunked => self.is_chunked = true,
            "transfer-encoding" => return Err("a coding"),
            "upgrade" if value.to_ascii_lowercase().contains("h2c") => return Err("an upgrade"),
            "http2-settings" | "keep-alive" | "proxy-connection" => {
                return Err("a field of a connection");
            }
            _ => {}
        }
        Ok(())
    }
}

/// How long a body in chunks is, once it is whole.
fn chunks(body: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        let Some(line) = body[at..].windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let digits = std::str::from_utf8(&body[at..at + line]).or(Err("the size of a chunk"))?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(digits, 16)
            .ok()
            .filter(|_| plain)
            .ok_or("the size of a chunk")?;
        at += line + 2;
        if size == 0 {
            // Trailers up to an empty line.
            loop {
                let Some(line) = body[at..].windows(2).position(|two| two == b"\r\n") else {
                    return Ok(None);
                };
                at += line + 2;
                if line == 0 {
                    return Ok(Some(at));
                }
            }
        }
        match body.get(at + size..at + size + 2) {
            None => return Ok(None),
            Some(b"\r\n") => at += size + 2,
            Some(_) => return Err("a chunk longer than its size"),
        }
    }
}
