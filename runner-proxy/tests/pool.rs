//! The pool form: several instances behind one queue, and what the control side does with it.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use runner_core::{
    admission::{Ask, Attainable, DemandCause, Pin, QueueSettings, Reason, Snapshot},
    id::RevisionNumber,
};
use runner_proxy::{
    pool::{Assignment, Notice, Pool, PoolFuture, PoolQueue},
    queue::LeasedBody,
    refusal_response,
};
use support::{
    Held, Script, Stage, Step, Worker, instance, instance_id, next_frame, request, snapshot,
};
use tokio::task::JoinSet;
use tower::layer::Layer;
use tower_service::Service;

type Call = Held<PoolFuture<Worker, Script>>;

fn settings() -> QueueSettings {
    QueueSettings::new(1_000, Duration::from_secs(60))
}

fn pool(snapshot: Snapshot) -> Pool {
    Pool::new(settings(), snapshot)
}

fn call(service: &mut PoolQueue<Worker>) -> Call {
    call_with(service, &[])
}

fn call_with(service: &mut PoolQueue<Worker>, body: &[Step]) -> Call {
    Held::new(service.call(request("/").map(|()| Script::of(body))))
}

/// What there is to tell by now.
fn told(pool: &Pool) -> Option<Notice> {
    match Held::new(pool.notice()).poll() {
        Poll::Ready(notice) => Some(notice),
        Poll::Pending => None,
    }
}

// === what an admitted request carries ===

#[tokio::test(start_paused = true)]
async fn an_admitted_request_knows_where_it_goes() {
    let pool = pool(snapshot([instance(7, 3, 1)]));
    let mut service =
        pool.layer().layer(tower::service_fn(|request: Request<LeasedBody<Script>>| {
            let assigned: &Assignment = request.extensions().get().expect("an assignment");
            let text = format!("{} {} {}", assigned.instance, assigned.address, assigned.revision);
            async move { Ok::<_, support::Broken>(Response::new(Full::<Bytes>::from(text))) }
        }));
    let request = request("/").map(|()| Script::of(&[]));
    let response = service.call(request).await.expect("served");
    let expected = format!("{} memory:i3 {}", instance_id(3), RevisionNumber::new(7));
    assert_eq!(support::text_of(response.into_body()), expected);
}

#[tokio::test(start_paused = true)]
async fn an_admitted_request_knows_how_long_it_waited() {
    let pool = pool(snapshot([instance(1, 1, 1)]));
    let mut service =
        pool.layer().layer(tower::service_fn(|request: Request<LeasedBody<Script>>| {
            let assigned: &Assignment = request.extensions().get().expect("an assignment");
            let text = format!("{:?}", assigned.waited);
            async move { Ok::<_, support::Broken>(Response::new(Full::<Bytes>::from(text))) }
        }));
    let mut call = || Held::new(service.call(request("/").map(|()| Script::of(&[]))));
    let first = call().done();
    let mut second = call();
    second.pends();
    tokio::time::advance(Duration::from_millis(1_500)).await;
    assert_eq!(support::text_of(first.into_body()), "0ns");
    assert_eq!(support::text_of(second.done().into_body()), "1.5s");
}

#[tokio::test(start_paused = true)]
async fn the_lease_waits_for_the_request_body_as_well() {
    let stage = Stage::prompt();
    stage.keep_bodies();
    let pool = pool(snapshot([instance(1, 1, 1)]));
    let mut service = pool.layer().layer(stage.worker());
    let in_flight = || pool.counters().in_flight;
    // Given away unread.
    drop(call_with(&mut service, &[Step::Data("a"), Step::Data("b")]).done());
    assert_eq!(in_flight(), 1, "the response is done, the request is still read");
    drop(stage.bodies());
    assert_eq!(in_flight(), 0);
    // Read to its end.
    drop(call_with(&mut service, &[Step::Data("a"), Step::Data("b")]).done());
    let body = stage.bodies().pop().expect("one");
    let mut body = body.downcast::<LeasedBody<Script>>().expect("it is ours");
    assert!(next_frame(&mut *body).is_ready());
    assert_eq!(in_flight(), 1);
    assert!(next_frame(&mut *body).is_ready());
    assert_eq!(in_flight(), 0, "read to the end, though not dropped");
    // A request without a body has none to wait for.
    drop(call(&mut service).done());
    assert_eq!((in_flight(), stage.bodies().len()), (0, 1));
    // The response may be the longer one too.
    stage.answer_all(&[Step::Data("x")]);
    let response = call_with(&mut service, &[Step::Data("a")]).done();
    drop(stage.bodies());
    assert_eq!(in_flight(), 1);
    drop(response);
    assert_eq!(in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_spreads_over_instances_and_no_cap_is_exceeded() {
    let stage = Stage::default();
    let pool = pool(snapshot((1..=4).map(|n| instance(1, n, 2))));
    let mut service = pool.layer().layer(stage.worker());
    let calls: Vec<_> = (0..12).map(|_| call(&mut service)).collect();
    for number in 1..=4 {
        let to = stage.assigned().iter().filter(|id| **id == instance_id(number)).count();
        assert_eq!((to, pool.leases_of(instance_id(number))), (2, 2));
    }
    assert_eq!((stage.busy(), pool.counters().waiting), (8, 4));
    drop(calls);
    assert_eq!((pool.counters().in_flight, pool.counters().waiting), (0, 0));
}

// === snapshots ===

#[tokio::test(start_paused = true)]
async fn a_snapshot_switches_from_blue_to_green_for_newcomers_and_for_those_who_wait() {
    let stage = Stage::default();
    let pool = pool(snapshot([instance(1, 1, 1)]));
    let mut service = pool.layer().layer(stage.worker());
    let mut blue = call(&mut service);
    let mut waiting = call(&mut service);
    waiting.pends();
    pool.apply(snapshot([instance(1, 1, 1).draining(), instance(2, 2, 2)]));
    assert_eq!(waiting.woken(), 1);
    waiting.pends();
    let _newcomer = call(&mut service);
    assert_eq!(stage.assigned(), [instance_id(1), instance_id(2), instance_id(2)]);
    stage.answer(0, Ok(Script::of(&[])));
    drop(blue.done());
    let _last = call(&mut service);
    assert_eq!(stage.calls(), 3, "the slot of the draining instance is given to nobody");
}

/// A runtime of several threads, on which real time passes.
fn threads() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(4).enable_time().build().expect("a runtime")
}

#[test]
fn under_load_no_request_goes_to_an_instance_that_the_snapshot_in_force_does_not_list() {
    const GENERATIONS: u64 = if cfg!(debug_assertions) { 300 } else { 3_000 };
    const PER_SNAPSHOT: u64 = 40;
    const CLIENTS: u64 = 12;
    println!("{GENERATIONS} snapshots under {CLIENTS} clients, {PER_SNAPSHOT} requests to each");
    // Each snapshot lists three instances that no other one lists, named after it.
    let of =
        |generation: u64| snapshot((1..=3).map(|n| instance(generation, generation * 10 + n, 2)));
    // A snapshot was begun to apply, and is in force.
    let (begun, in_force) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(1)));
    let answers = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let pool = pool(of(1));
    let newest = Arc::clone(&begun);
    let inner = tower::service_fn(move |request: Request<LeasedBody<Empty<Bytes>>>| {
        let assigned = request.extensions().get::<Assignment>().expect("an assignment");
        let generation = assigned.instance.number / 10;
        let sent: &u64 = request.extensions().get().expect("what was in force when it came");
        let newest = newest.load(Ordering::SeqCst);
        assert!((*sent..=newest).contains(&generation), "{sent} <= {generation} <= {newest}");
        async move {
            tokio::task::yield_now().await;
            Ok::<_, support::Broken>(Response::new(Full::<Bytes>::from("done")))
        }
    });
    let service = pool.layer().layer(inner);
    let served = threads().block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (mut service, in_force) = (service.clone(), Arc::clone(&in_force));
            let (answers, over) = (Arc::clone(&answers), Arc::clone(&over));
            clients.spawn(async move {
                let mut served = 0_u64;
                while !over.load(Ordering::SeqCst) {
                    let mut request = Request::new(Empty::new());
                    request.extensions_mut().insert(in_force.load(Ordering::SeqCst));
                    let response = service.call(request).await.expect("no error");
                    assert_eq!(response.status(), 200);
                    served += 1;
                    answers.fetch_add(1, Ordering::SeqCst);
                    drop(response);
                    tokio::task::yield_now().await;
                }
                served
            });
        }
        for generation in 2..=GENERATIONS {
            begun.store(generation, Ordering::SeqCst);
            pool.apply(of(generation));
            in_force.store(generation, Ordering::SeqCst);
            while answers.load(Ordering::SeqCst) < generation * PER_SNAPSHOT {
                tokio::task::yield_now().await;
                // A client that panicked would be missed for ever.
                assert!(clients.try_join_next().is_none(), "a client went before the end");
            }
        }
        over.store(true, Ordering::SeqCst);
        clients.join_all().await.into_iter().sum::<u64>()
    });
    println!("{served} requests served");
    let counters = pool.counters();
    assert_eq!((counters.in_flight, counters.waiting, counters.admitted()), (0, 0, served));
    assert_eq!(counters.slots, 6);
}

// === notices ===

#[tokio::test(start_paused = true)]
async fn demand_is_told_at_once_and_once_for_each_edge() {
    let stage = Stage::default();
    let mut at_zero = Snapshot::default();
    at_zero.attainable = Attainable::Slots { count: 10, after: None };
    let pool = pool(at_zero);
    let mut service = pool.layer().layer(stage.worker());
    let mut notice = Held::new(pool.notice());
    notice.pends();
    let mut first = call(&mut service);
    assert_eq!(notice.woken(), 1, "before anything else happens");
    let Poll::Ready(Notice { demand, drained, .. }) = notice.poll() else { panic!("told") };
    let demand = demand.expect("somebody waits");
    assert_eq!((demand.cause, demand.slots, drained.len()), (DemandCause::FirstToWait, 0, 0));
    let mut second = call(&mut service);
    assert_eq!(told(&pool), None, "the edge was the first");
    // Once nobody waits the next who does is an edge again.
    pool.apply(snapshot([instance(1, 1, 2)]));
    first.pends();
    second.pends();
    let _third = call(&mut service);
    assert!(told(&pool).is_some_and(|notice| notice.demand.is_some()));
    assert_eq!(pool.counters().demands(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pool_at_zero_that_lets_nobody_wait_is_told_to_wake() {
    let mut asleep = Snapshot::default();
    asleep.attainable = Attainable::Slots { count: 1, after: Some(Duration::from_secs(3)) };
    let pool = Pool::new(QueueSettings::new(0, Duration::from_secs(60)), asleep);
    let mut service = pool.layer().layer(Stage::prompt().worker());
    let refused = call(&mut service).done();
    assert_eq!(refused.headers()["x-refusal-reason"], "queue_full");
    assert_eq!(refused.headers()["retry-after"], "3");
    let text = support::text_of(refused.into_body());
    assert!(text.contains("one is being started"), "{text}");
    assert!(told(&pool).is_some_and(|notice| notice.demand.is_some()));
    assert_eq!(call(&mut service).done().status(), 429);
    assert!(told(&pool).is_none(), "it was told");
    pool.apply(snapshot([instance(1, 1, 1)]));
    assert_eq!(call(&mut service).done().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_what_nobody_could_give_is_an_edge_of_its_own() {
    let stage = Stage::default();
    let mut blue = snapshot([instance(1, 1, 1)]);
    blue.attainable = Attainable::Slots { count: 1, after: None };
    let by_path = |head: &runner_proxy::RequestHead<'_>| match head.uri.path() {
        "/preview" => Ask::default().pinned_to(Pin::Revision(RevisionNumber::new(2))),
        _ => Ask::default(),
    };
    let refuse =
        |head: &runner_proxy::RequestHead<'_>, refusal: &_| refusal_response(head, refusal, "1");
    let pool = Pool::with(settings(), blue, by_path, refuse);
    let mut service = pool.layer().layer(stage.worker());
    let _holder = call(&mut service);
    let _first = call(&mut service);
    let cause =
        |notice: Option<Notice>| notice.and_then(|n| n.demand).map(|d| (d.cause, d.revision));
    assert_eq!(cause(told(&pool)), Some((DemandCause::FirstToWait, None)));
    let preview = || request("/preview").map(|()| Script::of(&[]));
    let _preview = service.call(preview());
    let expected = (DemandCause::NobodyCouldServe, Some(RevisionNumber::new(2)));
    assert_eq!(cause(told(&pool)), Some(expected));
    let _again = service.call(preview());
    assert_eq!(told(&pool), None);
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_nobody_took_is_kept() {
    let stage = Stage::default();
    let pool = pool(snapshot([instance(1, 1, 1)]));
    let mut service = pool.layer().layer(stage.worker());
    let _holder = call(&mut service);
    let mut impatient = Held::new(pool.notice());
    impatient.pends();
    let _waiting = call(&mut service);
    assert_eq!(impatient.woken(), 1);
    drop(impatient);
    assert!(told(&pool).is_some_and(|notice| notice.demand.is_some()));
    assert_eq!(told(&pool), None);
}

#[tokio::test(start_paused = true)]
async fn a_drained_instance_is_told_when_its_last_lease_has_ended() {
    let stage = Stage::default();
    stage.keep_handles();
    let pool = pool(snapshot([instance(1, 1, 2)]));
    let mut service = pool.layer().layer(stage.worker());
    let mut calls = [call(&mut service), call(&mut service)];
    pool.apply(snapshot([instance(1, 1, 2).draining()]));
    let mut notice = Held::new(pool.notice());
    notice.pends();
    stage.answer_all(&[]);
    calls.iter_mut().for_each(|call| drop(call.done()));
    assert_eq!(pool.leases_of(instance_id(1)), 2, "sockets hold them");
    let mut sockets = stage.handles();
    drop(sockets.pop());
    notice.pends();
    drop(sockets.pop());
    assert_eq!(notice.woken(), 1);
    let Poll::Ready(notice) = notice.poll() else { panic!("told") };
    assert_eq!(notice.drained.into_iter().collect::<Vec<_>>(), [instance_id(1)]);
    assert_eq!(notice.demand, None);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_was_removed_with_leases_is_told_too() {
    let stage = Stage::default();
    let pool = pool(snapshot([instance(1, 1, 1)]));
    let one = call(&mut pool.layer().layer(stage.worker()));
    pool.apply(snapshot([instance(1, 2, 1)]));
    assert_eq!((pool.leases_of(instance_id(1)), told(&pool)), (1, None));
    drop(one);
    assert!(told(&pool).is_some_and(|notice| notice.drained.contains(&instance_id(1))));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_takes_requests_again_is_not_told_as_drained() {
    let stage = Stage::default();
    let pool = pool(snapshot([instance(1, 1, 1), instance(1, 2, 1)]));
    let mut service = pool.layer().layer(stage.worker());
    let both = [call(&mut service), call(&mut service)];
    pool.apply(snapshot([instance(1, 1, 1).draining(), instance(1, 2, 1).draining()]));
    drop(both);
    // Nobody has asked yet, and one of them is needed after all.
    pool.apply(snapshot([instance(1, 1, 1), instance(1, 2, 1).draining()]));
    let notice = told(&pool).expect("the other is drained");
    assert_eq!(notice.drained.into_iter().collect::<Vec<_>>(), [instance_id(2)]);
}

// === scaling in ===

#[tokio::test(start_paused = true)]
async fn the_victim_has_the_fewest_leases_and_upgraded_connections_go_last() {
    let stage = Stage::default();
    stage.keep_handles();
    let pool = pool(snapshot([instance(1, 1, 4), instance(1, 2, 4), instance(2, 3, 4)]));
    let mut service = pool.layer().layer(stage.worker());
    let calls: Vec<_> = (0..4).map(|_| call(&mut service)).collect();
    assert_eq!(stage.assigned().iter().map(|id| id.number).collect::<Vec<_>>(), [1, 2, 3, 1]);
    // Of two with as many the newer one.
    assert_eq!(pool.victim(None), Some(instance_id(3)));
    assert_eq!(pool.victim(Some(RevisionNumber::FIRST)), Some(instance_id(2)));
    let sockets = stage.handles();
    sockets[1].mark_upgraded();
    sockets[2].mark_upgraded();
    assert_eq!(pool.victim(None), Some(instance_id(1)), "more leases, but none of them upgraded");
    sockets[2].mark_upgraded();
    drop((sockets, calls));
    assert_eq!(pool.victim(None), Some(instance_id(3)), "what was upgraded has ended");
    assert_eq!(pool.victim(Some(RevisionNumber::new(9))), None);
}

#[tokio::test(start_paused = true)]
async fn settings_change_under_way_and_who_waits_keeps_its_time() {
    let stage = Stage::default();
    let pool = pool(snapshot([instance(1, 1, 1)]));
    let mut service = pool.layer().layer(stage.worker());
    let _holder = call(&mut service);
    let mut waiting = call(&mut service);
    pool.configure(QueueSettings::new(1, Duration::from_millis(10)));
    assert_eq!(call(&mut service).done().status(), 429);
    waiting.pends();
    tokio::time::advance(Duration::from_secs(59)).await;
    waiting.pends();
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(waiting.done().status(), 503);
    assert_eq!(pool.counters().refused(Reason::WaitedTooLong), 1);
}

#[tokio::test(start_paused = true)]
async fn a_ramp_rises_as_it_is_ticked() {
    let stage = Stage::default();
    let pool = pool(Snapshot::default());
    let ramp = runner_core::admission::Ramp { since: pool.now(), over: Duration::from_secs(100) };
    pool.apply(snapshot([instance(1, 1, 10).ramping(ramp)]));
    let mut service = pool.layer().layer(stage.worker());
    let mut calls: Vec<_> = (0..20).map(|_| call(&mut service)).collect();
    for step in 1..=10 {
        tokio::time::advance(Duration::from_secs(10)).await;
        pool.tick();
        calls.iter_mut().filter(|call| call.woken() > 0).for_each(Held::pends);
        assert_eq!(pool.counters().slots, step);
        assert!(u64::from(stage.most()) <= step);
    }
}
