//! What wakes the task of a service from outside, beside its inbox: hints of the backend, routes
//! that others give back, and the first request that comes to a service at rest.
//!
//! A service at rest has no timer but those that its machine and its policy armed, and nobody looks
//! at it from time to time: ten thousand of them cost what one costs. So the first request after
//! that has to say that it is there; all others find that it was said.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Nudge {
    told: Notify,
    changed: AtomicBool,
    stirred: AtomicBool,
    rerouted: AtomicBool,
    /// Whether the next request is to say that it came.
    at_rest: AtomicBool,
}

/// What there is to look at.
pub(crate) struct Nudged {
    /// An instance may not be what it was.
    pub(crate) changed: bool,
    /// There are requests.
    pub(crate) stirred: bool,
    /// A route that it lacks may be free.
    pub(crate) rerouted: bool,
}

impl Nudge {
    /// An instance may not be what it was.
    pub(crate) fn change(&self) {
        self.changed.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// A route that it lacks may be free.
    pub(crate) fn reroute(&self) {
        self.rerouted.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// Nobody looks from now on, unless a request comes. Counters are read after this: the ledger's
    /// lock orders it before every request that they do not show.
    pub(crate) fn rest(&self) {
        self.at_rest.store(true, Ordering::SeqCst);
    }

    /// It is looked at in any case.
    pub(crate) fn go_on(&self) {
        self.at_rest.store(false, Ordering::SeqCst);
    }

    /// A request came.
    #[inline]
    pub(crate) fn note_request(&self) {
        if self.at_rest.load(Ordering::SeqCst) && self.at_rest.swap(false, Ordering::SeqCst) {
            self.stirred.store(true, Ordering::Release);
            self.told.notify_one();
        }
    }

    /// Waits for any of them. May be dropped and called again; one caller at a time is told.
    pub(crate) async fn next(&self) -> Nudged {
        loop {
            let changed = self.changed.swap(false, Ordering::AcqRel);
            let stirred = self.stirred.swap(false, Ordering::AcqRel);
            let rerouted = self.rerouted.swap(false, Ordering::AcqRel);
            if changed || stirred || rerouted {
                return Nudged { changed, stirred, rerouted };
            }
            self.told.notified().await;
        }
    }
}
