//! How many instances there are, and how much each is given.

use std::time::Duration;

use runner_core::{
    deployment::Phase,
    spec::{ServiceBuilder, raw},
    time::Timestamp,
};

use crate::support::{Answer, Ask, Bed, SECOND, hello, in_order, pass, spawn};

#[tokio::test(start_paused = true)]
pub(crate) async fn a_cap_applies_to_those_who_wait() {
    let bed = Bed::new(hello().cap(1)).await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(("request", bed.send(Ask::taking(5_000)).await));
    }
    assert_eq!(bed.see().await.in_flight, 1);
    bed.change(|raw| raw.scaling.cap = Some(raw::Cap::Fixed(3_u32.into()))).await;
    assert_eq!(bed.see().await.in_flight, 3);
    in_order(asked).await;
}

fn between(minimum: u64, maximum: u64) -> impl FnOnce(&mut raw::Service) {
    move |raw| {
        let (minimum, maximum) = (Some(minimum), Some(maximum));
        raw.scaling.cap = Some(raw::Cap::Auto { minimum, maximum });
    }
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_cap_is_found_between_its_bounds() {
    let bed = Bed::new(hello().with(between(2, 30))).await;
    let slots = async || bed.platform.pool("hello").await.expect("there").counters().slots;
    assert_eq!(slots().await, 20, "where nothing is known yet");
    // More at once cost nothing, and the cap is what keeps them from being more.
    let clients: Vec<_> = (0..60)
        .map(|_| {
            let path = bed.platform.clone();
            spawn(async move {
                for _ in 0..600 {
                    let sent = Ask::taking(100).get_by(&path).await;
                    assert_eq!(sent.status, 200, "{}", sent.body);
                }
            })
        })
        .collect();
    for _ in 0..600 {
        assert!(slots().await <= 30);
        pass(SECOND / 10).await;
    }
    assert_eq!(slots().await, 30);
    // Other bounds, while they are asked: it begins anew within them, and nobody is lost.
    bed.change(between(5, 8)).await;
    assert_eq!(slots().await, 8);
    bed.change(between(40, 50)).await;
    assert!((40..=50).contains(&slots().await));
    for client in clients {
        client.await.expect("all of them were served");
    }
}

#[tokio::test(start_paused = true)]
pub(crate) async fn there_are_as_many_as_the_bounds_say() {
    let patient = |raw: &mut raw::Service| raw.overflow.max_wait = Some("60s".into());
    let bed = Bed::new(hello().between(1, 1).with(patient)).await;
    bed.change(|raw| (raw.scaling.minimum, raw.scaling.maximum) = (Some(3), Some(4))).await;
    bed.until("three", |seen| seen.ready() == 3).await;
    let mut asked = Vec::new();
    for _ in 0..8 {
        asked.push(("request", bed.send(Ask::taking(3_000)).await));
    }
    let seen = bed.until("four", |seen| seen.ready() == 4).await;
    assert_eq!(seen.instances.len(), 4);
    bed.change(|raw| (raw.scaling.minimum, raw.scaling.maximum) = (Some(1), Some(1))).await;
    in_order(asked).await;
    bed.until("one", |seen| seen.instances.len() == 1).await;
}

fn asleep(seen: &runner_platform::Description) -> usize {
    seen.instances.iter().filter(|one| one.phase == Phase::Standby).count()
}

#[tokio::test(start_paused = true)]
pub(crate) async fn some_stay_awake() {
    let bed = Bed::new(hello().between(3, 3)).await;
    bed.until("one awake", |seen| (seen.ready(), asleep(seen)) == (1, 2)).await;
    bed.change(|raw| raw.scaling.minimum_active = Some(3)).await;
    bed.until("all awake", |seen| (seen.ready(), asleep(seen)) == (3, 0)).await;
    bed.change(|raw| raw.scaling.minimum_active = Some(0)).await;
    bed.until("none awake", |seen| (seen.ready(), asleep(seen)) == (0, 3)).await;
    assert_eq!(bed.get(Ask::taking(0)).await.status, 200);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn an_instance_sleeps_after_its_time() {
    let spec = hello().between(2, 2).with(|raw| {
        raw.scaling.minimum_active = Some(1);
        raw.scaling.standby_after = Some("1h".into());
    });
    let bed = Bed::new(spec).await;
    assert_eq!(under(&bed, 2, 1).await, 2);
    pass(600 * SECOND).await;
    assert_eq!(asleep(&bed.see().await), 0, "{:?}", bed.see().await.decision);
    bed.change(|raw| raw.scaling.standby_after = Some("30s".into())).await;
    bed.until("one asleep", |seen| asleep(seen) == 1).await;
}

/// Serves a steady load of so many at once for some minutes; how many instances there are then.
async fn under(bed: &Bed, at_once: usize, minutes: u32) -> usize {
    let mut clients = Vec::new();
    for _ in 0..at_once {
        let platform = bed.platform.clone();
        clients.push(spawn(async move {
            for _ in 0..minutes * 60 {
                assert_eq!(Ask::taking(1_000).get_by(&platform).await.status, 200);
            }
        }));
    }
    for client in clients {
        client.await.expect("served");
    }
    bed.see().await.ready()
}

#[tokio::test(start_paused = true)]
pub(crate) async fn instances_are_as_full_as_they_are_meant_to_be() {
    let spec = hello().cap(10).between(1, 6).with(|raw| {
        raw.scaling.target_utilisation = Some(90_u32.into());
    });
    let bed = Bed::new(spec).await;
    let before = under(&bed, 6, 4).await;
    bed.change(|raw| raw.scaling.target_utilisation = Some(10_u32.into())).await;
    let after = under(&bed, 6, 4).await;
    assert!(before <= 2 && after == 6, "{before} {after}: {:?}", bed.see().await.decision);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn instances_leave_after_their_time() {
    let delay = |delay: &'static str| {
        move |raw: &mut raw::Service| {
            raw.scaling.scale_in_delay = Some(delay.into());
            raw.scaling.standby_after = Some("1s".into());
        }
    };
    let bed = Bed::new(hello().between(1, 4).with(delay("2h"))).await;
    assert_eq!(under(&bed, 4, 2).await, 4);
    pass(3_600 * SECOND).await;
    assert_eq!(bed.see().await.instances.len(), 4, "{:?}", bed.see().await.decision);
    bed.change(delay("10s")).await;
    // What was learned of the load keeps some for a while; none of it an hour.
    bed.until("one", |seen| seen.instances.len() == 1).await;
}

#[tokio::test(start_paused = true)]
pub(crate) async fn the_last_one_leaves_after_its_time() {
    let spec = hello().between(0, 1).with(|raw| raw.scaling.zero_after = Some("2h".into()));
    let bed = Bed::new(spec).await;
    assert_eq!(bed.get(Ask::taking(0)).await.status, 200);
    pass(3_600 * SECOND).await;
    assert_eq!(bed.see().await.instances.len(), 1);
    bed.change(|raw| raw.scaling.zero_after = Some("1m".into())).await;
    pass(120 * SECOND).await;
    assert_eq!(bed.see().await.instances.len(), 0, "{:?}", bed.see().await.decision);
    assert_eq!(bed.get(Ask::taking(0)).await.status, 200);
}

/// A schedule for an hour that begins so many minutes after this moment, by a clock an hour ahead.
fn hour_from(at: Timestamp, minutes: u64) -> raw::Schedule {
    let local = |minutes: u64| at.since(Timestamp::EPOCH).as_secs() / 60 + 60 + minutes;
    let time = |minute: u64| Some(format!("{:02}:{:02}", minute / 60 % 24, minute % 60));
    let days = ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];
    let mut schedule = raw::Schedule::default();
    schedule.days = vec![days[(local(minutes) / 1_440 % 7) as usize].into()];
    (schedule.from, schedule.until) = (time(local(minutes)), time(local(minutes + 60)));
    schedule.utc_offset = Some("+01:00".into());
    (schedule.minimum, schedule.maximum) = (Some(2), Some(3));
    schedule
}

#[tokio::test(start_paused = true)]
pub(crate) async fn other_bounds_hold_at_other_times() {
    fn quick(spec: ServiceBuilder) -> ServiceBuilder {
        spec.with(|raw| raw.scaling.scale_in_delay = Some("0s".into()))
    }
    let bed = Bed::new(quick(hello().between(1, 1))).await;
    let schedule = hour_from(bed.world.now(), 10);
    bed.change(|raw| raw.scaling.schedules.push(schedule)).await;
    let minute = Duration::from_secs(60);
    pass(9 * minute).await;
    assert_eq!(bed.see().await.instances.len(), 1);
    pass(2 * minute).await;
    assert_eq!(bed.see().await.instances.len(), 2);
    let mut asked = Vec::new();
    for _ in 0..6 {
        asked.push(("request", bed.send(Ask::taking(2_000)).await));
    }
    bed.until("three", |seen| seen.ready() == 3).await;
    in_order(asked).await;
    pass(75 * minute).await;
    assert_eq!(bed.see().await.instances.len(), 1, "{:?}", bed.see().await.decision);
}

impl Ask {
    /// A request by a handle.
    async fn get_by(self, platform: &runner_platform::Platform) -> Answer {
        self.send(platform.service()).await
    }
}
