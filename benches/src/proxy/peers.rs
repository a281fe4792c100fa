//! The proxies that are Rust: each is a future that serves until it is dropped.

use std::{net::SocketAddr, time::Duration};

use http::{Request, Uri, uri::Scheme};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use runner_core::{
    admission::{Instance, QueueSettings, Snapshot},
    id::{RevisionNumber, ServiceId},
};
use runner_proxy::{
    forward::{Forward, Network},
    front_door::FrontDoor,
    pool::Pool,
};
use tokio::net::{TcpListener, TcpStream};
use tower_layer::Layer;

/// What a process does that was started as `serve <name> <upstream>`: it says on which address it
/// listens, and serves until its input ends.
#[expect(clippy::print_stdout, reason = "the one line that who started it waits for")]
pub fn serve(name: &str, upstream: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("bound"));
        let serving = async {
            match name {
                "relay" => relay(listener, upstream).await,
                "bare_hyper" => bare_hyper(listener, upstream).await,
                "ours" => ours(listener, upstream).await,
                other => panic!("`{other}` is no proxy of ours"),
            }
        };
        let told = tokio::task::spawn_blocking(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        });
        tokio::select! {
            () = serving => {}
            _ = told => {}
        }
    });
}

async fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (stream, peer) = listener.accept().await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    (stream, peer)
}

async fn relay(listener: TcpListener, upstream: SocketAddr) {
    loop {
        let (mut client, _) = accepted(&listener).await;
        tokio::spawn(async move {
            let mut instance = TcpStream::connect(upstream).await.expect("it listens");
            instance.set_nodelay(true).expect("a socket");
            let _ = tokio::io::copy_bidirectional(&mut client, &mut instance).await;
        });
    }
}

async fn bare_hyper(listener: TcpListener, upstream: SocketAddr) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let authority: http::uri::Authority = upstream.to_string().parse().expect("an address");
    loop {
        let (stream, _) = accepted(&listener).await;
        let (client, authority) = (client.clone(), authority.clone());
        let proxied = service_fn(move |mut request: Request<Incoming>| {
            let mut uri = std::mem::take(request.uri_mut()).into_parts();
            uri.scheme = Some(Scheme::HTTP);
            uri.authority = Some(authority.clone());
            *request.uri_mut() = Uri::from_parts(uri).expect("a path");
            client.request(request)
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), proxied));
    }
}

/// The front door, the pool and forwarding; every counter is on.
async fn ours(listener: TcpListener, upstream: SocketAddr) {
    let id = ServiceId::from_random(1).instance(1);
    let mut snapshot = Snapshot::default();
    snapshot.instances = vec![Instance::new(id, upstream.into(), RevisionNumber::FIRST, 1_000)];
    let pool = Pool::new(QueueSettings::new(1_000, Duration::from_secs(10)), snapshot);
    let (forward, connections) = Forward::builder(Network::new()).build();
    tokio::spawn(connections.run());
    let path = pool.layer().layer(forward);
    let (door, _handle) = FrontDoor::before(path).listen(listener).build();
    door.run().await;
}
