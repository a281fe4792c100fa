//! A queue as its services, requests and leases hold it.

use std::fmt;

use bytes::Bytes;
use runner_core::admission::{Ask, Refusal};
use tokio::time::Instant;

use super::{
    RequestHead,
    shared::{Held, Shared},
};
use crate::{clock::Clock, sync::Arc};

/// Everything about one queue, behind one pointer.
pub(crate) struct Gate {
    pub(crate) shared: Shared,
    pub(crate) clock: Clock,
    pub(crate) hooks: Hooks,
}

/// What the embedding program decides.
pub(crate) struct Hooks {
    pub(crate) ask: Box<dyn Fn(&RequestHead<'_>) -> Ask + Send + Sync>,
    pub(crate) refuse: Box<RefuseFn>,
}

/// Makes the response for a refusal.
pub(crate) type RefuseFn =
    dyn Fn(&RequestHead<'_>, &Refusal) -> http::Response<Bytes> + Send + Sync;

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// A slot taken; dropping it gives the slot to the first who waits.
pub(crate) struct Lease {
    gate: Arc<Gate>,
    /// Nothing once it was given back.
    held: Option<Held>,
    /// When it was taken, if the ledger would like to know how long it is held.
    since: Option<Instant>,
}

impl Lease {
    #[inline]
    pub(crate) fn new(gate: Arc<Gate>, held: Held, sampled: bool) -> Self {
        let since = sampled.then(Instant::now);
        Self { gate, held: Some(held), since }
    }

    #[cfg(feature = "forward")]
    pub(super) const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Tells the ledger that this is an upgraded connection now.
    pub(crate) fn mark_upgraded(&self) {
        if let Some(Held::Leased(lease)) = &self.held {
            self.gate.shared.with(|ledger| ledger.mark_upgraded(lease));
        }
    }

    /// Tells the ledger that the upgraded connection has ended.
    pub(crate) fn unmark_upgraded(&self) {
        if let Some(Held::Leased(lease)) = &self.held {
            self.gate.shared.with(|ledger| ledger.unmark_upgraded(lease));
        }
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.gate.shared.release(held, self.since.map(|since| since.elapsed()));
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}
