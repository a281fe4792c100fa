//! Conducts a test: sets all up, hurts it, brings it to rest, and has it judged.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs::{self, File},
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    process::{Child, ExitCode, Stdio},
    time::Duration,
};

use runner_core::testing::random::SplitMix64;
use tokio::{
    net::TcpSocket,
    signal::unix::{SignalKind, signal},
    time::{Instant, timeout},
};

use super::{
    changes::Changes,
    control::{Answer, Question, Seen, ask},
    disk::Disk,
    hurt, judge,
    log::{Event, Files, Log},
    processes,
    roles::{Role, block_on},
    services::{KINDS, Kind},
    time::{now, pause},
    wishes::{complain, say},
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) program: String,
    pub(super) seconds: u64,
    pub(super) seed: u64,
    /// In namespaces of users and mounts of its own.
    pub(super) in_namespace: bool,
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

/// Everything that the parts of the conducting share; they take turns on one thread.
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
    keep_logs: Cell<bool>,
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

pub(super) fn conduct(plan: &Plan) -> ExitCode {
    block_on(async {
        let mut interrupts = Vec::new();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            interrupts.extend(signal(kind).ok());
        }
        let Ok([mut first, mut second, mut third]) = <[_; 3]>::try_from(interrupts) else {
            return fail_at_once(plan, "signals cannot be listened for");
        };
        let stage = match Stage::new(plan).await {
            Ok(stage) => stage,
            Err(error) => return fail_at_once(plan, &format!("it cannot be set up: {error}")),
        };
        let done = tokio::select! {
            done = stage.perform_and_judge(plan) => done.map_err(|error| Some(error.to_string())),
            _ = first.recv() => Err(None),
            _ = second.recv() => Err(None),
            _ = third.recv() => Err(None),
        };
        stage.keep_logs.set(!matches!(done, Ok(true) | Err(None)));
        drop(stage);
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(Some(why)) => fail(plan, &why),
            // As a shell has it for a program that was ended by Ctrl-C.
            Err(None) => ExitCode::from(130),
        }
    })
}

/// Before there is anything to judge.
fn fail_at_once(plan: &Plan, why: &str) -> ExitCode {
    say(&judge::nothing());
    fail(plan, why)
}

fn fail(plan: &Plan, why: &str) -> ExitCode {
    complain(&plan.program, why);
    ExitCode::FAILURE
}

impl Stage {
    async fn new(plan: &Plan) -> io::Result<Self> {
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

    /// The whole of it; whether all was well. What could not be brought to its end is judged too,
    /// and is not well.
    async fn perform_and_judge(&self, plan: &Plan) -> io::Result<bool> {
        let performed = self.perform(plan).await;
        if let Err(error) = &performed {
            self.write(&Event::Wrong { words: error.to_string(), at: now() });
            // What the load has under way comes to its end, or is lost.
            let _ = fs::remove_file(self.files.address());
            if let Some(mut load) = self.load.take() {
                let _ = self.wait_for(&mut load, "the load").await;
            }
        }
        self.look_for_panics();
        let mut judge = Role::Judge(self.files.0.clone(), self.least_kills(plan)).command();
        let judged = judge.stdin(Stdio::null()).status()?.success();
        performed.map(|()| judged)
    }

    async fn perform(&self, plan: &Plan) -> io::Result<()> {
        self.begin_platform(0).await?;
        let mut changes: Vec<Changes<'_>> =
            KINDS.iter().map(|one| Changes::new(self, one)).collect();
        for service in &mut changes {
            service.create().await?;
        }
        let size = self.disk.shrink(ROOM)?;
        if size > 0 {
            say(&format!("the disk of journal and logs has {} KiB", size >> 10));
        }
        let load = Role::Load(self.files.0.clone())
            .command()
            .stdout(File::create(self.files.counts())?)
            .spawn()?;
        self.load.replace(Some(load));
        let until = Instant::now() + Duration::from_secs(plan.seconds);
        let [first, second, third, fourth] = &mut changes[..] else {
            return Err(io::Error::other("there are four services"));
        };
        tokio::join!(
            first.keep_changing(),
            second.keep_changing(),
            third.keep_changing(),
            fourth.keep_changing(),
            hurt::platforms(self),
            hurt::instances(self),
            hurt::disk(self),
            self.tell(until),
        );
        say("all is brought to rest");
        for kind in &KINDS {
            self.wait_for_rest(kind).await;
        }
        fs::remove_file(self.files.address())?;
        if let Some(mut load) = self.load.take() {
            self.wait_for(&mut load, "the load").await?;
        }
        self.end_platform().await;
        for found in processes::of_run(&self.files.run()) {
            let (process, words) = (found.process, found.words());
            self.write(&Event::Orphan { process, words, at: now() });
        }
        Ok(())
    }

    /// At least a hundred in an hour.
    fn least_kills(&self, plan: &Plan) -> u32 {
        u32::try_from(plan.seconds * 100 / 3_600).unwrap_or(u32::MAX)
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

    /// Ends it in an orderly way; instances stay.
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

    async fn end_platform(&self) {
        self.end_orderly(false).await;
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

    /// Until it has ended what it does, and has the processes that it says it has.
    async fn wait_for_rest(&self, kind: &Kind) {
        let began = self.uptime();
        loop {
            let seen = self.see(kind.name).await;
            let mut found = processes::of_run(&self.files.run());
            found.retain(|one| one.service() == Some(kind.name));
            let words = match seen {
                Some(seen) if !seen.is_busy && seen.instances == found.len() => return,
                Some(seen) => seen.words,
                None => "it does not answer".to_owned(),
            };
            if self.uptime().saturating_sub(began) > REST {
                let words = format!("{} is not at rest: {words}, {found:?}", kind.name);
                self.write(&Event::Stuck { number: 0, words, at: now() });
                return;
            }
            pause(LOOK).await;
        }
    }

    /// A task of the platform that panicked is begun anew, and was wrong all the same.
    fn look_for_panics(&self) {
        let said = fs::read_to_string(self.files.platform()).unwrap_or_default();
        for line in said.lines().filter(|line| line.contains("panicked at")) {
            self.write(&Event::Wrong { words: line.to_owned(), at: now() });
        }
    }

    /// Says every few seconds how far it is, until it is over.
    async fn tell(&self, until: Instant) {
        let began = Instant::now();
        let whole = until.saturating_duration_since(began).as_secs();
        while Instant::now() < until {
            pause(TELL.min(until.saturating_duration_since(Instant::now()))).await;
            let counts = fs::read_to_string(self.files.counts()).unwrap_or_default();
            let last = counts.lines().last().unwrap_or("0 0");
            let (sent, answered) = last.split_once(' ').unwrap_or(("0", "0"));
            let [kills, restarts, killed, stopped, filled] = [
                &self.counts.platform_kills,
                &self.counts.restarts,
                &self.counts.killed,
                &self.counts.stopped,
                &self.counts.filled,
            ]
            .map(Cell::get);
            let changes = self.counts.changes.get();
            say(&format!(
                "{:>4} of {whole} s: {answered} of {sent} requests answered; platform killed \
                 {kills}, restarted {restarts}; instances killed {killed}, stopped {stopped}; \
                 disk full {filled}; {changes} changes",
                began.elapsed().as_secs()
            ));
        }
        self.is_ending.set(true);
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

/// What the disk has beside what setting up took.
const ROOM: u64 = 4 << 20;
const BACKLOG: u32 = 4_096;
const STEP: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_millis(50);
const TELL: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(40);
/// For how long something is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(90);
/// For how long the platform may take to come to rest.
const REST: Duration = Duration::from_secs(60);
