//! The sample app as instances of the process backend, failing in its ways.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    time::Duration,
};

use runner_backends::process::Process;
use runner_core::{
    backend::{ContainerBackend, Exit, ExitStatus, Fence, StartRequest},
    error::ErrorKind,
    id::{Epoch, InstanceId, PlatformId, ServiceId},
};
use runner_examples::sample_app::{Failure, SampleApp};

const FENCE: Fence = Fence { platform: PlatformId::from_random(1), epoch: Epoch::FIRST };
const LONG: Duration = Duration::from_secs(100);

/// A backend in a directory of its own, removed after it.
struct Bed(Process, PathBuf);

impl Bed {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("runner-app-{name}-{}", std::process::id()));
        Self(Process::new(&path).expect("a backend"), path)
    }

    async fn start(&self, number: u64, app: &SampleApp) -> InstanceId {
        let id = ServiceId::from_random(1).instance(number);
        let command = app.command_of(env!("CARGO_BIN_EXE_quickstart"));
        self.0.start(FENCE, StartRequest::command(id, command)).await.expect("a start");
        id
    }

    /// Where it listens, once it does.
    async fn serving(&self, number: u64, app: &SampleApp) -> (InstanceId, String) {
        let id = self.start(number, app).await;
        let address = self.0.proven(FENCE, id, LONG).await.expect("it listens");
        (id, address.to_string())
    }

    async fn stop(&self, id: InstanceId, grace: Duration) -> Exit {
        self.0.stop(FENCE, id, grace).await.expect("a stop")
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

fn ask(address: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("set");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n").expect("sent");
    let mut answer = Vec::new();
    // An app that dies may cut the answer short.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const CLOSE: &str = "connection: close\r\n";

#[tokio::test]
async fn it_answers_with_its_version_streams_and_echoes() {
    let bed = Bed::new("answers");
    let app = SampleApp::new("blue").start_delay(Duration::from_millis(30));
    let (id, address) = bed.serving(1, &app).await;
    let answer = ask(&address, "/?work=1ms", CLOSE);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nblue\n"), "{answer}");
    let stream = ask(&address, "/stream?count=3&every=1ms", CLOSE);
    assert!(stream.contains("2 more\n") && stream.contains("0 more\n"), "{stream}");

    let mut socket = TcpStream::connect(&address).expect("it listens");
    socket.set_read_timeout(Some(LONG)).expect("set");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    write!(socket, "GET /ws HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n").expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    // The key and its answer are those of RFC 6455.
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    // A text of two letters, masked with zeros.
    socket.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).expect("sent");
    let mut frame = [0; 4];
    socket.read_exact(&mut frame).expect("an echo");
    assert_eq!(frame, [0x81, 2, b'h', b'i']);
    assert_eq!(bed.stop(id, LONG).await.status, ExitStatus::Code(0));
}

#[tokio::test]
async fn it_fails_as_it_is_told() {
    let bed = Bed::new("fails");
    let fails = |failure| SampleApp::new("red").fails(failure);
    let (id, address) = bed.serving(1, &fails(Failure::Answers500)).await;
    assert!(ask(&address, "/", CLOSE).starts_with("HTTP/1.1 500 "));
    bed.stop(id, LONG).await;

    let (id, address) = bed.serving(2, &fails(Failure::DiesAfter(1))).await;
    assert!(ask(&address, "/", CLOSE).starts_with("HTTP/1.1 200 "));
    ask(&address, "/", CLOSE);
    let exit = bed.stop(id, LONG).await;
    assert!(exit.last_lines.iter().any(|line| line == "1 requests were enough"), "{exit:?}");

    let (id, _) = bed.serving(3, &fails(Failure::IgnoresTerm)).await;
    assert_eq!(bed.stop(id, Duration::from_millis(20)).await.status, ExitStatus::Signal(9));

    let (id, _) = bed.serving(4, &fails(Failure::FloodsItsLog)).await;
    assert!(!bed.stop(id, LONG).await.last_lines.is_empty());

    let (id, _) = bed.serving(5, &fails(Failure::Leaks(1 << 20))).await;
    let first = bed.0.usage(FENCE, id).await.expect("usage").memory_bytes;
    let grows = async {
        while bed.0.usage(FENCE, id).await.expect("usage").memory_bytes < first + (8 << 20) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, grows).await.expect("it leaks");
    bed.stop(id, LONG).await;
}

#[tokio::test]
async fn where_it_listens_instead_is_told() {
    let bed = Bed::new("elsewhere");
    // Any that is free, and outside of the range.
    let app = SampleApp::new("red").fails(Failure::ListensOn(0));
    let id = bed.start(1, &app).await;
    let listens = async {
        loop {
            if let [port] = bed.0.listening_ports(FENCE, id).await.expect("a look")[..] {
                return port;
            }
            tokio::task::yield_now().await;
        }
    };
    let port = tokio::time::timeout(LONG, listens).await.expect("it listens elsewhere");
    let short = Duration::from_millis(20);
    let refusal = bed.0.proven(FENCE, id, short).await.expect_err("not on its port");
    assert_eq!(refusal.kind(), ErrorKind::TimedOut);
    assert!(refusal.to_string().contains(&format!(", but {port} listens;")), "{refusal}");
    bed.stop(id, LONG).await;

    let id = bed.start(2, &SampleApp::new("red").fails(Failure::NeverListens)).await;
    let refusal = bed.0.proven(FENCE, id, short).await.expect_err("nowhere").to_string();
    assert!(refusal.contains("nor on any other port"), "{refusal}");
    assert!(bed.0.listening_ports(FENCE, id).await.expect("a look").is_empty());
    bed.stop(id, LONG).await;
}
