//! Whether the simulator tells the truth about the platform: one trace through both, under one
//! policy with one set of limits.
//!
//! Both run in time that only they move, so that what is compared is the rules by which instances
//! are started, woken, frozen and stopped, and not the host. On real processes the program
//! `fidelity` of `runner-benches` does the same.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use runner_core::{
    deployment::Phase,
    id::InstanceId,
    spec::{ServiceBuilder, ServiceSpec},
    testing::backend::{Engine, Faults, Life, On, Operation},
};
use runner_platform::{
    Platform, ServicePath,
    testing::{Memory, TAKES},
};
use runner_proxy::exchange::QueueTime;
use runner_scaler::{
    DefaultPolicy, Largest, Limits, Policy, PolicyExt as _, Signal, TargetTracking,
    simulator::{Scenario, Simulation, Spread, Trace},
};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep_until},
};
use tower::ServiceExt as _;

const START: Duration = Duration::from_secs(1);
const WORK: Duration = Duration::from_millis(50);
const CAP: u32 = 2;
const MOST: u32 = 6;
const MAX_WAIT: Duration = Duration::from_secs(2);
const MAX_WAITING: u32 = 200;
const SCALE_IN_DELAY: Duration = Duration::from_secs(10);
const STANDBY_AFTER: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// Little load, some, a crowd beyond all that there can be, some again, and quiet.
fn counts() -> Vec<u32> {
    let steps = [(40, 20), (60, 90), (8, 300), (60, 60), (60, 10), (20, 200), (40, 10)];
    steps.iter().flat_map(|(seconds, rate)| std::iter::repeat_n(*rate, *seconds)).collect()
}

fn policy() -> impl Policy + Send {
    let target = TargetTracking::new(Signal::Concurrency, f64::from(CAP) * 0.7);
    let target = target.expect("a part of a cap is above zero").over(Duration::from_secs(10));
    Largest::of(DefaultPolicy::default()).and(target)
}

fn service() -> ServiceBuilder {
    let service = ServiceSpec::command(["./hello"]).cap(CAP).between(1, MOST);
    service.max_wait(MAX_WAIT).max_waiting(MAX_WAITING).with(|raw| {
        let seconds = |span: Duration| Some(format!("{}s", span.as_secs()).into());
        raw.scaling.minimum_active = Some(1);
        raw.scaling.scale_in_delay = seconds(SCALE_IN_DELAY);
        raw.scaling.standby_after = seconds(STANDBY_AFTER);
        raw.overflow.hold_while_starting = seconds(MAX_WAIT);
        raw.deployment.bake = Some("100ms".into());
    })
}

/// What came of the trace, on either side.
#[derive(Debug)]
struct Measures {
    refused: f64,
    wait_p99_ms: f64,
    cold_starts: f64,
    active_seconds: f64,
    standby_seconds: f64,
}

fn simulated(counts: &[u32]) -> Measures {
    let trace = Trace::of_counts(counts.iter().copied()).expect("requests");
    let mut scenario = Scenario::default();
    (scenario.service, scenario.service_cv) = (WORK, 0.0);
    (scenario.start, scenario.start_cv) = (START, 0.0);
    (scenario.cap, scenario.minimum, scenario.maximum) = (CAP, 1, MOST);
    scenario.minimum_active = 1;
    (scenario.max_wait, scenario.max_waiting) = (MAX_WAIT, MAX_WAITING);
    scenario.spread = Spread::Even;
    let mut limits: Limits = scenario.limits();
    (limits.scale_in_delay, limits.standby_after) = (SCALE_IN_DELAY, STANDBY_AFTER);
    let simulation = Simulation::new(&trace, &scenario).expect("sound");
    let report = simulation.run("ours", policy().within(limits)).expect("sound");
    Measures {
        refused: report.refused as f64,
        wait_p99_ms: report.wait_p99_ms,
        cold_starts: report.cold_starts as f64,
        active_seconds: report.active_seconds,
        standby_seconds: report.standby_seconds,
    }
}

async fn real(counts: &[u32]) -> Measures {
    let lives = (1..1_000).fold(Faults::none(), |faults, nth| {
        faults.life(On::nth(Operation::Start, nth), Life::serving().listens_after(START))
    });
    let world = Memory::with_engine(1, Engine::new().with_faults(lives));
    let (platform, driver) = world.builder().policy(|_| policy()).build().expect("built");
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    tokio::spawn(driver.run());
    let created = platform.create("app", service()).await.expect("accepted");
    created.finished().await.expect("deployed");
    let path = platform.service_of("app").await.expect("there");
    let stop = Arc::new(AtomicBool::new(false));
    let mut watching = JoinSet::new();
    watching.spawn(watch(platform.clone(), Arc::clone(&stop)));
    let waits = send(&path, counts).await;
    stop.store(true, Relaxed);
    let (instances, active, standby) =
        watching.join_next().await.expect("somebody watched").expect("and did not panic");
    let mut served: Vec<Duration> = waits.iter().copied().flatten().collect();
    served.sort();
    Measures {
        refused: (waits.len() - served.len()) as f64,
        wait_p99_ms: served[served.len() * 99 / 100].as_secs_f64() * 1e3,
        cold_starts: (instances - 1) as f64,
        active_seconds: active.as_secs_f64(),
        standby_seconds: standby.as_secs_f64(),
    }
}

/// How long each waited that was served.
async fn send(path: &ServicePath, counts: &[u32]) -> Vec<Option<Duration>> {
    let began = Instant::now();
    let mut asked = JoinSet::new();
    for (second, count) in (0_u32..).zip(counts) {
        for number in 0..*count {
            let apart = Duration::from_secs(1) * number / *count;
            sleep_until(began + Duration::from_secs(second.into()) + apart).await;
            asked.spawn(ask(path.clone()));
        }
    }
    sleep_until(began + Duration::from_secs(counts.len() as u64)).await;
    asked.join_all().await
}

async fn ask(path: ServicePath) -> Option<Duration> {
    let waited = QueueTime::default();
    let request = Request::builder().header(TAKES, WORK.as_millis().to_string());
    let mut request = request.body(Full::<Bytes>::default()).expect("a request");
    request.extensions_mut().insert(waited.clone());
    let Ok(response) = path.oneshot(request).await;
    let status = response.status();
    let read = response.into_body().collect().await;
    (status == StatusCode::OK && read.is_ok()).then(|| waited.get().unwrap_or_default())
}

/// How many instances there were, and for how long they had processors, and had none.
async fn watch(platform: Platform, stop: Arc<AtomicBool>) -> (usize, Duration, Duration) {
    let mut seen: BTreeSet<InstanceId> = BTreeSet::new();
    let (mut active, mut standby) = (Duration::ZERO, Duration::ZERO);
    let mut beat = interval(LOOK);
    while !stop.load(Relaxed) {
        beat.tick().await;
        let service = platform.describe("app").await.expect("there");
        for one in &service.instances {
            *(if one.phase == Phase::Standby { &mut standby } else { &mut active }) += LOOK;
            seen.insert(one.id);
        }
    }
    (seen.len(), active, standby)
}

/// Within half of what real processes are allowed: no host is in the way here.
#[tokio::test(start_paused = true)]
async fn the_simulator_and_the_platform_agree_on_a_trace() {
    let counts = counts();
    let requests: u32 = counts.iter().sum();
    let (real, simulated) = (real(&counts).await, simulated(&counts));
    let told = format!("{requests} requests\nreal {real:?}\nsimulated {simulated:?}");
    for (real, simulated, least) in [
        (real.refused, simulated.refused, f64::from(requests) / 1_000.0),
        (real.wait_p99_ms, simulated.wait_p99_ms, 20.0),
        (real.cold_starts, simulated.cold_starts, 1.0),
        (real.active_seconds, simulated.active_seconds, 5.0),
        (real.standby_seconds, simulated.standby_seconds, 5.0),
    ] {
        assert!((real - simulated).abs() <= (real / 20.0).max(least), "{told}");
    }
}
