//! A disk that hangs: what is refused meanwhile is not made when it answers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use runner_core::{
    BoxFuture, Error as CoreError,
    error::ErrorKind,
    id::{Epoch, PlatformId, ServiceId},
    journal::{Batch, Change, HistoryEntry, Journal, Opened, Record, RecordKey},
    spec::{ServiceBuilder, ServiceSpec},
    time::Timestamp,
};
use runner_platform::{Error, Platform, testing::Memory};
use tokio::{sync::watch, task::JoinHandle};

/// A disk that takes every batch, and writes it when it does not hang: whoever sent it may be gone
/// by then.
#[derive(Clone)]
#[expect(clippy::disallowed_types, reason = "the disk of a test")]
struct Disk {
    records: Arc<std::sync::Mutex<BTreeMap<RecordKey, Record>>>,
    hangs: watch::Sender<bool>,
    openings: Arc<AtomicU64>,
}

struct Opening {
    disk: Disk,
    opened: Opened,
}

impl Disk {
    fn new() -> Self {
        let (records, openings) = (Arc::default(), Arc::default());
        Self { records, hangs: watch::Sender::new(false), openings }
    }

    fn open(&self) -> Opening {
        let epoch = Epoch::new(self.openings.fetch_add(1, Ordering::SeqCst) + 1);
        let platform = PlatformId::from_random(7);
        let opened = Opened { platform, epoch, newest: Timestamp::EPOCH };
        Opening { disk: self.clone(), opened }
    }

    fn write(&self, batch: &Batch) {
        let mut records = self.records.lock().expect("no test panics under it");
        for change in batch.changes() {
            match change {
                Change::Put(record) => drop(records.insert(record.key, record.clone())),
                Change::Remove(key) => drop(records.remove(key)),
                Change::Note(_) => {}
            }
        }
    }

    fn services(&self) -> Vec<Record> {
        let records = self.records.lock().expect("no test panics under it");
        let of_services = records.values().filter(|one| one.key != RecordKey::Platform);
        of_services.cloned().collect()
    }
}

impl Journal for Opening {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>, CoreError>> {
        let records = self.disk.records.lock().expect("no test panics under it");
        let all = records.values().cloned().collect();
        Box::pin(async { Ok(all) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), CoreError>> {
        Box::pin(async move {
            let disk = self.disk.clone();
            #[expect(clippy::disallowed_methods, reason = "as the thread of a journal")]
            let writing = tokio::spawn(async move {
                let mut hangs = disk.hangs.subscribe();
                hangs.wait_for(|hangs| !hangs).await.expect("the disk is there");
                disk.write(&batch);
            });
            writing.await.map_err(|_| CoreError::bug("the disk panicked"))
        })
    }

    fn history(
        &self,
        _: ServiceId,
        _: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, CoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn run(world: &Memory, disk: &Disk) -> (Platform, JoinHandle<Result<(), Error>>) {
    let (platform, driver) = world.builder().journal_in(disk.open()).build().expect("built");
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    (platform, tokio::spawn(driver.run()))
}

/// As a kill: nothing is said to anybody.
async fn kill(driver: JoinHandle<Result<(), Error>>) {
    driver.abort();
    let _ = driver.await;
}

fn hello() -> ServiceBuilder {
    ServiceSpec::command(["./hello"]).cap(10).between(1, 4)
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

fn is_not_known_yet<T: std::fmt::Debug>(result: Result<T, Error>) {
    let refusal = result.expect_err("the disk hangs");
    assert!(matches!(refusal, Error::NotStored(_)), "{refusal:?}");
    assert_eq!(refusal.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_refused_is_not_found_when_the_disk_has_answered() {
    let (world, disk) = (Memory::new(1), Disk::new());
    let (platform, driver) = run(&world, &disk);
    platform.create("hello", hello()).await.expect("accepted").finished().await.expect("deployed");
    // Until all that follows a deployment is over.
    pass(Duration::from_secs(3_600)).await;

    disk.hangs.send_replace(true);
    is_not_known_yet(platform.change("hello", |spec| spec.cap(77)).await);
    assert!(platform.describe("hello").await.expect("it is there").storing_fails);
    disk.hangs.send_replace(false);
    pass(Duration::from_secs(1)).await;
    assert!(!platform.describe("hello").await.expect("it is there").storing_fails);
    kill(driver).await;
    drop(platform);
    let [record] = &disk.services()[..] else { panic!("there is one service") };
    assert!(!String::from_utf8_lossy(&record.bytes).contains("77"), "it was refused");

    // It is deleted as little as it was changed.
    let (platform, driver) = run(&world, &disk);
    pass(Duration::from_secs(3_600)).await;
    disk.hangs.send_replace(true);
    is_not_known_yet(platform.delete("hello").await);
    let asked = world.now();
    is_not_known_yet(platform.delete("hello").await);
    assert!(world.now().since(asked) < Duration::from_secs(1), "nobody waits for it again");
    disk.hangs.send_replace(false);
    pass(Duration::from_secs(1)).await;
    let _ = platform.change("hello", |spec| spec.cap(20)).await.expect("well again");
    kill(driver).await;
    drop(platform);
    let (platform, driver) = run(&world, &disk);
    let seen = platform.describe("hello").await.expect("it was not deleted");
    assert_eq!(seen.spec.settings().scaling().cap, hello_with_cap(20));
    kill(driver).await;
}

fn hello_with_cap(cap: u32) -> runner_core::spec::CapSetting {
    let checked = hello().cap(cap).check("hello").expect("sound");
    checked.value.settings().scaling().cap
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_was_refused_leaves_nothing_and_its_name_is_free_then() {
    let (world, disk) = (Memory::new(2), Disk::new());
    let (platform, driver) = run(&world, &disk);
    platform.list().await.expect("it runs");
    pass(Duration::from_secs(1)).await;
    disk.hangs.send_replace(true);
    is_not_known_yet(platform.create("hello", hello()).await);
    let refusal = platform.describe("hello").await.expect_err("it is not there");
    assert!(matches!(refusal, Error::NoSuchService(_)), "{refusal:?}");
    let refusal = platform.create("hello", hello()).await.expect_err("two would be on record");
    assert!(matches!(refusal, Error::NameTaken { .. }), "{refusal:?}");

    disk.hangs.send_replace(false);
    pass(Duration::from_secs(1)).await;
    assert!(disk.services().is_empty(), "what was refused is not on record");
    let created = platform.create("hello", hello()).await.expect("the name is free");
    created.finished().await.expect("deployed");
    kill(driver).await;
    drop(platform);
    let (platform, driver) = run(&world, &disk);
    assert_eq!(platform.list().await.expect("it runs").len(), 1);
    kill(driver).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_of_one_name_on_record_the_newer_is_taken_up_and_the_other_removed() {
    let (world, disk) = (Memory::new(3), Disk::new());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let alone = Disk::new();
        let (platform, driver) = run(&world, &alone);
        let _ = platform.create("hello", hello()).await.expect("accepted");
        ids.push(platform.describe("hello").await.expect("it is there").id);
        kill(driver).await;
        for record in alone.services() {
            disk.write(&Batch::new(world.now()).put(record));
        }
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!(disk.services().len(), 2);
    disk.openings.store(9, Ordering::SeqCst);
    let (platform, driver) = run(&world, &disk);
    assert_eq!(platform.describe("hello").await.expect("it is there").id, ids[1]);
    let keys: Vec<_> = disk.services().into_iter().map(|record| record.key).collect();
    assert_eq!(keys, [RecordKey::Service(ids[1])]);
    kill(driver).await;
}

#[tokio::test(start_paused = true)]
async fn records_of_a_newer_program_are_refused_by_name_and_left_as_they_are() {
    for (of_service, says) in [(true, "form 9"), (false, "the platform is on record in form 9")] {
        let (world, disk) = (Memory::new(4), Disk::new());
        let (platform, driver) = run(&world, &disk);
        let created = platform.create("hello", hello()).await.expect("accepted");
        created.finished().await.expect("deployed");
        kill(driver).await;
        drop(platform);
        let records = || disk.records.lock().expect("no test panics under it").clone();
        let key = match of_service {
            true => disk.services()[0].key,
            false => RecordKey::Platform,
        };
        disk.records.lock().expect("see above").get_mut(&key).expect("it is there").version = 9;
        let before = records();
        let (platform, driver) = run(&world, &disk);
        let refusal = driver.await.expect("no panic").expect_err("it is newer");
        assert_eq!(refusal.kind(), ErrorKind::Unsupported);
        assert!(refusal.to_string().contains(says), "{refusal}");
        assert_eq!(records(), before);
        drop(platform);
    }
}
