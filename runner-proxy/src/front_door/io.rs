//! A client's stream as hyper reads and writes it: counted, and told when to end.

use std::{
    io,
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    inside::Permit,
    tunnel::{Frames, GOODBYE},
    watch::{CUT, Counts, DRAIN, Phase, Watch},
};

pub(super) struct Io<T> {
    inner: T,
    mode: Mode,
    /// The place of this connection, given back with the stream: a tunnel outlives its driver.
    permit: Permit,
}

/// Sniffing => (Replaying | Plain); Replaying => Plain; Plain => Tunnel.
enum Mode {
    /// Nothing was said yet that is not the beginning of HTTP/2's preface. This is that.
    Sniffing(Vec<u8>),
    /// What was said goes to whoever speaks that.
    Replaying(Bytes),
    Plain,
    Tunnel(Tunnel),
}

#[derive(Default)]
struct Tunnel {
    websocket: Option<Frames>,
    /// How much of the goodbye was said, once it was begun.
    goodbye: Option<usize>,
}

impl<T> Io<T> {
    pub(super) fn new(inner: T, permit: Permit) -> Self {
        Self { inner, mode: Mode::Sniffing(Vec::new()), permit }
    }

    fn watch(&self) -> &Watch {
        &self.permit.watch
    }
}

impl<T: AsyncRead + Unpin> Io<T> {
    /// Reads until it is clear which protocol is spoken.
    ///
    /// For HTTP/1 that is the very first read, and its bytes stay where they are. HTTP/2 is left
    /// pending: the driver, which asked for HTTP/1, sees the flag and starts again.
    fn sniff(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Mode::Sniffing(said) = &mut self.mode else { unreachable!("only called while it is") };
        let before = buf.filled().len();
        loop {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            let new = &buf.filled()[before..];
            let watch = &self.permit.watch;
            Counts::add(&watch.counts.read, new.len() as u64);
            let one = new.is_empty() || !is_preface_so_far(said, new);
            if one && said.is_empty() {
                self.mode = Mode::Plain;
                if buf.filled().len() > before {
                    watch.enter(Phase::Head, self.permit.door.clock.now());
                }
                return Poll::Ready(Ok(()));
            }
            said.extend_from_slice(new);
            buf.set_filled(before);
            watch.enter(Phase::Head, self.permit.door.clock.now());
            if one {
                self.mode = Mode::Replaying(std::mem::take(said).into());
                replay(&mut self.mode, buf);
                return Poll::Ready(Ok(()));
            }
            if said.len() >= PREFACE.len() {
                self.mode = Mode::Replaying(std::mem::take(said).into());
                watch.flags.two.store(true, Relaxed);
                return Poll::Pending;
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let new = buf.filled().len() - before;
        let watch = &self.permit.watch;
        Counts::add(&watch.counts.read, new as u64);
        if new > 0 && watch.phase() == Phase::Idle && !watch.flags.two.load(Relaxed) {
            watch.enter(Phase::Head, self.permit.door.clock.now());
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Io<T> {
    /// Whether this is a tunnel now. The head of the answer is still written by the driver, so the
    /// tunnel begins when anybody else comes.
    #[inline]
    fn is_tunnel(&mut self, cx: &Context<'_>) -> bool {
        match self.mode {
            Mode::Tunnel(_) => true,
            Mode::Plain => self.watch().phase() == Phase::Tunnel && self.begin_tunnel(cx),
            Mode::Sniffing(_) | Mode::Replaying(_) => false,
        }
    }

    #[cold]
    fn begin_tunnel(&mut self, cx: &Context<'_>) -> bool {
        let watch = self.watch();
        if watch.is_registered(cx.waker()) {
            return false;
        }
        let websocket = watch.flags.websocket.load(Relaxed).then(Frames::default);
        self.mode = Mode::Tunnel(Tunnel { websocket, goodbye: None });
        true
    }

    /// Carries out what a tunnel is told: it is cut, or says goodbye between two frames. Ready
    /// with whether the goodbye was said.
    fn obey(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Mode::Tunnel(tunnel) = &mut self.mode else { return Poll::Ready(Ok(false)) };
        let watch = &self.permit.watch;
        if watch.is_ordered(CUT) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let is_between = tunnel.websocket.as_ref().is_some_and(Frames::is_between);
        if tunnel.goodbye.is_none() && !(watch.is_ordered(DRAIN) && is_between) {
            return Poll::Ready(Ok(false));
        }
        let said = tunnel.goodbye.get_or_insert(0);
        while *said < GOODBYE.len() {
            let more = ready!(Pin::new(&mut self.inner).poll_write(cx, &GOODBYE[*said..]))?;
            if more == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            Counts::add(&watch.counts.written, more as u64);
            *said += more;
        }
        Poll::Ready(Ok(true))
    }

    /// Writes into a tunnel.
    #[cold]
    fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if ready!(self.obey(cx))? {
            // After a close frame nothing may follow; what the instance still says is dropped.
            return Poll::Ready(Ok(bytes.len()));
        }
        let draining = self.watch().is_ordered(DRAIN);
        let Mode::Tunnel(Tunnel { websocket, .. }) = &mut self.mode else {
            unreachable!("only called while it is one")
        };
        let until = match websocket {
            Some(frames) if draining => frames.until_between(bytes),
            _ => bytes.len(),
        };
        let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &bytes[..until]))?;
        if let Some(frames) = websocket {
            frames.follow(&bytes[..sent]);
        }
        Counts::add(&self.permit.watch.counts.written, sent as u64);
        Poll::Ready(Ok(sent))
    }

    /// Notes what came of a write.
    #[inline]
    fn note<R>(
        &self,
        written: Poll<io::Result<R>>,
        size: impl Fn(&R) -> usize,
    ) -> Poll<io::Result<R>> {
        let watch = self.watch();
        let blocked = written.is_pending();
        if let Poll::Ready(Ok(sent)) = &written {
            Counts::add(&watch.counts.written, size(sent) as u64);
        }
        if watch.flags.blocked.load(Relaxed) != blocked {
            watch.flags.blocked.store(blocked, Relaxed);
        }
        written
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Io<T> {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_tunnel(cx) {
            this.watch().register(cx.waker());
            // A goodbye that the client does not take is no reason not to hear it.
            if let Poll::Ready(Err(error)) = this.obey(cx) {
                return Poll::Ready(Err(error));
            }
        }
        match this.mode {
            Mode::Plain | Mode::Tunnel(_) => this.read(cx, buf),
            Mode::Sniffing(_) => this.sniff(cx, buf),
            Mode::Replaying(_) => {
                replay(&mut this.mode, buf);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<T> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_tunnel(cx) {
            return this.send(cx, bytes);
        }
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.note(written, |sent| *sent)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_tunnel(cx) {
            let first = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
            return this.send(cx, first);
        }
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, parts);
        this.note(written, |sent| *sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// Gives what was held back, and then leaves the stream as it is.
fn replay(mode: &mut Mode, buf: &mut ReadBuf<'_>) {
    let Mode::Replaying(said) = mode else { return };
    let most = said.len().min(buf.remaining());
    buf.put_slice(&said[..most]);
    said.advance(most);
    if said.is_empty() {
        *mode = Mode::Plain;
    }
}

/// Whether what was said and what is new can still become, or is, HTTP/2's preface.
fn is_preface_so_far(said: &[u8], new: &[u8]) -> bool {
    let rest = PREFACE.get(said.len()..).unwrap_or(&[]);
    let most = rest.len().min(new.len());
    rest[..most] == new[..most]
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
