//! WebSockets inside a connection of HTTP/2 (RFC 8441), by a client that says its frames itself.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use runner_core::spec;
use runner_proxy::{
    answer::DoorFault,
    forward::{Fault, Forward, InstanceBody, Memory},
    front_door::{Drain, Drained, Limits},
    pool::{Pool, PoolQueue},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tower::service_fn;

use super::{
    bed::{self, Answer, Door, echo_socket, mirror, pooled, pooled_by, text, until, within},
    memory,
};

type Client = SendRequest<Bytes>;

async fn client_on(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Client {
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn client(door: &Door) -> Client {
    client_on(TcpStream::connect(door.address).await.unwrap()).await
}

/// A pool of so many slots over an instance that says in WebSockets what it hears, and elsewhere
/// where it was asked.
fn echoes(slots: u32) -> (Pool, PoolQueue<Forward<Memory>>) {
    let memory = Memory::new();
    memory.serve(
        "a",
        service_fn(async |request: Request<InstanceBody>| match request.uri().path() {
            "/socket" => echo_socket(request).await,
            path => Ok::<_, Infallible>(text(format!("at {path}"))),
        }),
    );
    pooled_by(Forward::builder(memory), slots)
}

/// Asks for something, and hears all of it.
async fn ask(client: &Client, request: Request<()>) -> (Response<()>, String) {
    let mut client = client.clone().ready().await.unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    whole(response).await
}

async fn whole(response: ResponseFuture) -> (Response<()>, String) {
    let (head, mut body) = within(response).await.unwrap().into_parts();
    let mut text = Vec::new();
    while let Some(data) = within(body.data()).await {
        text.extend_from_slice(&data.unwrap());
    }
    (Response::from_parts(head, ()), String::from_utf8(text).unwrap())
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a{path}")).body(()).unwrap()
}

fn connect(protocol: &'static str) -> Request<()> {
    Request::connect("http://a/socket?x=1")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .extension(Protocol::from_static(protocol))
        .body(())
        .unwrap()
}

/// Asks for a WebSocket, once it is known that the door has them.
async fn open(client: &Client) -> (ResponseFuture, SendStream<Bytes>) {
    let mut client = client.clone().ready().await.unwrap();
    while !client.is_extended_connect_protocol_enabled() {
        // The door says so with its first frame.
        tokio::task::yield_now().await;
        client = client.ready().await.unwrap();
    }
    client.send_request(connect("websocket"), false).unwrap()
}

/// The tunnel of a stream, as something to read and write.
fn tunnel(mut hears: RecvStream, mut says: SendStream<Bytes>) -> DuplexStream {
    let (ours, far) = duplex(64 << 10);
    let (mut read, mut write) = tokio::io::split(far);
    tokio::spawn(async move {
        let mut room = [0; 4096];
        while let Ok(size @ 1..) = read.read(&mut room).await {
            says.send_data(Bytes::copy_from_slice(&room[..size]), false).unwrap();
        }
        let _ = says.send_data(Bytes::new(), true);
    });
    tokio::spawn(async move {
        while let Some(Ok(data)) = hears.data().await {
            hears.flow_control().release_capacity(data.len()).unwrap();
            write.write_all(&data).await.unwrap();
        }
        let _ = write.shutdown().await;
    });
    ours
}

async fn socket(client: &Client) -> WebSocketStream<DuplexStream> {
    let (response, says) = open(client).await;
    let response = within(response).await.unwrap();
    assert_eq!(response.status(), 200);
    let tunnel = tunnel(response.into_body(), says);
    WebSocketStream::from_raw_socket(tunnel, Role::Client, None).await
}

async fn says_and_hears(socket: &mut WebSocketStream<DuplexStream>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    assert_eq!(within(socket.next()).await.unwrap().unwrap(), Message::text(text));
}

#[tokio::test]
async fn a_websocket_inside_http_2_reaches_an_instance_of_http_1_1() {
    let (pool, path) = pooled(service_fn(async |request: Request<InstanceBody>| {
        assert_eq!(request.method(), "GET");
        assert_eq!(request.version(), http::Version::HTTP_11);
        assert_eq!(request.uri(), "/socket?x=1");
        for (name, value) in [
            ("host", "a"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat"),
        ] {
            assert_eq!(request.headers()[name], value);
        }
        let mut response = echo_socket(request).await?;
        let chosen = "chat".parse().unwrap();
        response.headers_mut().insert("sec-websocket-protocol", chosen);
        Ok::<_, Infallible>(response)
    }));
    let door = bed::open(path, |door| door).await;
    let client = client(&door).await;
    let (response, says) = open(&client).await;
    let response = within(response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    for name in ["sec-websocket-accept", "connection", "upgrade", "content-length"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let tunnel = tunnel(response.into_body(), says);
    let mut socket = WebSocketStream::from_raw_socket(tunnel, Role::Client, None).await;
    says_and_hears(&mut socket, "hello").await;
    // More than a window, and than a pipe.
    says_and_hears(&mut socket, &"x".repeat(300_000)).await;
    assert_eq!(pool.counters().in_flight, 1, "a tunnel holds its slot");
    assert_eq!(door.handle.counters().upgraded, 1);
    socket.close(None).await.unwrap();
    assert!(within(socket.next()).await.unwrap().unwrap().is_close(), "the instance agrees");
    drop(socket);
    until("the slot is free", || pool.counters().in_flight == 0).await;
    assert_eq!(door.handle.counters().open, 1, "the connection goes on");
}

#[tokio::test]
async fn others_are_served_beside_the_tunnel_and_after_it() {
    let (pool, path) = echoes(3);
    let door = bed::open(path, |door| door).await;
    let client = client(&door).await;
    let (mut one, mut two) = (socket(&client).await, socket(&client).await);
    says_and_hears(&mut one, "one").await;
    assert_eq!(ask(&client, get("/beside")).await.1, "at /beside");
    says_and_hears(&mut two, "two").await;
    // It leaves without a word, which is a reset of its stream.
    drop(one);
    until("its slot is free", || pool.counters().in_flight == 1).await;
    says_and_hears(&mut two, "still there").await;
    drop(two);
    until("both slots are free", || pool.counters().in_flight == 0).await;
    assert_eq!(ask(&client, get("/after")).await.1, "at /after");
    assert_eq!(door.handle.counters().accepted, 1);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_tunnels_with_it() {
    let (pool, path) = echoes(1);
    let door = bed::open(path, |door| door).await;
    let stream = TcpStream::connect(door.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut socket = socket(&client).await;
    says_and_hears(&mut socket, "hello").await;
    driver.abort();
    until("the slot is free", || pool.counters().in_flight == 0).await;
    until("the connection is gone", || door.handle.counters().open == 0).await;
}

#[tokio::test]
async fn a_tunnel_to_another_host_is_refused_and_never_opened_by_it() {
    let door = bed::open(service_fn(mirror), |door| door).await;
    let client = client(&door).await;
    // One that says it is gRPC would take a 200 for its tunnel.
    for kind in ["text/plain", "application/grpc"] {
        let request = Request::connect("b:25").header("content-type", kind).body(()).unwrap();
        let (response, body) = ask(&client, request).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["x-refusal-reason"], "connect_not_allowed");
        assert!(!response.headers()["allow"].to_str().unwrap().contains("CONNECT"));
        assert!(body.contains("tunnels are not made here"), "{body}");
    }
    assert_eq!(door.handle.counters().answered(DoorFault::ConnectNotAllowed), 2);
    assert_eq!(door.handle.counters().upgraded, 0);
}

#[tokio::test]
async fn a_door_without_them_says_so_and_gives_none() {
    let door = bed::open(service_fn(mirror), |door| door.without_extended_connect()).await;
    let client = client(&door).await;
    assert_eq!(ask(&client, get("/")).await.0.status(), 200);
    assert!(!client.is_extended_connect_protocol_enabled());
    // Who asks all the same breaks the rules of HTTP/2, and loses this one stream.
    let (response, _says) =
        client.clone().ready().await.unwrap().send_request(connect("websocket"), false).unwrap();
    let error = within(response).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR), "{error}");
    assert_eq!(ask(&client, get("/")).await.0.status(), 200);
}

#[tokio::test]
async fn a_protocol_that_is_not_carried_is_said_to_be_none() {
    let (_pool, path) = echoes(1);
    let door = bed::open(path, |door| door).await;
    let (response, body) = ask(&client(&door).await, connect("connect-udp")).await;
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(response.headers()["x-refusal-reason"], Fault::ProtocolNotSupported.code());
    assert!(body.contains("protocol_not_supported"), "{body}");
}

#[tokio::test]
async fn an_instance_that_speaks_http_2_has_none_and_is_not_asked() {
    let memory = Memory::new();
    memory.serve(
        "a",
        service_fn(async |_: Request<InstanceBody>| -> Result<Answer, Infallible> {
            panic!("it is not asked")
        }),
    );
    let (pool, path) = pooled_by(Forward::builder(memory).protocol(spec::Protocol::H2c), 1);
    let door = bed::open(path, |door| door).await;
    let (response, _) = ask(&client(&door).await, connect("websocket")).await;
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    until("the slot is free", || pool.counters().in_flight == 0).await;
}

#[tokio::test]
async fn only_an_instance_that_understood_opens_the_tunnel() {
    for (status, accept, answered, reason) in [
        (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 502, Some("bad_response")),
        (200, "", 502, Some("bad_response")),
        (204, "", 502, Some("bad_response")),
        (403, "", 403, None),
        (426, "", 426, None),
    ] {
        let (pool, path) = pooled(service_fn(move |_: Request<InstanceBody>| async move {
            let mut response = Response::builder().status(status);
            if status == 101 {
                response = response.header("connection", "upgrade").header("upgrade", "websocket");
                response = response.header("sec-websocket-accept", accept);
            }
            let body = if status == 101 || status == 204 { "" } else { "my own words" };
            Ok::<_, Infallible>(response.body(Full::<Bytes>::from(body)).unwrap())
        }));
        let door = bed::open(path, |door| door).await;
        let (response, _says) = open(&client(&door).await).await;
        let (response, body) = whole(response).await;
        assert_eq!(response.status(), answered, "{status}");
        let said = response.headers().get("x-refusal-reason").map(|it| it.to_str().unwrap());
        assert_eq!(said, reason, "{status}");
        assert_eq!(body.contains("my own words"), reason.is_none(), "{status}: {body}");
        until("the slot is free", || pool.counters().in_flight == 0).await;
        assert_eq!(door.handle.counters().upgraded, 0, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_neither_idle_nor_a_request_that_takes_too_long() {
    let (pool, path) = echoes(1);
    let door = memory::open(path, Limits::default(), |door| door);
    let client = client_on(door.client(64 << 10).0).await;
    let mut socket = socket(&client).await;
    // Longer than a connection may be idle, and than a request may take, between any two words.
    for _ in 0..3 {
        sleep(Duration::from_secs(250)).await;
        says_and_hears(&mut socket, "still here").await;
    }
    let counters = door.handle.counters();
    assert_eq!((counters.timeouts.idle, counters.timeouts.total, counters.open), (0, 0, 1));
    drop(socket);
    let ended = Instant::now();
    // Without it the connection is an idle one like others.
    while door.handle.counters().open > 0 && ended.elapsed() < Duration::from_secs(80) {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(ended.elapsed() >= Duration::from_secs(75), "{:?}", ended.elapsed());
    assert_eq!(door.handle.counters().open, 0);
    assert_eq!(door.handle.counters().timeouts.idle, 1);
    assert_eq!(pool.counters().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_nothing_but_tunnels_is_drained_as_they_are() {
    let (pool, path) = echoes(2);
    let mut door = memory::open(path, Limits::default(), |door| door);
    let client = client_on(door.client(64 << 10).0).await;
    let (mut one, mut two) = (socket(&client).await, socket(&client).await);
    let began = Instant::now();
    door.handle.drain(Drain::default());
    sleep(Duration::from_secs(5)).await;
    // It was told that nothing new is taken, and what there is goes on.
    says_and_hears(&mut one, "to the end").await;
    assert!(client.ready().await.is_err(), "the door has said goodbye");
    let cut = timeout(Duration::from_secs(200), door.running.take().unwrap()).await;
    let cut = cut.expect("it is drained").unwrap();
    assert_eq!((cut.plain, cut.streaming, cut.upgraded), (0, 0, 2));
    let took = began.elapsed();
    assert!(took >= Drain::default().upgraded && took < Drain::default().plain, "{took:?}");
    for socket in [&mut one, &mut two] {
        assert!(socket.next().await.is_none_or(|end| end.is_err()));
    }
    assert_eq!(pool.counters().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_ends_by_itself_keeps_no_drain_waiting() {
    let (_pool, path) = echoes(1);
    let mut door = memory::open(path, Limits::default(), |door| door);
    let client = client_on(door.client(64 << 10).0).await;
    let mut socket = socket(&client).await;
    says_and_hears(&mut socket, "hello").await;
    let began = Instant::now();
    door.handle.drain(Drain::default());
    sleep(Duration::from_secs(2)).await;
    drop(socket);
    drop(client);
    let cut = timeout(Duration::from_secs(200), door.running.take().unwrap()).await;
    assert_eq!(cut.expect("it is drained").unwrap(), Drained::default());
    assert!(began.elapsed() < Drain::default().upgraded, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tunnels_and_requests_of_one_connection_are_told_apart_at_once() {
    let (pool, path) = echoes(1_000);
    let door = bed::open(path, |door| door).await;
    let client = client(&door).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..60 {
        let client = client.clone();
        tasks.spawn(async move {
            if number % 3 == 0 {
                let mut socket = socket(&client).await;
                says_and_hears(&mut socket, &format!("from {number}")).await;
            } else {
                let asked = format!("/{number}");
                assert_eq!(ask(&client, get(&asked)).await.1, format!("at {asked}"));
            }
        });
    }
    while let Some(done) = within(tasks.join_next()).await {
        done.unwrap();
    }
    until("all slots are free", || pool.counters().in_flight == 0).await;
    let counters = door.handle.counters();
    assert_eq!((counters.upgraded, counters.requests.http2, counters.open), (20, 60, 1));
    // No stream is left behind: the connection would be taken for busy, and cut off.
    let mut door = door;
    door.handle.drain(Drain::default());
    drop(client);
    assert_eq!(within(&mut door.running).await.unwrap(), Drained::default());
}
