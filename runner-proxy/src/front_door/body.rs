//! Bodies as the door sees them: the client's, bounded, and the answer's, watched to its end.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;

use super::{
    turn::Turn,
    watch::{Counts, Verdict, Watch},
};
use crate::{answer::DoorFault, told::MaybeOwn};

/// The body of a client's request.
///
/// It is read as it comes and buffered nowhere. Where it is larger, or comes more slowly, than it
/// may, it ends in an error, and the client is answered in the place of the service.
pub struct RequestBody {
    incoming: Incoming,
    /// Nothing where there is nothing to read.
    gauge: Option<Gauge>,
}

struct Gauge {
    watch: Arc<Watch>,
    most: u64,
    /// What it was last told: kept, so that telling it costs only when it changes.
    wanted: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, turn: &Turn) -> Self {
        let gauge = (!incoming.is_end_stream()).then(|| Gauge {
            watch: Arc::clone(&turn.watch),
            most: turn.door.limits.body_bytes.unwrap_or(u64::MAX),
            wanted: false,
        });
        Self { incoming, gauge }
    }
}

impl Gauge {
    fn want(&mut self, wanted: bool) {
        if self.wanted != wanted {
            self.wanted = wanted;
            self.watch.flags.wants_body.store(wanted, Relaxed);
        }
    }

    fn interrupted(&self) -> Option<BodyError> {
        if !self.watch.has_orders() {
            return None;
        }
        match self.watch.verdict()? {
            Verdict::BodyTooSlow => Some(BodyError::TooSlow),
            Verdict::TookTooLong => Some(BodyError::TookTooLong),
            _ => None,
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.want(false);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(error) = this.gauge.as_ref().and_then(Gauge::interrupted) {
            this.gauge = None;
            return Poll::Ready(Some(Err(error)));
        }
        let polled = Pin::new(&mut this.incoming).poll_frame(cx);
        let Some(gauge) = &mut this.gauge else { return polled.map_err(BodyError::broken) };
        gauge.want(polled.is_pending());
        match ready!(polled) {
            Some(Ok(frame)) => {
                let read = &gauge.watch.counts.body;
                Counts::add(read, frame.data_ref().map_or(0, Bytes::len) as u64);
                if read.load(Relaxed) > gauge.most {
                    gauge.watch.set_fault(DoorFault::BodyTooLarge.index() as u8);
                    this.gauge = None;
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(BodyError::broken(error)))),
            None => {
                this.gauge = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("size", &self.incoming.size_hint()).finish()
    }
}

/// Why a client's body ended before its time.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// It is larger than it may be.
    TooLarge,
    /// It came too slowly.
    TooSlow,
    /// The request as a whole took too long.
    TookTooLong,
    /// The client left, or sent what cannot be read.
    Broken(Box<dyn StdError + Send + Sync>),
}

impl BodyError {
    fn broken(error: hyper::Error) -> Self {
        Self::Broken(Box::new(error))
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the body is larger than it may be",
            Self::TooSlow => "the body came too slowly",
            Self::TookTooLong => "the request took longer than it may",
            Self::Broken(_) => "the client left or sent what cannot be read",
        })
    }
}

impl StdError for BodyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Broken(error) => Some(&**error),
            Self::TooLarge | Self::TooSlow | Self::TookTooLong => None,
        }
    }
}

/// The body of an answer, on its way to the client.
#[pin_project]
pub(super) struct AnswerBody<R> {
    #[pin]
    inner: MaybeOwn<R>,
    turn: Turn,
}

impl<R> AnswerBody<R> {
    pub(super) fn new(inner: MaybeOwn<R>, mut turn: Turn) -> Self
    where
        R: Body,
        R::Data: From<Bytes>,
    {
        if let Some(log) = &mut turn.log
            && inner.is_end_stream()
        {
            log.whole();
        }
        Self { inner, turn }
    }
}

impl<R> Body for AnswerBody<R>
where
    R: Body<Error: Into<Box<dyn StdError + Send + Sync>>>,
    R::Data: From<Bytes>,
{
    type Data = R::Data;
    type Error = Box<dyn StdError + Send + Sync>;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, Self::Error>>> {
        let mut this = self.project();
        if this.turn.is_stream() {
            this.turn.watch.register(cx.waker());
        }
        if this.turn.watch.has_orders()
            && let Some(Verdict::TookTooLong) = this.turn.watch.verdict()
        {
            this.turn.count(DoorFault::TookTooLong);
            return Poll::Ready(Some(Err(BodyError::TookTooLong.into())));
        }
        let polled = this.inner.as_mut().poll_frame(cx);
        if this.turn.is_stream() {
            this.turn.watch.flags.answered.store(polled.is_ready(), Relaxed);
        }
        let frame = ready!(polled);
        if this.turn.is_stream()
            && let Some(Ok(frame)) = &frame
        {
            let size = frame.data_ref().map_or(0, Buf::remaining);
            Counts::add(&this.turn.watch.counts.taken, size as u64);
        }
        if let Some(log) = &mut this.turn.log {
            match &frame {
                Some(Ok(frame)) => log.sent(frame.data_ref().map_or(0, Buf::remaining)),
                Some(Err(_)) => log.broke(),
                None => log.whole(),
            }
            // Of a body whose end is known nobody asks for one more frame.
            if this.inner.is_end_stream() || this.inner.size_hint().exact() == Some(0) {
                log.whole();
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
