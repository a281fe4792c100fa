//! The layer and what it is built from.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use runner_core::{
    address::Address,
    admission::{Ask, FairKey, Instance, QueueSettings, Refusal, Snapshot},
    id::{RevisionNumber, ServiceId},
};
use tower_layer::Layer;

use super::{
    OverflowQueue, QueueCounters, RequestHead,
    gate::{Gate, Hooks, RefuseFn},
    refusal_response,
    shared::Shared,
    word::Word,
};
use crate::{clock::Clock, sync::Arc};

/// Puts a service behind an overflow queue; see the [module page](super).
///
/// The cap belongs to the layer: all services made from it or from its clones share one, also
/// where a router applies it to each of its routes.
#[derive(Clone, Debug)]
pub struct OverflowQueueLayer {
    gate: Arc<Gate>,
}

impl OverflowQueueLayer {
    /// A layer with defaults for everything but what is said.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runner_proxy::OverflowQueueLayer;
    ///
    /// let queue = OverflowQueueLayer::builder()
    ///     .concurrency(100)
    ///     .max_wait(Duration::from_secs(10))
    ///     .build()?;
    /// assert_eq!(queue.counters().slots, 100);
    /// # Ok::<(), runner_proxy::InvalidQueue>(())
    /// ```
    pub fn builder() -> OverflowQueueBuilder {
        OverflowQueueBuilder::default()
    }

    /// What was counted so far, and how things stand.
    pub fn counters(&self) -> QueueCounters {
        QueueCounters::from_reading(self.gate.shared.read())
    }

    /// Changes the cap. A higher one serves those who wait at once; under a lower one those who
    /// have a slot keep it, and nobody is given one until fewer are out.
    ///
    /// # Errors
    ///
    /// When the cap is zero or beyond [`OverflowQueueBuilder::MAX_CONCURRENCY`].
    pub fn set_concurrency(&self, cap: u32) -> Result<(), InvalidQueue> {
        let cap = checked_cap(Some(cap))?;
        self.gate.shared.apply(one_instance(cap), self.gate.clock.now());
        Ok(())
    }
}

impl<S> Layer<S> for OverflowQueueLayer {
    type Service = OverflowQueue<S>;

    fn layer(&self, inner: S) -> OverflowQueue<S> {
        OverflowQueue::new(inner, Arc::clone(&self.gate))
    }
}

/// What an [`OverflowQueueLayer`] is made from.
#[must_use = "nothing is made until `build` is called"]
pub struct OverflowQueueBuilder {
    concurrency: Option<u32>,
    max_waiting: Option<u32>,
    max_wait: Duration,
    key_weights: Vec<(FairKey, u32)>,
    ask: Box<dyn Fn(&RequestHead<'_>) -> Ask + Send + Sync>,
    refuse: Option<Box<RefuseFn>>,
}

impl Default for OverflowQueueBuilder {
    fn default() -> Self {
        Self {
            concurrency: None,
            max_waiting: None,
            max_wait: DEFAULT_MAX_WAIT,
            key_weights: Vec::new(),
            ask: Box::new(ask_by_timeout),
            refuse: None,
        }
    }
}

impl OverflowQueueBuilder {
    /// The largest cap, 1,048,575: what the word of the fast path holds, and more than a process
    /// has sockets for.
    pub const MAX_CONCURRENCY: u32 = Word::MAX_CAP;

    /// How many requests the inner service works on at once, from admission to the end of the
    /// response body. There is no default: only who knows the service knows its width.
    pub fn concurrency(mut self, cap: u32) -> Self {
        self.concurrency = Some(cap);
        self
    }

    /// How long a request may wait. Default: 10 seconds, which is what a person waits before
    /// trying again, and what makes clients' own time-outs (usually 30 seconds) late.
    ///
    /// This, not the count, is the bound that means something: a request is refused at once when
    /// it would wait longer, as soon as it is known how long requests take.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// How many requests may wait. Default: ten times the concurrency, at least 100: enough that
    /// time is the bound that acts while requests take up to a second, and few enough that what
    /// they hold (a connection each, and about 5 KiB behind hyper's server: one is the request and
    /// its place here, the rest the buffer in which hyper listens for the client's departure) is
    /// bounded when they take longer.
    pub fn max_waiting(mut self, waiting: u32) -> Self {
        self.max_waiting = Some(waiting);
        self
    }

    /// What a request asks for: its priority, on whose behalf it comes, and how long it can wait.
    /// Default: any slot, within the time that `grpc-timeout` leaves. Called only when no slot is
    /// free.
    ///
    /// ```
    /// use runner_core::admission::{Ask, FairKey, Priority};
    /// use runner_proxy::OverflowQueueLayer;
    ///
    /// let queue = OverflowQueueLayer::builder().concurrency(10).ask_with(|head| {
    ///     let tenant = head.headers.get("x-tenant").map_or(0, |t| t.len() as u64);
    ///     let priority = match head.uri.path().starts_with("/batch") {
    ///         true => Priority::Low,
    ///         false => Priority::Normal,
    ///     };
    ///     Ask::with_priority(priority).on_behalf_of(FairKey(tenant))
    /// });
    /// assert!(queue.build().is_ok());
    /// ```
    pub fn ask_with(
        mut self,
        ask: impl Fn(&RequestHead<'_>) -> Ask + Send + Sync + 'static,
    ) -> Self {
        self.ask = Box::new(ask);
        self
    }

    /// How much more of the slots than others a key gets while it waits; 1 where nothing is said.
    pub fn key_weight(mut self, key: FairKey, weight: NonZeroU32) -> Self {
        self.key_weights.push((key, weight.get()));
        self
    }

    /// Answers refusals in a way of your own. Default: [`refusal_response`].
    pub fn refuse_with(
        mut self,
        refuse: impl Fn(&RequestHead<'_>, &Refusal) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.refuse = Some(Box::new(refuse));
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    ///
    /// When the concurrency was left out, is zero, or is beyond
    /// [`MAX_CONCURRENCY`](Self::MAX_CONCURRENCY).
    pub fn build(self) -> Result<OverflowQueueLayer, InvalidQueue> {
        let cap = checked_cap(self.concurrency)?;
        let waiting = self.max_waiting.unwrap_or_else(|| cap.saturating_mul(10).max(100));
        let mut settings = QueueSettings::new(waiting, self.max_wait);
        settings.key_weights.extend(self.key_weights);
        let clock = Clock::start();
        let shared = Shared::fixed(settings, one_instance(cap), clock.now());
        let refuse = self.refuse.unwrap_or_else(|| default_refusals(&clock));
        let hooks = Hooks { ask: self.ask, refuse };
        Ok(OverflowQueueLayer { gate: Arc::new(Gate { shared, clock, hooks }) })
    }
}

impl std::fmt::Debug for OverflowQueueBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OverflowQueueBuilder")
            .field("concurrency", &self.concurrency)
            .field("max_waiting", &self.max_waiting)
            .field("max_wait", &self.max_wait)
            .finish_non_exhaustive()
    }
}

/// Settings that make no queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidQueue {
    found: Option<u32>,
}

impl std::fmt::Display for InvalidQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let most = OverflowQueueBuilder::MAX_CONCURRENCY;
        match self.found {
            None => write!(f, "the concurrency was not said; call `.concurrency(1..={most})`"),
            Some(found) => write!(f, "a concurrency of {found} is not between 1 and {most}"),
        }
    }
}

impl std::error::Error for InvalidQueue {}

/// Any slot, within what the client's own time-out leaves.
pub(crate) fn ask_by_timeout(head: &RequestHead<'_>) -> Ask {
    let mut ask = Ask::default();
    ask.budget = head.grpc_timeout();
    ask
}

/// The default answers, each with an id made from the start of the queue and a count.
pub(crate) fn default_refusals(clock: &Clock) -> Box<RefuseFn> {
    let start = clock.now().as_nanos() / 1_000;
    let count = AtomicU64::new(0);
    Box::new(move |head, refusal| {
        let id = format!("{start:x}-{:x}", count.fetch_add(1, Ordering::Relaxed));
        refusal_response(head, refusal, &id)
    })
}

fn checked_cap(cap: Option<u32>) -> Result<u32, InvalidQueue> {
    cap.filter(|cap| (1..=Word::MAX_CAP).contains(cap)).ok_or(InvalidQueue { found: cap })
}

/// The inner service as the ledger sees it: one instance of the given cap.
fn one_instance(cap: u32) -> Snapshot {
    let id = ServiceId::from_random(0).instance(1);
    let address = Address::Memory("inner".into());
    let mut snapshot = Snapshot::default();
    snapshot.instances = vec![Instance::new(id, address, RevisionNumber::FIRST, cap)];
    snapshot
}

const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(10);
