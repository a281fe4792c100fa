//! A body that is a service's or ours.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// The body of a response: the service's, or that of an answer in its place.
#[pin_project]
#[derive(Debug)]
pub struct MaybeOwn<B>(#[pin] Whose<B>);

#[pin_project(project = WhoseProjection)]
#[derive(Debug)]
enum Whose<B> {
    Service(#[pin] B),
    Ours(Option<Bytes>),
}

impl<B> MaybeOwn<B> {
    #[inline]
    pub(crate) const fn service(body: B) -> Self {
        Self(Whose::Service(body))
    }

    pub(crate) fn ours(text: Bytes) -> Self {
        Self(Whose::Ours(Some(text).filter(|text| !text.is_empty())))
    }
}

impl<B> Body for MaybeOwn<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().0.project() {
            WhoseProjection::Service(body) => body.poll_frame(cx),
            WhoseProjection::Ours(text) => {
                Poll::Ready(text.take().map(|text| Ok(Frame::data(text.into()))))
            }
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Whose::Service(body) => body.is_end_stream(),
            Whose::Ours(text) => text.is_none(),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Whose::Service(body) => body.size_hint(),
            Whose::Ours(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
