//! The body of a response on its way to the client.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{
    connection::AnswerBody,
    fault::{Fault, ForwardError},
    instances::Instance,
};
use crate::told::MaybeOwn;

/// What an instance answers, frame by frame as it comes, or our own text.
///
/// The connection goes back to its instance when the last frame was taken. Dropped before that,
/// the body takes the connection with it: nobody reads the rest only to have a connection.
#[derive(Debug)]
pub struct ForwardBody(MaybeOwn<Stream>);

struct Stream {
    /// On its connection; nothing once it is over, or broke.
    body: Option<AnswerBody>,
    instance: Arc<Instance>,
    /// When the connection was last known to be of use: when the response began, until there was
    /// something to wait for. Reading a clock once more would cost more than most bodies do.
    since: Option<Instant>,
    /// When the time of the request is over.
    end: Option<Instant>,
    /// How many there were, to look at the clock now and then.
    frames: u32,
}

impl ForwardBody {
    pub(super) fn own(text: Bytes) -> Self {
        Self(MaybeOwn::ours(text))
    }

    /// The rest of a response that began just `now`.
    pub(super) fn of(
        body: AnswerBody,
        instance: Arc<Instance>,
        now: Instant,
        end: Option<Instant>,
    ) -> Self {
        let mut stream = Stream { body: Some(body), instance, since: Some(now), end, frames: 0 };
        stream.finish_if_over();
        Self(MaybeOwn::service(stream))
    }

    /// A body that is none, of a connection that is HTTP's no more.
    pub(super) fn none() -> Self {
        Self::own(Bytes::new())
    }
}

impl Stream {
    /// Whether its time is over though there is always more to take: its client is what is slow.
    /// Looked at now and then, since it is a matter of minutes and reading a clock is not free.
    fn is_overdue(&self) -> bool {
        self.frames.is_multiple_of(FRAMES) && self.end.is_some_and(|end| Instant::now() >= end)
    }

    fn finish_if_over(&mut self) {
        if self.body.as_ref().is_some_and(AnswerBody::is_over) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(AnswerBody::Http1(connection)) = self.body.take() {
            self.instance.give_back(connection, self.since.unwrap_or_else(Instant::now));
        }
    }
}

impl Body for ForwardBody {
    type Data = Bytes;
    type Error = ForwardError;

    #[inline]
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.finish_if_over();
                this.frames = this.frames.wrapping_add(1);
                if this.body.is_some() && this.is_overdue() {
                    this.body = None;
                    this.instance.outcomes.handle_late_body();
                    return Poll::Ready(Some(Err(ForwardError::timed_out())));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(fault))) => {
                this.body = None;
                if fault != Fault::RequestBroke {
                    this.instance.outcomes.handle_broken_body();
                }
                Poll::Ready(Some(Err(ForwardError::response_broke())))
            }
            Poll::Pending => {
                this.since = None;
                let Some(end) = this.end else { return Poll::Pending };
                ready!(body.poll_until(end, cx));
                this.body = None;
                this.instance.outcomes.handle_late_body();
                Poll::Ready(Some(Err(ForwardError::timed_out())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), AnswerBody::size_hint)
    }
}

/// From one look at the clock to the next, where no frame is waited for.
const FRAMES: u32 = 8;

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("is_over", &self.body.is_none()).finish_non_exhaustive()
    }
}
