//! Bodies that hold a lease to their end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::handle::Share;
use crate::told::MaybeOwn;

/// A body that holds a share in its request's slot until it is finished, fails or is dropped.
///
/// A body is finished when its last frame was taken, not when its reader asks once more: a server
/// that knows the length never asks.
#[pin_project]
#[derive(Debug)]
pub struct LeasedBody<B> {
    #[pin]
    inner: B,
    share: Option<Share>,
}

impl<B: Body> LeasedBody<B> {
    /// Takes the share only where there is something to read.
    #[inline]
    pub(crate) fn new(inner: B, share: impl FnOnce() -> Share) -> Self {
        let share = (!inner.is_end_stream()).then(share);
        Self { inner, share }
    }
}

impl<B: Body> Body for LeasedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream() {
            *this.share = None;
        }
        Poll::Ready(frame)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response that came through the queue: the inner service's, which holds the lease,
/// or that of a refusal.
pub type ResponseBody<B> = MaybeOwn<LeasedBody<B>>;

impl<B: Body> ResponseBody<B> {
    #[inline]
    pub(crate) fn served(inner: B, share: Share) -> Self {
        Self::service(LeasedBody::new(inner, || share))
    }

    pub(crate) fn refused(text: Bytes) -> Self {
        Self::ours(text)
    }
}
