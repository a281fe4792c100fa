use std::{future::poll_fn, task::Poll, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    Error,
    id::{PlatformId, ServiceId},
    journal::{Batch, HistoryEntry, Journal, Record, RecordKey},
    testing::{clock::TestClock, random::SplitMix64},
    time::Timestamp,
};

fn service(bits: u128) -> ServiceId {
    ServiceId::from_random(bits)
}

fn put(bits: u128, value: u64) -> Batch {
    let key = RecordKey::Service(service(bits));
    let record = Record { key, version: 1, bytes: value.to_string().into_bytes() };
    Batch::new(Timestamp::from_secs(value)).put(record)
}

fn values(log: &Log) -> Vec<u64> {
    let text = |record: Record| String::from_utf8(record.bytes).expect("digits");
    log.records().into_iter().map(|record| text(record).parse().expect("a number")).collect()
}

fn storage() -> (TestClock, MemoryStorage) {
    let clock = TestClock::new();
    let storage = MemoryStorage::new(&clock, PlatformId::from_random(1));
    (clock, storage)
}

#[test]
fn each_fault_does_what_it_says_and_the_next_commit_is_as_good_as_any() {
    let error = || Error::unavailable("as scripted");
    for (fault, there) in [
        (WriteFault::disk_full(), false),
        (WriteFault::Tear(error()), false),
        (WriteFault::FailSync(error()), false),
        (WriteFault::LoseAnswer(error()), true),
    ] {
        let (clock, storage) = storage();
        clock.run(async {
            let journal = storage.open("a").expect("free");
            storage.fail(2, fault.clone());
            journal.commit(put(1, 1)).await.expect("the first is fine");
            journal.commit(put(2, 2)).await.expect_err("as scripted");
            assert_eq!(values(&storage.log()), [1], "{fault:?}: an error leaves what was");
            journal.commit(put(3, 3)).await.expect("the script is over");
            storage.crash(Crash::LosesUnsynced);
            storage.open("b").expect("free");
            let expected: &[u64] = if there { &[1, 2, 3] } else { &[1, 3] };
            assert_eq!(values(&storage.log()), expected, "{fault:?}");
        });
    }
}

#[test]
fn a_failed_sync_fails_all_who_waited_for_it() {
    let (clock, storage) = storage();
    clock.run(async {
        let journal = std::sync::Arc::new(storage.open("a").expect("free"));
        storage.fail(1, WriteFault::FailSync(Error::unavailable("as scripted")));
        let commits: Vec<_> = (1..=3)
            .map(|n| {
                let journal = std::sync::Arc::clone(&journal);
                clock.spawn(async move { journal.commit(put(n, 7)).await.is_ok() })
            })
            .collect();
        for commit in commits {
            assert!(!commit.await);
        }
        assert!(values(&storage.log()).is_empty());
    });
}

#[test]
fn a_slow_commit_is_overtaken() {
    let (clock, storage) = storage();
    clock.run(async {
        let journal = std::sync::Arc::new(storage.open("a").expect("free"));
        storage.fail(1, WriteFault::Slow(Duration::from_secs(1)));
        let slow = clock.spawn({
            let journal = std::sync::Arc::clone(&journal);
            async move { journal.commit(put(1, 1)).await }
        });
        clock.sleep(Duration::from_millis(1)).await;
        journal.commit(put(1, 2)).await.expect("fast");
        assert_eq!(values(&storage.log()), [2]);
        slow.await.expect("slow");
        assert_eq!(values(&storage.log()), [1]);
    });
}

#[test]
fn a_journal_that_crashed_neither_writes_nor_closes_anything() {
    let (clock, storage) = storage();
    clock.run(async {
        let dead = storage.open("dead").expect("free");
        storage.crash(Crash::LosesUnsynced);
        let living = storage.open("living").expect("the holder is dead");
        dead.commit(put(1, 1)).await.expect_err("dead");
        drop(dead);
        storage.open("third").expect_err("the living one has it still");
        living.commit(put(1, 1)).await.expect("alone");
    });
}

#[test]
fn an_old_frame_behind_a_new_one_is_not_its_continuation() {
    // The first frame is as long as the next opening's and a short one together, so that once it
    // is torn away and they are in its place, the second, whole still, begins where they end.
    let number = |digits: &str| {
        let bytes = digits.as_bytes().to_vec();
        let key = RecordKey::Service(service(1));
        Batch::new(Timestamp::EPOCH).put(Record { key, version: 1, bytes })
    };
    const OPENING: usize = 25;
    let mut log = Log::new(PlatformId::from_random(1));
    log.open();
    log.append(number(&format!("{:0width$}", 1, width = OPENING + 1)));
    log.append(put(2, 2));
    let mut old_frames = 0;
    for seed in 0..10_000 {
        let mut log = log.clone();
        log.crash(Crash::Torn { seed });
        log.open();
        if values(&log).is_empty() {
            log.append(number("3"));
            log.sync();
            log.open();
            assert_eq!(values(&log), [3], "{seed}");
            old_frames += 1;
        }
    }
    assert!(old_frames > 100, "hardly any seed loses the first: {old_frames}");
}

#[test]
fn history_is_bounded_per_service() {
    let mut log = Log::new(PlatformId::from_random(1));
    log.open();
    let entry = |n: u64| HistoryEntry {
        service: service(1),
        at: Timestamp::from_secs(n),
        code: n.to_string(),
        message: String::new(),
    };
    let all = Log::MAX_HISTORY as u64 + 5;
    log.append((1..=all).fold(Batch::new(Timestamp::EPOCH), |batch, n| batch.note(entry(n))));
    log.sync();
    let kept = log.history(service(1), usize::MAX);
    assert_eq!(
        (kept.len(), kept.first(), kept.last()),
        (Log::MAX_HISTORY, Some(&entry(all)), Some(&entry(6)))
    );
    assert_eq!(log.open().newest, Timestamp::from_secs(all));
}

#[test]
fn a_commit_dropped_after_it_was_sent_is_carried_by_the_next_sync() {
    let (clock, storage) = storage();
    clock.run(async {
        let journal = storage.open("a").expect("free");
        let mut sent = journal.commit(put(1, 1));
        poll_fn(|context| {
            assert!(sent.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(sent);
        assert!(values(&storage.log()).is_empty());
        journal.commit(put(2, 2)).await.expect("durable");
        assert_eq!(values(&storage.log()), [1, 2]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Batches of two records each; whatever the disk does, a prefix of them survives, each whole,
    /// and in it all that were synced.
    #[test]
    fn a_crash_leaves_a_prefix_of_whole_batches_with_all_that_were_synced(seed: u64) {
        let mut dice = SplitMix64::new(seed);
        let mut log = Log::new(PlatformId::from_random(1));
        let mut written: Vec<u64> = Vec::new();
        for life in 1..=4 {
            prop_assert_eq!(log.open().epoch.number(), life);
            let survived: Vec<u64> = values(&log).into_iter().step_by(2).collect();
            prop_assert_eq!(&survived, &written[..survived.len()], "a prefix");
            prop_assert_eq!(values(&log).len() % 2, 0, "whole");
            let mut synced = survived.len();
            written.truncate(synced);
            for _ in 0..dice.below(6) {
                let n = written.len() as u64;
                log.append(put(u128::from(n) * 2, n).put(Record {
                    key: RecordKey::Service(service(u128::from(n) * 2 + 1)),
                    version: 1,
                    bytes: n.to_string().into_bytes(),
                }));
                written.push(n);
                if dice.chance(400) {
                    log.sync();
                    synced = written.len();
                }
            }
            log.crash(Crash::Torn { seed: dice.next_u64() });
            let mut after = log.clone();
            after.open();
            prop_assert!(values(&after).len() / 2 >= synced, "{} of {synced}", values(&after).len() / 2);
        }
    }
}
