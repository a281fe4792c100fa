//! The proxy in a process of its own, and what it reports.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    num::NonZeroU32,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use runner_core::{
    admission::{QueueSettings, Snapshot},
    spec::Protocol,
};
use runner_proxy::{
    forward::{Forward, ForwardCounters, Network, Replay, TimeLimits},
    front_door::{DoorCounters, FrontDoor, Limits, Rate},
    pool::Pool,
    router::{Router, Routes},
};
use tower::Layer;

use crate::bed::at;

const CHILD: &str = "RUNNER_SIZES_CHILD";

/// What a proxy is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) instances: Vec<SocketAddr>,
    /// Of each instance.
    pub(crate) cap: u32,
    pub(crate) protocol: Protocol,
    /// Whether clients that are slow are cut off after a second. Otherwise they never are: on a
    /// machine with other work everybody is slow.
    pub(crate) is_strict: bool,
}

impl Setup {
    pub(crate) fn before(instances: impl IntoIterator<Item = SocketAddr>, cap: u32) -> Self {
        let instances = instances.into_iter().collect();
        Self { instances, cap, protocol: Protocol::Http1, is_strict: false }
    }

    fn to_words(&self) -> String {
        let own = [self.cap.to_string(), (self.protocol == Protocol::H2c).to_string()];
        let instances = self.instances.iter().map(ToString::to_string);
        let words = own.into_iter().chain([self.is_strict.to_string()]).chain(instances);
        words.collect::<Vec<_>>().join(" ")
    }

    fn of_words(words: &str) -> Self {
        let mut words = words.split(' ');
        let mut next = || words.next().unwrap();
        let cap = next().parse().unwrap();
        let protocol = if next() == "true" { Protocol::H2c } else { Protocol::Http1 };
        let is_strict = next() == "true";
        let instances = words.map(|word| word.parse().unwrap()).collect();
        Self { instances, cap, protocol, is_strict }
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.connections = Some(100_000);
        limits.streams = NonZeroU32::new(10_000).unwrap();
        (limits.total, limits.body_bytes) = (None, None);
        (limits.head, limits.idle, limits.rate) = (HOUR, HOUR, None);
        if self.is_strict {
            let second = Duration::from_secs(1);
            (limits.head, limits.idle) = (second, 10 * second);
            limits.rate = Some(Rate::new(NonZeroU32::new(240).unwrap(), second));
        }
        limits
    }
}

/// Serves until its input ends, and reports when it is asked.
pub(crate) fn serve_if_asked() {
    let Ok(words) = std::env::var(CHILD) else { return };
    let setup = Setup::of_words(&words);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let mut snapshot = Snapshot::default();
    let instances = (1..).zip(&setup.instances);
    snapshot.instances = instances.map(|(number, to)| at(number, *to, setup.cap)).collect();
    let pool = Pool::new(QueueSettings::new(1_000_000, HOUR), snapshot);
    let mut limits = TimeLimits::default();
    (limits.connect, limits.total) = (HOUR, None);
    // So that the budget is not what keeps requests from being sent again.
    let builder = Forward::builder(Network::new()).replay_percent(10_000).limits(limits);
    let (forward, connections) = builder.protocol(setup.protocol).build();
    runtime.spawn(connections.run());
    let mut routes = Routes::new();
    let path = pool.layer().layer(forward.clone());
    routes.add(&"*".parse().unwrap(), "all", path).unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    println!("\nlistening {}", listener.local_addr().unwrap());
    let door = FrontDoor::before(Router::new(routes)).limits(setup.limits()).listen(listener);
    let (door, handle) = door.build();
    runtime.spawn(door.run());
    for _asked in std::io::stdin().lines() {
        let queue = pool.counters();
        let numbers = [
            ("resident", memory("VmRSS:")),
            ("peak", memory("VmHWM:")),
            ("in_flight", queue.in_flight),
            ("waiting", u64::from(queue.waiting)),
        ];
        let all = numbers.into_iter().chain(of_door(&handle.counters()));
        let all = all.chain(of_forward(&forward.counters()));
        let words: Vec<_> = all.map(|(name, number)| format!("{name}={number}")).collect();
        println!("\nreport {}", words.join(" "));
    }
}

fn of_door(counters: &DoorCounters) -> [(&'static str, u64); 8] {
    [
        ("open", counters.open),
        ("accepted", counters.accepted),
        ("idle_cut", counters.timeouts.idle),
        ("slow_heads", counters.timeouts.head),
        ("slow_bodies", counters.timeouts.body),
        ("slow_readers", counters.timeouts.reader),
        ("too_large", counters.refused.too_large),
        ("broken", counters.refused.broken),
    ]
}

fn of_forward(counters: &ForwardCounters) -> [(&'static str, u64); 3] {
    [
        ("opened", counters.connections_opened),
        ("stale", counters.replays(Replay::StaleConnection)),
        ("unanswered", counters.replays(Replay::Unanswered)),
    ]
}

/// Of this process, in KiB. The kernel adds it up from counts by processor, and may be off by some
/// pages either way: what was the most a moment ago may be less now.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// A proxy that runs.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    process: Child,
    ask: ChildStdin,
    said: BufReader<ChildStdout>,
}

/// What it says of itself: counts, and KiB.
#[derive(Debug)]
pub(crate) struct Report(BTreeMap<String, u64>);

impl Report {
    pub(crate) fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// Opens as many files as this process may at all, and those that it starts from then on; how many
/// that is. The usual limit is less than what is promised here.
pub(crate) fn all_files() -> u64 {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    limit.current.unwrap_or(u64::MAX)
}

impl Proxy {
    pub(crate) fn start(setup: &Setup) -> Self {
        all_files();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, setup.to_words())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (ask, said) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut proxy = Self { address, process, ask, said: BufReader::new(said) };
        proxy.address = proxy.hears("listening ").parse().unwrap();
        proxy
    }

    fn hears(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "it ended");
            if let Some(rest) = line.trim().strip_prefix(word) {
                return rest.to_owned();
            }
        }
    }

    pub(crate) fn report(&mut self) -> Report {
        self.ask.write_all(b"report\n").unwrap();
        let said = self.hears("report ");
        let pairs = said.split(' ').map(|pair| pair.split_once('=').unwrap());
        Report(pairs.map(|(name, number)| (name.to_owned(), number.parse().unwrap())).collect())
    }

    /// Asks until what is reported is as it should be.
    pub(crate) async fn until(&mut self, what: &str, is_so: impl Fn(&Report) -> bool) -> Report {
        let began = Instant::now();
        loop {
            let report = self.report();
            if is_so(&report) {
                return report;
            }
            assert!(began.elapsed() < LONG, "{what}: {report:?}");
            // Whoever else is on this thread goes on meanwhile.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

/// After this something hangs, however much else the machine does.
pub(crate) const LONG: Duration = Duration::from_secs(600);
