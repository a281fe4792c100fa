//! A hand-cranked service, bodies by script, and futures that are polled one step at a time.
//!
//! Everything here belongs to one thread and none of it needs a runtime: a test says what happens
//! next, and nothing else does.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{
    any::Any,
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use runner_core::{
    address::Address,
    admission::{Instance, Snapshot},
    id::{InstanceId, RevisionNumber, ServiceId},
};
use runner_proxy::{LeaseHandle, pool::Assignment};
use tower_service::Service;

/// What goes wrong inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

// === bodies ===

/// What a body does when it is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Data(&'static str),
    Trailers,
    Fails,
    /// Nothing yet; it wakes whoever asked at once.
    Pending,
}

/// A body that does what it was told, step by step.
pub(crate) struct Script {
    steps: VecDeque<Step>,
    /// Whether it says that it is at its end before it is asked once more.
    tells_end: bool,
    busy: Option<Busy>,
}

impl Script {
    pub(crate) fn of(steps: &[Step]) -> Self {
        Self { steps: steps.iter().copied().collect(), tells_end: true, busy: None }
    }

    /// The same, but its end is known only to who asks for one frame too many.
    pub(crate) fn silent_about_its_end(mut self) -> Self {
        self.tells_end = false;
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let step = self.steps.pop_front();
        if self.steps.is_empty() && (self.tells_end || step.is_none()) {
            self.busy = None;
        }
        Poll::Ready(match step {
            None => None,
            Some(Step::Data(text)) => Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))),
            Some(Step::Trailers) => Some(Ok(Frame::trailers(HeaderMap::new()))),
            Some(Step::Fails) => {
                self.steps.clear();
                self.busy = None;
                Some(Err(Broken("the body")))
            }
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

// === the service ===

/// What a service does next, and what it did so far.
#[derive(Clone, Default)]
pub(crate) struct Stage(Rc<RefCell<Acts>>);

#[derive(Default)]
struct Acts {
    /// How often each fresh clone is not ready yet.
    pendings: u32,
    /// Nobody becomes ready, and who asked.
    shut: bool,
    waiting_for_ready: Vec<Waker>,
    fails_to_ready: bool,
    panics_in_call: bool,
    /// How many are worked on, from the call to the end of the body; and the most there were.
    busy: u32,
    most: u32,
    calls: u32,
    answers: BTreeMap<u32, Result<Script, Broken>>,
    /// The answer to whoever has none of its own.
    default_answer: Option<Vec<Step>>,
    wakers: BTreeMap<u32, Waker>,
    handles: Vec<LeaseHandle>,
    keeps_handles: bool,
    keeps_bodies: bool,
    bodies: Vec<Box<dyn Any>>,
    assigned: Vec<InstanceId>,
    names: Vec<String>,
}

/// Counts one request that is worked on.
struct Busy(Stage);

impl Stage {
    /// A service that answers at once with an empty body.
    pub(crate) fn prompt() -> Self {
        let stage = Self::default();
        stage.answer_all(&[]);
        stage
    }

    /// From now on it answers at once with an empty body, whatever it was told before.
    pub(crate) fn become_prompt(&self) {
        self.pend(0);
        self.open();
        self.0.borrow_mut().answers.clear();
        self.answer_all(&[]);
    }

    pub(crate) fn worker(&self) -> Worker {
        Worker { stage: self.clone(), ready: false, pendings: self.0.borrow().pendings }
    }

    pub(crate) fn answer_all(&self, steps: &[Step]) {
        self.0.borrow_mut().default_answer = Some(steps.to_vec());
    }

    /// Answers the call of this number, counted from 0.
    pub(crate) fn answer(&self, call: u32, answer: Result<Script, Broken>) {
        let waker = {
            let mut acts = self.0.borrow_mut();
            acts.answers.insert(call, answer);
            acts.wakers.remove(&call)
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Each fresh clone is not ready so many times before it is.
    pub(crate) fn pend(&self, times: u32) {
        self.0.borrow_mut().pendings = times;
    }

    pub(crate) fn shut(&self) {
        self.0.borrow_mut().shut = true;
    }

    pub(crate) fn open(&self) {
        let wakers = {
            let mut acts = self.0.borrow_mut();
            acts.shut = false;
            std::mem::take(&mut acts.waiting_for_ready)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn fail_to_ready(&self, fails: bool) {
        self.0.borrow_mut().fails_to_ready = fails;
    }

    pub(crate) fn panic_in_call(&self, panics: bool) {
        self.0.borrow_mut().panics_in_call = panics;
    }

    pub(crate) fn keep_handles(&self) {
        self.0.borrow_mut().keeps_handles = true;
    }

    pub(crate) fn handles(&self) -> Vec<LeaseHandle> {
        std::mem::take(&mut self.0.borrow_mut().handles)
    }

    /// Request bodies outlive the response, until they are taken from here.
    pub(crate) fn keep_bodies(&self) {
        self.0.borrow_mut().keeps_bodies = true;
    }

    pub(crate) fn bodies(&self) -> Vec<Box<dyn Any>> {
        std::mem::take(&mut self.0.borrow_mut().bodies)
    }

    pub(crate) fn busy(&self) -> u32 {
        self.0.borrow().busy
    }

    pub(crate) fn most(&self) -> u32 {
        self.0.borrow().most
    }

    pub(crate) fn calls(&self) -> u32 {
        self.0.borrow().calls
    }

    /// Where each call was sent, in the pool form.
    pub(crate) fn assigned(&self) -> Vec<InstanceId> {
        self.0.borrow().assigned.clone()
    }

    /// The paths of all calls, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.borrow().names.clone()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.borrow_mut().busy -= 1;
    }
}

/// The service itself. Like any that is true to tower's contract it panics when it is called
/// without having been ready, and a clone has to become ready anew.
pub(crate) struct Worker {
    stage: Stage,
    ready: bool,
    pendings: u32,
}

impl Clone for Worker {
    fn clone(&self) -> Self {
        self.stage.worker()
    }
}

impl<B: 'static> Service<Request<B>> for Worker {
    type Response = Response<Script>;
    type Error = Broken;
    type Future = Work<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut acts = self.stage.0.borrow_mut();
        if acts.fails_to_ready {
            return Poll::Ready(Err(Broken("readiness")));
        }
        if acts.shut {
            acts.waiting_for_ready.push(cx.waker().clone());
            return Poll::Pending;
        }
        if self.pendings > 0 {
            self.pendings -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Work<B> {
        assert!(std::mem::take(&mut self.ready), "called without having been ready");
        let mut acts = self.stage.0.borrow_mut();
        assert!(!acts.panics_in_call, "told to panic");
        let call = acts.calls;
        acts.calls += 1;
        acts.busy += 1;
        acts.most = acts.most.max(acts.busy);
        acts.names.push(request.uri().path().to_owned());
        if let Some(handle) =
            request.extensions().get::<LeaseHandle>().filter(|_| acts.keeps_handles)
        {
            acts.handles.push(handle.clone());
        }
        if let Some(assigned) = request.extensions().get::<Assignment>() {
            acts.assigned.push(assigned.instance);
            if acts.keeps_handles {
                acts.handles.push(assigned.lease.clone());
            }
        }
        drop(acts);
        let body = Some(request.into_body());
        Work { stage: self.stage.clone(), call, body, busy: Some(Busy(self.stage.clone())) }
    }
}

/// A response to come.
pub(crate) struct Work<B> {
    stage: Stage,
    call: u32,
    body: Option<B>,
    busy: Option<Busy>,
}

impl<B> Unpin for Work<B> {}

impl<B: 'static> Future for Work<B> {
    type Output = Result<Response<Script>, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = {
            let mut acts = self.stage.0.borrow_mut();
            let own = acts.answers.remove(&self.call);
            let default = acts.default_answer.as_ref().map(|steps| Ok(Script::of(steps)));
            let Some(answer) = own.or(default) else {
                acts.wakers.insert(self.call, cx.waker().clone());
                return Poll::Pending;
            };
            answer
        };
        let body = self.body.take().expect("polled after it was done");
        if self.stage.0.borrow().keeps_bodies {
            self.stage.0.borrow_mut().bodies.push(Box::new(body));
        }
        let busy = self.busy.take();
        Poll::Ready(answer.map(|mut script| {
            script.busy = busy.filter(|_| !script.is_end_stream());
            Response::new(script)
        }))
    }
}

// === futures ===

/// A future that is polled when the test says so, and how often it was woken.
pub(crate) struct Held<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
}

#[derive(Default)]
pub(crate) struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> Held<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future: Box::pin(future), bell: Arc::default() }
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.bell));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// From now on it is polled by another task, which is woken in the place of the one before.
    pub(crate) fn moves(&mut self) {
        self.bell = Arc::default();
    }

    /// How often it was woken since this was last asked.
    pub(crate) fn woken(&self) -> usize {
        self.bell.0.swap(0, Ordering::SeqCst)
    }

    pub(crate) fn pends(&mut self) {
        assert!(self.poll().is_pending(), "it should not be done yet");
    }
}

impl<F, T, E> Held<F>
where
    F: Future<Output = Result<T, E>>,
    E: fmt::Debug,
{
    pub(crate) fn done(&mut self) -> T {
        match self.poll() {
            Poll::Ready(outcome) => outcome.expect("no error"),
            Poll::Pending => panic!("it should be done"),
        }
    }
}

/// What a body gives when it is asked.
pub(crate) type FrameOf<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

/// Takes the next frame of a body.
pub(crate) fn next_frame<B: Body + Unpin>(body: &mut B) -> Poll<FrameOf<B>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// All that is left of a body that never fails, as text.
pub(crate) fn text_of<B: Body<Data = Bytes> + Unpin>(mut body: B) -> String
where
    B::Error: fmt::Debug,
{
    let mut text = Vec::new();
    while let Poll::Ready(Some(frame)) = next_frame(&mut body) {
        if let Ok(data) = frame.expect("no error").into_data() {
            text.extend_from_slice(&data);
        }
    }
    String::from_utf8(text).expect("text")
}

// === what is asked ===

/// `SplitMix64`: small, seeded, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From 0 to below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

pub(crate) fn request(path: &str) -> Request<()> {
    Request::builder().uri(path).body(()).expect("a path")
}

pub(crate) fn instance_id(number: u64) -> InstanceId {
    ServiceId::from_random(1).instance(number)
}

pub(crate) fn instance(revision: u64, number: u64, cap: u32) -> Instance {
    let address = Address::Memory(format!("i{number}").into());
    Instance::new(instance_id(number), address, RevisionNumber::new(revision), cap)
}

pub(crate) fn snapshot(instances: impl IntoIterator<Item = Instance>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.instances = instances.into_iter().collect();
    snapshot
}
