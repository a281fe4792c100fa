//! What is remembered: the trait that storage implements.
//!
//! The journal is not event-sourced. It holds the *state* of each service as one versioned
//! record, replaced at each commit, and a bounded *history* for people. A platform that comes
//! back reads the records, asks the backend what is there, and goes on.
//!
//! # The contract
//!
//! 1. **Opening is exclusive and counted.** Whoever opens has the storage alone; a second opener
//!    gets a [`Conflict`](crate::error::ErrorKind::Conflict) that names the holder. Dropping the
//!    journal closes it. Each opening raises the [`Epoch`], durably, before [`Journal::opened`]
//!    tells it. That of a [copy](Journal::back_up) raises it above all openings of what it was
//!    copied from, those after the copy was made included: backends refuse what is older.
//! 2. **A commit is all or nothing.** After `Ok` all of the batch survives a crash; after an error
//!    or a crash either all of it is there or none, and a batch is never there without those
//!    whose commits were answered before it.
//! 3. **An error leaves what was.** Reads go on; a later commit may succeed (space was made) and
//!    then is as good as any. What failed may still be found by the next opening, as a whole,
//!    and by no read before it.
//! 4. **Batches are commits' only order.** Two that are under way at once may end up in either
//!    order; whoever needs one waits for the first.

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    BoxFuture, Error,
    id::{Epoch, PlatformId, ServiceId},
    time::Timestamp,
};

/// Remembers the state of services, durably.
///
/// See the [module page](self) for the contract.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot remember what a platform decides",
    label = "is not a `Journal`",
    note = "implement `opened`, `records`, `commit` and `history`; \
            `runner_core::testing::journal::MemoryJournal` shows how, and the conformance kit beside it \
            holds yours to the contract"
)]
pub trait Journal: Send + Sync + 'static {
    /// What this opening found.
    fn opened(&self) -> Opened;

    /// All records, in order of their keys.
    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>>;

    /// Makes a batch durable, all of it or nothing.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), Error>>;

    /// The newest entries about a service, newest first, at most `limit`.
    fn history(
        &self,
        service: ServiceId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>>;

    /// Writes a copy of all that is committed to a file that is not there yet, while this goes on.
    /// A journal is opened at it later, in the place of this one.
    ///
    /// A journal that is no file says [`Unsupported`](crate::error::ErrorKind::Unsupported), which
    /// is what is said where nothing else is implemented: it is copied by its own means.
    fn back_up(&self, to: PathBuf) -> BoxFuture<'_, Result<(), Error>> {
        let shown = to.display();
        let message = format!("this journal does not copy itself to {shown}; copy what it is in");
        Box::pin(std::future::ready(Err(Error::unsupported(message))))
    }
}

/// A journal that its owner keeps hold of.
impl<J: Journal + ?Sized> Journal for Arc<J> {
    fn opened(&self) -> Opened {
        (**self).opened()
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        (**self).records()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), Error>> {
        (**self).commit(batch)
    }

    fn history(
        &self,
        service: ServiceId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        (**self).history(service, limit)
    }

    fn back_up(&self, to: PathBuf) -> BoxFuture<'_, Result<(), Error>> {
        (**self).back_up(to)
    }
}

/// What an opening of a journal found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Whose journal it is: made at random with the journal itself.
    pub platform: PlatformId,
    /// Higher than that of any opening before: how often it has been opened, this time included,
    /// unless it was opened from a copy once.
    pub epoch: Epoch,
    /// The newest time of any batch or entry in it: the floor of the platform's clock.
    pub newest: Timestamp,
}

/// What is committed together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    at: Timestamp,
    changes: Vec<Change>,
}

/// One change of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a journal that ignores one loses it")]
pub enum Change {
    /// Puts a record in the place of the one with its key.
    Put(Record),
    /// Removes a record.
    Remove(RecordKey),
    /// Adds an entry to the history.
    Note(HistoryEntry),
}

impl Batch {
    /// An empty batch, made at `at`.
    pub const fn new(at: Timestamp) -> Self {
        Self { at, changes: Vec::new() }
    }

    /// Adds: this record in the place of the one with its key.
    pub fn put(mut self, record: Record) -> Self {
        self.changes.push(Change::Put(record));
        self
    }

    /// Adds: no record under this key.
    pub fn remove(mut self, key: RecordKey) -> Self {
        self.changes.push(Change::Remove(key));
        self
    }

    /// Adds: an entry of the history.
    pub fn note(mut self, entry: HistoryEntry) -> Self {
        self.changes.push(Change::Note(entry));
        self
    }

    /// When it was made.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Its changes in the order in which they were added; of two about one key the later wins.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordKey {
    /// The platform as a whole.
    Platform,
    /// One service.
    Service(ServiceId),
}

/// The state of one thing, as bytes that only its owner reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub key: RecordKey,
    /// The version of the form in which `bytes` are written. A reader refuses a newer one by
    /// name instead of guessing.
    pub version: u32,
    /// The state.
    pub bytes: Vec<u8>,
}

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The service it is about.
    pub service: ServiceId,
    /// When it happened.
    pub at: Timestamp,
    /// What happened, as a code that programs may match.
    pub code: String,
    /// What happened, as a sentence.
    pub message: String,
}
