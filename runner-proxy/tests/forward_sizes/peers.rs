//! Instances and clients that speak HTTP by hyper.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// An instance of HTTP/1.1 and HTTP/2, for as long as the tasks are kept.
pub(crate) async fn instance<F, B>(
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) -> (SocketAddr, JoinSet<()>)
where
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let answered = answer(request);
                async { Ok::<_, Infallible>(answered.await) }
            });
            connections.spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().max_concurrent_streams(None);
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, tasks)
}

/// A connection of a client, for as long as its task is kept.
pub(crate) enum Client<B> {
    One(http1::SendRequest<B>),
    Two(http2::SendRequest<B>),
}

impl<B> Client<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    pub(crate) async fn of_http1(to: SocketAddr, tasks: &mut JoinSet<()>) -> Self {
        let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tasks.spawn(async { drop(connection.await) });
        Self::One(sender)
    }

    pub(crate) async fn of_http2(to: SocketAddr, tasks: &mut JoinSet<()>) -> Self {
        let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tasks.spawn(async { drop(connection.await) });
        Self::Two(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<B>) -> Response<Incoming> {
        match self {
            Self::One(sender) => sender.send_request(request).await.unwrap(),
            Self::Two(sender) => sender.send_request(request).await.unwrap(),
        }
    }
}
