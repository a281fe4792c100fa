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
    /// How often something was made durable, which waits for whoever holds this.
    #[expect(clippy::disallowed_types, reason = "the medium of a test")]
    syncs: Arc<std::sync::Mutex<u64>>,
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
        let (full, sync_fails, syncs) = (Arc::default(), Arc::default(), Arc::default());
        Self { sectors, full, sync_fails, syncs, crashes: 0 }
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
        *self.syncs.lock().expect("no test panics under it") += 1;
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
            DiskJournal::over(medium, name, Settings::default(), None)
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

#[test]
fn a_file_that_others_could_read_is_made_private() {
    let folder = Folder::new("open-to-all");
    drop(DiskJournal::open(folder.journal()).expect("made"));
    let open_to_all = std::fs::Permissions::from_mode(0o664);
    std::fs::set_permissions(folder.journal(), open_to_all).expect("its mode");
    let journal = DiskJournal::open(folder.journal()).expect("opened");
    let mode = std::fs::metadata(folder.journal()).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(journal);
}

#[tokio::test]
async fn a_full_disk_refuses_with_its_cause_and_recovers_by_itself() {
    let medium = Medium::new(1);
    let full = Arc::clone(&medium.full);
    let journal = DiskJournal::over(Arc::new(medium), "full".to_owned(), Settings::default(), None);
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
        DiskJournal::over(medium, name, Settings::default(), None).expect("opened")
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
    journal.back_up(copy.clone()).await.expect("copied");
    let again = journal.back_up(copy.clone()).await.expect_err("there already");
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
    let before = std::fs::read(folder.journal()).expect("a file");
    for _ in 0..2 {
        let refusal = DiskJournal::open(folder.journal()).expect_err("newer");
        assert_eq!(refusal.kind(), ErrorKind::Unsupported);
        assert!(refusal.to_string().contains("layout 9"), "{refusal}");
        assert!(std::fs::read(folder.journal()).expect("a file") == before, "to the byte");
    }
}

#[test]
fn what_is_no_journal_is_said_to_be_none() {
    let folder = Folder::new("none");
    std::fs::write(folder.journal(), b"hello, I am a letter to my mother").expect("written");
    let refusal = DiskJournal::open(folder.journal()).expect_err("a letter");
    assert_eq!(refusal.kind(), ErrorKind::Corrupt, "{refusal}");
    let letter = std::fs::read(folder.journal()).expect("a file");
    assert_eq!(letter, b"hello, I am a letter to my mother");
}

#[tokio::test]
async fn a_copy_made_under_writes_is_one_moment_of_it() {
    let folder = Folder::new("copy-under-writes");
    let journal = DiskJournal::open(folder.journal()).expect("made");
    let service = ServiceId::from_random(7);
    // Each batch has a record and an entry of one number: of a moment, the two agree.
    let write = async |numbers: std::ops::Range<u64>| {
        for number in numbers {
            let bytes = number.to_string();
            let both = batch(number, bytes.as_bytes()).note(note(service, number));
            journal.commit(both).await.expect("room");
        }
    };
    write(0..20).await;
    let (first, second) = (folder.0.join("first.redb"), folder.0.join("second.redb"));
    let copies = async {
        journal.back_up(first.clone()).await.expect("copied");
        journal.back_up(second.clone()).await.expect("copied");
    };
    tokio::join!(write(20..60), write(60..100), copies);
    for copy in [first, second] {
        let copy = DiskJournal::open(copy).expect("a journal");
        let record = copy.records().await.expect("read").remove(0);
        let newest = copy.history(service, 1).await.expect("read").remove(0);
        let number = String::from_utf8(record.bytes).expect("a number");
        assert_eq!(newest.message, format!("at {number}"));
    }
}

#[tokio::test]
async fn a_copy_that_is_put_in_place_has_a_later_epoch_than_all_that_was_opened_meanwhile() {
    // Two days, a day apart.
    fn first_day() -> Timestamp {
        Timestamp::from_secs(1_777_507_200)
    }
    fn second_day() -> Timestamp {
        Timestamp::from_secs(1_777_593_600)
    }
    let folder = Folder::new("copy-epoch");
    let epoch = |now: fn() -> Timestamp| {
        let mut builder = DiskJournal::builder(folder.journal());
        builder.settings.now = now;
        let journal = builder.open().expect("a journal");
        (journal.opened().epoch, journal)
    };
    let (_, journal) = epoch(first_day);
    let copy = folder.0.join("copy.redb");
    journal.back_up(copy.clone()).await.expect("copied");
    drop(journal);
    let mut highest = (0..50).map(|_| epoch(first_day).0).max().expect("some");
    assert_eq!(highest.number(), 51, "what is no copy counts by ones");
    // The same copy twice, and after each its own openings.
    for day in [first_day, second_day] {
        std::fs::copy(&copy, folder.journal()).expect("put in place");
        for _ in 0..50 {
            let now = epoch(day).0;
            assert!(now > highest, "{now} after {highest}");
            highest = now;
        }
    }
    let counted = epoch(|| Timestamp::EPOCH).0;
    assert_eq!(counted, highest.next(), "the time of day counts once");
}

#[tokio::test]
async fn commits_that_come_while_one_is_written_share_a_sync() {
    let medium = Medium::new(3);
    let syncs = Arc::clone(&medium.syncs);
    let count = || *syncs.lock().expect("no test panics under it");
    let journal = DiskJournal::over(Arc::new(medium), "group".into(), Settings::default(), None);
    let journal = journal.expect("opened");
    let before = count();
    journal.commit(batch(1, b"alone")).await.expect("room");
    let alone = count() - before;
    assert!(alone > 0);

    let mut commits: Vec<_> = (0..300).map(|at| journal.commit(batch(at, b"many"))).collect();
    let before = {
        // While this is held the first of them is not durable.
        let held = syncs.lock().expect("no test panics under it");
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for commit in &mut commits {
            assert!(commit.as_mut().poll(&mut context).is_pending());
        }
        *held
    };
    for commit in commits {
        commit.await.expect("room");
    }
    // Those that were taken with the first, and the others.
    let took = count() - before;
    assert!(took <= 2 * alone, "{took} syncs for 300, and {alone} for one");
}

#[tokio::test]
async fn room_that_is_not_used_is_given_back_at_the_next_opening() {
    let folder = Folder::new("hollow");
    let open = |hollow| {
        let mut builder = DiskJournal::builder(folder.journal());
        builder.settings.hollow = hollow;
        builder.open().expect("a journal")
    };
    let size = || std::fs::metadata(folder.journal()).expect("a file").len();
    let service = ServiceId::from_random(7);
    let key = |number: u64| RecordKey::Service(ServiceId::from_random(number.into()));
    let journal = open(HOLLOW_HERE);
    let many =
        (0..4_000).map(|number| Record { key: key(number), version: 1, bytes: vec![7; 2_000] });
    let many = many.fold(Batch::new(Timestamp::from_secs(1)), Batch::put);
    journal.commit(many.note(note(service, 1))).await.expect("room");
    drop(journal);
    let full = size();
    drop(open(HOLLOW_HERE));
    assert!(size() >= full / 2, "of {full} bytes all are used");

    let journal = open(HOLLOW_HERE);
    let most = (0..4_000).filter(|number| number % 10 > 0).map(key);
    let most = most.fold(Batch::new(Timestamp::from_secs(9)), Batch::remove);
    journal.commit(most).await.expect("room");
    let (records, history) = (journal.records().await, journal.history(service, 99).await);
    drop(journal);
    let hollow = size();
    drop(open(64 << 20));
    assert!(size() >= hollow / 2, "below the bound it bothers nobody");
    let journal = open(HOLLOW_HERE);
    assert!(size() < hollow / 2, "{} of {hollow} bytes, and of {full} when full", size());
    assert_eq!(journal.records().await.expect("read"), records.expect("read"));
    assert_eq!(journal.history(service, 99).await.expect("read"), history.expect("read"));
    journal.commit(batch(10, b"after")).await.expect("it is whole");
}

/// A thousandth of the life of a large platform, or with `RUNNER_OPERATIONS=1000000` all of it: in
/// release it has to be small and soon open then, too.
#[tokio::test]
async fn a_journal_stays_small_and_soon_open_however_much_it_has_seen() {
    let told = std::env::var("RUNNER_OPERATIONS").ok().map(|told| told.parse().expect("a number"));
    let operations: u64 = told.unwrap_or(1_000);
    let services = (operations / 1_000).clamp(10, 1_000);
    let folder = Folder::new("million");
    let (of_service, in_all) = (operations / services / 10, operations / 10);
    let mut builder = DiskJournal::builder(folder.journal());
    if told.is_none() {
        builder = builder.history_of_service(of_service).history_in_all(in_all / 2);
    }
    let journal = builder.clone().open().expect("made");
    let ids: Vec<_> = (0..services).map(|n| ServiceId::from_random(n.into())).collect();
    for round in 0..operations / services {
        let mut commits = Vec::new();
        for id in &ids {
            let record = Record { key: RecordKey::Service(*id), version: 1, bytes: vec![7; 2_000] };
            commits.push(journal.commit(batch_of(round, record).note(note(*id, round))));
        }
        for answer in futures_util::future::join_all(commits).await {
            answer.expect("room");
        }
    }
    drop(journal);
    let bytes = std::fs::metadata(folder.journal()).expect("a file").len();
    #[expect(clippy::disallowed_methods, reason = "how long a disk takes is in real time")]
    let began = std::time::Instant::now();
    let journal = builder.open().expect("opened");
    assert_eq!(journal.records().await.expect("read").len() as u64, services);
    #[expect(clippy::disallowed_methods, reason = "see above")]
    let took = began.elapsed();
    let mut kept = 0;
    for id in ids {
        kept += journal.history(id, usize::MAX).await.expect("read").len() as u64;
    }
    println!("after {operations} operations: {bytes} bytes, {kept} entries, open in {took:?}");
    match told {
        None => assert_eq!(kept, in_all / 2),
        Some(_) => {
            assert!(kept <= 100_000, "{kept} entries");
            assert!(bytes <= 100_000_000, "{bytes} bytes");
            let soon = took <= std::time::Duration::from_secs(2);
            assert!(soon || cfg!(debug_assertions), "open in {took:?}");
        }
    }
}

fn batch_of(at: u64, record: Record) -> Batch {
    Batch::new(Timestamp::from_secs(at)).put(record)
}

/// Small enough for a test to fill.
const HOLLOW_HERE: u64 = 2 << 20;
