//! The service that the layer makes.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::{ResponseBody, form::Alone, future::Drive, gate::Gate};
use crate::sync::Arc;

/// A service behind the queue. Made by [`OverflowQueueLayer`](super::OverflowQueueLayer); see the
/// [module page](super) for what it does.
#[derive(Clone, Debug)]
pub struct OverflowQueue<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> OverflowQueue<S> {
    pub(super) fn new(inner: S, gate: Arc<Gate>) -> Self {
        Self { inner, gate }
    }

    /// The service behind the queue.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, B, R> Service<Request<B>> for OverflowQueue<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body,
    R::Data: From<Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    /// Always ready: what readiness would take, an idle clone would keep from others.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        ResponseFuture(Drive::decide(&self.gate, self.inner.clone(), request))
    }
}

/// The response to come. Dropping it gives up the place in the queue, or the slot.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, B>(#[pin] Drive<Alone, S, B>)
where
    S: Service<Request<B>>;

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().0.drive(cx)
    }
}
