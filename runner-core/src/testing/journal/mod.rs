//! A journal in memory that survives what a disk survives.
//!
//! [`MemoryStorage`] is the disk: it stays when the platform is gone. [`MemoryJournal`] is a true
//! [`Journal`](crate::journal::Journal) over it and passes the conformance kit. What is written
//! and not yet synced may be [torn, reordered or lost](Crash) in a crash, and writes and syncs
//! [fail on script](WriteFault).
//!
//! Beneath is a plain value that simulations may drive without futures: [`Log`], frames in a hash
//! chain over sectors with a cache before them, which is how a reopening tells what was written
//! whole from what was not. The log is never compacted: a fake
//! that lives as long as a test needs no more.
//!
//! ```
//! use runner_core::{
//!     id::PlatformId,
//!     journal::{Batch, Journal, Record, RecordKey},
//!     testing::{clock::TestClock, journal::{Crash, MemoryStorage}},
//!     time::Timestamp,
//! };
//!
//! let clock = TestClock::new();
//! let storage = MemoryStorage::new(&clock, PlatformId::from_random(1));
//! let batch = |bytes: &[u8]| {
//!     let record = Record { key: RecordKey::Platform, version: 1, bytes: bytes.to_vec() };
//!     Batch::new(Timestamp::from_secs(1)).put(record)
//! };
//!
//! clock.run(async {
//!     let journal = storage.open("first").expect("nobody else has it");
//!     let refusal = storage.open("second").expect_err("the first has it");
//!     assert!(refusal.to_string().contains("first"));
//!
//!     journal.commit(batch(b"kept")).await.expect("durable");
//!     drop(journal.commit(batch(b"never sent")));
//!     storage.crash(Crash::Torn { seed: 7 });
//!
//!     let journal = storage.open("third").expect("the holder is dead");
//!     assert_eq!(journal.opened().epoch.number(), 2);
//!     assert_eq!(journal.records().await.expect("read")[0].bytes, b"kept");
//! });
//! ```

mod codec;
mod disk;
mod log;
mod shell;
#[cfg(test)]
mod tests;

pub use disk::Crash;
pub use log::{FrameNumber, Log};
pub use shell::{MemoryJournal, MemoryStorage, WriteFault};
