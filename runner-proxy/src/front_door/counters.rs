//! What a door has counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::task::JoinError;

use super::watch::{Counts, Verdict};
use crate::answer::DoorFault;

/// Counts and levels of a door, read at one moment. Counts only rise.
///
/// What every request adds to is kept by its connection and summed up when this is read, so that
/// counting shares no memory between connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DoorCounters {
    /// Connections that are open, upgraded ones included.
    pub open: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Times that accepting stopped at a limit of connections.
    pub full: u64,
    /// Times that accepting stopped because this process or the system had no more files.
    pub out_of_files: u64,
    /// Accepts that failed in another way.
    pub accept_errors: u64,
    /// Requests, by protocol.
    pub requests: Requests,
    /// Connections that became something else.
    pub upgraded: u64,
    /// Bytes that clients sent.
    pub received: u64,
    /// Bytes that clients were sent.
    pub sent: u64,
    /// Ends before their time, by kind.
    pub timeouts: Timeouts,
    /// What hyper refused before there was a head to answer.
    pub refused: Refused,
    /// Connections and streams whose service panicked; a stream is counted when the next begins.
    pub panicked: u64,
    answers: [u64; DoorFault::ALL.len()],
}

/// Requests by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// HTTP/1.0.
    pub http10: u64,
    /// HTTP/1.1.
    pub http11: u64,
    /// HTTP/2.
    pub http2: u64,
}

/// Ends before their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Connections on which nothing was asked.
    pub idle: u64,
    /// Heads that did not come whole.
    pub head: u64,
    /// Requests that took too long.
    pub total: u64,
    /// Bodies that came too slowly.
    pub body: u64,
    /// Answers that were taken too slowly, or last words that were not taken.
    pub reader: u64,
}

/// What hyper refused before there was a head to answer, and how connections broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Not HTTP, or HTTP that can be read in two ways: a bare 400, or the end.
    pub malformed: u64,
    /// Heads and targets above hyper's own limits: a bare 431 or 414.
    pub too_large: u64,
    /// Clients that left in the middle of a request or of its answer.
    pub left: u64,
    /// Connections that failed otherwise.
    pub broken: u64,
}

impl DoorCounters {
    /// Requests that were answered with a fault.
    pub fn answered(&self, fault: DoorFault) -> u64 {
        self.answers[fault.index()]
    }

    pub(super) fn add(&mut self, counts: &Counts) {
        self.received += counts.read.load(Relaxed);
        self.sent += counts.written.load(Relaxed);
        let [http10, http11, http2] = &counts.requests;
        self.requests.http10 += http10.load(Relaxed);
        self.requests.http11 += http11.load(Relaxed);
        self.requests.http2 += http2.load(Relaxed);
    }
}

/// What is rare enough to be counted in one place, and the sums of those that are gone.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) open: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) out_of_files: AtomicU64,
    pub(super) accept_errors: AtomicU64,
    pub(super) upgraded: AtomicU64,
    pub(super) panicked: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) too_large: AtomicU64,
    pub(super) left: AtomicU64,
    pub(super) broken: AtomicU64,
    timeouts: [AtomicU64; 5],
    answers: [AtomicU64; DoorFault::ALL.len()],
    gone: Counts,
}

impl Totals {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// How a task has ended: well, told to, or by a panic of the service.
    pub(super) fn note(&self, ended: Result<(), JoinError>) {
        if ended.is_err_and(|error| error.is_panic()) {
            Self::count(&self.panicked);
            tracing::error!("a service panicked, and what it worked on is closed");
        }
    }

    pub(super) fn answered(&self, fault: DoorFault) {
        Self::count(&self.answers[fault.index()]);
    }

    pub(super) fn ended(&self, verdict: Verdict) {
        let kind = match verdict {
            Verdict::Idle => 0,
            Verdict::HeadTooSlow => 1,
            Verdict::TookTooLong => 2,
            Verdict::BodyTooSlow => 3,
            Verdict::ReaderTooSlow | Verdict::NotTaken => 4,
        };
        Self::count(&self.timeouts[kind]);
    }

    /// Adds up one that is gone. Only under the lock of the list that it was in.
    pub(super) fn fold(&self, counts: &Counts) {
        let pairs = [(&self.gone.read, &counts.read), (&self.gone.written, &counts.written)];
        let requests = self.gone.requests.iter().zip(&counts.requests);
        for (sum, part) in pairs.into_iter().chain(requests) {
            Counts::add(sum, part.load(Relaxed));
        }
    }

    /// Everything but what those that are still here have counted.
    pub(super) fn read(&self) -> DoorCounters {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let [idle, head, total, body, reader] = self.timeouts.each_ref().map(get);
        let mut counters = DoorCounters {
            open: get(&self.open),
            accepted: get(&self.accepted),
            full: get(&self.full),
            out_of_files: get(&self.out_of_files),
            accept_errors: get(&self.accept_errors),
            upgraded: get(&self.upgraded),
            timeouts: Timeouts { idle, head, total, body, reader },
            refused: Refused {
                malformed: get(&self.malformed),
                too_large: get(&self.too_large),
                left: get(&self.left),
                broken: get(&self.broken),
            },
            panicked: get(&self.panicked),
            answers: self.answers.each_ref().map(get),
            ..DoorCounters::default()
        };
        counters.add(&self.gone);
        counters
    }
}
