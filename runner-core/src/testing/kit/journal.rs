//! The kit for journals.

mod checks;
mod durability;

use std::{fmt, sync::Arc, time::Duration};

use super::{
    KitClock, Report,
    run::{Clause, Miss, OrFail, fail, report, run_check},
};
use crate::{
    Error,
    error::ErrorKind,
    id::ServiceId,
    journal::{Batch, HistoryEntry, Journal, Record, RecordKey},
    testing::random::SplitMix64,
    time::Timestamp,
};

/// Holds a [`Journal`] to its [contract](crate::journal).
///
/// ```
/// use runner_core::{
///     id::PlatformId,
///     journal::Journal,
///     testing::{clock::TestClock, journal::{Crash, MemoryStorage}, kit::JournalKit},
/// };
/// use std::sync::Arc;
///
/// let clock = TestClock::new();
/// let storage = MemoryStorage::new(&clock, PlatformId::from_random(1)); // here: yours
/// let (opened, crashed) = (storage.clone(), storage);
///
/// let kit = JournalKit::new("memory", clock.clone(), move || {
///     opened.open("the kit").map(|journal| Arc::new(journal) as Arc<dyn Journal>)
/// })
/// .holder("the kit")
/// .crash(move || crashed.crash(Crash::Torn { seed: 1 }));
///
/// clock.run(kit.run()).assert();
/// ```
#[derive(Clone)]
#[must_use = "a kit does nothing until it is run"]
pub struct JournalKit {
    ground: Ground,
}

#[derive(Clone)]
struct Ground {
    subject: String,
    clock: Arc<dyn KitClock>,
    open: Arc<dyn Fn() -> Result<Arc<dyn Journal>, Error> + Send + Sync>,
    holder: Option<String>,
    crash: Option<Arc<dyn Fn() + Send + Sync>>,
    fail: Option<Arc<dyn Fn(bool) + Send + Sync>>,
    seed: u64,
    patience: Duration,
    large: usize,
}

impl JournalKit {
    /// A kit for the journal that `open` opens; all of its checks open the same one.
    ///
    /// A journal is closed by dropping it. Where that takes a moment, `open` may refuse for as
    /// long as the kit's [patience](Self::patience).
    pub fn new(
        subject: impl Into<String>,
        clock: impl KitClock,
        open: impl Fn() -> Result<Arc<dyn Journal>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            ground: Ground {
                subject: subject.into(),
                clock: Arc::new(clock),
                open: Arc::new(open),
                holder: None,
                crash: None,
                fail: None,
                seed: 1,
                patience: Duration::from_secs(10),
                large: 1 << 20,
            },
        }
    }

    /// What the error of a second opener must say of the holder, such as its process id.
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.ground.holder = Some(holder.into());
        self
    }

    /// Takes the power from the storage: what is not durable at that moment may be lost, torn or
    /// reordered. The kit then drops its journal, and opens it again.
    pub fn crash(mut self, crash: impl Fn() + Send + Sync + 'static) -> Self {
        self.ground.crash = Some(Arc::new(crash));
        self
    }

    /// Makes all writes fail, with `true`, or none any more.
    pub fn fail(mut self, fail: impl Fn(bool) + Send + Sync + 'static) -> Self {
        self.ground.fail = Some(Arc::new(fail));
        self
    }

    /// Where ids and contents are drawn from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.ground.seed = seed;
        self
    }

    /// How long the kit waits for what has to happen soon; each check may take ten times that.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.ground.patience = patience;
        self
    }

    /// The size of the largest record, in bytes. A mebibyte unless it is said: ten thousand
    /// instances of one service fit in that.
    pub fn large_record(mut self, bytes: usize) -> Self {
        self.ground.large = bytes;
        self
    }

    /// The names of all checks, in the order in which they run.
    pub fn checks() -> Vec<&'static str> {
        clauses().into_iter().map(|clause| clause.name).collect()
    }

    /// Runs all checks, one after another, on one storage.
    pub async fn run(self) -> Report {
        let ground = Arc::new(self.ground);
        let began = ground.clock.now();
        let mut checks = Vec::new();
        for (number, clause) in clauses().iter().enumerate() {
            let stage = Stage { ground: Arc::clone(&ground), number: number as u64 };
            let limit = ground.patience * 10;
            checks.push(run_check(&*ground.clock, clause, stage, limit).await);
            // Whatever the check did, the next one finds storage that works.
            if let Some(fail) = &ground.fail {
                fail(false);
            }
        }
        report(&ground.subject, &ground.clock, began, checks)
    }
}

impl fmt::Debug for JournalKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalKit").field("subject", &self.ground.subject).finish_non_exhaustive()
    }
}

fn clauses() -> Vec<Clause<Stage>> {
    checks::clauses().into_iter().chain(durability::clauses()).collect()
}

/// Where one check plays: services that no other check uses.
struct Stage {
    ground: Arc<Ground>,
    number: u64,
}

impl Stage {
    fn clock(&self) -> &dyn KitClock {
        &*self.ground.clock
    }

    /// Opens the journal, waiting for one that was just closed to be so.
    async fn open(&self) -> Result<Arc<dyn Journal>, Miss> {
        let deadline = self.clock().now() + self.ground.patience;
        loop {
            match (self.ground.open)() {
                Err(error)
                    if error.kind() == ErrorKind::Conflict && self.clock().now() < deadline =>
                {
                    self.clock().sleep(Duration::from_millis(20)).await;
                }
                answer => return answer.or_fail("opening the journal"),
            }
        }
    }

    /// Takes the power and opens again; nothing where the caller brought no crash.
    async fn crash(&self, journal: Arc<dyn Journal>) -> Result<Arc<dyn Journal>, Miss> {
        let Some(crash) = &self.ground.crash else {
            return super::run::skip("no crash was given");
        };
        crash();
        drop(journal);
        self.open().await
    }

    /// The check's `which`-th service.
    fn service(&self, which: u64) -> ServiceId {
        let seed = self.ground.seed ^ (self.number << 32) ^ (which << 40);
        ServiceId::from_random(SplitMix64::new(seed).next_u128())
    }

    fn record(&self, which: u64, bytes: impl Into<Vec<u8>>) -> Record {
        Record { key: self.key(which), version: 1, bytes: bytes.into() }
    }

    fn key(&self, which: u64) -> RecordKey {
        RecordKey::Service(self.service(which))
    }

    fn note(&self, which: u64, at: u64) -> HistoryEntry {
        let service = self.service(which);
        let (code, message) = (format!("entry-{at}"), format!("what happened at {at}"));
        HistoryEntry { service, at: Timestamp::from_secs(at), code, message }
    }

    /// A batch that puts one record.
    fn put(&self, which: u64, bytes: impl Into<Vec<u8>>) -> Batch {
        Batch::new(Timestamp::from_secs(1)).put(self.record(which, bytes))
    }
}

/// The record under a key; nothing when there is none.
async fn found(journal: &Arc<dyn Journal>, key: RecordKey) -> Result<Option<Record>, Miss> {
    let records = journal.records().await.or_fail("reading the records")?;
    let mut of_key = records.into_iter().filter(|record| record.key == key);
    match (of_key.next(), of_key.next()) {
        (record, None) => Ok(record),
        (_, Some(_)) => fail(format!("there are two records under {key:?}")),
    }
}

async fn commit(journal: &Arc<dyn Journal>, batch: Batch) -> Result<(), Miss> {
    journal.commit(batch).await.or_fail("a commit")
}
