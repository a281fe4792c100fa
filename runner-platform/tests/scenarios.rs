//! What a platform does, on the in-memory backend in paused time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use runner_core::{
    Error as CoreError,
    backend::ExitStatus,
    deployment::{CauseCode, Phase},
    error::ErrorKind,
    id::{RevisionNumber, ServiceName},
    secret::{ResolvedSecret, Secret, SecretProvider},
    service::Status,
    spec::{Attempts, SecretReference, ServiceBuilder, ServiceSpec},
    testing::{
        backend::{Engine, Faults, HintFault, Life, On, Operation as Call},
        journal::Crash,
    },
};
use runner_health::{
    Cadence, Plan,
    probe::{Seen, from_fn},
};
use runner_platform::{Aftermath, Description, Error, OperationFailed, Platform, testing::Memory};
use runner_scaler::{Reading, Signal, Stale, TargetTracking};
use tokio::task::JoinHandle;

const SECOND: Duration = Duration::from_secs(1);

/// A platform that runs, and what ends it.
struct Running {
    platform: Platform,
    driver: JoinHandle<Result<(), Error>>,
}

fn run(world: &Memory) -> Running {
    let (platform, driver) = world.platform();
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    let driver = tokio::spawn(driver.run());
    Running { platform, driver }
}

impl Running {
    /// As a kill: nothing is said to anybody.
    async fn kill(self) {
        self.driver.abort();
        let _ = self.driver.await;
    }
}

impl std::ops::Deref for Running {
    type Target = Platform;

    fn deref(&self) -> &Platform {
        &self.platform
    }
}

fn hello() -> ServiceBuilder {
    ServiceSpec::command(["./hello"]).cap(10).between(1, 4)
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Looks until it is so, for at most an hour.
async fn until(platform: &Platform, what: &str, so: impl Fn(&Description) -> bool) -> Description {
    for _ in 0..3_600 {
        let seen = platform.describe("hello").await.expect("it is there");
        if so(&seen) {
            return seen;
        }
        pass(SECOND).await;
    }
    let seen = platform.describe("hello").await.expect("it is there");
    panic!("after an hour still not {what}: {seen:#?}");
}

async fn created(world: &Memory, spec: ServiceBuilder) -> Running {
    let platform = run(world);
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");
    platform
}

/// That something changed says not for whom: a list does, and finds who has lost an instance.
#[tokio::test(start_paused = true)]
async fn a_death_of_which_the_hint_was_lost_is_found_with_the_next_change_of_any_service() {
    let engine = Engine::new().with_faults(Faults::none().hint(2, HintFault::Lose));
    let world = Memory::with_engine(1, engine);
    // The first hint is of its start, the second of its end.
    let platform = created(&world, hello()).await;
    let dead = world.engine().living().remove(0);
    world.engine().with(|engine, now| {
        engine.kill(dead.platform, dead.instance, ExitStatus::Signal(9), now);
    });
    pass(SECOND).await;
    let there = async || {
        let seen = platform.describe("hello").await.expect("it is there");
        seen.instances.iter().any(|one| one.id == dead.instance)
    };
    assert!(there().await, "nobody has said anything yet");
    let other = platform.create("other", hello()).await.expect("accepted");
    pass(SECOND).await;
    assert!(!there().await, "it was looked at with what changed");
    other.finished().await.expect("deployed");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_created_and_serves() {
    let world = Memory::new(1);
    let platform = created(&world, hello()).await;
    let seen = platform.describe("hello").await.expect("it is there");
    assert_eq!(seen.status, Status::Running);
    assert_eq!((seen.ready(), seen.desired), (1, 1));
    assert_eq!(seen.live, Some(RevisionNumber::FIRST));
    assert_eq!(world.engine().living().len(), 1);
    assert!(seen.operations[0].ended.is_some());
    let history = platform.history("hello", 100).await.expect("read");
    assert!(history.iter().any(|entry| entry.code == "DeploymentStarted"), "{history:?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_once_however_it_is_written() {
    let world = Memory::new(2);
    let platform = created(&world, hello()).await;
    let refusal = platform.create("Hello", hello()).await.expect_err("taken");
    assert!(matches!(refusal, Error::NameTaken { .. }), "{refusal}");
    let refusal = platform.create("other", hello().cap(0)).await.expect_err("not sound");
    assert_eq!(refusal.kind(), ErrorKind::Invalid);
    let refusal = platform.describe("nobody").await.expect_err("not there");
    assert!(refusal.to_string().contains("`nobody`"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_new_revision_takes_the_place_of_the_old_and_a_roll_back_returns() {
    let world = Memory::new(3);
    let platform = created(&world, hello()).await;
    let update = platform.change("hello", |spec| spec.environment("A", "b")).await;
    update.expect("accepted").finished().await.expect("deployed");
    let seen = until(&platform, "alone", |seen| seen.ready() >= 1 && seen.stage.is_none()).await;
    assert_eq!(seen.live, Some(RevisionNumber::new(2)));

    let back = platform.roll_back("hello", RevisionNumber::FIRST).await.expect("accepted");
    back.finished().await.expect("returned");
    let seen = platform.describe("hello").await.expect("it is there");
    assert_eq!(seen.live, Some(RevisionNumber::FIRST));
    assert_eq!(seen.status, Status::Running);
}

#[tokio::test(start_paused = true)]
async fn a_bad_deployment_is_rolled_back_with_its_cause_and_nothing_of_it_is_left() {
    let world = Memory::new(4);
    let platform = created(&world, hello()).await;
    let bad = hello().with(|raw| raw.source.command = Some(vec!["exit".into(), "7".into()]));
    let update = platform.update("hello", bad).await.expect("accepted");
    let failed = update.finished().await.expect_err("it cannot start");
    let OperationFailed::RolledBack(cause) = failed else { panic!("{failed}") };
    assert_eq!(cause.code, CauseCode::ExitedAtStart);
    assert!(cause.to_string().contains("exit code 7"), "{cause}");
    let seen = platform.describe("hello").await.expect("it is there");
    assert_eq!((seen.status, seen.live), (Status::Running, Some(RevisionNumber::FIRST)));
    assert_eq!(world.engine().living().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_never_listens_is_given_up_in_its_time() {
    let engine = Engine::new()
        .with_faults(Faults::none().life(On::nth(Call::Start, 2), Life::serving().never_listens()));
    let world = Memory::with_engine(5, engine);
    let spec = || hello().with(|raw| raw.health.start_allowance = Some("20s".into()));
    let platform = created(&world, spec()).await;
    let began = world.now();
    let update = platform.update("hello", spec().environment("A", "b")).await.expect("accepted");
    // The second instance hangs; the third passes, after a back-off.
    update.finished().await.expect("deployed with another instance");
    assert!(world.now().since(began) >= 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_that_listens_elsewhere_is_told_so_by_its_port() {
    let life = Life::serving().listens_on(3000);
    let faults = Faults::none().life(On::every(Call::Start), life);
    let world = Memory::with_engine(15, Engine::new().with_faults(faults));
    let platform = run(&world);
    let spec = hello().with(|raw| raw.health.start_allowance = Some("10s".into()));
    let created = platform.create("hello", spec).await.expect("accepted");
    let failed = created.finished().await.expect_err("nothing is where it should be");
    let OperationFailed::Failed(cause) = failed else { panic!("{failed}") };
    assert_eq!(cause.code, CauseCode::WrongPort, "{cause}");
    assert!(cause.to_string().contains("3000"), "{cause}");
}

/// A store with what it is told, and nothing else.
struct Store(Arc<AtomicBool>);

impl SecretProvider for Store {
    fn resolve<'a>(
        &'a self,
        reference: &'a SecretReference,
    ) -> runner_core::BoxFuture<'a, Result<ResolvedSecret, CoreError>> {
        let up = self.0.load(Ordering::SeqCst);
        Box::pin(async move {
            match (&*reference.name, up) {
                ("known", true) => Ok(ResolvedSecret::unversioned(Secret::new("value"))),
                (_, false) => Err(CoreError::unavailable("the store is down")),
                (name, _) => Err(CoreError::not_found(format!("there is no secret `{name}`"))),
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_fails_at_once_by_name_and_the_old_revision_goes_on() {
    let world = Memory::new(6);
    let up = Arc::new(true.into());
    let builder = world.builder().secrets(Store(Arc::clone(&up)));
    let (platform, driver) = builder.build().expect("built");
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    tokio::spawn(driver.run());
    let spec = hello().secret("TOKEN", "known");
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");

    let began = world.now();
    let update = platform.update("hello", hello().secret("TOKEN", "lost")).await.expect("accepted");
    let failed = update.finished().await.expect_err("there is none");
    let OperationFailed::RolledBack(cause) = failed else { panic!("{failed}") };
    assert_eq!(cause.code, CauseCode::SecretMissing);
    assert!(cause.to_string().contains("lost"), "{cause}");
    assert!(world.now().since(began) < SECOND);
    assert_eq!(world.engine().living().len(), 1);

    // A store that is down stops no restart: the value is in memory.
    up.store(false, Ordering::SeqCst);
    let one = platform.describe("hello").await.expect("it is there").instances[0].id;
    world.engine().with(|engine, now| engine.kill(platform.id(), one, ExitStatus::Signal(9), now));
    let replaced = |seen: &Description| seen.ready() == 1 && seen.instances[0].id != one;
    until(&platform, "replaced", replaced).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_crashes_is_replaced_and_one_that_keeps_crashing_is_held_back() {
    let dies = |after| Life::serving().ends_after(after, ExitStatus::Code(1));
    let faults = Faults::none()
        .life(On::nth(Call::Start, 1), dies(60 * SECOND))
        .life(On::nth(Call::Start, 2), Life::ending(SECOND, ExitStatus::Code(1)))
        .life(On::nth(Call::Start, 3), Life::ending(SECOND, ExitStatus::Code(1)));
    let world = Memory::with_engine(7, Engine::new().with_faults(faults));
    let platform = created(&world, hello()).await;
    pass(61 * SECOND).await;
    let seen = until(&platform, "ready again", |seen| seen.ready() == 1).await;
    assert_eq!(seen.instances[0].id.number, 4, "two more died at their start");
    assert_eq!(seen.status, Status::Running);
    let history = platform.history("hello", 100).await.expect("read");
    let failures = history.iter().filter(|entry| entry.code == "InstanceFailed").count();
    assert_eq!(failures, 3, "{history:#?}");
}

#[tokio::test(start_paused = true)]
async fn pausing_resuming_and_deleting_do_what_they_say() {
    let world = Memory::new(8);
    let platform = created(&world, hello()).await;
    platform.pause("hello").await.expect("accepted").finished().await.expect("paused");
    assert_eq!(platform.describe("hello").await.expect("there").status, Status::Paused);
    assert!(world.engine().living().is_empty());
    let refusal = platform.pause("hello").await.expect_err("paused already");
    assert_eq!(refusal.kind(), ErrorKind::Conflict);

    platform.resume("hello").await.expect("accepted").finished().await.expect("resumed");
    assert_eq!(platform.describe("hello").await.expect("there").ready(), 1);

    platform.delete("hello").await.expect("accepted").finished().await.expect("deleted");
    assert!(world.engine().living().is_empty());
    until_gone(&platform).await;
    platform
        .create("hello", hello())
        .await
        .expect("the name is free")
        .finished()
        .await
        .expect("ok");
}

async fn until_gone(platform: &Platform) {
    for _ in 0..100 {
        if platform.list().await.expect("it runs").is_empty() {
            return;
        }
        pass(Duration::from_millis(1)).await;
    }
    panic!("the name is not free");
}

#[tokio::test(start_paused = true)]
async fn settings_apply_within_a_tenth_of_a_second_without_new_instances() {
    let world = Memory::new(9);
    let platform = created(&world, hello()).await;
    let before = platform.describe("hello").await.expect("there").instances[0].id;
    let began = world.now();
    let change = platform.change("hello", |spec| spec.cap(3)).await.expect("accepted");
    change.finished().await.expect("done at once");
    let pool = platform.pool("hello").await.expect("there");
    assert_eq!(pool.counters().slots, 3);
    assert!(world.now().since(began) < Duration::from_millis(100));
    assert_eq!(platform.describe("hello").await.expect("there").instances[0].id, before);

    let change = platform.change("hello", |spec| spec.between(2, 4)).await.expect("accepted");
    change.finished().await.expect("done at once");
    pass(SECOND).await;
    assert_eq!(platform.describe("hello").await.expect("there").instances.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_platform_costs_no_instance_and_an_operation_is_carried_on() {
    let world = Memory::new(10);
    let platform = created(&world, hello()).await;
    let before = world.engine().living();
    platform.kill().await;
    world.crash(Crash::LosesUnsynced);

    let platform = run(&world);
    let seen = until(&platform, "ready", |seen| seen.ready() == 1).await;
    assert_eq!(seen.instances[0].id, before[0].instance);
    let update =
        platform.change("hello", |spec| spec.environment("A", "b")).await.expect("accepted");
    let (id, kind) = (update.id(), update.kind());
    drop(update);
    platform.kill().await;
    world.crash(Crash::LosesUnsynced);

    let platform = run(&world);
    let update = platform.operation("hello", id).await.expect("it goes on");
    assert_eq!(update.kind(), kind);
    update.finished().await.expect("deployed");
    let second = Some(RevisionNumber::new(2));
    let seen = until(&platform, "deployed", |seen| {
        seen.live == second && seen.status == Status::Running && seen.stage.is_none()
    });
    let seen = seen.await;
    assert!(seen.operations.iter().all(|one| one.ended.is_some()), "{seen:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_changes_with_its_cause_and_traffic_goes_on() {
    let world = Memory::new(11);
    let platform = created(&world, hello()).await;
    world.storage().set_broken(Some(CoreError::exhausted("no space is left on the disk")));
    let refusal = platform.change("hello", |spec| spec.cap(3)).await.expect_err("no room");
    assert_eq!(refusal.kind(), ErrorKind::Exhausted, "{refusal:?}");
    let refusal = platform.create("other", hello()).await.expect_err("no room");
    assert!(matches!(refusal, Error::NotStored(_)), "{refusal:?}");
    assert_eq!(platform.list().await.expect("it runs").len(), 1);
    let seen = platform.describe("hello").await.expect("there");
    assert_eq!((seen.ready(), seen.status), (1, Status::Running));
    assert_eq!(seen.spec.settings().scaling().cap.upper().number(), 10, "nothing has changed");

    world.storage().set_broken(None);
    let change = platform.change("hello", |spec| spec.cap(3)).await.expect("there is room again");
    change.finished().await.expect("done");
}

#[tokio::test(start_paused = true)]
async fn one_that_failed_its_creation_can_be_mended_and_seen() {
    let world = Memory::new(12);
    let platform = run(&world);
    let bad = ServiceSpec::command(["missing"]);
    let created = platform.create("hello", bad).await.expect("accepted");
    let failed = created.finished().await.expect_err("there is no such program");
    assert!(matches!(failed, OperationFailed::Failed(_)), "{failed}");
    let seen = platform.describe("hello").await.expect("there");
    assert_eq!(seen.status, Status::CreateFailed);
    assert!(seen.trouble.is_some());
    let mended = platform.update("hello", hello()).await.expect("accepted");
    mended.finished().await.expect("deployed");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_stops_or_leaves_what_runs() {
    let world = Memory::new(13);
    let platform = created(&world, hello()).await;
    platform.shutdown(30 * SECOND, Aftermath::Leave).await.expect("ended");
    let Running { platform, driver } = platform;
    driver.await.expect("no panic").expect("an orderly end");
    assert_eq!(world.engine().living().len(), 1);
    let refusal = platform.pause("hello").await.expect_err("over");
    assert!(matches!(refusal, Error::Stopped), "{refusal}");

    drop(platform);
    let platform = run(&world);
    until(&platform, "ready", |seen| seen.ready() == 1).await;
    platform.shutdown(30 * SECOND, Aftermath::Stop).await.expect("ended");
    platform.kill().await;
    assert!(world.engine().living().is_empty());

    let platform = run(&world);
    let seen = until(&platform, "started again", |seen| seen.ready() == 1).await;
    assert_eq!(seen.status, Status::Running);
}

#[tokio::test(start_paused = true)]
async fn a_panic_poisons_one_service_alone_and_it_begins_anew() {
    #[derive(Clone)]
    struct Bomb(Arc<AtomicBool>);

    impl runner_scaler::Policy for Bomb {
        fn ask(&mut self, look: &runner_scaler::Look<'_>, _: &mut runner_scaler::Asked<'_>) {
            let minimum = look.limits.minimum;
            assert!(minimum != 2 || !self.0.swap(false, Ordering::SeqCst), "as scripted");
        }
    }

    let world = Memory::new(14);
    let armed = Arc::new(AtomicBool::new(false));
    let bomb = Bomb(Arc::clone(&armed));
    let (platform, driver) = world.builder().policy(move |_| bomb.clone()).build().expect("built");
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    tokio::spawn(driver.run());
    for (name, minimum) in [("hello", 2), ("other", 1)] {
        let spec = hello().between(minimum, 4);
        platform.create(name, spec).await.expect("accepted").finished().await.expect("deployed");
    }
    let other = platform.describe("other").await.expect("there").instances;
    let mut events = platform.events();
    armed.store(true, Ordering::SeqCst);
    // A service at rest is not looked at, so that something has to change.
    let _ = platform.change("hello", |spec| spec.cap(11)).await.expect("accepted");
    loop {
        let told = events.next().await.expect("the platform lives");
        let happening = told.happening().expect("nothing was missed");
        if happening.code == "TaskPanicked" {
            assert!(happening.message.contains("as scripted"), "{happening:?}");
            break;
        }
    }
    assert_eq!(platform.describe("other").await.expect("there").instances, other);
    pass(10 * SECOND).await;
    let seen = until(&platform, "back", |seen| seen.ready() == 2).await;
    assert_eq!(seen.instances.iter().filter(|one| one.phase == Phase::Ready).count(), 2);
    assert_eq!(world.engine().living().len(), 3, "nothing was started twice");
}

#[tokio::test(start_paused = true)]
async fn a_slow_host_is_no_pause_in_paused_time() {
    // The host stalls while an instance gives the first of two bad answers. Had the program been
    // stopped, that answer would count for nothing.
    let stalls = |number| {
        if number == GOOD {
            #[expect(
                clippy::disallowed_methods,
                reason = "the host is slow, and time stands still"
            )]
            std::thread::sleep(Duration::from_millis(600));
        }
    };
    const GOOD: u32 = 20;
    let asked = AtomicU32::new(0);
    let probe = from_fn(move |_| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        stalls(number);
        let is_bad = (GOOD..GOOD + 2).contains(&number);
        async move { if is_bad { Seen::Refused } else { Seen::Accepted } }
    });
    let probe = Arc::new(probe);
    let attempts = |number| Attempts::new(number).expect("within bounds");
    // Two bad answers take it out; those that come after are good.
    let cadence = Cadence::every(5 * SECOND, 2 * SECOND).rise(attempts(GOOD)).fall(attempts(2));
    let world = Memory::new(16);
    let builder = world.builder().probes(move |_, _| Ok(Plan::new(cadence, Arc::clone(&probe))));
    let (platform, driver) = builder.build().expect("built");
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    tokio::spawn(driver.run());
    // One that sleeps is asked nothing.
    let spec = hello().with(|raw| raw.scaling.minimum_active = Some(1));
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");
    let first = platform.describe("hello").await.expect("there").instances[0].id;
    until(&platform, "replaced", |seen| seen.instances.iter().all(|one| one.id != first)).await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_goes_by_numbers_that_the_program_tells_and_not_by_old_ones() {
    let jobs = Signal::Named("jobs".into());
    // Twenty for each instance, where ten are meant to be: there can never be enough.
    let rule = TargetTracking::new(jobs, 10.0).expect("a target").over(Duration::ZERO);
    let rule = rule.when_stale(60 * SECOND, Stale::Assume(1.0));
    let world = Memory::new(17);
    let told = Arc::new(AtomicBool::new(false));
    let (tells, start) = (Arc::clone(&told), world.now());
    let numbers = move |service: &ServiceName, now| {
        assert_eq!(service.as_str(), "hello");
        let at = if tells.load(Ordering::SeqCst) { now } else { start };
        vec![Reading { name: "jobs".into(), value: 20.0, at }]
    };
    let builder = world.builder().policy(move |_| rule.clone()).numbers(numbers);
    let (platform, driver) = builder.build().expect("built");
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    tokio::spawn(driver.run());
    let spec = hello().with(|raw| raw.scaling.scale_in_delay = Some("1s".into()));
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");
    pass(600 * SECOND).await;
    assert_eq!(platform.describe("hello").await.expect("there").desired, 1);
    // No request comes, and the number is seen all the same.
    told.store(true, Ordering::SeqCst);
    until(&platform, "four", |seen| seen.ready() == 4).await;
    told.store(false, Ordering::SeqCst);
    until(&platform, "one", |seen| seen.instances.len() == 1).await;
}
