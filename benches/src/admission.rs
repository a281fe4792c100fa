//! What does admission cost a request, ours and tower's, and nobody's?
//!
//! The same inner service, the same request and response types in all: a service that answers at
//! once with a short body. A request is measured to the end of its body, since that is when ours
//! gives its slot back (tower gives it back with the head).
//!
//! # The hand-off
//!
//! Sixty-four tasks share one slot, and each asks again as soon as it was answered. From the first
//! request on there is always a line, and each request is handed the slot by the one before it:
//! one wake-up each, for ours, for tower's and for the floor, which is that wake-up and nothing
//! else. The inner service answers at once. Holding the slot over a wake-up of its own would add
//! one more to all three and blur what differs. All tasks are on one thread: on several the time
//! is that of moving tasks between cores, which differs from run to run by more than what is
//! measured.
//!
//! What the three do is not the same, and is left so: ours also bounds the wait in time, predicts
//! and records it, and serves by class and key. The floor serves no requests, so a
//! request's own cost (`bare/uncontended`) is part of the distance to it.
#![expect(clippy::disallowed_methods, reason = "what is measured is the time that passes")]

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    future::{Future, Ready, poll_fn, ready},
    pin::pin,
    rc::Rc,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Empty, Full};
use runner_core::{
    address::Address,
    admission::{Instance, QueueSettings, Snapshot},
    id::{RevisionNumber, ServiceId},
};
use runner_proxy::{OverflowQueueLayer, pool::Pool};
use tokio::task::LocalSet;
use tower::{buffer::Buffer, limit::ConcurrencyLimit, load_shed::LoadShed};
use tower_layer::Layer;
use tower_service::Service;

/// One question: how long do this many operations take?
pub type Measure = fn(u64) -> Duration;

/// All questions by name, peers beside each other.
pub const QUESTIONS: [(&str, Measure); 11] = [
    ("bare/uncontended", |n| uncontended(n, &mut Answer)),
    ("bare/contended_2", |n| contended(n, Answer)),
    ("queue/uncontended", |n| uncontended(n, &mut queue(100))),
    ("queue/contended_2", |n| contended(n, queue(100))),
    ("queue/handoff_64", |n| handoff(n, queue(1))),
    ("pool_16/uncontended", |n| uncontended(n, &mut pool_16())),
    ("tower/uncontended", |n| {
        uncontended(n, &mut LoadShed::new(ConcurrencyLimit::new(Answer, 100)))
    }),
    ("tower/contended_2", |n| contended(n, LoadShed::new(ConcurrencyLimit::new(Answer, 100)))),
    ("tower/handoff_64", |n| handoff(n, ConcurrencyLimit::new(Answer, 1))),
    ("tower/shared_queue", shared_queue),
    ("floor/handoff_64", waking_alone),
];

/// The inner service: answers at once.
#[derive(Clone, Copy, Debug)]
struct Answer;

impl<B> Service<Request<B>> for Answer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        drop(request);
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"hello, here is your answer")))))
    }
}

fn queue(cap: u32) -> impl AnyService {
    let layer = OverflowQueueLayer::builder().concurrency(cap).build().expect("a valid cap");
    layer.layer(Answer)
}

fn pool_16() -> impl AnyService {
    let service = ServiceId::from_random(1);
    let instance = |number| {
        let address = Address::Tcp(([127, 0, 0, 1], 8000 + number as u16).into());
        Instance::new(service.instance(number), address, RevisionNumber::FIRST, 10)
    };
    let mut snapshot = Snapshot::default();
    snapshot.instances = (1..=16).map(instance).collect();
    Pool::new(QueueSettings::new(1_000, Duration::from_secs(10)), snapshot).layer().layer(Answer)
}

/// Any of the services compared.
trait AnyService:
    Service<Request<Empty<Bytes>>, Response = Response<Self::Answer>> + Clone + Send + 'static
{
    type Answer: Body;
}

impl<S, R> AnyService for S
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    R: Body,
{
    type Answer = R;
}

/// One request from readiness to the end of its body.
async fn ask<S: AnyService>(service: &mut S) {
    let is_ready = poll_fn(|cx| service.poll_ready(cx)).await;
    assert!(is_ready.is_ok(), "it was refused");
    let response = service.call(Request::new(Empty::new())).await;
    let Ok(response) = response else { panic!("it was refused") };
    assert_eq!(response.status(), 200);
    let mut body = pin!(response.into_body());
    while poll_fn(|cx| body.as_mut().poll_frame(cx)).await.is_some() {}
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it had to wait"),
    }
}

/// One caller and a slot that is always free.
fn uncontended<S: AnyService>(operations: u64, service: &mut S) -> Duration {
    let start = Instant::now();
    for _ in 0..operations {
        now(ask(service));
    }
    start.elapsed()
}

/// Two threads that share the cap, and slots that are always free.
fn contended<S: AnyService>(operations: u64, service: S) -> Duration {
    let barrier = Barrier::new(2);
    let run = |mut service: S| {
        barrier.wait();
        uncontended(operations, &mut service)
    };
    let (one, other) = (service.clone(), service);
    thread::scope(|scope| {
        let other = scope.spawn(|| run(other));
        let one = run(one);
        (one + other.join().expect("it ran to its end")) / 2
    })
}

/// Sixty-four tasks on one thread and one slot: each request waits for the one before it. See the
/// module page.
fn handoff<S: AnyService>(operations: u64, service: S) -> Duration {
    let mut first = service.clone();
    let hold = || {
        assert!(matches!(now(poll_fn(|cx| first.poll_ready(cx))), Ok(())), "the slot is free");
        first.call(Request::new(Empty::new()))
    };
    in_64_tasks(operations, hold, move |rounds| {
        let mut service = service.clone();
        async move {
            for _ in 0..rounds {
                ask(&mut service).await;
            }
        }
    })
}

/// The same sixty-four tasks through tower's shared queue. Its worker hands requests on faster than
/// they are answered, so with one slot it would shed: there is one for each task.
fn shared_queue(operations: u64) -> Duration {
    let buffer = RefCell::new(None);
    in_64_tasks(
        operations,
        || (),
        move |rounds| {
            // `Buffer` spawns its worker, so it is made inside the runtime, once.
            let mut buffer = buffer.borrow_mut();
            let service = buffer.get_or_insert_with(|| {
                Buffer::new(LoadShed::new(ConcurrencyLimit::new(Answer, 64)), 64)
            });
            let mut service = service.clone();
            async move {
                for _ in 0..rounds {
                    ask(&mut service).await;
                }
            }
        },
    )
}

/// The same with nothing but the wake-ups: whoever runs wakes the first in line and joins its end.
fn waking_alone(operations: u64) -> Duration {
    let line = Rc::new(RefCell::new(VecDeque::<Waker>::new()));
    let first = Rc::clone(&line);
    let hold = || WakeOnDrop(first);
    in_64_tasks(operations, hold, move |rounds| {
        let line = Rc::clone(&line);
        async move {
            for round in 0..rounds {
                let mut waited = false;
                poll_fn(|cx| {
                    if std::mem::replace(&mut waited, true) {
                        return Poll::Ready(());
                    }
                    if round > 0 {
                        wake_first(&line);
                    }
                    line.borrow_mut().push_back(cx.waker().clone());
                    Poll::Pending
                })
                .await;
            }
            wake_first(&line);
        }
    })
}

struct WakeOnDrop(Rc<RefCell<VecDeque<Waker>>>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        wake_first(&self.0);
    }
}

fn wake_first(line: &RefCell<VecDeque<Waker>>) {
    if let Some(first) = line.borrow_mut().pop_front() {
        first.wake();
    }
}

/// Runs a task sixty-four times on one thread. What `hold` returns is held until each of them
/// waits for it, so that no request finds a free slot.
fn in_64_tasks<H, F: Future<Output = ()> + 'static>(
    operations: u64,
    hold: impl FnOnce() -> H,
    task: impl Fn(u64) -> F,
) -> Duration {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let rounds = operations.div_ceil(TASKS);
    let elapsed = LocalSet::new().block_on(&runtime, async {
        let held = hold();
        let tasks: Vec<_> = (0..TASKS).map(|_| tokio::task::spawn_local(task(rounds))).collect();
        for _ in 0..TASKS {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        drop(held);
        for task in tasks {
            task.await.expect("it ran to its end");
        }
        start.elapsed()
    });
    // What was asked for, not what 64 tasks round it up to.
    elapsed.mul_f64(operations as f64 / (rounds * TASKS) as f64)
}

const TASKS: u64 = 64;
