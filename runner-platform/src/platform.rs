//! The handle: what a program asks of its platform.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use runner_core::{
    backend::{ForeignInstance, LogLine},
    error::ErrorKind,
    id::{InstanceId, OperationId, PlatformId, RevisionNumber, ServiceName},
    journal::HistoryEntry,
    service::{Command, Dump},
    spec::{Plan, ServiceBuilder, ServiceSpec, plan},
    time::Timestamp,
};
use runner_proxy::pool::Pool;
use tokio::sync::{mpsc, oneshot};

use crate::{
    DataPath, Error, Operation, PlatformBuilder, ServicePath,
    describe::Description,
    events::Events,
    message::{Aftermath, Message, Request},
    offered, operation,
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
        let before = self.describe(spec.name().as_str()).await?.spec;
        offered::check(spec.revision(), spec.settings(), Some(before.settings()))?;
        let (name, revision, settings) = spec.into_parts();
        let (revision, settings) = (Some(Arc::new(revision)), Some(Arc::new(settings)));
        self.begin(name.as_str(), Command::Update { revision, settings }).await
    }

    /// Changes some of a service and keeps the rest.
    ///
    /// # Errors
    ///
    /// See [`update`](Self::update).
    pub async fn change(
        &self,
        name: &str,
        change: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
    ) -> Result<Operation, Error> {
        let now = self.describe(name).await?.spec;
        self.update(name, change(ServiceBuilder::from(&now))).await
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
        let seen = self.describe(name).await?;
        let found = seen.operations.into_iter().find(|one| one.id == id).ok_or_else(|| {
            runner_core::Error::not_found(format!("`{name}` has no operation {id} any more"))
        })?;
        Ok(match &found.ended {
            Some((_, ending)) => operation::ended(id, found.kind, seen.name, ending),
            None => {
                self.shared.with(|registry| registry.operations.begin(id, found.kind, &seen.name))
            }
        })
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
        Events::new(self.shared.events.subscribe())
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

    /// What the instances that a service has now wrote from `since` on, and go on to write: ends
    /// when all of them have.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) where the backend cannot read it.
    pub async fn logs(&self, name: &str, since: Timestamp) -> Result<Logs, Error> {
        if !self.shared.capabilities.logs {
            let message = "this backend cannot read what instances write";
            return Err(runner_core::Error::new(ErrorKind::Unsupported, message).into());
        }
        let instances = self.describe(name).await?.instances;
        let (sender, lines) = mpsc::channel(LINES);
        for one in instances {
            let request = Request::Follow { instance: one.id, since, lines: sender.clone() };
            self.shared.requests.send(request).await.map_err(|_| Error::Stopped)?;
        }
        Ok(Logs { lines })
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
    /// It outlives the driver: then it serves on with what it was told last.
    pub fn service(&self) -> DataPath {
        self.shared.paths.service()
    }

    /// The path of one service by its name, whatever its routes say: how services reach each other,
    /// those that are not published included.
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

    /// Ends the platform: no more commands, then its instances as `aftermath` says, all by the
    /// deadline. The driver's future is over when this answers.
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

/// What instances write; made by [`Platform::logs`].
#[derive(Debug)]
pub struct Logs {
    lines: mpsc::Receiver<(InstanceId, LogLine)>,
}

impl Logs {
    /// The next line, and whose it is; nothing when there is no more. May be dropped and called
    /// again.
    pub async fn next(&mut self) -> Option<(InstanceId, LogLine)> {
        self.lines.recv().await
    }
}

/// As many lines as are read ahead of who follows.
const LINES: usize = 64;
