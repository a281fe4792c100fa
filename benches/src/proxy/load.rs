//! The instance that is asked, and whoever asks it: on one thread, with as little between as can
//! be.

use std::{
    cell::RefCell,
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::LocalSet,
};

use super::CONNECTIONS;

/// An instance that answers 20 bytes to whatever ends in an empty line. Runs until it is dropped.
pub async fn instance(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; 4096];
            let mut filled = 0;
            loop {
                match stream.read(&mut buffer[filled..]).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => filled += count,
                }
                // Nobody here sends a second request before the answer to the first.
                if buffer[..filled].ends_with(b"\r\n\r\n") {
                    filled = 0;
                    if stream.write_all(ANSWER).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// Runs what is asked beside an instance, all on this thread. `busy` never sleeps, for whoever
/// wants to know the time to the microsecond.
pub fn beside_instance<T, F: Future<Output = T>>(
    busy: bool,
    ask: impl FnOnce(SocketAddr) -> F,
) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    if busy {
        builder.event_interval(1);
    }
    let runtime = builder.enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::task::spawn_local(instance(listener));
        ask(address).await
    })
}

/// Asks on so many connections, each as fast as it is answered, until `enough` says so; how many
/// were answered.
pub async fn closed(to: SocketAddr, connections: usize, enough: impl Fn(u64) -> bool) -> u64 {
    let count = Rc::new(RefCell::new(0));
    let asking: Vec<_> = (0..connections).map(|_| ask(to, Rc::clone(&count), &enough)).collect();
    futures_util::future::join_all(asking).await;
    *count.borrow()
}

async fn ask(to: SocketAddr, count: Rc<RefCell<u64>>, enough: &impl Fn(u64) -> bool) {
    let mut client = AskedBy::connect(to).await;
    while !enough(*count.borrow()) {
        client.ask().await;
        *count.borrow_mut() += 1;
    }
}

/// How late answers were, in microseconds from the moment at which their requests should have been
/// sent; sorted.
#[derive(Debug)]
pub struct Lateness(Vec<f64>);

impl Lateness {
    /// The answer that so much of all were not later than.
    pub fn quantile(&self, part: f64) -> f64 {
        let at = (self.0.len() as f64 * part).ceil() as usize;
        self.0[at.clamp(1, self.0.len()) - 1]
    }
}

/// Asks at a steady rate for a time, whether or not the answers come: a request that finds no
/// connection free waits for one, and its time runs.
pub async fn open(to: SocketAddr, rate: f64, time: Duration, warm_up: Duration) -> Lateness {
    let due = Rc::new(RefCell::new(VecDeque::<Instant>::new()));
    let (seen, bell) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Notify::new()));
    let began = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (due, seen, bell) = (Rc::clone(&due), Rc::clone(&seen), Rc::clone(&bell));
            tokio::task::spawn_local(async move {
                let mut client = AskedBy::connect(to).await;
                loop {
                    let Some(at) = ({ due.borrow_mut().pop_front() }) else {
                        bell.notified().await;
                        continue;
                    };
                    client.ask().await;
                    if at >= began + warm_up {
                        seen.borrow_mut().push(at.elapsed().as_secs_f64() * 1e6);
                    }
                }
            })
        })
        .collect();
    let gap = Duration::from_secs_f64(1.0 / rate);
    let mut next = began;
    while began.elapsed() < warm_up + time {
        while next <= Instant::now() {
            due.borrow_mut().push_back(next);
            bell.notify_one();
            next += gap;
        }
        tokio::task::yield_now().await;
    }
    // What is still under way is late too, but by how much nobody knows; it is one in thousands.
    clients.iter().for_each(|client| client.abort());
    let mut seen = seen.take();
    seen.sort_by(f64::total_cmp);
    Lateness(seen)
}

/// One connection that is asked on.
struct AskedBy {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl AskedBy {
    async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, buffer: vec![0; 4096] }
    }

    /// One request and its whole answer.
    async fn ask(&mut self) {
        self.stream.write_all(REQUEST).await.expect("it listens");
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[filled..]).await.expect("an answer");
            assert!(count > 0, "the proxy closed a connection");
            filled += count;
            let text = &self.buffer[..filled];
            if let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n")
                && filled >= head + 4 + BODY.len()
            {
                assert!(text.starts_with(b"HTTP/1.1 200"), "every answer is good");
                assert!(text.ends_with(BODY.as_bytes()), "and whole");
                return;
            }
        }
    }
}

const REQUEST: &[u8] = b"GET /index HTTP/1.1\r\nhost: bench.example\r\n\r\n";

const BODY: &str = "twenty bytes of text";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\
    content-type: text/plain\r\n\r\ntwenty bytes of text";
