//! The parts of a test, each the same program once more, and the words by which it is told which.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::own::own_path;

/// What a process was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Conducts the test, in a namespace of its own where that is to be had.
    Stage(Plan),
    /// Asks, and writes down what became of it.
    Load(PathBuf),
    /// The platform under test, at a time that is so many seconds away from the true one.
    Platform(PathBuf, i64),
    /// Reads both logs.
    Judge(PathBuf, u32),
    /// An instance.
    App(App),
    /// What an instance has started beside itself.
    Child(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) program: String,
    pub(super) seconds: u64,
    pub(super) seed: u64,
    /// In namespaces of users and mounts of its own.
    pub(super) in_namespace: bool,
}

/// What an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct App {
    /// Of which test, as the process is found by.
    pub(super) run: String,
    pub(super) service: String,
    pub(super) version: String,
    pub(super) manner: Manner,
}

/// How an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Well,
    /// Answers requests and fails every probe.
    NeverHealthy,
    /// Ends before it listens.
    Crashes,
}

impl Role {
    /// What these arguments say, if they say any.
    pub(super) fn of(words: &[String]) -> Option<Self> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let [MARK, role, rest @ ..] = &*words else { return None };
        Some(match (*role, rest) {
            ("stage", rest) => Self::Stage(Plan::parse(rest)?),
            ("load", [place]) => Self::Load(place.into()),
            ("platform", [place, shift]) => Self::Platform(place.into(), shift.parse().ok()?),
            ("judge", [place, kills]) => Self::Judge(place.into(), kills.parse().ok()?),
            ("app", rest) => Self::App(App::parse(rest)?),
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
}

impl Plan {
    pub(super) fn parse(words: &[&str]) -> Option<Self> {
        let [program, seconds, seed, in_namespace] = words else { return None };
        Some(Self {
            program: (*program).to_owned(),
            seconds: seconds.parse().ok()?,
            seed: seed.parse().ok()?,
            in_namespace: in_namespace.parse().ok()?,
        })
    }

    pub(super) fn words(&self) -> Vec<String> {
        let Self { program, seconds, seed, in_namespace } = self;
        vec![program.clone(), seconds.to_string(), seed.to_string(), in_namespace.to_string()]
    }
}

impl App {
    pub(super) fn parse(words: &[&str]) -> Option<Self> {
        let [run, service, version, manner] = words else { return None };
        let manner = match *manner {
            "well" => Manner::Well,
            "never-healthy" => Manner::NeverHealthy,
            "crashes" => Manner::Crashes,
            _ => return None,
        };
        let [run, service, version] = [run, service, version].map(|word| (*word).to_owned());
        Some(Self { run, service, version, manner })
    }

    pub(super) fn words(&self) -> Vec<String> {
        let manner = match self.manner {
            Manner::Well => "well",
            Manner::NeverHealthy => "never-healthy",
            Manner::Crashes => "crashes",
        };
        [&*self.run, &*self.service, &*self.version, manner].map(str::to_owned).to_vec()
    }
}

/// What comes before all else on the command line of a part.
pub(super) const MARK: &str = "certificate-part";
