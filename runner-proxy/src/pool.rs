//! The pool form: one queue before several instances.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use runner_core::{
    address::Address,
    admission::{Ask, Demand, QueueSettings, Refusal, Snapshot},
    id::{InstanceId, RevisionNumber},
    time::Timestamp,
};
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "forward")]
use crate::queue::Target;
use crate::{
    clock::Clock,
    queue::{
        Drive, Gate, Hooks, LeaseHandle, LeasedBody, Pooled, QueueCounters, RequestHead,
        ResponseBody, Shared, ask_by_timeout, default_refusals,
    },
    sync::Arc,
};

/// A queue before the instances of one service: what the control side holds.
///
/// Cloning it gives another handle to the same queue.
#[derive(Clone, Debug)]
pub struct Pool {
    gate: Arc<Gate>,
}

/// Where an admitted request goes: in its extensions when the inner service is called.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Assignment {
    /// The instance whose slot it has.
    pub instance: InstanceId,
    /// Where that instance takes requests.
    pub address: Address,
    /// Of which revision it is.
    pub revision: RevisionNumber,
    /// A share in the slot.
    pub lease: LeaseHandle,
    /// How long the request waited for it; zero where a slot was free when it came.
    pub waited: Duration,
}

#[cfg(feature = "forward")]
impl Assignment {
    /// The same request, sent elsewhere under another slot that it waited for once more.
    pub(crate) fn redirect(&mut self, target: Target, waited: Duration) {
        let Target { instance, address, revision } = target;
        (self.instance, self.address, self.revision) = (instance, address, revision);
        self.waited += waited;
    }
}

/// What a pool tells the control side.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Somebody began to wait: the newest such edge.
    pub demand: Option<Demand>,
    /// Instances that take no more requests and whose last lease has ended.
    pub drained: BTreeSet<InstanceId>,
}

impl Pool {
    /// A pool with its first snapshot and defaults for what the embedding program may decide.
    pub fn new(settings: QueueSettings, snapshot: Snapshot) -> Self {
        let clock = Clock::start();
        let refuse = default_refusals(&clock);
        Self::with_hooks(settings, snapshot, clock, Hooks { ask: Box::new(ask_by_timeout), refuse })
    }

    /// The same, with what requests ask for and how they are refused decided by the program.
    pub fn with(
        settings: QueueSettings,
        snapshot: Snapshot,
        ask: impl Fn(&RequestHead<'_>) -> Ask + Send + Sync + 'static,
        refuse: impl Fn(&RequestHead<'_>, &Refusal) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        let hooks = Hooks { ask: Box::new(ask), refuse: Box::new(refuse) };
        Self::with_hooks(settings, snapshot, Clock::start(), hooks)
    }

    fn with_hooks(settings: QueueSettings, snapshot: Snapshot, clock: Clock, hooks: Hooks) -> Self {
        let shared = Shared::pooled(settings, snapshot, clock.now());
        Self { gate: Arc::new(Gate { shared, clock, hooks }) }
    }

    /// The layer that puts a service behind this pool.
    pub fn layer(&self) -> PoolLayer {
        PoolLayer { gate: Arc::clone(&self.gate) }
    }

    /// Puts a snapshot in the place of the one before, at once and as a whole: the switch from one
    /// revision to another, a drain, an undrain, new caps.
    pub fn apply(&self, snapshot: Snapshot) {
        self.gate.shared.apply(snapshot, self.gate.clock.now());
    }

    /// Puts settings in the place of those before; who waits keeps its time.
    pub fn configure(&self, settings: QueueSettings) {
        self.gate.shared.with(|ledger| ledger.configure(settings));
    }

    /// Lets ramps rise and looks at how fast slots come free. Ten times a second is enough.
    pub fn tick(&self) {
        self.gate.shared.tick(self.gate.clock.now());
    }

    /// What there is to tell since this was last asked; waits until there is something. Dropping
    /// the future loses nothing. One caller at a time is told.
    pub async fn notice(&self) -> Notice {
        let news = self.gate.shared.news().await;
        Notice { demand: news.demand, drained: news.drained }
    }

    /// What time it is by the clock that [snapshots](Self::apply) are read by.
    pub fn now(&self) -> Timestamp {
        self.gate.clock.now()
    }

    /// How many leases an instance has.
    pub fn leases_of(&self, instance: InstanceId) -> u32 {
        self.gate.shared.with(|ledger| ledger.leases_of(instance))
    }

    /// The instance (of a revision, if one is named) that is missed least: what scaling in takes.
    pub fn victim(&self, revision: Option<RevisionNumber>) -> Option<InstanceId> {
        self.gate.shared.with(|ledger| ledger.victim(revision))
    }

    /// What was counted so far, and how things stand.
    pub fn counters(&self) -> QueueCounters {
        QueueCounters::from_reading(self.gate.shared.read())
    }
}

/// Puts a service behind a [`Pool`].
#[derive(Clone, Debug)]
pub struct PoolLayer {
    gate: Arc<Gate>,
}

impl<S> Layer<S> for PoolLayer {
    type Service = PoolQueue<S>;

    fn layer(&self, inner: S) -> PoolQueue<S> {
        PoolQueue { inner, gate: Arc::clone(&self.gate) }
    }
}

/// A service behind a [`Pool`]: it is called with requests that carry an [`Assignment`] in their
/// extensions, and whose body holds the slot as long as it is read.
#[derive(Clone)]
pub struct PoolQueue<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S, B, R> Service<Request<B>> for PoolQueue<S>
where
    S: Service<Request<LeasedBody<B>>, Response = Response<R>> + Clone,
    B: Body,
    R: Body,
    R::Data: From<Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = PoolFuture<S, B>;

    /// Always ready: what readiness would take, an idle clone would keep from others.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        PoolFuture(Drive::decide(&self.gate, self.inner.clone(), request))
    }
}

impl<S: fmt::Debug> fmt::Debug for PoolQueue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolQueue").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// The response to come. Dropping it gives up the place in the queue, or the slot.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct PoolFuture<S, B>(#[pin] Drive<Pooled, S, B>)
where
    S: Service<Request<LeasedBody<B>>>,
    B: Body;

impl<S, B, R> Future for PoolFuture<S, B>
where
    S: Service<Request<LeasedBody<B>>, Response = Response<R>>,
    B: Body,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().0.drive(cx)
    }
}
