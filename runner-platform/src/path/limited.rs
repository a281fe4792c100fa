//! What a request may take of an instance, beside the time that forwarding keeps: how large its
//! body is, how long that may take, and how long both sides may be silent.
//!
//! It stands between the queue and forwarding, so its clocks begin when the request has a slot: a
//! body is not read before, and waiting is no silence. A service without such limits (the default)
//! has neither a timer nor an allocation for them.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use runner_proxy::forward::{Forward, ForwardBody, ForwardError, ForwardFuture};
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::{
    Reach,
    answer::{self, Reader},
    rules::{Guard, Rulebook},
};

/// Forwarding, within the limits of a service.
#[derive(Clone)]
pub(super) struct Limited {
    forward: Forward<Reach>,
    book: Arc<Rulebook>,
}

impl Limited {
    pub(super) fn new(forward: Forward<Reach>, book: Arc<Rulebook>) -> Self {
        Self { forward, book }
    }
}

impl fmt::Debug for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("forward", &self.forward).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Limited
where
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<LimitedBody>;
    type Error = Infallible;
    type Future = LimitedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> LimitedFuture {
        let guard = self.book.rules().guard;
        let watch = (guard != Guard::default()).then(|| {
            let reader = Reader::of(request.method(), request.headers(), request.extensions());
            Box::new((Arc::new(Watch::new(guard)), reader))
        });
        let seen = watch.as_ref().map(|watch| Arc::clone(&watch.0));
        let request = request.map(|body| Sent { body, watch: seen, read: 0, timer: None });
        LimitedFuture { forwarded: self.forward.call(request), watch, timer: None }
    }
}

/// What both directions of one request write down, and what was found wrong first.
struct Watch {
    guard: Guard,
    began: Instant,
    /// Microseconds from the beginning until something moved last.
    moved: AtomicU64,
    wrong: AtomicU8,
}

/// What was found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    TooLarge = 1,
    TooSlow = 2,
    Silent = 3,
}

impl Watch {
    fn new(guard: Guard) -> Self {
        let (moved, wrong) = (AtomicU64::new(0), AtomicU8::new(0));
        Self { guard, began: Instant::now(), moved, wrong }
    }

    fn find(&self, wrong: Wrong) {
        let _ = self.wrong.compare_exchange(0, wrong as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn wrong(&self) -> Option<Wrong> {
        match self.wrong.load(Ordering::Relaxed) {
            1 => Some(Wrong::TooLarge),
            2 => Some(Wrong::TooSlow),
            3 => Some(Wrong::Silent),
            _ => None,
        }
    }

    /// Something moved, in either direction.
    fn note_move(&self) {
        if self.guard.idle.is_some() {
            let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.moved.fetch_max(micros, Ordering::Relaxed);
        }
    }

    /// Whether neither side has moved for too long; otherwise wakes when that may be so.
    fn poll_silence(&self, timer: &mut Timer, context: &mut Context<'_>) -> bool {
        let Some(idle) = self.guard.idle else { return false };
        loop {
            let moved = Duration::from_micros(self.moved.load(Ordering::Relaxed));
            let end = self.began + moved + idle;
            if !poll_until(timer, end, context) {
                return false;
            }
            let moved = Duration::from_micros(self.moved.load(Ordering::Relaxed));
            if self.began + moved + idle <= Instant::now() {
                self.find(Wrong::Silent);
                return true;
            }
        }
    }
}

type Timer = Option<Pin<Box<Sleep>>>;

/// Whether a time has come; wakes when it does.
fn poll_until(timer: &mut Timer, end: Instant, context: &mut Context<'_>) -> bool {
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
    if timer.deadline() != end {
        timer.as_mut().reset(end);
    }
    timer.as_mut().poll(context).is_ready()
}

/// The body of a request on its way to an instance.
#[pin_project]
struct Sent<B> {
    #[pin]
    body: B,
    watch: Option<Arc<Watch>>,
    read: u64,
    timer: Timer,
}

impl<B: Body<Data = Bytes>> Body for Sent<B> {
    type Data = Bytes;
    type Error = Broken<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(context);
        let Some(watch) = this.watch else {
            return polled.map(|frame| frame.map(|frame| frame.map_err(Broken::Client)));
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                watch.note_move();
                let length = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                *this.read = this.read.saturating_add(length);
                if watch.guard.body_size.is_some_and(|most| *this.read > most) {
                    watch.find(Wrong::TooLarge);
                    return Poll::Ready(Some(Err(Broken::ByLimit)));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                let Some(limit) = watch.guard.body else { return Poll::Pending };
                if !poll_until(this.timer, watch.began + limit, context) {
                    return Poll::Pending;
                }
                watch.find(Wrong::TooSlow);
                Poll::Ready(Some(Err(Broken::ByLimit)))
            }
            Poll::Ready(end) => Poll::Ready(end.map(|broken| broken.map_err(Broken::Client))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why the body of a request ended before its end. Nobody reads it: what was wrong is in the
/// watch, and a client that broke off hears nothing.
#[derive(Debug)]
enum Broken<E> {
    Client(E),
    ByLimit,
}

/// The response to come.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub(super) struct LimitedFuture {
    #[pin]
    forwarded: ForwardFuture,
    /// What is watched, and who is told.
    watch: Option<Box<(Arc<Watch>, Reader)>>,
    timer: Timer,
}

impl Future for LimitedFuture {
    type Output = Result<Response<LimitedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.forwarded.poll(context);
        let Some(watched) = this.watch else {
            return polled.map_ok(|response| response.map(LimitedBody::passed));
        };
        let (watch, reader) = &**watched;
        match polled {
            Poll::Ready(Ok(response)) => {
                // An instance may answer before it has read all: then that is the answer.
                let by_instance =
                    response.extensions().get::<runner_proxy::exchange::ServedBy>().is_some();
                Poll::Ready(Ok(match watch.wrong().filter(|_| !by_instance) {
                    Some(wrong) => told_of(wrong, reader),
                    None => {
                        watch.note_move();
                        let watch = watch.guard.idle.is_some().then(|| Arc::clone(watch));
                        response.map(|body| {
                            LimitedBody(Kind::Instance { body, watch, timer: this.timer.take() })
                        })
                    }
                }))
            }
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending => match watch.poll_silence(this.timer, context) {
                true => Poll::Ready(Ok(told_of(Wrong::Silent, reader))),
                false => Poll::Pending,
            },
        }
    }
}

fn told_of(wrong: Wrong, reader: &Reader) -> Response<LimitedBody> {
    let reason = match wrong {
        Wrong::TooLarge => answer::BODY_TOO_LARGE,
        Wrong::TooSlow => answer::BODY_TOO_SLOW,
        Wrong::Silent => answer::SILENT,
    };
    reader.answer(reason).map(LimitedBody::own)
}

impl fmt::Debug for LimitedFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitedFuture").finish_non_exhaustive()
    }
}

/// The body of a response, as an instance sends it or ours.
#[pin_project]
pub(super) struct LimitedBody(#[pin] Kind);

#[pin_project(project = KindProjection)]
enum Kind {
    Own(Option<Bytes>),
    Instance {
        #[pin]
        body: ForwardBody,
        watch: Option<Arc<Watch>>,
        timer: Timer,
    },
}

impl LimitedBody {
    fn passed(body: ForwardBody) -> Self {
        Self(Kind::Instance { body, watch: None, timer: None })
    }

    pub(super) fn own(text: Bytes) -> Self {
        Self(Kind::Own(Some(text).filter(|text| !text.is_empty())))
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = PathError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PathError>>> {
        match self.project().0.project() {
            KindProjection::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            KindProjection::Instance { body, watch, timer } => {
                let polled = body.poll_frame(context);
                if let Some(watch) = watch {
                    match &polled {
                        Poll::Ready(_) => watch.note_move(),
                        Poll::Pending if watch.poll_silence(timer, context) => {
                            return Poll::Ready(Some(Err(PathError(None))));
                        }
                        Poll::Pending => {}
                    }
                }
                polled.map(|frame| frame.map(|frame| frame.map_err(|e| PathError(Some(e)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(text) => text.is_none(),
            Kind::Instance { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Instance { body, .. } => body.size_hint(),
        }
    }
}

impl fmt::Debug for LimitedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitedBody").finish_non_exhaustive()
    }
}

/// Why the body of a response ended before its end.
#[derive(Debug)]
pub struct PathError(Option<ForwardError>);

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(error) => error.fmt(f),
            None => f.write_str("neither side sent anything for too long"),
        }
    }
}

impl Error for PathError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().and_then(Error::source)
    }
}
