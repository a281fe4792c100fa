//! HTTP/2 to an instance: one connection for many requests, driven by a task of its own.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, response};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    fault::Fault,
    outgoing::{Outgoing, Unanswered},
    tasks::Tasks,
};

/// A share in a connection to an instance.
pub(super) struct Http2 {
    sender: SendRequest<Outgoing>,
    /// Held once by each request on it, to the end of its response, and once by the pool.
    streams: Arc<()>,
    pub(super) born: Instant,
    /// Whether a request was on it before: the instance may have closed it meanwhile.
    pub(super) is_reused: bool,
}

impl Http2 {
    /// Speaks to the far end of `stream`; what drives the connection becomes one of `tasks`.
    pub(super) async fn open<S>(stream: S, tasks: &Tasks) -> Result<Self, Fault>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = Builder::new(tasks.clone())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * 4)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Fault::ConnectFailed)?;
        // How it ends is seen by its requests.
        match tasks.run(async { drop(connection.await) }) {
            true => {
                let streams = Arc::default();
                Ok(Self { sender, streams, born: Instant::now(), is_reused: false })
            }
            false => Err(Fault::Stopping),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether it takes one more request.
    pub(super) fn has_room(&self) -> bool {
        // One is the pool's own.
        Arc::strong_count(&self.streams) <= MOST_STREAMS
    }

    /// Whether no request is on it, as far as the pool's own share can tell.
    pub(super) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.streams) == 1
    }

    /// A share for one more request.
    pub(super) fn share(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            streams: Arc::clone(&self.streams),
            born: self.born,
            is_reused: true,
        }
    }

    /// Sends a request. Dropping the future gives up the response.
    pub(super) async fn ask(
        mut self,
        request: Request<Outgoing>,
    ) -> Result<(response::Parts, Stream), Unanswered> {
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                Ok((parts, Stream { body, _share: self.streams, timer: None }))
            }
            Err(mut error) => {
                let unsent = error.take_message().map(Request::into_body);
                Err(Unanswered { unsent, fault: Fault::of(&error.into_error()) })
            }
        }
    }
}

/// The rest of a response.
pub(super) struct Stream {
    body: Incoming,
    _share: Arc<()>,
    /// Made when there is something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        Pin::new(&mut self.body).poll_frame(cx).map_err(|error| Fault::of(&error))
    }

    /// Waits for a time, which is the same each time.
    pub(super) fn poll_until(&mut self, end: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(end))).as_mut().poll(cx)
    }

    pub(super) fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What one stream may have on its way, so that a single download is as fast as the way is long:
/// hyper's own default for clients.
const WINDOW: u32 = 2 * 1024 * 1024;

/// Requests at once on one connection: as many as RFC 9113 wants every server to take at least.
/// What an instance takes less than that waits inside the connection; what there is more goes by
/// another one.
const MOST_STREAMS: usize = 100;
