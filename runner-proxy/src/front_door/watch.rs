//! What is known of one connection, or of one HTTP/2 stream, and what it is told.
//!
//! A connection writes what it does into a [`Watch`], a few relaxed stores per request; one task
//! of the door looks at all of them several times a second, judges those that are overdue, and
//! wakes them to carry it out. So no request reads a clock or sets a timer, and limits are late by
//! one look at most.

use std::{
    sync::{
        PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::Waker,
};

use super::clock::Tick;

#[expect(clippy::disallowed_types, reason = "guards one waker; nothing is awaited under it")]
type Slot = std::sync::Mutex<Option<Waker>>;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was ever received. => (Head | Idle, for HTTP/2)
    New = 0,
    /// Between requests. An HTTP/2 connection is always here; its streams are not.
    /// => (Head | Busy | Closing)
    Idle = 1,
    /// A head has begun. => Busy
    Head = 2,
    /// A request is read, worked on, or answered. => (Idle | Closing | Tunnel)
    Busy = 3,
    /// Only what was written is still to be taken by the client.
    Closing = 4,
    /// It was upgraded, and what is spoken is not ours to understand.
    Tunnel = 5,
}

/// Why a connection or a request is ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing came for too long: on a new connection, or between requests.
    Idle = 1,
    /// A head was not complete in time.
    HeadTooSlow = 2,
    /// The whole request took too long.
    TookTooLong = 3,
    /// The client sends its body too slowly.
    BodyTooSlow = 4,
    /// The client takes its answer too slowly.
    ReaderTooSlow = 5,
    /// What was said last was not taken in time.
    NotTaken = 6,
}

pub(super) struct Watch {
    /// The phase in the lowest bits and since when above them.
    word: AtomicU64,
    /// The word that a verdict is about: one that came too late is about nothing.
    judged: AtomicU64,
    verdict: AtomicU8,
    orders: AtomicU8,
    /// A fault of the body that is to be answered in the place of the service, by its index.
    fault: AtomicU8,
    waker: Slot,
    pub(super) flags: Flags,
    /// HTTP/2 streams that are open.
    pub(super) streams: AtomicU32,
    /// Those of them that are tunnels.
    pub(super) tunnels: AtomicU32,
    pub(super) counts: Counts,
}

/// What the looker has to know, each written by the one whose business it is.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// HTTP/2, a connection.
    pub(super) two: AtomicBool,
    /// HTTP/2, one stream.
    pub(super) stream: AtomicBool,
    /// The answer has no length: it may go on for ever.
    pub(super) streaming: AtomicBool,
    /// The tunnel speaks WebSocket.
    pub(super) websocket: AtomicBool,
    /// Somebody waits for more of the request's body.
    pub(super) wants_body: AtomicBool,
    /// The client does not take what is written.
    pub(super) blocked: AtomicBool,
    /// HTTP/2, one stream: the service answered, and nothing more of its answer is waited for. A
    /// stream that waits all the same waits for its client.
    pub(super) answered: AtomicBool,
    /// It was answered before all of the request was read.
    pub(super) unread: AtomicBool,
    gone: AtomicBool,
}

/// Counted by the connection, summed up when somebody asks: no cache line is shared on the way.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) read: AtomicU64,
    pub(super) written: AtomicU64,
    /// Bytes of the body of the request that is read now.
    pub(super) body: AtomicU64,
    /// HTTP/2, one stream: bytes of its answer that went out. The connection counts them as
    /// written, with those of all its streams.
    pub(super) taken: AtomicU64,
    /// Requests by HTTP/1.0, 1.1 and 2.
    pub(super) requests: [AtomicU64; 3],
}

impl Watch {
    pub(super) fn new(phase: Phase, now: Tick) -> Self {
        Self {
            word: AtomicU64::new(word(phase, now)),
            judged: AtomicU64::new(u64::MAX),
            verdict: AtomicU8::new(0),
            orders: AtomicU8::new(0),
            fault: AtomicU8::new(NO_FAULT),
            waker: Slot::default(),
            flags: Flags::default(),
            streams: AtomicU32::new(0),
            tunnels: AtomicU32::new(0),
            counts: Counts::default(),
        }
    }

    // === the connection's side ===

    #[inline]
    pub(super) fn enter(&self, phase: Phase, now: Tick) {
        self.word.store(word(phase, now), Relaxed);
    }

    #[inline]
    pub(super) fn phase(&self) -> Phase {
        self.at().0
    }

    /// Phase and since when.
    #[inline]
    pub(super) fn at(&self) -> (Phase, Tick) {
        let word = self.word.load(Relaxed);
        (PHASES[(word & 0b111) as usize], Tick(word >> 3))
    }

    /// Whether there is anything to obey: one load, and nearly always not.
    #[inline]
    pub(super) fn has_orders(&self) -> bool {
        self.orders.load(Relaxed) != 0
    }

    #[inline]
    pub(super) fn is_ordered(&self, orders: u8) -> bool {
        self.orders.load(Relaxed) & orders == orders
    }

    /// What was judged of the phase that this is in now.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        if self.orders.load(Acquire) & JUDGED == 0 {
            return None;
        }
        if self.judged.load(Relaxed) != self.word.load(Relaxed) {
            self.orders.fetch_and(!JUDGED, Relaxed);
            return None;
        }
        VERDICTS.into_iter().find(|v| *v as u8 == self.verdict.load(Relaxed))
    }

    /// Forgets what was known of the request before.
    #[inline]
    pub(super) fn begin_request(&self) {
        self.counts.body.store(0, Relaxed);
        if self.fault().is_some() {
            self.fault.store(NO_FAULT, Relaxed);
        }
    }

    pub(super) fn set_fault(&self, fault: u8) {
        self.fault.store(fault, Relaxed);
    }

    #[inline]
    pub(super) fn fault(&self) -> Option<u8> {
        Some(self.fault.load(Relaxed)).filter(|fault| *fault != NO_FAULT)
    }

    /// Whom to wake when there is something to obey.
    pub(super) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            let before = slot.replace(waker.clone());
            drop(slot);
            drop(before);
        }
    }

    /// Whether this is who was registered last.
    pub(super) fn is_registered(&self, waker: &Waker) -> bool {
        let slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().is_some_and(|old| old.will_wake(waker))
    }

    /// Says the last word: nothing is counted after it.
    pub(super) fn leave(&self) {
        self.flags.gone.store(true, Release);
    }

    // === the looker's side ===

    pub(super) fn is_gone(&self) -> bool {
        self.flags.gone.load(Acquire)
    }

    /// Judges the phase that was seen. One that has ended meanwhile is not meant. Returns whom to
    /// wake, when no lock is held.
    pub(super) fn judge(&self, (phase, since): (Phase, Tick), verdict: Verdict) -> Option<Waker> {
        self.verdict.store(verdict as u8, Relaxed);
        self.judged.store(word(phase, since), Relaxed);
        self.order(JUDGED)
    }

    /// Returns whom to wake, when no lock is held.
    pub(super) fn order(&self, order: u8) -> Option<Waker> {
        self.orders.fetch_or(order, Release);
        self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Counts {
    /// Adds to a count that only one writes: no locked instruction is needed.
    #[inline]
    pub(super) fn add(count: &AtomicU64, more: u64) {
        count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
    }
}

const fn word(phase: Phase, since: Tick) -> u64 {
    (since.0 << 3) | phase as u64
}

/// There is a verdict.
pub(super) const JUDGED: u8 = 1;
/// The door drains: go when this request is over.
pub(super) const DRAIN: u8 = 2;
/// The door drains: go if nothing is asked.
pub(super) const LEAVE: u8 = 4;
/// Go now.
pub(super) const CUT: u8 = 8;

const NO_FAULT: u8 = u8::MAX;
const PHASES: [Phase; 8] = [
    Phase::New,
    Phase::Idle,
    Phase::Head,
    Phase::Busy,
    Phase::Closing,
    Phase::Tunnel,
    Phase::Tunnel,
    Phase::Tunnel,
];
const VERDICTS: [Verdict; 6] = [
    Verdict::Idle,
    Verdict::HeadTooSlow,
    Verdict::TookTooLong,
    Verdict::BodyTooSlow,
    Verdict::ReaderTooSlow,
    Verdict::NotTaken,
];
