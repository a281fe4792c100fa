//! gRPC through the whole path - door, router, queue, forwarding - with a client and a server that
//! are not ours, over real sockets.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests spawn, wait, and fail where they unwrap"
)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BufMut};
use futures_util::{Stream, StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runner_core::{
    admission::{Closed, Instance, QueueSettings, Snapshot},
    id::{RevisionNumber, ServiceId},
    spec::Protocol,
};
use runner_proxy::{
    forward::{Forward, Network},
    front_door::FrontDoor,
    pool::Pool,
    router::{Router, Routes},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::NamedService,
    transport::{Channel, Server, server::TcpIncoming},
};
use tower::{Layer, service_fn};
use tower_service::Service;

/// Messages that are text, so that nothing has to be generated.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| Status::internal("no text"))
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// What an instance does.
#[derive(Clone)]
struct Echo {
    /// How many calls came to `Hold`.
    held: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Echo {
    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let mut grpc = tonic::server::Grpc::new(Text);
        match request.uri().path() {
            "/test.Echo/Say" => grpc.unary(service_fn(say), request).await,
            "/test.Echo/Count" => grpc.server_streaming(service_fn(count), request).await,
            "/test.Echo/Chat" => grpc.streaming(service_fn(chat), request).await,
            "/test.Echo/Hold" => {
                let hold = service_fn(move |request| {
                    let Self { held, gate } = self.clone();
                    async move {
                        held.fetch_add(1, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                        say(request).await
                    }
                });
                grpc.unary(hold, request).await
            }
            _ => Status::unimplemented("no such method").into_http(),
        }
    }
}

async fn say(request: Request<String>) -> Result<Response<String>, Status> {
    let from = request.metadata().get("x-from").cloned();
    let told = request.metadata().get("grpc-timeout").cloned();
    let text = request.into_inner();
    if text.is_empty() {
        return Err(Status::failed_precondition("nothing was said: \u{e4}%"));
    }
    let mut response = Response::new(text.to_uppercase());
    if let Some(from) = from {
        response.metadata_mut().insert("x-to", from);
    }
    if let Some(told) = told {
        response.metadata_mut().insert("x-told", told);
    }
    Ok(response)
}

/// Counts up to a number, and breaks off after a negative one.
async fn count(request: Request<String>) -> Result<Response<Replies>, Status> {
    let upto: i64 = request.into_inner().parse().map_err(|_| Status::invalid_argument("what?"))?;
    let numbers = stream::iter((0..upto.abs()).map(|number| Ok(number.to_string())));
    let broken = stream::iter((upto < 0).then(|| Err(Status::data_loss("lost count"))));
    Ok(Response::new(Box::pin(numbers.chain(broken))))
}

async fn chat(request: Request<Streaming<String>>) -> Result<Response<Replies>, Status> {
    let replies = request.into_inner().map(|said| said.map(|text| text.to_uppercase()));
    Ok(Response::new(Box::pin(replies)))
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async { Ok(echo.answer(request).await) })
    }
}

/// The whole path before one instance.
struct Path {
    address: SocketAddr,
    pool: Pool,
    held: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

async fn path(cap: u32, queue: u32) -> Path {
    let (held, gate) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let echo = Echo { held: Arc::clone(&held), gate: Arc::clone(&gate) };
    let mut tasks = JoinSet::new();
    tasks.spawn(async {
        let incoming = TcpIncoming::from(listener);
        Server::builder().add_service(echo).serve_with_incoming(incoming).await.unwrap();
    });
    let pool = Pool::new(QueueSettings::new(queue, Duration::from_secs(600)), snapshot(to, cap));
    let builder = Forward::builder(Network::new()).protocol(Protocol::H2c);
    let (forward, connections) = builder.build();
    tasks.spawn(connections.run());
    let mut routes = Routes::new();
    routes.add(&"*".parse().unwrap(), "echo", pool.layer().layer(forward)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (door, _) = FrontDoor::before(Router::new(routes)).listen(listener).build();
    tasks.spawn(async {
        door.run().await;
    });
    Path { address, pool, held, gate, tasks }
}

fn snapshot(to: SocketAddr, cap: u32) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let id = ServiceId::from_random(1).instance(1);
    snapshot.instances = vec![Instance::new(id, to.into(), RevisionNumber::FIRST, cap)];
    snapshot
}

impl Path {
    async fn client(&self) -> Client<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        Client(Grpc::new(endpoint.connect().await.unwrap()))
    }

    /// A client that leaves deadlines to others: tonic's channel would keep them itself.
    async fn patient_client(
        &mut self,
    ) -> Client<impl GrpcService<Body, ResponseBody = hyper::body::Incoming> + use<>> {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let exec = TokioExecutor::new();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(exec, stream).await.unwrap();
        self.tasks.spawn(async { drop(connection.await) });
        let origin = format!("http://{}", self.address).parse().unwrap();
        let send = service_fn(move |request| sender.clone().send_request(request));
        Client(Grpc::with_origin(send, origin))
    }

    /// Until it is so; how long that takes is the machine's affair.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let looks = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(LONG, looks).await.expect(what);
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// A call that keeps its slot until the gate is opened.
    async fn hold(&mut self) {
        let mut client = self.client().await;
        let before = self.held();
        self.tasks.spawn(async move {
            assert_eq!(client.unary("Hold", "held".to_owned()).await.unwrap().into_inner(), "HELD");
        });
        self.until("it is held", |path| path.held() > before).await;
    }
}

struct Client<T>(Grpc<T>);

impl<T: GrpcService<Body>> Client<T>
where
    T::ResponseBody: Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn unary(
        &mut self,
        method: &str,
        message: impl tonic::IntoRequest<String>,
    ) -> Result<Response<String>, Status> {
        self.0.ready().await.map_err(|_| Status::internal("not ready"))?;
        let path = format!("/test.Echo/{method}").parse().unwrap();
        timeout(LONG, self.0.unary(message.into_request(), path, Text)).await.expect("an answer")
    }

    async fn count(&mut self, upto: &str) -> Result<Response<Streaming<String>>, Status> {
        self.0.ready().await.map_err(|_| Status::internal("not ready"))?;
        let path = "/test.Echo/Count".parse().unwrap();
        self.0.server_streaming(Request::new(upto.to_owned()), path, Text).await
    }
}

#[tokio::test]
async fn one_message_is_answered_by_one_with_what_is_said_beside_it() {
    let path = path(2, 10).await;
    let mut client = path.client().await;
    let mut request = Request::new("hello".to_owned());
    request.metadata_mut().insert("x-from", "somebody".parse().unwrap());
    let response = client.unary("Say", request).await.unwrap();
    assert_eq!(response.metadata().get("x-to").unwrap(), "somebody");
    assert_eq!(response.into_inner(), "HELLO");
    // As large as a message may be, and so several windows and frames.
    let large = "x".repeat(4 << 20);
    let mut client = Client(client.0.max_decoding_message_size(5 << 20));
    let status = client.unary("Say", large[..(4 << 20) - 1].to_owned()).await;
    assert_eq!(status.unwrap().into_inner().len(), (4 << 20) - 1);
    path.until("all slots are free", |path| path.pool.counters().in_flight == 0).await;
}

#[tokio::test]
async fn a_stream_of_messages_comes_whole_and_with_the_error_it_ends_in() {
    let path = path(2, 10).await;
    let mut client = path.client().await;
    let mut numbers = client.count("1000").await.unwrap().into_inner();
    for number in 0..1_000 {
        assert_eq!(numbers.message().await.unwrap().unwrap(), number.to_string());
    }
    assert_eq!(numbers.message().await.unwrap(), None);
    let mut numbers = client.count("-2").await.unwrap().into_inner();
    assert_eq!(numbers.message().await.unwrap().unwrap(), "0");
    assert_eq!(numbers.message().await.unwrap().unwrap(), "1");
    let status = numbers.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "lost count"));
    path.until("all slots are free", |path| path.pool.counters().in_flight == 0).await;
}

#[tokio::test]
async fn both_talk_in_turns_and_nothing_is_held_back() {
    let path = path(2, 10).await;
    let mut client = path.client().await;
    client.0.ready().await.unwrap();
    let (say, said) = mpsc::channel::<String>(1);
    let said = stream::unfold(said, |mut said| async { Some((said.recv().await?, said)) });
    let method = "/test.Echo/Chat".parse().unwrap();
    let chat = client.0.streaming(Request::new(said), method, Text);
    let mut replies = timeout(LONG, chat).await.unwrap().unwrap().into_inner();
    for word in ["one", "two", "three"] {
        say.send(word.to_owned()).await.unwrap();
        // The next is said only when this has come.
        let reply = timeout(LONG, replies.message()).await.expect("it is not held back");
        assert_eq!(reply.unwrap().unwrap(), word.to_uppercase());
    }
    assert_eq!(path.pool.counters().in_flight, 1, "the slot is held while they talk");
    drop(say);
    assert_eq!(timeout(LONG, replies.message()).await.unwrap().unwrap(), None);
    path.until("the slot is free", |path| path.pool.counters().in_flight == 0).await;
}

#[tokio::test]
async fn an_error_without_a_message_comes_as_it_was_said() {
    let path = path(2, 10).await;
    let mut client = path.client().await;
    let status = client.unary("Say", String::new()).await.unwrap_err();
    let said = (status.code(), status.message());
    assert_eq!(said, (Code::FailedPrecondition, "nothing was said: \u{e4}%"));
    let status = client.unary("Sing", "la".to_owned()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no such method"));
}

#[tokio::test]
async fn who_has_no_more_time_leaves_the_queue_and_never_comes_to_an_instance() {
    let mut path = path(1, 10).await;
    path.hold().await;
    let mut client = path.patient_client().await;
    let mut request = Request::new("late".to_owned());
    request.set_timeout(Duration::from_millis(300));
    let status = client.unary("Hold", request).await.unwrap_err();
    // Refused at once, if what is known says that it would not be its turn in time.
    assert!(matches!(status.code(), Code::Unavailable | Code::ResourceExhausted), "{status:?}");
    let why = status.metadata().get("x-refusal-reason").unwrap().to_str().unwrap();
    assert!(["waited_too_long", "would_wait_too_long"].contains(&why), "{why}");
    assert_eq!((path.pool.counters().waiting, path.held()), (0, 1));
    path.gate.add_permits(1);
    path.until("the slot is free", |path| path.pool.counters().in_flight == 0).await;
    assert_eq!(path.held(), 1, "the late one was never sent");
}

#[tokio::test]
async fn an_instance_is_told_the_time_that_a_wait_has_left() {
    let mut path = path(1, 10).await;
    path.hold().await;
    let mut client = path.patient_client().await;
    let mut request = Request::new("waits".to_owned());
    request.set_timeout(HOUR);
    let said = request.metadata().get("grpc-timeout").unwrap().clone();
    let mut call = Box::pin(client.unary("Say", request));
    tokio::select! {
        answer = &mut call => panic!("{answer:?}"),
        () = path.until("it waits", |path| path.pool.counters().waiting == 1) => {}
    }
    path.gate.add_permits(1);
    let response = call.await.unwrap();
    let told = response.metadata().get("x-told").unwrap();
    assert_ne!(told, said);
    let (count, unit) = told.to_str().unwrap().split_at(told.len() - 1);
    let unit = match unit {
        "u" => Duration::from_micros(1),
        "m" => Duration::from_millis(1),
        _ => panic!("an hour in {told:?}"),
    };
    let left = unit * count.parse().unwrap();
    assert!(left < HOUR && left > HOUR - 2 * LONG, "{left:?}");
}

/// The instance and forwarding keep it both, and either may be the first.
#[tokio::test]
async fn a_call_that_takes_longer_than_its_client_waits_is_ended() {
    let mut path = path(1, 10).await;
    let mut client = path.patient_client().await;
    let mut request = Request::new("slow".to_owned());
    request.set_timeout(Duration::from_millis(100));
    let status = client.unary("Hold", request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    path.until("the slot is free", |path| path.pool.counters().in_flight == 0).await;
}

#[tokio::test]
async fn who_gives_up_frees_the_slot() {
    let path = path(1, 10).await;
    let mut client = path.client().await;
    let mut request = Request::new("slow".to_owned());
    request.set_timeout(Duration::from_secs(3_600));
    let mut call = Box::pin(client.unary("Hold", request));
    tokio::select! {
        answer = &mut call => panic!("{answer:?}"),
        () = path.until("it is held", |path| path.held() == 1) => {}
    }
    assert_eq!(path.pool.counters().in_flight, 1);
    // As a client does whose own deadline has come: the stream is reset.
    drop(call);
    path.until("the slot is free", |path| path.pool.counters().in_flight == 0).await;
}

#[tokio::test]
async fn a_full_queue_is_an_exhausted_resource_and_says_when_to_come_back() {
    let mut path = path(1, 0).await;
    path.hold().await;
    let status = path.client().await.unary("Say", "more".to_owned()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(status.metadata().get("x-refusal-reason").unwrap(), "queue_full");
    assert!(!status.message().is_empty());
    let status = path.client().await.count("3").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "for streams too: {status:?}");
    path.gate.add_permits(1);
    path.until("the slot is free", |path| path.pool.counters().in_flight == 0).await;
    assert_eq!(
        path.client().await.unary("Say", "again".to_owned()).await.unwrap().into_inner(),
        "AGAIN"
    );
}

#[tokio::test]
async fn what_cannot_be_had_is_unavailable() {
    let path = path(1, 10).await;
    // Where an instance is said to be, nobody listens, and nobody else can.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    path.pool.apply(snapshot(held.local_addr().unwrap(), 1));
    let status = path.client().await.unary("Say", "hello".to_owned()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let mut paused = Snapshot::default();
    paused.closed = Some(Closed::Paused);
    path.pool.apply(paused);
    let status = path.client().await.unary("Say", "hello".to_owned()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

/// After this something hangs, however much else the machine does.
const LONG: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3_600);
