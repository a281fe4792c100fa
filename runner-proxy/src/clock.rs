//! The shell's clock: wall time at its start plus monotonic time since.

use std::time::{Duration, SystemTime};

use runner_core::time::Timestamp;
use tokio::time::Instant;

/// Tells the time to the ledger. It never goes back, whatever happens to the wall clock, and
/// stands still where tokio's time is paused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    base: Timestamp,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), base: SystemTime::now().into() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.base + self.start.elapsed()
    }

    /// When a timer for `time` is due.
    pub(crate) fn instant(&self, time: Timestamp) -> Instant {
        // A time beyond what the timer counts is as good as never.
        self.start.checked_add(time.since(self.base)).unwrap_or(self.start + FAR)
    }
}

const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
