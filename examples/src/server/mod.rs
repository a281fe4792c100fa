//! A platform with a front door inside this program: instances are processes of this machine.
//!
//! Without a directory to keep its state in, nothing of it is left when it is closed. With one, the
//! next server of that directory takes up what it finds: after a crash, or when it was
//! [left](Server::leave).

mod entrance;
mod home;
mod interrupt;
mod logs;
mod scratch;
mod watch;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use futures_util::future::join_all;
use runner_backends::process::Process;
use runner_core::{
    backend::{Condition, ContainerBackend, Fence},
    id::Epoch,
    journal::Journal as _,
};
use runner_platform::{Aftermath, Error, Platform, PlatformBuilder, journal::DiskJournal};
use runner_proxy::front_door::inherited_tcp;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, interval, timeout},
};

pub use self::{entrance::Entrance, interrupt::Interrupts, scratch::Scratch};
use self::{home::Home, logs::Logs, watch::watch};
use crate::{
    screen::{Stage, Tone},
    words::{span, whole},
};

/// A platform that runs, until it is [closed](Self::close) or [left](Self::leave).
#[derive(Debug)]
#[must_use = "what is not closed leaves its instances running"]
pub struct Server {
    platform: Platform,
    backend: Process,
    fence: Fence,
    address: SocketAddr,
    driver: JoinSet<Result<(), Error>>,
    watch: JoinSet<()>,
    told: Told,
    home: Home,
}

/// Whether all that has happened was said: who tells a story of it waits for that between two acts.
#[derive(Clone, Debug)]
pub struct Told(mpsc::Sender<oneshot::Sender<()>>);

impl Told {
    /// Waits until it was.
    pub async fn all(&self) {
        let (tell, told) = oneshot::channel();
        if self.0.send(tell).await.is_ok() {
            // A server that has ended says no more.
            let _ = told.await;
        }
    }
}

/// How a server is opened.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "each program says all of it")]
pub struct Opening {
    /// Where clients come in.
    pub entrance: Entrance,
    /// Where its state is kept; nothing where nothing is to be remembered.
    pub state: Option<PathBuf>,
    /// Whether what instances write is said.
    pub logs: bool,
}

impl Server {
    /// Opens a platform at this address and shows it on the stage; at a free port where that one is
    /// busy, which is said. What else it is to be is left to `more`. It remembers nothing.
    ///
    /// # Errors
    ///
    /// As [`open_as`](Self::open_as).
    pub fn open(
        address: SocketAddr,
        stage: &Stage,
        more: impl FnOnce(PlatformBuilder) -> PlatformBuilder,
    ) -> Result<Self, Error> {
        let opening = Opening { entrance: Entrance::At(address), state: None, logs: false };
        Self::open_as(opening, stage, more)
    }

    /// Opens a platform and shows it on the stage.
    ///
    /// # Errors
    ///
    /// When there is no port, no directory, or another program has its state.
    pub fn open_as(
        opening: Opening,
        stage: &Stage,
        more: impl FnOnce(PlatformBuilder) -> PlatformBuilder,
    ) -> Result<Self, Error> {
        let Opening { entrance, state, logs } = opening;
        let place = Home::named(state.as_deref());
        let home = Home::open(state)
            .map_err(|error| outside(format!("{place} cannot be made or used"), error))?;
        let mut builder = Platform::builder();
        // A platform that keeps nothing has one epoch.
        let mut epoch = Epoch::FIRST;
        // Before anything else: who holds it has the rest, too.
        if let Some(path) = home.journal() {
            let journal = DiskJournal::builder(path).open()?;
            epoch = journal.opened().epoch;
            builder = builder.journal_in(journal);
        }
        let backend = Process::new(home.instances())?;
        let door = entrance.to_string();
        let taken = entrance.open(stage).and_then(|(listener, address)| {
            let listener = inherited_tcp(listener)?;
            Ok((listener, address))
        });
        let (listener, address) =
            taken.map_err(|error| outside(format!("clients cannot be let in {door}"), error))?;
        let builder = builder.backend(backend.clone()).listen_by(listener);
        let (platform, driver) = more(builder).build()?;
        let fence = Fence { platform: platform.id(), epoch };
        let logs = logs.then(|| Logs::new(platform.clone(), stage.clone()));
        let (mut tasks, mut watched) = (JoinSet::new(), JoinSet::new());
        let (ask, asked) = mpsc::channel(1);
        watched.spawn(watch(platform.clone(), stage.clone(), logs, asked));
        tasks.spawn(driver.run());
        let told = Told(ask);
        Ok(Self { platform, backend, fence, address, driver: tasks, watch: watched, told, home })
    }

    /// What is asked of it.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Whether all that has happened was said.
    pub fn told(&self) -> Told {
        self.told.clone()
    }

    /// Where clients are served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs a story on it to its end, unless somebody interrupts it or the platform ends. It is a
    /// task of its own: whatever happens in it, this goes on and can be closed.
    pub async fn hear<T: Send + 'static>(
        &mut self,
        story: impl Future<Output = Result<T, String>> + Send + 'static,
        interrupts: &mut Interrupts,
    ) -> Result<T, Ended> {
        let mut telling = JoinSet::new();
        telling.spawn(story);
        let told = tokio::select! {
            told = telling.join_next() => told,
            () = interrupts.next() => return Err(Ended::Interrupted),
            ended = self.driver.join_next() => {
                let why = match ended {
                    Some(Ok(Err(error))) => whole(&error),
                    Some(Err(panic)) => panic.to_string(),
                    Some(Ok(Ok(()))) | None => "nobody knows why".to_owned(),
                };
                return Err(Ended::Failed(format!("the platform has ended: {why}")));
            }
        };
        match told {
            Some(Ok(told)) => told.map_err(Ended::Failed),
            Some(Err(panic)) => Err(Ended::Failed(panic.to_string())),
            None => Err(Ended::Failed("there was nothing to tell".to_owned())),
        }
    }

    /// Lets clients and instances finish, within this time, and ends. One more interrupt ends it at
    /// once. Either way no instance is left.
    pub async fn close(mut self, within: Duration, stage: &Stage, interrupts: &mut Interrupts) {
        let most = span(within);
        stage.say(&*format!(
            "Ending: what is under way has {most} at most; Ctrl-C ends it at once."
        ));
        self.end(within, Aftermath::Stop, stage, interrupts).await;
        self.stop_what_is_left().await;
        self.drop_in_order();
    }

    /// Lets clients finish, within this time, and ends; instances go on, for the next server of the
    /// same state.
    pub async fn leave(mut self, within: Duration, stage: &Stage, interrupts: &mut Interrupts) {
        let most = span(within);
        stage.say(&*format!(
            "Ending: requests have {most} at most, instances go on; Ctrl-C ends it at once."
        ));
        self.end(within, Aftermath::Leave, stage, interrupts).await;
        self.drop_in_order();
    }

    async fn end(
        &mut self,
        within: Duration,
        aftermath: Aftermath,
        stage: &Stage,
        interrupts: &mut Interrupts,
    ) {
        self.count_down(within, aftermath, stage, interrupts).await;
        self.driver.shutdown().await;
        // Instances that were stopped had last words.
        let _ = timeout(LAST_WORDS, self.watch.join_next()).await;
        self.watch.shutdown().await;
    }

    fn drop_in_order(self) {
        let Self { platform, backend, home, .. } = self;
        // With its last handle the backend ends what it does in that directory.
        drop((platform, backend));
        drop(home);
    }

    /// Until all is finished, the time is over, or somebody will not wait.
    async fn count_down(
        &self,
        within: Duration,
        aftermath: Aftermath,
        stage: &Stage,
        interrupts: &mut Interrupts,
    ) {
        let mut shutdown = pin!(self.platform.shutdown(within, aftermath));
        let deadline = Instant::now() + within;
        let mut beat = interval(COUNT);
        loop {
            tokio::select! {
                // A driver that has ended already has nothing left to finish.
                _ = &mut shutdown => return,
                _ = beat.tick() => {
                    let left = span(deadline.saturating_duration_since(Instant::now()));
                    stage.show(|view| {
                        view.footer = format!("ending, in {left} at most; Ctrl-C ends it at once");
                    });
                }
                () = interrupts.next() => {
                    stage.say_in(Tone::Busy, "Ending at once.");
                    return;
                }
            }
        }
    }

    /// The backend's own word counts: what it still has is stopped.
    async fn stop_what_is_left(&self) {
        let Ok(listing) = self.backend.list(self.fence).await else { return };
        let alive =
            listing.instances.iter().filter(|one| !matches!(one.condition, Condition::Ended(_)));
        join_all(alive.map(|one| self.backend.stop(self.fence, one.instance, Duration::ZERO)))
            .await;
    }
}

fn outside(what: impl Into<String>, error: io::Error) -> Error {
    runner_core::Error::unavailable(what.into()).caused_by(error).into()
}

/// Why a story did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a program ends in one of these ways")]
pub enum Ended {
    /// Somebody asked for it.
    Interrupted,
    /// It cannot go on.
    Failed(String),
}

impl Ended {
    /// Says why on standard error, where there is something to say, and is the program's exit code.
    pub fn exit(&self, program: &str) -> ExitCode {
        match self {
            // As a shell has it for a program that was ended by Ctrl-C.
            Self::Interrupted => ExitCode::from(130),
            Self::Failed(why) => {
                let _ = writeln!(io::stderr().lock(), "{program}: {why}");
                ExitCode::FAILURE
            }
        }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(whole(&error))
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(whole(&error))
    }
}

/// How often the count-down counts.
const COUNT: Duration = Duration::from_millis(100);
/// How long what ended instances wrote last is waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
