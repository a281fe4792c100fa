//! The tables, and how a group of batches gets into them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    StorageBackend, TableDefinition, WriteTransaction,
};
use runner_core::{
    Error,
    error::ErrorKind,
    id::{Epoch, PlatformId, ServiceId},
    journal::{Batch, Change, HistoryEntry, Opened, Record, RecordKey},
    time::Timestamp,
};

use super::{
    disk::{Disk, Head},
    trouble::cannot,
};

/// How much is kept, and what it is opened with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Entries of each service.
    pub(super) of_service: u64,
    /// Entries in all.
    pub(super) in_all: u64,
    /// In a file of so many bytes, room that is not used is given back.
    pub(super) hollow: u64,
    /// What time it is, for the epoch of a copy.
    pub(super) now: fn() -> Timestamp,
}

impl Default for Settings {
    fn default() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one thing that no copy has in it")]
        let now = || std::time::SystemTime::now().into();
        Self { of_service: 1_000, in_all: 100_000, hollow: HOLLOW, now }
    }
}

/// An open file. One thread has it.
pub(super) struct Store {
    name: String,
    medium: Arc<dyn StorageBackend>,
    settings: Settings,
    state: State,
    /// As it was after the last good commit.
    head: Head,
}

enum State {
    Writing(Database),
    /// The disk takes no writes; this is over a layer in memory.
    Reading(Database),
    /// Not even that could be opened.
    Closed(Error),
}

impl Store {
    /// Opens a medium, raising its epoch.
    pub(super) fn open(
        medium: Arc<dyn StorageBackend>,
        name: String,
        settings: Settings,
    ) -> Result<(Self, Opened), Error> {
        refuse_newer(&medium, &name)?;
        let mut database = database(Disk::direct(Arc::clone(&medium)))
            .map_err(|error| cannot(&name, "open", error))?;
        let opened = raise_epoch(&database, &name, settings.now)?;
        compact_if_hollow(&mut database, &*medium, &name, settings.hollow);
        let head = Head::of(&*medium).map_err(|error| cannot(&name, "read", error))?;
        let head = head.ok_or_else(|| Error::bug("the journal's file is empty after a commit"))?;
        Ok((Self { name, medium, settings, state: State::Writing(database), head }, opened))
    }

    /// All of these together, or none.
    pub(super) fn commit(&mut self, batches: &[Batch]) -> Result<(), Error> {
        if !matches!(self.state, State::Writing(_)) {
            self.try_to_write()?;
        }
        let State::Writing(database) = &self.state else {
            return Err(Error::bug("the journal is open for writing, and is not"));
        };
        let committed =
            write(database, batches, self.settings).and_then(|()| Ok(Head::of(&*self.medium)?));
        match committed {
            Ok(Some(head)) => {
                self.head = head;
                Ok(())
            }
            Ok(None) => Err(Error::bug("the journal's file is empty after a commit")),
            Err(error) => {
                let error = cannot(&self.name, "write", error);
                self.fall_back();
                Err(error)
            }
        }
    }

    pub(super) fn records(&mut self) -> Result<Vec<Record>, Error> {
        let read = self.readable()?.begin_read().map_err(redb::Error::from).and_then(|read| {
            let mut records = Vec::new();
            for row in read.open_table(RECORDS)?.iter()? {
                let (key, value) = row?;
                records.push((key.value().to_owned(), value.value().to_owned()));
            }
            Ok(records)
        });
        let rows = read.map_err(|error| cannot(&self.name, "read", error))?;
        rows.into_iter().map(|(key, value)| self.record(&key, &value)).collect()
    }

    pub(super) fn history(
        &mut self,
        service: ServiceId,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, Error> {
        let key = service.to_string();
        let read = self.readable()?.begin_read().map_err(redb::Error::from).and_then(|read| {
            let table = read.open_table(HISTORY)?;
            let newest = table.range((&*key, 0)..=(&*key, u64::MAX))?.rev().take(limit);
            newest.map(|row| Ok(row?.1.value().to_owned())).collect::<Result<Vec<_>, redb::Error>>()
        });
        let rows = read.map_err(|error| cannot(&self.name, "read", error))?;
        let entry = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        let entries: Result<Vec<_>, _> = rows.into_iter().map(entry).collect();
        entries.map_err(|error| self.corrupt("an entry of its history").caused_by(error))
    }

    pub(super) fn back_up(&mut self, to: &Path) -> Result<(), Error> {
        let name = to.display().to_string();
        if to.exists() {
            let message = format!("{name} is there already; write the copy elsewhere");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let read = self.readable()?.begin_read();
        let read = read.map_err(|error| cannot(&self.name, "read", error))?;
        // Under another name until it is whole.
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let written = super::lock::private(&partial)
            .map_err(redb::Error::Io)
            .and_then(|file| {
                file.set_len(0)?;
                let copy = Builder::new().set_cache_size(CACHE).create_file(file)?;
                let write = copy.begin_write()?;
                copy_tables(&read, &write)?;
                write.commit()?;
                Ok(())
            })
            .and_then(|()| {
                std::fs::rename(&partial, to)?;
                // Without this a crash may find the copy under neither name.
                let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
                Ok(std::fs::File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?)
            });
        written.map_err(|error| {
            let _ = std::fs::remove_file(&partial);
            cannot(&name, "write", error)
        })
    }

    fn readable(&mut self) -> Result<&Database, Error> {
        if matches!(self.state, State::Closed(_)) {
            self.fall_back();
        }
        match &self.state {
            State::Writing(database) | State::Reading(database) => Ok(database),
            State::Closed(error) => Err(error.clone()),
        }
    }

    /// After a failure: nothing more is written until somebody wants to.
    pub(super) fn fall_back(&mut self) {
        // The old one goes first: two over one medium would write over each other.
        self.state = State::Closed(Error::unavailable("the journal is being opened again"));
        let layered = Disk::layered(Arc::clone(&self.medium), &self.head).map_err(redb::Error::Io);
        self.state = match layered.and_then(database) {
            Ok(database) => State::Reading(database),
            Err(error) => State::Closed(cannot(&self.name, "read", error)),
        };
    }

    /// Goes back to the disk, if it takes writes again.
    fn try_to_write(&mut self) -> Result<(), Error> {
        self.state = State::Closed(Error::unavailable("the journal is being opened again"));
        let restored = self.head.restore(&*self.medium).map_err(redb::Error::Io);
        match restored.and_then(|()| database(Disk::direct(Arc::clone(&self.medium)))) {
            Ok(database) => {
                self.state = State::Writing(database);
                Ok(())
            }
            Err(error) => {
                self.fall_back();
                Err(cannot(&self.name, "write", error))
            }
        }
    }

    fn record(&self, key: &str, value: &[u8]) -> Result<Record, Error> {
        let record = || {
            let key = match key {
                "" => RecordKey::Platform,
                id => RecordKey::Service(id.parse().ok()?),
            };
            let (version, bytes) = value.split_first_chunk()?;
            Some(Record { key, version: u32::from_le_bytes(*version), bytes: bytes.to_owned() })
        };
        record().ok_or_else(|| self.corrupt("a record"))
    }

    fn corrupt(&self, what: &str) -> Error {
        let name = &self.name;
        Error::new(
            ErrorKind::Corrupt,
            format!("{what} in the journal {name} cannot be read; restore a copy of it"),
        )
    }
}

fn database(disk: Disk) -> Result<Database, redb::Error> {
    Ok(Builder::new().set_cache_size(CACHE).create_with_backend(disk)?)
}

fn raise_epoch(database: &Database, name: &str, now: fn() -> Timestamp) -> Result<Opened, Error> {
    let raised = begin(database).and_then(|write| {
        let found = {
            let mut meta = write.open_table(META)?;
            let number =
                |key| -> Result<_, redb::Error> { Ok(meta.get(key)?.map(|value| value.value())) };
            let platform = match number("platform")? {
                Some(bits) => PlatformId::from_random(bits),
                None => {
                    let bits = crate::random::bits();
                    meta.insert("platform", bits)?;
                    meta.insert("layout", LAYOUT)?;
                    PlatformId::from_random(bits)
                }
            };
            let small = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
            let meta_epoch = meta.get("epoch")?.map(|value| small(value.value()));
            let mut epoch = meta_epoch.map_or(Epoch::FIRST, |number| Epoch::new(number).next());
            if meta.remove("copied")?.is_some() {
                epoch = epoch.max(epoch_of_copy(now()));
            }
            let newest = meta.get("newest")?.map_or(0, |value| small(value.value()));
            meta.insert("epoch", u128::from(epoch.number()))?;
            Opened { platform, epoch, newest: Timestamp::from_nanos(newest) }
        };
        // All tables are there from the beginning, so that reading meets none that is missing.
        write.open_table(RECORDS)?;
        write.open_table(HISTORY)?;
        write.open_table(ORDER)?;
        write.open_table(COUNTS)?;
        write.commit()?;
        Ok(found)
    });
    raised.map_err(|error| cannot(name, "open", error))
}

/// Looks at the layout through a layer in memory: the database writes to what it opens, and a file
/// of a newer program, or of something else, is to stay as it is to the byte.
fn refuse_newer(medium: &Arc<dyn StorageBackend>, name: &str) -> Result<(), Error> {
    let layout = || -> Result<_, redb::Error> {
        // What has no head has nothing in it.
        let Some(head) = Head::of(&**medium)? else { return Ok(None) };
        let layered = database(Disk::layered(Arc::clone(medium), &head)?)?;
        let read = layered.begin_read()?;
        match read.open_table(META) {
            Ok(meta) => Ok(meta.get("layout")?.map(|layout| layout.value())),
            // Its first opening was cut short.
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    match layout().map_err(|error| cannot(name, "open", error))? {
        Some(layout) if layout > LAYOUT => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the journal {name} has layout {layout}, and this program knows {LAYOUT} and older \
                 ones; use the newer program that wrote it"
            ),
        )),
        _ => Ok(()),
    }
}

/// The epoch of the first opening of a copy. What it was copied from was opened since, nobody knows
/// how often, and so may other copies have been: a number that the file could tell would be the
/// same each time the copy is put in place. The time of day is another one each time, and no
/// journal is opened a thousand times within a millisecond. It is below 2^53 until the year 2200.
fn epoch_of_copy(now: Timestamp) -> Epoch {
    Epoch::new(((now.as_nanos() / 1_000_000) << 10).min(MOST))
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    Ok(database.begin_write()?)
}

fn write(database: &Database, batches: &[Batch], settings: Settings) -> Result<(), redb::Error> {
    let write = begin(database)?;
    {
        let mut meta = write.open_table(META)?;
        let mut records = write.open_table(RECORDS)?;
        let mut notes = Notes {
            history: write.open_table(HISTORY)?,
            order: write.open_table(ORDER)?,
            counts: write.open_table(COUNTS)?,
            settings,
        };
        let mut newest = meta.get("newest")?.map_or(0, |value| value.value());
        for batch in batches {
            newest = newest.max(u128::from(batch.at().as_nanos()));
            for change in batch.changes() {
                match change {
                    Change::Put(record) => {
                        let mut value = record.version.to_le_bytes().to_vec();
                        value.extend_from_slice(&record.bytes);
                        records.insert(&*key_of(record.key), &*value)?;
                    }
                    Change::Remove(key) => {
                        records.remove(&*key_of(*key))?;
                    }
                    Change::Note(entry) => {
                        newest = newest.max(u128::from(entry.at.as_nanos()));
                        notes.add(entry)?;
                    }
                }
            }
        }
        meta.insert("newest", newest)?;
    }
    write.commit()?;
    Ok(())
}

/// History, by service and by age.
struct Notes<'t> {
    history: redb::Table<'t, (&'static str, u64), &'static [u8]>,
    order: redb::Table<'t, u64, &'static str>,
    counts: redb::Table<'t, &'static str, u64>,
    settings: Settings,
}

impl Notes<'_> {
    fn add(&mut self, entry: &HistoryEntry) -> Result<(), redb::Error> {
        let service = entry.service.to_string();
        let bytes = serde_json::to_vec(entry).map_err(std::io::Error::other)?;
        let number = self.order.last()?.map_or(0, |(number, _)| number.value() + 1);
        self.order.insert(number, &*service)?;
        self.history.insert((&*service, number), &*bytes)?;
        let count = self.counts.get(&*service)?.map_or(0, |count| count.value()) + 1;
        self.counts.insert(&*service, count)?;
        if count > self.settings.of_service {
            let oldest = self.history.range((&*service, 0)..)?.next().transpose()?;
            if let Some(number) = oldest.map(|(key, _)| key.value().1) {
                self.forget(number, &service)?;
            }
        }
        if self.order.len()? > self.settings.in_all {
            let oldest = self.order.first()?;
            let oldest =
                oldest.map(|(number, service)| (number.value(), service.value().to_owned()));
            if let Some((number, service)) = oldest {
                self.forget(number, &service)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, number: u64, service: &str) -> Result<(), redb::Error> {
        self.order.remove(number)?;
        self.history.remove((service, number))?;
        let left = self.counts.get(service)?.map_or(0, |count| count.value()).saturating_sub(1);
        match left {
            0 => self.counts.remove(service)?,
            left => self.counts.insert(service, left)?,
        };
        Ok(())
    }
}

fn copy_tables(read: &redb::ReadTransaction, write: &WriteTransaction) -> Result<(), redb::Error> {
    let mut meta = write.open_table(META)?;
    for row in read.open_table(META)?.iter()? {
        let (key, value) = row?;
        meta.insert(key.value(), value.value())?;
    }
    meta.insert("copied", 1)?;
    let mut records = write.open_table(RECORDS)?;
    for row in read.open_table(RECORDS)?.iter()? {
        let (key, value) = row?;
        records.insert(key.value(), value.value())?;
    }
    let mut history = write.open_table(HISTORY)?;
    for row in read.open_table(HISTORY)?.iter()? {
        let (key, value) = row?;
        history.insert(key.value(), value.value())?;
    }
    let mut order = write.open_table(ORDER)?;
    for row in read.open_table(ORDER)?.iter()? {
        let (key, value) = row?;
        order.insert(key.value(), value.value())?;
    }
    let mut counts = write.open_table(COUNTS)?;
    for row in read.open_table(COUNTS)?.iter()? {
        let (key, value) = row?;
        counts.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// Gives room back that a file holds and does not use. An error changes nothing: the file is as
/// good as before, only larger.
fn compact_if_hollow(
    database: &mut Database,
    medium: &dyn StorageBackend,
    name: &str,
    hollow: u64,
) {
    let stats = begin(database).and_then(|write| {
        let stats = write.stats()?;
        write.abort()?;
        Ok(stats)
    });
    let Ok(stats) = stats else { return };
    let used = stats.stored_bytes() + stats.metadata_bytes();
    // Not the pages that the database has allocated: what it has freed is none of those.
    let Ok(all) = medium.len() else { return };
    if all > hollow
        && all / 2 > used
        && let Err(error) = database.compact()
    {
        tracing::warn!(journal = name, %error, "the journal could not be compacted");
    }
}

fn key_of(key: RecordKey) -> String {
    match key {
        RecordKey::Service(id) => id.to_string(),
        // Before every service, and there is no other.
        _ => String::new(),
    }
}

/// Numbers about the whole: `layout`, `platform`, `epoch`, `newest`, and in a copy that was not
/// opened yet `copied`.
const META: TableDefinition<'_, &str, u128> = TableDefinition::new("meta");
/// By service, nothing for the platform: four bytes of version, then the record.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// By service and number: JSON of an entry.
const HISTORY: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("history");
/// All entries by number: whose they are.
const ORDER: TableDefinition<'_, u64, &str> = TableDefinition::new("order");
/// How many entries a service has.
const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");
/// The layout of these tables.
const LAYOUT: u128 = 1;
/// A platform reads its journal once; what is written is mostly new.
const CACHE: usize = 8 << 20;
/// An epoch that can still be raised as often as anybody opens a file.
const MOST: u64 = 1 << 52;
/// Below so many bytes a hollow file bothers nobody.
const HOLLOW: u64 = 16 << 20;

/// A file as a version yet to come would leave it.
#[cfg(test)]
pub(super) fn write_layout_for_tests(path: &Path, layout: u128) {
    let database = Builder::new().create(path).expect("a file");
    let write = database.begin_write().expect("alone");
    write.open_table(META).expect("a table").insert("layout", layout).expect("room");
    write.commit().expect("room");
}
