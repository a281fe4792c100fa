//! The load: an open loop of constant rate, in a process of its own with a log of its own.
//!
//! A request is sent when it is due, whatever became of those before. It goes on until the file
//! that says where to ask is gone, and then waits for what is under way.

use std::{cell::Cell, io::Write as _, net::SocketAddr, path::Path, process::ExitCode, rc::Rc};

use tokio::{
    task::{JoinSet, LocalSet},
    time::{MissedTickBehavior, interval},
};

use super::{
    log::{Files, Line, Log, Outcome},
    own::block_on,
    request::ask,
    services::{KINDS, Kind},
    time::now,
};

pub(super) fn run(place: &Path) -> ExitCode {
    let files = Files(place.to_owned());
    let log = Log::create(&files.requests());
    let address = std::fs::read_to_string(files.address());
    let (Ok(log), Ok(address)) = (log, address) else { return ExitCode::FAILURE };
    let Ok(address) = address.trim().parse() else { return ExitCode::FAILURE };
    let load = Rc::new(Load {
        log,
        address,
        files,
        next: Cell::new(1),
        counts: Cell::default(),
        stage: rustix::process::getppid(),
    });
    block_on(LocalSet::new().run_until(async {
        let mut all = JoinSet::new();
        for kind in &KINDS {
            all.spawn_local(Rc::clone(&load).keep_asking(kind));
        }
        let count = Rc::clone(&load);
        all.spawn_local(async move { count.tell().await });
        all.join_all().await;
    }));
    load.log.write(&Line::Closed);
    ExitCode::SUCCESS
}

struct Load {
    log: Log,
    address: SocketAddr,
    files: Files,
    next: Cell<u64>,
    /// Sent, and those of them that were answered.
    counts: Cell<(u64, u64)>,
    stage: Option<rustix::process::Pid>,
}

impl Load {
    fn goes_on(&self) -> bool {
        // A stage that was killed could not take the file away.
        self.files.address().exists() && rustix::process::getppid() == self.stage
    }

    async fn keep_asking(self: Rc<Self>, kind: &'static Kind) {
        let mut asked = JoinSet::new();
        let mut beat = interval(kind.every());
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while self.goes_on() {
            tokio::select! {
                due = beat.tick() => {
                    let late = super::time::micros(due.elapsed());
                    for _ in 0..kind.at_once {
                        asked.spawn_local(Rc::clone(&self).ask(kind, now().saturating_sub(late)));
                    }
                }
                Some(_) = asked.join_next() => {}
            }
        }
        while asked.join_next().await.is_some() {}
    }

    async fn ask(self: Rc<Self>, kind: &Kind, due: u64) {
        let id = self.next.replace(self.next.get() + 1);
        self.log.write(&Line::Sent { id, service: kind.name.to_owned(), due, at: now() });
        self.counts.set((self.counts.get().0 + 1, self.counts.get().1));
        let outcome = ask(self.address, kind, id).await;
        if matches!(outcome, Outcome::Answered { .. }) {
            self.counts.set((self.counts.get().0, self.counts.get().1 + 1));
        }
        self.log.write(&Line::Ended { id, at: now(), outcome });
    }

    /// Says how far it is, for who looks on.
    async fn tell(&self) {
        let mut beat = interval(TELL);
        while self.goes_on() {
            beat.tick().await;
            let (sent, answered) = self.counts.get();
            let _ = writeln!(std::io::stdout().lock(), "{sent} {answered}");
        }
    }
}

const TELL: std::time::Duration = std::time::Duration::from_secs(1);
