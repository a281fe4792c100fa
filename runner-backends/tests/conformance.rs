//! The conformance kit over real processes: `process` does what every backend promises.
//!
//! `cargo test -p runner-backends --test conformance -- --nocapture` prints the table. This file
//! brings its own `main`, since the programs that the kit asks for are this one, called again.

#[path = "conformance/app.rs"]
mod app;
#[path = "support/block.rs"]
mod block;
#[path = "conformance/libtest.rs"]
mod libtest;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use runner_backends::process::Process;
use runner_core::{
    BoxFuture,
    backend::{ContainerBackend, ExitStatus, StartRequest},
    id::{InstanceId, PlatformId},
    testing::kit::{Act, BackendKit, KitClock, Report},
    time::Timestamp,
};

fn main() -> ExitCode {
    if let Some(code) = app::run_if_asked() {
        return code;
    }
    libtest::main(&[("process_passes_the_conformance_kit", passes), ("with_room_for_few", room)])
}

/// All that can be asked, again and again: a thousand times in release, fewer in debug.
fn passes() -> String {
    let (span, most) = match cfg!(debug_assertions) {
        true => (Duration::from_secs(3), 200),
        // However long they take: a machine may have much else to do.
        false => (Duration::from_secs(1800), 1000),
    };
    let scratch = Scratch::new("conformance", 500);
    let report = examine(&scratch, |kit| kit.cycles(span, most), 1000);
    scratch.holds_nothing();
    assert_eq!(report.skipped(), SKIPPED, "{report}");
    if cfg!(not(debug_assertions)) {
        assert_eq!(report.cycles(), 1000, "{report}");
    }
    report.to_string()
}

/// The bound on instances is kept and told.
fn room() -> String {
    let scratch = Scratch::new("conformance-room", 100);
    let report = examine(&scratch, |kit| kit.room(3).cycles(Duration::ZERO, 1), 3);
    scratch.holds_nothing();
    report.to_string()
}

/// The first run has no bound.
const SKIPPED: [&str; 1] = ["room that is used up refuses as exhausted until it is free again"];

fn examine(scratch: &Scratch, settings: impl Fn(BackendKit) -> BackendKit, most: u32) -> Report {
    let (directory, ports) = (scratch.path.clone(), scratch.ports.clone());
    let open = move || {
        let backend = Process::builder(&directory)
            .ports(ports.clone())
            .port_claims(directory.join("claims"))
            // They go through hundreds of ports in a second, and none is to run out of them.
            .port_rest(Duration::from_millis(100))
            .max_instances(most)
            .build()?;
        Ok(Arc::new(backend) as Arc<dyn ContainerBackend>)
    };
    let seen = scratch.path.clone();
    let kit = BackendKit::new("process", RealTime, open, program)
        .witness(move || {
            let running = running(&seen);
            async move { running }
        })
        .command(["sh", "-c", "exit 3"], ExitStatus::Code(3))
        .endless_command(["sleep", "1000"])
        .settle(Duration::from_millis(100));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let report = runtime.expect("a runtime").block_on(settings(kit).run());
    report.assert();
    report
}

fn program(instance: InstanceId, act: &Act) -> Option<StartRequest> {
    let own = std::env::current_exe().expect("this program has a path");
    let own = own.to_str().expect("and it is text").to_owned();
    let command = match act {
        Act::Missing => vec!["/nowhere/at/all".to_owned()],
        _ => app::command(&own, act)?,
    };
    Some(StartRequest::command(instance, command))
}

/// What truly runs, by who leads a session and writes to a file of an instance.
fn running(directory: &Path) -> Vec<(PlatformId, InstanceId)> {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let leaders = processes.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let leads = fields[3].parse() == Ok(pid) && fields[0] != "Z";
        let output = fs::read_link(entry.path().join("fd/1")).ok().filter(|_| leads)?;
        let mut names = output.strip_prefix(directory).ok()?.iter();
        let mut name = || names.next()?.to_str();
        Some((name()?.parse().ok()?, name()?.parse().ok()?))
    });
    leaders.collect()
}

struct RealTime;

#[expect(clippy::disallowed_methods, reason = "the kit runs in real time over real processes")]
impl KitClock for RealTime {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A directory of a test's own, removed after it, and ports of its own.
struct Scratch {
    path: PathBuf,
    ports: std::ops::RangeInclusive<u16>,
    _block: block::Block,
}

impl Scratch {
    fn new(name: &str, ports: u16) -> Self {
        let path = std::env::temp_dir().join(format!("runner-{name}-{}", std::process::id()));
        // An earlier process with this number may have been killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a scratch directory");
        let block = block::Block::of(ports);
        let path = path.canonicalize().expect("it is there");
        Self { path, ports: block.ports(ports), _block: block }
    }

    /// After it all: no folder of an instance that was stopped, no trash, no zombie of ours.
    fn holds_nothing(&self) {
        assert!(!self.path.join("trash").exists(), "the trash is emptied");
        assert_eq!(running(&self.path), [], "nothing runs");
        let own = std::process::id().to_string();
        let mut children = BTreeMap::new();
        for entry in fs::read_dir("/proc").expect("Linux").flatten() {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
            if fields.get(1) == Some(&own.as_str()) {
                children.insert(entry.file_name(), fields[0].to_owned());
            }
        }
        assert!(children.is_empty(), "children are left: {children:?}");
        let descriptors = fs::read_dir("/proc/self/fd").expect("Linux").flatten();
        let held: Vec<_> = descriptors
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter(|target| target.starts_with(&self.path) || target.ends_with("[pidfd]"))
            .collect();
        assert!(held.is_empty(), "descriptors are left: {held:?}");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
