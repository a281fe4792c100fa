//! How a connection to an instance is made.

use std::{fmt, io, pin::Pin, sync::Arc};

use runner_core::address::Address;
use runner_proxy::forward::{Connect, Memory, Network};
use tokio::io::{AsyncRead, AsyncWrite};

/// How instances are reached: over TCP and Unix sockets, and inside the program where a test says
/// so.
#[derive(Clone, Default)]
pub struct Reach {
    memory: Option<(Memory, Arc<Listens>)>,
}

/// Whether anybody listens at an address inside the program.
type Listens = dyn Fn(&Address) -> bool + Send + Sync;

impl Reach {
    /// Inside the program too.
    #[cfg(feature = "testing")]
    pub(crate) fn memory(
        memory: Memory,
        listens: impl Fn(&Address) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { memory: Some((memory, Arc::new(listens))) }
    }
}

/// A stream of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to an instance. Boxed: it is made once for many requests.
pub struct ReachStream(Box<dyn Stream>);

impl Connect for Reach {
    type Stream = ReachStream;

    async fn connect(&self, address: &Address) -> io::Result<ReachStream> {
        match (address, &self.memory) {
            (Address::Memory(_), Some((memory, listens))) => match listens(address) {
                true => Ok(ReachStream(Box::new(memory.connect(address).await?))),
                false => Err(io::ErrorKind::ConnectionRefused.into()),
            },
            _ => Ok(ReachStream(Box::new(Network::new().connect(address).await?))),
        }
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("memory", &self.memory.is_some()).finish()
    }
}

impl fmt::Debug for ReachStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReachStream")
    }
}

impl AsyncRead for ReachStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for ReachStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
