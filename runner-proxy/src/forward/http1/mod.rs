//! HTTP/1.1 to an instance: one connection, polled by whoever has a request on it.
//!
//! hyper's client keeps each connection in a task of its own and passes messages to it and back,
//! which costs more instructions than everything else that forwarding does. Here the connection
//! belongs to the request while that is on it, head and body are read and written where the
//! request is polled anyway, and in between the connection lies in a stack.
//!
//! # Contract
//!
//! 1. [`begin`](Http1::begin) a request, [`poll_head`](Http1::poll_head) until its response
//!    begins, [`poll_frame`](Http1::poll_frame) until that ends; then, if it
//!    [`is_reusable`](Http1::is_reusable), begin again. Dropped before that, it closes.
//! 2. While nothing was written, nothing was sent: [`take_unsent`](Http1::take_unsent) gives the
//!    body back as it was.
//! 3. The request body goes on being written while the response is read, and not beyond its end:
//!    a response that is whole before its request is closes the connection.
//!
//! # What it is not
//!
//! No client for the open network. It speaks to instances, so it is strict where an ambiguity
//! could be used (lengths, codings, chunks) and does without what they do not need: no folded
//! lines, no responses of HTTP/0.9.

mod decode;
mod encode;

use std::{
    fmt,
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Method, StatusCode, request, response};
use http_body::{Body, Frame};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use self::{
    decode::{Decoder, Step},
    encode::Framing,
};
use super::{fault::Fault, origin::Origin, outgoing::Outgoing};

/// A connection to an instance.
pub(super) struct Http1 {
    stream: Box<dyn Stream>,
    /// Read and not understood yet.
    incoming: BytesMut,
    /// Where the headers of a head are, while it is read.
    places: Vec<decode::Place>,
    /// How much is read at once.
    read_size: usize,
    /// Framed and not written yet: first this,
    outgoing: Vec<u8>,
    /// of which so much is written,
    written: usize,
    /// then this, which is too large to be copied.
    data: Bytes,
    upload: Upload,
    /// Whether any byte of this request was taken by the system, or of its body by us.
    is_begun: bool,
    /// Why nothing more can be written. What was answered before that is still read.
    is_broken: bool,
    /// Heads on the way to the one that is asked for.
    interim: u32,
    response: Decoder,
    is_head: bool,
    is_connect: bool,
    may_persist: bool,
    /// Kept from one request to the next, since setting a timer costs more than looking at one.
    /// It fires when the first of them would have been over, and is set anew only then.
    timer: Option<Pin<Box<Sleep>>>,
    pub(super) born: Instant,
    /// Whether a request was on it before: the instance may have closed it meanwhile.
    pub(super) is_reused: bool,
}

/// What is still to be written.
enum Upload {
    /// Not before the instance says so, or has been silent for a while.
    HeldBack(Outgoing, Framing, Pin<Box<Sleep>>),
    Body(Outgoing, Framing),
    Done,
}

/// Both directions of a stream, whatever it is.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Http1 {
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Box<Self> {
        Box::new(Self {
            stream: Box::new(stream),
            incoming: BytesMut::new(),
            places: Vec::new(),
            read_size: READ_AT_FIRST,
            outgoing: Vec::new(),
            written: 0,
            data: Bytes::new(),
            upload: Upload::Done,
            is_begun: false,
            is_broken: false,
            interim: 0,
            response: Decoder::Nothing,
            is_head: false,
            is_connect: false,
            may_persist: false,
            timer: None,
            born: Instant::now(),
            is_reused: false,
        })
    }

    /// Whether the instance has neither closed it nor said anything.
    pub(super) fn is_open(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        // An end, an error, or a word that nobody asked for.
        Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer).is_pending()
    }

    /// Begins a request. The body is read when the head is written.
    pub(super) fn begin(
        &mut self,
        head: &request::Parts,
        origin: &Origin,
        body: Outgoing,
        expects: bool,
    ) {
        (self.is_begun, self.interim) = (false, 0);
        self.is_head = head.method == Method::HEAD;
        self.is_connect = head.method == Method::CONNECT;
        let framing = encode::head(&mut self.outgoing, head, Some(origin), &body, expects);
        self.upload = match body.is_empty() {
            true => Upload::Done,
            false if expects => {
                let patience = Instant::now() + PATIENCE;
                Upload::HeldBack(body, framing, Box::pin(sleep_until(patience)))
            }
            false => Upload::Body(body, framing),
        };
    }

    /// The body of a request of which certainly nothing was sent.
    pub(super) fn take_unsent(&mut self) -> Option<Outgoing> {
        if self.is_begun {
            return None;
        }
        match std::mem::replace(&mut self.upload, Upload::Done) {
            Upload::Done => Some(Outgoing::empty()),
            Upload::Body(body, _) | Upload::HeldBack(body, ..) => Some(body),
        }
    }

    /// The head of the response to the request that was begun.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<response::Parts, Fault>> {
        self.poll_upload(cx)?;
        loop {
            if !self.incoming.is_empty()
                && let Some(head) = self.decode_head()?
            {
                if head.parts.status.is_informational()
                    && head.parts.status != StatusCode::SWITCHING_PROTOCOLS
                {
                    self.interim += 1;
                    if self.interim > MOST_INTERIM {
                        return Poll::Ready(Err(Fault::BadResponse));
                    }
                    if head.parts.status == StatusCode::CONTINUE {
                        self.let_go();
                        self.poll_upload(cx)?;
                    }
                    continue;
                }
                self.response = head.body;
                self.may_persist = head.may_persist;
                // A body that was promised and is not wanted will not come.
                if let Upload::HeldBack(..) = self.upload {
                    self.upload = Upload::Done;
                    self.may_persist = false;
                }
                return Poll::Ready(Ok(head.parts));
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Fault::ClosedEarly)),
                Ok(_) => {}
            }
        }
    }

    /// The next frame of the response's body; nothing at its end.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if !matches!(self.upload, Upload::Done)
            && let Err(fault) = self.poll_upload(cx)
        {
            return Poll::Ready(Some(Err(fault)));
        }
        loop {
            match self.response.step(&mut self.incoming) {
                Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Step::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More) => {}
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) if self.response.ends_with_connection() => {
                    self.response = Decoder::Nothing;
                    return Poll::Ready(None);
                }
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(Fault::ClosedEarly))),
                Ok(_) => {}
            }
        }
    }

    /// Waits for a time.
    pub(super) fn poll_until(&mut self, end: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// Whether the response is over, without asking for another frame.
    pub(super) fn is_over(&self) -> bool {
        self.response.is_over()
    }

    /// How many bytes of the response are to come, where that is known.
    pub(super) fn size_left(&self) -> Option<u64> {
        self.response.size_left()
    }

    /// Whether another request may be begun: all was written, all was read, and nobody said that
    /// it is the last.
    pub(super) fn is_reusable(&self) -> bool {
        self.may_persist
            && !self.is_broken
            && self.is_over()
            && matches!(self.upload, Upload::Done)
            && self.has_written_all()
            && self.incoming.is_empty()
    }

    /// The bare stream of an upgraded connection, and what was read of it already.
    pub(super) fn into_stream(self) -> (impl AsyncRead + AsyncWrite + Send + Unpin, Bytes) {
        (self.stream, self.incoming.freeze())
    }

    fn decode_head(&mut self) -> Result<Option<decode::Head>, Fault> {
        decode::head(&mut self.incoming, &mut self.places, self.is_head, self.is_connect)
    }

    /// The instance wants the body.
    fn let_go(&mut self) {
        if let Upload::HeldBack(..) = &self.upload
            && let Upload::HeldBack(body, framing, _) =
                std::mem::replace(&mut self.upload, Upload::Done)
        {
            self.upload = Upload::Body(body, framing);
        }
    }

    /// Writes as much as the other end takes. That nothing more can be written is no fault yet:
    /// an instance that wants no more of a body may have answered before it closed.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.is_broken {
            return Ok(());
        }
        // What of the body is there goes with the head.
        if !self.is_begun {
            let _ = self.poll_body(cx)?;
        }
        loop {
            match self.poll_write_out(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => {
                    self.is_broken = true;
                    return Ok(());
                }
                Poll::Ready(Ok(())) => {}
            }
            match &mut self.upload {
                Upload::Done => return Ok(()),
                Upload::HeldBack(_, _, silence) => {
                    if silence.as_mut().poll(cx).is_pending() {
                        return Ok(());
                    }
                    self.let_go();
                }
                Upload::Body(..) => {
                    if self.poll_body(cx)?.is_pending() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Frames what there is next of the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        let Upload::Body(body, framing) = &mut self.upload else { return Ok(Poll::Ready(())) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else { return Ok(Poll::Pending) };
        self.is_begun = true;
        let frame = frame.transpose().map_err(|_| Fault::RequestBroke)?;
        if framing.frame(frame, &mut self.outgoing, &mut self.data)? {
            self.upload = Upload::Done;
        }
        Ok(Poll::Ready(()))
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_written_all() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.outgoing.len() {
            let rest = &self.outgoing[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
            self.is_begun = true;
        }
        self.outgoing.clear();
        self.written = 0;
        while self.data.has_remaining() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.data))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.data.advance(count),
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn has_written_all(&self) -> bool {
        self.outgoing.is_empty() && self.data.is_empty()
    }

    /// Reads what there is, at most as much as is read at once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.incoming.reserve(self.read_size);
        let mut room = (&mut self.incoming).limit(self.read_size);
        // It holds nothing between two polls, so it need not be kept.
        let count = ready!(pin!(self.stream.read_buf(&mut room)).poll(cx))?;
        // Who fills the buffer has more to say.
        if count == self.read_size && self.read_size < READ_MOST {
            self.read_size *= 2;
        }
        Poll::Ready(Ok(count))
    }

    /// Lets go of what was only good for a large exchange, before it lies idle.
    pub(super) fn lie_down(&mut self) {
        if self.read_size > READ_AT_FIRST {
            self.read_size = READ_AT_FIRST;
            self.incoming = BytesMut::new();
        }
        self.outgoing.shrink_to(KEPT_MOST);
        self.is_reused = true;
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").field("is_reused", &self.is_reused).finish_non_exhaustive()
    }
}

/// Room for the head of nearly every response and the body of most.
const READ_AT_FIRST: usize = 8 * 1024;

/// Beyond this, reading more at once saves nothing that could be measured.
const READ_MOST: usize = 128 * 1024;

/// More heads before the one that was asked for are an instance's way never to answer: each is a
/// sign of life, and one that comes without a pause leaves no room for a timer. Progress that is
/// told every second lasts for most limits.
const MOST_INTERIM: u32 = 256;

/// What an idle connection keeps of the memory that heads are framed in.
const KEPT_MOST: usize = 4 * 1024;

/// How long an instance may be silent on whether it wants a body: what curl waits too.
const PATIENCE: Duration = Duration::from_secs(1);
