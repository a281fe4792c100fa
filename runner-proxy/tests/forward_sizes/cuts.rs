//! Connections cut at any byte, on both sides of the proxy: what is not idempotent is never worked
//! on twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    bed::{Upstream, Wire},
    proxy::{LONG, Proxy, Setup},
    size,
};

const METHODS: [&str; 4] = ["POST", "PATCH", "PUT", "GET"];

/// `SplitMix64`: the same everywhere.
fn random(seed: u64) -> u64 {
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// What was worked on, by the name of the request.
type Done = Arc<Mutex<BTreeMap<u64, u32>>>;

/// Reads and writes so many bytes and then closes, wherever it is.
struct Cut {
    wire: Wire,
    left: usize,
}

impl Cut {
    fn new(wire: Wire, left: u64, is_reset: bool) -> Self {
        // Half of them are reset and not closed, which loses what was on its way.
        if is_reset {
            let _ = resets(&wire.stream);
        }
        Self { wire, left: left as usize }
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let bytes = self.wire.take(count.min(self.left)).await?;
        self.left -= bytes.len();
        (bytes.len() == count).then_some(bytes)
    }

    async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.take(1).await?);
        }
        String::from_utf8(head).ok()
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        let text = &text[..text.len().min(self.left)];
        self.wire.say(text).await;
        self.left -= text.len();
        (self.left > 0).then_some(())
    }
}

#[expect(deprecated, reason = "it blocks nobody where the time is none")]
fn resets(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_linger(Some(Duration::ZERO))
}

fn number_in(head: &str, name: &str) -> Option<u64> {
    let line = head.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

/// One connection of an instance.
async fn serve(wire: Wire, number: u64, done: Done) -> Option<()> {
    // From within the first head to the middle of some later exchange.
    let mut wire = Cut::new(wire, random(number) % 1_500, number.is_multiple_of(2));
    loop {
        let head = wire.head().await?;
        wire.take(number_in(&head, "content-length:").unwrap_or(0) as usize).await?;
        // It is all there, so it is worked on.
        *done.lock().unwrap().entry(number_in(&head, "x-id:")?).or_insert(0) += 1;
        wire.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
    }
}

/// What the clients have in common.
struct Clients {
    proxy: std::net::SocketAddr,
    connections: AtomicU64,
    ids: AtomicU64,
    good: Mutex<Vec<u64>>,
}

impl Clients {
    /// Asks on one connection until it is cut, by whomever.
    async fn ask(&self, connection: u64) -> Option<()> {
        let seed = random(!connection);
        let wire = Wire::to(self.proxy).await;
        let mut wire = Cut::new(wire, seed % 4_000, connection.is_multiple_of(2));
        loop {
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            let method = METHODS[id as usize % 4];
            let body = if method == "GET" { 0 } else { random(id) as usize % 400 };
            let body = "x".repeat(body);
            let length = body.len();
            wire.say(&format!(
                "{method} / HTTP/1.1\r\nhost: a\r\nx-id: {id}\r\ncontent-length: {length}\r\n\r\n\
                 {body}"
            ))
            .await?;
            // Some have said all and do not wait for the answer.
            if random(id).is_multiple_of(16) {
                return None;
            }
            let head = wire.head().await?;
            wire.take(number_in(&head, "content-length:")? as usize).await?;
            if head.starts_with("HTTP/1.1 200 ") {
                self.good.lock().unwrap().push(id);
            }
        }
    }
}

#[tokio::test]
async fn nothing_that_is_not_idempotent_is_worked_on_twice() {
    let connections = size("RUNNER_CUTS", 2_000);
    let done = Done::default();
    let mut upstreams = Vec::new();
    for offset in [0, 1_000_000, 2_000_000] {
        let done = Arc::clone(&done);
        let act = move |wire, number: usize| {
            let serving = serve(wire, number as u64 + offset, Arc::clone(&done));
            async {
                let _ = serving.await;
            }
        };
        upstreams.push(Upstream::new(act).await);
    }
    let mut proxy = Proxy::start(&Setup::before(upstreams.iter().map(|up| up.address), 20));
    let clients = Arc::new(Clients {
        proxy: proxy.address,
        connections: AtomicU64::new(0),
        ids: AtomicU64::new(0),
        good: Mutex::default(),
    });
    let mut asking = JoinSet::new();
    for _ in 0..30 {
        let clients = Arc::clone(&clients);
        asking.spawn(async move {
            loop {
                let connection = clients.connections.fetch_add(1, Ordering::Relaxed);
                if connection >= connections {
                    return;
                }
                let asked = tokio::time::timeout(LONG, clients.ask(connection));
                let _ = asked.await.expect("every connection comes to its end");
            }
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.expect("nobody panics");
    }
    let is_over = |report: &crate::proxy::Report| report.get("open") + report.get("in_flight") == 0;
    let report = proxy.until("all have gone", is_over).await;
    let done = done.lock().unwrap();
    for (id, times) in done.iter().filter(|(id, _)| **id % 4 < 2) {
        assert_eq!(*times, 1, "{} {id} was worked on {times} times", METHODS[*id as usize % 4]);
    }
    let good = clients.good.lock().unwrap();
    assert!(good.iter().all(|id| done.contains_key(id)), "what was answered was worked on");
    // Without these the test would say nothing.
    let asked = clients.ids.load(Ordering::Relaxed);
    let twice = done.values().filter(|times| **times > 1).count();
    let at_instances: usize = upstreams.iter().map(Upstream::accepted).sum();
    println!(
        "{asked} requests on {connections} connections of clients and {at_instances} of \
         instances, {} worked on, {} answered, {} sent again, {twice} worked on more than once",
        done.len(),
        good.len(),
        report.get("stale") + report.get("unanswered"),
    );
    assert!(at_instances as u64 > connections / 8, "few connections of instances were cut");
    assert!(twice > 0, "idempotent ones are, when they have to be");
    assert!(good.len() as u64 > asked / 8 && (good.len() as u64) < asked);
}
