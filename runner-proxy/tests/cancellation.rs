//! Requests that are dropped at every point of their way, and nothing that leaks.
//!
//! `CANCELLATION_RUNS` sets how many random histories each form goes through. Unset it is 1,000 in
//! a debug build and 100,000 in a release build.

mod support;

use std::{
    convert::Infallible,
    io,
    sync::atomic::{AtomicU32, Ordering},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use runner_core::{address::Address, admission::QueueSettings};
use runner_proxy::{
    OverflowQueue, OverflowQueueLayer, QueueCounters,
    forward::{Connect, Forward, ForwardBody, Memory},
    pool::{Pool, PoolFuture, PoolQueue},
    queue::ResponseBody,
};
use support::{
    Broken, Held, Random, Script, Stage, Step, Worker, instance, next_frame, request, snapshot,
};
use tower::layer::Layer;
use tower_service::Service;

/// Either form of the queue, over the same inner service.
trait Form {
    type Service: Service<Request<Script>, Response = Response<ResponseBody<Script>>, Error = Broken>
        + Clone;

    /// A queue of so many slots.
    fn new(stage: &Stage, cap: u32) -> (Self, Self::Service)
    where
        Self: Sized;
    fn counters(&self) -> QueueCounters;
    fn set_cap(&self, cap: u32);
}

struct Alone(OverflowQueueLayer);

impl Form for Alone {
    type Service = OverflowQueue<Worker>;

    fn new(stage: &Stage, cap: u32) -> (Self, Self::Service) {
        let builder = OverflowQueueLayer::builder().concurrency(cap).max_wait(MAX_WAIT);
        let layer = builder.max_waiting(MAX_WAITING).build().expect("a valid queue");
        let service = layer.layer(stage.worker());
        (Self(layer), service)
    }

    fn counters(&self) -> QueueCounters {
        self.0.counters()
    }

    fn set_cap(&self, cap: u32) {
        self.0.set_concurrency(cap).expect("a valid cap");
    }
}

struct Pooled(Pool);

impl Form for Pooled {
    type Service = PoolQueue<Worker>;

    fn new(stage: &Stage, cap: u32) -> (Self, Self::Service) {
        let pool =
            Pool::new(QueueSettings::new(MAX_WAITING, MAX_WAIT), snapshot([instance(1, 1, cap)]));
        let service = pool.layer().layer(stage.worker());
        (Self(pool), service)
    }

    fn counters(&self) -> QueueCounters {
        self.0.counters()
    }

    fn set_cap(&self, cap: u32) {
        // Each cap is that of another instance, so that leases outlive what they were taken from.
        self.0.apply(snapshot([instance(1, u64::from(cap), cap)]));
    }
}

const MAX_WAIT: Duration = Duration::from_secs(5);
const MAX_WAITING: u32 = 6;

type FutureOf<F> = <<F as Form>::Service as Service<Request<Script>>>::Future;

/// A request, as far as it has come.
struct Traveller<F: Form> {
    future: Held<FutureOf<F>>,
    answered: bool,
    response: Option<Response<ResponseBody<Script>>>,
}

impl<F: Form> Traveller<F> {
    fn depart(service: &mut F::Service, body: &[Step]) -> Self {
        let future = service.call(request("/").map(|()| Script::of(body)));
        Self { future: Held::new(future), answered: false, response: None }
    }

    /// One poll of the future, or of the body once there is one.
    fn step(&mut self) {
        if let Some(response) = &mut self.response {
            let _ = next_frame(response.body_mut());
        } else if !self.answered
            && let Poll::Ready(outcome) = self.future.poll()
        {
            // The future stays, done: it goes when the traveller does, before or after the body.
            self.answered = true;
            self.response = outcome.ok();
        }
    }

    fn is_served(&self) -> bool {
        self.response.as_ref().is_some_and(|response| response.status() == 200)
    }
}

/// One thing that happens to a traveller.
type Move<'a, F> = Box<dyn FnMut(&mut Traveller<F>) + 'a>;

/// Nobody waits, nobody is in flight, every count adds up, and whoever comes next is served.
fn finds_nothing_leaked<F: Form>(queue: &F, stage: &Stage, service: &mut F::Service, arrived: u64) {
    let counters = queue.counters();
    assert_eq!((counters.in_flight, counters.waiting, stage.busy()), (0, 0, 0), "{counters:?}");
    assert_eq!(counters.arrivals(), arrived);
    assert_eq!(counters.admitted(), counters.releases());
    stage.become_prompt();
    let mut next = Traveller::<F>::depart(&mut service.clone(), &[]);
    next.step();
    assert!(next.is_served(), "whoever comes next is not served");
    drop(next);
    assert_eq!(queue.counters().in_flight, 0);
}

/// The longest way there is: waiting, granted and not collected, readying, calling, and a body.
/// Before its `stop`-th step the traveller vanishes. Says whether it was at its end before.
fn travel<F: Form>(stop: usize, body_first: bool) -> bool {
    let stage = Stage::default();
    stage.pend(2);
    let frames = [Step::Data("a"), Step::Pending, Step::Data("b"), Step::Trailers];
    let (queue, mut service) = F::new(&stage, 1);
    let mut holder = Traveller::<F>::depart(&mut service, &[]);
    (0..3).for_each(|_| holder.step());
    let mut holder = Some(holder);
    let mut traveller = Traveller::<F>::depart(&mut service, &[Step::Data("x")]);
    let mut behind = Traveller::<F>::depart(&mut service, &[]);
    behind.step();
    let mut steps: Vec<Move<'_, F>> = vec![
        Box::new(|one| one.step()),
        Box::new(|one| one.step()),
        Box::new(move |_| drop(holder.take())),
        Box::new(|one| one.step()),
        Box::new(|one| one.step()),
        Box::new(|one| one.step()),
        Box::new(|one| one.step()),
    ];
    let answering = stage.clone();
    steps.push(Box::new(move |_| answering.answer(1, Ok(Script::of(&frames)))));
    steps.extend((0..=frames.len() + 1).map(|_| Box::new(Traveller::step) as Move<'_, F>));
    let ended = stop >= steps.len();
    steps.iter_mut().take(stop).for_each(|step| step(&mut traveller));
    assert_eq!(ended && traveller.is_served(), ended, "the way leads to a response");
    if body_first {
        drop(traveller.response.take());
    }
    drop(traveller);
    drop(steps);
    // The one behind has the queue to itself now.
    stage.answer_all(&[]);
    for _ in 0..5 {
        behind.step();
    }
    assert!(behind.is_served(), "stopped at {stop}: whoever was behind is not served");
    drop(behind);
    finds_nothing_leaked(&queue, &stage, &mut service, 3);
    ended
}

#[tokio::test(start_paused = true)]
async fn a_request_that_vanishes_at_any_poll_or_frame_leaves_nothing_behind() {
    for body_first in [false, true] {
        let alone = (0..).take_while(|&stop| !travel::<Alone>(stop, body_first)).count();
        let pooled = (0..).take_while(|&stop| !travel::<Pooled>(stop, body_first)).count();
        println!("vanished at each of {alone} points alone, of {pooled} in a pool");
        assert!(alone >= 14 && alone == pooled, "{alone} {pooled}");
    }
}

// === the way back into the queue ===

/// Instances of which the first so many connections fail, each after a moment.
struct Unsteady {
    memory: Memory,
    failures: AtomicU32,
}

impl Connect for Unsteady {
    type Stream = <Memory as Connect>::Stream;

    async fn connect(&self, address: &Address) -> io::Result<Self::Stream> {
        tokio::task::yield_now().await;
        let fails = |left: u32| left.checked_sub(1);
        match self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails) {
            Ok(_) => Err(io::ErrorKind::ConnectionRefused.into()),
            Err(_) => self.memory.connect(address).await,
        }
    }
}

/// A request that is forwarded, as far as it has come.
struct Forwarded {
    future: Held<PoolFuture<Forward<Unsteady>, Full<Bytes>>>,
    response: Option<Response<ResponseBody<ForwardBody>>>,
}

impl Forwarded {
    fn depart(service: &mut PoolQueue<Forward<Unsteady>>) -> Self {
        let request = Request::post("http://a/").body(Full::from("a body")).expect("a request");
        Self { future: Held::new(service.call(request)), response: None }
    }

    fn step(&mut self) {
        match &mut self.response {
            Some(response) => drop(next_frame(response.body_mut())),
            None => {
                if let Poll::Ready(Ok(response)) = self.future.poll() {
                    assert_eq!(response.status(), 200);
                    self.response = Some(response);
                }
            }
        }
    }
}

/// A request whose instance cannot be reached at first: it gives its slot back to one that waits,
/// waits before another, is given a slot again, pauses, and is answered.
/// Before its `stop`-th step it vanishes. Says whether it was at its end before.
#[expect(clippy::disallowed_methods, reason = "a test runs the connections of its forwarding")]
async fn come_back(stop: usize) -> bool {
    let memory = Memory::new();
    let answer = async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("answer")));
    memory.serve("i1", tower::service_fn(answer));
    let unsteady = Unsteady { memory, failures: AtomicU32::new(1) };
    let (forward, connections) = Forward::builder(unsteady).build();
    let connections = tokio::spawn(connections.run());
    let pool = Pool::new(QueueSettings::new(MAX_WAITING, MAX_WAIT), snapshot([instance(1, 1, 1)]));
    let mut service = pool.layer().layer(forward);
    let mut traveller = Forwarded::depart(&mut service);
    let mut behind = Some(Forwarded::depart(&mut service));
    let mut last = Forwarded::depart(&mut service);
    last.step();
    let in_queue = |pool: &Pool| (pool.counters().in_flight, pool.counters().waiting);
    let mut ended = true;
    for step in 0.. {
        if step == stop {
            ended = false;
            break;
        }
        match step {
            // It has connected, and failed: whoever waits has its slot.
            2 => assert_eq!(in_queue(&pool), (1, 2)),
            // The one with the slot vanishes without having looked: it goes to who came back.
            4 => drop(behind.take()),
            5 => assert!(traveller.future.woken() > 0),
            // It pauses, with the slot that it was given before the other who waits.
            7 => assert_eq!(in_queue(&pool), (1, 1)),
            8 => tokio::time::advance(Duration::from_millis(50)).await,
            _ if traveller.response.as_ref().is_some_and(http_body_ended) => break,
            _ => traveller.step(),
        }
        assert!(step < 50, "it is answered at some time");
    }
    drop(traveller);
    drop(behind);
    for _ in 0..30 {
        last.step();
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    assert!(last.response.is_some(), "stopped at {stop}: whoever was behind is not served");
    drop(last);
    let counters = pool.counters();
    assert_eq!((counters.in_flight, counters.waiting), (0, 0), "stopped at {stop}: {counters:?}");
    assert_eq!(counters.admitted(), counters.releases(), "stopped at {stop}");
    drop(service);
    connections.await.expect("it ends with the last request");
    ended
}

fn http_body_ended<B: http_body::Body>(response: &Response<B>) -> bool {
    response.body().is_end_stream()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_vanishes_on_its_way_back_into_the_queue_leaves_nothing_behind() {
    let mut stop = 0;
    while !come_back(stop).await {
        stop += 1;
    }
    println!("vanished at each of {stop} points");
    assert!(stop >= 12, "{stop}");
}

/// Requests that come, go on, vanish, are answered, are broken and time out in a random order.
async fn random_history<F: Form>(seed: u64) {
    let mut random = Random(seed);
    let stage = Stage::default();
    stage.pend(random.below(3) as u32);
    let (queue, mut service) = F::new(&stage, 1 + random.below(3) as u32);
    let mut travellers: Vec<Traveller<F>> = Vec::new();
    let mut arrived = 0;
    for _ in 0..60 {
        let which = random.below(travellers.len().max(1) as u64) as usize;
        match random.below(12) {
            0..=2 => {
                arrived += 1;
                let body = [&[][..], &[Step::Data("x")]][random.below(2) as usize];
                travellers.push(Traveller::depart(&mut service, body));
            }
            3..=5 if !travellers.is_empty() => travellers[which].step(),
            6 if !travellers.is_empty() => drop(travellers.swap_remove(which)),
            7 if !travellers.is_empty() => drop(travellers[which].response.take()),
            8 => {
                let call = random.below(u64::from(stage.calls()) + 1) as u32;
                let frames = [Step::Data("a"), Step::Pending, Step::Fails, Step::Trailers];
                let (from, to) = (random.below(4) as usize, random.below(5) as usize);
                stage.answer(
                    call,
                    match random.below(5) {
                        0 => Err(Broken("the call")),
                        _ => Ok(Script::of(&frames[from.min(to)..to])),
                    },
                );
            }
            9 => tokio::time::advance(Duration::from_millis(random.below(2_000))).await,
            10 => queue.set_cap(1 + random.below(3) as u32),
            11 if random.below(2) == 0 => stage.shut(),
            _ => stage.open(),
        }
        let counters = queue.counters();
        let ended = counters.admitted() + counters.left() + counters.refused_in_all();
        assert_eq!(ended + u64::from(counters.waiting), arrived, "seed {seed}");
        assert_eq!(counters.admitted() - counters.releases(), counters.in_flight, "seed {seed}");
        assert!(counters.waiting == 0 || counters.in_flight >= counters.slots, "seed {seed}");
        assert!(u64::from(stage.busy()) <= counters.in_flight, "seed {seed}");
    }
    while !travellers.is_empty() {
        drop(travellers.swap_remove(random.below(travellers.len() as u64) as usize));
    }
    finds_nothing_leaked(&queue, &stage, &mut service, arrived);
}

#[tokio::test(start_paused = true)]
async fn no_history_of_arrivals_and_cancellations_leaks() {
    let set = std::env::var("CANCELLATION_RUNS").ok().and_then(|text| text.parse().ok());
    let runs = set.unwrap_or(if cfg!(debug_assertions) { 1_000 } else { 100_000 });
    println!("{runs} histories of each form");
    for seed in 1..=runs {
        random_history::<Alone>(seed).await;
        random_history::<Pooled>(seed).await;
    }
}
