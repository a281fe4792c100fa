//! What does the process backend cost an instance, over a bare spawn of the same program?
//!
//! The program is the sample app, which this one becomes when it is started as it. Both ways begin
//! before the fork and end when its port is seen to be listened on: by a connection in the bare
//! one, by proof that the socket is its own in ours.

use std::{
    future::Future,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use runner_backends::process::Process;
use runner_core::{
    backend::{ContainerBackend, Fence, StartRequest},
    id::{Epoch, InstanceId, PlatformId, ServiceId},
};
use runner_examples::sample_app::SampleApp;

use crate::admission::Measure;

/// All questions by name, what is compared beside each other.
pub const QUESTIONS: [(&str, Measure); 7] = [
    ("bare/start_to_listening", bare_start),
    ("process/start_to_proven", proven_start),
    ("process/freeze", |n| standby(n).0),
    ("process/thaw", |n| standby(n).1),
    ("process/hundred_started", |n| hundred(n, 0)),
    ("process/hundred_adopted", |n| hundred(n, 1)),
    ("process/hundred_stopped", |n| hundred(n, 2)),
];

fn bare_start(operations: u64) -> Duration {
    let words = SampleApp::new("bench").command();
    let mut total = Duration::ZERO;
    for _ in 0..operations {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr());
        let address = free.expect("a free port");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("PORT", address.port().to_string());
        let began = Instant::now();
        let mut child = command.stdout(Stdio::null()).spawn().expect("it starts");
        while TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        total += began.elapsed();
        child.kill().expect("it runs");
        child.wait().expect("it ended");
    }
    total
}

fn proven_start(operations: u64) -> Duration {
    let stage = Stage::new();
    stage.run(async {
        let backend = stage.open();
        let mut total = Duration::ZERO;
        for number in 1..=operations {
            let began = Instant::now();
            start(&backend, number).await;
            backend.proven(FENCE, id(number), PATIENCE).await.expect("it listens");
            total += began.elapsed();
            backend.stop(FENCE, id(number), PATIENCE).await.expect("it ends");
        }
        total
    })
}

/// How long all freezes took, and all thaws.
fn standby(operations: u64) -> (Duration, Duration) {
    let stage = Stage::new();
    stage.run(async {
        let backend = stage.open();
        start(&backend, 1).await;
        backend.proven(FENCE, id(1), PATIENCE).await.expect("it listens");
        let (mut freezes, mut thaws) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..operations {
            let began = Instant::now();
            backend.freeze(FENCE, id(1)).await.expect("it freezes");
            freezes += began.elapsed();
            let began = Instant::now();
            backend.thaw(FENCE, id(1)).await.expect("it thaws");
            thaws += began.elapsed();
        }
        backend.stop(FENCE, id(1), PATIENCE).await.expect("it ends");
        (freezes, thaws)
    })
}

/// A hundred instances started, adopted by another handle, stopped: how long one of the three took.
fn hundred(operations: u64, which: usize) -> Duration {
    let stage = Stage::new();
    stage.run(async {
        let mut total = Duration::ZERO;
        for round in 0..operations {
            let ids: Vec<u64> = (1..=100).map(|number| round * 100 + number).collect();
            let mut took = [Duration::ZERO; 3];
            let began = Instant::now();
            let backend = stage.open();
            for number in &ids {
                start(&backend, *number).await;
            }
            for number in &ids {
                backend.proven(FENCE, id(*number), PATIENCE).await.expect("it listens");
            }
            took[0] = began.elapsed();
            drop(backend);
            let began = Instant::now();
            let backend = stage.open();
            let listing = backend.list(FENCE).await.expect("a list");
            assert_eq!(listing.instances.len(), ids.len());
            took[1] = began.elapsed();
            let began = Instant::now();
            let stops = ids.iter().map(|number| backend.stop(FENCE, id(*number), PATIENCE));
            for stopped in futures_util::future::join_all(stops).await {
                stopped.expect("it ends");
            }
            took[2] = began.elapsed();
            total += took[which];
        }
        total
    })
}

async fn start(backend: &Process, number: u64) {
    let request = StartRequest::command(id(number), SampleApp::new("bench").command());
    backend.start(FENCE, request).await.expect("it starts");
}

fn id(number: u64) -> InstanceId {
    ServiceId::from_random(1).instance(number)
}

/// A directory of its own, removed after it.
struct Stage(PathBuf);

impl Stage {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("runner-bench-{}", std::process::id())))
    }

    fn open(&self) -> Process {
        let builder = Process::builder(&self.0).ports(21_000..=21_999);
        // Ports used faster than they rest would be what is measured.
        builder.port_rest(Duration::ZERO).build().expect("a backend")
    }

    fn run<F: Future>(&self, future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const FENCE: Fence = Fence { platform: PlatformId::from_random(1), epoch: Epoch::FIRST };

const PATIENCE: Duration = Duration::from_secs(10);
