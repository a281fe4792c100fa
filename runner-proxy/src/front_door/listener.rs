//! What clients come by.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use crate::exchange::ClientConnection;

/// Where clients come from: a socket that listens, or anything else that brings streams.
///
/// It is there for TCP and Unix sockets of tokio. A descriptor that was inherited becomes one by
/// [`inherited_tcp`] and [`inherited_unix`]. `TcpListener::bind` asks the system for a backlog of
/// 128: where bursts of clients are larger, or wait out a restart, `TcpSocket::listen` takes more.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not bring connections of clients",
    note = "use a `tokio::net::TcpListener` or `UnixListener`, or implement `Listener`"
)]
pub trait Listener: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and who is at its other end.
    ///
    /// # Errors
    ///
    /// None ends the door: it goes on after a pause, and says so where files ran out. A listener
    /// that brings no more is pending for ever.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, ClientConnection)>>;

    /// What it is called in the log.
    fn name(&self) -> String;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, ClientConnection)>> {
        let (stream, peer) = ready!(Self::poll_accept(self, cx))?;
        // An answer is written when it is whole: to wait for more only makes it late. One that is
        // gone already is noticed by who reads it.
        let _ = stream.set_nodelay(true);
        Poll::Ready(Ok((stream, ClientConnection { peer: Some(peer), secure: false })))
    }

    fn name(&self) -> String {
        self.local_addr().map_or_else(|_| "tcp".to_owned(), |address| address.to_string())
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, ClientConnection)>> {
        let (stream, _) = ready!(Self::poll_accept(self, cx))?;
        Poll::Ready(Ok((stream, ClientConnection { peer: None, secure: false })))
    }

    fn name(&self) -> String {
        let address = self.local_addr().ok();
        let path = address.as_ref().and_then(|address| address.as_pathname());
        path.map_or_else(|| "unix".to_owned(), |path| path.display().to_string())
    }
}

/// A listener of TCP that this process was given.
///
/// # Errors
///
/// There is no runtime here, or the descriptor is none that listens.
pub fn inherited_tcp(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// A listener of a Unix socket that this process was given.
///
/// # Errors
///
/// There is no runtime here, or the descriptor is none that listens.
#[cfg(unix)]
pub fn inherited_unix(
    listener: std::os::unix::net::UnixListener,
) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}
