//! The stage: what those share who conduct a test, change what runs and hurt it, and what any of
//! them may do: begin and end the platform, ask it, write down what was done, and roll the dice.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs::{self, File},
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    process::{Child, Stdio},
    time::Duration,
};

use runner_core::testing::random::SplitMix64;
use tokio::{
    net::TcpSocket,
    time::{Instant, timeout},
};

use super::{
    control::{Answer, Question, Seen, ask},
    disk::Disk,
    log::{Event, Files, Log},
    processes,
    roles::{Plan, Role},
    say::complain,
    time::{now, pause},
};

/// Everything that they share; they take turns on one thread.
pub(super) struct Stage {
    program: String,
    pub(super) files: Files,
    pub(super) disk: Disk,
    pub(super) counts: Counts,
    /// How often each service was hurt since it was last deployed.
    pub(super) hurt: RefCell<BTreeMap<String, u32>>,
    /// What they are about to do is the last.
    pub(super) is_ending: Cell<bool>,
    /// What was wrong is to be found out.
    pub(super) keep_logs: Cell<bool>,
    events: Log,
    dice: RefCell<SplitMix64>,
    clients: TcpListener,
    platform: RefCell<Option<Child>>,
    load: RefCell<Option<Child>>,
    /// How long the platform has run before, and since when it does now.
    ran: Cell<u64>,
    runs_since: Cell<Option<u64>>,
}

/// How often what was done, for who looks on.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) platform_kills: Cell<u32>,
    pub(super) restarts: Cell<u32>,
    pub(super) killed: Cell<u32>,
    pub(super) stopped: Cell<u32>,
    pub(super) filled: Cell<u32>,
    pub(super) changes: Cell<u64>,
    pub(super) refused: Cell<u32>,
}

/// One more.
pub(super) fn count(of: &Cell<u32>) {
    of.set(of.get() + 1);
}

impl Stage {
    pub(super) async fn new(plan: &Plan) -> io::Result<Self> {
        let name = format!("certificate-{}-{:x}", std::process::id(), now());
        let files = Files(std::env::temp_dir().join(name));
        fs::create_dir(&files.0)?;
        let disk = Disk::make(&files, plan.in_namespace)?;
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        // All who come while no platform runs wait here.
        let clients = socket.listen(BACKLOG)?.into_std()?;
        fs::write(files.address(), clients.local_addr()?.to_string())?;
        Ok(Self {
            program: plan.program.clone(),
            disk,
            events: Log::create(&files.events())?,
            files,
            counts: Counts::default(),
            hurt: RefCell::default(),
            is_ending: Cell::new(false),
            keep_logs: Cell::new(true),
            dice: RefCell::new(SplitMix64::new(plan.seed)),
            clients,
            platform: RefCell::new(None),
            load: RefCell::new(None),
            ran: Cell::new(0),
            runs_since: Cell::new(None),
        })
    }

    pub(super) fn write(&self, event: &Event) {
        self.events.write(event);
    }

    /// A number below this one.
    pub(super) fn roll(&self, below: u64) -> u64 {
        self.dice.borrow_mut().below(below)
    }

    /// Some time between these many milliseconds; less where all is about to end.
    pub(super) async fn wait_between(&self, least: u64, most: u64) {
        let until = Instant::now() + Duration::from_millis(least + self.roll(most - least));
        while !self.is_ending.get() && Instant::now() < until {
            pause(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// For how long the platform has run in all.
    pub(super) fn uptime(&self) -> Duration {
        let now_up = self.runs_since.get().map_or(0, |since| now().saturating_sub(since));
        Duration::from_micros(self.ran.get() + now_up)
    }

    pub(super) async fn ask(&self, question: &Question) -> Option<Answer> {
        // One that hangs is as good as none; commands wait for a disk, for half a minute at most.
        timeout(ANSWER, ask(&self.files.control(), question)).await.ok()?
    }

    pub(super) async fn see(&self, service: &str) -> Option<Seen> {
        match self.ask(&Question::Describe(service.to_owned())).await? {
            Answer::Seen(seen) => Some(*seen),
            _ => None,
        }
    }

    /// Begins a platform, however often it takes while the disk is full.
    pub(super) async fn begin_platform(&self, shift: i64) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let log = File::options().create(true).append(true).open(self.files.platform())?;
            let mut child = Role::Platform(self.files.0.clone(), shift)
                .command()
                .stdin(OwnedFd::from(self.clients.try_clone()?))
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()?;
            let is_up = loop {
                if let Some(Answer::Hello) = self.ask(&Question::Hello).await {
                    break true;
                }
                if child.try_wait()?.is_some() {
                    break false;
                }
                pause(STEP).await;
            };
            if is_up {
                self.write(&Event::PlatformUp { at: now(), shift });
                self.runs_since.set(Some(now()));
                self.platform.replace(Some(child));
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(self.last_words()));
            }
            pause(LOOK).await;
        }
    }

    fn last_words(&self) -> String {
        let said = fs::read_to_string(self.files.platform()).unwrap_or_default();
        format!("no platform begins: {}", said.lines().last().unwrap_or("it says nothing"))
    }

    /// Kills it, and knows from when to when that was.
    pub(super) fn kill_platform(&self) {
        let Some(mut child) = self.platform.take() else { return };
        let from = now();
        let _ = child.kill();
        let _ = child.wait();
        self.gone();
        self.write(&Event::PlatformKilled { from, gone: now() });
    }

    fn gone(&self) {
        if let Some(since) = self.runs_since.take() {
            self.ran.set(self.ran.get() + now().saturating_sub(since));
        }
    }

    /// Ends it in an orderly way; instances stay where `leave` says so.
    pub(super) async fn end_orderly(&self, leave: bool) {
        let from = now();
        let ended = self.ask(&Question::End { leave }).await;
        let Some(mut child) = self.platform.take() else { return };
        if !matches!(ended, Some(Answer::Ended)) || self.wait_for(&mut child, "it").await.is_err() {
            let words = format!("the platform does not end: {ended:?}");
            self.write(&Event::Wrong { words, at: now() });
            let _ = child.kill();
            let _ = child.wait();
        }
        self.gone();
        self.write(&Event::PlatformEnded { from, gone: now() });
    }

    /// Says so if it has ended without being asked.
    pub(super) fn look_after_platform(&self) -> bool {
        let mut platform = self.platform.borrow_mut();
        let Some(child) = platform.as_mut() else { return false };
        let Ok(Some(status)) = child.try_wait() else { return true };
        *platform = None;
        drop(platform);
        self.gone();
        let words = format!("the platform ended by itself, {status}; see its log");
        self.write(&Event::Wrong { words, at: now() });
        false
    }

    pub(super) fn begin_load(&self) -> io::Result<()> {
        let load = Role::Load(self.files.0.clone())
            .command()
            .stdout(File::create(self.files.counts())?)
            .spawn()?;
        self.load.replace(Some(load));
        Ok(())
    }

    /// Until it has ended, if there is one.
    pub(super) async fn wait_for_load(&self) -> io::Result<()> {
        match self.load.take() {
            Some(mut load) => self.wait_for(&mut load, "the load").await,
            None => Ok(()),
        }
    }

    async fn wait_for(&self, child: &mut Child, what: &str) -> io::Result<()> {
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{what} does not end")));
            }
            pause(STEP).await;
        }
        Ok(())
    }
}

impl Drop for Stage {
    /// Leaves nothing behind but, where something was wrong, what it was.
    fn drop(&mut self) {
        if let Some(mut child) = self.platform.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The load ends by itself when it is not told any more where to ask.
        let _ = fs::remove_file(self.files.address());
        processes::end_all(&self.files.run());
        self.disk.remove();
        match self.keep_logs.get() {
            true => complain(&self.program, &format!("the logs are in {}", self.files.0.display())),
            false => drop(fs::remove_dir_all(&self.files.0)),
        }
    }
}

const BACKLOG: u32 = 4_096;
const STEP: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_millis(50);
const ANSWER: Duration = Duration::from_secs(40);
/// For how long something is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(90);
