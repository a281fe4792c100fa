//! A door in a runtime of its own, and clients that say exactly what they are told to.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{convert::Infallible, future::Future, net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::rt::TokioIo;
use runner_core::{
    address::Address,
    admission::{Instance, QueueSettings, Snapshot},
    id::{RevisionNumber, ServiceId},
};
use runner_proxy::{
    forward::{Forward, ForwardBuilder, InstanceBody, Memory},
    front_door::{Drained, FrontDoor, FrontDoorBuilder, FrontDoorHandle, RequestBody},
    pool::{Pool, PoolQueue},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tower::Layer;
use tower_service::Service;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A door that runs.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) handle: FrontDoorHandle,
    pub(crate) running: JoinHandle<Drained>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Opens a door before a service, with what the test changes about it.
pub(crate) async fn open<S, R>(
    service: S,
    change: impl FnOnce(FrontDoorBuilder<S>) -> FrontDoorBuilder<S>,
) -> Door
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: Body<Data: From<Bytes> + Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    let (door, handle) = change(FrontDoor::before(service)).listen(listener).build();
    Door { address, handle, running: tokio::spawn(door.run()) }
}

pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) fn text(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()))
}

/// Says what it was asked: method, target, fields in order of name, and the body.
pub(crate) async fn mirror(request: Request<RequestBody>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let mut said = format!("{} {}\n", head.method, head.uri);
    let mut fields: Vec<_> = head.headers.iter().collect();
    fields.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in fields {
        said += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned();
            said += &format!("\n{}", String::from_utf8_lossy(&collected.to_bytes()));
            for (name, value) in trailers.unwrap_or_default().iter() {
                said += &format!("\ntrailer {name}: {}", String::from_utf8_lossy(value.as_bytes()));
            }
        }
        Err(error) => said += &format!("\nfailed: {error}"),
    }
    Ok(text(said))
}

/// A body without an end, which says something every so often. For tests in virtual time.
pub(crate) fn ticking(every: Duration) -> UnsyncBoxBody<Bytes, Infallible> {
    let frames = futures_util::stream::unfold((), move |()| async move {
        tokio::time::sleep(every).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from("tick "))), ()))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A pool of one slot over an instance in memory.
pub(crate) fn pooled<S, B>(service: S) -> (Pool, PoolQueue<Forward<Memory>>)
where
    S: Service<Request<InstanceBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let memory = Memory::new();
    memory.serve("a", service);
    pooled_by(Forward::builder(memory), 1)
}

/// A pool of so many slots over the instance in memory that is called `a`.
pub(crate) fn pooled_by(
    builder: ForwardBuilder<Memory>,
    slots: u32,
) -> (Pool, PoolQueue<Forward<Memory>>) {
    let id = ServiceId::from_random(1).instance(1);
    let mut snapshot = Snapshot::default();
    let to = Address::Memory("a".into());
    snapshot.instances = vec![Instance::new(id, to, RevisionNumber::FIRST, slots)];
    let pool = Pool::new(QueueSettings::new(10, Duration::from_secs(10)), snapshot);
    let (forward, connections) = builder.build();
    tokio::spawn(connections.run());
    let path = pool.layer().layer(forward);
    (pool, path)
}

/// An instance that opens a WebSocket, and says in it what it hears.
pub(crate) async fn echo_socket(mut request: Request<InstanceBody>) -> Result<Answer, Infallible> {
    let key = request.headers()["sec-websocket-key"].as_bytes();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrade.await.unwrap());
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let (mut out, mut messages) = socket.split();
        while let Some(Ok(message)) = messages.next().await {
            if message.is_text() && out.send(message).await.is_err() {
                break;
            }
        }
    });
    let response = Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", accept);
    Ok(response.body(Full::default()).unwrap())
}

/// A client that says and hears bytes.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn to(door: &Door) -> Self {
        Self(TcpStream::connect(door.address).await.expect("the door is open"))
    }

    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("the door listens");
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn hear_all(&mut self) -> String {
        let mut heard = Vec::new();
        // A reset is an end too; what came before it was heard.
        let _ = within(self.0.read_to_end(&mut heard)).await;
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Everything up to these words.
    pub(crate) async fn hear_until(&mut self, words: &str) -> String {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(words) {
            let mut more = [0; 4096];
            match within(self.0.read(&mut more)).await {
                Ok(0) | Err(_) => break,
                Ok(size) => heard.extend_from_slice(&more[..size]),
            }
        }
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(heard.contains(words), "no `{words}` in `{heard}`");
        heard
    }

    /// Asks once, on a connection of its own, and hears all of the answer.
    pub(crate) async fn ask(door: &Door, bytes: impl AsRef<[u8]>) -> String {
        let mut raw = Self::to(door).await;
        raw.say(bytes).await;
        raw.hear_all().await
    }
}

/// No test waits for ever for what does not come. How long says nothing about how soon it is to
/// come: a busy machine is given its time.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes in time")
}

/// Looks again and again until it is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let looks = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looks).await.expect(what);
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// An empty folder for one test. A process that was killed may have had the same number, and have
/// left its sockets behind.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("runner-door-{}-{test}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("there is room");
    folder
}
