//! Instances as local processes, with nothing to install.
//!
//! **This is no isolation boundary between tenants.** Instances of one backend run as one user, see
//! the same files and the same network, and could signal each other. It is for programs that trust
//! what they run.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use runner_backends::process::Process;
//! use runner_core::{
//!     backend::{ContainerBackend, ExitStatus, Fence, StartRequest},
//!     id::{Epoch, PlatformId, ServiceId},
//! };
//! use std::time::Duration;
//!
//! # let directory = std::env::temp_dir().join(format!("runner-doc-{}", std::process::id()));
//! let backend = Process::new(&directory)?;
//! let fence = Fence { platform: PlatformId::from_random(1), epoch: Epoch::FIRST };
//! let instance = ServiceId::from_random(2).instance(1);
//!
//! # futures_executor(async {
//! let started = backend.start(fence, StartRequest::command(instance, ["sleep", "60"])).await?;
//! assert!(started.address.is_some());
//! let exit = backend.stop(fence, instance, Duration::from_secs(5)).await?;
//! assert_eq!(exit.status, ExitStatus::Signal(15)); // it did not handle being asked
//! # Ok::<_, runner_core::Error>(())
//! # })?;
//! # drop(backend);
//! # std::fs::remove_dir_all(directory)?;
//! # Ok(())
//! # }
//! # fn futures_executor<T>(future: impl Future<Output = T>) -> T {
//! #     tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **An instance is a session of its own.** Its environment is what the request says and `PORT`,
//!   and nothing of this program's; its directory is its own and is removed after it; no
//!   descriptor of this program is open in it; it can gain no privileges.
//! - **Nothing is routed to a stranger.** Ports are given out once on this machine, whatever
//!   backends and users there are, by [claims](ProcessBuilder::port_claims) that all of them see,
//!   and rest for a minute after use. A claim stands as long as its instance lives, also when the
//!   program that made it was killed. Who listens is looked up in the kernel:
//!   [`listening_ports`](ContainerBackend::listening_ports) names only the instance's own sockets,
//!   and an instance on whose port somebody else answers is ended, with "port 8123 is held by pid
//!   N (name)" as the reason. [`Process::proven`] waits for the proof.
//! - **Instances outlive the program.** No pipe leads to it and nothing ends them with it. They are
//!   found again by process id, start time and boot id together, never by an id alone, and held by
//!   a pidfd from then on. What a start left half done is cleared away.
//! - **Nothing is left over.** When its first process ends, an instance has ended: what remains of
//!   its session is killed, its directory removed and its port set to rest. Exits are noticed at
//!   once and no zombie stays, also where orphans fall to this program as the first of a container.
//! - **The disk is not filled** by what instances write: it is read and freed, see
//!   [`output_bound`](ProcessBuilder::output_bound). A write of an instance never blocks on us;
//!   when the disk is full it fails, and each log says from when to when lines are missing.
//! - **A command beside an instance** ([`run_command`](ContainerBackend::run_command)) has its
//!   user, environment, directory, limits and control group, and a session of its own: what it
//!   started ends with it, at its limit or with the instance. The last ten lines that it wrote are
//!   its output. It does not outlive the last handle, and nothing can run in what is frozen.
//!
//! # One thread
//!
//! Constructors do not spawn. The first call that is made begins one thread, which starts, watches
//! and ends all instances of this handle and its clones; dropping the last of them joins it, which
//! takes no longer than what it is doing at that moment. It needs no runtime, so neither do the
//! futures here. All calls go through it, not starts alone: the first call of a new program may be
//! a list, and from then on the ends of what its predecessor left have to be noticed.
//!
//! A program that drops its last handle and lives on has nobody to wait for its children. An
//! instance that ends then stays a zombie: an entry in the table of processes, with its number and
//! its exit code and nothing else. The next handle of the directory, from its first call on, waits
//! for it and tells that code; when the program ends, the system waits for it. A thread that went
//! on waiting would be what joining promises not to leave.
//!
//! # Limits
//!
//! CPU and memory limits need a [control group](ProcessBuilder::cgroup) that this program may
//! write; without one there is one warning per start, or a refusal where limits are
//! [required](ProcessBuilder::require_limits). What a group holds is counted: together instances
//! are not promised more memory than the machine has, frozen ones included, and a start beyond that
//! is refused as exhausted. What nothing holds is not counted either. The same groups bound how
//! many [processes](ProcessBuilder::max_processes) an instance has. A disk limit cannot be had. A
//! program that leaves its session on purpose (a daemon) is out of sight, except in a control
//! group. Both versions of control groups were run on real kernels: version 1 on Linux 6.18,
//! version 2 on 6.1.
//!
//! Where this program is the first of a container, orphans of an instance that runs on are waited
//! for when it ends, not before: one that makes them without end needs an `init` beside it.
//!
//! The environment of an instance that was adopted is asked of the kernel when a command is run
//! beside it; a program that has written over its own is then told what it wrote.
//!
//! How an instance ended that was adopted is told where the kernel tells it (Linux 6.15 and later,
//! or to the parent), otherwise it is unknown.
//!
//! # Cancel safety
//!
//! A call is sent when its future is first polled, and takes effect then whether or not the future
//! is polled again.

mod cgroup;
mod claims;
mod clock;
mod config;
mod diag;
mod disk;
mod group;
mod handle;
mod output;
mod ports;
mod proc;
mod program;
mod record;
mod sockets;
mod spawn;
mod tail;
mod trash;
mod worker;

pub use config::ProcessBuilder;

use std::{path::PathBuf, sync::Arc, time::Duration};

use runner_core::{
    BoxFuture, BoxStream, Error,
    address::Address,
    backend::{
        Capabilities, CommandOutput, ContainerBackend, Exit, Fence, ForeignInstance, Hint,
        HostCapacity, InstanceUsage, Listing, LogLine, StartRequest, Started,
    },
    id::InstanceId,
    time::Timestamp,
};
use tokio::sync::mpsc;

use self::{config::Settings, handle::Handle, worker::Call};

/// Runs instances as local processes; see the [module page](self).
///
/// A clone is another handle of the same backend.
#[derive(Clone, Debug)]
pub struct Process(Arc<Handle>);

impl Process {
    /// A backend that keeps what it knows in this directory, with all else as is usual.
    ///
    /// # Errors
    ///
    /// As [`ProcessBuilder::build`].
    pub fn new(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder(directory).build()
    }

    /// A backend whose settings are still to be said.
    pub fn builder(directory: impl Into<PathBuf>) -> ProcessBuilder {
        ProcessBuilder::new(directory.into())
    }

    /// Waits until the instance is proven to listen on its port: the socket that answers there is
    /// held by one of its own processes.
    ///
    /// # Errors
    ///
    /// When it ends before, with its last lines; when nothing listens there in time, with the
    /// ports where something does; when the port is somebody else's; when there is no such
    /// instance or it takes no requests.
    pub async fn proven(
        &self,
        fence: Fence,
        instance: InstanceId,
        within: Duration,
    ) -> Result<Address, Error> {
        self.0.ask(|reply| Call::Proven { fence, instance, within, reply }).await
    }

    fn of(settings: Settings) -> Self {
        Self(Arc::new(Handle::new(settings)))
    }
}

impl ContainerBackend for Process {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.standby = true;
        capabilities.run_command = true;
        capabilities.logs = true;
        capabilities.usage = true;
        capabilities.listening_ports = true;
        capabilities.capacity = true;
        capabilities.reap = true;
        capabilities.fencing = true;
        capabilities
    }

    fn start(&self, fence: Fence, request: StartRequest) -> BoxFuture<'_, Result<Started, Error>> {
        let request = Box::new(request);
        Box::pin(self.0.ask(move |reply| Call::Start { fence, request, reply }))
    }

    fn stop(
        &self,
        fence: Fence,
        instance: InstanceId,
        grace: Duration,
    ) -> BoxFuture<'_, Result<Exit, Error>> {
        Box::pin(self.0.ask(move |reply| Call::Stop { fence, instance, grace, reply }))
    }

    fn list(&self, fence: Fence) -> BoxFuture<'_, Result<Listing, Error>> {
        Box::pin(self.0.ask(move |reply| Call::List { fence, reply }))
    }

    fn watch(&self, fence: Fence) -> BoxStream<'_, Hint> {
        // A hint may be lost: whoever reads so slowly lists again at the next.
        const MOST_UNREAD: usize = 256;
        let (hints, unread) = mpsc::channel(MOST_UNREAD);
        self.0.send(Call::Watch { fence, hints });
        Box::pin(handle::Hints(unread))
    }

    fn freeze(&self, fence: Fence, instance: InstanceId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.0.ask(move |reply| Call::Freeze { fence, instance, reply }))
    }

    fn thaw(&self, fence: Fence, instance: InstanceId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.0.ask(move |reply| Call::Thaw { fence, instance, reply }))
    }

    fn run_command(
        &self,
        fence: Fence,
        instance: InstanceId,
        words: Vec<String>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<CommandOutput, Error>> {
        Box::pin(self.0.ask(move |reply| Call::Run { fence, instance, words, limit, reply }))
    }

    fn logs(
        &self,
        fence: Fence,
        instance: InstanceId,
        since: Timestamp,
    ) -> BoxFuture<'_, Result<BoxStream<'_, LogLine>, Error>> {
        Box::pin(async move {
            let ring = self.0.ask(|reply| Call::Logs { fence, instance, reply }).await?;
            Ok(Box::pin(ring.read(since)) as BoxStream<'_, LogLine>)
        })
    }

    fn usage(
        &self,
        fence: Fence,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<InstanceUsage, Error>> {
        Box::pin(self.0.ask(move |reply| Call::Usage { fence, instance, reply }))
    }

    fn listening_ports(
        &self,
        fence: Fence,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<Vec<u16>, Error>> {
        Box::pin(self.0.ask(move |reply| Call::Ports { fence, instance, reply }))
    }

    fn capacity(&self, fence: Fence) -> BoxFuture<'_, Result<HostCapacity, Error>> {
        Box::pin(self.0.ask(move |reply| Call::Capacity { fence, reply }))
    }

    fn reap(&self, fence: Fence, foreign: ForeignInstance) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.0.ask(move |reply| Call::Reap { fence, name: foreign.engine_name, reply }))
    }
}

#[cfg(test)]
mod tests;
