//! What a million operations leave on the disk, and how soon that is opened.

use std::time::{Duration, Instant};

use runner_core::{
    id::ServiceId,
    journal::{Batch, HistoryEntry, Journal as _, Record, RecordKey},
    time::Timestamp,
};
use runner_platform::journal::DiskJournal;

use super::{Folder, Line, Size, runtime};

pub(super) fn million(size: Size) -> Vec<Line> {
    let folder = Folder::new("journal");
    let path = folder.0.join("state.redb");
    let services: Vec<_> = (0..SERVICES).map(|n| ServiceId::from_random(n.into())).collect();
    runtime().block_on(async {
        let journal = DiskJournal::open(&path).expect("made");
        for round in 0..size.operations.div_ceil(SERVICES) {
            let commits = services.iter().map(|service| {
                let key = RecordKey::Service(*service);
                let record = Record { key, version: 1, bytes: vec![7; RECORD] };
                let at = Timestamp::from_secs(BEGAN + round);
                let code = "OperationAccepted".to_owned();
                let message = format!("An operation was accepted, the {round}th of its service.");
                let entry = HistoryEntry { service: *service, at, code, message };
                journal.commit(Batch::new(at).put(record).note(entry))
            });
            for answer in futures_util::future::join_all(commits).await {
                answer.expect("room");
            }
        }
        drop(journal);
        let megabytes = std::fs::metadata(&path).expect("a file").len() as f64 / 1e6;
        let began = Instant::now();
        let journal = DiskJournal::open(&path).expect("opened");
        let records = journal.records().await.expect("read").len();
        let took = began.elapsed();
        assert_eq!(records, services.len());
        let after = format!("journal after {} operations", size.operations);
        vec![
            Line::number(format!("{after}: its size"), (megabytes, 100.0), "MB"),
            Line::at_most(format!("{after}: opened and read"), took, Duration::from_secs(2)),
        ]
    })
}

const SERVICES: u64 = 1_000;
/// As large as the record of a service with some revisions.
const RECORD: usize = 2_000;
const BEGAN: u64 = 1_777_507_200;
