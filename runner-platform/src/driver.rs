//! The driver: the one future that a program runs.
//!
//! It reads the journal, gives each service a task, and from then on makes services, begins tasks
//! anew that panicked, asks the backend for lists (one for all who ask at the time) and hands on
//! its hints. Dropping it ends every task and leaves instances as they are.

mod follow;
mod hints;
mod inner;
mod lists;
mod recovery;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use runner_core::{
    BoxFuture,
    id::{ServiceId, ServiceName},
    spec::{ServiceSettings, ServiceSpec},
    time::Timestamp,
};
use runner_proxy::front_door::{
    Drain, FrontDoor, FrontDoorBuilder, FrontDoorHandle, Limits as DoorLimits,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    DataPath, Error, Operation,
    actor::{Actor, Over, Place},
    events::Happening,
    message::{Aftermath, Birth, Message, Request},
    path::{self, Way},
    shared::{Entry, ListAsk, Shared, Stage},
};

/// Adds a way in to the front door; on the runtime that the driver runs on.
pub(crate) type Entrance = Box<
    dyn FnOnce(FrontDoorBuilder<DataPath>) -> std::io::Result<FrontDoorBuilder<DataPath>> + Send,
>;

/// Runs a platform; see [`run`](Self::run).
#[must_use = "nothing happens until the driver runs"]
pub struct Driver {
    requests: mpsc::Receiver<Request>,
    asked: mpsc::UnboundedReceiver<ListAsk>,
    tasks: JoinSet<(ServiceName, Result<Over, String>)>,
    /// How often in a row the tasks of services panicked, and when last.
    panics: BTreeMap<ServiceName, (u32, Timestamp)>,
    entrances: Vec<Entrance>,
    /// The front door, while it is open.
    door: JoinSet<()>,
    door_handle: Option<FrontDoorHandle>,
    pub(crate) inner: inner::Inner,
    /// Connections to instances.
    background: JoinSet<()>,
    /// Those who follow what instances write.
    followers: JoinSet<()>,
    ends: Ends,
}

/// Says that the driver has ended, however it did.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.stage.send_replace(Stage::Ended);
        self.0.with(|registry| registry.operations.clear());
    }
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Request>,
        asked: mpsc::UnboundedReceiver<ListAsk>,
        entrances: Vec<Entrance>,
    ) -> Self {
        let (tasks, panics, background) = (JoinSet::new(), BTreeMap::new(), JoinSet::new());
        let (door, door_handle) = (JoinSet::new(), None);
        let (ends, inner) = (Ends(shared), inner::Inner::default());
        let followers = JoinSet::new();
        Self {
            requests,
            asked,
            tasks,
            panics,
            entrances,
            door,
            door_handle,
            inner,
            background,
            followers,
            ends,
        }
    }

    /// Runs the platform until [`shutdown`](crate::Platform::shutdown), or until it is dropped.
    ///
    /// Dropping it is a crash that is prepared for: tasks end, instances go on, and the next driver
    /// of the same journal takes up what was accepted.
    ///
    /// # Errors
    ///
    /// When clients cannot be let in, or the journal cannot be read: nothing was started or stopped
    /// then.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time enabled.
    pub async fn run(mut self) -> Result<(), Error> {
        // First, since they may fail: who comes meanwhile waits in the backlog.
        let door = self.build_door()?;
        self.inner.build(&self.ends.0.paths)?;
        let rush = self.recover().await?;
        // Who comes by the outer door may need it at once.
        self.inner.open();
        if let Some(door) = door {
            self.door.spawn(door);
        }
        let shared = Arc::clone(&self.ends.0);
        shared.stage.send_replace(Stage::Running);
        let (_, nobody) = mpsc::unbounded_channel();
        let asked = std::mem::replace(&mut self.asked, nobody);
        let mut lists = pin!(lists::answer(Arc::clone(&shared), asked));
        let mut hints = pin!(hints::hand_on(Arc::clone(&shared)));
        let mut rush = pin!(async {
            match rush {
                true => sleep_until(Instant::now() + RUSH).await,
                false => std::future::pending().await,
            }
        });
        let mut rushing = true;
        loop {
            tokio::select! {
                biased;
                Some(request) = self.requests.recv() => match request {
                    Request::Create { spec, answer } => self.create(*spec, answer),
                    Request::Follow(asked) => {
                        self.followers.spawn(follow::follow(Arc::clone(&shared), asked));
                    }
                    Request::Shutdown { aftermath, until, answer } => {
                        self.shut_down(aftermath, until).await;
                        let _ = answer.send(());
                        return Ok(());
                    }
                },
                Some(ended) = self.tasks.join_next() => {
                    if let Ok((name, over)) = ended {
                        self.task_ended(name, over);
                    }
                }
                Some(_) = self.background.join_next() => {}
                Some(_) = self.followers.join_next() => {}
                () = &mut rush, if rushing => {
                    rushing = false;
                    let budget = shared.with(|registry| registry.start_budget.take());
                    if let Some(budget) = budget {
                        budget.close();
                    }
                    let shared = Arc::clone(&shared);
                    self.background.spawn(async move { recovery::remember_boot(&shared).await });
                }
                never = &mut lists => match never {},
                never = &mut hints => match never {},
            }
        }
    }

    /// The front door; it lets clients in when it is run, once all routes are there.
    fn build_door(&mut self) -> Result<Option<BoxFuture<'static, ()>>, Error> {
        if self.entrances.is_empty() {
            return Ok(None);
        }
        let paths = &self.ends.0.paths;
        let trust = paths.trust.clone();
        let mut door = FrontDoor::before(paths.service())
            .limits(door_limits())
            .trust_request_ids(move |client| trust.covers(Some(client)));
        for entrance in self.entrances.drain(..) {
            door = entrance(door).map_err(|error| {
                runner_core::Error::unavailable("the front door cannot listen").caused_by(error)
            })?;
        }
        let (door, handle) = door.build();
        self.door_handle = Some(handle);
        Ok(Some(Box::pin(async move {
            let _ = door.run().await;
        })))
    }

    fn create(&mut self, spec: ServiceSpec, answer: oneshot::Sender<Result<Operation, Error>>) {
        let shared = &self.ends.0;
        let (name, id) = (spec.name().clone(), ServiceId::from_random(shared.ids.next()));
        let taken = shared.with(|registry| registry.taken(&name).cloned());
        if let Some(by) = taken {
            let _ = answer.send(Err(Error::NameTaken { name, by }));
            return;
        }
        if let Some((route, by)) = shared.paths.taken(&name, spec.settings()) {
            let _ = answer.send(Err(Error::RouteTaken { route: route.to_string(), by }));
            return;
        }
        let place = self.place(&name, id, spec.settings());
        let shared = Arc::clone(&self.ends.0);
        self.task(name.clone(), async move {
            // What a creation needs is given back before the service runs.
            match Box::pin(Actor::create(place, spec, id)).await {
                Ok((actor, operation)) => {
                    let _ = answer.send(Ok(operation));
                    actor.run().await
                }
                Err((error, undo)) => {
                    // Before the answer: whoever hears it may try again.
                    shared.paths.withdraw(&name);
                    shared.rerouted(&name);
                    shared.with(|registry| match undo {
                        None => drop(registry.leave(&name)),
                        // Not under this name before that is done: of two on record one is lost.
                        Some(_) => registry.close(&name),
                    });
                    let _ = answer.send(Err(error));
                    if let Some(undo) = undo {
                        undo.await;
                    }
                    Over::Retired
                }
            }
        });
    }

    /// A place for a service that has none yet.
    fn place(&mut self, name: &ServiceName, id: ServiceId, settings: &ServiceSettings) -> Place {
        let shared = &self.ends.0;
        let (way, connections) = shared.paths.way(name, id, settings);
        self.background.spawn(path::run(connections));
        enter(shared, name, id, way)
    }

    fn task(&mut self, name: ServiceName, task: impl Future<Output = Over> + Send + 'static) {
        // Boxed out here: a future keeps room for what it was given, wherever that went.
        let mut task = Box::pin(task);
        self.tasks.spawn(async move {
            let over = poll_fn(|context| {
                let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
                match polled {
                    Ok(polled) => polled.map(Ok),
                    Err(panic) => std::task::Poll::Ready(Err(words_of(&*panic))),
                }
            });
            (name, over.await)
        });
    }

    fn task_ended(&mut self, name: ServiceName, over: Result<Over, String>) {
        let message: Arc<str> = match over {
            Ok(_) => {
                self.panics.remove(&name);
                let shared = &self.ends.0;
                shared.paths.withdraw(&name);
                shared.rerouted(&name);
                if let Some(gone) = shared.with(|registry| registry.leave(&name)) {
                    let _ = shared.births.send(Birth::Gone(gone.id));
                }
                return;
            }
            Err(message) => message.into(),
        };
        let shared = Arc::clone(&self.ends.0);
        let now = shared.clock.now();
        tracing::error!(service = %name, panic = &*message, "the task of a service panicked");
        shared.with(|registry| registry.operations.panicked(&name, &message));
        let _ = shared.events.send(Happening {
            service: name.clone(),
            at: now,
            code: "TaskPanicked",
            message: format!("The task of the service panicked and is begun anew: {message}"),
        });
        let (times, last) = self.panics.get(&name).copied().unwrap_or((0, now));
        // One that held for a while is not one that keeps failing.
        let times = if now.since(last) > FORGIVEN { 0 } else { times };
        self.panics.insert(name.clone(), (times + 1, now));
        let pause = AGAIN * (1 << times.min(6));
        let Some(entry) = shared.with(|registry| registry.services.get(&name).cloned()) else {
            return;
        };
        self.task(name.clone(), async move {
            sleep_until(Instant::now() + pause).await;
            recovery::begin_anew(shared, name, entry).await
        });
    }

    /// Ends every task, each in its own way and all by the deadline.
    async fn shut_down(&mut self, aftermath: Aftermath, until: Timestamp) {
        let shared = &self.ends.0;
        shared.stage.send_replace(Stage::Stopping);
        if let Some(door) = self.door_handle.take() {
            // Clients go first: instances finish what came by it.
            door.drain(Drain::within(until.until(shared.clock.now())));
            let _ = timeout_at(shared.clock.instant(until), self.door.join_next()).await;
        }
        if aftermath == Aftermath::Leave {
            // Instances go on; what they asked of each other ends while it is still served.
            self.inner.close(shared, until).await;
        }
        let entries: Vec<_> = shared.with(|registry| registry.services.values().cloned().collect());
        let deadline = shared.clock.instant(until) + LAST_CALLS;
        for Entry { inbox, .. } in entries {
            let _ = timeout_at(deadline, inbox.send(Message::Shutdown { aftermath, until })).await;
        }
        while let Ok(Some(_)) = timeout_at(deadline, self.tasks.join_next()).await {}
        self.tasks.shutdown().await;
        // The last of all: instances ask each other until they are stopped, and those who hold
        // something open between two of them let go of it by that.
        self.inner.close(&self.ends.0, until).await;
        let _ = self.ends.0.births.send(Birth::Over(aftermath));
        // Who does not read what it follows keeps nobody waiting.
        let deadline = deadline.min(Instant::now() + LAST_LINES);
        while let Ok(Some(_)) = timeout_at(deadline, self.followers.join_next()).await {}
    }
}

/// Gives a service room among the others, and back what its task needs.
fn enter(shared: &Arc<Shared>, name: &ServiceName, id: ServiceId, way: Way) -> Place {
    let (sender, inbox) = mpsc::channel(INBOX);
    shared.with(|registry| {
        // One that begins anew is changed in turn with those who were at it.
        let before = registry.services.get(name).filter(|entry| entry.id == id);
        let turns = before.map(|entry| Arc::clone(&entry.turns)).unwrap_or_default();
        registry.enter(name, Entry { id, inbox: sender, turns, way: way.clone() });
    });
    Place { shared: Arc::clone(shared), name: name.clone(), way, inbox }
}

/// What the door keeps for all services. How long a request may take and how large its body may
/// be, each service says.
fn door_limits() -> DoorLimits {
    let mut limits = DoorLimits::default();
    (limits.total, limits.body_bytes) = (None, None);
    limits.head_bytes = path::HEAD_BYTES as usize;
    limits.fields = path::HEAD_FIELDS;
    limits
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("shared", &self.ends.0).finish_non_exhaustive()
    }
}

/// As many commands as wait for one service before their callers do.
const INBOX: usize = 16;
/// How long after a panic a task is begun anew, at first; up to a minute.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a task has to hold for its panics to be forgotten.
const FORGIVEN: Duration = Duration::from_secs(600);
/// What calls have beyond the deadline of a shutdown to be answered.
const LAST_CALLS: Duration = Duration::from_secs(5);
/// What those who follow have to be told the last words of instances.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How long starts are rationed after a boot of the host.
const RUSH: Duration = Duration::from_secs(600);
