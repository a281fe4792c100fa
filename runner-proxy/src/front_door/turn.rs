//! One request, from the end of its head to the end of its answer.

use std::sync::{
    Arc,
    atomic::Ordering::{AcqRel, Relaxed},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::ext::Protocol;

use super::{
    inside::Inside,
    log::Entry,
    watch::{Counts, Phase, Verdict, Watch},
};
use crate::{
    answer::{Answers, Asked, DoorFault},
    exchange::{ClientConnection, RequestId},
    router::host_of,
    told::MaybeOwn,
};

/// What a request holds as long as it is worked on. Dropping it ends the request, however it went.
pub(super) struct Turn {
    pub(super) door: Arc<Inside>,
    /// The connection's own watch; of an HTTP/2 stream, one for it alone.
    pub(super) watch: Arc<Watch>,
    /// Of HTTP/2, until it is a tunnel's.
    stream: Option<Stream>,
    /// Whether a success opens a tunnel.
    is_connect: bool,
    asked: Asked,
    pub(super) log: Option<Box<Entry>>,
}

/// One HTTP/2 stream that is open. Dropping it says that it has ended.
pub(super) struct Stream {
    door: Arc<Inside>,
    watch: Arc<Watch>,
    connection: Arc<Watch>,
    is_tunnel: bool,
}

impl Turn {
    /// Begins a request on a connection.
    #[inline]
    pub(super) fn begin<B>(
        door: &Arc<Inside>,
        connection: &Arc<Watch>,
        request: &Request<B>,
        id: RequestId,
        client: &ClientConnection,
    ) -> Self {
        let now = door.clock.now();
        let kind = match request.version() {
            Version::HTTP_10 => 0,
            Version::HTTP_2 => 2,
            _ => 1,
        };
        Counts::add(&connection.counts.requests[kind], 1);
        let log = Entry::begin(request, &id, client);
        let asked = Asked::of(request.method(), request.headers(), Some(id));
        let mut turn = Self {
            door: Arc::clone(door),
            watch: Arc::clone(connection),
            stream: None,
            is_connect: *request.method() == Method::CONNECT,
            asked,
            log,
        };
        if request.version() == Version::HTTP_2 {
            turn.begin_stream();
        } else {
            connection.enter(Phase::Busy, now);
            connection.begin_request();
        }
        turn
    }

    /// Streams run beside each other, so each is watched on its own.
    fn begin_stream(&mut self) {
        let watch = Arc::new(Watch::new(Phase::Busy, self.door.clock.now()));
        watch.flags.stream.store(true, Relaxed);
        self.door.registry.add(Arc::clone(&watch));
        let connection = std::mem::replace(&mut self.watch, Arc::clone(&watch));
        connection.streams.fetch_add(1, Relaxed);
        let door = Arc::clone(&self.door);
        self.stream = Some(Stream { door, watch, connection, is_tunnel: false });
    }

    pub(super) fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether it may end as a tunnel inside a connection that goes on.
    pub(super) fn may_tunnel(&self) -> bool {
        self.is_connect && self.is_stream()
    }

    /// The stream, where it goes on as a tunnel when this has ended.
    pub(super) fn take_tunnel(&mut self) -> Option<Stream> {
        self.stream.take_if(|stream| stream.is_tunnel)
    }

    /// What is wrong with a head, before anybody else sees it.
    #[inline]
    pub(super) fn check<B: Body>(&self, request: &mut Request<B>) -> Result<(), DoorFault> {
        let limits = &self.door.limits;
        let uri = request.uri();
        let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
        if target > limits.target_bytes {
            return Err(DoorFault::UriTooLong);
        }
        let fields = request.headers();
        let size = |(name, value): (&http::HeaderName, &HeaderValue)| {
            name.as_str().len() + value.len() + FIELD_OVERHEAD
        };
        // Nothing else bounds a method, which may be any word.
        let method = request.method().as_str().len();
        if fields.len() > limits.fields
            || fields.iter().map(size).sum::<usize>() + method > limits.head_bytes
        {
            return Err(DoorFault::HeadTooLarge);
        }
        // One that names a protocol is about a path of this host, and not about another host.
        if self.is_connect && request.extensions().get::<Protocol>().is_none() {
            return Err(DoorFault::ConnectNotAllowed);
        }
        let host = host_of(uri, fields)?;
        if host.is_none_or(str::is_empty) && request.version() != Version::HTTP_10 {
            return Err(DoorFault::BadHost);
        }
        if limits.body_bytes.is_some_and(|most| request.body().size_hint().lower() > most) {
            return Err(DoorFault::BodyTooLarge);
        }
        if fields.contains_key(header::UPGRADE) {
            refuse_other_http(request);
        }
        Ok(())
    }

    /// What was ordered about this request meanwhile.
    #[inline]
    pub(super) fn interrupted(&self) -> Option<DoorFault> {
        if let Some(fault) = self.watch.fault() {
            return DoorFault::ALL.get(usize::from(fault)).copied();
        }
        if !self.watch.has_orders() {
            return None;
        }
        match self.watch.verdict()? {
            Verdict::TookTooLong => Some(DoorFault::TookTooLong),
            Verdict::BodyTooSlow => Some(DoorFault::BodyTooSlow),
            Verdict::Idle | Verdict::HeadTooSlow | Verdict::ReaderTooSlow | Verdict::NotTaken => {
                None
            }
        }
    }

    /// Counts an end before its time.
    pub(super) fn count(&self, fault: DoorFault) {
        match fault {
            DoorFault::TookTooLong => self.door.totals.ended(Verdict::TookTooLong),
            DoorFault::BodyTooSlow => self.door.totals.ended(Verdict::BodyTooSlow),
            _ => {}
        }
    }

    /// The answer in the place of a service's.
    pub(super) fn fault<R>(&mut self, fault: DoorFault) -> Response<MaybeOwn<R>> {
        self.count(fault);
        self.door.totals.answered(fault);
        let answers: &Answers = &self.door.answers;
        let mut response = answers.answer(&self.asked, fault);
        if fault.ends_connection() && !self.is_stream() {
            response.headers_mut().insert(header::CONNECTION, CLOSE);
            // What the client still sends has to be read a while, or its system might throw away
            // the answer with the connection.
            self.watch.flags.unread.store(true, Relaxed);
            self.watch.enter(Phase::Closing, self.door.clock.now());
        }
        if let Some(log) = &mut self.log {
            log.answered(&response, Some(fault));
        }
        response.map(MaybeOwn::ours)
    }

    /// The answer of a service, with what the connection adds to it.
    #[inline]
    pub(super) fn pass<R: Body>(&mut self, mut response: Response<R>) -> Response<MaybeOwn<R>> {
        if let Some(log) = &mut self.log {
            log.answered(&response, None);
        }
        let is_tunnel = match self.is_connect {
            true => response.status().is_success(),
            false => response.status() == StatusCode::SWITCHING_PROTOCOLS,
        };
        if is_tunnel {
            self.begin_tunnel(&response);
        } else {
            let body = response.body();
            let streaming = !body.is_end_stream() && body.size_hint().exact().is_none();
            self.watch.flags.streaming.store(streaming, Relaxed);
            if self.door.draining.load(Relaxed) && !self.is_stream() {
                response.headers_mut().insert(header::CONNECTION, CLOSE);
            }
        }
        response.map(MaybeOwn::service)
    }

    fn begin_tunnel<R>(&mut self, response: &Response<R>) {
        let protocol = response.headers().get(header::UPGRADE);
        let websocket = protocol.is_some_and(|p| p.as_bytes().eq_ignore_ascii_case(b"websocket"));
        self.watch.flags.websocket.store(websocket, Relaxed);
        self.watch.enter(Phase::Tunnel, self.door.clock.now());
        if let Some(stream) = &mut self.stream {
            stream.is_tunnel = true;
            stream.connection.tunnels.fetch_add(1, Relaxed);
        }
        super::counters::Totals::count(&self.door.totals.upgraded);
    }
}

impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        if self.stream.is_none() && self.watch.phase() == Phase::Busy {
            self.watch.enter(Phase::Idle, self.door.clock.now());
        }
        if let Some(log) = self.log.take() {
            log.end(self.watch.counts.body.load(Relaxed));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.is_tunnel {
            self.connection.tunnels.fetch_sub(1, Relaxed);
        }
        // The time first: who sees no stream also sees since when.
        self.connection.enter(Phase::Idle, self.door.clock.now());
        self.connection.streams.fetch_sub(1, AcqRel);
        self.watch.leave();
    }
}

/// Takes the wish for HTTP/2 over this connection out of a request: granted by an instance, it
/// would carry further requests past every check of the door.
fn refuse_other_http<B>(request: &mut Request<B>) {
    let asks_for = |protocol: &HeaderValue| {
        // What cannot be read might be, by an instance that is less strict.
        let Ok(protocol) = protocol.to_str() else { return true };
        let protocol = protocol.to_ascii_lowercase();
        protocol.contains("h2c") || protocol.split(',').any(|p| p.trim().starts_with("http"))
    };
    if request.headers().get_all(header::UPGRADE).iter().any(asks_for) {
        request.headers_mut().remove(header::UPGRADE);
        request.headers_mut().remove("http2-settings");
        request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    }
}

/// What RFC 9113 counts for a field beside its bytes: they cost memory too.
const FIELD_OVERHEAD: usize = 32;
const CLOSE: HeaderValue = HeaderValue::from_static("close");
