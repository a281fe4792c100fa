//! Leaving, by class, in virtual time; and what dropping a door does.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runner_proxy::front_door::{Drain, Drained, FrontDoor, Limits, Listeners, RequestBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    time::{Instant, sleep, timeout},
};
use tower::service_fn;

use super::{
    bed::{self, mirror, ticking},
    memory::{Inner, open},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const CLOSE_1012: [u8; 4] = [0x88, 2, 0x03, 0xf4];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a test may ask for: `/slow/5` is answered after five seconds, `/stream` never ends, and
/// `/ws` and `/raw` become tunnels that echo.
async fn site(
    request: Request<RequestBody>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let whole = |text: &'static str| Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    Ok(match path.split('/').nth(1) {
        Some("slow") => {
            sleep(seconds(path[6..].parse().expect("a number"))).await;
            whole("slowly")
        }
        Some("stream") => Response::new(ticking(seconds(1))),
        Some(kind @ ("ws" | "raw")) => {
            let protocol = if kind == "ws" { "websocket" } else { "raw" };
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(request).await.expect("it was agreed to");
                let mut tunnel = TokioIo::new(upgraded);
                let mut room = [0; 1024];
                while let Ok(size @ 1..) = tunnel.read(&mut room).await {
                    if tunnel.write_all(&room[..size]).await.is_err() {
                        break;
                    }
                }
            });
            let mut response = Response::new(Empty::new().boxed_unsync());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
            response.headers_mut().insert("upgrade", protocol.parse().unwrap());
            response
        }
        _ => whole("at once"),
    })
}

fn opened() -> Inner {
    open(service_fn(site), Limits::default(), |door| door)
}

async fn drained(door: &mut Inner) -> Drained {
    door.running.take().unwrap().await.expect("it ends well")
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_begun_is_finished_and_says_that_it_was_the_last() {
    let mut door = opened();
    let mut client = door.client(4096);
    client.say("GET /slow/20 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    sleep(seconds(1)).await;
    let began = Instant::now();
    door.handle.drain(Drain::default());
    let heard = client.hear_all().await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("slowly"), "{heard}");
    assert!(heard.contains("connection: close\r\n"), "{heard}");
    assert_eq!(drained(&mut door).await, Drained::default());
    assert!(began.elapsed() < seconds(20));
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_may_ask_once_more_and_is_told_then() {
    let mut door = opened();
    let (mut busy, mut idle) = (door.client(4096), door.client(4096));
    for client in [&mut busy, &mut idle] {
        client.say(GET).await;
        assert!(!client.hear_until("at once").await.contains("connection: close"));
    }
    let began = Instant::now();
    door.handle.drain(Drain::default());
    sleep(Duration::from_millis(500)).await;
    busy.say(GET).await;
    let heard = busy.hear_all().await;
    assert!(heard.contains("connection: close\r\n") && heard.ends_with("at once"), "{heard}");
    assert_eq!(idle.hear_all().await, "", "and who does not ask is closed after a second");
    assert!(began.elapsed() >= seconds(1), "{:?}", began.elapsed());
    assert_eq!(drained(&mut door).await, Drained::default());
    assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_on_its_way_is_waited_for_and_its_request_is_answered() {
    for asks_before in [false, true] {
        let mut door = opened();
        let mut client = door.client(4096);
        if asks_before {
            client.say(GET).await;
            client.hear_until("at once").await;
        }
        client.say(&GET[..20]).await;
        sleep(seconds(1)).await;
        door.handle.drain(Drain::default());
        // By then all who are idle have gone.
        sleep(seconds(5)).await;
        client.say(&GET[20..]).await;
        let heard = client.hear_all().await;
        assert!(heard.contains("connection: close\r\n"), "{asks_before}: {heard}");
        assert!(heard.ends_with("at once"), "{asks_before}: {heard}");
        assert_eq!(drained(&mut door).await, Drained::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_comes_whole_holds_up_a_drain_no_longer_than_heads_may_take() {
    let mut door = opened();
    let mut client = door.client(4096);
    client.say(&GET[..20]).await;
    sleep(seconds(1)).await;
    let began = Instant::now();
    door.handle.drain(Drain::default());
    assert!(client.hear_all().await.starts_with("HTTP/1.1 408 "));
    drop(client);
    assert_eq!(drained(&mut door).await, Drained::default());
    let took = began.elapsed();
    assert!(took >= seconds(29) && took < seconds(31), "{took:?}");
}

/// On one thread nothing looks at the sockets between what the test does and what the door does.
#[tokio::test]
async fn a_request_that_has_come_and_was_not_seen_yet_is_answered() {
    let door = bed::open(service_fn(site), |door| door).await;
    let mut client = std::net::TcpStream::connect(door.address).expect("it listens");
    bed::until("it is taken", || door.handle.counters().open == 1).await;
    let mut drain = Drain::default();
    drain.idle = Duration::ZERO;
    door.handle.drain(drain);
    client.write_all(GET.as_bytes()).expect("sent");
    let heard = tokio::task::spawn_blocking(move || {
        let mut heard = String::new();
        client.read_to_string(&mut heard).map(|_| heard)
    });
    let heard = heard.await.expect("it ends").expect("it was not reset");
    assert!(heard.contains("connection: close\r\n") && heard.ends_with("at once"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn each_class_has_its_own_deadline_and_is_counted_when_it_is_cut() {
    let mut door = opened();
    let mut ends = Vec::new();
    for path in ["/slow/10000", "/stream", "/ws", "/raw"] {
        let mut client = door.client(64 << 10);
        let upgrade = "connection: upgrade\r\nupgrade: x\r\n";
        client.say(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n")).await;
        ends.push(tokio::spawn(async move {
            let heard = client.hear_all().await;
            (Instant::now(), heard)
        }));
    }
    sleep(seconds(1)).await;
    assert_eq!(door.handle.counters().upgraded, 2);
    let mut drain = Drain::default();
    (drain.plain, drain.streaming, drain.upgraded) = (seconds(40), seconds(20), seconds(5));
    let began = Instant::now();
    door.handle.drain(drain);
    let cut = drained(&mut door).await;
    assert_eq!((cut.plain, cut.streaming, cut.upgraded), (1, 1, 2));
    let mut heard = Vec::new();
    for (end, after) in ends.into_iter().zip([40, 20, 5, 5]) {
        let (at, words) = end.await.unwrap();
        let took = at - began;
        let late = seconds(after) + Duration::from_millis(600);
        assert!(took >= seconds(after) && took < late, "{after}: {took:?}");
        heard.push(words);
    }
    assert_eq!(heard[0], "", "cut without an answer");
    assert!(!heard[1].ends_with("0\r\n\r\n"), "an end would be a lie");
    assert_eq!(door.handle.counters().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_is_closed_between_two_frames_and_no_sooner() {
    let mut door = opened();
    let mut client = door.client(64 << 10);
    client
        .say("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    assert!(client.hear_until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    let mut room = [0; 64];
    // A whole frame and half of one come back as they are.
    client.say([0x82, 2, 1, 2, 0x82, 4, 1]).await;
    client.0.read_exact(&mut room[..7]).await.unwrap();
    door.handle.drain(Drain::default());
    let quiet = timeout(seconds(3), client.0.read(&mut room)).await;
    assert!(quiet.is_err(), "in the middle of a frame nothing can be said");
    // The rest of the frame, and the beginning of another that must not come through any more.
    client.say([2, 3, 4, 0x82, 1, 9]).await;
    client.0.read_exact(&mut room[..7]).await.unwrap();
    assert_eq!(room[..3], [2, 3, 4]);
    assert_eq!(room[3..7], CLOSE_1012);
    client.say([0x88, 2, 3, 0xf4]).await;
    let quiet = timeout(seconds(1), client.0.read(&mut room)).await;
    assert!(quiet.is_err(), "after a close frame nothing follows");
    drop(client);
    assert_eq!(drained(&mut door).await, Drained::default());
}

#[tokio::test(start_paused = true)]
async fn a_websocket_on_which_nothing_moves_is_told_at_once() {
    let mut door = opened();
    let mut client = door.client(64 << 10);
    client
        .say("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    client.hear_until("\r\n\r\n").await;
    sleep(seconds(1)).await;
    let began = Instant::now();
    door.handle.drain(Drain::default());
    let mut room = [0; 4];
    client.0.read_exact(&mut room).await.unwrap();
    assert_eq!(room, CLOSE_1012);
    assert!(began.elapsed() < seconds(1));
    drop(client);
    assert_eq!(drained(&mut door).await, Drained::default());
}

#[tokio::test(start_paused = true)]
async fn an_http_2_client_is_told_to_go_and_loses_nothing() {
    let mut door = opened();
    let stream = TokioIo::new(door.client(64 << 10).0);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let get = |path: &str| Request::get(format!("http://a{path}")).body(Empty::<Bytes>::new());
    let slow = tokio::spawn(client.send_request(get("/slow/20").unwrap()));
    sleep(seconds(1)).await;
    door.handle.drain(Drain::default());
    sleep(seconds(1)).await;
    let late = client.send_request(get("/").unwrap()).await;
    assert!(late.is_err(), "it knows that it has to ask elsewhere, and nothing was sent");
    let response = slow.await.unwrap().expect("what was begun is finished");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "slowly");
    drop(client);
    assert_eq!(drained(&mut door).await, Drained::default());
    driver.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn streams_of_http_2_are_cut_by_their_own_class() {
    let mut door = opened();
    let stream = TokioIo::new(door.client(64 << 10).0);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let get = |path: &str| Request::get(format!("http://a{path}")).body(Empty::<Bytes>::new());
    let slow = tokio::spawn(client.send_request(get("/slow/20").unwrap()));
    let streaming = client.send_request(get("/stream").unwrap()).await.unwrap();
    // Never read: what the client does not take does not keep it here.
    let _untaken = client.send_request(get("/stream").unwrap()).await.unwrap();
    let mut drain = Drain::default();
    drain.streaming = seconds(5);
    let began = Instant::now();
    door.handle.drain(drain);
    assert!(streaming.into_body().collect().await.is_err(), "it was reset");
    assert!(began.elapsed() < seconds(6), "{:?}", began.elapsed());
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(drained(&mut door).await.streaming, 2);
}

#[tokio::test(start_paused = true)]
async fn a_drain_may_be_made_shorter_while_it_goes_on() {
    let mut door = opened();
    let mut client = door.client(4096);
    client.say("GET /slow/100 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    sleep(seconds(1)).await;
    door.handle.drain(Drain::default());
    sleep(seconds(5)).await;
    assert!(door.handle.is_draining());
    let began = Instant::now();
    door.handle.drain(Drain::within(Duration::ZERO));
    assert_eq!(drained(&mut door).await.plain, 1);
    assert!(began.elapsed() < seconds(1));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_nobody_moves_does_not_hold_up_the_end() {
    let (keep, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<RequestBody>| {
        let keep = keep.clone();
        async move {
            tokio::spawn(async move { keep.send(hyper::upgrade::on(request).await) });
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("upgrade", "x".parse().unwrap());
            Ok::<_, Infallible>(response)
        }
    });
    let mut door = open(service, Limits::default(), |door| door);
    let mut client = door.client(4096);
    client.say("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
    client.hear_until("\r\n\r\n").await;
    door.handle.drain(Drain::within(seconds(1)));
    assert_eq!(drained(&mut door).await.upgraded, 1);
    // Once it moves, it finds that it is over.
    let upgraded = kept.recv().await.expect("it was upgraded").unwrap();
    let end = TokioIo::new(upgraded).read(&mut [0; 8]).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_door_closes_everything() {
    let mut door = opened();
    let mut clients = Vec::new();
    for path in ["/", "/slow/100", "/stream", "/ws"] {
        let mut client = door.client(64 << 10);
        let upgrade = "connection: upgrade\r\nupgrade: x\r\n";
        client.say(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n")).await;
        clients.push(client);
    }
    sleep(seconds(2)).await;
    assert_eq!(door.handle.counters().open, 4);
    let running = door.running.take().unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    for mut client in clients {
        // A tunnel's stream ends when the tunnel next moves; its reader is woken for that.
        timeout(seconds(1), client.hear_all()).await.expect("it is closed");
    }
    assert_eq!(door.handle.counters().open, 0);
}

/// At a path of its own, where nobody else can begin to listen meanwhile.
#[tokio::test]
async fn a_listening_socket_is_closed_at_once_or_kept_for_a_successor() {
    let folder = bed::folder("successor");
    for (listeners, name) in [(Listeners::Close, "closed"), (Listeners::Keep, "kept")] {
        let path = folder.join(name);
        let builder = FrontDoor::before(service_fn(site));
        let (door, handle) = builder.listen(UnixListener::bind(&path).unwrap()).build();
        let running = tokio::spawn(door.run());
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(bed::within(client.read(&mut [0; 1024])).await.unwrap() > 0);
        // Who is served stays to the end, and so does the door.
        let mut drain = Drain::within(seconds(3_600));
        drain.listeners = listeners;
        handle.drain(drain);
        bed::until("it drains", || handle.is_draining()).await;
        match listeners {
            Listeners::Keep => {
                let mut knocks = UnixStream::connect(&path).await.expect("it is kept");
                knocks.write_all(GET.as_bytes()).await.unwrap();
                let unserved = timeout(Duration::from_millis(300), knocks.read(&mut [0; 8])).await;
                assert!(unserved.is_err(), "who waits in the backlog is not answered here");
                assert_eq!(handle.counters().accepted, 1);
            }
            _ => assert!(UnixStream::connect(&path).await.is_err(), "it is closed"),
        }
        assert!(!running.is_finished());
        running.abort();
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test]
async fn a_successor_takes_over_the_socket_and_no_request_is_lost() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let opened = |socket: std::net::TcpListener| {
        let listener = runner_proxy::front_door::inherited_tcp(socket).unwrap();
        let (door, handle) = FrontDoor::before(service_fn(mirror)).listen(listener).build();
        (tokio::spawn(door.run()), handle)
    };
    let (first, handle) = opened(socket.try_clone().unwrap());
    // From the drain on it is the successor's alone.
    let handed_on = std::cell::Cell::new(Some(socket));
    let served = AtomicU32::new(0);
    let clients = (0..8).map(|_| async {
        while served.load(Relaxed) < 2_000 {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            loop {
                stream.write_all(GET.as_bytes()).await.unwrap();
                let mut heard = String::new();
                while !heard.ends_with("host: a\n\n") {
                    let mut room = [0; 1024];
                    let size = stream.read(&mut room).await.unwrap();
                    assert_ne!(size, 0, "lost after `{heard}`");
                    heard += &String::from_utf8_lossy(&room[..size]);
                }
                let count = served.fetch_add(1, Relaxed);
                if heard.contains("connection: close") || count >= 2_000 {
                    break;
                }
            }
        }
    });
    let change = async {
        bed::until("they ask", || served.load(Relaxed) > 500).await;
        let (second, successor) = opened(handed_on.take().unwrap());
        // Each of them asks again, and learns from the answer that it has to go, however long a
        // busy machine lets it wait for its turn.
        let mut drain = Drain::within(seconds(3_600));
        drain.idle = seconds(3_600);
        handle.drain(drain);
        assert_eq!(first.await.unwrap(), Drained::default());
        (second, successor)
    };
    let (_, (second, successor)) =
        bed::within(futures_util::future::join(futures_util::future::join_all(clients), change))
            .await;
    assert!(successor.counters().requests.http11 > 0);
    let all = successor.counters().requests.http11 + handle.counters().requests.http11;
    assert_eq!(all, u64::from(served.into_inner()));
    // Everybody came in, so the port was never closed; and the one that still has it serves.
    let mut late = tokio::net::TcpStream::connect(address).await.unwrap();
    late.write_all(GET.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut heard = String::new();
    bed::within(late.read_to_string(&mut heard)).await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    assert_eq!(successor.counters().requests.http11 + handle.counters().requests.http11, all + 1);
    second.abort();
}
