//! The journal by the kit, on a file and on a medium that loses, tears and refuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::SystemTime,
};

use runner_core::{
    error::ErrorKind,
    journal::{HistoryEntry, Record, RecordKey},
    testing::{
        kit::{JournalKit, KitClock},
        random::SplitMix64,
    },
    time::Timestamp,
};

use super::*;

struct RealTime;

impl KitClock for RealTime {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the journal's thread runs in real time")]
        SystemTime::now().into()
    }

    fn sleep(&self, span: std::time::Duration) -> BoxFuture<'_, ()> {
        #[expect(clippy::disallowed_methods, reason = "the kit's own bounded waits")]
        Box::pin(tokio::time::sleep(span))
    }
}

/// A directory that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("runner-journal-{}-{name}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("state.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A disk with a cache that a crash loses or tears, and that refuses when told to.
#[derive(Clone, Debug)]
#[expect(clippy::disallowed_types, reason = "the medium of a test")]
struct Medium {
    sectors: Arc<std::sync::Mutex<Sectors>>,
    full: Arc<AtomicBool>,
    /// Writes are taken, and making them durable fails.
    sync_fails: Arc<AtomicBool>,
    /// How many crashes it has seen: one of an older count is a program that is dead.
    crashes: u64,
}

#[derive(Debug, Default)]
struct Sectors {
    now: BTreeMap<u64, Box<[u8; SECTOR]>>,
    durable: BTreeMap<u64, Box<[u8; SECTOR]>>,
    /// Written since the last sync.
    dirty: BTreeSet<u64>,
    len: u64,
    durable_len: u64,
    dice: Option<SplitMix64>,
    crashes: u64,
}

const SECTOR: usize = 512;
/// As many as take some seconds in a debug build.
const SEEDS: u64 = 6;

impl Medium {
    fn new(seed: u64) -> Self {
        let sectors = Sectors { dice: Some(SplitMix64::new(seed)), ..Sectors::default() };
        #[expect(clippy::disallowed_types, reason = "see above")]
        let sectors = Arc::new(std::sync::Mutex::new(sectors));
        Self { sectors, full: Arc::default(), sync_fails: Arc::default(), crashes: 0 }
    }

    /// For another program, which finds what the last crash left.
    fn again(&self) -> Self {
        Self { crashes: self.with(|sectors| sectors.crashes), ..self.clone() }
    }

    fn with<R>(&self, f: impl FnOnce(&mut Sectors) -> R) -> R {
        f(&mut self.sectors.lock().expect("no test panics under it"))
    }

    fn writable(&self) -> io::Result<()> {
        let dead = self.with(|sectors| sectors.crashes != self.crashes);
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false if dead => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        }
    }

    /// Of what was not synced, each sector is there or not, as the dice say.
    fn crash(&self) {
        self.with(|sectors| {
            let mut dice = sectors.dice.take().expect("dice");
            for number in std::mem::take(&mut sectors.dirty) {
                if dice.chance(500)
                    && let Some(sector) = sectors.now.get(&number)
                {
                    sectors.durable.insert(number, sector.clone());
                }
            }
            if dice.chance(500) {
                sectors.durable_len = sectors.len;
            }
            sectors.now = sectors.durable.clone();
            sectors.len = sectors.durable_len;
            sectors.dice = Some(dice);
            sectors.crashes += 1;
        });
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|sectors| sectors.len))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|sectors| {
            if offset + out.len() as u64 > sectors.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for (number, from, piece) in pieces(offset, out.len()) {
                match sectors.now.get(&number) {
                    Some(sector) => {
                        out[piece.clone()].copy_from_slice(&sector[from..][..piece.len()]);
                    }
                    None => out[piece].fill(0),
                }
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        self.with(|sectors| {
            let cut = len.div_ceil(SECTOR as u64);
            if len < sectors.len {
                sectors.dirty.extend(sectors.now.split_off(&cut).into_keys());
            }
            sectors.len = len;
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.writable()?;
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk lost its cache"));
        }
        self.with(|sectors| {
            for number in std::mem::take(&mut sectors.dirty) {
                match sectors.now.get(&number) {
                    Some(sector) => sectors.durable.insert(number, sector.clone()),
                    None => sectors.durable.remove(&number),
                };
            }
            sectors.durable_len = sectors.len;
        });
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.writable()?;
        self.with(|sectors| {
            for (number, from, piece) in pieces(offset, data.len()) {
                let sector = sectors.now.entry(number).or_insert_with(|| Box::new([0; SECTOR]));
                sector[from..][..piece.len()].copy_from_slice(&data[piece]);
                sectors.dirty.insert(number);
            }
            sectors.len = sectors.len.max(offset + data.len() as u64);
        });
        Ok(())
    }
}

/// The sectors of a span: their numbers, where it begins in each, and which part of it that is.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let sector = SECTOR as u64;
    let end = offset + len as u64;
    (offset / sector..end.div_ceil(sector)).map(move |number| {
        let (from, until) = (offset.max(number * sector), end.min((number + 1) * sector));
        let piece = (from - offset) as usize..(until - offset) as usize;
        (number, (from % sector) as usize, piece)
    })
}

fn batch(at: u64, bytes: &[u8]) -> Batch {
    let record = Record { key: RecordKey::Platform, version: 1, bytes: bytes.to_vec() };
    Batch::new(Timestamp::from_secs(at)).put(record)
}

fn note(service: ServiceId, at: u64) -> HistoryEntry {
    let (code, message) = ("entry".to_owned(), format!("at {at}"));
    HistoryEntry { service, at: Timestamp::from_secs(at), code, message }
}

#[tokio::test]
async fn a_file_passes_the_kit() {
    let folder = Folder::new("kit");
    let path = folder.journal();
    let kit = JournalKit::new("disk", RealTime, move || {
        DiskJournal::builder(&path)
            .name("the kit")
            .open()
            .map(|one| Arc::new(one) as Arc<dyn Journal>)
    });
    let report = kit.holder("the kit").run().await;
    report.assert();
}

#[tokio::test]
async fn a_medium_that_tears_and_refuses_passes_the_kit() {
    // One crash differs from the next within a run, too.
    for seed in 0..SEEDS {
        let medium = Medium::new(seed);
        let (crashing, failing) = (medium.clone(), medium.clone());
        let kit = JournalKit::new("torn", RealTime, move || {
            // As the lock does for a file.
            if Arc::strong_count(&medium.full) > 3 {
                return Err(lock::held("torn", "the kit"));
            }
            let (medium, name) = (Arc::new(medium.again()), "torn".to_owned());
            DiskJournal::over(medium, name, Bounds::default(), None)
                .map(|one| Arc::new(one) as Arc<dyn Journal>)
        })
        .holder("the kit")
        .crash(move || crashing.crash())
        .fail(move |fails| failing.full.store(fails, Ordering::SeqCst))
        .large_record(60_000)
        .seed(seed);
        let report = kit.run().await;
        assert!(report.skipped().is_empty(), "{report}");
        report.assert();
    }
}

#[tokio::test]
async fn a_second_program_is_told_who_holds_it() {
    let folder = Folder::new("lock");
    let first = DiskJournal::builder(folder.journal()).name("first").open().expect("alone");
    let refusal = DiskJournal::open(folder.journal()).expect_err("held");
    assert_eq!(refusal.kind(), ErrorKind::Conflict);
    let holder = format!("pid {} (first)", std::process::id());
    assert!(refusal.to_string().contains(&holder), "{refusal}");
    drop(first);
    DiskJournal::open(folder.journal()).expect("free again");
}

#[test]
fn nobody_else_may_read_it() {
    let folder = Folder::new("mode");
    let journal = DiskJournal::open(folder.journal()).expect("made");
    for entry in std::fs::read_dir(&folder.0).expect("a directory") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("its mode").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
    }
    drop(journal);
}

#[tokio::test]
async fn a_full_disk_refuses_with_its_cause_and_recovers_by_itself() {
    let medium = Medium::new(1);
    let full = Arc::clone(&medium.full);
    let journal = DiskJournal::over(Arc::new(medium), "full".to_owned(), Bounds::default(), None);
    let journal = journal.expect("opened");
    journal.commit(batch(1, b"before")).await.expect("room");
    full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refusal = journal.commit(batch(2, b"never")).await.expect_err("no room");
        assert_eq!(refusal.kind(), ErrorKind::Exhausted);
        assert!(refusal.to_string().contains("no space"), "{refusal}");
        assert_eq!(journal.records().await.expect("reads go on")[0].bytes, b"before");
    }
    full.store(false, Ordering::SeqCst);
    journal.commit(batch(3, b"after")).await.expect("room again");
    assert_eq!(journal.records().await.expect("read")[0].bytes, b"after");
}

#[tokio::test]
async fn what_was_written_and_not_made_durable_is_never_read() {
    let medium = Medium::new(2);
    let sync_fails = Arc::clone(&medium.sync_fails);
    let open = || {
        let (medium, name) = (Arc::new(medium.again()), "sync".to_owned());
        DiskJournal::over(medium, name, Bounds::default(), None).expect("opened")
    };
    let journal = open();
    journal.commit(batch(1, b"before")).await.expect("room");
    sync_fails.store(true, Ordering::SeqCst);
    journal.commit(batch(2, b"never")).await.expect_err("not durable");
    assert_eq!(journal.records().await.expect("reads go on")[0].bytes, b"before");
    sync_fails.store(false, Ordering::SeqCst);
    let other = Batch::new(Timestamp::from_secs(3)).note(note(ServiceId::from_random(1), 3));
    journal.commit(other).await.expect("well again");
    assert_eq!(journal.records().await.expect("read")[0].bytes, b"before");
    drop(journal);
    assert_eq!(open().records().await.expect("read")[0].bytes, b"before");
}

#[tokio::test]
async fn history_is_bounded_by_service_and_in_all() {
    let folder = Folder::new("bounds");
    let builder = DiskJournal::builder(folder.journal()).history_of_service(3).history_in_all(5);
    let journal = builder.open().expect("made");
    let [busy, calm] = [1, 2].map(ServiceId::from_random);
    let messages = async |service| -> Vec<String> {
        let entries = journal.history(service, 100).await.expect("read");
        entries.into_iter().map(|entry| entry.message).collect()
    };
    for at in 1..=5 {
        let entry = Batch::new(Timestamp::from_secs(at)).note(note(busy, at));
        journal.commit(entry).await.expect("room");
    }
    assert_eq!(messages(busy).await, ["at 5", "at 4", "at 3"]);
    for at in 6..=8 {
        let entry = Batch::new(Timestamp::from_secs(at)).note(note(calm, at));
        journal.commit(entry).await.expect("room");
    }
    assert_eq!(messages(calm).await, ["at 8", "at 7", "at 6"]);
    assert_eq!(messages(busy).await, ["at 5", "at 4"], "the oldest of all went first");
}

#[tokio::test]
async fn a_copy_is_made_while_it_is_open_and_holds_the_same() {
    let folder = Folder::new("copy");
    let copy = folder.0.join("copy.redb");
    let journal = DiskJournal::open(folder.journal()).expect("made");
    let service = ServiceId::from_random(7);
    journal.commit(batch(1, b"one").note(note(service, 1))).await.expect("room");
    journal.back_up(&copy).await.expect("copied");
    let again = journal.back_up(&copy).await.expect_err("there already");
    assert_eq!(again.kind(), ErrorKind::Conflict);
    journal.commit(batch(2, b"two")).await.expect("it goes on");

    let copied = DiskJournal::open(&copy).expect("a journal");
    assert_eq!(copied.opened().platform, journal.opened().platform);
    assert_eq!(copied.records().await.expect("read")[0].bytes, b"one");
    assert_eq!(copied.history(service, 9).await.expect("read"), [note(service, 1)]);
}

#[tokio::test]
async fn a_newer_layout_is_refused_by_name_and_left_alone() {
    let folder = Folder::new("newer");
    store::write_layout_for_tests(&folder.journal(), 9);
    for _ in 0..2 {
        let refusal = DiskJournal::open(folder.journal()).expect_err("newer");
        assert_eq!(refusal.kind(), ErrorKind::Unsupported);
        assert!(refusal.to_string().contains("layout 9"), "{refusal}");
    }
}

#[test]
fn what_is_no_journal_is_said_to_be_none() {
    let folder = Folder::new("none");
    std::fs::write(folder.journal(), b"hello, I am a letter to my mother").expect("written");
    let refusal = DiskJournal::open(folder.journal()).expect_err("a letter");
    assert_eq!(refusal.kind(), ErrorKind::Corrupt, "{refusal}");
}

/// The file as the first release wrote it, by the example `journal_fixture`.
#[tokio::test]
async fn a_file_of_layout_one_is_read() {
    let folder = Folder::new("fixture");
    std::fs::write(folder.journal(), include_bytes!("layout-1.redb")).expect("written");
    let journal = DiskJournal::open(folder.journal()).expect("known");
    assert_eq!(journal.opened().epoch.number(), 2);
    assert_eq!(journal.opened().newest, Timestamp::from_secs(1_777_507_200));
    assert_eq!(journal.records().await.expect("read")[0].bytes, b"{\"layout\":1}");
    let history = journal.history(ServiceId::from_random(1), 9).await.expect("read");
    assert_eq!(history[0].message, "at 1777507200");
}
