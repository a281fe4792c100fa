//! A request on its way: it waits, then drives the inner service, or is refused.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use runner_core::admission::Refusal;
use tower_service::Service;

use super::{
    RequestHead, ResponseBody,
    form::Form,
    gate::{Gate, Lease},
    handle::Share,
    shared::{Admitted, Entry},
    wait::Wait,
};
use crate::{exchange::QueueTime, sync::Arc};

/// What a response future is inside, in either form.
///
/// Waiting => (Readying | Calling | Failed | Refused); Readying => (Calling | Failed). A newcomer begins in any.
/// Dropped in any state, it gives up its place or its slot.
///
/// The request of one that has to wait is boxed: the future of one that has not is hardly larger
/// than the inner service's own, and moving it costs as little.
#[pin_project(project = DriveProjection)]
pub(crate) enum Drive<F: Form<B>, S: Service<F::Request>, B> {
    /// It has a place in the queue.
    Waiting {
        wait: Wait,
        /// Nothing once another state has it.
        inner: Option<S>,
        /// Nothing once it was decided.
        request: Option<Box<Request<B>>>,
    },
    /// It has a slot, and the inner service is not ready yet.
    Readying(Box<Readying<S, F::Request>>),
    /// The inner service works on it.
    Calling {
        #[pin]
        response: S::Future,
        share: Option<Share>,
    },
    /// The inner service failed to become ready; the slot was given back.
    Failed(Option<S::Error>),
    /// It was refused.
    Refused(Option<Box<Response<Bytes>>>),
}

pub(crate) struct Readying<S, R> {
    inner: S,
    /// Nothing once it was called.
    call: Option<(R, Share)>,
}

impl<F, S, B> Drive<F, S, B>
where
    F: Form<B>,
    S: Service<F::Request>,
{
    /// Decides on a newcomer: a slot, a place in the queue, or a refusal.
    #[inline]
    pub(crate) fn decide(gate: &Arc<Gate>, inner: S, request: Request<B>) -> Self {
        match F::take(gate) {
            Some(admitted) => {
                let gate = Arc::clone(gate);
                Self::admitted(gate, admitted, Duration::ZERO, &mut Some(inner), request)
            }
            None => Self::ask(gate, inner, request),
        }
    }

    fn ask(gate: &Arc<Gate>, inner: S, request: Request<B>) -> Self {
        let ask = (gate.hooks.ask)(&RequestHead::of(&request));
        match gate.shared.enter(&ask, || gate.clock.now()) {
            Entry::Admitted(admitted) => {
                let gate = Arc::clone(gate);
                Self::admitted(gate, admitted, Duration::ZERO, &mut Some(inner), request)
            }
            Entry::Refused(refusal) => Self::refused(gate, &refusal, &request),
            Entry::Waiting(place) => {
                let request = Some(Box::new(request));
                let wait = Wait::new(Arc::clone(gate), place);
                Self::Waiting { wait, inner: Some(inner), request }
            }
        }
    }

    /// Most services are ready most of the time, so the first look needs no waker: one that is
    /// not ready is asked again, with a waker, when this is polled.
    #[inline(always)]
    fn admitted(
        gate: Arc<Gate>,
        admitted: Admitted<F::Target>,
        waited: Duration,
        inner: &mut Option<S>,
        mut request: Request<B>,
    ) -> Self {
        let lease = Lease::new(gate, admitted.held, admitted.sampled);
        let share = F::prepare(&mut request, lease, admitted.target, waited);
        let service = inner.as_mut().expect("it was not called yet");
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                let response = service.call(F::wrap(request, &share));
                Self::Calling { response, share: Some(share) }
            }
            Poll::Ready(Err(error)) => Self::Failed(Some(error)),
            Poll::Pending => Self::readying(inner.take(), F::wrap(request, &share), share),
        }
    }

    #[cold]
    fn readying(inner: Option<S>, request: F::Request, share: Share) -> Self {
        let inner = inner.expect("it was not called yet");
        Self::Readying(Box::new(Readying { inner, call: Some((request, share)) }))
    }

    fn refused(gate: &Gate, refusal: &Refusal, request: &Request<B>) -> Self {
        let span = tracing::Span::current();
        span.record("queue.refused", refusal.reason.code());
        if let Some(wait) = refusal.wait {
            span.record("queue.wait_ms", wait.as_secs_f64() * 1e3);
        }
        let response = (gate.hooks.refuse)(&RequestHead::of(request), refusal);
        Self::Refused(Some(Box::new(response)))
    }
}

impl<F, S, B> Drive<F, S, B>
where
    F: Form<B>,
    S: Service<F::Request>,
{
    #[inline]
    pub(crate) fn drive<R>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody<R>>, S::Error>>
    where
        S: Service<F::Request, Response = Response<R>>,
        R: Body,
    {
        loop {
            let next = match self.as_mut().project() {
                DriveProjection::Calling { response, share } => {
                    let response = ready!(response.poll(cx));
                    let share = share.take().expect("a response comes once");
                    return Poll::Ready(
                        response.map(|r| r.map(|body| ResponseBody::served(body, share))),
                    );
                }
                DriveProjection::Waiting { wait, inner, request } => {
                    let (gate, waited, decided) = ready!(wait.poll(cx));
                    let request = request.take().expect("it is decided once");
                    if let Some(time) = request.extensions().get::<QueueTime>() {
                        time.set(waited);
                    }
                    match decided {
                        Ok(admitted) => Self::admitted(gate, admitted, waited, inner, *request),
                        Err(refusal) => Self::refused(&gate, &refusal, &request),
                    }
                }
                DriveProjection::Readying(readying) => {
                    let ready = ready!(readying.inner.poll_ready(cx));
                    let (request, share) = readying.call.take().expect("it is called once");
                    match ready {
                        Ok(()) => Self::Calling {
                            response: readying.inner.call(request),
                            share: Some(share),
                        },
                        Err(error) => Self::Failed(Some(error)),
                    }
                }
                DriveProjection::Failed(error) => {
                    return Poll::Ready(Err(error.take().expect("an error comes once")));
                }
                DriveProjection::Refused(response) => {
                    let response = response.take().expect("a response comes once");
                    return Poll::Ready(Ok(response.map(ResponseBody::refused)));
                }
            };
            self.set(next);
        }
    }
}

impl<F: Form<B>, S: Service<F::Request>, B> fmt::Debug for Drive<F, S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting { .. } => "Waiting",
            Self::Readying(_) => "Readying",
            Self::Calling { .. } => "Calling",
            Self::Failed(_) => "Failed",
            Self::Refused(_) => "Refused",
        })
    }
}
