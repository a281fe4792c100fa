//! Requests that come before there is anything to answer them: while a first revision is looked up,
//! and after the host has booted. On the in-memory backend in paused time.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use runner_core::{
    BoxFuture, Error as CoreError,
    backend::ExitStatus,
    deployment::Phase,
    source::{ResolvedSource, SourceResolver},
    spec::{ServiceBuilder, ServiceSpec, Source},
    testing::backend::{Engine, Faults, Life, On, Operation as Call},
    time::Timestamp,
};
use runner_platform::{Driver, Error, Platform, testing::Memory};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;

const SECOND: Duration = Duration::from_secs(1);

fn run((platform, driver): (Platform, Driver)) -> (Platform, JoinHandle<Result<(), Error>>) {
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    (platform, tokio::spawn(driver.run()))
}

fn hello() -> ServiceBuilder {
    ServiceSpec::command(["./hello"]).cap(2).between(1, 4)
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

/// The status of a request, and the words of the answer.
async fn get(platform: &Platform, host: &str) -> (StatusCode, String) {
    let request = Request::get("/").header("host", host).body(Empty::<Bytes>::new());
    let Ok(response) = platform.service().oneshot(request.expect("a request")).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// A registry that takes its time.
struct Slow(Result<(), CoreError>);

impl SourceResolver for Slow {
    fn resolve<'a>(&'a self, _: &'a Source) -> BoxFuture<'a, Result<ResolvedSource, CoreError>> {
        Box::pin(async {
            pass(10 * SECOND).await;
            self.0.clone().map(|()| ResolvedSource::Command)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_first_revision_is_looked_up_waits_for_it() {
    let world = Memory::new(1);
    let builder = world.builder().sources(Slow(Ok(())));
    let (platform, _driver) = run(builder.build().expect("built"));
    let created = platform.create("hello", hello()).await.expect("accepted");
    // The policy has had its first look by now, and the source is not there yet.
    pass(2 * SECOND).await;
    let began = world.now();
    assert_eq!(get(&platform, "hello.localhost").await.0, StatusCode::OK);
    assert!(world.now().since(began) >= 7 * SECOND, "it was looked up for ten");
    created.finished().await.expect("deployed");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_first_revision_that_is_not_to_be_had_is_told_with_its_failure() {
    let world = Memory::new(2);
    let gone = CoreError::not_found("there is no such image");
    let builder = world.builder().sources(Slow(Err(gone)));
    let (platform, _driver) = run(builder.build().expect("built"));
    let created = platform.create("hello", hello()).await.expect("accepted");
    pass(2 * SECOND).await;
    let began = world.now();
    let (status, words) = get(&platform, "hello.localhost").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{words}");
    assert!(world.now().since(began) < 10 * SECOND, "{words}");
    created.finished().await.expect_err("there is no such image");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_the_full_size_is_held_though_there_is_no_instance_at_all() {
    let world = Memory::new(5);
    let (platform, _driver) = run(world.platform());
    let spec = hello().between(0, 4).with(|raw| raw.scaling.zero_after = Some("5s".into()));
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");
    pass(600 * SECOND).await;
    assert!(world.engine().living().is_empty(), "it sleeps");
    let mut requests = JoinSet::new();
    for _ in 0..8 {
        let platform = platform.clone();
        requests.spawn(async move { get(&platform, "hello.localhost").await });
    }
    while let Some(answered) = requests.join_next().await {
        let (status, words) = answered.expect("no panic");
        assert_eq!(status, StatusCode::OK, "{words}");
    }
}

const SERVICES: usize = 6;

/// A platform with some services, killed; what lived on its host is as `boots` says.
async fn restarted(seed: u64, boots: bool) -> (Memory, Platform, Timestamp) {
    // A start takes three seconds.
    let slow = Life::serving().listens_after(3 * SECOND);
    let faults = Faults::none().life(On::every(Call::Start), slow);
    let world = Memory::with_engine(seed, Engine::new().with_faults(faults));
    let (platform, driver) = run(world.platform());
    for number in 0..SERVICES {
        let created = platform.create(format!("hello-{number}"), hello()).await;
        created.expect("accepted").finished().await.expect("deployed");
    }
    driver.abort();
    let _ = driver.await;
    drop(platform);
    let living = world.engine().living();
    assert_eq!(living.len(), SERVICES);
    for one in living {
        world.engine().with(|engine, now| {
            engine.kill(one.platform, one.instance, ExitStatus::Signal(9), now);
        });
    }
    let boot = if boots { "another one" } else { "the only one" };
    let began = world.now();
    let builder = world.builder().boot(boot).starts_after_boot(2);
    let (platform, _driver) = run(builder.build().expect("built"));
    // Until then no route is known.
    assert_eq!(platform.list().await.expect("it runs").len(), SERVICES);
    (world, platform, began)
}

/// All services are asked at once; how many instances were starting at the same time, at most.
async fn starting_at_once(platform: &Platform) -> usize {
    let mut requests = JoinSet::new();
    for number in 0..SERVICES {
        let platform = platform.clone();
        requests.spawn(async move { get(&platform, &format!("hello-{number}.localhost")).await });
    }
    let mut most = 0;
    while !requests.is_empty() {
        let mut starting = 0;
        for name in platform.list().await.expect("it runs") {
            let seen = platform.describe(name.as_str()).await.expect("it is there");
            // With an address it was started, and before it has passed it is not ready.
            let starts = |phase| matches!(phase, Phase::Starting { .. } | Phase::Proving);
            let begun = seen.instances.iter().filter(|one| one.address.is_some());
            starting += begun.filter(|one| starts(one.phase)).count();
        }
        most = most.max(starting);
        pass(Duration::from_millis(100)).await;
        while let Some(answered) = requests.try_join_next() {
            let (status, words) = answered.expect("no panic");
            assert_eq!(status, StatusCode::OK, "{words}");
        }
    }
    most
}

#[tokio::test(start_paused = true)]
async fn after_a_boot_so_many_start_at_once_as_are_allowed_and_requests_wait() {
    let (world, platform, began) = restarted(3, true).await;
    assert_eq!(starting_at_once(&platform).await, 2);
    // Three turns of three seconds, and nobody waits for longer than they take.
    let took = world.now().since(began);
    assert!((9 * SECOND..12 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn where_the_host_has_not_booted_all_start_at_once() {
    let (world, platform, began) = restarted(4, false).await;
    assert_eq!(starting_at_once(&platform).await, SERVICES);
    let took = world.now().since(began);
    assert!(took < 6 * SECOND, "{took:?}");
}
