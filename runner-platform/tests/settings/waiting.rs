//! Who waits, for how long and in which order.

use http::StatusCode;
use runner_core::{
    spec::raw,
    testing::backend::{Engine, Faults, Life, On, Operation},
};
use runner_platform::testing::Memory;

use crate::support::{Ask, Bed, SECOND, hello, in_order, pass};

#[tokio::test(start_paused = true)]
pub(crate) async fn so_many_wait_as_may() {
    let bed = Bed::new(hello().with(|raw| raw.overflow.max_waiting = Some(1_u32.into()))).await;
    let first = bed.send(Ask::taking(5_000)).await;
    let second = bed.send(Ask::taking(0)).await;
    let third = bed.get(Ask::taking(0)).await;
    assert_eq!((third.status, third.reason()), (StatusCode::TOO_MANY_REQUESTS, "queue_full"));
    bed.change(|raw| raw.overflow.max_waiting = Some(5_u32.into())).await;
    let third = bed.send(Ask::taking(0)).await;
    assert_eq!(in_order(vec![("1", first), ("2", second), ("3", third)]).await.len(), 3);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn so_long_is_waited_as_settings_say() {
    let bed = Bed::new(hello().with(|raw| raw.overflow.max_wait = Some("2s".into()))).await;
    let first = bed.send(Ask::taking(20_000)).await;
    let began = bed.world.now();
    let second = bed.get(Ask::taking(0)).await;
    assert_eq!(second.reason(), "waited_too_long");
    assert!(bed.world.now().since(began) <= 3 * SECOND);
    bed.change(|raw| raw.overflow.max_wait = Some("50s".into())).await;
    let second = bed.send(Ask::taking(0)).await;
    in_order(vec![("1", first), ("2", second)]).await;
}

#[tokio::test(start_paused = true)]
pub(crate) async fn requests_are_held_while_the_first_instance_starts() {
    let slow = Life::serving().listens_after(20 * SECOND);
    let faults = Faults::none().life(On::every(Operation::Start), slow);
    let world = Memory::with_engine(1, Engine::new().with_faults(faults));
    let spec = hello().between(0, 1).with(|raw| {
        raw.scaling.zero_after = Some("5s".into());
        raw.overflow.max_wait = Some("1s".into());
        raw.overflow.hold_while_starting = Some("3s".into());
    });
    let bed = Bed::of(world, spec).await;
    bed.until("at zero", |seen| seen.instances.is_empty()).await;
    let refused = bed.get(Ask::taking(0)).await;
    assert_eq!(refused.reason(), "would_wait_too_long", "{}", refused.body);
    bed.until("at zero again", |seen| seen.instances.is_empty()).await;
    bed.change(|raw| raw.overflow.hold_while_starting = Some("40s".into())).await;
    assert_eq!(bed.get(Ask::taking(0)).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn refusals_have_the_statuses_of_the_settings() {
    let bed = Bed::new(hello().with(|raw| {
        raw.overflow.max_waiting = Some(1_u32.into());
        raw.limits.total = Some("4s".into());
    }))
    .await;
    let too_slow = async || bed.get(Ask::taking(60_000)).await.status.as_u16();
    let full = async || {
        let first = bed.send(Ask::taking(1_000)).await;
        let second = bed.send(Ask::taking(0)).await;
        let third = bed.get(Ask::taking(0)).await;
        assert!(["queue_full", "at_maximum"].contains(&third.reason()), "{}", third.body);
        // After one that took too long it may be that the second is refused as well.
        let _ = (first.await, second.await);
        third.status.as_u16()
    };
    assert_eq!((too_slow().await, full().await), (504, 429));
    bed.change(|raw| {
        let mut status = raw::Statuses::default();
        (status.full, status.unavailable, status.too_slow) = (Some(430), Some(529), Some(599));
        raw.overflow.status = status;
    })
    .await;
    assert_eq!((too_slow().await, full().await), (599, 430));
    bed.platform.pause("hello").await.expect("accepted").finished().await.expect("paused");
    let paused = bed.get(Ask::taking(0)).await;
    assert_eq!((paused.status.as_u16(), paused.reason()), (529, "paused"));
}

#[tokio::test(start_paused = true)]
pub(crate) async fn classes_go_before_each_other() {
    let bed = Bed::new(hello().with(|raw| raw.overflow.max_wait = Some("60s".into()))).await;
    let round = async || {
        let first = bed.send(Ask::taking(1_000)).await;
        let usual = bed.send(Ask::taking(100)).await;
        let gold = bed.send(Ask::taking(100).field("x-plan", "gold")).await;
        let pay = bed.send(Ask::taking(100).path("/pay/now")).await;
        in_order(vec![("first", first), ("usual", usual), ("gold", gold), ("pay", pay)]).await
    };
    assert_eq!(round().await, ["first", "usual", "gold", "pay"], "as they came");
    bed.change(|raw| {
        let rule = |path: Option<&str>, header: Option<(&str, &str)>, class| {
            let mut rule = raw::PriorityRule::default();
            rule.path = path.map(Into::into);
            rule.header = header.map(|(name, _)| name.into());
            rule.value = header.map(|(_, value)| value.into());
            rule.class = Some(class);
            rule
        };
        raw.overflow.priority =
            vec![rule(Some("/pay"), None, 0), rule(None, Some(("x-plan", "gold")), 1)];
    })
    .await;
    assert_eq!(round().await, ["first", "pay", "gold", "usual"]);
}

/// How many of a greedy client's are served before all of a modest one's, both waiting.
async fn greedy_before_modest(bed: &Bed, greedy: &Ask, modest: &Ask) -> usize {
    let first = bed.send(Ask::taking(1_000)).await;
    let mut asked = vec![("first", first)];
    for _ in 0..12 {
        asked.push(("greedy", bed.send(greedy.clone()).await));
    }
    for _ in 0..3 {
        asked.push(("modest", bed.send(modest.clone()).await));
    }
    let order = in_order(asked).await;
    let last = order.iter().rposition(|name| *name == "modest").expect("they were served");
    order[..last].iter().filter(|name| **name == "greedy").count()
}

#[tokio::test(start_paused = true)]
pub(crate) async fn slots_are_shared_out_among_clients() {
    let bed = Bed::new(hello().with(|raw| {
        raw.overflow.max_wait = Some("60s".into());
        raw.overflow.max_waiting = Some(100_u32.into());
    }))
    .await;
    let by_field = |tenant: &str| Ask::taking(100).field("x-tenant", tenant);
    let (greedy, modest) = (by_field("greedy"), by_field("modest"));
    assert_eq!(greedy_before_modest(&bed, &greedy, &modest).await, 12, "as they came");
    bed.change(|raw| {
        raw.overflow.fairness.by = Some("header".into());
        raw.overflow.fairness.header = Some("x-tenant".into());
    })
    .await;
    assert!(greedy_before_modest(&bed, &greedy, &modest).await <= 4, "each in turn");
    bed.change(|raw| _ = raw.overflow.fairness.weights.insert("greedy".into(), 4)).await;
    assert!((8..=12).contains(&greedy_before_modest(&bed, &greedy, &modest).await), "four to one");

    bed.change(|raw| {
        raw.overflow.fairness = raw::Fairness::default();
        raw.overflow.fairness.by = Some("client_ip".into());
    })
    .await;
    let by_peer = |peer: &str| Ask::taking(100).from(peer);
    let count = greedy_before_modest(&bed, &by_peer("192.0.2.1"), &by_peer("192.0.2.2")).await;
    assert!(count <= 4, "{count}");

    bed.change(|raw| {
        raw.overflow.fairness.by = Some("host".into());
        let mut route = raw::Route::default();
        route.host = Some("other.example".into());
        raw.routing.routes.push(route);
    })
    .await;
    let other = Ask::taking(100).host("other.example");
    assert!(greedy_before_modest(&bed, &Ask::taking(100), &other).await <= 4);
    pass(SECOND).await;
}
