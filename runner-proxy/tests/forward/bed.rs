//! A pool with forwarding behind it, a server before it, and instances that do as they are told.
#![allow(dead_code, reason = "each file uses its part of this")]

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use runner_core::{
    address::Address,
    admission::{Instance, QueueSettings, Snapshot},
    id::{InstanceId, RevisionNumber, ServiceId},
};
use runner_proxy::{
    exchange::ClientConnection,
    forward::{Connect, Forward, ForwardBody, ForwardBuilder, Memory},
    pool::{Pool, PoolQueue},
    queue::ResponseBody,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::{Layer, ServiceExt, service_fn};

pub(crate) type Answer = Response<ResponseBody<ForwardBody>>;

/// The whole path, as a service.
pub(crate) struct Bed<C> {
    pub(crate) pool: Pool,
    pub(crate) forward: Forward<C>,
    pub(crate) service: PoolQueue<Forward<C>>,
    tasks: JoinSet<()>,
}

impl<C: Connect> Bed<C> {
    pub(crate) fn new(builder: ForwardBuilder<C>, instances: Vec<Instance>) -> Self {
        let settings = QueueSettings::new(100_000, Duration::from_secs(60));
        let pool = Pool::new(settings, snapshot(instances));
        let (forward, connections) = builder.build();
        let mut tasks = JoinSet::new();
        tasks.spawn(connections.run());
        let service = pool.layer().layer(forward.clone());
        Self { pool, forward, service, tasks }
    }

    /// Asks and gives the head with all of the body.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let Ok(response) = self.send(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Response::from_parts(parts, body)
    }

    pub(crate) async fn get(&self, path: &str) -> Response<Bytes> {
        self.ask(Request::get(path).body(Full::default()).expect("a request")).await
    }

    pub(crate) fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Answer, Infallible>> + Send + use<C> {
        self.service.clone().oneshot(request)
    }

    /// A server before the path; the address it listens on.
    pub(crate) async fn listen(&mut self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let service = self.service.clone();
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                let service = service.clone();
                let answer = hyper::service::service_fn(move |mut request: Request<_>| {
                    let client = ClientConnection { peer: Some(peer), secure: false };
                    request.extensions_mut().insert(client);
                    service.clone().oneshot(request)
                });
                connections.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let io = TokioIo::new(stream);
                    let _ = server.serve_connection_with_upgrades(io, answer).await;
                });
            }
        });
        address
    }

    /// Until `seen` holds of what the pool and forwarding count.
    pub(crate) async fn until(&self, mut seen: impl FnMut(&Self) -> bool) {
        let watched = async {
            while !seen(self) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(300), watched).await.expect("it is seen in time");
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.pool.counters().in_flight
    }
}

/// Instances inside the program.
pub(crate) fn in_memory(builder: ForwardBuilder<Memory>, count: u64, cap: u32) -> Bed<Memory> {
    Bed::new(builder, (1..=count).map(|number| memory(number, cap)).collect())
}

pub(crate) fn memory(number: u64, cap: u32) -> Instance {
    let address = Address::Memory(format!("i{number}").into());
    Instance::new(instance_id(number), address, RevisionNumber::FIRST, cap)
}

pub(crate) fn at(number: u64, address: SocketAddr, cap: u32) -> Instance {
    Instance::new(instance_id(number), Address::Tcp(address), RevisionNumber::FIRST, cap)
}

pub(crate) fn instance_id(number: u64) -> InstanceId {
    ServiceId::from_random(1).instance(number)
}

pub(crate) fn snapshot(instances: Vec<Instance>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.instances = instances;
    snapshot
}

/// Answers each request with its first line and headers, as they were read.
pub(crate) fn echo_heads(memory: &Memory, name: &str) {
    memory.serve(
        name,
        service_fn(async |request: Request<runner_proxy::forward::InstanceBody>| {
            let mut text = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                text += &format!("{name}: {}\n", value.to_str().expect("text"));
            }
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text)))
        }),
    );
}

/// An instance that is written by hand: what it is given for each connection, in order.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// `act` is given each connection and its number, counted from 0.
    pub(crate) async fn new<F>(act: impl Fn(Wire, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.set_nodelay(true);
                connections.spawn(act(Wire::new(stream), number));
            }
        });
        Self { address, accepted, _tasks: tasks }
    }

    /// How many connections it was given.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// One connection, by hand.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("somebody listens"))
    }

    /// The next head, to its empty line; nothing at the end.
    pub(crate) async fn head(&mut self) -> Option<String> {
        self.until(b"\r\n\r\n").await
    }

    /// All up to and with these bytes; nothing if the end comes before.
    pub(crate) async fn until(&mut self, mark: &[u8]) -> Option<String> {
        loop {
            let found = self.buffer.windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                let rest = self.buffer.split_off(at + mark.len());
                let head = std::mem::replace(&mut self.buffer, rest);
                return Some(String::from_utf8(head).expect("text"));
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// So many bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
        let rest = self.buffer.split_off(count);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// All there is until the other end closes.
    pub(crate) async fn rest(&mut self) -> String {
        while self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) > 0 {}
        String::from_utf8(std::mem::take(&mut self.buffer)).expect("text")
    }

    pub(crate) async fn say(&mut self, text: &str) {
        // Whoever has gone is not told.
        let _ = self.stream.write_all(text.as_bytes()).await;
    }
}

/// Answers `ok` to each request without a body, for as long as it is asked.
pub(crate) async fn answer_ok(mut wire: Wire) {
    while wire.head().await.is_some() {
        wire.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
}

pub(crate) fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).expect("text")
}

/// Waits in virtual time.
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + span).await;
}
