//! How many requests may be sent again: a share of all, so that a fault that hits everything does
//! not double the load that it came from.

use std::sync::atomic::{AtomicU64, Ordering};

/// Each request pays in a part of what sending one again costs.
///
/// There is something in it from the start and never more than a bound, so that a quiet night
/// does not save up for a storm.
#[derive(Debug)]
pub(super) struct Budget {
    /// In hundredths of one.
    balance: AtomicU64,
    /// What each request pays in.
    percent: u64,
}

impl Budget {
    pub(super) fn new(percent: u32) -> Self {
        let balance = if percent == 0 { 0 } else { AT_START * ONE };
        Self { balance: AtomicU64::new(balance), percent: u64::from(percent) }
    }

    /// A request came.
    #[inline]
    pub(super) fn deposit(&self) {
        // Full is what it is nearly always, and then nothing is written. Two at once may go over
        // the bound by one payment.
        if self.balance.load(Ordering::Relaxed) < MOST * ONE {
            self.balance.fetch_add(self.percent, Ordering::Relaxed);
        }
    }

    /// What was taken was not needed.
    pub(super) fn give_back(&self) {
        self.balance.fetch_add(ONE, Ordering::Relaxed);
    }

    /// Whether one may be sent again.
    pub(super) fn withdraw(&self) -> bool {
        let take = |balance: u64| balance.checked_sub(ONE);
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

const ONE: u64 = 100;

/// Enough for the first instance that fails before there was any traffic to speak of.
const AT_START: u64 = 10;

/// More than the requests at once of one instance that dies.
const MOST: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_may_be_sent_again() {
        let budget = Budget::new(20);
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), 10, "what is there at first");
        for _ in 0..50 {
            budget.deposit();
        }
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), 10, "20 of a hundred");
        for _ in 0..1_000_000 {
            budget.deposit();
        }
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), 100, "and no more than that");
        let none = Budget::new(0);
        none.deposit();
        assert!(!none.withdraw());
    }
}
