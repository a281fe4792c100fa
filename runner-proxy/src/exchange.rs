//! What the front door and forwarding tell each other about one request, in its extensions.
//!
//! Neither knows the other: whoever brings a server of its own puts a [`ClientConnection`] into
//! each request, and whoever forwards in another way puts a [`ServedBy`] into each response.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use runner_core::id::{InstanceId, RevisionNumber};

/// The connection that a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConnection {
    /// The other end, where it has an address of its own: a Unix socket has none.
    pub peer: Option<SocketAddr>,
    /// Whether the client came by TLS.
    pub secure: bool,
}

/// What one request is called, from the door to the instance and back: the `x-request-id` of a
/// client that may be trusted with it, or one of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub HeaderValue);

/// Marks a request of an instance of one's own, which asks another service: what it is called and
/// of which trace it is are kept, so that a chain of calls can be followed to its end. From where
/// it came it may not say, whoever is trusted otherwise: an instance is no proxy, and runs the code
/// of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FromInside;

/// Who answered a request, in the extensions of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedBy {
    /// The instance.
    pub instance: InstanceId,
    /// Of which revision it is.
    pub revision: RevisionNumber,
    /// How many instances were tried, this one included.
    pub attempts: u32,
}

/// Where the queue writes how long a request waited, if somebody put this into its extensions.
/// All clones are one place.
#[derive(Clone, Debug, Default)]
pub struct QueueTime(Arc<AtomicU64>);

impl QueueTime {
    /// How long it waited. Nothing where it did not have to.
    pub fn get(&self) -> Option<Duration> {
        let nanos = self.0.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Writes down how long it waited.
    pub fn set(&self, waited: Duration) {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanos, Ordering::Relaxed);
    }
}
