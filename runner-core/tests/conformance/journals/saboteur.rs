//! Journals that break one clause each.

use std::{
    future::poll_fn,
    sync::{
        Arc, MutexGuard, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use runner_core::{
    BoxFuture, Error,
    error::ErrorKind,
    id::{Epoch, ServiceId},
    journal::{Batch, Change, HistoryEntry, Journal, Opened, Record, RecordKey},
    testing::{
        journal::{MemoryJournal, MemoryStorage},
        random::SplitMix64,
    },
    time::Timestamp,
};

use crate::notes::Notes;

/// What a saboteur does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    EpochOnlyRisesWithCrashes,
    SharesTheJournal,
    HidesHolder,
    OpenedMoves,
    LosesPlatformOnClose,
    KeepsTheFirst,
    RemovesNothing,
    ListsBackwards,
    FirstWins,
    ClipsVersions,
    ClipsBytes,
    LosesInCrowds,
    TearsSmallBatches,
    ForgetsNewest,
    TellsOldestFirst,
    IgnoresLimit,
    AnswersBeforeSync,
    TearsLargeBatches,
    WritesOutOfOrder,
    EpochForgetsCrashes,
    ShowsWhatFailed,
    NeverRecovers,
}

impl Flaw {
    /// All of them, in the order of the checks.
    pub(crate) const ALL: &'static [Self] = &[
        Self::EpochOnlyRisesWithCrashes,
        Self::SharesTheJournal,
        Self::HidesHolder,
        Self::OpenedMoves,
        Self::LosesPlatformOnClose,
        Self::KeepsTheFirst,
        Self::RemovesNothing,
        Self::ListsBackwards,
        Self::FirstWins,
        Self::ClipsVersions,
        Self::ClipsBytes,
        Self::LosesInCrowds,
        Self::TearsSmallBatches,
        Self::ForgetsNewest,
        Self::TellsOldestFirst,
        Self::IgnoresLimit,
        Self::AnswersBeforeSync,
        Self::TearsLargeBatches,
        Self::WritesOutOfOrder,
        Self::EpochForgetsCrashes,
        Self::ShowsWhatFailed,
        Self::NeverRecovers,
    ];

    /// The check that names it.
    pub(crate) fn breaks(self) -> [&'static str; 1] {
        [match self {
            Self::EpochOnlyRisesWithCrashes => {
                "each opening raises the epoch, of the same platform"
            }
            Self::SharesTheJournal | Self::HidesHolder => {
                "a second opener is refused and told who holds it"
            }
            Self::OpenedMoves => "what an opening found does not change while it is open",
            Self::LosesPlatformOnClose => "what was committed is there when it is opened again",
            Self::KeepsTheFirst => "a record takes the place of the one with its key",
            Self::RemovesNothing => "a removed record is gone, and removing nothing is no error",
            Self::ListsBackwards => "records come in the order of their keys",
            Self::FirstWins => "of two changes about one key the later wins",
            Self::ClipsVersions => "bytes and version come back as they were",
            Self::ClipsBytes => "a large record is kept whole",
            Self::LosesInCrowds => "many commits at once are all kept",
            Self::TearsSmallBatches => {
                "a commit that was dropped is there as a whole or not at all"
            }
            Self::ForgetsNewest => "the newest time is the floor of the next opening",
            Self::TellsOldestFirst => "history comes newest first, of its service alone",
            Self::IgnoresLimit => "history gives no more than it was asked for",
            Self::AnswersBeforeSync => "what was answered survives a crash",
            Self::TearsLargeBatches => "a crash leaves all of a batch or nothing",
            Self::WritesOutOfOrder => "a batch is never there without those answered before it",
            Self::EpochForgetsCrashes => "the epoch rises over a crash, too",
            Self::ShowsWhatFailed => "a commit that failed leaves what was, and reads go on",
            Self::NeverRecovers => "a commit after one that failed is as good as any",
        }]
    }
}

/// The in-memory storage with one flaw, or none.
pub(crate) struct Sabotage {
    storage: MemoryStorage,
    flaw: Option<Flaw>,
    seed: AtomicU64,
    crashes: AtomicU64,
    /// Who has it open.
    open: Notes<Weak<MemoryJournal>>,
}

impl Sabotage {
    pub(crate) fn new(storage: MemoryStorage, flaw: Option<Flaw>) -> Self {
        let (seed, crashes, open) = Default::default();
        Self { storage, flaw, seed, crashes, open }
    }

    pub(crate) fn crash(&self, seed: u64) {
        // Another crash each time, the same ones for the same seed.
        let number = self.seed.fetch_add(1, Relaxed);
        let mut dice = SplitMix64::new(seed ^ (number << 32));
        self.crashes.fetch_add(1, Relaxed);
        self.storage.crash(super::crash(&mut dice));
    }

    pub(crate) fn open(&self) -> Result<Arc<dyn Journal>, Error> {
        let mut holder = self.open.lock();
        let inner = match (self.flaw, self.storage.open("the kit")) {
            (_, Ok(journal)) => Arc::new(journal),
            (Some(Flaw::SharesTheJournal), Err(error)) => holder.upgrade().ok_or(error)?,
            (Some(Flaw::HidesHolder), Err(_)) => {
                return Err(Error::new(ErrorKind::Conflict, "somebody has it open"));
            }
            (_, Err(error)) => return Err(error),
        };
        *holder = Arc::downgrade(&inner);
        let mut opened = inner.opened();
        let crashes = self.crashes.load(Relaxed);
        match self.flaw {
            Some(Flaw::EpochOnlyRisesWithCrashes) => opened.epoch = Epoch::new(crashes + 1),
            Some(Flaw::EpochForgetsCrashes) => {
                opened.epoch = Epoch::new(opened.epoch.number() - crashes);
            }
            Some(Flaw::ForgetsNewest) => opened.newest = Timestamp::EPOCH,
            _ => {}
        }
        let committing = AtomicUsize::new(0);
        let notes = Default::default();
        Ok(Arc::new(Saboteur { inner, opened, flaw: self.flaw, committing, notes }))
    }
}

struct Saboteur {
    inner: Arc<MemoryJournal>,
    opened: Opened,
    flaw: Option<Flaw>,
    committing: AtomicUsize,
    notes: Notes<Memory>,
}

#[derive(Default)]
struct Memory {
    newest: Timestamp,
    failed: Option<Batch>,
    has_failed: bool,
    wrote_platform: bool,
}

impl Saboteur {
    fn notes(&self) -> MutexGuard<'_, Memory> {
        self.notes.lock()
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Whether the flaw drops this batch and says that all is well.
    async fn ignores(&self, batch: &Batch) -> bool {
        match (self.flaw, batch.changes()) {
            (Some(Flaw::KeepsTheFirst), [Change::Put(record)]) => {
                let records = self.inner.records().await.unwrap_or_default();
                records.iter().any(|there| there.key == record.key)
            }
            (Some(Flaw::RemovesNothing), [Change::Remove(_)]) => true,
            (Some(Flaw::WritesOutOfOrder), [Change::Put(record)]) => record.bytes == b"answered",
            (Some(Flaw::LosesInCrowds), _) => self.committing.load(Relaxed) > 10,
            _ => false,
        }
    }

    /// What the flaw makes of a batch: it, another, or its halves.
    fn twist(&self, batch: &Batch) -> Vec<Batch> {
        let puts_two = match batch.changes() {
            [Change::Put(one), Change::Put(other)] if one.key != other.key => Some(one.bytes.len()),
            _ => None,
        };
        let splits = match self.flaw {
            Some(Flaw::TearsSmallBatches) => puts_two.is_some_and(|len| len < 100),
            Some(Flaw::TearsLargeBatches) => puts_two.is_some_and(|len| len >= 100),
            _ => false,
        };
        let changes = batch.changes().iter().cloned().map(|change| match change {
            Change::Put(mut record) => {
                if self.is(Flaw::ClipsVersions) {
                    record.version = record.version.min(1000);
                }
                if self.is(Flaw::ClipsBytes) {
                    record.bytes.truncate(100_000);
                }
                Change::Put(record)
            }
            other => other,
        });
        let empty = || Batch::new(batch.at());
        if splits {
            changes.map(|change| add(empty(), change)).collect()
        } else if self.is(Flaw::FirstWins) {
            vec![changes.rev().fold(empty(), add)]
        } else {
            vec![changes.fold(empty(), add)]
        }
    }
}

fn add(batch: Batch, change: Change) -> Batch {
    match change {
        Change::Put(record) => batch.put(record),
        Change::Remove(key) => batch.remove(key),
        Change::Note(entry) => batch.note(entry),
    }
}

impl Journal for Saboteur {
    fn opened(&self) -> Opened {
        match self.is(Flaw::OpenedMoves) {
            true => Opened { newest: self.opened.newest.max(self.notes().newest), ..self.opened },
            false => self.opened,
        }
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        Box::pin(async move {
            let mut records = self.inner.records().await?;
            if self.is(Flaw::ListsBackwards) {
                records.reverse();
            }
            if self.is(Flaw::LosesPlatformOnClose) && !self.notes().wrote_platform {
                records.retain(|record| record.key != RecordKey::Platform);
            }
            if let Some(failed) = &self.notes().failed {
                for change in failed.changes() {
                    let Change::Put(record) = change else { continue };
                    records.retain(|there| there.key != record.key);
                    records.push(record.clone());
                }
            }
            Ok(records)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let _crowd = Crowd::join(&self.committing);
            if self.ignores(&batch).await {
                return Ok(());
            }
            {
                let mut notes = self.notes();
                notes.newest = notes.newest.max(batch.at());
                notes.wrote_platform |= batch.changes().iter().any(
                    |change| matches!(change, Change::Put(record) if record.key == RecordKey::Platform),
                );
                if self.is(Flaw::NeverRecovers) && notes.has_failed {
                    return Err(Error::unavailable("it failed before"));
                }
            }
            let puts_and_notes = matches!(batch.changes(), [Change::Put(_), Change::Note(_)]);
            if self.is(Flaw::AnswersBeforeSync) && puts_and_notes {
                let mut commit = self.inner.commit(batch);
                return poll_fn(|context| match commit.as_mut().poll(context) {
                    Poll::Ready(answer) => Poll::Ready(answer),
                    Poll::Pending => Poll::Ready(Ok(())),
                })
                .await;
            }
            for part in self.twist(&batch) {
                if let Err(error) = self.inner.commit(part).await {
                    let mut notes = self.notes();
                    notes.has_failed = true;
                    notes.failed = self.is(Flaw::ShowsWhatFailed).then_some(batch);
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    fn history(
        &self,
        service: ServiceId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        Box::pin(async move {
            let limit = if self.is(Flaw::IgnoresLimit) { usize::MAX } else { limit };
            let mut entries = self.inner.history(service, limit).await?;
            if self.is(Flaw::TellsOldestFirst) {
                entries.reverse();
            }
            Ok(entries)
        })
    }
}

/// Counts those who commit at once, dropped ones no longer.
struct Crowd<'a>(&'a AtomicUsize);

impl<'a> Crowd<'a> {
    fn join(committing: &'a AtomicUsize) -> Self {
        committing.fetch_add(1, Relaxed);
        Self(committing)
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
