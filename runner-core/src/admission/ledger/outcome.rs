//! What the ledger answers with.

use super::super::{Demand, Refusal, Ticket};
use crate::{id::InstanceId, time::Timestamp};

/// A slot taken. Whoever has one gives it back, once: there is no other way to be rid of it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is not released takes its slot for ever"]
pub struct Lease {
    pub(super) slot: u32,
    pub(super) sampled: bool,
}

impl Lease {
    /// Whether the ledger would like to know how long this one is held: one in
    /// [`SAMPLE_EVERY`](Lease::SAMPLE_EVERY), and all until anything was learned.
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    pub(super) fn into_slot(self) -> u32 {
        self.slot
    }

    /// Of this many leases one is timed, so that the others read no clock.
    pub const SAMPLE_EVERY: u64 = 64;
}

/// A request that waits.
#[derive(Debug)]
#[must_use = "a demand must reach whoever starts instances, and whoever was displaced be woken"]
#[expect(clippy::exhaustive_structs, reason = "whoever enqueues has to see to each part")]
pub struct Queued<W> {
    /// What to ask for it by.
    pub ticket: Ticket,
    /// When it is to [`expire`](super::Ledger::expire).
    pub deadline: Timestamp,
    /// Set when somebody begins to wait where nobody waited, or for what no instance could give.
    pub demand: Option<Demand>,
    /// Who lost its place to this one and has its refusal to collect.
    pub displaced: Option<W>,
}

/// A request that was refused instead of taken in.
#[derive(Debug)]
#[must_use = "a demand must reach whoever starts instances"]
#[expect(clippy::exhaustive_structs, reason = "whoever enqueues has to see to each part")]
pub struct TurnedAway<W> {
    /// Why, and what to tell its client.
    pub refusal: Refusal,
    /// What was to be kept with it.
    pub waiter: W,
    /// Set when it asked for what no present instance could give, and is the first since the last
    /// snapshot that did so in vain.
    pub demand: Option<Demand>,
}

/// What is to know about a ticket.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a shell has to act on each")]
pub enum Outcome {
    /// It was given a slot.
    Granted(Lease),
    /// It was refused.
    Refused(Refusal),
    /// It still waits.
    Waiting,
}

/// Those who have something to [`collect`](super::Ledger::collect): wake them, outside of any lock.
#[derive(Debug)]
#[must_use = "whoever is in here waits for ever unless woken"]
pub struct Woken<W> {
    first: Option<W>,
    /// Empty, and so not allocated, for all but sweeping changes.
    rest: Vec<W>,
}

/// What giving a slot back led to.
#[derive(Debug)]
#[must_use = "whoever was given the slot waits for ever unless woken"]
#[expect(clippy::exhaustive_structs, reason = "whoever releases has to see to each part")]
pub struct Released<W> {
    /// Those who have something to collect.
    pub woken: Woken<W>,
    /// The instance whose last lease this was, if it takes no new ones: it is drained.
    pub drained: Option<InstanceId>,
}

impl<W> Woken<W> {
    pub(super) const fn nobody() -> Self {
        Self { first: None, rest: Vec::new() }
    }

    pub(super) fn push(&mut self, waiter: W) {
        match self.first {
            None => self.first = Some(waiter),
            Some(_) => self.rest.push(waiter),
        }
    }

    /// Each of them, at less cost than by iterating where it is one or nobody.
    #[inline]
    pub fn for_each(self, mut each: impl FnMut(W)) {
        if let Some(first) = self.first {
            each(first);
            self.rest.into_iter().for_each(each);
        }
    }

    /// Whether nobody has anything to collect.
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl<W> IntoIterator for Woken<W> {
    type Item = W;
    type IntoIter = std::iter::Chain<std::option::IntoIter<W>, std::vec::IntoIter<W>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

impl<W> Released<W> {
    pub(super) const fn nothing() -> Self {
        Self { woken: Woken::nobody(), drained: None }
    }
}
