//! The shell's clock: wall time at its start plus monotonic time since, never before the newest
//! time on record.

use std::time::SystemTime;

use runner_core::time::Timestamp;
use tokio::time::Instant;

/// Tells the time to the machines. It never goes back, over restarts too, and stands still where
/// tokio's time is paused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    base: Timestamp,
    is_simulated: bool,
}

impl Clock {
    /// Wall time from now on, not before `floor`.
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub(crate) fn start(floor: Timestamp) -> Self {
        Self::starting_at(Timestamp::from(SystemTime::now()).max(floor))
    }

    pub(crate) fn starting_at(base: Timestamp) -> Self {
        Self { start: Instant::now(), base, is_simulated: false }
    }

    /// Tokio's time is all the time there is: nobody is to look at the host's clock beside it.
    #[cfg(feature = "testing")]
    pub(crate) fn simulated(base: Timestamp) -> Self {
        Self { is_simulated: true, ..Self::starting_at(base) }
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.is_simulated
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

const FAR: std::time::Duration = std::time::Duration::from_secs(86_400 * 365 * 30);
