//! The app's server.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::on};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    select,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::{Failure, SampleApp, call::call, millis, trouble};

type Answer = Response<Either<Full<Bytes>, Lines>>;

/// Runs the app to its end and answers its exit code.
pub(super) fn run(app: &SampleApp) -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(app)),
        Err(error) => {
            say(&format!("no runtime: {error}"));
            1
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an app: its own tasks, and its slow start")]
async fn serve(app: &SampleApp) -> i32 {
    let Ok(mut asked_to_end) = signal(SignalKind::terminate()) else { return 1 };
    sleep(app.start).await;
    match app.failure {
        Some(Failure::Leaks(bytes)) => drop(tokio::spawn(trouble::leak(bytes))),
        Some(Failure::FloodsItsLog) => drop(std::thread::spawn(trouble::flood)),
        Some(Failure::NeverListens) => {
            asked_to_end.recv().await;
            return 0;
        }
        _ => {}
    }
    let told = std::env::var("PORT").ok().and_then(|port| port.parse().ok());
    let port = match app.failure {
        Some(Failure::ListensOn(port)) => port,
        _ => told.unwrap_or(8080),
    };
    let listener = match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => listener,
        Err(error) => {
            say(&format!("cannot listen on port {port}: {error}"));
            return 1;
        }
    };
    // Where it was told none in particular, the one that it got.
    let port = listener.local_addr().map_or(port, |address| address.port());
    say(&format!("{} listens on port {port}", app.version));
    let (shared, ends) = Shared::new(app);
    let mut connections = JoinSet::new();
    let mut ends = pin!(ends);
    loop {
        select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
                    // A client that goes away is no fault of the app.
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                    let _ = connection.with_upgrades().await;
                });
            }
            Some(_) = connections.join_next() => {}
            code = ends.recv() => return code.unwrap_or(1),
            _ = asked_to_end.recv() => {
                if app.failure != Some(Failure::IgnoresTerm) {
                    break;
                }
                say("it was asked to end, and does not");
            }
        }
    }
    drop(listener);
    drain(connections).await;
    say("it was asked to end, and has");
    0
}

/// Lets requests that are under way come to their end, for a while; idle connections have none.
#[expect(clippy::disallowed_methods, reason = "an app's own patience")]
async fn drain(mut connections: JoinSet<()>) {
    let over = sleep(Duration::from_millis(500));
    let all = async { while connections.join_next().await.is_some() {} };
    select! {
        () = over => {}
        () = all => {}
    }
}

/// What all requests see.
struct Shared {
    app: SampleApp,
    requests: AtomicU32,
    ends: mpsc::Sender<i32>,
}

impl Shared {
    fn new(app: &SampleApp) -> (Arc<Self>, mpsc::Receiver<i32>) {
        let (ends, ended) = mpsc::channel(1);
        (Arc::new(Self { app: app.clone(), requests: AtomicU32::new(0), ends }), ended)
    }
}

#[expect(clippy::disallowed_methods, reason = "an app: the work that a request takes")]
async fn answer(shared: Arc<Shared>, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    let number = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let setting = |name: &str| setting(request.uri().query().unwrap_or(""), name);
    sleep(setting("work").and_then(millis).unwrap_or(shared.app.work)).await;
    match shared.app.failure {
        Some(Failure::DiesAfter(most)) if number > most => {
            say(&format!("{most} requests were enough"));
            let _ = shared.ends.try_send(1);
        }
        Some(Failure::Answers500) => {
            return Ok(text(StatusCode::INTERNAL_SERVER_ERROR, "it does not work\n"));
        }
        _ => {}
    }
    Ok(match request.uri().path() {
        "/call" => {
            let called = call(setting("to").unwrap_or(""), request.headers()).await;
            let called = called.unwrap_or_else(|why| format!("nobody: {why}"));
            text(StatusCode::OK, &format!("{} > {called}\n", shared.app.version))
        }
        "/ws" => echo(&mut request),
        "/stream" => {
            let count = setting("count").and_then(|count| count.parse().ok()).unwrap_or(5);
            let every = setting("every").and_then(millis).unwrap_or(Duration::from_millis(100));
            Response::new(Either::Right(Lines {
                left: count,
                every,
                sleep: Box::pin(sleep(every)),
            }))
        }
        _ => text(StatusCode::OK, &format!("{}\n", shared.app.version)),
    })
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(text.to_owned())));
    *response.status_mut() = status;
    response
}

fn setting<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Becomes a WebSocket that sends back what it gets, until the client closes it.
#[expect(clippy::disallowed_methods, reason = "an app: a connection that has become another")]
fn echo(request: &mut Request<Incoming>) -> Answer {
    let Some(key) = request.headers().get("sec-websocket-key") else {
        return text(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket\n");
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            let says = message.is_text() || message.is_binary();
            if says && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header("sec-websocket-accept", accept);
    response
        .body(Either::Left(Full::default()))
        .unwrap_or_else(|_| text(StatusCode::BAD_REQUEST, "no key\n"))
}

/// A body of lines that come one at a time.
struct Lines {
    left: u32,
    every: Duration,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    #[expect(clippy::disallowed_methods, reason = "an app: the pace of its stream")]
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(self.sleep.as_mut().poll(context));
        let line = format!("{} more\n", self.left - 1);
        self.left -= 1;
        self.sleep = Box::pin(sleep(self.every));
        Poll::Ready(Some(Ok(Frame::data(line.into()))))
    }
}

#[expect(clippy::print_stdout, reason = "an app's log")]
fn say(line: &str) {
    println!("{line}");
}
