//! The real side: a platform, its processes, and requests at the times that the trace says.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use runner_backends::process::Process;
use runner_core::{deployment::Phase, id::InstanceId, time::Timestamp};
use runner_examples::{server::Scratch, words::whole};
use runner_platform::{Aftermath, Platform, ServicePath};
use runner_proxy::exchange::QueueTime;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tower::ServiceExt;

use super::{Measures, WAITS_DIFFER, policy, service};

/// What came of a trace on real processes, and what was found out about the world there.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Real {
    /// What came of it.
    pub measures: Measures,
    /// Requests that came to nothing else than an answer or a refusal; there must be none.
    pub lost: u64,
    /// How long a lone request holds its slot: the median.
    pub service: Duration,
    /// How long starts took, on average.
    pub start: Duration,
    /// How late requests were sent at worst, which no simulation knows of.
    pub latest: Duration,
}

impl Real {
    /// Whether the machine had so much else to do that a request was sent later than waits may
    /// differ: then what is apart is not the simulator's doing.
    pub fn was_disturbed(&self) -> bool {
        self.latest > WAITS_DIFFER
    }
}

/// Runs the trace.
///
/// # Errors
///
/// When there is no platform to be had, or its service does not come to be.
pub async fn real(counts: &[u32]) -> Result<Real, String> {
    let scratch = Scratch::new("fidelity").map_err(|error| whole(&error))?;
    let backend = Process::builder(scratch.path().join("run")).ports(PORTS).build();
    let made = Platform::builder()
        .backend(backend.map_err(|error| whole(&error))?)
        .journal(scratch.path().join("journal.redb"))
        .policy(|_| policy())
        .build();
    let (platform, driver) = made.map_err(|error| whole(&error))?;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    let run = replay(&platform, counts).await;
    // Instances are ended also of a run that cannot go on.
    let ended = platform.shutdown(Duration::from_secs(5), Aftermath::Stop).await;
    ended.map_err(|error| whole(&error))?;
    run
}

async fn replay(platform: &Platform, counts: &[u32]) -> Result<Real, String> {
    let created = platform.create(NAME, service()).await.map_err(|error| whole(&error))?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut watching = JoinSet::new();
    watching.spawn(watch(platform.clone(), Arc::clone(&stop)));
    created.finished().await.map_err(|failed| failed.to_string())?;
    let path = platform.service_of(NAME).await.map_err(|error| whole(&error))?;
    let service = alone(&path).await?;
    let began = Instant::now();
    let seen = send(&path, counts).await;
    stop.store(true, Relaxed);
    let watched = watching.join_next().await.ok_or("nobody watched")?;
    let watched = watched.map_err(|error| whole(&error))?;
    Ok(measure(&seen, &watched, service, began))
}

/// What became of one request.
enum Seen {
    Served(Duration),
    Refused,
    Lost,
}

/// What became of all of them.
struct Sent {
    all: Vec<Seen>,
    latest: Duration,
    ended: Instant,
}

/// How long a request takes that nobody is in the way of: the median of twenty.
async fn alone(path: &ServicePath) -> Result<Duration, String> {
    let mut took = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let Seen::Served(_) = ask(path.clone()).await else {
            return Err("a lone request was not served".into());
        };
        took.push(began.elapsed());
    }
    took.sort();
    Ok(took[took.len() / 2])
}

/// Each at its time, whatever became of those before.
async fn send(path: &ServicePath, counts: &[u32]) -> Sent {
    let began = Instant::now();
    let mut asked = JoinSet::new();
    let mut latest = Duration::ZERO;
    for (second, count) in (0_u32..).zip(counts) {
        for number in 0..*count {
            let apart = Duration::from_secs(1) * number / *count;
            let at = began + Duration::from_secs(second.into()) + apart;
            sleep_until(at).await;
            latest = latest.max(at.elapsed());
            asked.spawn(ask(path.clone()));
        }
    }
    sleep_until(began + Duration::from_secs(counts.len() as u64)).await;
    let ended = Instant::now();
    Sent { all: asked.join_all().await, latest, ended }
}

async fn ask(path: ServicePath) -> Seen {
    let waited = QueueTime::default();
    let mut request = Request::new(Full::<Bytes>::default());
    request.extensions_mut().insert(waited.clone());
    let Ok(response) = path.oneshot(request).await;
    let status = response.status();
    let is_refusal = response.headers().contains_key("x-refusal-reason");
    let body = response.into_body().collect().await;
    match status {
        StatusCode::OK if body.is_ok() => Seen::Served(waited.get().unwrap_or_default()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE if is_refusal => {
            Seen::Refused
        }
        _ => Seen::Lost,
    }
}

/// One instance, as far as it was seen.
#[derive(Default)]
struct Life {
    asked: Option<Timestamp>,
    ready: Option<Timestamp>,
    /// When it was seen with a processor, and for how long that counts.
    active: Vec<(Instant, Duration)>,
}

/// Looks at the instances until it is told to stop.
async fn watch(platform: Platform, stop: Arc<AtomicBool>) -> BTreeMap<InstanceId, Life> {
    let mut lives: BTreeMap<InstanceId, Life> = BTreeMap::new();
    let mut beat = interval(LOOK);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Instant::now();
    while !stop.load(Relaxed) {
        beat.tick().await;
        let Ok(service) = platform.describe(NAME).await else { continue };
        let now = Instant::now();
        for one in service.instances {
            let life = lives.entry(one.id).or_default();
            match one.phase {
                Phase::Starting { .. } => life.asked = life.asked.or(Some(one.since)),
                Phase::Ready => life.ready = life.ready.or(Some(one.since)),
                _ => {}
            }
            if one.phase != Phase::Standby {
                life.active.push((now, now - before));
            }
        }
        before = now;
    }
    lives
}

fn measure(
    sent: &Sent,
    lives: &BTreeMap<InstanceId, Life>,
    service: Duration,
    began: Instant,
) -> Real {
    let mut waits: Vec<Duration> = Vec::new();
    let (mut refused, mut lost) = (0_u32, 0);
    for seen in &sent.all {
        match seen {
            Seen::Served(wait) => waits.push(*wait),
            Seen::Refused => refused += 1,
            Seen::Lost => lost += 1,
        }
    }
    waits.sort();
    let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or_default();
    let looks = lives.values().flat_map(|life| &life.active);
    let active = looks.filter(|(at, _)| *at >= began && *at <= sent.ended).map(|(_, span)| *span);
    let starts: Vec<Duration> =
        lives.values().filter_map(|life| Some(life.ready?.since(life.asked?))).collect();
    let measures = Measures {
        refused: refused.into(),
        wait_p99_ms: p99.as_secs_f64() * 1e3,
        cold_starts: lives.len().saturating_sub(1) as f64,
        instance_seconds: active.sum::<Duration>().as_secs_f64(),
    };
    let count = u32::try_from(starts.len()).unwrap_or(1).max(1);
    let start = starts.iter().sum::<Duration>() / count;
    Real { measures, lost, service, start, latest: sent.latest }
}

const NAME: &str = "app";
/// How often instances are looked at.
const LOOK: Duration = Duration::from_millis(25);
/// Apart from the ports of other programs here, which may run at the same time.
const PORTS: std::ops::RangeInclusive<u16> = 18_200..=18_299;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_requests_were_sent_late_is_held_against_nobody() {
        let of = |latest: Duration| {
            let none = Measures {
                refused: 0.0,
                wait_p99_ms: 0.0,
                cold_starts: 0.0,
                instance_seconds: 0.0,
            };
            let (service, start) = (Duration::ZERO, Duration::ZERO);
            Real { measures: none, lost: 0, service, start, latest }
        };
        assert!(!of(WAITS_DIFFER).was_disturbed());
        assert!(of(WAITS_DIFFER + Duration::from_millis(1)).was_disturbed());
    }
}
