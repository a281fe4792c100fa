//! What those are told who ask and follow: operations, what instances write, what happens, what
//! would.

use std::{collections::BTreeSet, time::Duration};

use http_body_util::BodyExt as _;
use runner_core::{
    Error as CoreError,
    backend::{ContainerBackend as _, ExitStatus, Fence, LogLine, OutputStream, StartRequest},
    error::ErrorKind,
    id::{Epoch, InstanceId, PlatformId, ServiceId},
    spec::{ServiceBuilder, ServiceSpec},
    testing::backend::{Engine, Fault, Faults, Life, On, Operation as Call, What},
    time::Timestamp,
};
use runner_platform::{
    Aftermath, Driver, Error, Logs, LogsFrom, Platform, Told,
    testing::{Memory, TAKES},
};
use tokio::{task::JoinHandle, time::timeout};
use tower::ServiceExt as _;

const SECOND: Duration = Duration::from_secs(1);

fn spawn(driver: Driver) -> JoinHandle<Result<(), Error>> {
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    tokio::spawn(driver.run())
}

fn run(world: &Memory) -> Platform {
    let (platform, driver) = world.platform();
    spawn(driver);
    platform
}

fn hello() -> ServiceBuilder {
    ServiceSpec::command(["./hello"]).cap(10).between(1, 4)
}

async fn created(world: &Memory) -> Platform {
    let platform = run(world);
    platform.create("hello", hello()).await.expect("accepted").finished().await.expect("deployed");
    platform
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_ends_while_it_is_looked_for_is_not_followed_for_ever() {
    let world = Memory::new(1);
    let platform = created(&world).await;
    let update = platform.change("hello", |spec| spec.environment("A", "b")).await;
    let update = update.expect("accepted");
    let mut asked = Box::pin(platform.operation("hello", update.id()));
    tokio::select! {
        biased;
        found = &mut asked => panic!("nobody had time to answer: {found:?}"),
        () = std::future::ready(()) => {}
    }
    // The answer comes while it is under way, and is looked at when it has ended.
    update.finished().await.expect("deployed");
    pass(SECOND).await;
    let found = asked.await.expect("it is remembered");
    timeout(3_600 * SECOND, found.finished()).await.expect("it ended").expect("deployed");
    let again = platform.operation("hello", update.id()).await.expect("it is remembered");
    assert_eq!(again.ended(), Some(Ok(())));
    let none = platform.operation("hello", other_id()).await.expect_err("there is none");
    assert_eq!(none.kind(), ErrorKind::NotFound);
}

fn other_id() -> runner_core::id::OperationId {
    runner_core::id::OperationId::from_random(7)
}

/// One that says what it is when it is a second old, and goes on saying so every ten seconds.
fn talking(name: &str) -> Life {
    let line = |life: Life, age: u64| {
        life.writes(Duration::from_secs(age), OutputStream::Stdout, format!("{name} {age}"))
    };
    [1, 11, 21, 31].into_iter().fold(Life::serving(), line)
}

async fn next(logs: &mut Logs) -> (InstanceId, LogLine) {
    timeout(3_600 * SECOND, logs.next()).await.expect("within an hour").expect("there is more")
}

async fn texts(logs: &mut Logs, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(next(logs).await.1.text);
    }
    texts
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_followed_across_deployments_and_crashes() {
    let lives = Faults::none()
        .life(On::nth(Call::Start, 1), talking("first"))
        .life(
            On::nth(Call::Start, 2),
            talking("second").ends_after(200 * SECOND, ExitStatus::Code(1)),
        )
        .life(On::nth(Call::Start, 3), talking("third"));
    let world = Memory::with_engine(2, Engine::new().with_faults(lives));
    let platform = created(&world).await;
    pass(5 * SECOND).await;
    let mut logs = platform.logs("hello", LogsFrom::Now).await.expect("it can be read");
    let (one, line) = next(&mut logs).await;
    assert_eq!((&*line.text, line.stream, one.number), ("first 11", OutputStream::Stdout, 1));
    let update = platform.change("hello", |spec| spec.environment("A", "b")).await;
    update.expect("accepted").finished().await.expect("deployed");
    let mut seen = BTreeSet::new();
    while !seen.contains("third 31") {
        assert!(seen.insert(next(&mut logs).await.1.text), "no line is told twice");
    }
    for text in ["second 1", "second 11", "third 1", "third 11", "third 21"] {
        assert!(seen.contains(text), "{text} in {seen:?}");
    }
    assert!(!seen.contains("first 1"), "that was before");
    platform.delete("hello").await.expect("accepted").finished().await.expect("deleted");
    let end = timeout(60 * SECOND, logs.next()).await.expect("it ends with its service");
    assert_eq!(end, None);
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_one_that_has_crashed_are_there_in_the_order_of_time() {
    let crashing = |name: &str| {
        let line = format!("{name} goes down");
        let life = talking(name).writes(14 * SECOND, OutputStream::Stderr, line);
        life.ends_after(15 * SECOND, ExitStatus::Code(1))
    };
    let lives = Faults::none()
        .life(On::nth(Call::Start, 1), crashing("first"))
        .life(On::nth(Call::Start, 2), talking("second"));
    let world = Memory::with_engine(3, Engine::new().with_faults(lives));
    let platform = created(&world).await;
    pass(30 * SECOND).await;
    let ready = platform.describe("hello").await.expect("there");
    assert_eq!((ready.ready(), ready.instances[0].id.number), (1, 2), "{ready:#?}");
    let mut logs = platform.logs("hello", LogsFrom::Last(4)).await.expect("it can be read");
    let told = texts(&mut logs, 4).await;
    assert_eq!(told, ["first 11", "first goes down", "second 1", "second 11"]);
    let (two, line) = next(&mut logs).await;
    assert_eq!((two.number, &*line.text), (2, "second 21"), "and goes on");
    let mut since = platform.logs("hello", LogsFrom::Since(Timestamp::EPOCH)).await.expect("read");
    let all: BTreeSet<_> = texts(&mut since, 6).await.into_iter().collect();
    assert!(all.contains("first 1") && all.contains("second 21"), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_what_is_written_holds_up_no_shutdown() {
    let mut life = Life::serving();
    for number in 0..500 {
        life = life.writes(Duration::from_millis(number), OutputStream::Stdout, "a line");
    }
    let lives = Faults::none().life(On::every(Call::Start), life);
    let world = Memory::with_engine(4, Engine::new().with_faults(lives));
    let platform = created(&world).await;
    let logs = platform.logs("hello", LogsFrom::Since(Timestamp::EPOCH)).await.expect("read");
    pass(10 * SECOND).await;
    let began = world.now();
    platform.shutdown(30 * SECOND, Aftermath::Stop).await.expect("ended");
    assert!(world.now().since(began) < 10 * SECOND);
    drop(logs);
    let refusal = platform.logs("hello", LogsFrom::Now).await.expect_err("over");
    assert!(matches!(refusal, Error::Stopped), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_one_service_is_told_to_who_watches_that_one() {
    let world = Memory::new(5);
    let platform = created(&world).await;
    platform.create("other", hello()).await.expect("accepted").finished().await.expect("deployed");
    let mut events = platform.events_of("hello").await.expect("there");
    platform.deploy("other").await.expect("accepted").finished().await.expect("deployed");
    platform.deploy("hello").await.expect("accepted").finished().await.expect("deployed");
    let mut heard = 0;
    while let Ok(told) = timeout(SECOND, events.next()).await {
        let Some(Told::Happened(happening)) = told else { panic!("nothing was missed: {told:?}") };
        assert_eq!(happening.service.as_str(), "hello");
        heard += 1;
    }
    assert!(heard > 0, "its own deployment");
    let none = platform.events_of("nobody").await.expect_err("not there");
    assert_eq!(none.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_dumped_with_what_happened_in_it() {
    let engine = Engine::new().with_faults(
        Faults::none().life(On::nth(Call::Start, 2), Life::ending(SECOND, ExitStatus::Code(7))),
    );
    let world = Memory::with_engine(6, engine);
    let platform = created(&world).await;
    pass(60 * SECOND).await;
    let spec = hello().environment("TOKEN", "b");
    let update = platform.update("hello", spec).await.expect("accepted");
    let id = update.id();
    let under_way = platform.dump_operation("hello", id).await.expect("it is there");
    assert_eq!((under_way.operation.id, &under_way.operation.ended), (id, &None));
    assert_eq!(under_way.service.operation.map(|(id, _)| id), Some(id));
    let _ = update.finished().await;
    pass(60 * SECOND).await;
    platform.deploy("hello").await.expect("accepted").finished().await.ok();
    let dump = platform.dump_operation("hello", id).await.expect("it is remembered");
    let (ended, _) = dump.operation.ended.clone().expect("it has ended");
    let times: Vec<_> = dump.history.iter().map(|entry| entry.at).collect();
    assert!(times.is_sorted() && !times.is_empty(), "{:#?}", dump.history);
    assert!(times.iter().all(|at| (dump.operation.began..=ended).contains(at)));
    let json = serde_json::to_string(&dump).expect("it serialises");
    assert!(json.contains(&id.to_string()) && json.contains("TOKEN"), "{json}");
    let none = platform.dump_operation("hello", other_id()).await.expect_err("there is none");
    assert_eq!(none.kind(), ErrorKind::NotFound);
    let all = platform.dump("hello").await.expect("there");
    assert_eq!(all.desired, 1);
    serde_json::to_string(&all).expect("it serialises");
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_applying_would_do_and_does_nothing() {
    let world = Memory::new(7);
    let platform = run(&world);
    let spec = |builder: ServiceBuilder| builder.check("hello").expect("sound").value;
    let plan = platform.plan(&spec(hello())).await.expect("asked");
    assert!(!plan.is_empty());
    assert!(platform.list().await.expect("it runs").is_empty(), "nothing was done");
    platform.apply(spec(hello())).await.expect("accepted").finished().await.expect("deployed");
    assert!(platform.plan(&spec(hello())).await.expect("asked").is_empty());
    let setting = platform.plan(&spec(hello().cap(3))).await.expect("asked");
    assert!(!setting.is_empty() && !setting.deploys(), "{setting}");
    assert!(platform.plan(&spec(hello().environment("A", "b"))).await.expect("asked").deploys());
}

#[tokio::test(start_paused = true)]
async fn what_another_platform_left_is_reported_and_removed_by_a_person_alone() {
    let world = Memory::new(8);
    let stranger = Fence { platform: PlatformId::from_random(99), epoch: Epoch::FIRST };
    let theirs = ServiceId::from_random(1).instance(1);
    let words = vec!["./other".to_owned()];
    let backend = world.engine().open();
    backend.start(stranger, StartRequest::command(theirs, words)).await.expect("started");
    let platform = created(&world).await;
    pass(60 * SECOND).await;
    let foreign = platform.foreign();
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    assert_eq!(foreign[0].platform, Some(stranger.platform));
    assert_eq!(world.engine().living().len(), 2, "it is let be");
    platform.reap(foreign[0].clone()).await.expect("removed");
    assert_eq!(world.engine().living().len(), 1);
    pass(60 * SECOND).await;
    assert!(platform.foreign().is_empty());
    let one = platform.describe("hello").await.expect("there");
    assert_eq!(one.ready(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_who_change_a_service_at_once_neither_undoes_the_other() {
    let world = Memory::new(9);
    let platform = created(&world).await;
    let (one, two) = tokio::join!(
        platform.change("hello", |spec| spec.cap(7)),
        platform.change("hello", |spec| spec.between(2, 5)),
    );
    let _ = (one.expect("accepted"), two.expect("accepted"));
    let seen = platform.describe("hello").await.expect("there").spec;
    let scaling = seen.settings().scaling();
    let bounds = (scaling.minimum.number(), scaling.maximum.number());
    assert_eq!((scaling.cap.upper().number(), bounds), (7, (2, 5)));
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_leaves_its_instances_finishes_what_is_under_way() {
    let world = Memory::new(10);
    let (platform, driver) = world.platform();
    let driver = spawn(driver);
    platform.create("hello", hello()).await.expect("accepted").finished().await.expect("deployed");
    let path = platform.service_of("hello").await.expect("there");
    let get = || {
        let request = http::Request::get("http://hello.localhost/").header(TAKES, "5000");
        request.body(http_body_util::Empty::<bytes::Bytes>::new()).expect("a request")
    };
    #[expect(clippy::disallowed_methods, reason = "a client is a task of its own")]
    let under_way = tokio::spawn({
        let (path, request) = (path.clone(), get());
        async move {
            let answer = path.oneshot(request).await.expect("an answer");
            let status = answer.status();
            // It is under way until its body is read.
            answer.into_body().collect().await.expect("all of it");
            status
        }
    });
    pass(SECOND).await;
    let began = world.now();
    let (ended, late) = tokio::join!(platform.shutdown(30 * SECOND, Aftermath::Leave), async {
        pass(SECOND).await;
        path.oneshot(get()).await.expect("an answer").status()
    });
    ended.expect("ended");
    assert_eq!(late, 503, "it takes no more");
    assert_eq!(under_way.await.expect("no panic"), 200);
    assert!(world.now().since(began) < 10 * SECOND, "and waits no longer than for that");
    driver.await.expect("no panic").expect("an orderly end");
    assert_eq!(world.engine().living().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_backend_refuses_is_said_and_not_tried_with_every_look() {
    let refuse = |what: &str| Fault::Refuse(CoreError::unavailable(what.to_owned()));
    let faults = Faults::none()
        .call(On::every(Call::Freeze), refuse("the freezer is broken"))
        .call(On::every(Call::List), refuse("the engine is away"));
    let world = Memory::with_engine(11, Engine::new().with_faults(faults));
    let platform = run(&world);
    let mut events = platform.events();
    let spec = hello().between(2, 4);
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");
    pass(600 * SECOND).await;
    let seen = platform.describe("hello").await.expect("there");
    assert!(seen.list_trouble.expect("told").contains("the engine is away"));
    let mut said = std::collections::BTreeMap::<_, Vec<String>>::new();
    while let Ok(Some(told)) = timeout(SECOND, events.next()).await {
        let happening = told.happening().expect("nothing was missed");
        said.entry(happening.code).or_default().push(happening.message);
    }
    assert_eq!(said["ListFailed"].len(), 1, "once: {said:#?}");
    let freezes = &said["FreezeFailed"];
    assert!(freezes.len() <= 2 && freezes[0].contains("the freezer is broken"), "{freezes:?}");
    let is_freeze = |what: &What| matches!(what, What::Asked(_, Call::Freeze, _));
    let tried =
        world.engine().with(|engine, _| engine.trace().filter(|one| is_freeze(&one.what)).count());
    assert!((2..=20).contains(&tried), "{tried} times in ten minutes");
}
