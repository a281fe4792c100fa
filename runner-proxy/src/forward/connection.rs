//! One connection to an instance, and one request on it, whatever is spoken.
//!
//! The rest of this module knows a connection by what is here.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, request, response};
use http_body::{Frame, SizeHint};
use runner_core::{address::Address, spec::Protocol};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

use super::{
    fault::Fault,
    head::{Noted, for_http2},
    http1::Http1,
    http2::{Http2, Stream},
    outgoing::{Outgoing, Unanswered},
    tasks::Tasks,
};

/// A connection that a request may be sent on.
pub(super) enum Connection {
    Http1(Box<Http1>),
    Http2(Http2),
}

/// A response that began.
pub(super) struct Answer {
    pub(super) parts: response::Parts,
    pub(super) body: AnswerBody,
}

/// The rest of a response, on the connection that it comes by.
pub(super) enum AnswerBody {
    Http1(Box<Http1>),
    Http2(Stream),
}

impl Connection {
    /// Speaks to the far end of `stream`.
    pub(super) async fn open<S>(stream: S, protocol: Protocol, tasks: &Tasks) -> Result<Self, Fault>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Ok(match protocol {
            Protocol::H2c => Self::Http2(Http2::open(stream, tasks).await?),
            _ => Self::Http1(Http1::new(stream)),
        })
    }

    /// Whether a request was sent on it before: its instance may have closed it meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reused,
            Self::Http2(connection) => connection.is_reused,
        }
    }

    /// Sends a request and waits until its response begins, or until `end`, which is the other
    /// fault. Dropping the future gives it up.
    pub(super) async fn ask(
        self,
        to: &Address,
        head: &request::Parts,
        noted: &Noted,
        body: Outgoing,
        end: Option<(Instant, Fault)>,
    ) -> Result<Answer, Unanswered> {
        let late = |fault| Unanswered { unsent: None, fault };
        match self {
            Self::Http1(mut connection) => {
                connection.begin(head, &noted.origin, body, noted.expects);
                let arrived = poll_fn(|cx| {
                    if let Poll::Ready(outcome) = connection.poll_head(cx) {
                        return Poll::Ready(Some(outcome));
                    }
                    match end {
                        Some((end, _)) => connection.poll_until(end, cx).map(|()| None),
                        None => Poll::Pending,
                    }
                });
                match arrived.await {
                    Some(Ok(parts)) => Ok(Answer { parts, body: AnswerBody::Http1(connection) }),
                    Some(Err(fault)) => Err(Unanswered { unsent: connection.take_unsent(), fault }),
                    None => Err(late(end.map_or(Fault::TotalTimedOut, |(_, fault)| fault))),
                }
            }
            Self::Http2(connection) => {
                let head = for_http2(head, &noted.origin, &body, to);
                let asked = connection.ask(Request::from_parts(head, body));
                let asked = match end {
                    None => asked.await,
                    Some((end, fault)) => {
                        timeout_at(end, asked).await.unwrap_or_else(|_| Err(late(fault)))
                    }
                };
                asked.map(|(parts, stream)| Answer { parts, body: AnswerBody::Http2(stream) })
            }
        }
    }
}

impl AnswerBody {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self {
            Self::Http1(connection) => connection.poll_frame(cx),
            Self::Http2(stream) => stream.poll_frame(cx),
        }
    }

    /// Waits for a time, while there is no frame.
    pub(super) fn poll_until(&mut self, end: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(connection) => connection.poll_until(end, cx),
            Self::Http2(stream) => stream.poll_until(end, cx),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_over(),
            Self::Http2(stream) => stream.is_over(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(connection) => {
                connection.size_left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Self::Http2(stream) => stream.size_hint(),
        }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1(_) => "Http1",
            Self::Http2(_) => "Http2",
        })
    }
}
