//! A coarse clock: read often, moved a few times a second.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// Milliseconds since the door was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(pub(super) u64);

impl Tick {
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[derive(Debug)]
pub(super) struct Coarse {
    start: Instant,
    now: AtomicU64,
}

impl Coarse {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), now: AtomicU64::new(0) }
    }

    /// What time it was when somebody last looked.
    #[inline]
    pub(super) fn now(&self) -> Tick {
        Tick(self.now.load(Relaxed))
    }

    /// Looks what time it is.
    pub(super) fn look(&self) -> Tick {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX >> 3);
        Tick(self.now.fetch_max(now, Relaxed).max(now))
    }
}
