//! A listener in memory: with it a door runs in virtual time.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use runner_proxy::{
    exchange::ClientConnection,
    front_door::{
        Drained, FrontDoor, FrontDoorBuilder, FrontDoorHandle, Limits, Listener, RequestBody,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
};
use tower_service::Service;

use super::bed::BoxError;

/// Where its clients say that they are.
pub(crate) const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 4711);

pub(crate) struct Memory(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Memory {
    type Stream = DuplexStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(DuplexStream, ClientConnection)>> {
        match ready!(self.0.poll_recv(cx)) {
            Some(stream) => {
                Poll::Ready(Ok((stream, ClientConnection { peer: Some(PEER), secure: false })))
            }
            None => Poll::Pending,
        }
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

/// A door whose clients are in memory.
pub(crate) struct Inner {
    connect: mpsc::UnboundedSender<DuplexStream>,
    pub(crate) handle: FrontDoorHandle,
    pub(crate) running: Option<JoinHandle<Drained>>,
}

#[expect(clippy::disallowed_methods, reason = "a test spawns its door")]
pub(crate) fn open<S, R>(
    service: S,
    limits: Limits,
    change: impl FnOnce(FrontDoorBuilder<S>) -> FrontDoorBuilder<S>,
) -> Inner
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: Body<Data: From<Bytes> + Send, Error: Into<BoxError>> + Send + 'static,
{
    let (connect, listener) = mpsc::unbounded_channel();
    let builder = FrontDoor::before(service).listen(Memory(listener)).limits(limits);
    let (door, handle) = change(builder).build();
    Inner { connect, handle, running: Some(tokio::spawn(door.run())) }
}

impl Inner {
    /// A client with room for so many bytes between it and the door.
    pub(crate) fn client(&self, room: usize) -> Client {
        let (ours, theirs) = duplex(room);
        self.connect.send(theirs).expect("the door runs");
        Client(ours)
    }

    pub(crate) fn ask(&self, bytes: &str) -> impl Future<Output = String> + use<> {
        let mut client = self.client(64 << 10);
        let bytes = bytes.to_owned();
        async move {
            client.say(bytes).await;
            client.hear_all().await
        }
    }
}

pub(crate) struct Client(pub(crate) DuplexStream);

impl Client {
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("the door listens");
    }

    pub(crate) async fn hear_all(&mut self) -> String {
        let mut heard = Vec::new();
        let _ = self.0.read_to_end(&mut heard).await;
        String::from_utf8_lossy(&heard).into_owned()
    }

    pub(crate) async fn hear_until(&mut self, words: &str) -> String {
        let mut heard = String::new();
        while !heard.contains(words) {
            let mut more = [0; 4096];
            match self.0.read(&mut more).await {
                Ok(0) | Err(_) => panic!("no `{words}` in `{heard}`"),
                Ok(size) => heard += &String::from_utf8_lossy(&more[..size]),
            }
        }
        heard
    }
}
