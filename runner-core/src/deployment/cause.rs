//! Why something failed: a code for programs, evidence, and what to do.
//!
//! # What users of App Runner had to find out by themselves
//!
//! Their sixteen usual troubles, and what each is called here. `runner-core/tests/machine.rs` holds
//! every line to its code, its evidence and its advice.
//!
//! | trouble | code | evidence | from |
//! |---|---|---|---|
//! | port binding | `WrongPort`, `NotListening` | the ports that are open instead | [`from_slow_start`] |
//! | environment | `ExitedAtStart` | exit code, last lines | [`from_exit`] |
//! | dependency missing | `ProgramNotFound` | exit code 126 or 127, last lines | [`from_exit`] |
//! | runtime configuration | `Unsupported` | what the backend answered | [`from_start`] |
//! | slow answers | `Latency` | both revisions' slowest hundredth | [`worse`] |
//! | memory leak | `OutOfMemory` | that it was killed for it, last lines | [`from_exit`] |
//! | database unreachable | `ProbeRefused` | the probe's bad answer | [`from_slow_start`] |
//! | scaling settings | `Exhausted` | what the backend has no more of | [`from_start`] |
//! | egress network | `Unsupported` | the network that is not there | [`from_start`] |
//! | firewall | `ProbeTimedOut` | port open, no answer in time | [`from_slow_start`] |
//! | time-out | `ProbeTimedOut` | how long the probe waited | [`from_slow_start`] |
//! | failing external API | `ErrorShare` | both revisions' share of errors | [`worse`] |
//! | build | `BuildFailed` | what the build answered | [`from_source`] |
//! | image pull | `ImageDenied`, `ImageNotFound` | what the registry answered | [`from_source`] |
//! | health check | `ProbeRefused` | path and status | [`from_slow_start`] |
//! | resource limit | `Unsupported` | what was asked, and what there is | [`from_start`] |
//!
//! A service that cannot reach a database or an outside address tells so only by what it does then:
//! the codes name what was seen, and the advice what to look for.
//!
//! [`from_slow_start`]: Cause::from_slow_start
//! [`from_exit`]: Cause::from_exit
//! [`from_start`]: Cause::from_start
//! [`from_source`]: Cause::from_source
//! [`worse`]: super::worse

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    backend::{Exit, ExitStatus},
    error::ErrorKind,
    id::InstanceId,
    spec::format_duration,
};

/// Why an instance, a deployment or an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cause {
    /// What programs match on.
    pub code: CauseCode,
    /// The instance that showed it first, where it was one.
    pub instance: Option<InstanceId>,
    /// What was seen.
    pub evidence: Vec<Evidence>,
}

/// Which kind of failure it is. Each says what to do ([`CauseCode::advice`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CauseCode {
    /// The process ended with an error before it was ready.
    ExitedAtStart,
    /// The program, or something it needs at once, is not there (127, or 126 where it cannot be
    /// run).
    ProgramNotFound,
    /// The process ended after it had been ready.
    Crashed,
    /// A limit on its memory was reached.
    OutOfMemory,
    /// It runs, nothing listens on its port, and another port is open.
    WrongPort,
    /// It runs, and nothing listens at all.
    NotListening,
    /// It listens, and the probe got a bad answer.
    ProbeRefused,
    /// It listens, and the probe got no answer in time.
    ProbeTimedOut,
    /// It did not become ready within its allowance, and nothing more is known.
    SlowStart,
    /// A new revision answers with more errors than the old one.
    ErrorShare,
    /// A new revision answers more slowly than the old one.
    Latency,
    /// Too few instances of the new revision stayed ready.
    LostInstances,
    /// The pre-deploy command failed.
    PreDeployFailed,
    /// The pre-deploy command took too long.
    PreDeployTimedOut,
    /// The platform stopped while the pre-deploy command ran, and nobody knows how it ended.
    PreDeployUnknown,
    /// The deployment took longer than it may.
    TooLong,
    /// Nobody approved it in time.
    NotApproved,
    /// A secret is not there, or may not be read.
    SecretMissing,
    /// The store of the secrets does not answer.
    SecretsUnavailable,
    /// The image is not there.
    ImageNotFound,
    /// The image may not be read.
    ImageDenied,
    /// The registry does not answer.
    RegistryUnavailable,
    /// The build failed.
    BuildFailed,
    /// The backend has nothing left to give.
    Exhausted,
    /// A resource, a network or an option was asked for that the backend does not have.
    Unsupported,
    /// The backend does not answer.
    BackendUnavailable,
    /// The backend refuses to start it.
    StartRefused,
    /// An instance could not be stopped.
    StopFailed,
    /// Somebody cancelled it.
    Cancelled,
    /// A newer change took its place.
    Superseded,
    /// The service was paused or deleted.
    Closed,
}

/// What was seen, in the order of weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// How the process ended, with the last lines it wrote.
    Exit(Exit),
    /// What the probe saw, in words.
    Probe(String),
    /// The port it should listen on, and those it listens on.
    Listening {
        /// Where it should.
        wanted: u16,
        /// Where it does.
        found: Vec<u16>,
    },
    /// What somebody who was asked answered.
    Answer(String),
    /// How long it was waited for.
    Waited(Duration),
    /// Which name is meant: a secret, an image, a network.
    Named(String),
    /// A number of the new revision and what it is compared with, each per mille or milliseconds.
    Compared {
        /// Green's.
        green: u64,
        /// Blue's.
        blue: u64,
    },
}

impl Cause {
    /// A cause without evidence.
    pub const fn new(code: CauseCode) -> Self {
        Self { code, instance: None, evidence: Vec::new() }
    }

    /// Adds what was seen.
    #[must_use]
    pub fn with(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    /// Says which instance showed it.
    #[must_use]
    pub const fn of(mut self, instance: InstanceId) -> Self {
        self.instance = Some(instance);
        self
    }

    /// What an end tells, of an instance that was ready before or was not.
    pub fn from_exit(exit: Exit, was_ready: bool) -> Self {
        let code = match exit.status {
            ExitStatus::OutOfMemory => CauseCode::OutOfMemory,
            ExitStatus::Code(126 | 127) if !was_ready => CauseCode::ProgramNotFound,
            _ if was_ready => CauseCode::Crashed,
            _ => CauseCode::ExitedAtStart,
        };
        Self::new(code).with(Evidence::Exit(exit))
    }

    /// What a failed start tells.
    pub fn from_start(error: &Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Exhausted => CauseCode::Exhausted,
            ErrorKind::Unsupported | ErrorKind::Invalid => CauseCode::Unsupported,
            ErrorKind::NotFound => CauseCode::ImageNotFound,
            ErrorKind::Unavailable | ErrorKind::TimedOut => CauseCode::BackendUnavailable,
            _ => CauseCode::StartRefused,
        };
        Self::new(code).with(Evidence::Answer(error.to_string()))
    }

    /// What it tells that a secret of this name could not be resolved.
    pub fn from_secret(name: &str, error: &Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::Exhausted => {
                CauseCode::SecretsUnavailable
            }
            _ => CauseCode::SecretMissing,
        };
        let named = Evidence::Named(name.to_owned());
        Self::new(code).with(named).with(Evidence::Answer(error.to_string()))
    }

    /// What it tells that a source of this name could not be resolved.
    pub fn from_source(name: &str, built: bool, error: &Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::TimedOut => CauseCode::RegistryUnavailable,
            ErrorKind::Denied => CauseCode::ImageDenied,
            _ if built => CauseCode::BuildFailed,
            ErrorKind::NotFound => CauseCode::ImageNotFound,
            _ => CauseCode::Unsupported,
        };
        let named = Evidence::Named(name.to_owned());
        Self::new(code).with(named).with(Evidence::Answer(error.to_string()))
    }

    /// What a start that ran out of time tells: which ports are open, and what the probe saw last.
    pub fn from_slow_start(
        wanted: u16,
        listening: Option<Vec<u16>>,
        probe: Option<ProbeSight>,
    ) -> Self {
        let code = match (&listening, &probe) {
            (Some(found), _) if !found.contains(&wanted) && !found.is_empty() => {
                CauseCode::WrongPort
            }
            (Some(found), _) if found.is_empty() => CauseCode::NotListening,
            (_, Some(ProbeSight::Refused(_))) => CauseCode::ProbeRefused,
            (_, Some(ProbeSight::TimedOut(_))) => CauseCode::ProbeTimedOut,
            (_, Some(ProbeSight::NotConnected)) => CauseCode::NotListening,
            (_, None) => CauseCode::SlowStart,
        };
        let mut cause = Self::new(code);
        // Where it listens as it should, its ports say nothing.
        if let Some(found) = listening.filter(|found| !found.contains(&wanted)) {
            cause = cause.with(Evidence::Listening { wanted, found });
        }
        match probe {
            None => cause,
            Some(ProbeSight::NotConnected) => {
                cause.with(Evidence::Probe("the connection was refused".to_owned()))
            }
            Some(ProbeSight::Refused(what)) => cause.with(Evidence::Probe(what)),
            Some(ProbeSight::TimedOut(after)) => {
                let after = format_duration(after);
                cause.with(Evidence::Probe(format!("no answer within {after}")))
            }
        }
    }

    /// Whether trying again may help without anybody acting.
    pub const fn may_pass(&self) -> bool {
        matches!(
            self.code,
            CauseCode::SecretsUnavailable
                | CauseCode::RegistryUnavailable
                | CauseCode::BackendUnavailable
                | CauseCode::Exhausted
        )
    }
}

/// What the last probe of an instance saw.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProbeSight {
    /// Nobody took the connection.
    NotConnected,
    /// The answer was a bad one, in words: "GET /health answered 500".
    Refused(String),
    /// There was no answer within this time.
    TimedOut(Duration),
}

impl CauseCode {
    /// What to do, as a sentence without a full stop.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::ExitedAtStart => {
                "read the last lines it wrote; a missing variable or setting is the usual reason"
            }
            Self::ProgramNotFound => {
                "check the command and that all it needs is in the image; 127 means not found, \
                 126 not executable"
            }
            Self::Crashed => "read the last lines it wrote; it was ready before it ended",
            Self::OutOfMemory => "raise instance.memory, or find what it does not give back",
            Self::WrongPort => "set `port` to where it listens, or let it listen on $PORT",
            Self::NotListening => "let it listen on 0.0.0.0 and $PORT, not on localhost alone",
            Self::ProbeRefused => "ask the path of the readiness probe by hand, or change the path",
            Self::ProbeTimedOut => {
                "look for what it waits for: a database or an address that it cannot reach; \
                 or raise the probe's timeout"
            }
            Self::SlowStart => "raise health.start_allowance, or do less before listening",
            Self::ErrorShare => "look at the new revision's errors; the old one serves again",
            Self::Latency => "look at what the new revision waits for; the old one serves again",
            Self::LostInstances => "read why its instances ended; the old revision serves again",
            Self::PreDeployFailed => "read the last lines of the command; nothing was changed",
            Self::PreDeployTimedOut => {
                "raise pre_deploy.timeout, or run so long a task beside the deployment"
            }
            Self::PreDeployUnknown => {
                "look whether the command had its effect, then deploy again; it never runs twice \
                 by itself"
            }
            Self::TooLong => "see which phase took how long, then deploy again",
            Self::NotApproved => "deploy again when somebody is there to approve",
            Self::SecretMissing => "create the secret, or allow the platform to read it",
            Self::SecretsUnavailable => "see whether the store of the secrets is up",
            Self::ImageNotFound => {
                "check the image's name and tag, and that it was pushed; of a command its path"
            }
            Self::ImageDenied => "give source.credentials that may pull the image",
            Self::RegistryUnavailable => "see whether the registry can be reached from here",
            Self::BuildFailed => "read the lines of the build",
            Self::Exhausted => "free something on the host, or lower instance.cpu or .memory",
            Self::Unsupported => "ask for what the backend has; the answer names what it lacks",
            Self::BackendUnavailable => "see whether the engine is up",
            Self::StartRefused => "read what the engine answered",
            Self::StopFailed => "see whether the engine is up; then delete again",
            Self::Cancelled | Self::Superseded | Self::Closed => "nothing: it was asked for",
        }
    }

    /// What happened, as a sentence without a full stop.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::ExitedAtStart => "the process ended before it was ready",
            Self::ProgramNotFound => "the program, or something it needs, is not there",
            Self::Crashed => "the process ended while it served",
            Self::OutOfMemory => "the process reached its limit on memory",
            Self::WrongPort => "nothing listens on its port, and another port is open",
            Self::NotListening => "nothing listens on its port",
            Self::ProbeRefused => "the probe got a bad answer",
            Self::ProbeTimedOut => "the probe got no answer in time",
            Self::SlowStart => "it was not ready in time",
            Self::ErrorShare => "the new revision answers with more errors than the old one",
            Self::Latency => "the new revision answers more slowly than the old one",
            Self::LostInstances => "too few instances of the new revision stayed ready",
            Self::PreDeployFailed => "the pre-deploy command failed",
            Self::PreDeployTimedOut => "the pre-deploy command took too long",
            Self::PreDeployUnknown => "nobody knows how the pre-deploy command ended",
            Self::TooLong => "the deployment took longer than it may",
            Self::NotApproved => "nobody approved it in time",
            Self::SecretMissing => "a secret is not there or may not be read",
            Self::SecretsUnavailable => "the store of the secrets does not answer",
            Self::ImageNotFound => "what is to run is not there",
            Self::ImageDenied => "the image may not be read",
            Self::RegistryUnavailable => "the registry does not answer",
            Self::BuildFailed => "the build failed",
            Self::Exhausted => "the backend has nothing left to give",
            Self::Unsupported => "something was asked for that the backend does not have",
            Self::BackendUnavailable => "the backend does not answer",
            Self::StartRefused => "the backend refuses to start it",
            Self::StopFailed => "an instance could not be stopped",
            Self::Cancelled => "somebody cancelled it",
            Self::Superseded => "a newer change took its place",
            Self::Closed => "the service was paused or deleted",
        }
    }
}

impl fmt::Display for CauseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

/// What happened, what was seen, and what to do.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.sentence())?;
        for evidence in &self.evidence {
            write!(f, "; {evidence}")?;
        }
        write!(f, "; {}", self.code.advice())
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(Exit { status, last_lines }) => {
                match status {
                    ExitStatus::Code(code) => write!(f, "exit code {code}")?,
                    ExitStatus::OutOfMemory => f.write_str("killed for its memory")?,
                    ExitStatus::Signal(signal) => write!(f, "ended by signal {signal}")?,
                    ExitStatus::Unknown => f.write_str("how it ended is unknown")?,
                }
                match last_lines.last() {
                    Some(line) => write!(f, ", its last line `{line}`"),
                    None => Ok(()),
                }
            }
            Self::Probe(seen) => write!(f, "probe: {seen}"),
            Self::Listening { wanted, found } if found.is_empty() => {
                write!(f, "nothing on {wanted}, nor on any other port")
            }
            Self::Listening { wanted, found } => {
                let found: Vec<_> = found.iter().map(u16::to_string).collect();
                write!(f, "nothing on {wanted}, but {} listens", found.join(", "))
            }
            Self::Answer(answer) => f.write_str(answer),
            Self::Waited(span) => write!(f, "waited {}", format_duration(*span)),
            Self::Named(name) => write!(f, "`{name}`"),
            Self::Compared { green, blue } => write!(f, "{green} against {blue} before"),
        }
    }
}
