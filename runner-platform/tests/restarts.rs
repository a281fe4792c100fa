//! What a restart of the platform, and a boot of the host, cost the services that are there.

use std::{collections::BTreeSet, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use runner_core::{
    backend::ExitStatus,
    deployment::Phase,
    id::InstanceId,
    spec::{ServiceBuilder, ServiceSpec},
    testing::{
        backend::{Engine, Fault, Faults, Life, On, Operation as Call},
        journal::Crash,
    },
};
use runner_platform::{Description, Error, Platform, PlatformBuilder, testing::Memory};
use tokio::task::JoinHandle;

const SECOND: Duration = Duration::from_secs(1);

struct Running {
    platform: Platform,
    driver: JoinHandle<Result<(), Error>>,
}

impl Running {
    fn of(world: &Memory) -> Self {
        Self::by(world.builder())
    }

    fn by(builder: PlatformBuilder) -> Self {
        let (platform, driver) = builder.build().expect("the one before has ended");
        #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
        let driver = tokio::spawn(driver.run());
        Self { platform, driver }
    }

    async fn crash(self, world: &Memory) {
        self.driver.abort();
        let _ = self.driver.await;
        world.crash(Crash::LosesUnsynced);
    }
}

impl std::ops::Deref for Running {
    type Target = Platform;

    fn deref(&self) -> &Platform {
        &self.platform
    }
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

async fn see(platform: &Platform) -> Description {
    platform.describe("hello").await.expect("it is there")
}

async fn until(platform: &Platform, what: &str, so: impl Fn(&Description) -> bool) -> Description {
    for _ in 0..36_000 {
        let seen = see(platform).await;
        if so(&seen) {
            return seen;
        }
        pass(SECOND / 10).await;
    }
    panic!("after an hour still not {what}: {:#?}", see(platform).await);
}

fn hello() -> ServiceBuilder {
    ServiceSpec::command(["./hello"]).cap(1).between(1, 4)
}

/// Asks for so long with so many at once; answers when all were served.
async fn load(platform: &Platform, at_once: usize, takes: Duration) {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let mut service = platform.service_of("hello").await.expect("it is there");
        clients.spawn(async move {
            let request = Request::get("http://hello.localhost/")
                .header("host", "hello.localhost")
                .header(runner_platform::testing::TAKES, takes.as_millis().to_string())
                .body(Empty::<bytes::Bytes>::new())
                .expect("a request");
            let answer: Response<_> =
                tower_service::Service::call(&mut service, request).await.expect("an answer");
            let status = answer.status();
            let _ = answer.into_body().collect().await;
            assert_eq!(status, 200);
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("it was served");
    }
}

fn living(world: &Memory) -> BTreeSet<InstanceId> {
    world.engine().living().iter().map(|one| one.instance).collect()
}

async fn grown(world: &Memory, spec: ServiceBuilder) -> Running {
    let platform = Running::of(world);
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");
    load(&platform, 4, 5 * SECOND).await;
    until(&platform, "four", |seen| seen.instances.len() == 4).await;
    platform
}

#[tokio::test(start_paused = true)]
async fn what_served_before_a_restart_is_kept_for_the_whole_delay() {
    let world = Memory::new(1);
    let platform = grown(&world, hello()).await;
    let before = living(&world);
    assert_eq!(before.len(), 4);
    platform.crash(&world).await;
    let platform = Running::of(&world);
    until(&platform, "found", |seen| seen.instances.len() == 4 && seen.ready() > 0).await;
    // Two minutes by default, and the policy's own memory of the load is gone.
    for _ in 0..115 {
        assert_eq!(living(&world), before, "{:?}", see(&platform).await.decision);
        pass(SECOND).await;
    }
    until(&platform, "in the end one", |seen| seen.instances.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_none_is_given_up_before_it_was_proven_again() {
    let late = Faults::none().call(On::every(Call::List), Fault::Late(5 * SECOND));
    let world = Memory::with_engine(2, Engine::new().with_faults(late));
    let at_once = hello().with(|raw| raw.scaling.scale_in_delay = Some("0s".into()));
    let platform = grown(&world, at_once).await;
    let before = living(&world);
    platform.crash(&world).await;
    let platform = Running::of(&world);
    for _ in 0..40 {
        assert_eq!(living(&world), before, "{:?}", see(&platform).await.decision);
        pass(SECOND / 10).await;
    }
    until(&platform, "found and one", |seen| (seen.ready(), seen.instances.len()) == (1, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_was_starting_is_not_given_up() {
    let slow = || Life::serving().listens_after(20 * SECOND);
    let lives =
        (2..=4).fold(Faults::none(), |all, nth| all.life(On::nth(Call::Start, nth), slow()));
    let world = Memory::with_engine(3, Engine::new().with_faults(lives));
    let platform = Running::of(&world);
    platform.create("hello", hello()).await.expect("accepted").finished().await.expect("deployed");
    tokio::select! {
        () = load(&platform, 4, 30 * SECOND) => panic!("others start too slowly for that"),
        () = pass(5 * SECOND) => {}
    }
    let before = living(&world);
    assert_eq!((before.len(), see(&platform).await.ready()), (4, 1));
    platform.crash(&world).await;
    let platform = Running::of(&world);
    for _ in 0..60 {
        assert_eq!(living(&world), before, "{:?}", see(&platform).await.decision);
        pass(SECOND).await;
    }
    let seen = see(&platform).await;
    let passed = |phase| matches!(phase, Phase::Ready | Phase::Standby);
    assert!(seen.instances.iter().all(|one| passed(one.phase)), "{seen:#?}");
}

/// Twelve services whose instances take a minute to start, on a host that goes down.
async fn rebooted() -> Memory {
    let slow =
        Faults::none().life(On::every(Call::Start), Life::serving().listens_after(60 * SECOND));
    let world = Memory::with_engine(4, Engine::new().with_faults(slow));
    let platform = Running::of(&world);
    for number in 0..SERVICES {
        let spec = hello().with(|raw| raw.health.start_allowance = Some("90s".into()));
        let _ = platform.create(format!("hello-{number}"), spec).await.expect("accepted");
    }
    pass(120 * SECOND).await;
    assert_eq!(ready(&platform).await, SERVICES);
    let id = platform.id();
    platform.crash(&world).await;
    for instance in living(&world) {
        world.engine().with(|engine, now| engine.kill(id, instance, ExitStatus::Signal(9), now));
    }
    world
}

fn after_boot(world: &Memory) -> Running {
    Running::by(world.builder().boot("the next").starts_after_boot(2))
}

async fn ready(platform: &Platform) -> usize {
    let mut ready = 0;
    for name in platform.list().await.expect("it runs") {
        ready += platform.describe(name.as_str()).await.expect("there").ready();
    }
    ready
}

const SERVICES: usize = 12;

#[tokio::test(start_paused = true)]
async fn after_a_boot_what_waits_for_its_turn_is_not_too_slow() {
    let world = rebooted().await;
    let platform = after_boot(&world);
    let mut seconds = 0;
    while ready(&platform).await < SERVICES {
        let starting = living(&world).len() - ready(&platform).await;
        assert!(starting <= 2, "{starting} start at once");
        assert!(seconds < 400, "two at a time, a minute each: all within six");
        pass(SECOND).await;
        seconds += 1;
    }
    assert!(seconds > 300, "the last waited longer than it may take: {seconds} s");
    for name in platform.list().await.expect("it runs") {
        let history = platform.history(name.as_str(), 100).await.expect("read");
        let slow = history.iter().find(|entry| entry.message.contains("too slow"));
        assert!(slow.is_none(), "{history:#?}");
        // The one before the boot, and the one after it.
        let seen = platform.describe(name.as_str()).await.expect("there");
        assert_eq!(seen.instances[0].id.number, 2, "{seen:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_any_more_when_its_turn_comes_is_never_started() {
    let world = rebooted().await;
    let platform = after_boot(&world);
    pass(5 * SECOND).await;
    let started: BTreeSet<_> = living(&world).iter().map(|one| one.service).collect();
    assert_eq!(started.len(), 2);
    let mut paused = Vec::new();
    for name in platform.list().await.expect("it runs") {
        let seen = platform.describe(name.as_str()).await.expect("there");
        if !started.contains(&seen.id) {
            platform
                .pause(name.as_str())
                .await
                .expect("accepted")
                .finished()
                .await
                .expect("paused");
            paused.push(seen.id);
        }
    }
    for _ in 0..200 {
        pass(SECOND).await;
        assert!(living(&world).iter().all(|one| !paused.contains(&one.service)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_while_all_start_after_a_boot_rations_on() {
    let world = rebooted().await;
    let platform = after_boot(&world);
    pass(90 * SECOND).await;
    platform.crash(&world).await;
    let platform = after_boot(&world);
    for _ in 0..120 {
        pass(SECOND).await;
        let starting = living(&world).len() - ready(&platform).await;
        // Those that were starting when it was killed go on beside the two that may.
        assert!(starting <= 4, "{starting} start at once");
    }
}
