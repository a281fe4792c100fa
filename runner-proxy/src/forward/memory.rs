//! Instances inside the program: a simulation sends real requests through the real path, without
//! a socket.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::{rt::TokioIo, server::conn::auto};
use runner_core::address::Address;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::mpsc,
    task::JoinSet,
};
use tower_service::Service;

use super::{
    connect::Connect,
    fault::ForwardError,
    tasks::{BoxTask, Tasks},
};

/// Answers at `memory:` addresses with tower services, in whatever protocol is spoken to them.
///
/// Each connection is a pair of pipes. The end of the instance lives inside the stream that is
/// given to the proxy and makes progress whenever that is read or written, so there is no task to
/// own, and dropping the connection drops what was being answered.
#[derive(Clone, Default)]
pub struct Memory {
    instances: Arc<Names>,
}

#[expect(
    clippy::disallowed_types,
    reason = "guards the names; held for a look, never awaited under"
)]
type Names = std::sync::Mutex<BTreeMap<Arc<str>, Arc<Open>>>;

/// A service with its types forgotten: opens a connection to it.
type Open = dyn Fn() -> MemoryStream + Send + Sync;

impl Memory {
    /// Nobody answers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on new connections to `name` are answered by clones of `service`.
    pub fn serve<S, B>(&self, name: &str, service: S)
    where
        S: Service<Request<InstanceBody>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let open = move || {
            let service = service.clone();
            let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
                let mut service = service.clone();
                async move {
                    match poll_fn(|cx| service.poll_ready(cx)).await {
                        Ok(()) => service.call(request.map(InstanceBody)).await,
                        Err(never) => match never {},
                    }
                }
            });
            MemoryStream::to(|far, streams| async move {
                let server = auto::Builder::new(streams);
                // How it ended is seen at the other end.
                let _ = server.serve_connection_with_upgrades(TokioIo::new(far), answer).await;
            })
        };
        let mut names = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.into(), Arc::new(open));
    }

    /// From now on new connections to `name` are refused. Those that there are go on.
    pub fn remove(&self, name: &str) {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Connect for Memory {
    type Stream = MemoryStream;

    async fn connect(&self, address: &Address) -> io::Result<MemoryStream> {
        let Address::Memory(name) = address else {
            let what = format!("{address} is not inside this program");
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        };
        let names = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = names.get(name).map(Arc::clone);
        drop(names);
        let open = instance.ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(open())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(names.keys()).finish()
    }
}

/// The body of a request as an instance inside the program reads it.
#[derive(Debug)]
pub struct InstanceBody(Incoming);

impl Body for InstanceBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(|_| ForwardError::request_broke())
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The proxy's end of a connection, with the instance inside.
pub struct MemoryStream {
    pipe: DuplexStream,
    /// Nothing once it has ended.
    instance: Option<BoxTask>,
    /// Streams of HTTP/2, each of which is a future of its own.
    streams: JoinSet<()>,
    newcomers: mpsc::UnboundedReceiver<BoxTask>,
}

impl MemoryStream {
    /// A connection whose other end is driven by `instance`, which gives the streams of HTTP/2
    /// away.
    fn to<F>(instance: impl FnOnce(DuplexStream, Tasks) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (pipe, far) = tokio::io::duplex(PIPE);
        let (streams, newcomers) = Tasks::channel();
        let instance: BoxTask = Box::pin(instance(far, streams));
        Self { pipe, instance: Some(instance), streams: JoinSet::new(), newcomers }
    }

    /// Lets the instance go on. Its wakers are those of whoever reads or writes this end.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(instance) = &mut self.instance
            && instance.as_mut().poll(cx).is_ready()
        {
            self.instance = None;
        }
        while let Poll::Ready(Some(stream)) = self.newcomers.poll_recv(cx) {
            self.streams.spawn(stream);
        }
        while let Poll::Ready(Some(_)) = self.streams.poll_join_next(cx) {}
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.drive(cx);
        Pin::new(&mut self.pipe).poll_read(cx, buffer)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.drive(cx);
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(cx);
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream").finish_non_exhaustive()
    }
}

/// As much as a socket of the usual system takes before its writer waits.
const PIPE: usize = 64 * 1024;
