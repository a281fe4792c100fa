//! Backends that break one clause each.

mod flaw;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::MutexGuard,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use runner_core::{
    BoxFuture, BoxStream, Error,
    address::Address,
    backend::{
        Capabilities, CommandOutput, Condition, ContainerBackend, Exit, ExitStatus, Fence,
        ForeignInstance, Hint, HostCapacity, InstanceUsage, Listing, LogLine, StartRequest,
        Started,
    },
    error::ErrorKind,
    id::{Epoch, InstanceId, PlatformId},
    testing::backend::{MemoryBackend, SharedEngine},
    time::Timestamp,
};

pub(crate) use flaw::Flaw;

use crate::notes::Notes;

/// The in-memory backend with one flaw.
pub(crate) struct Saboteur {
    inner: MemoryBackend,
    engine: SharedEngine,
    flaw: Flaw,
    notes: Notes<Memory>,
}

#[derive(Default)]
struct Memory {
    started: BTreeMap<(PlatformId, InstanceId), Vec<String>>,
    newest: BTreeMap<PlatformId, Epoch>,
    starting: BTreeMap<InstanceId, usize>,
    stopping: BTreeSet<(PlatformId, InstanceId)>,
    gave_up: BTreeSet<InstanceId>,
    last_stopped: Option<InstanceId>,
    starts: usize,
    lists: usize,
    watches: usize,
}

impl Memory {
    /// The only instance of this handle, in the call right before.
    fn was_just_stopped(&self, id: InstanceId) -> bool {
        self.last_stopped == Some(id) && self.starts == 1
    }
}

/// Marks ids of copies and helpers that no list shows.
const HIDDEN: u64 = 1 << 40;

/// The id that a hidden copy is a copy of: what a witness would see.
pub(crate) fn true_id(id: InstanceId) -> InstanceId {
    id.service.instance(id.number & (HIDDEN - 1))
}

impl Saboteur {
    pub(crate) fn new(engine: &SharedEngine, flaw: Flaw) -> Self {
        let notes = Default::default();
        Self { inner: engine.open(), engine: engine.clone(), flaw, notes }
    }

    fn notes(&self) -> MutexGuard<'_, Memory> {
        self.notes.lock()
    }

    /// The fence as it came, or as the newest of its platform where the flaw is to forget that.
    fn fence(&self, fence: Fence, forgetful: Flaw) -> Fence {
        let newest = *self
            .notes()
            .newest
            .entry(fence.platform)
            .and_modify(|newest| *newest = fence.epoch.max(*newest))
            .or_insert(fence.epoch);
        if self.flaw == forgetful { Fence { epoch: newest, ..fence } } else { fence }
    }

    async fn start_copy(&self, fence: Fence, id: InstanceId) {
        let copy = id.service.instance(id.number | HIDDEN);
        let _ = self.inner.start(fence, StartRequest::command(copy, ["serve"])).await;
    }

    async fn sabotaged_start(&self, fence: Fence, request: StartRequest) -> Result<Started, Error> {
        let id = request.instance;
        let key = (fence.platform, id);
        let (before, at_once, count) = {
            let mut notes = self.notes();
            notes.last_stopped = None;
            notes.starts += 1;
            *notes.starting.entry(id).or_default() += 1;
            let at_once = notes.starting.len();
            (notes.started.get(&key).cloned(), at_once, notes.starts)
        };
        let another_under_way = self.notes().starting[&id] > 1;
        let existed = self.engine.view(fence.platform, id).is_some();
        let twin = self.engine.living().into_iter().find(|view| {
            view.instance == id
                && view.platform != fence.platform
                && self.flaw == Flaw::SharesAddress
        });
        let dropped = Dropped::watch(self, Flaw::StartsAfterDrop, fence, id);
        let answer = self.inner.start(fence, request.clone()).await;
        dropped.disarm();
        {
            let mut notes = self.notes();
            notes.starting.remove(&id);
            notes.started.entry(key).or_insert_with(|| request.command.clone());
        }
        let copies = match self.flaw {
            Flaw::RepeatStartsTwice => before.as_ref() == Some(&request.command),
            Flaw::RevivesTheDead => before.is_some_and(|command| command != request.command),
            Flaw::AtOnceStartsTwice => another_under_way,
            Flaw::ForgetsOverCrash => existed && fence.epoch > Epoch::FIRST,
            _ => false,
        };
        if copies && answer.is_ok() {
            self.start_copy(fence, id).await;
        }
        match (self.flaw, answer) {
            (Flaw::FailsHalf, Err(error)) if error.kind() == ErrorKind::NotFound => {
                self.start_copy(fence, id).await;
                Err(error)
            }
            (Flaw::StartsWhatWasStopped, Err(error)) if error.kind() == ErrorKind::Conflict => {
                Ok(Started::unreachable())
            }
            (Flaw::LeaksSecret, Err(error)) => {
                let leaked = request.secrets.values().map(|secret| secret.expose()).collect();
                Err(error.caused_by(Leak(leaked)))
            }
            (Flaw::MisnamesExhausted, Err(error)) if error.kind() == ErrorKind::Exhausted => {
                Err(Error::unavailable("no room"))
            }
            (Flaw::TiresOfStarting, Ok(_)) if count > 30 => Err(Error::unavailable("tired")),
            (Flaw::LeavesHelpers, Ok(started)) => {
                if count == 35 {
                    self.start_copy(fence, id.service.instance(0)).await;
                }
                Ok(started)
            }
            (Flaw::OneAddressForMany, Ok(_)) if at_once > 10 => {
                Ok(Started::at("memory:one".parse::<Address>().expect("an address")))
            }
            (Flaw::SharesAddress, Ok(started)) => Ok(twin.map_or(started, |twin| {
                let shared = format!("memory:{}/{}", twin.platform, twin.instance);
                Started::at(shared.parse().expect("an address"))
            })),
            (_, answer) => answer,
        }
    }

    async fn sabotaged_stop(
        &self,
        fence: Fence,
        id: InstanceId,
        grace: Duration,
    ) -> Result<Exit, Error> {
        let (clock, view) = (self.engine.clock().clone(), self.engine.view(fence.platform, id));
        let condition = view.as_ref().map(|view| view.condition.clone());
        let asked = clock.now();
        match self.flaw {
            Flaw::AnswersBeforeTheEnd
                if condition == Some(Condition::Running)
                    && fence.epoch == Epoch::FIRST
                    && grace >= Duration::from_secs(1)
                    && view
                        .as_ref()
                        .is_some_and(|view| asked.since(view.began).as_millis() >= 400) =>
            {
                let (inner, later) = (self.inner.clone(), clock.clone());
                drop(clock.spawn(async move {
                    later.sleep(Duration::from_millis(50)).await;
                    inner.stop(fence, id, grace).await
                }));
                return Ok(Exit::unknown());
            }
            Flaw::RefusesRepeatedStop if self.notes().was_just_stopped(id) => {
                return Err(Error::not_found("it is gone"));
            }
            Flaw::InventsExits if view.is_none() => return Ok(ExitStatus::Code(0).into()),
            Flaw::RefusesStopsAtOnce if !self.notes().stopping.insert((fence.platform, id)) => {
                return Err(Error::new(ErrorKind::Conflict, "it is being stopped"));
            }
            Flaw::ForgetsDroppedStop if self.notes().gave_up.contains(&id) => {
                return Ok(Exit::unknown());
            }
            Flaw::CannotStopAdopted
                if grace >= Duration::from_secs(5)
                    && view.as_ref().is_some_and(|view| view.epoch != fence.epoch) =>
            {
                return Ok(Exit::unknown());
            }
            Flaw::StopsFrozenByForce if condition == Some(Condition::Frozen) => {
                clock.sleep(grace).await;
            }
            _ => {}
        }
        let dropped = Dropped::watch(self, Flaw::ForgetsDroppedStop, fence, id);
        if self.flaw == Flaw::ForgetsDroppedStop {
            clock.sleep(Duration::from_millis(1)).await;
        }
        let given = if self.flaw == Flaw::HalvesGrace { grace / 2 } else { grace };
        let answer = self.inner.stop(fence, id, given).await;
        dropped.disarm();
        let copy = id.service.instance(id.number | HIDDEN);
        if self.engine.view(fence.platform, copy).is_some_and(|view| view.is_living()) {
            let _ = self.inner.stop(fence, copy, grace).await;
        }
        if self.flaw == Flaw::StopsTheNeighbours && answer.is_ok() {
            for view in self.engine.living().into_iter().filter(|view| view.instance == id) {
                self.engine.release(view.platform, id);
            }
        }
        if self.flaw == Flaw::WaitsOutTheGrace && grace > Duration::from_secs(10) {
            clock.sleep_until(asked + grace).await;
        }
        let mut notes = self.notes();
        notes.stopping.remove(&(fence.platform, id));
        notes.last_stopped = Some(id);
        answer
    }

    async fn sabotaged_list(&self, fence: Fence) -> Result<Listing, Error> {
        if self.flaw == Flaw::ThawsOnReturn && fence.epoch > Epoch::FIRST {
            for view in self.engine.living() {
                if view.condition == Condition::Frozen && view.platform == fence.platform {
                    self.inner.thaw(fence, view.instance).await?;
                }
            }
        }
        self.notes().lists += 1;
        let at_once = self.notes().lists;
        let answer = self.inner.list(fence).await;
        self.notes().lists -= 1;
        let mut listing = answer?;
        listing.instances.retain(|listed| listed.instance.number < HIDDEN);
        for listed in &mut listing.instances {
            let code = |code: i32| Condition::Ended(ExitStatus::Code(code).into());
            match self.flaw {
                Flaw::HidesAddress if fence.epoch == Epoch::FIRST => listed.address = None,
                Flaw::ListsOwnEpoch => listed.epoch = fence.epoch,
                Flaw::InventsCodes if listed.condition == code(7) => listed.condition = code(0),
                Flaw::ListsTheDead
                    if listed.condition == code(3) && fence.epoch == Epoch::FIRST =>
                {
                    listed.condition = Condition::Running;
                }
                Flaw::ListsFrozenAsRunning
                    if listed.condition == Condition::Frozen && fence.epoch == Epoch::FIRST =>
                {
                    listed.condition = Condition::Running;
                }
                _ => {}
            }
        }
        if self.flaw == Flaw::ListsTooLittle && at_once > 4 {
            listing.instances.pop();
        }
        if self.flaw == Flaw::ListsOwnAsForeign && !listing.instances.is_empty() {
            let (platform, engine_name) = (Some(fence.platform), "own".to_owned());
            listing.foreign.push(ForeignInstance { platform, engine_name });
        }
        Ok(listing)
    }
}

impl ContainerBackend for Saboteur {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.inner.capabilities();
        if self.flaw == Flaw::ChangesCapabilities && self.notes().starts > 0 {
            capabilities.connecting_proves_nothing = true;
        }
        capabilities
    }

    fn start(&self, fence: Fence, request: StartRequest) -> BoxFuture<'_, Result<Started, Error>> {
        let fence = self.fence(fence, Flaw::UnfencedStart);
        Box::pin(self.sabotaged_start(fence, request))
    }

    fn stop(
        &self,
        fence: Fence,
        instance: InstanceId,
        grace: Duration,
    ) -> BoxFuture<'_, Result<Exit, Error>> {
        let fence = self.fence(fence, Flaw::UnfencedStop);
        Box::pin(self.sabotaged_stop(fence, instance, grace))
    }

    fn list(&self, fence: Fence) -> BoxFuture<'_, Result<Listing, Error>> {
        let fence = self.fence(fence, Flaw::UnfencedList);
        Box::pin(self.sabotaged_list(fence))
    }

    fn watch(&self, fence: Fence) -> BoxStream<'_, Hint> {
        self.notes().watches += 1;
        let first = self.notes().watches == 1;
        let mut streams = vec![self.inner.watch(fence)];
        if self.flaw == Flaw::WatchesAll {
            let others = self
                .engine
                .living()
                .into_iter()
                .map(|view| Fence { platform: view.platform, epoch: view.epoch });
            streams.extend(others.map(|fence| self.inner.watch(fence)));
        }
        let deaf_from = match self.flaw {
            Flaw::WatchGoesDeaf => self.engine.clock().now() + Duration::from_millis(400),
            Flaw::WatchesOnce if !first => Timestamp::EPOCH,
            _ => Timestamp::MAX,
        };
        Box::pin(Watch { streams, deaf_from, engine: self.engine.clone() })
    }

    fn freeze(&self, fence: Fence, instance: InstanceId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let view = self.engine.view(fence.platform, instance);
            let frozen = view.is_some_and(|view| view.condition == Condition::Frozen);
            match self.flaw == Flaw::RefusesRepeatedFreeze && frozen {
                true => Err(Error::new(ErrorKind::Conflict, "it is frozen")),
                false => self.inner.freeze(fence, instance).await,
            }
        })
    }

    fn thaw(&self, fence: Fence, instance: InstanceId) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.thaw(fence, instance)
    }

    fn run_command(
        &self,
        fence: Fence,
        instance: InstanceId,
        command: Vec<String>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<CommandOutput, Error>> {
        Box::pin(async move {
            let well = CommandOutput { exit: ExitStatus::Code(0).into() };
            match (self.flaw, self.inner.run_command(fence, instance, command, limit).await) {
                (Flaw::CommandsAlwaysSucceed, Ok(_)) => Ok(well),
                (Flaw::CommandsNeverTimeOut, Err(error)) if error.kind() == ErrorKind::TimedOut => {
                    Ok(well)
                }
                (_, answer) => answer,
            }
        })
    }

    fn logs(
        &self,
        fence: Fence,
        instance: InstanceId,
        since: Timestamp,
    ) -> BoxFuture<'_, Result<BoxStream<'_, LogLine>, Error>> {
        Box::pin(async move {
            let since = if self.flaw == Flaw::LogsForgetSince { Timestamp::EPOCH } else { since };
            let lines = self.inner.logs(fence, instance, since).await?;
            match self.flaw == Flaw::LogsNothing {
                true => Ok(Box::pin(Nothing) as BoxStream<'_, LogLine>),
                false => Ok(lines),
            }
        })
    }

    fn usage(
        &self,
        fence: Fence,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<InstanceUsage, Error>> {
        Box::pin(async move {
            match (self.flaw, self.inner.usage(fence, instance).await) {
                (Flaw::MeasuresNothing, Ok(_))
                | (Flaw::AnswersUndeclared | Flaw::MeasuresWhatIsNotThere, Err(_)) => {
                    Ok(InstanceUsage::default())
                }
                (_, answer) => answer,
            }
        })
    }

    fn listening_ports(
        &self,
        fence: Fence,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<Vec<u16>, Error>> {
        Box::pin(async move {
            let ports = self.inner.listening_ports(fence, instance).await?;
            Ok(if self.flaw == Flaw::SeesNoPorts { Vec::new() } else { ports })
        })
    }

    fn capacity(&self, fence: Fence) -> BoxFuture<'_, Result<HostCapacity, Error>> {
        Box::pin(async move {
            let capacity = self.inner.capacity(fence).await?;
            Ok(match self.flaw == Flaw::HasNothing {
                true => HostCapacity::new(None, 0, 0),
                false => capacity,
            })
        })
    }

    fn reap(&self, fence: Fence, foreign: ForeignInstance) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match self.flaw {
                Flaw::ReapsNothing if foreign.platform != Some(fence.platform) => Ok(()),
                Flaw::ReapsQuietly => self.inner.reap(fence, foreign).await.or(Ok(())),
                _ => self.inner.reap(fence, foreign).await,
            }
        })
    }
}

/// Does what the flaw does when the future that holds it is dropped midway.
struct Dropped<'a> {
    saboteur: &'a Saboteur,
    fence: Fence,
    id: InstanceId,
    armed: bool,
}

impl<'a> Dropped<'a> {
    fn watch(saboteur: &'a Saboteur, flaw: Flaw, fence: Fence, id: InstanceId) -> Self {
        Self { saboteur, fence, id, armed: saboteur.flaw == flaw }
    }

    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.saboteur.notes().stopping.remove(&(self.fence.platform, self.id));
        if !self.armed {
            return;
        }
        if self.saboteur.flaw == Flaw::ForgetsDroppedStop {
            self.saboteur.notes().gave_up.insert(self.id);
            return;
        }
        let (inner, clock) = (self.saboteur.inner.clone(), self.saboteur.engine.clock().clone());
        let (fence, copy) = (self.fence, self.id.service.instance(self.id.number | HIDDEN));
        drop(clock.clone().spawn(async move {
            clock.sleep(Duration::from_millis(50)).await;
            inner.start(fence, StartRequest::command(copy, ["serve"])).await
        }));
    }
}

struct Watch<'a> {
    streams: Vec<BoxStream<'a, Hint>>,
    deaf_from: Timestamp,
    engine: SharedEngine,
}

impl Stream for Watch<'_> {
    type Item = Hint;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Hint>> {
        if self.engine.clock().now() >= self.deaf_from {
            return Poll::Pending;
        }
        for stream in &mut self.streams {
            if let Poll::Ready(hint) = stream.as_mut().poll_next(context) {
                return Poll::Ready(hint);
            }
        }
        Poll::Pending
    }
}

struct Nothing;

impl Stream for Nothing {
    type Item = LogLine;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<LogLine>> {
        Poll::Ready(None)
    }
}

#[derive(Debug)]
struct Leak(String);

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Leak {}
