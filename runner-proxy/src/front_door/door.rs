//! The door itself: its builder, its one future, and its handle.

use std::{
    error::Error as StdError,
    fmt,
    future::poll_fn,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, sleep_until},
};
use tower_service::Service;

use super::{
    DoorCounters, Drain, Drained, Limits, Listener, RequestBody,
    accept::{Accepts, Entrance, Entrances},
    clock::Coarse,
    connection::Served,
    counters::Totals,
    drain::{Draining, Listeners},
    id::Ids,
    inside::{Inside, Trusts},
    look::Registry,
    watch::CUT,
};
use crate::{answer::Answers, exchange::ClientConnection};

/// Connections of clients before a service. See the [module page](super).
#[must_use = "nobody is let in unless it is run"]
pub struct FrontDoor<S> {
    service: S,
    entrances: Vec<Box<dyn Accepts<S>>>,
    inside: Arc<Inside>,
    asked: Arc<Asked>,
}

/// What the embedding program keeps of a door that runs elsewhere. Cloning it gives another handle
/// to the same door; dropping it changes nothing.
#[derive(Clone)]
pub struct FrontDoorHandle {
    inside: Arc<Inside>,
    asked: Arc<Asked>,
}

#[expect(clippy::disallowed_types, reason = "guards one value; nothing is awaited under it")]
type Locked<T> = std::sync::Mutex<T>;

/// A drain that was asked for.
#[derive(Default)]
struct Asked {
    drain: Locked<Option<Drain>>,
    notify: Notify,
}

/// Builds a [`FrontDoor`].
#[must_use = "a builder builds nothing unless `build` is called"]
pub struct FrontDoorBuilder<S> {
    service: S,
    entrances: Vec<Box<dyn Accepts<S>>>,
    limits: Limits,
    answers: Answers,
    half_closed: bool,
    extended_connect: bool,
    trusts: Box<Trusts>,
}

impl<S, R> FrontDoor<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    S::Future: Send + 'static,
    R: Body + Send + 'static,
    R::Data: From<Bytes> + Send,
    R::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// A door before a service. Each connection has a clone of it.
    pub fn before(service: S) -> FrontDoorBuilder<S> {
        FrontDoorBuilder {
            service,
            entrances: Vec::new(),
            limits: Limits::default(),
            answers: Answers::default(),
            half_closed: false,
            extended_connect: true,
            trusts: Box::new(|_| false),
        }
    }

    /// Lets clients in until the door was drained; what had to be cut off then. It ends for no
    /// other reason. It spawns a task for each connection on the runtime that polls it, and ends
    /// them all when it is dropped.
    pub async fn run(self) -> Drained {
        let Self { service, entrances, inside, asked } = self;
        let entrances = Entrances::new(entrances, &inside);
        let running = Running { inside, service, entrances, tasks: JoinSet::new() };
        running.run(&asked).await
    }
}

impl<S, R> FrontDoorBuilder<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    S::Future: Send + 'static,
    R: Body + Send + 'static,
    R::Data: From<Bytes> + Send,
    R::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Lets clients in by this; it may be called for several, of several kinds.
    pub fn listen(mut self, listener: impl Listener) -> Self {
        self.entrances.push(Box::new(Entrance::new(listener)));
        self
    }

    /// What clients may take of the door.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What clients are told in the place of the service.
    pub fn answers(mut self, answers: Answers) -> Self {
        self.answers = answers;
        self
    }

    /// Serves clients that have closed the half of their connection that they send by, and still
    /// read. Then a client that has left altogether looks just the same.
    pub fn half_closed_clients(mut self) -> Self {
        self.half_closed = true;
        self
    }

    /// Lets no client open a WebSocket inside a connection of HTTP/2 (RFC 8441), for a service that
    /// does not know how it is asked for. Clients are told so, and open a connection of HTTP/1.1
    /// for it.
    pub fn without_extended_connect(mut self) -> Self {
        self.extended_connect = false;
        self
    }

    /// Whose `x-request-id` is taken over, as long as it is a plain word: that of nobody unless
    /// this is said.
    pub fn trust_request_ids(
        mut self,
        of: impl Fn(&ClientConnection) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.trusts = Box::new(of);
        self
    }

    /// The door, and the handle that drains it and reads its counters.
    pub fn build(self) -> (FrontDoor<S>, FrontDoorHandle) {
        let Self { service, entrances, limits, answers, half_closed, extended_connect, trusts } =
            self;
        let inside = Arc::new(Inside {
            limits,
            answers,
            half_closed,
            extended_connect,
            trusts,
            ids: Ids::new(),
            clock: Coarse::start(),
            registry: Registry::default(),
            totals: Totals::default(),
            draining: AtomicBool::new(false),
            freed: Notify::new(),
        });
        let asked = Arc::<Asked>::default();
        let handle = FrontDoorHandle { inside: Arc::clone(&inside), asked: Arc::clone(&asked) };
        (FrontDoor { service, entrances, inside, asked }, handle)
    }
}

impl FrontDoorHandle {
    /// Drains the door: nobody is let in any more, those inside are given notice by class, and the
    /// door's future ends with the last of them. Asked for again, the new deadlines take the place
    /// of the old, counted from the beginning.
    pub fn drain(&self, drain: Drain) {
        *self.asked.drain.lock().unwrap_or_else(PoisonError::into_inner) = Some(drain);
        self.asked.notify.notify_one();
    }

    /// Whether the door drains, or was drained.
    pub fn is_draining(&self) -> bool {
        self.inside.draining.load(Relaxed)
    }

    /// What was counted so far, and how things stand.
    pub fn counters(&self) -> DoorCounters {
        self.inside.registry.sum(&self.inside.totals)
    }
}

impl Asked {
    /// Waits until somebody asks. Dropping the future loses nothing.
    async fn next(&self) -> Drain {
        loop {
            let asked = self.drain.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(drain) = asked {
                return drain;
            }
            self.notify.notified().await;
        }
    }
}

/// A door that runs. Dropped, it tells even tunnels, whose streams are elsewhere, that it is over.
struct Running<S> {
    inside: Arc<Inside>,
    service: S,
    entrances: Entrances<S>,
    tasks: JoinSet<()>,
}

impl<S: Served> Running<S> {
    async fn run(mut self, asked: &Asked) -> Drained {
        let inside = Arc::clone(&self.inside);
        let mut look = tokio::time::interval(inside.limits.look_every());
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut draining = None::<Draining>;
        while !draining.as_ref().is_some_and(|draining| self.is_drained(draining)) {
            let paused = self.entrances.paused_until();
            tokio::select! {
                biased;
                drain = asked.next() => {
                    self.begin_or_change(&mut draining, drain);
                    self.look(draining.as_mut());
                }
                // Without connections there is nobody to look at, and the process may sleep.
                _ = look.tick(), if draining.is_some() || !inside.registry.is_empty() => {
                    self.look(draining.as_mut());
                }
                () = poll_fn(|cx| self.poll_step(cx, draining.is_some())) => {}
                () = inside.freed.notified() => {}
                () = sleep_until(paused.unwrap_or_else(Instant::now)), if paused.is_some() => {
                    self.entrances.resume();
                }
            }
        }
        draining.map(|draining| draining.cut).unwrap_or_default()
    }

    /// Lets one in, or takes note that one has ended.
    fn poll_step(&mut self, cx: &mut Context<'_>, draining: bool) -> Poll<()> {
        if let Poll::Ready(Some(ended)) = self.tasks.poll_join_next(cx) {
            self.inside.totals.note(ended);
            return Poll::Ready(());
        }
        if draining {
            return Poll::Pending;
        }
        self.entrances.poll_accept(cx, &self.inside, &self.service, &mut self.tasks)
    }

    fn begin_or_change(&mut self, draining: &mut Option<Draining>, drain: Drain) {
        match draining {
            Some(draining) => draining.drain = drain,
            None => {
                if drain.listeners == Listeners::Close {
                    self.entrances.close();
                }
                self.inside.draining.store(true, Relaxed);
                let since = self.inside.clock.look();
                *draining = Some(Draining { drain, since, cut: Drained::default() });
            }
        }
    }

    fn look(&self, draining: Option<&mut Draining>) {
        let inside = &self.inside;
        let now = inside.clock.look();
        inside.registry.look(&inside.limits, now, draining, &inside.totals);
    }

    /// Whether nobody is left, or who is was told to go and does not: a tunnel that nobody polls.
    fn is_drained(&self, draining: &Draining) -> bool {
        let waited = self.inside.clock.now().since(draining.since);
        let nobody = self.inside.totals.open.load(Relaxed) == 0 && self.tasks.is_empty();
        nobody || waited > draining.drain.longest() + super::look::CLOSING
    }
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        self.inside.registry.order_all(CUT);
    }
}

impl<S: fmt::Debug> fmt::Debug for FrontDoor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontDoor").field("service", &self.service).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for FrontDoorBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontDoorBuilder")
            .field("service", &self.service)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FrontDoorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontDoorHandle").field("counters", &self.counters()).finish()
    }
}
