//! Services on the process backend: the sample app, which this program becomes when started as it.

use std::{
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use runner_backends::process::Process;
use runner_core::{
    deployment::Phase,
    id::RevisionNumber,
    spec::{ServiceBuilder, ServiceSettings, ServiceSpec},
};
use runner_examples::sample_app::SampleApp;
use runner_platform::{Aftermath, Description, Platform, ServicePath};
use runner_proxy::exchange::ServedBy;
use runner_scaler::{Asked, Because, Look, Name, Policy, Signal, Wish};
use tower::ServiceExt as _;

use super::{Folder, Line, Size, quantile, runtime};

/// As many as there are requests for: what is measured is how soon it is done, not how soon it is
/// wished.
struct AsNeeded;

impl Policy for AsNeeded {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        let (present, each) = (look.seen.load.present() as f64, look.seen.slots_each());
        let because = Because::new(Signal::Concurrency, present, each);
        let count = (present / each).ceil() as u32;
        asked.wish(Wish::new(Name::fixed("as needed"), count, because));
    }
}

/// A platform with services `app-0` and so on, for one question.
struct Bed {
    platform: Platform,
    paths: Vec<ServicePath>,
}

impl Bed {
    async fn run<T>(
        services: usize,
        spec: impl Fn(ServiceBuilder) -> ServiceBuilder,
        question: impl AsyncFnOnce(&Self) -> T,
    ) -> T {
        let folder = Folder::new("processes");
        let backend = Process::builder(folder.0.join("run")).ports(21_000..=21_999);
        // Ports used faster than they rest would be what is measured.
        let backend = backend.port_rest(Duration::ZERO).build().expect("a backend");
        let builder = Platform::builder().backend(backend).journal(folder.0.join("state.redb"));
        let builder = builder.policy(|_: &ServiceSettings| AsNeeded);
        let (platform, driver) = builder.build().expect("built");
        let driver = tokio::spawn(driver.run());
        let mut paths = Vec::new();
        for number in 0..services {
            let name = name(number);
            let app = ServiceSpec::command(SampleApp::new("bench").command()).cap(10);
            let app = app.with(|raw| {
                raw.deployment.bake = Some("0s".into());
                raw.health.readiness.protocol = Some("tcp".into());
            });
            let created = platform.create(&name, spec(app)).await.expect("accepted");
            created.finished().await.expect("deployed");
            paths.push(platform.service_of(&name).await.expect("there"));
        }
        let bed = Self { platform, paths };
        let answer = question(&bed).await;
        bed.platform.shutdown(PATIENCE, Aftermath::Stop).await.expect("ended");
        driver.await.expect("no panic").expect("an orderly end");
        answer
    }

    /// Which revision answers a request.
    async fn asked(&self, service: usize) -> RevisionNumber {
        let request = Request::get("/").header("host", "bench");
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let Ok(response) = self.paths[service].clone().oneshot(request).await;
        let by = response.extensions().get::<ServedBy>().copied();
        let status = response.status();
        let _ = response.into_body().collect().await;
        match by {
            Some(by) if status.is_success() => by.revision,
            _ => panic!("a request was answered {status}"),
        }
    }

    async fn until(&self, service: usize, so: impl Fn(&Description) -> bool) {
        let began = Instant::now();
        loop {
            let seen = self.platform.describe(&name(service)).await.expect("there");
            if so(&seen) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "it never comes to rest: {seen:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// From the command to the first answer of the new revision.
pub(super) fn deployments(size: Size) -> Vec<Line> {
    let mut bare = bare_starts(size.rounds);
    let mut took = runtime().block_on(Bed::run(
        1,
        |app| app.between(1, 1),
        async |bed| {
            let mut took = Vec::new();
            for round in 0..size.rounds {
                let began = Instant::now();
                let deploy = |app: ServiceBuilder| app.environment("ROUND", round.to_string());
                let operation = bed.platform.change(&name(0), deploy).await.expect("accepted");
                let wanted = bed.platform.describe(&name(0)).await.expect("there").green;
                while Some(bed.asked(0).await) < wanted.or(Some(RevisionNumber::FIRST)) {}
                took.push(began.elapsed());
                operation.finished().await.expect("deployed");
            }
            took
        },
    ));
    let own = quantile(&mut bare, 0.5);
    over_start("deployment to serving", &mut took, own, Duration::from_millis(250))
}

/// From a request to its answer by the instance that was started for it.
pub(super) fn wakes(size: Size) -> Vec<Line> {
    let mut bare = bare_starts(size.rounds);
    let spec = |app: ServiceBuilder| {
        app.between(0, 1).with(|raw| raw.scaling.zero_after = Some("50ms".into()))
    };
    let mut took = runtime().block_on(Bed::run(ROTATION, spec, async |bed| {
        let mut took = Vec::new();
        for round in 0..size.rounds {
            let service = round % ROTATION;
            bed.until(service, |seen| seen.instances.is_empty()).await;
            let began = Instant::now();
            bed.asked(service).await;
            took.push(began.elapsed());
        }
        took
    }));
    over_start("wake from zero", &mut took, quantile(&mut bare, 0.5), Duration::from_millis(25))
}

fn over_start(what: &str, took: &mut [Duration], own: Duration, bound: Duration) -> Vec<Line> {
    let (p50, p95) = (quantile(took, 0.5), quantile(took, 0.95));
    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    vec![
        Line::at_most(format!("{what}, over the app's start, p95"), p95.saturating_sub(own), bound),
        Line::stated(
            format!("{what}: all of it, p50; the app's own start, p50"),
            format!("{:.1}; {:.1} ms", millis(p50), millis(own)),
        ),
    ]
}

/// From the command to the first answer of the revision that was kept warm.
pub(super) fn rollbacks(size: Size) -> Vec<Line> {
    let spec = |app: ServiceBuilder| {
        app.between(1, 1).with(|raw| raw.deployment.keep_warm = Some("1h".into()))
    };
    let mut took = runtime().block_on(Bed::run(1, spec, async |bed| {
        let deploy = |app: ServiceBuilder| app.environment("ROUND", "2");
        let operation = bed.platform.change(&name(0), deploy).await.expect("accepted");
        operation.finished().await.expect("deployed");
        let mut took = Vec::new();
        let mut serves = RevisionNumber::new(2);
        for _ in 0..size.rounds {
            bed.until(0, |seen| {
                let warm = |phase| seen.instances.iter().any(|one| one.phase == phase);
                seen.stage.is_none() && warm(Phase::Standby) && warm(Phase::Ready)
            })
            .await;
            let to = match serves == RevisionNumber::FIRST {
                true => RevisionNumber::new(2),
                false => RevisionNumber::FIRST,
            };
            let began = Instant::now();
            let operation = bed.platform.roll_back(&name(0), to).await.expect("accepted");
            while bed.asked(0).await != to {}
            took.push(began.elapsed());
            operation.finished().await.expect("returned");
            serves = to;
        }
        took
    }));
    let bound = Duration::from_millis(50);
    vec![Line::at_most("rollback to warm blue, p95", quantile(&mut took, 0.95), bound)]
}

/// From a request to its answer by an instance that was frozen.
pub(super) fn thaws(size: Size) -> Vec<Line> {
    let spec = |app: ServiceBuilder| {
        app.between(1, 1).with(|raw| {
            raw.scaling.minimum_active = Some(0);
            raw.scaling.standby_after = Some("50ms".into());
        })
    };
    let mut took = runtime().block_on(Bed::run(ROTATION, spec, async |bed| {
        let mut took = Vec::new();
        for round in 0..size.rounds {
            let service = round % ROTATION;
            let asleep =
                |seen: &Description| seen.instances.iter().all(|one| one.phase == Phase::Standby);
            bed.until(service, asleep).await;
            let began = Instant::now();
            bed.asked(service).await;
            took.push(began.elapsed());
        }
        took
    }));
    let bound = Duration::from_millis(5);
    vec![Line::at_most("standby to active, p95", quantile(&mut took, 0.95), bound)]
}

/// How long the app itself takes, from before its fork until its port takes a connection.
fn bare_starts(rounds: usize) -> Vec<Duration> {
    let words = SampleApp::new("bench").command();
    let start = |_| {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr());
        let address = free.expect("a free port");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("PORT", address.port().to_string());
        let began = Instant::now();
        let mut child = command.stdout(Stdio::null()).spawn().expect("it starts");
        while TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        let took = began.elapsed();
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        took
    };
    (0..rounds).map(start).collect()
}

fn name(service: usize) -> String {
    format!("app-{service}")
}

/// While one is asked the others come to rest.
const ROTATION: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);
