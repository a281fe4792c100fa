//! The kit for backends.

mod capabilities;
mod crash;
mod cycles;
mod isolation;
mod observe;
mod stage;
mod start;
mod stop;

use std::{sync::Arc, time::Duration};

use self::stage::{Ground, Stage, Witness};
use super::{
    KitClock, Report,
    run::{Clause, report, run_check},
};
use crate::{
    BoxFuture, Error,
    backend::{ContainerBackend, ExitStatus, StartRequest},
    id::{InstanceId, PlatformId},
};

/// What a program that the kit asks for should do.
///
/// Nothing else is asked of it: it may listen or not, and it may be any program. A backend that
/// cannot run a program of a kind answers nothing, and the checks that need it are skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// Runs, and listens where `PORT` says, until it is asked to stop; then ends soon.
    Serve,
    /// Ends soon by itself with this code.
    Exit(u8),
    /// Runs until it is killed, whatever it is asked.
    IgnoreStop,
    /// Writes this line to its standard output soon, then serves.
    Print(&'static str),
    /// Cannot be started: there is no such program.
    Missing,
}

/// Holds a [`ContainerBackend`] to its [contract](crate::backend).
///
/// See the [kit's page](super) for an example. The engine may be in use: the kit works with
/// platforms of its own, drawn from its [seed](Self::seed), and stops what it started.
#[derive(Clone)]
#[must_use = "a kit does nothing until it is run"]
pub struct BackendKit {
    ground: Ground,
}

impl BackendKit {
    /// A kit for the backend that `open` opens, with programs that `request` gives.
    ///
    /// `open` is called again after each crash that the kit plays, which is to drop the handle
    /// before it. It should be quick: whoever has to connect does so at the first call.
    pub fn new(
        subject: impl Into<String>,
        clock: impl KitClock,
        open: impl Fn() -> Result<Arc<dyn ContainerBackend>, Error> + Send + Sync + 'static,
        request: impl Fn(InstanceId, &Act) -> Option<StartRequest> + Send + Sync + 'static,
    ) -> Self {
        Self {
            ground: Ground {
                subject: subject.into(),
                clock: Arc::new(clock),
                open: Arc::new(open),
                request: Arc::new(request),
                witness: None,
                command: None,
                endless_command: None,
                room: None,
                seed: 1,
                settle: Duration::from_millis(500),
                patience: Duration::from_secs(10),
                cycles_for: Duration::from_secs(10),
                cycles_at_most: 1000,
            },
        }
    }

    /// What truly runs, by somebody who does not ask the backend: one entry for each copy. It
    /// sees what a list hides, such as an instance that was started twice.
    pub fn witness<F>(mut self, witness: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<(PlatformId, InstanceId)>> + Send + 'static,
    {
        let witness: Witness = Arc::new(move || Box::pin(witness()) as BoxFuture<'static, Vec<_>>);
        self.ground.witness = Some(witness);
        self
    }

    /// A command that can be run in an instance of [`Act::Serve`], and how it ends.
    pub fn command(
        mut self,
        command: impl IntoIterator<Item = impl Into<String>>,
        ends: ExitStatus,
    ) -> Self {
        self.ground.command = Some((command.into_iter().map(Into::into).collect(), ends));
        self
    }

    /// A command that can be run in an instance of [`Act::Serve`] and takes a minute or longer.
    pub fn endless_command(mut self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.ground.endless_command = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// The engine has room for exactly so many instances, at least 1: the kit fills it up.
    ///
    /// # Panics
    ///
    /// When there is room for none.
    pub fn room(mut self, instances: usize) -> Self {
        assert!(instances > 0, "an engine without room starts nothing that could be examined");
        self.ground.room = Some(instances);
        self
    }

    /// Where the ids of the kit's platforms and services are drawn from. An engine that remembers
    /// an earlier run needs another seed each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.ground.seed = seed;
        self
    }

    /// How long a program takes to come up and to install its handlers, and a dropped call to do
    /// whatever it still does. Half a second unless it is said; a program that takes longer now and
    /// then fails no check.
    pub fn settle(mut self, settle: Duration) -> Self {
        self.ground.settle = settle;
        self
    }

    /// How long the kit waits for what has to happen soon. Ten seconds unless it is said; each
    /// check may take ten times that.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.ground.patience = patience;
        self
    }

    /// For how long instances are started and stopped again in a row: as often as fits, at least
    /// 40 times and at most `at_most`. Ten seconds and a thousand times unless it is said.
    pub fn cycles(mut self, span: Duration, at_most: usize) -> Self {
        (self.ground.cycles_for, self.ground.cycles_at_most) = (span, at_most);
        self
    }

    /// The names of all checks, in the order in which they run.
    pub fn checks() -> Vec<&'static str> {
        clauses().into_iter().map(|clause| clause.name).collect()
    }

    /// Runs all checks, one after another.
    ///
    /// Dropping the future leaves what runs at that moment; the next run with the same seed may
    /// then meet it.
    pub async fn run(self) -> Report {
        let ground = Arc::new(self.ground);
        let began = ground.clock.now();
        let (mut checks, mut timings, mut platforms) = (Vec::new(), Vec::new(), Vec::new());
        let limit = ground.patience * 10 + ground.cycles_for;
        for (number, clause) in clauses().iter().enumerate() {
            let stage = Stage::new(&ground, number, &platforms);
            checks.push(run_check(&*ground.clock, clause, stage.clone(), limit).await);
            stage.clear(limit).await;
            timings.extend(stage.timings());
            platforms.extend(stage.platforms());
        }
        Report { timings, ..report(&ground.subject, &ground.clock, began, checks) }
    }
}

impl std::fmt::Debug for BackendKit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendKit").field("subject", &self.ground.subject).finish_non_exhaustive()
    }
}

/// In the order of the contract; what is left over is asked last.
fn clauses() -> Vec<Clause<Stage>> {
    [
        start::clauses(),
        stop::clauses(),
        observe::clauses(),
        isolation::clauses(),
        crash::clauses(),
        capabilities::clauses(),
        cycles::clauses(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
