//! How one revision takes the place of another.

use std::time::Duration;

use runner_core::{
    deployment::Phase,
    id::RevisionNumber,
    service::Refused,
    spec::{ServiceBuilder, raw},
    testing::backend::{Engine, Faults, Life, On, Operation as Call},
};
use runner_platform::{Description, Error, Operation, testing::Memory};

use crate::support::{Ask, Bed, SECOND, hello, pass};

const GREEN: Option<RevisionNumber> = Some(RevisionNumber::new(2));

/// The same app in another revision, of which there may be several.
async fn deploy(bed: &Bed, value: &str) -> Operation {
    let value = value.to_owned();
    bed.platform.change("hello", |spec| spec.environment("A", value)).await.expect("accepted")
}

fn of(seen: &Description, revision: Option<RevisionNumber>) -> usize {
    seen.instances.iter().filter(|one| Some(one.revision) == revision).count()
}

/// Which part of two hundred requests the new revision answers now.
async fn share(bed: &Bed) -> usize {
    let seen = bed.see().await;
    let green: Vec<_> = seen.instances.iter().filter(|one| Some(one.revision) == GREEN).collect();
    let mut count = 0;
    for _ in 0..200 {
        let body = bed.get(Ask::taking(1)).await.body;
        count += usize::from(green.iter().any(|one| one.id.to_string() == body));
    }
    count / 2
}

#[tokio::test(start_paused = true)]
pub(crate) async fn requests_move_in_steps() {
    let spec = hello().cap(10).with(|raw| {
        raw.deployment.strategy = Some("stepped".into());
        raw.deployment.steps = vec![20_u32.into(), 100_u32.into()];
        raw.deployment.step_interval = Some("2h".into());
        raw.deployment.bake = Some("1h".into());
    });
    let bed = Bed::new(spec).await;
    let update = deploy(&bed, "b").await;
    bed.until("a first step", |seen| of(seen, GREEN) == 1 && seen.stage.is_some()).await;
    pass(10 * SECOND).await;
    let first = share(&bed).await;
    assert!((12..=28).contains(&first), "{first}");
    // While it is under way: the step that has begun ends by what is said now.
    bed.change_now(|raw| {
        raw.deployment.steps = vec![60_u32.into(), 100_u32.into()];
        raw.deployment.step_interval = Some("30s".into());
    })
    .await;
    pass(60 * SECOND).await;
    assert_eq!(share(&bed).await, 100);
    bed.change_now(|raw| raw.deployment.bake = Some("1s".into())).await;
    update.finished().await.expect("deployed");
}

#[tokio::test(start_paused = true)]
pub(crate) async fn in_place_is_another_strategy() {
    let spec = hello().with(|raw| raw.deployment.strategy = Some("in_place".into()));
    let bed = Bed::new(spec).await;
    let update = deploy(&bed, "b").await;
    let most = async {
        let mut most = 0;
        while update.ended().is_none() {
            most = most.max(bed.world.engine().living().len());
            pass(Duration::from_millis(1)).await;
        }
        most
    };
    assert_eq!(most.await, 1, "never two at once");
    update.finished().await.expect("deployed");
}

fn slow_starts(seed: u64) -> Memory {
    let slow = Life::serving().listens_after(5 * SECOND);
    let faults = Faults::none().life(On::every(Call::Start), slow);
    Memory::with_engine(seed, Engine::new().with_faults(faults))
}

#[tokio::test(start_paused = true)]
pub(crate) async fn so_many_stand_beside_the_old_ones() {
    let most = async |surge: u32| {
        let spec = hello().between(4, 4).with(|raw| {
            raw.deployment.surge = Some(surge.into());
            raw.scaling.minimum_active = Some(4);
        });
        let bed = Bed::of(slow_starts(1), spec).await;
        bed.until("four", |seen| seen.ready() == 4).await;
        let update = deploy(&bed, "b").await;
        let mut most = 0;
        while update.ended().is_none() {
            most = most.max(bed.world.engine().living().len());
            pass(SECOND / 10).await;
        }
        update.finished().await.expect("deployed");
        most
    };
    assert_eq!((most(50).await, most(100).await), (6, 8));
}

#[tokio::test(start_paused = true)]
pub(crate) async fn the_new_one_bakes_for_its_time() {
    let bed = Bed::new(hello()).await;
    let took = async |value| {
        let began = bed.world.now();
        deploy(&bed, value).await.finished().await.expect("deployed");
        bed.world.now().since(began)
    };
    assert!(took("b").await < 60 * SECOND);
    bed.change(|raw| raw.deployment.bake = Some("5m".into())).await;
    assert!(took("c").await >= 300 * SECOND);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_first_one_bakes_for_a_time_of_its_own() {
    let took = async |first: Option<&str>| {
        let world = Memory::new(1);
        let began = world.now();
        let spec = hello().with(|raw| {
            raw.deployment.bake = Some("1h".into());
            raw.deployment.first_bake = first.map(Into::into);
        });
        let bed = Bed::of(world, spec).await;
        bed.world.now().since(began)
    };
    assert!(took(None).await < 60 * SECOND, "there is nothing to go back to");
    assert!(took(Some("5m")).await >= 300 * SECOND);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn those_that_leave_finish_within_their_time() {
    let bed = Bed::new(hello().cap(10)).await;
    let kept = async |value| {
        let running = bed.send(Ask::taking(60_000)).await;
        deploy(&bed, value).await.finished().await.expect("deployed");
        running.await.expect("no panic").status == 200
    };
    assert!(kept("b").await, "as long as a request may take");
    bed.change(|raw| raw.deployment.drain = Some("5s".into())).await;
    assert!(!kept("c").await);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn the_old_one_stays_warm_for_its_time() {
    let bed = Bed::new(hello().with(|raw| raw.deployment.keep_warm = Some("10m".into()))).await;
    deploy(&bed, "b").await.finished().await.expect("deployed");
    pass(60 * SECOND).await;
    let seen = bed.see().await;
    let blue = seen.instances.iter().find(|one| Some(one.revision) != GREEN).expect("it is kept");
    assert_eq!(blue.phase, Phase::Standby);
    bed.change(|raw| raw.deployment.keep_warm = Some("0s".into())).await;
    bed.until("blue gone", |seen| of(seen, Some(RevisionNumber::FIRST)) == 0).await;
}

#[tokio::test(start_paused = true)]
pub(crate) async fn requests_move_when_somebody_says_so() {
    let bed = Bed::new(hello()).await;
    bed.change(|raw| raw.deployment.approval = Some(true)).await;
    let update = deploy(&bed, "b").await;
    pass(600 * SECOND).await;
    assert!(update.ended().is_none());
    assert_eq!(bed.see().await.live, Some(RevisionNumber::FIRST));
    bed.platform.approve("hello").await.expect("accepted");
    update.finished().await.expect("deployed");
    bed.change(|raw| raw.deployment.approval = Some(false)).await;
    deploy(&bed, "c").await.finished().await.expect("by itself");
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_change_meets_another_as_settings_say() {
    fn edits(how: &'static str) -> impl FnOnce(ServiceBuilder) -> ServiceBuilder {
        move |spec| {
            spec.with(|raw| {
                raw.deployment.concurrent_edits = Some(how.into());
                raw.deployment.bake = Some("10s".into());
            })
        }
    }
    let bed = Bed::new(edits("refuse")(hello())).await;
    let first = deploy(&bed, "b").await;
    let refused = bed.platform.change("hello", |spec| spec.environment("A", "c")).await;
    assert!(matches!(refused, Err(Error::Refused(Refused::Busy))), "{refused:?}");
    first.finished().await.expect("deployed");

    bed.platform
        .change("hello", edits("queue"))
        .await
        .expect("accepted")
        .finished()
        .await
        .expect("");
    let (first, second) = (deploy(&bed, "d").await, deploy(&bed, "e").await);
    first.finished().await.expect("first");
    assert!(second.ended().is_none());
    second.finished().await.expect("then the other");

    let change = bed.platform.change("hello", edits("supersede")).await.expect("accepted");
    change.finished().await.expect("done");
    let (first, second) = (deploy(&bed, "f").await, deploy(&bed, "g").await);
    second.finished().await.expect("the newest wins");
    first.finished().await.expect_err("superseded");
}

#[tokio::test(start_paused = true)]
pub(crate) async fn so_many_failures_are_too_many() {
    let bed = Bed::new(hello()).await;
    let starts = async |limit: u64| {
        let count = || bed.world.engine().with(|engine, _| engine.views().count());
        bed.change(|raw| raw.deployment.failure_limit = Some(limit)).await;
        let before = count();
        let bad = hello().with(|raw: &mut raw::Service| {
            raw.source.command = Some(vec!["exit".into(), limit.to_string()]);
            raw.deployment.failure_limit = Some(limit);
        });
        let update = bed.platform.update("hello", bad).await.expect("accepted");
        update.finished().await.expect_err("it ends at once");
        let after = count();
        let back = bed.platform.change("hello", |_| hello()).await.expect("accepted");
        back.finished().await.expect("as it was");
        after - before
    };
    assert_eq!((starts(1).await, starts(4).await), (1, 4));
}
