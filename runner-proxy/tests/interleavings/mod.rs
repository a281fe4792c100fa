//! Scenes of few threads over the real layer and the real pool, for searches of interleavings:
//! the same for loom, which tries all there are, and for shuttle, which tries many.
//!
//! A waker that is lost ends a scene in a deadlock, which both searches report. A lease that is
//! lost, or a count, is found when all threads are done.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Empty;
#[cfg(runner_loom)]
use loom::{future::block_on, thread};
use runner_core::{
    address::Address,
    admission::{Instance, QueueSettings, Reason, Snapshot},
    id::{InstanceId, RevisionNumber, ServiceId},
};
use runner_proxy::{
    OverflowQueue, OverflowQueueLayer, QueueCounters,
    pool::{Assignment, Pool, PoolQueue},
    queue::ResponseBody,
};
#[cfg(runner_shuttle)]
use shuttle::{future::block_on, thread};
use tower::layer::Layer;
use tower_service::Service;

/// Counts who is worked on. Its counters are of no search: it is what is searched that is bound
/// to keep them right, and a switch of threads inside them would only be one more to try.
#[derive(Clone)]
pub(crate) struct Inner(Arc<Counts>);

struct Counts {
    /// Of each instance; of the service itself where there are none.
    busy: [AtomicU32; INSTANCES],
    /// The most that each may be worked on at once.
    limits: [u32; INSTANCES],
    served: AtomicU32,
}

const INSTANCES: usize = 3;

impl Inner {
    fn new(limits: [u32; INSTANCES]) -> Self {
        Self(Arc::new(Counts { busy: Default::default(), limits, served: AtomicU32::new(0) }))
    }

    fn served(&self) -> u32 {
        self.0.served.load(Ordering::SeqCst)
    }
}

impl<B> Service<Request<B>> for Inner {
    type Response = Response<Busy>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Busy>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let assigned = request.extensions().get::<Assignment>();
        let index = assigned.map_or(0, |assigned| assigned.instance.number as usize);
        let before = self.0.busy[index].fetch_add(1, Ordering::SeqCst);
        assert!(before < self.0.limits[index], "cap of {index} exceeded: {}", before + 1);
        std::future::ready(Ok(Response::new(Busy { inner: self.clone(), index })))
    }
}

/// A body that is worked on until it is dropped.
pub(crate) struct Busy {
    inner: Inner,
    index: usize,
}

impl Body for Busy {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.inner.0.busy[self.index].fetch_sub(1, Ordering::SeqCst);
        self.inner.0.served.fetch_add(1, Ordering::SeqCst);
    }
}

type Answer = Response<ResponseBody<Busy>>;
type Asked = Request<Empty<Bytes>>;

/// Either form.
pub(crate) trait Queue: Clone + 'static {
    type Future: Future<Output = Result<Answer, Infallible>>;
    fn call(&mut self) -> Self::Future;
}

impl Queue for OverflowQueue<Inner> {
    type Future = <Self as Service<Asked>>::Future;

    fn call(&mut self) -> Self::Future {
        Service::call(self, Request::new(Empty::new()))
    }
}

impl Queue for PoolQueue<Inner> {
    type Future = <Self as Service<Asked>>::Future;

    fn call(&mut self) -> Self::Future {
        Service::call(self, Request::new(Empty::new()))
    }
}

/// Is answered, reads the answer, and is gone. Says whether it was served.
fn visits<Q: Queue>(mut queue: Q) -> bool {
    let answer = block_on(queue.call()).expect("it cannot fail");
    answer.status() == 200
}

/// Asks, looks once, and is gone whatever came of it.
fn looks_in<Q: Queue>(mut queue: Q) {
    let mut call = Box::pin(queue.call());
    let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

/// Nobody is left, all was counted, and whoever comes next is served at once.
fn is_at_rest<Q: Queue>(mut queue: Q, arrived: u64, counters: impl Fn() -> QueueCounters) {
    let now = counters();
    assert_eq!((now.in_flight, now.waiting), (0, 0), "{now:?}");
    assert_eq!((now.arrivals(), now.admitted()), (arrived, now.releases()), "{now:?}");
    let mut next = Box::pin(queue.call());
    let next = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(next, Poll::Ready(Ok(answer)) if answer.status() == 200), "a slot was lost");
}

fn alone(
    cap: u32,
    limit: u32,
    max_wait: Duration,
) -> (OverflowQueueLayer, OverflowQueue<Inner>, Inner) {
    let layer = OverflowQueueLayer::builder().concurrency(cap).max_wait(max_wait).build();
    let layer = layer.expect("a valid queue");
    let inner = Inner::new([limit; INSTANCES]);
    let service = layer.layer(inner.clone());
    (layer, service, inner)
}

pub(crate) const LONG: Duration = Duration::from_secs(3_600);
/// Over before anybody has looked.
pub(crate) const NO_TIME: Duration = Duration::from_nanos(1);

// === the word ===

/// So many callers for so few slots.
pub(crate) fn callers_share_a_cap(callers: u64, cap: u32, visits_each: u64) {
    let (layer, service, inner) = alone(cap, cap, LONG);
    let threads: Vec<_> = (0..callers)
        .map(|_| {
            let service = service.clone();
            thread::spawn(move || (0..visits_each).for_each(|_| assert!(visits(service.clone()))))
        })
        .collect();
    threads.into_iter().for_each(|one| one.join().expect("no panic"));
    assert_eq!(u64::from(inner.served()), callers * visits_each);
    is_at_rest(service, callers * visits_each, || layer.counters());
}

/// Two callers, and one who is gone as soon as it has looked.
pub(crate) fn one_leaves_while_two_call() {
    let (layer, service, _) = alone(1, 1, LONG);
    let caller = service.clone();
    let caller = thread::spawn(move || assert!(visits(caller)));
    let leaver = service.clone();
    let leaver = thread::spawn(move || looks_in(leaver));
    assert!(visits(service.clone()));
    caller.join().expect("no panic");
    leaver.join().expect("no panic");
    is_at_rest(service, 3, || layer.counters());
}

/// Two callers, one change of the cap, and one who leaves.
pub(crate) fn the_cap_changes_while_two_call(from: u32, to: u32, one_leaves: bool) {
    let (layer, service, _) = alone(from, from.max(to), LONG);
    let callers = [service.clone(), service.clone()];
    let callers = callers.map(|one| thread::spawn(move || assert!(visits(one))));
    let changer = layer.clone();
    let changer = thread::spawn(move || changer.set_concurrency(to).expect("a valid cap"));
    if one_leaves {
        looks_in(service.clone());
    }
    callers.into_iter().for_each(|one| one.join().expect("no panic"));
    changer.join().expect("no panic");
    assert_eq!(layer.counters().slots, u64::from(to));
    is_at_rest(service, 2 + u64::from(one_leaves), || layer.counters());
}

/// Whoever waits has no time, so the end of each wait races with the slot that comes free.
pub(crate) fn waits_end_as_slots_come_free() {
    let (layer, service, inner) = alone(1, 1, NO_TIME);
    let caller = service.clone();
    let caller = thread::spawn(move || visits(caller));
    let served = u64::from(visits(service.clone())) + u64::from(caller.join().expect("no panic"));
    let counters = layer.counters();
    assert_eq!(u64::from(inner.served()), served);
    let late = counters.refused(Reason::WaitedTooLong) + counters.refused(Reason::WouldWaitTooLong);
    assert_eq!(served + late, 2);
    is_at_rest(service, 2, || layer.counters());
}

/// Somebody reads the counters while others call: at no moment do they fail to add up.
pub(crate) fn counters_are_read_while_two_call() {
    let (layer, service, _) = alone(1, 1, LONG);
    let caller = service.clone();
    let caller = thread::spawn(move || assert!(visits(caller)));
    let reader = layer.clone();
    let reader = thread::spawn(move || {
        let now = reader.counters();
        assert!(now.in_flight <= 1 && now.arrivals() <= 2, "{now:?}");
        assert_eq!(now.admitted() - now.releases(), now.in_flight);
    });
    assert!(visits(service.clone()));
    caller.join().expect("no panic");
    reader.join().expect("no panic");
    is_at_rest(service, 2, || layer.counters());
}

// === the pool ===

fn one_instance(number: u64, cap: u32) -> Snapshot {
    let address = Address::Memory("inner".into());
    let mut snapshot = Snapshot::default();
    snapshot.instances =
        vec![Instance::new(instance_id(number), address, RevisionNumber::FIRST, cap)];
    snapshot
}

fn instance_id(number: u64) -> InstanceId {
    ServiceId::from_random(1).instance(number)
}

fn pooled() -> (Pool, PoolQueue<Inner>, Inner) {
    let pool = Pool::new(QueueSettings::new(100, LONG), one_instance(1, 1));
    let inner = Inner::new([0, 1, 1]);
    let service = pool.layer().layer(inner.clone());
    (pool, service, inner)
}

/// Two callers while the instance is replaced by another, and one who leaves. The one that was
/// replaced is told as drained if it had a lease then.
pub(crate) fn blue_becomes_green_while_two_call(one_leaves: bool) {
    let (pool, service, inner) = pooled();
    let callers = [service.clone(), service.clone()];
    let callers = callers.map(|one| thread::spawn(move || assert!(visits(one))));
    let control = pool.clone();
    let control = thread::spawn(move || {
        control.apply(one_instance(2, 1));
        control.leases_of(instance_id(1))
    });
    if one_leaves {
        looks_in(service.clone());
    }
    callers.into_iter().for_each(|one| one.join().expect("no panic"));
    let was_busy = control.join().expect("no panic") > 0;
    assert!((2..=2 + u32::from(one_leaves)).contains(&inner.served()));
    let counters = pool.counters();
    if was_busy || counters.demands() > 0 {
        let mut notice = Box::pin(pool.notice());
        let notice = notice.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(notice) = notice else { panic!("a notice was lost") };
        assert!(!was_busy || notice.drained.contains(&instance_id(1)), "a drain was lost");
        assert_eq!(notice.demand.is_some(), counters.demands() > 0, "a demand was lost");
    }
    is_at_rest(service, 2 + u64::from(one_leaves), || pool.counters());
}

/// Somebody waits for a notice while the only slot is fought over.
pub(crate) fn demand_reaches_whoever_waits_for_it() {
    let (pool, service, _) = pooled();
    pool.apply(Snapshot::default());
    let mut nothing = Snapshot::default();
    nothing.attainable = runner_core::admission::Attainable::Slots { count: 1, after: None };
    pool.apply(nothing);
    let control = pool.clone();
    let control = thread::spawn(move || {
        // At zero: nothing is served before somebody acts on the demand.
        let notice = block_on(control.notice());
        assert!(notice.demand.is_some());
        control.apply(one_instance(2, 1));
    });
    assert!(visits(service.clone()));
    control.join().expect("no panic");
    is_at_rest(service, 1, || pool.counters());
}

// === more than can be searched whole ===

/// Callers that come again, some that leave, and a cap that falls and rises under them.
#[cfg(runner_shuttle)]
pub(crate) fn many_come_and_go() {
    let (layer, service, _) = alone(2, 3, LONG);
    let mut threads = Vec::new();
    for _ in 0..4 {
        let service = service.clone();
        threads.push(thread::spawn(move || (0..2).for_each(|_| assert!(visits(service.clone())))));
    }
    for _ in 0..2 {
        let service = service.clone();
        threads.push(thread::spawn(move || (0..2).for_each(|_| looks_in(service.clone()))));
    }
    let changer = layer.clone();
    threads.push(thread::spawn(move || {
        for cap in [1, 3] {
            changer.set_concurrency(cap).expect("a valid cap");
            let now = changer.counters();
            assert_eq!((now.admitted() - now.releases(), now.slots), (now.in_flight, cap.into()));
        }
    }));
    threads.into_iter().for_each(|one| one.join().expect("no panic"));
    is_at_rest(service, 12, || layer.counters());
}

/// The same over a pool whose instance is replaced, taken away and given back.
#[cfg(runner_shuttle)]
pub(crate) fn the_pool_changes_while_many_come_and_go() {
    let (pool, service, _) = pooled();
    let mut threads = Vec::new();
    for _ in 0..4 {
        let service = service.clone();
        threads.push(thread::spawn(move || (0..2).for_each(|_| assert!(visits(service.clone())))));
    }
    for _ in 0..2 {
        let service = service.clone();
        threads.push(thread::spawn(move || (0..2).for_each(|_| looks_in(service.clone()))));
    }
    let control = pool.clone();
    threads.push(thread::spawn(move || {
        control.apply(one_instance(2, 1));
        let mut nothing = Snapshot::default();
        nothing.attainable = runner_core::admission::Attainable::Slots { count: 1, after: None };
        control.apply(nothing);
        control.tick();
        control.apply(one_instance(1, 1));
    }));
    threads.into_iter().for_each(|one| one.join().expect("no panic"));
    is_at_rest(service, 12, || pool.counters());
}
