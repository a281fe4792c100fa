//! The handle: what a program asks of its platform.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use runner_core::{
    backend::ForeignInstance,
    error::ErrorKind,
    id::{OperationId, PlatformId, RevisionNumber, ServiceName},
    journal::HistoryEntry,
    service::{Command, Dump},
    spec::{Plan, ServiceBuilder, ServiceSpec, plan},
    time::Timestamp,
};
use runner_proxy::pool::Pool;
use tokio::sync::{mpsc, oneshot};

use crate::{
    DataPath, Error, Operation, PlatformBuilder, ServicePath,
    describe::{Description, OperationDump},
    events::Events,
    logs::{LINES, Logs, LogsFrom},
    message::{Aftermath, Follow, Message, Request},
    offered,
    shared::{Entry, Shared, Stage},
};

/// A platform. Cheap to clone; all clones are one.
///
/// Every method that changes something answers once the change is durable and accepted. Dropping
/// its future before may leave it undone or done, never half.
#[derive(Clone, Debug)]
pub struct Platform {
    shared: Arc<Shared>,
    addresses: Arc<[SocketAddr]>,
}

impl Platform {
    /// A platform with defaults for everything.
    pub fn builder() -> PlatformBuilder {
        PlatformBuilder::new()
    }

    pub(crate) fn new(shared: Arc<Shared>, addresses: Vec<SocketAddr>) -> Self {
        Self { shared, addresses: addresses.into() }
    }

    /// Which platform it is, as its instances are marked.
    pub fn id(&self) -> PlatformId {
        self.shared.fence.platform
    }

    /// Where clients are served, as far as [`listen`](PlatformBuilder::listen) said so: with the
    /// port that was taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Creates a service and deploys its first revision.
    ///
    /// As with every method that asks something of the platform, it waits until the
    /// [driver](crate::Driver::run) has read the journal: for ever where nobody runs it.
    ///
    /// # Errors
    ///
    /// When the specification is not sound, asks for what this platform does not do, the name is
    /// taken, or it cannot be stored.
    pub async fn create(
        &self,
        name: impl Into<String>,
        spec: impl Into<ServiceBuilder>,
    ) -> Result<Operation, Error> {
        let spec = spec.into().check(name).map_err(Error::Invalid)?.value;
        self.create_checked(spec).await
    }

    /// Creates a service that is checked already.
    ///
    /// # Errors
    ///
    /// When the name is taken, or it cannot be stored.
    pub async fn create_checked(&self, spec: ServiceSpec) -> Result<Operation, Error> {
        offered::check(spec.revision(), spec.settings(), None)?;
        self.shared.running().await?;
        let (answer, answered) = oneshot::channel();
        let request = Request::Create { spec: Box::new(spec), answer };
        self.shared.requests.send(request).await.map_err(|_| Error::Stopped)?;
        self.owed(answered).await?
    }

    /// Makes a service what this specification says: settings at once, a change of the revision by
    /// a deployment.
    ///
    /// # Errors
    ///
    /// When the specification is not sound, the service refuses it, or it cannot be stored.
    pub async fn update(
        &self,
        name: &str,
        spec: impl Into<ServiceBuilder>,
    ) -> Result<Operation, Error> {
        let spec = spec.into().check(name).map_err(Error::Invalid)?.value;
        self.update_checked(spec).await
    }

    /// The same with a specification that is checked already; it says of which service.
    ///
    /// # Errors
    ///
    /// When the service refuses it, or it cannot be stored.
    pub async fn update_checked(&self, spec: ServiceSpec) -> Result<Operation, Error> {
        let turns = self.entry(spec.name().as_str()).await?.turns;
        let _turn = turns.lock().await;
        self.update_in_turn(spec).await
    }

    async fn update_in_turn(&self, spec: ServiceSpec) -> Result<Operation, Error> {
        let before = self.describe(spec.name().as_str()).await?.spec;
        offered::check(spec.revision(), spec.settings(), Some(before.settings()))?;
        let (name, revision, settings) = spec.into_parts();
        let (revision, settings) = (Some(Arc::new(revision)), Some(Arc::new(settings)));
        self.begin(name.as_str(), Command::Update { revision, settings }).await
    }

    /// Changes some of a service and keeps the rest: of two who change it at once, each finds what
    /// the other made of it.
    ///
    /// # Errors
    ///
    /// See [`update`](Self::update).
    pub async fn change(
        &self,
        name: &str,
        change: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
    ) -> Result<Operation, Error> {
        let turns = self.entry(name).await?.turns;
        let _turn = turns.lock().await;
        let now = self.describe(name).await?.spec;
        let spec = change(ServiceBuilder::from(&now)).check(name).map_err(Error::Invalid)?;
        self.update_in_turn(spec.value).await
    }

    /// Creates a service, or makes it what this specification says.
    ///
    /// # Errors
    ///
    /// See [`create`](Self::create) and [`update`](Self::update).
    pub async fn apply(&self, spec: ServiceSpec) -> Result<Operation, Error> {
        self.shared.running().await?;
        match self.shared.entry(spec.name().as_str()) {
            Some(_) => self.update_checked(spec).await,
            None => self.create_checked(spec).await,
        }
    }

    /// What [`apply`](Self::apply) would do.
    ///
    /// # Errors
    ///
    /// When the service cannot be asked.
    pub async fn plan(&self, spec: &ServiceSpec) -> Result<Plan, Error> {
        match self.describe(spec.name().as_str()).await {
            Ok(now) => Ok(plan(&now.spec, spec)),
            Err(Error::NoSuchService(_)) => Ok(Plan::creating(spec)),
            Err(error) => Err(error),
        }
    }

    /// Deploys once more what is specified: a tag that moved, secrets that were rotated.
    ///
    /// # Errors
    ///
    /// When the service refuses it, or it cannot be stored.
    pub async fn deploy(&self, name: &str) -> Result<Operation, Error> {
        self.begin(name, Command::Deploy).await
    }

    /// Returns to a revision that served before.
    ///
    /// # Errors
    ///
    /// When the service refuses it, or it cannot be stored.
    pub async fn roll_back(&self, name: &str, to: RevisionNumber) -> Result<Operation, Error> {
        self.begin(name, Command::RollBack(to)).await
    }

    /// Gives up the operation under way, and returns to what was.
    ///
    /// # Errors
    ///
    /// When there is nothing to give up, or it cannot be stored.
    pub async fn cancel(&self, name: &str) -> Result<(), Error> {
        self.command(name, Command::Cancel).await.map(drop)
    }

    /// Lets requests move to the new revision.
    ///
    /// # Errors
    ///
    /// When nothing waits for it, or it cannot be stored.
    pub async fn approve(&self, name: &str) -> Result<(), Error> {
        self.command(name, Command::Approve).await.map(drop)
    }

    /// Has no instance until it is resumed.
    ///
    /// # Errors
    ///
    /// When the service refuses it, or it cannot be stored.
    pub async fn pause(&self, name: &str) -> Result<Operation, Error> {
        self.begin(name, Command::Pause).await
    }

    /// Has instances again, of the revision that served last.
    ///
    /// # Errors
    ///
    /// When the service refuses it, or it cannot be stored.
    pub async fn resume(&self, name: &str) -> Result<Operation, Error> {
        self.begin(name, Command::Resume).await
    }

    /// Is gone. Its name is free when the operation is finished.
    ///
    /// # Errors
    ///
    /// When the service refuses it, or it cannot be stored.
    pub async fn delete(&self, name: &str) -> Result<Operation, Error> {
        self.begin(name, Command::Delete).await
    }

    /// An operation by its id, also one that was accepted before a restart: of the newest twenty of
    /// its service.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when it is none of those.
    pub async fn operation(&self, name: &str, id: OperationId) -> Result<Operation, Error> {
        let entry = self.entry(name).await?;
        let (answer, answered) = oneshot::channel();
        self.send(name, &entry, Message::Follow(id, answer)).await?;
        let found = self.owed(answered).await?;
        Ok(found.ok_or_else(|| no_operation(name, id))?)
    }

    /// A service at this moment.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be asked.
    pub async fn describe(&self, name: &str) -> Result<Description, Error> {
        let entry = self.entry(name).await?;
        let (answer, answered) = oneshot::channel();
        self.send(name, &entry, Message::Describe(answer)).await?;
        self.owed(answered).await
    }

    /// Everything about a service, for a ticket: serialises as JSON, and
    /// holds the value of no secret.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be asked.
    pub async fn dump(&self, name: &str) -> Result<Dump, Error> {
        let entry = self.entry(name).await?;
        let (answer, answered) = oneshot::channel();
        self.send(name, &entry, Message::Dump(answer)).await?;
        self.owed(answered).await
    }

    /// Everything about one operation of a service, for a ticket: serialises as JSON, and holds the
    /// value of no secret. Of the newest twenty of its service.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when it is none of those; when the journal cannot be read.
    pub async fn dump_operation(
        &self,
        name: &str,
        id: OperationId,
    ) -> Result<OperationDump, Error> {
        let Description { operations, spec, .. } = self.describe(name).await?;
        let found = operations.into_iter().find(|one| one.id == id);
        let operation = found.ok_or_else(|| no_operation(name, id))?;
        let until = operation.ended.as_ref().map_or(Timestamp::MAX, |(at, _)| *at);
        let mut history = self.history(name, HISTORY).await?;
        history.retain(|entry| (operation.began..=until).contains(&entry.at));
        history.reverse();
        let service = self.dump(name).await?;
        Ok(OperationDump { operation, history, spec, service })
    }

    /// The names of all services.
    ///
    /// # Errors
    ///
    /// When the driver does not run any more.
    pub async fn list(&self) -> Result<Vec<ServiceName>, Error> {
        self.shared.running().await?;
        Ok(self.shared.with(|registry| registry.services.keys().cloned().collect()))
    }

    /// What happens from now on, to all services.
    pub fn events(&self) -> Events {
        Events::new(self.shared.events.subscribe(), None)
    }

    /// What happens from now on to one service.
    ///
    /// # Errors
    ///
    /// When there is no such service.
    pub async fn events_of(&self, name: &str) -> Result<Events, Error> {
        let heard = self.shared.events.subscribe();
        self.entry(name).await?;
        let only = name.parse().map_err(|_| Error::NoSuchService(name.to_owned()))?;
        Ok(Events::new(heard, Some(only)))
    }

    /// What happened to a service, newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// When there is none, or the journal cannot be read.
    pub async fn history(&self, name: &str, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let entry = self.entry(name).await?;
        Ok(self.shared.journal.history(entry.id, limit).await?)
    }

    /// What the instances of a service write: all that there are, all that come while it is
    /// followed (by scaling, by deployments, after a crash), and what those wrote that have just
    /// ended. Ends when the service is gone or the platform ends; dropped, nobody reads any more.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) where the backend cannot read it; when there is no
    /// such service.
    pub async fn logs(&self, name: &str, from: LogsFrom) -> Result<Logs, Error> {
        if !self.shared.capabilities.logs {
            let message = "this backend cannot read what instances write";
            return Err(runner_core::Error::new(ErrorKind::Unsupported, message).into());
        }
        let service = self.entry(name).await?.id;
        let births = self.shared.births.subscribe();
        let (sender, lines) = mpsc::channel(LINES);
        let request = Request::Follow(Follow { service, from, births, lines: sender });
        self.shared.requests.send(request).await.map_err(|_| Error::Stopped)?;
        Ok(Logs::new(lines))
    }

    /// What unknown platforms left beside this one's instances, as of the newest list.
    pub fn foreign(&self) -> Vec<ForeignInstance> {
        self.shared.with(|registry| registry.foreign.clone())
    }

    /// Removes what an unknown platform left, because a person asked for it.
    ///
    /// # Errors
    ///
    /// What the backend answers.
    pub async fn reap(&self, foreign: ForeignInstance) -> Result<(), Error> {
        Ok(self.shared.backend.reap(self.shared.fence, foreign).await?)
    }

    /// The whole data path as a tower service, for those who bring their own server and TLS: by
    /// host and path to a service, through its queue, to an instance.
    ///
    /// Connections to instances are the driver's and end with it. [`shutdown`](Self::shutdown)
    /// finishes what is under way first, and refuses what comes meanwhile: who has a server of
    /// their own lets that one drain before.
    pub fn service(&self) -> DataPath {
        self.shared.paths.service()
    }

    /// The same by name, of every service, published or not: what stands behind the
    /// [inner door](PlatformBuilder::inner_door), where there is one. Whoever puts a server of their
    /// own before it says where by [`InnerDoor::elsewhere`](crate::InnerDoor::elsewhere).
    pub fn inner_service(&self) -> Option<DataPath> {
        Some(self.shared.paths.names.as_ref()?.service())
    }

    /// Where instances are told that they reach other services, where there is an
    /// [inner door](PlatformBuilder::inner_door).
    pub fn inner_address(&self) -> Option<&str> {
        Some(self.shared.paths.names.as_ref()?.told.as_str())
    }

    /// The path of one service by its name, whatever its routes say: how services reach each other,
    /// those that are not published included. It takes requests as the
    /// [inner door](PlatformBuilder::inner_door) does.
    ///
    /// # Errors
    ///
    /// When there is no such service.
    pub async fn service_of(&self, name: &str) -> Result<ServicePath, Error> {
        let entry = self.entry(name).await?;
        Ok(entry.way.path_inside())
    }

    /// The queue of a service: its layer puts any forwarding of one's own behind it.
    ///
    /// # Errors
    ///
    /// When there is no such service.
    pub async fn pool(&self, name: &str) -> Result<Pool, Error> {
        Ok(self.entry(name).await?.way.pool)
    }

    /// Writes a copy of the journal to a file that is not there yet, while all goes on. The copy is
    /// put in the place of the journal while no driver runs, and opened like it.
    ///
    /// What was changed since is forgotten then. Whoever still runs from the original is refused by
    /// the backend from the opening of the copy on.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) where the journal is in memory or has its own means,
    /// [`Conflict`](ErrorKind::Conflict) where there is something already, and what the disk
    /// answers.
    pub async fn back_up(&self, to: impl Into<PathBuf>) -> Result<(), Error> {
        Ok(self.shared.journal.back_up(to.into()).await?)
    }

    /// Ends the platform: no more commands, requests that are under way are finished (by whichever
    /// server they came) and new ones refused, then its instances are what `aftermath` says, all by
    /// the deadline. The driver's future is over when this answers.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) for [`Leave`](Aftermath::Leave) where the journal is
    /// in memory: nobody would ever find those instances again.
    pub async fn shutdown(&self, deadline: Duration, aftermath: Aftermath) -> Result<(), Error> {
        if aftermath == Aftermath::Leave && !self.shared.is_durable {
            let message = "instances cannot be left without a journal on disk; give the platform \
                           a journal, or stop them";
            return Err(runner_core::Error::unsupported(message).into());
        }
        self.shared.running().await?;
        let until = self.shared.clock.now() + deadline;
        let (answer, answered) = oneshot::channel();
        let request = Request::Shutdown { aftermath, until, answer };
        self.shared.requests.send(request).await.map_err(|_| Error::Stopped)?;
        answered.await.map_err(|_| Error::Stopped)
    }

    async fn begin(&self, name: &str, command: Command) -> Result<Operation, Error> {
        let operation = self.command(name, command).await?;
        Ok(operation.ok_or_else(|| runner_core::Error::bug("the command came to no operation"))?)
    }

    async fn command(&self, name: &str, command: Command) -> Result<Option<Operation>, Error> {
        let entry = self.entry(name).await?;
        let (answer, answered) = oneshot::channel();
        self.send(name, &entry, Message::Command(Box::new(command), answer)).await?;
        self.owed(answered).await?
    }

    async fn entry(&self, name: &str) -> Result<Entry, Error> {
        self.shared.running().await?;
        let entry = self.shared.entry(name);
        entry.map(|(_, entry)| entry).ok_or_else(|| Error::NoSuchService(name.to_owned()))
    }

    async fn send(&self, name: &str, entry: &Entry, message: Message) -> Result<(), Error> {
        let sent = entry.inbox.send(message).await;
        sent.map_err(|_| match self.shared.entry(name) {
            _ if *self.shared.stage.borrow() > Stage::Running => Error::Stopped,
            Some((_, now)) if now.id == entry.id => Error::Panicked,
            _ => Error::NoSuchService(name.to_owned()),
        })
    }

    /// An answer that a task owes; where the task is gone, why.
    async fn owed<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, Error> {
        answer.await.map_err(|_| match *self.shared.stage.borrow() {
            Stage::Recovering | Stage::Running => Error::Panicked,
            Stage::Stopping | Stage::Ended => Error::Stopped,
        })
    }
}

fn no_operation(name: &str, id: OperationId) -> runner_core::Error {
    runner_core::Error::not_found(format!("`{name}` has no operation {id} any more"))
}

/// As far back as an operation is looked for in the history: more than any has entries, however
/// many of its instances fail.
const HISTORY: usize = 1_000;
