//! Probes against real sockets, and the gRPC wire against a real implementation.
#![cfg(all(feature = "tcp", feature = "http", feature = "grpc"))]
#![expect(clippy::disallowed_methods, reason = "tests are the embedding program: they spawn")]

use std::{
    future::{Future, pending},
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use runner_core::{
    address::Address,
    id::ServiceId,
    spec::{Format, Port, read},
};
use runner_health::{
    Plan, Surroundings,
    probe::{GrpcProbe, HttpProbe, Probe, Seen, ServingStatus, Target, TcpProbe, Waiting},
    verdict::Question,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener},
    time::timeout,
};
use tonic_health::ServingStatus as Status;

/// How long a probe waits for what comes: as long as a busy host may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits for what never comes, and for what comes before that.
const LIMIT: Duration = Duration::from_secs(1);

fn target(address: impl Into<Address>, limit: Duration) -> Target {
    Target::new(ServiceId::from_random(7).instance(1), address.into(), limit)
}

/// What is seen of one that answers.
async fn see(probe: &impl Probe, address: impl Into<Address>) -> Seen {
    probe.attempt(&target(address, PATIENCE)).await
}

/// What is seen of one that does not.
async fn see_nothing_of(probe: &impl Probe, address: SocketAddr) -> Seen {
    let attempt = probe.attempt(&target(address, LIMIT));
    timeout(PATIENCE, attempt).await.expect("it keeps its own time")
}

/// Serves each connection as told, for as long as the test runs.
async fn serve<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    address
}

/// Keeps a connection and says nothing.
async fn hang(stream: TcpStream) {
    pending::<()>().await;
    drop(stream);
}

/// Reads a request's head and answers with these bytes.
async fn answer(bytes: &'static str) -> SocketAddr {
    serve(move |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await
}

/// An address of this host on which nobody listens, and nobody else can while the socket is kept.
fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

/// A directory of the test's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("runner-health-{:016x}", RandomState::new().hash_one(0));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("nobody has one of that name");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_port_that_listens_is_good_and_one_that_does_not_is_refused() {
    let address = serve(|stream| async move { drop(stream) }).await;
    assert_eq!(see(&TcpProbe::new(), address).await, Seen::Accepted);
    let (_kept, elsewhere) = nobody();
    assert_eq!(see(&TcpProbe::new(), elsewhere).await, Seen::Refused);
    let port = Port::new(address.port()).expect("a port");
    assert_eq!(see(&TcpProbe::new().on_port(port), elsewhere).await, Seen::Accepted);
}

#[tokio::test]
async fn where_connecting_proves_nothing_the_connection_has_to_stay() {
    let probe = TcpProbe::new().proving_nothing(true);
    let relay_to_nobody = serve(|stream| async move { drop(stream) }).await;
    assert_eq!(see(&probe, relay_to_nobody).await, Seen::ClosedAtOnce);
    let silent = serve(hang).await;
    assert_eq!(see(&probe, silent).await, Seen::Accepted);
    let greets = serve(|mut stream| async move {
        let _ = stream.write_all(b"220 hello\r\n").await;
        hang(stream).await;
    })
    .await;
    assert_eq!(see(&probe, greets).await, Seen::Accepted);
}

#[tokio::test]
async fn unix_sockets_are_asked_too() {
    let directory = Directory::new();
    let path = directory.0.join("app.sock");
    let address: Address = format!("unix:{}", path.display()).parse().expect("an address");
    let probe = TcpProbe::new();
    assert_eq!(see(&probe, address.clone()).await, Seen::Refused, "not there yet");
    let _listener = UnixListener::bind(&path).expect("a socket");
    assert_eq!(see(&probe, address).await, Seen::Accepted);
    let memory = Address::Memory("a".into());
    assert!(matches!(see(&probe, memory).await, Seen::NotAsked(_)));
}

#[tokio::test]
async fn a_status_within_the_ranges_is_good_and_a_redirect_is_not_followed() {
    let probe = HttpProbe::get("/health").expect("a path");
    let well = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(see(&probe, well).await, Seen::good("it answered 200"));
    let moved = answer("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(see(&probe, moved).await, Seen::good("it answered 302"), "good by default");
    let probe = probe.success("200-299,304".parse().expect("ranges"));
    let seen = see(&probe, moved).await.to_string();
    assert_eq!(seen, "it answered 302 to /login (not followed), and 200-299,304 is good");
    let ill = answer("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    assert!(matches!(see(&probe, ill).await, Seen::Status { status: 503, .. }));
}

#[tokio::test]
async fn the_request_is_what_was_asked_for() {
    let (sender, mut heads) = tokio::sync::mpsc::channel(4);
    let address = serve(move |mut stream| {
        let sender = sender.clone();
        async move {
            let mut head = vec![0; 1024];
            let read = stream.read(&mut head).await.unwrap_or(0);
            head.truncate(read);
            let _ = sender.send(String::from_utf8(head).expect("text")).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    assert!(see(&HttpProbe::get("/?a=b").expect("a path"), address).await.is_good());
    let head = heads.recv().await.expect("a request");
    assert!(head.starts_with("GET /?a=b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
    assert!(head.contains("connection: close\r\n"), "{head}");
    let probe = HttpProbe::get("/x").and_then(|probe| probe.method("HEAD")).expect("a method");
    let probe = probe.host("example.org").and_then(|probe| probe.header("X-Probe", "1"));
    assert!(see(&probe.expect("headers"), address).await.is_good());
    let head = heads.recv().await.expect("a request");
    assert!(head.starts_with("HEAD /x HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: example.org\r\n") && head.contains("x-probe: 1\r\n"), "{head}");
}

#[tokio::test]
async fn a_text_in_the_body_is_found_wherever_its_pieces_fall() {
    let address = serve(|mut stream| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for chunk in ["5\r\nall i\r\n", "6\r\ns well\r\n", "0\r\n\r\n"] {
            let _ = stream.write_all(chunk.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let probe = HttpProbe::get("/").expect("a path");
    assert!(see(&probe.clone().containing("is well"), address).await.is_good());
    let seen = see(&probe.clone().containing("is ill"), address).await;
    assert_eq!(seen.to_string(), r#"its body lacks "is ill"; it begins "all is well""#);
    let endless = serve(|mut stream| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let seen = see(&probe.containing("is well"), endless).await;
    assert!(matches!(seen, Seen::BodyLacks { .. }), "no more is read than its bound: {seen:?}");
}

#[tokio::test]
async fn what_is_no_answer_says_what_it_is() {
    let probe = HttpProbe::get("/").expect("a path");
    let (_kept, free) = nobody();
    assert_eq!(see(&probe, free).await, Seen::Refused);
    let closes = serve(|stream| async move { drop(stream) }).await;
    assert_eq!(see(&probe, closes).await, Seen::ClosedAtOnce);
    let hangs = serve(hang).await;
    let seen = see_nothing_of(&probe, hangs).await;
    assert_eq!(seen, Seen::TimedOut { limit: LIMIT, waiting_for: Waiting::Answer });
    let nonsense = answer("220 smtp.example.org ESMTP\r\n\r\n").await;
    assert!(matches!(see(&probe, nonsense).await, Seen::Garbled(_)));
    let stalls = serve(|mut stream| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nal").await;
        hang(stream).await;
    })
    .await;
    assert!(see(&probe, stalls).await.is_good(), "the head is the answer");
    let seen = see_nothing_of(&probe.containing("all"), stalls).await;
    assert_eq!(seen, Seen::TimedOut { limit: LIMIT, waiting_for: Waiting::Rest });
}

#[tokio::test]
async fn grpc_is_understood_as_a_real_server_speaks_it() {
    let (reporter, health) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(health)
            .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)),
    );
    let whole = GrpcProbe::new();
    assert_eq!(see(&whole, address).await, Seen::good("its health service says SERVING"));
    let one = GrpcProbe::new().service("shop.Orders");
    let seen = see(&one, address).await;
    assert!(matches!(seen, Seen::GrpcStatus { code: 5, .. }), "not registered: {seen:?}");
    for (status, expected) in [
        (Status::NotServing, Seen::NotServing(ServingStatus::NotServing)),
        (Status::Unknown, Seen::NotServing(ServingStatus::Unknown)),
        (Status::Serving, Seen::good("its health service says SERVING")),
    ] {
        reporter.set_service_status("shop.Orders", status).await;
        assert_eq!(see(&one, address).await, expected);
    }
    let long = "x".repeat(20_000);
    reporter.set_service_status(&long, Status::Serving).await;
    assert!(see(&GrpcProbe::new().service(&long), address).await.is_good(), "beyond one frame");
}

#[tokio::test]
async fn what_speaks_no_grpc_says_so() {
    let probe = GrpcProbe::new();
    let (_kept, free) = nobody();
    assert_eq!(see(&probe, free).await, Seen::Refused);
    let http = answer("HTTP/1.1 200 OK\r\n\r\n").await;
    assert!(!see(&probe, http).await.is_good());
    let closes = serve(|stream| async move { drop(stream) }).await;
    assert!(!see(&probe, closes).await.is_good());
    let hangs = serve(hang).await;
    let seen = see_nothing_of(&probe, hangs).await;
    assert_eq!(seen, Seen::TimedOut { limit: LIMIT, waiting_for: Waiting::Answer });
    let other_service =
        tonic::transport::Server::builder().add_routes(tonic::service::Routes::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(other_service.serve_with_incoming(incoming));
    let seen = see(&probe, address).await.to_string();
    assert!(seen.ends_with("(it has no health service)"), "{seen}");
}

#[tokio::test]
async fn a_specification_is_asked_as_it_says() {
    let address =
        answer("HTTP/1.1 418 I'm a teapot\r\ncontent-length: 15\r\n\r\nstout and tall\n").await;
    let text = format!(
        "name = 'a'\nsource = {{ command = ['a'] }}\n[health.readiness]\nprotocol = 'http'\n\
         path = '/up'\nsuccess = '418'\ncontains = 'short'\nport = {0}\n[health.startup]\nprotocol = 'tcp'\n\
         [health.liveness]\nprotocol = 'http'\nsuccess = '418'\ncontains = 'stout'\nport = {0}\n",
        address.port()
    );
    let spec = read(text.as_bytes(), Format::Toml).outcome.expect("a specification").value;
    let health = spec.revision().health();
    let plan = Plan::of_spec(health, &Surroundings::new()).expect("all are in this build");
    let (_kept, elsewhere) = nobody();
    let ask = |question| {
        let probe = Arc::clone(plan.probe(question));
        async move { see(&probe, elsewhere).await }
    };
    let seen = ask(Question::Readiness).await.to_string();
    assert!(!ask(Question::Readiness).await.is_good() && seen.contains("short"), "{seen}");
    assert_eq!(ask(Question::Liveness).await, Seen::good("it answered 418"));
    assert_eq!(ask(Question::Startup).await, Seen::Refused, "at the service's own port");
    let text = "name = 'a'\nsource = { command = ['a'] }\n[health.readiness]\n\
                protocol = 'command'\ncommand = ['true']\n";
    let spec = read(text.as_bytes(), Format::Toml).outcome.expect("a specification").value;
    let refusal = Plan::of_spec(spec.revision().health(), &Surroundings::new());
    let refusal = refusal.expect_err("no backend").to_string();
    assert!(refusal.contains("Surroundings::of_backend"), "{refusal}");
}
