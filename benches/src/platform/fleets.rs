//! Many services, on the backend in memory and in real time, with a journal on the disk.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use runner_core::spec::{ServiceBuilder, ServiceSpec};
use runner_platform::{
    DataPath, Platform,
    testing::{Memory, TAKES},
};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;

use super::{Folder, Line, Size, quantile, runtime};
use crate::own::{cpu_time, resident};

/// A platform that runs.
struct Fleet {
    platform: Platform,
    driver: JoinHandle<Result<(), runner_platform::Error>>,
    _folder: Folder,
}

impl Fleet {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        // Not the journal in memory: that fake keeps all that was ever written.
        let builder = Memory::new(1).builder().journal(folder.0.join("state.redb"));
        let (platform, driver) = builder.build().expect("built");
        Self { platform, driver: tokio::spawn(driver.run()), _folder: folder }
    }

    async fn create(&self, services: usize, spec: impl Fn() -> ServiceBuilder) {
        let mut created = JoinSet::new();
        for number in 0..services {
            // Not all at once: what so many creations hold meanwhile is not what services hold.
            if created.len() >= AT_ONCE {
                created.join_next().await.expect("one is under way").expect("no panic");
            }
            let (platform, spec) = (self.platform.clone(), spec());
            created.spawn(async move {
                let operation = platform.create(name(number), spec).await.expect("accepted");
                operation.finished().await.expect("deployed");
            });
        }
        while let Some(created) = created.join_next().await {
            created.expect("no panic");
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn hello() -> ServiceBuilder {
    ServiceSpec::command(["./hello"]).with(|raw| raw.deployment.bake = Some("0s".into()))
}

async fn get(path: DataPath, service: usize, takes: Duration) {
    let request = Request::get("/").header("host", format!("{}.localhost", name(service)));
    let request = request.header(TAKES, takes.as_millis().to_string());
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = path.oneshot(request).await;
    assert!(response.status().is_success(), "answered {}", response.status());
    let _ = response.into_body().collect().await;
}

/// From more requests than there are slots to the decision that there be more instances.
pub(super) fn decisions(size: Size) -> Vec<Line> {
    let mut took = runtime().block_on(async {
        let fleet = Fleet::new("decisions");
        fleet.create(size.rounds, || hello().cap(1).between(1, 4)).await;
        let mut took = Vec::new();
        for service in 0..size.rounds {
            let mut requests = JoinSet::new();
            let began = Instant::now();
            for _ in 0..3 {
                let path = fleet.platform.service();
                requests.spawn(get(path, service, Duration::from_millis(30)));
            }
            while fleet.platform.describe(&name(service)).await.expect("there").desired < 2 {
                tokio::task::yield_now().await;
            }
            took.push(began.elapsed());
            while let Some(answered) = requests.join_next().await {
                answered.expect("served");
            }
        }
        took
    });
    let bound = Duration::from_millis(20);
    vec![Line::at_most("load change to decision, p95", quantile(&mut took, 0.95), bound)]
}

/// How long a command takes while services have requests and others are deployed.
pub(super) fn control_calls(size: Size) -> Vec<Line> {
    runtime().block_on(async {
        let fleet = Fleet::new("control");
        let deploying = 10.min(size.busy);
        fleet.create(size.busy, || hello().between(1, 2)).await;
        // Ten at any time: one that listens at once would be deployed a dozen times a second.
        let slow = ["listen-after".to_owned(), STARTS_IN.as_millis().to_string()];
        let mut work = JoinSet::new();
        for service in 0..size.busy {
            let path = fleet.platform.service();
            work.spawn(async move {
                // Spread over the second.
                let phase = Duration::from_micros((service as u64 * 7_919) % 1_000_000);
                let mut turn = tokio::time::interval_at(
                    tokio::time::Instant::now() + phase,
                    Duration::from_secs(1),
                );
                loop {
                    turn.tick().await;
                    get(path.clone(), service, Duration::from_millis(5)).await;
                }
            });
        }
        for service in 0..deploying {
            let (platform, slow) = (fleet.platform.clone(), slow.clone());
            work.spawn(async move {
                for round in 0_u64.. {
                    let deploy = |spec: ServiceBuilder| {
                        let spec = spec.environment("A", round.to_string());
                        spec.with(|raw| raw.source.command = Some(slow.to_vec()))
                    };
                    let begun = platform.change(&name(service), deploy).await.expect("accepted");
                    begun.finished().await.expect("deployed");
                }
            });
        }
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        let calls = size.rounds * 5;
        for call in 0..calls {
            // None of those that deploy: they are busy, and say so.
            let service = name(deploying + call * 31 % (size.busy - deploying));
            let began = Instant::now();
            let spec = fleet.platform.describe(&service).await.expect("there").spec;
            reads.push(began.elapsed());
            let spec = ServiceBuilder::from(&spec).cap(50 + call as u32 % 7);
            let began = Instant::now();
            let begun = fleet.platform.update(&service, spec).await.expect("accepted");
            writes.push(began.elapsed());
            begun.finished().await.expect("done");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        work.shutdown().await;
        let of = |what| format!("{what} beside {} services at 1 rps, p99 of {calls}", size.busy);
        let bound = Duration::from_millis(20);
        vec![
            Line::at_most(of("settings changed and stored"), quantile(&mut writes, 0.99), bound),
            Line::at_most(of("a service described"), quantile(&mut reads, 0.99), bound),
        ]
    })
}

/// So many services are being created at any time.
const AT_ONCE: usize = 64;
/// How long an app that is deployed beside others takes until it listens.
const STARTS_IN: Duration = Duration::from_millis(100);

/// Idle services, each kind in a process of its own: memory that was used before counts for none.
pub(super) fn idle(size: Size) -> Vec<Line> {
    let own = std::env::current_exe().expect("a program on Linux knows its path");
    let mut lines = Vec::new();
    for kind in Idle::ALL {
        let (word, count) = (kind.word(), size.idle.to_string());
        let output = Command::new(&own).args([Idle::MARK, word, &count]).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
        let (Some(kib), Some(percent)) = (numbers.next(), numbers.next()) else {
            panic!("two numbers, not {text}")
        };
        let of = format!("{count} idle services {}", kind.told());
        lines.push(Line::number(format!("{of}: each"), (kib, 32.0), "KiB"));
        lines.push(Line::number(format!("{of}: all of them, of one core"), (percent, 1.0), "%"));
    }
    lines
}

/// In which way a service is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each is measured")]
pub enum Idle {
    /// It has no instance.
    AtZero,
    /// Its one instance is frozen.
    InStandby,
    /// Its one instance is awake and asked by probes every five seconds.
    Probed,
}

impl Idle {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AtZero, Self::InStandby, Self::Probed];
    /// The argument that makes this program one that has idle services.
    pub const MARK: &str = "idle-services";

    fn word(self) -> &'static str {
        match self {
            Self::AtZero => "at-zero",
            Self::InStandby => "in-standby",
            Self::Probed => "probed",
        }
    }

    /// By its word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    fn told(self) -> &'static str {
        match self {
            Self::AtZero => "at zero",
            Self::InStandby => "in standby",
            Self::Probed => "with an instance that is probed",
        }
    }

    fn spec(self) -> ServiceBuilder {
        match self {
            Self::AtZero => {
                hello().between(0, 1).with(|raw| raw.scaling.zero_after = Some("1s".into()))
            }
            Self::InStandby => hello().between(1, 2).with(|raw| {
                raw.scaling.minimum_active = Some(0);
                raw.scaling.standby_after = Some("1s".into());
            }),
            Self::Probed => hello().between(1, 2),
        }
    }
}

/// Makes so many services that have nothing to do, and says what they cost: KiB for each, and of
/// one core the percentage that all of them take.
pub fn idle_services(kind: Idle, count: usize) -> (f64, f64) {
    runtime().block_on(async {
        let fleet = Fleet::new("idle");
        // What the first one brings is the platform's.
        let first = fleet.platform.create("first", kind.spec()).await.expect("accepted");
        first.finished().await.expect("deployed");
        let before = resident();
        fleet.create(count, || kind.spec()).await;
        let settled = Duration::from_secs(if count > 1_000 { 20 } else { 3 });
        tokio::time::sleep(settled).await;
        let kib = resident().saturating_sub(before) as f64 / 1024.0 / count as f64;
        let (span, cpu) = (settled, cpu_time());
        tokio::time::sleep(span).await;
        let percent = (cpu_time() - cpu).as_secs_f64() / span.as_secs_f64() * 100.0;
        (kib, percent)
    })
}

fn name(service: usize) -> String {
    format!("service-{service}")
}
