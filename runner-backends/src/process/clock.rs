//! The one place that reads a clock.

use std::time::{Instant, SystemTime};

use runner_core::time::Timestamp;

/// Wall time when it was made, and monotonic time since: it never goes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    wall: Timestamp,
    base: Instant,
}

#[expect(clippy::disallowed_methods, reason = "the shell's own clock, which all the rest asks")]
impl Clock {
    pub(super) fn new() -> Self {
        Self { wall: SystemTime::now().into(), base: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.wall + self.base.elapsed()
    }
}
