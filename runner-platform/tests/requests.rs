//! Requests through the whole data path, on the in-memory backend in paused time.

use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use runner_core::{
    deployment::Phase,
    id::RevisionNumber,
    service::Status,
    spec::{ServiceBuilder, ServiceSpec},
    testing::backend::{Engine, Fault, Faults, On, Operation},
};
use runner_platform::{
    Platform,
    testing::{Memory, TAKES},
};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

fn run(world: &Memory) -> Platform {
    let (platform, driver) = world.platform();
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    tokio::spawn(driver.run());
    platform
}

fn hello() -> ServiceBuilder {
    ServiceSpec::command(["./hello"]).cap(2).between(1, 4)
}

/// The status of a request that takes a while, and who answered.
async fn get(platform: &Platform, host: &str, takes: u64) -> (StatusCode, String) {
    let request = Request::get("/").header("host", host).header(TAKES, takes.to_string());
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = platform.service().oneshot(request).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

async fn created(world: &Memory, spec: ServiceBuilder) -> Platform {
    let platform = run(world);
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");
    platform
}

#[tokio::test(start_paused = true)]
async fn a_request_finds_its_service_by_host_and_others_are_told() {
    let world = Memory::new(1);
    let platform = created(&world, hello()).await;
    let instance = platform.describe("hello").await.expect("there").instances[0].id;
    let answer = get(&platform, "hello.localhost", 0).await;
    assert_eq!(answer, (StatusCode::OK, instance.to_string()));
    assert_eq!(get(&platform, "nobody.localhost", 0).await.0, StatusCode::NOT_FOUND);

    let taken = hello().with(|raw| {
        let mut route = runner_core::spec::raw::Route::default();
        route.host = Some("hello.localhost".into());
        raw.routing.routes.push(route);
    });
    let refusal = platform.create("other", taken).await.expect_err("it is taken");
    assert!(refusal.to_string().contains("hello.localhost"), "{refusal}");
    platform.delete("hello").await.expect("accepted").finished().await.expect("deleted");
    pass(Duration::from_millis(10)).await;
    assert_eq!(get(&platform, "hello.localhost", 0).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_burst_waits_and_scales_out_and_nobody_is_refused() {
    let world = Memory::new(2);
    let platform = created(&world, hello()).await;
    let mut requests = JoinSet::new();
    for _ in 0..8 {
        let platform = platform.clone();
        requests.spawn(async move { get(&platform, "hello.localhost", 2_000).await.0 });
    }
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.expect("no panic"), StatusCode::OK);
    }
    let seen = platform.describe("hello").await.expect("there");
    assert_eq!(seen.instances.len(), 4, "{:?}", seen.decision);
}

#[tokio::test(start_paused = true)]
async fn it_goes_to_zero_and_the_first_request_wakes_it() {
    let world = Memory::new(3);
    let spec = hello().between(0, 4).with(|raw| {
        raw.scaling.zero_after = Some("60s".into());
    });
    let platform = created(&world, spec).await;
    assert_eq!(get(&platform, "hello.localhost", 0).await.0, StatusCode::OK);
    pass(Duration::from_secs(1_800)).await;
    let seen = platform.describe("hello").await.expect("there");
    assert_eq!((seen.instances.len(), seen.status), (0, Status::Running), "{:?}", seen.decision);
    let began = world.now();
    assert_eq!(get(&platform, "hello.localhost", 0).await.0, StatusCode::OK);
    let woken = world.now().since(began);
    assert!(woken < Duration::from_millis(100), "{woken:?}");
}

#[tokio::test(start_paused = true)]
async fn standby_keeps_memory_and_wakes_at_once() {
    let world = Memory::new(4);
    let spec = hello().between(2, 4).with(|raw| {
        raw.scaling.minimum_active = Some(0_u32.into());
    });
    let platform = created(&world, spec).await;
    pass(Duration::from_secs(600)).await;
    let asleep = platform.describe("hello").await.expect("there");
    let phases: Vec<_> = asleep.instances.iter().map(|one| one.phase).collect();
    assert_eq!(phases, [Phase::Standby; 2], "{:?}", asleep.decision);
    let began = world.now();
    assert_eq!(get(&platform, "hello.localhost", 0).await.0, StatusCode::OK);
    let woken = world.now().since(began);
    assert!(woken < Duration::from_millis(20), "{woken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_while_its_instance_is_being_frozen_wakes_it() {
    let late = Fault::AnswerLate(Duration::from_secs(5));
    let faults = Faults::none().call(On::nth(Operation::Freeze, 1), late);
    let world = Memory::with_engine(6, Engine::new().with_faults(faults));
    let spec = hello().between(1, 4).with(|raw| {
        raw.scaling.minimum_active = Some(0_u32.into());
    });
    let platform = created(&world, spec).await;
    let freezing = Phase::Freezing { asked: true };
    while platform.describe("hello").await.expect("there").instances[0].phase != freezing {
        pass(Duration::from_secs(1)).await;
    }
    let began = world.now();
    assert_eq!(get(&platform, "hello.localhost", 0).await.0, StatusCode::OK);
    let woken = world.now().since(began);
    assert!(woken < Duration::from_secs(6), "{woken:?}");
}

#[tokio::test(start_paused = true)]
async fn planned_changes_lose_no_request() {
    let world = Memory::new(5);
    let platform = created(&world, hello().between(2, 6)).await;
    let (sent, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for client in 0..4_u64 {
        let (platform, sent, lost) = (platform.clone(), Arc::clone(&sent), Arc::clone(&lost));
        let stopped = stopped.clone();
        clients.spawn(async move {
            let mut turn = 0;
            while !*stopped.borrow() {
                turn += 1;
                let (status, _) =
                    get(&platform, "hello.localhost", 20 + (client * 7 + turn) % 60).await;
                sent.fetch_add(1, Ordering::Relaxed);
                if status != StatusCode::OK {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    for change in 0..3 {
        let update = platform.change("hello", |spec| spec.environment("A", change.to_string()));
        update.await.expect("accepted").finished().await.expect("deployed");
        pass(Duration::from_secs(2)).await;
    }
    let back = platform.roll_back("hello", RevisionNumber::FIRST).await.expect("accepted");
    back.finished().await.expect("returned");
    for (minimum, maximum) in [(4, 6), (1, 6)] {
        let scaled = platform.change("hello", |spec| spec.between(minimum, maximum)).await;
        scaled.expect("accepted").finished().await.expect("done");
        pass(Duration::from_secs(200)).await;
    }
    stop.send_replace(true);
    while let Some(ended) = clients.join_next().await {
        ended.expect("no panic");
    }
    assert_eq!(lost.load(Ordering::Relaxed), 0, "of {sent:?}");
    assert!(sent.load(Ordering::Relaxed) > 5_000, "{sent:?}");
}
