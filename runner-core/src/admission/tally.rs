//! What is counted, and what is told at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Reason;
use crate::{id::RevisionNumber, time::Timestamp};

/// Somebody begins to wait: whoever starts or wakes instances should know at once.
///
/// Edge-triggered: it is told when the first begins to wait, and when the first begins to wait
/// for something that no present instance could give. How many wait is for the next look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Demand {
    /// When.
    pub at: Timestamp,
    /// Which edge it was.
    pub cause: DemandCause,
    /// The revision that is insisted on, if one is.
    pub revision: Option<RevisionNumber>,
    /// How many leases were out.
    pub in_flight: u64,
    /// How many slots there were.
    pub slots: u64,
}

/// Which edge a [`Demand`] was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "these are the two edges there are")]
pub enum DemandCause {
    /// Nobody waited before.
    FirstToWait,
    /// Others wait, but not for what no instance could give.
    NobodyCouldServe,
}

/// What a ledger has counted since it was made. Counts only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tally {
    /// Requests that were given a slot, at once or after a wait.
    pub admitted: u64,
    /// Leases that were given back.
    pub released: u64,
    /// Requests that began to wait.
    pub queued: u64,
    /// Requests whose client left while they waited. One that leaves a slot it was given and did
    /// not take counts as admitted and released.
    pub left: u64,
    /// Requests that were refused, by [`Reason::index`].
    pub refused: [u64; Reason::ALL.len()],
    /// Demands that were told.
    pub demands: u64,
    /// How long those waited that waited and were given a slot.
    pub waits: WaitHistogram,
}

impl Tally {
    /// Requests that were refused for a reason.
    pub const fn refused_for(&self, reason: Reason) -> u64 {
        self.refused[reason.index()]
    }

    /// Requests that were refused for any reason.
    pub fn refused_in_all(&self) -> u64 {
        self.refused.iter().sum()
    }
}

/// Counts of waits in buckets that double: those below a microsecond, below two, below four, and
/// so on to above half an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaitHistogram {
    /// How many waits fell into each bucket; that of bucket `i` took less than 2^i microseconds.
    pub counts: [u64; Self::BUCKETS],
    /// All waits together.
    pub sum: Duration,
}

impl WaitHistogram {
    /// How many buckets there are.
    pub const BUCKETS: usize = 32;

    /// Counts a wait.
    pub(super) fn record(&mut self, wait: Duration) {
        let micros = wait.as_secs().saturating_mul(1_000_000) + u64::from(wait.subsec_micros());
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.counts[bucket.min(Self::BUCKETS - 1)] += 1;
        self.sum += wait;
    }

    /// How many waits were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// A time that at least this part of the waits did not exceed, at most twice too long.
    pub fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.count() as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(1 << bucket);
            }
        }
        Duration::MAX
    }
}
