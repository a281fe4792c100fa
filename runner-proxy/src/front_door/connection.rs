//! The driver of one connection.

use std::{
    error::Error as StdError,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::yield_now,
};
use tower_service::Service;

use super::{
    body::RequestBody,
    counters::Totals,
    inside::{Inside, Permit},
    io::Io,
    serve::Serve,
    streams::{Streams, Tasks},
    watch::{CUT, DRAIN, LEAVE, Phase, Verdict, Watch},
};
use crate::exchange::ClientConnection;

/// What a service has to be for a door to serve it.
pub(super) trait Served:
    Service<
        Request<RequestBody>,
        Response = Response<Self::Body>,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    type Body: Body<Data: From<Bytes> + Send, Error: Into<BoxError>> + Send + 'static;
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl<S, R> Served for S
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: Body<Data: From<Bytes> + Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = R;
}

/// One connection, to its end. Dropping it closes the connection, unless it was upgraded: whoever
/// has the tunnel then has the stream.
pub(super) struct Connection<T, S: Served>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    stage: Stage<T, S>,
    door: Arc<Inside>,
    watch: Arc<Watch>,
    client: ClientConnection,
    /// For HTTP/2, if that is what it turns out to be.
    service: Option<S>,
    waker: Option<Waker>,
    /// Whether hyper was told to end after this request.
    told: bool,
    /// Whether hyper was asked once more before it was told to leave.
    looked: bool,
    /// Whether it ends since nothing was asked, which was counted.
    was_idle: bool,
}

/// One => (Two | Lingering | Over); Two => Over; Lingering => Over.
#[expect(clippy::large_enum_variant, reason = "the largest is what a connection is all its life")]
enum Stage<T, S: Served>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    One(http1::UpgradeableConnection<TokioIo<Io<T>>, Serve<S>>),
    Two(Box<Two<T, S>>),
    /// What the client still sends is read and thrown away for a while: closed over unread bytes,
    /// a connection is reset, and the client's system may throw away our answer unread.
    Lingering(Linger<T>),
    Over,
}

/// HTTP/2, with the tasks of its streams, which end with it.
struct Two<T, S: Served>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection: http2::Connection<TokioIo<Io<T>>, Serve<S>, Streams>,
    _tasks: Tasks,
}

struct Linger<T> {
    io: Io<T>,
    /// What is still to be said, without waiting.
    last_words: &'static [u8],
    shut: bool,
    read: usize,
}

impl<T, S: Served> Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    pub(super) fn new(
        stream: T,
        client: ClientConnection,
        service: S,
        door: Arc<Inside>,
        permit: Permit,
    ) -> Self {
        let watch = Arc::clone(&permit.watch);
        let serve = Serve::new(service.clone(), Arc::clone(&door), Arc::clone(&watch), client);
        let io = TokioIo::new(Io::new(stream, permit));
        let one = http_1(&door).serve_connection(io, serve).with_upgrades();
        Self {
            stage: Stage::One(one),
            door,
            watch,
            client,
            service: Some(service),
            waker: None,
            told: false,
            looked: false,
            was_idle: false,
        }
    }

    /// HTTP/1 has ended. If it was upgraded, the stream is somebody else's now.
    fn after_one(&mut self, result: hyper::Result<()>) -> Stage<T, S> {
        let Stage::One(one) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Stage::Over;
        };
        let unread = self.watch.flags.unread.load(Relaxed);
        let refused = result.as_ref().is_err_and(hyper::Error::is_parse);
        if let Err(error) = result {
            self.count(&error);
        }
        match one.into_parts() {
            Some(parts) if unread || refused => self.linger(parts.io.into_inner(), &[]),
            _ => Stage::Over,
        }
    }

    fn linger(&self, io: Io<T>, last_words: &'static [u8]) -> Stage<T, S> {
        self.watch.enter(Phase::Closing, self.door.clock.now());
        Stage::Lingering(Linger { io, last_words, shut: false, read: 0 })
    }

    fn count(&self, error: &hyper::Error) {
        let totals = &self.door.totals;
        Totals::count(match () {
            () if error.is_parse_too_large() => &totals.too_large,
            () if error.is_parse() => &totals.malformed,
            () if error.is_incomplete_message() || error.is_canceled() => &totals.left,
            () => &totals.broken,
        });
        tracing::debug!(%error, "a connection failed");
    }

    /// The client speaks HTTP/2: hyper has seen nothing of it yet, so another begins anew.
    fn become_two(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let (Stage::One(one), Some(service)) = (stage, self.service.take()) else { return };
        let Some(parts) = one.into_parts() else { return };
        self.watch.enter(Phase::Idle, self.door.clock.now());
        let tasks = Tasks::default();
        let streams = tasks.streams(&self.door);
        let (door, watch) = (Arc::clone(&self.door), Arc::clone(&self.watch));
        let serve = Serve::new(service, door, watch, self.client).with_streams(streams.clone());
        let connection = http_2(&self.door, streams).serve_connection(parts.io, serve);
        self.stage = Stage::Two(Box::new(Two { connection, _tasks: tasks }));
    }

    /// Does what was ordered. Ready when the connection is over, pending when nothing is left to
    /// do; otherwise it has to be polled again.
    fn obey(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.watch.is_ordered(CUT) {
            return Poll::Ready(true);
        }
        let phase = self.watch.phase();
        let verdict = self.watch.verdict();
        // What the request's own future or body has carried out, it has counted. And who was told
        // to go since it is idle, and does not, is not a slow reader beside that.
        if let Some(verdict) = verdict
            && !(verdict == Verdict::NotTaken && self.was_idle)
        {
            self.door.totals.ended(verdict);
        }
        match (&mut self.stage, verdict) {
            (_, Some(Verdict::ReaderTooSlow | Verdict::NotTaken))
            | (Stage::One(_), Some(Verdict::TookTooLong | Verdict::BodyTooSlow)) => {
                Poll::Ready(true)
            }
            (Stage::One(_), Some(Verdict::HeadTooSlow)) => {
                let Stage::One(one) = std::mem::replace(&mut self.stage, Stage::Over) else {
                    return Poll::Ready(true);
                };
                let Some(parts) = one.into_parts() else { return Poll::Ready(true) };
                self.stage = self.linger(parts.io.into_inner(), BARE_408);
                Poll::Ready(false)
            }
            (_, Some(Verdict::Idle)) => {
                self.was_idle = true;
                self.watch.enter(Phase::Closing, self.door.clock.now());
                self.tell();
                Poll::Ready(false)
            }
            _ if self.told || !self.watch.is_ordered(DRAIN) => Poll::Pending,
            (Stage::Two(_), _) => {
                self.tell();
                Poll::Ready(false)
            }
            (Stage::One(_), _) if phase == Phase::Busy => {
                self.tell();
                Poll::Ready(false)
            }
            // A head is on its way: its request is answered like any other, and how long it may
            // take is what the limit of heads says. hyper would take the connection for idle.
            (Stage::One(_), _) if phase == Phase::Head => Poll::Pending,
            (Stage::One(_), _) if self.watch.is_ordered(LEAVE) => {
                if !self.looked {
                    // A request may have come that the runtime has not told us of: it is asked
                    // once more, after it has looked at its sockets.
                    self.looked = true;
                    let _ = pin!(yield_now()).poll(cx);
                    return Poll::Pending;
                }
                self.tell();
                Poll::Ready(false)
            }
            _ => Poll::Pending,
        }
    }

    /// Tells hyper that the request it has, if any, is the last.
    fn tell(&mut self) {
        self.told = true;
        match &mut self.stage {
            Stage::One(one) => Pin::new(one).graceful_shutdown(),
            Stage::Two(two) => Pin::new(&mut two.connection).graceful_shutdown(),
            Stage::Lingering(_) | Stage::Over => {}
        }
    }
}

impl<T, S: Served> Future for Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if !this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            this.watch.register(cx.waker());
            this.waker = Some(cx.waker().clone());
        }
        loop {
            match &mut this.stage {
                Stage::One(one) => match Pin::new(one).poll(cx) {
                    Poll::Ready(result) => {
                        this.stage = this.after_one(result);
                        continue;
                    }
                    Poll::Pending if this.watch.flags.two.load(Relaxed) => {
                        this.become_two();
                        continue;
                    }
                    Poll::Pending => {}
                },
                Stage::Two(two) => {
                    if let Poll::Ready(result) = Pin::new(&mut two.connection).poll(cx) {
                        if let Err(error) = result {
                            this.count(&error);
                        }
                        return Poll::Ready(());
                    }
                }
                Stage::Lingering(linger) => {
                    if linger.poll(cx).is_ready() {
                        return Poll::Ready(());
                    }
                }
                Stage::Over => return Poll::Ready(()),
            }
            if !this.watch.has_orders() {
                return Poll::Pending;
            }
            match this.obey(cx) {
                Poll::Ready(true) => return Poll::Ready(()),
                Poll::Ready(false) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<T, S: Served> Unpin for Connection<T, S> where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static
{
}

impl<T: AsyncRead + AsyncWrite + Unpin> Linger<T> {
    /// Ready when the client has gone, or was given enough.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.last_words.is_empty() {
            // If they do not fit now, nobody reads there.
            let _ = Pin::new(&mut self.io).poll_write(cx, std::mem::take(&mut self.last_words));
        }
        if !self.shut && ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        self.shut = true;
        let mut room = [0; 2 << 10];
        while self.read < LINGER_BYTES {
            let mut room = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut room)) {
                Ok(()) if !room.filled().is_empty() => self.read += room.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

fn http_1(door: &Inside) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let buffer = (2 * door.limits.head_bytes).max(MIN_BUFFER);
    builder
        // The door keeps the time itself, without a timer for each head.
        .header_read_timeout(None)
        .half_close(door.half_closed)
        .max_buf_size(buffer);
    builder
}

fn http_2(door: &Inside, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    let head = u32::try_from(2 * door.limits.head_bytes).unwrap_or(u32::MAX);
    builder.max_concurrent_streams(door.limits.streams.get()).max_header_list_size(head);
    if door.extended_connect {
        builder.enable_connect_protocol();
    }
    builder
}

const BARE_408: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// How much a client may still send after its answer: a few windows.
const LINGER_BYTES: usize = 1 << 20;
/// The least that hyper has.
const MIN_BUFFER: usize = 8 << 10;
