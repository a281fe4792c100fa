//! What a restart of the platform, and a boot of the host, cost the services that are there.

use std::{collections::BTreeSet, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use runner_core::{
    backend::ExitStatus,
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
        #[expect(clippy::disallowed_methods, reason = "clients are tasks of their own")]
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
    assert_eq!(see(&platform).await.ready(), 4);
}
