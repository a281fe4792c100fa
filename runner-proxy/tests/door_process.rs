//! A door in a process of its own: its memory, and what it does without files.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests spawn, wait, and fail where they unwrap"
)]

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use runner_proxy::front_door::{FrontDoor, Limits, RequestBody};
use tower::service_fn;

const MODE: &str = "RUNNER_DOOR_CHILD";
/// Beyond this something does not come; a busy machine is given its time.
const PATIENCE: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3_600);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// The process that the other tests start. As one of the tests it does nothing.
#[test]
fn child() {
    let Ok(mode) = std::env::var(MODE) else { return };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let service = service_fn(async |_: Request<RequestBody>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
    });
    let (door, handle, address) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut limits = Limits::default();
        limits.connections = Some(100_000);
        // None of these tests is about time, and on a busy machine everybody is slow.
        (limits.head, limits.idle, limits.total) = (HOUR, HOUR, None);
        limits.rate = None;
        let (door, handle) = FrontDoor::before(service).limits(limits).listen(listener).build();
        (door, handle, address)
    });
    runtime.spawn(door.run());
    if mode == "no-files" {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let few = rustix::process::Rlimit { current: Some(open + 5), maximum: Some(open + 5) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    }
    println!("\nlistening {address}");
    for _asked in std::io::stdin().lines() {
        let rss = match &*mode {
            "memory" => resident_kib(),
            _ => 0,
        };
        let counters = handle.counters();
        println!("\nreport {} {} {rss}", counters.open, counters.out_of_files);
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Opens as many files as this process may at all, and says how many that is.
fn all_files() -> u64 {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    limit.current.unwrap_or(u64::MAX)
}

/// Connections before the first measurement: what the first ones bring about is no part of it.
const WARM: u64 = 100;

struct Door {
    process: Child,
    ask: ChildStdin,
    said: BufReader<ChildStdout>,
    address: SocketAddr,
}

struct Report {
    open: u64,
    out_of_files: u64,
    kib: u64,
}

impl Door {
    fn start(mode: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(MODE, mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (ask, said) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut door = Self { process, ask, said: BufReader::new(said), address };
        door.address = door.hears("listening ").parse().unwrap();
        door
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

    fn report(&mut self) -> Report {
        self.ask.write_all(b"report\n").unwrap();
        let said = self.hears("report ");
        let numbers: Vec<u64> = said.split(' ').map(|number| number.parse().unwrap()).collect();
        Report { open: numbers[0], out_of_files: numbers[1], kib: numbers[2] }
    }

    /// Asks until what is reported is as it should be.
    fn until(&mut self, what: &str, is_so: impl Fn(&Report) -> bool) -> Report {
        let began = Instant::now();
        loop {
            let report = self.report();
            if is_so(&report) {
                return report;
            }
            assert!(began.elapsed() < PATIENCE, "{what}");
            // The child is asked again soon, and not in a loop that takes its processor away.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn client(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A client that has asked once: to connect many at once would only fill the backlog.
    fn asked(&self) -> TcpStream {
        let mut client = self.client();
        get(&mut client);
        client
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(stream: &mut TcpStream) {
    stream.write_all(GET).unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"hello") {
        let mut room = [0; 512];
        let size = stream.read(&mut room).unwrap();
        assert_ne!(size, 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&room[..size]);
    }
}

#[test]
fn without_files_it_waits_and_goes_on_when_there_are_some() {
    let mut door = Door::start("no-files");
    let mut clients: Vec<_> = (0..30).map(|_| door.client()).collect();
    let report = door.until("it runs out of files", |report| report.out_of_files > 1);
    assert!((1..30).contains(&report.open), "{} are open", report.open);
    get(&mut clients[0]);
    // It pauses, ever longer, up to a second each time. What is tested is that it lets real time
    // go by, so real time has to; how much went by on a busy machine is what it is judged by.
    let (before, began) = (door.report().out_of_files, Instant::now());
    std::thread::sleep(Duration::from_millis(500));
    let tries = door.report().out_of_files - before;
    assert!(tries <= 8 + began.elapsed().as_secs(), "it spins: {tries} tries");
    clients.truncate(1);
    door.until("the others have gone", |report| report.open <= 1);
    get(&mut door.client());
    get(&mut clients[0]);
}

#[test]
fn an_idle_connection_costs_little_memory() {
    // As many as may be open at once; where the limit is the usual one, two thousand.
    let count = all_files().saturating_sub(300).clamp(100, 2_000);
    let mut door = Door::start("memory");
    let _warm: Vec<_> = (0..WARM).map(|_| door.asked()).collect();
    let before = door.report().kib;
    let _clients: Vec<_> = (0..count).map(|_| door.asked()).collect();
    let after = door.until("all are open", |report| report.open == WARM + count);
    // What the first ones left behind may be given back meanwhile.
    let bytes = after.kib.saturating_sub(before) * 1024 / count;
    println!("an idle connection takes {bytes} bytes");
    assert!(bytes <= 16 << 10, "{bytes} bytes for an idle connection");
}

#[test]
fn floods_of_heads_leave_no_memory_behind() {
    let mut door = Door::start("memory");
    // Two mebibytes each, thirty times what a head may be.
    let head = format!("x: {}\r\n", "y".repeat(1_000)).repeat(2_000);
    let mut after = Vec::new();
    for _ in 0..6 {
        let mut clients: Vec<_> = (0..50).map(|_| door.client()).collect();
        for client in &mut clients {
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").unwrap();
            // It is refused on the way, and cut off when it does not end.
            let _ = client.write_all(head.as_bytes());
        }
        drop(clients);
        after.push(door.until("all have gone", |report| report.open == 0).kib);
    }
    println!("resident after each flood: {after:?} KiB");
    // What all of them may hold at once is 64 KiB each, and hyper takes twice that to grow by.
    let most = after[0] + 50 * 128;
    assert!(after.iter().all(|kib| *kib <= most), "{after:?}");
}
