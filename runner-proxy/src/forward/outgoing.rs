//! The body of a request on its way to an instance.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    fault::{Fault, ForwardError},
    fields::is_forbidden_behind_a_body,
};

/// What an instance reads.
///
/// One type for all bodies, so that connections are the same whoever sends; only a request that
/// has a body pays for forgetting its type.
pub(super) struct Outgoing(Kind);

enum Kind {
    Empty,
    Streamed(Pin<Box<dyn Source>>),
    /// Boxed, since few bodies are sent twice, and all would be as large.
    Again(Box<Again>),
}

/// A body whose error is ours.
trait Source: Send {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>>;
    fn is_over(&self) -> bool;
    fn size(&self) -> SizeHint;
}

type FrameResult = Result<Frame<Bytes>, ForwardError>;

impl<B> Source for B
where
    B: Body<Data = Bytes> + Send,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        let frame = ready!(self.poll_frame(cx)).map(|frame| match frame {
            Ok(frame) => Ok(match frame.into_data() {
                Ok(data) => Frame::data(data),
                Err(frame) => {
                    frame.into_trailers().map_or_else(|other| other, |trailers| stripped(&trailers))
                }
            }),
            Err(_) => Err(ForwardError::request_broke()),
        });
        Poll::Ready(frame)
    }

    fn is_over(&self) -> bool {
        self.is_end_stream()
    }

    fn size(&self) -> SizeHint {
        self.size_hint()
    }
}

/// Trailers without what belongs into a head.
fn stripped(trailers: &http::HeaderMap) -> Frame<Bytes> {
    let mut kept = http::HeaderMap::with_capacity(trailers.len());
    for (name, value) in trailers {
        if !is_forbidden_behind_a_body(name) {
            kept.append(name, value.clone());
        }
    }
    Frame::trailers(kept)
}

impl Outgoing {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        match body.is_end_stream() {
            true => Self(Kind::Empty),
            false => Self(Kind::Streamed(Box::pin(body))),
        }
    }

    pub(super) const fn empty() -> Self {
        Self(Kind::Empty)
    }

    pub(super) const fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }

    /// Keeps a copy of what is sent, if all of it is small. An empty body needs none.
    pub(super) fn recorded(self) -> (Self, Option<Record>) {
        match self.0 {
            Kind::Streamed(inner) if inner.size().lower() <= RECORDED_MOST => {
                let record = Record::default();
                let tape = Tape { inner, record: record.clone() };
                (Self(Kind::Streamed(Box::pin(tape))), Some(record))
            }
            kind => (Self(kind), None),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Streamed(inner) => inner.as_mut().poll(cx),
            Kind::Again(again) => Poll::Ready(again.next().map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Streamed(inner) => inner.is_over(),
            Kind::Again(again) => again.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Streamed(inner) => inner.size(),
            Kind::Again(again) => SizeHint::with_exact(again.bytes),
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Empty => "Empty",
            Kind::Streamed(_) => "Streamed",
            Kind::Again(_) => "Again",
        })
    }
}

/// A request that got no response.
pub(super) struct Unanswered {
    /// The body as it was, where nothing of the request was sent.
    pub(super) unsent: Option<Outgoing>,
    pub(super) fault: Fault,
}

/// What was sent of a body so far.
#[derive(Clone, Default)]
pub(super) struct Record(Arc<Shared>);

#[expect(clippy::disallowed_types, reason = "guards one body's copy; nothing is awaited under it")]
type Shared = std::sync::Mutex<Tally>;

#[derive(Default)]
struct Tally {
    data: Vec<Bytes>,
    trailers: Option<http::HeaderMap>,
    bytes: u64,
    /// Whether its end was seen.
    is_whole: bool,
    /// Whether it is larger than what is kept.
    is_too_large: bool,
}

impl Record {
    /// The same body once more, if all of it is in hand.
    pub(super) fn again(&self) -> Option<Outgoing> {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (data, trailers) = (tally.data.clone(), tally.trailers.clone());
        (tally.is_whole && !tally.is_too_large).then(|| {
            let again = Again { data: data.into_iter(), trailers, bytes: tally.bytes };
            Outgoing(Kind::Again(Box::new(again)))
        })
    }

    fn note(&self, frame: Option<&Frame<Bytes>>, is_over: bool) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.is_whole = is_over;
        let Some(frame) = frame else { return };
        if let Some(data) = frame.data_ref() {
            tally.bytes += data.len() as u64;
            tally.is_too_large = tally.bytes > RECORDED_MOST;
            match tally.is_too_large {
                true => tally.data = Vec::new(),
                false => tally.data.push(data.clone()),
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            tally.trailers = Some(trailers.clone());
        }
    }
}

/// A body that is copied as it is read.
struct Tape {
    inner: Pin<Box<dyn Source>>,
    record: Record,
}

impl Source for Tape {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        let frame = ready!(self.inner.as_mut().poll(cx));
        if let None | Some(Ok(_)) = &frame {
            let is_over = frame.is_none() || self.inner.is_over();
            self.record.note(frame.as_ref().and_then(|frame| frame.as_ref().ok()), is_over);
        }
        Poll::Ready(frame)
    }

    fn is_over(&self) -> bool {
        self.inner.is_over()
    }

    fn size(&self) -> SizeHint {
        self.inner.size()
    }
}

/// A body from its copy.
struct Again {
    data: std::vec::IntoIter<Bytes>,
    trailers: Option<http::HeaderMap>,
    /// How many are left.
    bytes: u64,
}

impl Again {
    fn next(&mut self) -> Option<Frame<Bytes>> {
        if let Some(data) = self.data.next() {
            self.bytes -= data.len() as u64;
            return Some(Frame::data(data));
        }
        self.trailers.take().map(Frame::trailers)
    }

    fn is_over(&self) -> bool {
        self.data.as_slice().is_empty() && self.trailers.is_none()
    }
}

/// The largest body that is kept in hand, 64 KiB: what a socket takes at once, and with it most
/// forms and JSON documents; so many requests times this is what copies cost at worst.
const RECORDED_MOST: u64 = 64 * 1024;
