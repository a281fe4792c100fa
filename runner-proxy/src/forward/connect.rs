//! How an instance is reached: from an address, which is plain data, to a stream of bytes.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use runner_core::address::Address;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Opens streams to instances.
///
/// It is asked once for each connection and not for each request. A time limit is kept by who
/// asks: a connection that is given up is a future that is dropped.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not connect to instances",
    note = "`Network` does over TCP and Unix sockets, `Memory` inside the program"
)]
pub trait Connect: Send + Sync + 'static {
    /// What is read and written.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens a stream to `address`, or says why there is none.
    fn connect(&self, address: &Address) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Over TCP and Unix sockets.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Network;

impl Network {
    /// There is nothing to say about it.
    pub const fn new() -> Self {
        Self
    }
}

impl Connect for Network {
    type Stream = NetworkStream;

    async fn connect(&self, address: &Address) -> io::Result<NetworkStream> {
        match address {
            Address::Tcp(to) => {
                let stream = TcpStream::connect(to).await?;
                // A port that nobody listens on may be given to this very end of the connection.
                if stream.local_addr()? == stream.peer_addr()? {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                // A small request must not wait for the acknowledgement of the one before.
                stream.set_nodelay(true)?;
                Ok(NetworkStream(Kind::Tcp(stream)))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(&**path).await?;
                Ok(NetworkStream(Kind::Unix(stream)))
            }
            other => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{other} is on no network; connect to it with another `Connect`"),
            )),
        }
    }
}

/// A socket of either kind.
#[derive(Debug)]
pub struct NetworkStream(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl AsyncRead for NetworkStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(unix)]
            Kind::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for NetworkStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(unix)]
            Kind::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            #[cfg(unix)]
            Kind::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Kind::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Kind::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(unix)]
            Kind::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Kind::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
