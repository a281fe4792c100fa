//! A door as its connections and requests hold it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use tokio::sync::Notify;

use super::{
    clock::Coarse, counters::Totals, id::Ids, limits::Limits, look::Registry, watch::Watch,
};
use crate::{answer::Answers, exchange::ClientConnection};

/// Everything about one door that does not depend on its service, behind one pointer.
pub(super) struct Inside {
    pub(super) limits: Limits,
    pub(super) answers: Answers,
    pub(super) half_closed: bool,
    pub(super) extended_connect: bool,
    pub(super) trusts: Box<Trusts>,
    pub(super) ids: Ids,
    pub(super) clock: Coarse,
    pub(super) registry: Registry,
    pub(super) totals: Totals,
    pub(super) draining: AtomicBool,
    /// Told when a connection has ended.
    pub(super) freed: Notify,
}

/// Whether a client's own `x-request-id` is used.
pub(super) type Trusts = dyn Fn(&ClientConnection) -> bool + Send + Sync;

/// The place of one connection. Dropping it gives the place to another.
pub(super) struct Permit {
    pub(super) watch: Arc<Watch>,
    pub(super) door: Arc<Inside>,
    /// How many came by the same listener.
    by_listener: Arc<AtomicU32>,
}

impl Permit {
    pub(super) fn new(watch: Arc<Watch>, door: Arc<Inside>, by_listener: Arc<AtomicU32>) -> Self {
        door.totals.open.fetch_add(1, Relaxed);
        by_listener.fetch_add(1, Relaxed);
        Self { watch, door, by_listener }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.watch.leave();
        self.by_listener.fetch_sub(1, Relaxed);
        self.door.totals.open.fetch_sub(1, Relaxed);
        self.door.freed.notify_one();
    }
}
