//! The service of one connection, as hyper calls it.

use std::{
    cell::RefCell,
    convert::Infallible,
    error::Error as StdError,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use pin_project::pin_project;
use tower_service::Service;

use super::{
    body::{AnswerBody, RequestBody},
    inside::Inside,
    streams::Streams,
    turn::Turn,
    watch::Watch,
};
use crate::{
    answer::DoorFault,
    exchange::{ClientConnection, RequestId},
    told::given_id,
};

/// One connection's own clone of the service. It is never called from two places, so one request
/// after another uses it without a clone of its own.
pub(super) struct Serve<S> {
    inner: RefCell<S>,
    door: Arc<Inside>,
    watch: Arc<Watch>,
    client: ClientConnection,
    streams: Option<Streams>,
}

impl<S> Serve<S> {
    pub(super) fn new(
        inner: S,
        door: Arc<Inside>,
        watch: Arc<Watch>,
        client: ClientConnection,
    ) -> Self {
        Self { inner: RefCell::new(inner), door, watch, client, streams: None }
    }

    /// The same for HTTP/2, whose streams are run by these.
    pub(super) fn with_streams(mut self, streams: Streams) -> Self {
        self.streams = Some(streams);
        self
    }
}

impl<S, R> hyper::service::Service<Request<Incoming>> for Serve<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    R: Body,
    R::Data: From<Bytes>,
    R::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<AnswerBody<R>>;
    type Error = Infallible;
    type Future = Answering<S>;

    #[inline]
    fn call(&self, mut request: Request<Incoming>) -> Answering<S> {
        let trusted = (self.door.trusts)(&self.client);
        let given = if trusted { given_id(request.headers()) } else { None };
        let id = given.cloned().map_or_else(|| self.door.ids.next(), RequestId);
        let turn = Turn::begin(&self.door, &self.watch, &request, id.clone(), &self.client);
        if let Some(streams) = &self.streams {
            streams.begins(&turn.watch);
        }
        if let Err(fault) = turn.check(&mut request) {
            return Answering { state: State::Refused(fault), turn: Some(turn), streams: None };
        }
        let extensions = request.extensions_mut();
        extensions.insert(self.client);
        extensions.insert(id);
        if let Some(log) = &turn.log {
            log.prepare(extensions);
        }
        let request = request.map(|body| RequestBody::new(body, &turn));
        let mut inner = self.inner.borrow_mut();
        // Most services are ready most of the time, so the first look needs no waker. One that is
        // not is asked again in a clone: the connection may bring another request meanwhile.
        let state = match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => State::Calling(inner.call(request)),
            Poll::Ready(Err(error)) => State::Refused(failed(error)),
            Poll::Pending => State::Readying(Box::new((inner.clone(), Some(request)))),
        };
        let streams = if turn.may_tunnel() { self.streams.clone() } else { None };
        Answering { state, turn: Some(turn), streams }
    }
}

/// The answer to come. hyper drops it when the client is gone.
#[pin_project]
pub(super) struct Answering<S: Service<Request<RequestBody>>> {
    #[pin]
    state: State<S>,
    /// Nothing once it was answered.
    turn: Option<Turn>,
    /// Where the stream goes on if the answer is a tunnel.
    streams: Option<Streams>,
}

/// Readying => (Calling | Refused). A request begins in any.
#[pin_project(project = StateProjection)]
enum State<S: Service<Request<RequestBody>>> {
    Calling(#[pin] S::Future),
    Readying(Box<(S, Option<Request<RequestBody>>)>),
    Refused(DoorFault),
}

impl<S, R> Future for Answering<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>>,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    R: Body,
    R::Data: From<Bytes>,
{
    type Output = Result<Response<AnswerBody<R>>, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let turn = this.turn.as_mut().expect("an answer comes once");
        if turn.is_stream() {
            turn.watch.register(cx.waker());
        }
        let answered = this.state.as_mut().answered(cx);
        let response = match (answered, turn.interrupted()) {
            // What was found out about the body meanwhile is the truth, whatever the service made
            // of a body that ended.
            (Poll::Ready(Err(fault)), None) | (_, Some(fault)) => turn.fault(fault),
            (Poll::Ready(Ok(response)), None) => turn.pass(response),
            (Poll::Pending, None) => return Poll::Pending,
        };
        let mut turn = this.turn.take().expect("seen above");
        if let (Some(streams), Some(tunnel)) = (&this.streams, turn.take_tunnel()) {
            streams.tunnels(tunnel);
        }
        turn.watch.flags.answered.store(turn.is_stream(), Relaxed);
        Poll::Ready(Ok(response.map(|body| AnswerBody::new(body, turn))))
    }
}

impl<S, R> State<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>>,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    #[inline]
    fn answered(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<R>, DoorFault>> {
        loop {
            let next = match self.as_mut().project() {
                StateProjection::Calling(response) => {
                    return Poll::Ready(ready!(response.poll(cx)).map_err(failed));
                }
                StateProjection::Readying(readying) => {
                    let (service, request) = &mut **readying;
                    match ready!(service.poll_ready(cx)) {
                        Ok(()) => {
                            let request = request.take().expect("it is called once");
                            Self::Calling(service.call(request))
                        }
                        Err(error) => Self::Refused(failed(error)),
                    }
                }
                StateProjection::Refused(fault) => return Poll::Ready(Err(*fault)),
            };
            self.set(next);
        }
    }
}

/// The error of a service is for the log alone.
#[cold]
fn failed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> DoorFault {
    let error = error.into();
    tracing::warn!(%error, "the service failed to answer a request");
    DoorFault::ServiceFailed
}
