//! Connections that became another protocol's: bytes both ways, under the lease of the request
//! that asked for it.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::{Instant, sleep_until},
};

use super::shared::Shared;
use crate::LeaseHandle;

/// What a tunnel holds, and gives back however it ends.
pub(super) struct Ended<C> {
    shared: Arc<Shared<C>>,
    _lease: LeaseHandle,
}

impl<C> Ended<C> {
    pub(super) fn new(shared: Arc<Shared<C>>, lease: LeaseHandle) -> Self {
        Self { shared, _lease: lease }
    }
}

impl<C> Drop for Ended<C> {
    fn drop(&mut self) {
        self.shared.counters.upgrades_ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Copies until both ends have said that they are done, one fails, or nobody says anything for
/// too long. A half that is closed at one end is closed at the other, and the other half goes on.
///
/// `early` is what the instance said with its head.
pub(super) async fn run<C>(
    client: OnUpgrade,
    instance: impl AsyncRead + AsyncWrite + Send + Unpin,
    early: Bytes,
    idle: Option<Duration>,
    _ended: Ended<C>,
) {
    // It fails where the client left before it was told.
    let Ok(client) = client.await else { return };
    let is_spoken = AtomicBool::new(false);
    let mut client =
        End { stream: TokioIo::new(client), early: Bytes::new(), is_spoken: &is_spoken };
    let mut instance = End { stream: instance, early, is_spoken: &is_spoken };
    let mut copying = pin!(copy_bidirectional(&mut client, &mut instance));
    let Some(idle) = idle else {
        // How it ended both ends see for themselves.
        let _ = copying.await;
        return;
    };
    let mut silent = 0;
    while silent < PARTS {
        let next = Instant::now() + idle / PARTS;
        tokio::select! {
            // In one order, so that a simulation replays; what was said is passed on before anybody
            // asks how long nothing was.
            biased;
            _ = &mut copying => return,
            () = sleep_until(next) => {}
        }
        silent = if is_spoken.swap(false, Ordering::Relaxed) { 0 } else { silent + 1 };
    }
}

/// One end of a tunnel. It tells when something was read from it.
struct End<'a, S> {
    stream: S,
    /// Read too early, and read again before everything else.
    early: Bytes,
    is_spoken: &'a AtomicBool,
}

impl<S: AsyncRead + Unpin> AsyncRead for End<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        } else {
            let count = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early.split_to(count));
        }
        if buffer.filled().len() > before {
            self.is_spoken.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for End<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Silence is looked for so often in the time that it may last, and so found at most a part of it
/// late, without reading a clock for each message.
const PARTS: u32 = 8;
