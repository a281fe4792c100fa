//! What runs instances: the trait that adapters implement.
//!
//! Five methods are required: what the backend [can do](ContainerBackend::capabilities),
//! [start](ContainerBackend::start), [stop](ContainerBackend::stop),
//! [list](ContainerBackend::list) and [watch](ContainerBackend::watch). All else is a declared
//! capability whose method answers [`Unsupported`](crate::error::ErrorKind::Unsupported) until it
//! is overridden.
//!
//! # The contract
//!
//! 1. **The instance id is the idempotency key.** A start that is repeated, also by a later epoch
//!    of the same platform, starts nothing twice and answers as the first did. An id that was
//!    stopped stays stopped: ids are never used twice, so a start that comes after is a
//!    [`Conflict`](crate::error::ErrorKind::Conflict), at least from the backend that answered
//!    the stop. Nor does a start bring back what ended by itself; it may answer as the first did,
//!    or as a conflict. A start that fails leaves nothing that runs.
//! 2. **The adapter stores platform, epoch and id on the instance itself** and refuses a call of an
//!    older epoch than the newest it has seen, where the engine can tell: changes and lists with
//!    [`Fenced`](crate::error::ErrorKind::Fenced), a watch by ending it. Of two platforms that use
//!    one id, each has an instance of its own.
//! 3. **`list` is the truth and `watch` a hint.** A watch may lose, repeat and reorder; whoever
//!    needs to know lists. Absence from a list means death only when the call began after the
//!    start was acknowledged.
//! 4. **Instances outlive the platform.** Nothing they hold may break when the program is killed:
//!    no pipe to it, no parent-death signal, no directory that it removes.
//! 5. **Others' instances are reported, never touched.** Only [`reap`](ContainerBackend::reap),
//!    asked for by a person, removes what an unknown platform left.
//! 6. **Dropping a future undoes nothing.** A call that was sent may take effect after its future
//!    was dropped; the caller asks again with the same id, or lists. A stop ends or prevents what
//!    an earlier start of its id still does, and a stop that was dropped may be repeated.
//! 7. **A secret is in the instance and nowhere else**: in no listing, answer or error.
//!
//! The conformance kit in [`testing`](crate::testing) (feature `testing`) holds any implementation
//! to this, an embedder's own included.

use std::{collections::BTreeMap, fmt, num::NonZeroU16, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    BoxFuture, BoxStream, Error,
    address::Address,
    id::{Epoch, InstanceId, PlatformId},
    secret::Secret,
    source::ResolvedSource,
    time::Timestamp,
};

/// Runs instances somewhere: processes, containers, pods.
///
/// See the [module page](self) for the contract. All calls carry the [`Fence`] of the platform
/// that makes them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run instances",
    label = "is not a `ContainerBackend`",
    note = "implement `capabilities`, `start`, `stop`, `list` and `watch`; \
            `runner_core::testing::backend::MemoryBackend` shows the smallest true implementation, \
            and the conformance kit beside it holds yours to the contract"
)]
pub trait ContainerBackend: Send + Sync + 'static {
    /// What this backend offers beyond starting and stopping. Does not change while it lives.
    fn capabilities(&self) -> Capabilities;

    /// Starts an instance and answers once it exists and has its address.
    ///
    /// Existing is not being ready: whether it may serve is for probes to say.
    fn start(&self, fence: Fence, request: StartRequest) -> BoxFuture<'_, Result<Started, Error>>;

    /// Stops an instance: asks it to end, waits for `grace`, then ends it, with all it started.
    ///
    /// Answers when nothing of it is left. An instance that is gone already, or was never
    /// started, is stopped: the answer is [`Exit::unknown`] where nothing better is known.
    fn stop(
        &self,
        fence: Fence,
        instance: InstanceId,
        grace: Duration,
    ) -> BoxFuture<'_, Result<Exit, Error>>;

    /// All instances of this platform that are there, and what others left.
    fn list(&self, fence: Fence) -> BoxFuture<'_, Result<Listing, Error>>;

    /// Hints of what happened, from now on. The stream ends when the connection to the engine is
    /// lost; whoever reads it then lists and watches again.
    fn watch(&self, fence: Fence) -> BoxStream<'_, Hint>;

    /// Stops the instance's use of CPU and keeps its memory. Capability `standby`.
    ///
    /// May be repeated, and a frozen instance may be stopped: it is thawed to hear that it should
    /// end. Like all that asks about one instance, it answers
    /// [`NotFound`](crate::error::ErrorKind::NotFound) where there is none that lives.
    fn freeze(&self, fence: Fence, instance: InstanceId) -> BoxFuture<'_, Result<(), Error>> {
        let _ = (fence, instance);
        unsupported("freeze instances")
    }

    /// Lets a frozen instance run again; answers when it does. Capability `standby`.
    fn thaw(&self, fence: Fence, instance: InstanceId) -> BoxFuture<'_, Result<(), Error>> {
        let _ = (fence, instance);
        unsupported("thaw instances")
    }

    /// Runs a command to its end in the instance's own surroundings. Capability `run_command`.
    ///
    /// One that takes longer than `limit` is ended, and the answer is
    /// [`TimedOut`](crate::error::ErrorKind::TimedOut).
    fn run_command(
        &self,
        fence: Fence,
        instance: InstanceId,
        command: Vec<String>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<CommandOutput, Error>> {
        let _ = (fence, instance, command, limit);
        unsupported("run commands in instances")
    }

    /// What the instance wrote, from `since` on, then what it goes on to write. Capability `logs`.
    ///
    /// The stream ends when the instance has ended and all is read; one that has ended and is
    /// still remembered can be read.
    fn logs(
        &self,
        fence: Fence,
        instance: InstanceId,
        since: Timestamp,
    ) -> BoxFuture<'_, Result<BoxStream<'_, LogLine>, Error>> {
        let _ = (fence, instance, since);
        unsupported("read what instances write")
    }

    /// What the instance has used so far. Capability `usage`.
    fn usage(
        &self,
        fence: Fence,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<InstanceUsage, Error>> {
        let _ = (fence, instance);
        unsupported("measure instances")
    }

    /// The ports on which the instance listens, for "nothing on 8080, but 3000 listens".
    /// Capability `listening_ports`.
    fn listening_ports(
        &self,
        fence: Fence,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<Vec<u16>, Error>> {
        let _ = (fence, instance);
        unsupported("see on which ports instances listen")
    }

    /// What there is to give, and what of it is given. Capability `capacity`.
    fn capacity(&self, fence: Fence) -> BoxFuture<'_, Result<HostCapacity, Error>> {
        let _ = fence;
        unsupported("tell its capacity")
    }

    /// Removes what an unknown platform left, because a person asked for it. Capability `reap`.
    ///
    /// What is gone already is removed. One's own is refused as
    /// [`Invalid`](crate::error::ErrorKind::Invalid): that is stopped.
    fn reap(&self, fence: Fence, foreign: ForeignInstance) -> BoxFuture<'_, Result<(), Error>> {
        let _ = (fence, foreign);
        unsupported("remove instances of other platforms")
    }
}

/// Who calls: the platform, and how often its journal has been opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The platform whose instances are meant.
    pub platform: PlatformId,
    /// Its epoch; a backend that can compare refuses an older one than the newest it has seen.
    pub epoch: Epoch,
}

/// What a backend offers beyond starting and stopping.
///
/// What is not declared is not asked for; what is declared is held to by the conformance kit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// Instances can be frozen and thawed: memory kept, no CPU.
    pub standby: bool,
    /// Commands can be run in an instance's surroundings.
    pub run_command: bool,
    /// What instances write can be read.
    pub logs: bool,
    /// What instances use can be measured.
    pub usage: bool,
    /// The ports on which an instance listens can be seen.
    pub listening_ports: bool,
    /// What there is to give can be told.
    pub capacity: bool,
    /// What an unknown platform left can be removed.
    pub reap: bool,
    /// Calls of an older epoch are refused.
    pub fencing: bool,
    /// Something before the instance accepts connections whether or not it listens (a port
    /// published by a relay), so that connecting proves nothing.
    pub connecting_proves_nothing: bool,
}

/// An instance to be started.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// Its id, which is also the idempotency key.
    pub instance: InstanceId,
    /// What runs, pinned.
    pub source: ResolvedSource,
    /// Arguments that replace the image's own command; of a command source, the whole of it.
    pub command: Vec<String>,
    /// The environment, all of it: nothing is inherited. `PORT` is set by the backend.
    pub environment: BTreeMap<String, String>,
    /// The part of the environment that must not be seen: given to the instance, and nowhere else.
    pub secrets: BTreeMap<String, Secret>,
    /// Where it should listen.
    pub port: PortRequest,
    /// What it may use.
    pub limits: Limits,
    /// The directory it starts in; the source's own where none is given.
    pub directory: Option<PathBuf>,
}

impl StartRequest {
    /// A program of the host that listens on 8080, with an empty environment and no limits: what
    /// the fields that matter are then set on.
    pub fn command(
        instance: InstanceId,
        command: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        const USUAL_PORT: NonZeroU16 = NonZeroU16::new(8080).expect("8080 is not zero");
        Self {
            instance,
            source: ResolvedSource::Command,
            command: command.into_iter().map(Into::into).collect(),
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            port: PortRequest::Declared(USUAL_PORT),
            limits: Limits::default(),
            directory: None,
        }
    }
}

/// Where an instance should listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a backend has to answer each")]
pub enum PortRequest {
    /// On a port of its own choosing, as its image says; backends whose instances share a network
    /// put it elsewhere and say so in the answer's address.
    Declared(NonZeroU16),
    /// It takes no requests: a pre-deploy command, a job.
    None,
}

/// What an instance may use. Zero is not "none": leave a limit out instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// CPU in thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Ephemeral disk in bytes.
    pub disk_bytes: Option<u64>,
}

/// An instance that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Started {
    /// Where it takes requests, once it does; nothing where it takes none.
    pub address: Option<Address>,
    /// What could not be had although it was asked for, in words for a person ("memory limit: no
    /// cgroup may be written here").
    pub warnings: Vec<String>,
}

impl Started {
    /// Started, reachable at an address.
    pub fn at(address: Address) -> Self {
        Self { address: Some(address), warnings: Vec::new() }
    }

    /// Started, and takes no requests.
    pub fn unreachable() -> Self {
        Self { address: None, warnings: Vec::new() }
    }

    /// Adds a warning.
    #[must_use]
    pub fn with_warning(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

/// How an instance ended, as far as can be known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exit {
    /// What the kernel or the engine says.
    pub status: ExitStatus,
    /// The last lines that it wrote, oldest first; empty where they cannot be had.
    pub last_lines: Vec<String>,
}

impl Exit {
    /// An end of which nothing more is known.
    pub fn unknown() -> Self {
        ExitStatus::Unknown.into()
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { status, last_lines: Vec::new() }
    }
}

/// What the kernel or the engine says about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExitStatus {
    /// It returned this code.
    Code(i32),
    /// A limit on its memory was reached.
    OutOfMemory,
    /// This signal ended it.
    Signal(i32),
    /// Nobody can tell: it ended while nobody watched.
    Unknown,
}

/// For people: `with code 1`, `by signal 9`; what comes after "it ended".
impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "with code {code}"),
            Self::OutOfMemory => f.write_str("at its limit of memory"),
            Self::Signal(signal) => write!(f, "by signal {signal}"),
            Self::Unknown => f.write_str("in a way nobody saw"),
        }
    }
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// This platform's instances, the ended ones included as long as the engine remembers them.
    pub instances: Vec<ListedInstance>,
    /// What platforms unknown to the caller left or run beside it.
    pub foreign: Vec<ForeignInstance>,
}

impl Listing {
    /// A listing of this platform's instances alone.
    pub fn of(instances: Vec<ListedInstance>) -> Self {
        Self { instances, foreign: Vec::new() }
    }

    /// Adds what others left.
    #[must_use]
    pub fn with_foreign(mut self, foreign: Vec<ForeignInstance>) -> Self {
        self.foreign = foreign;
        self
    }
}

/// One of this platform's instances, as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedInstance {
    /// Which one.
    pub instance: InstanceId,
    /// The epoch that started it.
    pub epoch: Epoch,
    /// Where it takes requests.
    pub address: Option<Address>,
    /// What it is doing.
    pub condition: Condition,
}

/// What the engine says an instance is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "recovery has to decide on each")]
pub enum Condition {
    /// It runs.
    Running,
    /// Frozen: memory kept, no CPU.
    Frozen,
    /// It ended.
    Ended(Exit),
}

/// An instance of a platform unknown to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignInstance {
    /// Whose it says it is; nothing where the mark cannot be read.
    pub platform: Option<PlatformId>,
    /// What the engine calls it.
    pub engine_name: String,
}

/// Something may have happened to an instance; [`ContainerBackend::list`] knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// It ended, as far as the engine says.
    Ended(InstanceId, Exit),
    /// Something changed, and only a list can say what.
    Changed,
}

/// What a command run in an instance's surroundings did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutput {
    /// How it ended.
    pub exit: Exit,
}

/// A line that an instance wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read.
    pub at: Timestamp,
    /// Which of its two streams it was written to.
    pub stream: OutputStream,
    /// The line without its end; bytes that are no UTF-8 replaced.
    pub text: String,
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a process has these two, and what we say about a gap")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Not the instance's: a note of the backend, such as how much was lost.
    Backend,
}

/// What an instance has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceUsage {
    /// CPU time since it started.
    pub cpu: Duration,
    /// Memory that it holds now, in bytes.
    pub memory_bytes: u64,
}

impl InstanceUsage {
    /// Usage from its two parts.
    pub const fn new(cpu: Duration, memory_bytes: u64) -> Self {
        Self { cpu, memory_bytes }
    }
}

/// What there is to give, and what of it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCapacity {
    /// How many more instances of the usual size fit; nothing where it is unknown.
    pub instances_left: Option<u32>,
    /// CPU of the host or hosts, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory of the host or hosts, in bytes.
    pub memory_bytes: u64,
}

impl HostCapacity {
    /// Capacity from its parts.
    pub const fn new(instances_left: Option<u32>, cpu_millis: u64, memory_bytes: u64) -> Self {
        Self { instances_left, cpu_millis, memory_bytes }
    }
}

fn unsupported<'a, T: Send + 'a>(what: &'static str) -> BoxFuture<'a, Result<T, Error>> {
    let error = Error::unsupported(format!("this backend cannot {what}; see its capabilities"));
    Box::pin(std::future::ready(Err(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trait_is_object_safe() {
        fn takes(_: Option<&dyn ContainerBackend>) {}
        takes(None);
    }
}
