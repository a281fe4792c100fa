//! A backend of a test's own, and what tests ask of it.

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use futures_util::StreamExt;
use runner_backends::process::{Process, ProcessBuilder};
use runner_core::{
    backend::{Condition, ContainerBackend, Exit, Fence, LogLine, StartRequest},
    id::{Epoch, InstanceId, PlatformId, ServiceId},
    time::Timestamp,
};

use super::block::Block;

/// A directory of a test's own, removed after it, and ports of its own.
pub(crate) struct Scratch {
    path: PathBuf,
    block: Block,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("runner-test-{name}-{}", std::process::id()));
        // An earlier process with this number may have been killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a scratch directory");
        let path = path.canonicalize().expect("it is there");
        Self { path, block: Block::of(MOST_PORTS) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn ports(&self, count: u16) -> RangeInclusive<u16> {
        self.block.ports(count)
    }

    /// For a test that is run again by this one: where it works, and with which ports.
    pub(crate) fn given_to(&self, command: &mut Command, variable: &str) {
        let ports = self.ports(MOST_PORTS);
        command.env(variable, &self.path);
        command.env(PORTS, format!("{} {}", ports.start(), ports.end()));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What the test that runs this one again has given to it.
pub(crate) fn given_ports() -> RangeInclusive<u16> {
    let given = std::env::var(PORTS).expect("a test gave them");
    let (first, last) = given.split_once(' ').expect("two");
    first.parse().expect("a port")..=last.parse().expect("a port")
}

const PORTS: &str = "RUNNER_TEST_PORTS";

/// What a test asks for at the most.
const MOST_PORTS: u16 = 50;

/// A backend with a platform that calls it.
pub(crate) struct Bed {
    pub(crate) backend: Process,
    pub(crate) fence: Fence,
    open: Box<dyn Fn() -> Process>,
    /// After the backend, whose thread uses it.
    pub(crate) scratch: Scratch,
}

impl Bed {
    /// With so many ports.
    pub(crate) fn new(name: &str, ports: u16) -> Self {
        Self::with(name, ports, |builder| builder)
    }

    pub(crate) fn with(
        name: &str,
        ports: u16,
        settings: impl Fn(ProcessBuilder) -> ProcessBuilder + 'static,
    ) -> Self {
        let scratch = Scratch::new(name);
        let (path, ports) = (scratch.path().to_owned(), scratch.ports(ports));
        let open = move || {
            let builder = builder(&path, ports.clone());
            settings(builder).build().expect("a backend")
        };
        Self { backend: open(), fence: fence(1), open: Box::new(open), scratch }
    }

    /// The handle is dropped and another opened: what a new program meets, in this one.
    pub(crate) fn reopen(&mut self) {
        // In this order: the thread of the first has ended when the second begins its own.
        let again = (self.open)();
        drop(std::mem::replace(&mut self.backend, again));
    }

    /// The handle is dropped, something is done with the folder of the first instance, and another
    /// handle is opened.
    pub(crate) fn without_handle(&mut self, act: impl FnOnce(&Path)) {
        // A handle that nobody calls has no thread, and so does nothing.
        self.reopen();
        act(&self.folder(id(1)));
    }

    /// Processes that write to, or stand in, a folder of this bed.
    pub(crate) fn at_home(&self) -> Vec<String> {
        let entries = fs::read_dir("/proc").expect("Linux").flatten();
        let is_here = |entry: &fs::DirEntry| {
            ["fd/1", "fd/2", "cwd"].iter().any(|link| {
                let target = fs::read_link(entry.path().join(link));
                target.is_ok_and(|target| target.starts_with(self.scratch.path()))
            })
        };
        let here = entries.filter(is_here).map(|entry| entry.file_name());
        here.filter_map(|name| name.into_string().ok()).collect()
    }

    pub(crate) fn folder(&self, instance: InstanceId) -> PathBuf {
        folder(self.scratch.path(), instance)
    }

    pub(crate) async fn start(&self, instance: InstanceId, script: &str) {
        self.backend.start(self.fence, shell(instance, script)).await.expect("a start");
    }

    pub(crate) async fn stop(&self, instance: InstanceId) -> Exit {
        self.backend.stop(self.fence, instance, GRACE).await.expect("a stop")
    }

    pub(crate) async fn condition(&self, instance: InstanceId) -> Option<Condition> {
        let listing = self.backend.list(self.fence).await.expect("a list");
        let mut found = listing.instances.into_iter().filter(|it| it.instance == instance);
        found.next().map(|listed| listed.condition)
    }

    /// All that it writes until it ends.
    pub(crate) async fn lines(&self, instance: InstanceId) -> Vec<LogLine> {
        let logs = self.backend.logs(self.fence, instance, Timestamp::EPOCH);
        logs.await.expect("logs").collect().await
    }

    /// Waits until it writes this line.
    pub(crate) async fn wait_for(&self, instance: InstanceId, line: &str) {
        let logs = self.backend.logs(self.fence, instance, Timestamp::EPOCH);
        let mut logs = logs.await.expect("logs");
        while let Some(written) = logs.next().await {
            if written.text == line {
                return;
            }
        }
        panic!("it ended without writing `{line}`");
    }

    /// Waits for its end by itself.
    pub(crate) async fn ends(&self, instance: InstanceId) -> Exit {
        self.lines(instance).await;
        match self.condition(instance).await {
            Some(Condition::Ended(exit)) => exit,
            other => panic!("its output is over, and it is {other:?}"),
        }
    }
}

/// A backend in this scratch directory. Its claims lie there too: the next test that is given its
/// ports need not wait until they have rested.
pub(crate) fn builder(scratch: &Path, ports: RangeInclusive<u16>) -> ProcessBuilder {
    Process::builder(scratch.join("state")).ports(ports).port_claims(scratch.join("claims"))
}

pub(crate) fn fence(epoch: u64) -> Fence {
    Fence { platform: PlatformId::from_random(0xabc), epoch: Epoch::new(epoch) }
}

pub(crate) fn id(number: u64) -> InstanceId {
    ServiceId::from_random(0xdef).instance(number)
}

pub(crate) fn folder(scratch: &Path, instance: InstanceId) -> PathBuf {
    let platform = fence(1).platform.to_string();
    scratch.join("state").join(platform).join(instance.to_string())
}

pub(crate) fn shell(instance: InstanceId, script: &str) -> StartRequest {
    let mut request = StartRequest::command(instance, ["sh", "-c", script]);
    request.environment.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    request
}

/// Whether a process is there, zombies not counted.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Runs one test of this program again inside what `unshare` makes, with this variable set; what it
/// prints is shown. Where this user may make nothing of the kind it is skipped, and says why.
#[expect(clippy::print_stdout, reason = "what a test that was skipped or run elsewhere has to say")]
pub(crate) fn unshared(flags: &[&str], script: &str, test: &str, variable: (&str, &Scratch)) {
    let may = Command::new("unshare").args(flags).arg("true").output();
    let why = match may {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("there is no `unshare`: {error}")),
    };
    if let Some(why) = why {
        println!("skipped: {why}");
        return;
    }
    let own = std::env::current_exe().expect("this test");
    let mut command = Command::new("unshare");
    command.args(flags).args(["sh", "-c", script, "sh"]).arg(own).arg(variable.1.path());
    command.args(["--exact", test, "--nocapture"]);
    variable.1.given_to(&mut command, variable.0);
    let output = command.output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout);
    print!("{told}");
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}\n{trouble}");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Nothing here needs it: so long is for a machine that has much else to do.
pub(crate) const GRACE: Duration = Duration::from_secs(30);
