//! The parts of a test, each the same program once more.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use runner_core::{Error, backend::ContainerBackend};

use super::{Place, app, judge, load, platform, stage};

/// What a process was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Conducts the test, in a namespace of its own where that is to be had.
    Stage(stage::Plan),
    /// Asks, and writes down what became of it.
    Load(PathBuf),
    /// The platform under test, at a time that is so many seconds away from the true one.
    Platform(PathBuf, i64),
    /// Reads both logs.
    Judge(PathBuf, u32),
    /// An instance.
    App(app::App),
    /// What an instance has started beside itself.
    Child(String),
}

impl Role {
    /// What these arguments say, if they say any.
    pub(super) fn of(words: &[String]) -> Option<Self> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let [MARK, role, rest @ ..] = &*words else { return None };
        Some(match (*role, rest) {
            ("stage", rest) => Self::Stage(stage::Plan::parse(rest)?),
            ("load", [place]) => Self::Load(place.into()),
            ("platform", [place, shift]) => Self::Platform(place.into(), shift.parse().ok()?),
            ("judge", [place, kills]) => Self::Judge(place.into(), kills.parse().ok()?),
            ("app", rest) => Self::App(app::App::parse(rest)?),
            ("child", [run]) => Self::Child((*run).to_owned()),
            _ => return None,
        })
    }

    /// The arguments that say so.
    pub(super) fn words(&self) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (role, rest) = match self {
            Self::Stage(plan) => ("stage", plan.words()),
            Self::Load(place) => ("load", vec![text(place)]),
            Self::Platform(place, shift) => ("platform", vec![text(place), shift.to_string()]),
            Self::Judge(place, kills) => ("judge", vec![text(place), kills.to_string()]),
            Self::App(app) => ("app", app.words()),
            Self::Child(run) => ("child", vec![run.clone()]),
        };
        [MARK, role].into_iter().map(str::to_owned).chain(rest).collect()
    }

    /// A process of this role, in a group of its own: Ctrl-C is for the stage alone.
    pub(super) fn command(&self) -> Command {
        use std::os::unix::process::CommandExt as _;

        let mut command = Command::new(own_path());
        command.args(self.words()).stdin(Stdio::null()).process_group(0);
        command
    }

    pub(super) fn play<B: ContainerBackend>(
        self,
        backend: &dyn Fn(&Place) -> Result<B, Error>,
    ) -> ExitCode {
        match self {
            Self::Stage(plan) => stage::conduct(&plan),
            Self::Load(place) => load::run(&place),
            Self::Platform(place, shift) => platform::run(&place, shift, backend),
            Self::Judge(place, kills) => judge::run(&place, kills),
            Self::App(app) => app.run(),
            Self::Child(_) => app::stay(),
        }
    }
}

/// The program that runs, as it can be started once more.
pub(super) fn own_path() -> String {
    let own = std::env::current_exe().expect("a program on Linux knows its path");
    own.to_string_lossy().into_owned()
}

/// One runtime on one thread, for a part that needs no more.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system gives a part of the test its poll").block_on(work)
}

/// What comes before all else on the command line of a part.
pub(super) const MARK: &str = "certificate-part";
