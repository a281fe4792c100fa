//! Connections of probes, and time that runs out.

use std::{
    future::Future,
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use runner_core::{address::Address, spec::Port};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{Seen, Target, Waiting, words_of};

/// The time that an attempt has, over all its steps.
#[derive(Clone, Copy)]
pub(super) struct Allowance {
    limit: Duration,
    end: Instant,
}

impl Allowance {
    pub(super) fn start(limit: Duration) -> Self {
        Self { limit, end: Instant::now() + limit.min(LONGEST) }
    }

    /// A step of the attempt, or what is seen when the time is over in it.
    pub(super) async fn keep<T>(
        self,
        waiting_for: Waiting,
        step: impl Future<Output = T>,
    ) -> Result<T, Seen> {
        let over = |_| Seen::TimedOut { limit: self.limit, waiting_for };
        timeout_at(self.end, step).await.map_err(over)
    }
}

/// Where a probe goes: the instance's own address, or another port of the same host.
pub(super) fn address(target: &Target, port: Option<Port>) -> Address {
    match (&target.address, port) {
        (Address::Tcp(address), Some(port)) => {
            let mut address = *address;
            address.set_port(port.number());
            Address::Tcp(address)
        }
        (address, _) => address.clone(),
    }
}

/// Connects, or says what was seen instead.
pub(super) async fn connect(address: &Address, allowance: Allowance) -> Result<Stream, Seen> {
    match address {
        Address::Tcp(to) => {
            let stream = allowance
                .keep(Waiting::Connection, TcpStream::connect(to))
                .await?
                .map_err(|error| refusal(&error))?;
            if is_its_own_peer(&stream) {
                return Err(Seen::Refused);
            }
            // The smallest of requests must not wait for the acknowledgement of another.
            let _ = stream.set_nodelay(true);
            Ok(Stream::Tcp(stream))
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let connecting = tokio::net::UnixStream::connect(&**path);
            let stream = allowance.keep(Waiting::Connection, connecting).await?;
            stream.map(Stream::Unix).map_err(|error| refusal(&error))
        }
        _ => Err(Seen::NotAsked(words_of(&format!("probes cannot connect to {address}")))),
    }
}

/// Whether a connection met itself.
///
/// Connecting to a free port of this very host can succeed without anybody listening: when the
/// kernel picks that port as the source, both ends of the handshake are the same socket. An
/// instance that is probed every few milliseconds while it starts would be called ready, and
/// could not listen any more.
fn is_its_own_peer(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// What is seen when the system refuses to connect.
pub(super) fn refusal(error: &io::Error) -> Seen {
    match error.kind() {
        // A Unix socket that is not there yet is nobody listening either.
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => Seen::Refused,
        // The descriptors are ours, and ours to raise.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => {
            Seen::NotAsked("this program has no file descriptors left".into())
        }
        _ => Seen::Unreachable(words_of(&error.to_string())),
    }
}

/// What probes talk over.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Stream {
    /// Makes closing it final at once.
    ///
    /// Whoever closes first keeps the port pair for a minute; thousands of probes in a second
    /// would use up the ports of the host. Only for connections on which nothing was said.
    pub(super) fn leave_no_trace(&self) {
        match self {
            Self::Tcp(stream) => {
                let _ = stream.set_zero_linger();
            }
            #[cfg(unix)]
            Self::Unix(_) => {}
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// A day: beyond what any probe is given, within what a timer counts.
const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpSocket;

    #[tokio::test]
    async fn a_connection_that_met_itself_is_recognised() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let own = socket.local_addr().expect("its address");
        let stream = socket.connect(own).await.expect("the kernel lets it");
        assert!(is_its_own_peer(&stream));
    }
}
