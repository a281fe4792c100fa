//! Kinds of listeners, real WebSocket clients, how long a request waited, a service that panics.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::Full;
use runner_proxy::{
    exchange::{ClientConnection, QueueTime},
    front_door::{Drain, Drained, FrontDoor, Limits, RequestBody, inherited_unix},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::sleep,
};
use tokio_tungstenite::tungstenite::Message;
use tower::service_fn;

use super::{
    bed::{Answer, PATIENCE, echo_socket, folder, open, pooled, text, until, within},
    memory,
};

async fn who(request: Request<RequestBody>) -> Result<Answer, Infallible> {
    let by = request.extensions().get::<ClientConnection>().unwrap();
    Ok(text(format!("{:?}", by.peer.map(|peer| peer.ip().to_string()))))
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn one_door_has_listeners_of_many_kinds() {
    let folder = folder("listeners");
    let four = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (four_at, mut six_at) = (four.local_addr().unwrap(), None);
    let unix = UnixListener::bind(folder.join("a")).unwrap();
    let given = std::os::unix::net::UnixListener::bind(folder.join("b")).unwrap();
    let mut builder = FrontDoor::before(service_fn(who))
        .listen(four)
        .listen(unix)
        .listen(inherited_unix(given).unwrap());
    // Not every machine has it.
    if let Ok(six) = TcpListener::bind("[::1]:0").await {
        six_at = six.local_addr().ok();
        builder = builder.listen(six);
    }
    let (door, handle) = builder.build();
    let running = tokio::spawn(door.run());
    async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> String {
        stream.write_all(GET.as_bytes()).await.unwrap();
        let mut heard = String::new();
        within(stream.read_to_string(&mut heard)).await.unwrap();
        heard
    }
    for name in ["a", "b"] {
        let heard = ask(UnixStream::connect(folder.join(name)).await.unwrap()).await;
        assert!(heard.ends_with("None"), "{heard}");
    }
    let heard = ask(TcpStream::connect(four_at).await.unwrap()).await;
    assert!(heard.ends_with("Some(\"127.0.0.1\")"), "{heard}");
    if let Some(six) = six_at {
        let heard = ask(TcpStream::connect(six).await.unwrap()).await;
        assert!(heard.ends_with("Some(\"::1\")"), "{heard}");
    }
    assert_eq!(handle.counters().accepted, 3 + u64::from(six_at.is_some()));
    handle.drain(Drain::default());
    assert_eq!(within(running).await.unwrap(), Drained::default());
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test]
async fn a_websocket_goes_all_the_way_and_is_told_that_the_service_restarts() {
    let (pool, path) = pooled(service_fn(echo_socket));
    let door = open(path, |door| door).await;
    let stream = TcpStream::connect(door.address).await.unwrap();
    let url = format!("ws://{}/", door.address);
    let (mut socket, _) = within(tokio_tungstenite::client_async(url, stream)).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(within(socket.next()).await.unwrap().unwrap(), Message::text("hello"));
    assert_eq!(pool.counters().in_flight, 1, "a tunnel holds its slot");
    assert_eq!(door.handle.counters().open, 1);
    door.handle.drain(Drain::default());
    let Message::Close(Some(frame)) = within(socket.next()).await.unwrap().unwrap() else {
        panic!("it is closed")
    };
    assert_eq!(u16::from(frame.code), 1012);
    assert!(within(socket.next()).await.is_none_or(|end| end.is_err()));
    drop(socket);
    until("the slot is free", || pool.counters().in_flight == 0).await;
    let handle = door.handle.clone();
    until("the connection is gone", || handle.counters().open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn the_queue_writes_down_how_long_a_request_waited() {
    let (pool, path) = pooled(service_fn(async |_: Request<_>| {
        sleep(Duration::from_millis(200)).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("done"))))
    }));
    let time = QueueTime::default();
    let written = time.clone();
    let noted = tower::util::MapRequest::new(path, move |mut request: Request<RequestBody>| {
        if request.uri().path() == "/second" {
            request.extensions_mut().insert(written.clone());
        }
        request
    });
    let door = memory::open(noted, Limits::default(), |door| door);
    let first = tokio::spawn(door.ask(GET));
    until("it is worked on", || pool.counters().in_flight == 1).await;
    let heard = door.ask(&GET.replace("/ ", "/second ")).await;
    assert!(heard.ends_with("done"), "{heard}");
    assert!(first.await.unwrap().ends_with("done"));
    let waited = time.get().expect("it waited");
    // It came while the first was worked on, in a time that only moves when nobody has to.
    assert!(waited > Duration::from_millis(180) && waited <= Duration::from_millis(200));
}

/// The client's thread blocks, and while one does paused time stands still: how long it takes to
/// write is nothing to the two seconds that a door listens after its answer.
#[tokio::test(start_paused = true)]
async fn an_answer_before_the_whole_body_is_not_lost_to_a_reset() {
    let door = open(service_fn(who), |door| {
        let mut limits = Limits::default();
        limits.body_bytes = Some(1_000);
        door.limits(limits)
    })
    .await;
    for _ in 0..5 {
        let (address, handle) = (door.address, door.handle.clone());
        let client = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            // It is answered, and a client that goes on writing is not cut off while it does.
            for _ in 0..50 {
                let before = handle.counters().received;
                stream.write_all(&[b'x'; 10_000]).expect("it is read");
                let written = std::time::Instant::now();
                while handle.counters().received == before {
                    assert!(written.elapsed() < PATIENCE, "it is read");
                    std::thread::yield_now();
                }
            }
            let mut heard = String::new();
            stream.read_to_string(&mut heard).expect("it ends well");
            heard
        });
        let heard = client.await.unwrap();
        assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
    }
}

#[tokio::test]
async fn one_listener_does_not_take_the_connections_of_another() {
    let (one, two) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let (one_at, two_at) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    let mut limits = Limits::default();
    limits.connections_per_listener = Some(2);
    let builder = FrontDoor::before(service_fn(who)).limits(limits).listen(one).listen(two);
    let (door, handle) = builder.build();
    let running = tokio::spawn(door.run());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(one_at).await.unwrap());
    }
    until("one is full", || handle.counters().full == 1).await;
    let mut stream = TcpStream::connect(two_at).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    let mut heard = String::new();
    within(stream.read_to_string(&mut heard)).await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    assert_eq!(handle.counters().accepted, 3);
    held.remove(0);
    until("there is room for the third", || handle.counters().accepted == 4).await;
    running.abort();
}

#[tokio::test]
async fn a_service_that_panics_ends_its_connection_and_no_other() {
    let service = service_fn(async |request: Request<RequestBody>| {
        assert!(request.uri().path() != "/panic", "this is what the test is about");
        Ok::<Response<_>, Infallible>(text("fine"))
    });
    let door = memory::open(service, Limits::default(), |door| door);
    let mut other = door.client(1024);
    assert_eq!(door.ask("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await, "");
    other.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    other.hear_until("fine").await;
    let handle = door.handle.clone();
    until("it is counted", || handle.counters().panicked == 1).await;
}
