//! One service at a hundred instances of two hundred requests each, in process: what holds for
//! one request holds for twenty thousand in flight and as many waiting.
//!
//! `ADMISSION_SCALE_ROUNDS` sets how often every slot changes hands. Unset it is 1 in a debug
//! build and 20 in a release build.

mod support;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Condvar, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use runner_core::admission::{QueueSettings, Snapshot};
use runner_proxy::{
    pool::{Assignment, Pool, PoolFuture, PoolQueue},
    queue::{LeasedBody, ResponseBody},
};
use support::{Broken, instance, snapshot};
use tower::layer::Layer;
use tower_service::Service;

const INSTANCES: u32 = 100;
const CAP: u32 = 200;
const SLOTS: u32 = INSTANCES * CAP;
const THREADS: u32 = 4;

/// Counts how many each instance works on; answers at once with a body that holds the slot.
#[derive(Clone)]
struct Fleet(Arc<Vec<Load>>);

#[derive(Default)]
struct Load {
    busy: AtomicU32,
    served: AtomicU64,
}

impl Service<Request<LeasedBody<Empty<Bytes>>>> for Fleet {
    type Response = Response<Counted>;
    type Error = Broken;
    type Future = std::future::Ready<Result<Response<Counted>, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<LeasedBody<Empty<Bytes>>>) -> Self::Future {
        let assigned = request.extensions().get::<Assignment>().expect("an assignment");
        let index = assigned.instance.number as usize - 1;
        let busy = self.0[index].busy.fetch_add(1, Ordering::SeqCst);
        assert!(busy < CAP, "instance {index} works on {} at once", busy + 1);
        let body = Full::from("served");
        std::future::ready(Ok(Response::new(Counted { body, fleet: self.clone(), index })))
    }
}

/// A body whose end is counted before the lease's: it is dropped first.
struct Counted {
    body: Full<Bytes>,
    fleet: Fleet,
    index: usize,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let load = &self.fleet.0[self.index];
        load.busy.fetch_sub(1, Ordering::SeqCst);
        load.served.fetch_add(1, Ordering::SeqCst);
    }
}

type Call = Pin<Box<PoolFuture<Fleet, Empty<Bytes>>>>;
type Answer = Response<ResponseBody<Counted>>;

/// One thread's clients: those who are answered and read slowly, and those who wait.
struct Clients {
    service: PoolQueue<Fleet>,
    answered: VecDeque<Answer>,
    waiting: Vec<Option<Call>>,
    waiters: usize,
    wakes: (Sender<usize>, Receiver<usize>),
}

struct Bell(usize, Sender<usize>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // A thread that has finished is woken for nothing.
        let _ = self.1.send(self.0);
    }
}

impl Clients {
    fn new(service: PoolQueue<Fleet>) -> Self {
        let (answered, waiting) = (VecDeque::new(), Vec::new());
        Self { service, answered, waiting, waiters: 0, wakes: channel() }
    }

    fn arrive(&mut self) {
        let call = Box::pin(self.service.call(Request::new(Empty::new())));
        self.waiting.push(Some(call));
        self.waiters += 1;
        self.poll(self.waiting.len() - 1);
    }

    fn poll(&mut self, index: usize) {
        let Some(call) = &mut self.waiting[index] else { return };
        let waker = Waker::from(Arc::new(Bell(index, self.wakes.0.clone())));
        if let Poll::Ready(answer) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
            let answer = answer.expect("no error");
            assert_eq!(answer.status(), 200);
            self.waiting[index] = None;
            self.waiters -= 1;
            self.answered.push_back(answer);
        }
    }

    fn poll_woken(&mut self) {
        while let Ok(index) = self.wakes.1.try_recv() {
            self.poll(index);
        }
    }
}

fn all(draining: Option<u32>) -> Snapshot {
    snapshot((0..INSTANCES).map(|n| {
        let one = instance(1, u64::from(n) + 1, CAP);
        if draining == Some(n) { one.draining() } else { one }
    }))
}

/// A barrier that knows when one of those it waits for will not come: an assertion that fails ends
/// the test, where the standard one would hold it up for ever.
#[derive(Default)]
struct Meeting {
    #[expect(clippy::disallowed_types, reason = "guards two numbers of a test")]
    arrived: std::sync::Mutex<(u32, bool)>,
    told: Condvar,
}

/// One of those who meet. One that panics lets the others know.
struct Member<'a>(&'a Meeting);

impl Member<'_> {
    fn wait(&self) {
        let Meeting { arrived, told } = self.0;
        let mut state = arrived.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        let all = state.0.next_multiple_of(THREADS + 1);
        told.notify_all();
        while state.0 < all && !state.1 {
            state = told.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let is_broken = state.1;
        drop(state);
        assert!(!is_broken, "another one has failed");
    }

    fn is_broken(&self) -> bool {
        self.0.arrived.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.arrived.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
            self.0.told.notify_all();
        }
    }
}

#[test]
fn the_invariants_hold_at_twenty_thousand_in_flight_and_as_many_waiting() {
    let set = std::env::var("ADMISSION_SCALE_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds: u32 = set.unwrap_or(if cfg!(debug_assertions) { 1 } else { 20 });
    println!("{INSTANCES} instances x {CAP}, {SLOTS} waiting, {THREADS} threads, {rounds} rounds");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let pool = Pool::new(QueueSettings::new(SLOTS, Duration::from_secs(3_600)), all(None));
    let fleet = Fleet(Arc::new((0..INSTANCES).map(|_| Load::default()).collect()));
    let service = pool.layer().layer(fleet.clone());
    let meeting = Meeting::default();
    let (going, pool) = (AtomicU32::new(THREADS), &pool);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (service, meeting, going) = (service.clone(), &meeting, &going);
            let timers = runtime.handle().clone();
            scope.spawn(move || {
                let (_timers, barrier) = (timers.enter(), Member(meeting));
                let mut clients = Clients::new(service);
                (0..SLOTS / THREADS).for_each(|_| clients.arrive());
                assert_eq!(clients.waiters, 0, "there was a slot for everybody");
                barrier.wait();
                barrier.wait();
                (0..SLOTS / THREADS).for_each(|_| clients.arrive());
                barrier.wait();
                barrier.wait();
                change_hands(&mut clients, rounds * SLOTS / THREADS);
                going.fetch_sub(1, Ordering::SeqCst);
                // Whoever still waits does so for slots that other threads hold.
                clients.answered.clear();
                while clients.waiters > 0 {
                    let woken = clients.wakes.1.recv_timeout(Duration::from_millis(100));
                    woken.into_iter().for_each(|index| clients.poll(index));
                    assert!(!barrier.is_broken(), "another one has failed");
                    clients.answered.clear();
                }
            });
        }
        let barrier = Member(&meeting);
        barrier.wait();
        let counters = pool.counters();
        assert_eq!((counters.in_flight, counters.waiting), (u64::from(SLOTS), 0));
        for (index, load) in fleet.0.iter().enumerate() {
            assert_eq!(load.busy.load(Ordering::SeqCst), CAP, "instance {index}");
        }
        barrier.wait();
        barrier.wait();
        let counters = pool.counters();
        assert_eq!((counters.in_flight, counters.waiting), (u64::from(SLOTS), SLOTS));
        barrier.wait();
        // Instances drain and come back while every slot changes hands.
        let mut draining = 0;
        while going.load(Ordering::SeqCst) > 0 {
            pool.apply(all(Some(draining % INSTANCES)));
            draining += 1;
            let counters = pool.counters();
            assert!(counters.in_flight <= u64::from(SLOTS) && counters.waiting <= SLOTS);
            assert_eq!(counters.admitted() - counters.releases(), counters.in_flight);
            assert!(!barrier.is_broken(), "another one has failed");
            thread::yield_now();
        }
        pool.apply(all(None));
        println!("{draining} snapshots applied under way");
    });
    let counters = pool.counters();
    let served: u64 = fleet.0.iter().map(|load| load.served.load(Ordering::SeqCst)).sum();
    assert_eq!((counters.in_flight, counters.waiting), (0, 0));
    assert_eq!(
        (counters.admitted(), counters.releases(), counters.arrivals()),
        (served, served, served)
    );
    println!("{served} served");
}

/// So often: one is done, whoever was woken is answered, and another comes.
fn change_hands(clients: &mut Clients, times: u32) {
    for _ in 0..times {
        drop(clients.answered.pop_front());
        clients.poll_woken();
        if clients.waiters < (SLOTS / THREADS) as usize {
            clients.arrive();
        }
    }
}
