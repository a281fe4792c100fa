//! A lease that several hold, for work that outlives the response.

use std::{
    fmt,
    sync::{
        PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::gate::Lease;
use crate::sync::{Arc, MutexGuard};

/// A share in a request's slot: the slot is given back when the last share and the response body
/// are gone.
///
/// It is in the extensions of a request that asks for an upgrade (and, in the pool form, inside
/// [`Assignment`](crate::pool::Assignment)). A handler that goes on after its response moves a
/// clone into the task that does, and the slot stays taken until that task ends:
///
/// ```
/// # use runner_proxy::LeaseHandle;
/// # async fn serve_socket() {}
/// # async fn handler(request: http::Request<()>) {
/// let lease = request.extensions().get::<LeaseHandle>().cloned();
/// let task = async move {
///     let _lease = lease; // held for as long as the socket
///     serve_socket().await;
/// };
/// # task.await;
/// # }
/// ```
#[derive(Clone)]
#[must_use = "the slot stays taken only as long as this is held"]
pub struct LeaseHandle(Arc<Held>);

struct Held {
    /// Nothing while it is being exchanged for another.
    lease: Slot,
    upgraded: AtomicBool,
}

#[expect(clippy::disallowed_types, reason = "guards one lease; nothing is awaited under it")]
type Slot = crate::sync::Mutex<Option<Lease>>;

impl LeaseHandle {
    pub(crate) fn new(lease: Lease) -> Self {
        Self(Arc::new(Held { lease: Slot::new(Some(lease)), upgraded: AtomicBool::new(false) }))
    }

    /// Says that this is an upgraded connection now: when instances are scaled in, its instance is
    /// the last to go. Without several instances it changes nothing.
    pub fn mark_upgraded(&self) {
        if !self.0.upgraded.swap(true, Ordering::Relaxed)
            && let Some(lease) = &*self.0.lock()
        {
            lease.mark_upgraded();
        }
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if *self.upgraded.get_mut()
            && let Some(lease) = &*self.lock()
        {
            lease.unmark_upgraded();
        }
    }
}

#[cfg(feature = "forward")]
impl LeaseHandle {
    /// Takes the lease out, to be given back before another is asked for.
    pub(super) fn take(&self) -> Option<Lease> {
        self.0.lock().take()
    }

    /// Puts another in the place of the one that was taken out.
    pub(super) fn put(&self, lease: Lease) {
        let before = self.0.lock().replace(lease);
        debug_assert!(before.is_none(), "one lease at a time");
    }
}

impl fmt::Debug for LeaseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseHandle").finish_non_exhaustive()
    }
}

/// A lease, alone or shared.
#[derive(Debug)]
pub(crate) enum Share {
    Own(#[expect(dead_code, reason = "held for its drop")] Lease),
    Handle(LeaseHandle),
}

impl Share {
    /// Another share in the same slot.
    ///
    /// # Panics
    ///
    /// When the slot is not shared.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Own(_) => unreachable!("only a handle is shared"),
            Self::Handle(handle) => Self::Handle(handle.clone()),
        }
    }
}
