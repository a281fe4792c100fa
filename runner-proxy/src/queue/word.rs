//! One atomic word before the ledger, for the case that needs no queue.
//!
//! As long as nobody waits, all there is to know about one cap is how many leases are out. The
//! word holds that, the cap and a count of admissions, so taking and giving back a slot is one
//! compare-and-swap each. When somebody has to wait the word is *shut*: whoever finds it so takes
//! the lock and asks the ledger, which was told the word's counts when it was shut. When nobody
//! waits any more the word is opened again with the ledger's counts.
//!
//! It refines the ledger and adds no rule: while the word is open the ledger's queue is empty, and
//! taking a slot below the cap or giving one back is all the ledger would do. A word that is never
//! opened is a ledger alone, which is what a pool has.
//!
//! # Ordering
//!
//! Taking is `Acquire` and giving back is `Release`, so what was done under a lease happened before
//! what the next holder of its slot does. Shutting is `AcqRel` under the lock; a shut word is
//! changed by holders of the lock alone.

use crate::sync::{AtomicU64, Ordering};

/// `[shut: 1][cap: 20][admitted: 23][in flight: 20]`, from the highest bit down.
#[derive(Debug)]
pub(super) struct Word(AtomicU64);

/// What a word said when it was shut or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) in_flight: u32,
    /// Admissions since the word was opened.
    pub(super) admitted: u64,
}

/// A slot was taken without the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// How many had been admitted since the word was opened.
    pub(super) admitted_before: u64,
}

impl Word {
    /// The largest cap a word can hold: a million and a bit.
    pub(super) const MAX_CAP: u32 = (1 << FLIGHT_BITS) - 1;

    /// A word that is shut and counts nothing.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(SHUT))
    }

    /// Takes a slot, if the word is open and below its cap.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            // The count of admissions is about to overflow once in millions of requests; going
            // through the ledger then adds it up.
            if word >= SHUT || in_flight(word) >= cap(word) || admitted(word) == ADMITTED_MAX {
                return None;
            }
            let next = word + ADMITTED_ONE + 1;
            match self.0.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Taken { admitted_before: admitted(word) }),
                Err(now) => word = now,
            }
        }
    }

    /// Gives a slot back, if the word is open.
    pub(super) fn give_back(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word >= SHUT {
                return false;
            }
            debug_assert!(in_flight(word) > 0, "a lease was released twice");
            let next = word - 1;
            match self.0.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Shuts the word; what it counted, if it was open. Only under the ledger's lock, without
    /// which a word that is shut is not opened: a look is enough to see that it is.
    pub(super) fn close(&self) -> Option<Counts> {
        if self.0.load(Ordering::Relaxed) >= SHUT {
            return None;
        }
        counts(self.0.fetch_or(SHUT, Ordering::AcqRel))
    }

    /// Opens the word with the ledger's counts. Only under the ledger's lock.
    pub(super) fn open(&self, cap: u32, in_flight: u32) {
        debug_assert!(cap <= Self::MAX_CAP && in_flight <= Self::MAX_CAP);
        let word = (u64::from(cap) << CAP_SHIFT) | u64::from(in_flight);
        self.0.store(word, Ordering::Release);
    }

    /// What the word counts, if it is open.
    pub(super) fn counts(&self) -> Option<Counts> {
        counts(self.0.load(Ordering::Relaxed))
    }
}

fn counts(word: u64) -> Option<Counts> {
    (word < SHUT).then(|| Counts { in_flight: in_flight(word) as u32, admitted: admitted(word) })
}

const fn in_flight(word: u64) -> u64 {
    word & (ADMITTED_ONE - 1)
}

const fn admitted(word: u64) -> u64 {
    (word >> FLIGHT_BITS) & ADMITTED_MAX
}

const fn cap(word: u64) -> u64 {
    (word & !SHUT) >> CAP_SHIFT
}

const FLIGHT_BITS: u32 = 20;
const ADMITTED_BITS: u32 = 23;
const CAP_SHIFT: u32 = FLIGHT_BITS + ADMITTED_BITS;
const ADMITTED_ONE: u64 = 1 << FLIGHT_BITS;
const ADMITTED_MAX: u64 = (1 << ADMITTED_BITS) - 1;
const SHUT: u64 = 1 << 63;
