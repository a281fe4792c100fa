//! The embedded journal: one file, exclusive, durable.
//!
//! [`DiskJournal`] implements [`Journal`] over [redb](https://docs.rs/redb): copy-on-write B-trees
//! in a single file with checksums, written in Rust alone, stable in its format since 1.0, and with
//! a storage trait beneath it, which is what lets a full disk and a torn write be tested here.
//! `SQLite` would bring a C compiler to every embedder; a log of our own would bring a compaction
//! of our own.
//!
//! ```
//! use runner_core::{journal::{Batch, Journal, Record, RecordKey}, time::Timestamp};
//! use runner_platform::journal::DiskJournal;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), runner_core::Error> {
//! # let path = std::env::temp_dir().join(format!("runner-doc-{}.redb", std::process::id()));
//! let journal = DiskJournal::open(&path)?;
//! let record = Record { key: RecordKey::Platform, version: 1, bytes: b"state".to_vec() };
//! journal.commit(Batch::new(Timestamp::from_secs(1)).put(record)).await?;
//!
//! let refusal = DiskJournal::open(&path).expect_err("it is held");
//! assert!(refusal.to_string().contains(&format!("pid {}", std::process::id())), "{refusal}");
//!
//! drop(journal);
//! assert_eq!(DiskJournal::open(&path)?.opened().epoch.number(), 2);
//! # std::fs::remove_file(&path).and(std::fs::remove_file(path.with_extension("redb.lock"))).ok();
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **One thread, one sync for many.** The first call begins a thread that does all that blocks.
//!   Commits that come while one is being written are written together, with one sync.
//! - **A failed write leaves what was.** When the disk is full or broken, commits fail with the
//!   cause, and reads go on: the file is then opened beneath a layer in memory that takes what the
//!   database itself wants to write. Each further commit tries the disk again, so that all is well
//!   by itself once there is room.
//! - **What failed is never read.** The head of the file as it was after the last good commit is
//!   put back before anything else is read or written; all of a database's pages hang on it.
//! - **Bounded.** History keeps [so many](DiskJournalBuilder::history_of_service) entries of each
//!   service and [so many](DiskJournalBuilder::history_in_all) in all, oldest first out. Records
//!   are replaced. A file with much room left in it is compacted when it is opened.
//! - **Copied while it is open,** by [`back_up`](Journal::back_up). A copy is the journal of the
//!   same platform, at another time: its first opening takes an epoch from the time of day, above
//!   any that was counted to meanwhile. So backends take the word of whoever runs from the copy,
//!   and refuse whoever still runs from the original. Each time it is put in place is a new one.
//! - **Private.** The file, its lock and its copies have mode 0600. One that was there and that
//!   others may read is made private when it is opened.
//! - **Versioned.** A file of a newer layout is refused by name and left as it is.
//!
//! # Cancel safety
//!
//! A commit is sent when its future is first polled, and takes effect then whether or not it is
//! polled again. Dropping the journal ends its thread, which finishes what it was sent; the drop
//! waits for that, since a journal that is dropped is closed and may be opened again. It is a sync
//! or two, but where the disk hangs it hangs: a program that cannot have that on its thread drops
//! the last handle of its platform on one that may block.
//!
//! # Limits
//!
//! The lock is the file system's: on one that has none (some network file systems) opening fails.
//! All records are read at once; ten thousand of them are some tens of mebibytes.

mod disk;
mod lock;
mod store;
mod trouble;
mod worker;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{StorageBackend, backends::FileBackend};
use runner_core::{
    BoxFuture, Error,
    id::ServiceId,
    journal::{Batch, HistoryEntry, Journal, Opened, Record},
};

use self::{
    lock::Lock,
    store::{Settings, Store},
    trouble::cannot,
    worker::{Call, Worker},
};

/// A journal in one file; see the [module page](self). Dropping it closes it.
pub struct DiskJournal {
    opened: Opened,
    worker: Worker,
}

/// What a [`DiskJournal`] is opened with.
#[derive(Clone, Debug)]
#[must_use = "nothing is opened until `open` is called"]
pub struct DiskJournalBuilder {
    path: PathBuf,
    name: String,
    settings: Settings,
}

impl DiskJournal {
    /// Opens the journal at a path, or makes one there, with defaults for everything else.
    ///
    /// # Errors
    ///
    /// See [`DiskJournalBuilder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder(path).open()
    }

    /// A journal at a path.
    pub fn builder(path: impl AsRef<Path>) -> DiskJournalBuilder {
        let program = std::env::args_os().next().map(PathBuf::from);
        let name = program.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
        DiskJournalBuilder {
            path: path.as_ref().to_owned(),
            name: name.map_or_else(|| "a program".to_owned(), std::borrow::Cow::into_owned),
            settings: Settings::default(),
        }
    }

    fn over(
        medium: Arc<dyn StorageBackend>,
        name: String,
        settings: Settings,
        lock: Option<Lock>,
    ) -> Result<Self, Error> {
        let (store, opened) = Store::open(medium, name, settings)?;
        Ok(Self { opened, worker: Worker::new(store, lock) })
    }
}

impl DiskJournalBuilder {
    /// What a second opener is told, beside the process id. Default: the name of this program.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many entries of each service are kept. Default: 1,000, which is some months of a service
    /// that is deployed daily.
    pub fn history_of_service(mut self, entries: u64) -> Self {
        self.settings.of_service = entries.max(1);
        self
    }

    /// How many entries are kept in all, of services that are gone included. Default: 100,000,
    /// about 40 MB.
    pub fn history_in_all(mut self, entries: u64) -> Self {
        self.settings.in_all = entries.max(1);
        self
    }

    /// Opens it, exclusively, and raises its epoch. Blocks for as long as the disk takes: call it
    /// before anything is served.
    ///
    /// # Errors
    ///
    /// [`Conflict`](runner_core::error::ErrorKind::Conflict) while another program has it open,
    /// [`Unsupported`](runner_core::error::ErrorKind::Unsupported) when it was written by a newer
    /// one, [`Corrupt`](runner_core::error::ErrorKind::Corrupt) when it is no journal, and whatever
    /// the disk answers.
    pub fn open(self) -> Result<DiskJournal, Error> {
        self.open_behind(|file| file)
    }

    /// The same with something before the file, which a test puts there.
    pub(crate) fn open_behind(
        self,
        before: impl FnOnce(Arc<dyn StorageBackend>) -> Arc<dyn StorageBackend>,
    ) -> Result<DiskJournal, Error> {
        let lock = Lock::take(&self.path, &self.name)?;
        let name = self.path.display().to_string();
        let file = lock::private(&self.path).map_err(|error| cannot(&name, "open", error))?;
        let medium = FileBackend::new(file).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => lock::held(&name, "another program"),
            error => cannot(&name, "open", error),
        })?;
        DiskJournal::over(before(Arc::new(medium)), name, self.settings, Some(lock))
    }
}

impl Journal for DiskJournal {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        Box::pin(self.worker.ask(Call::Records))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.worker.ask(|answer| Call::Commit { batch, answer }))
    }

    fn history(
        &self,
        service: ServiceId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        Box::pin(self.worker.ask(move |answer| Call::History { service, limit, answer }))
    }

    /// Commits wait for as long as it takes. [`Conflict`](runner_core::error::ErrorKind::Conflict)
    /// where there is something already.
    fn back_up(&self, to: PathBuf) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.worker.ask(|answer| Call::BackUp { to, answer }))
    }
}

impl fmt::Debug for DiskJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskJournal").field("opened", &self.opened).finish_non_exhaustive()
    }
}
