//! The shell's clock, and whether the shell was kept from running.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use runner_core::time::Timestamp;
use tokio::time::Instant;

/// Wall time at the start plus monotonic time since, and the wall beside it.
pub(super) struct Clock {
    start: Instant,
    base: Timestamp,
    wall: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) now: Timestamp,
    wall: SystemTime,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub(super) fn start() -> Self {
        Self::with_wall(SystemTime::now)
    }

    /// With tokio's time as the wall too, which then never differs from it. Where that time is
    /// paused the host's runs on, and every moment of work would look like a pause.
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub(super) fn simulated() -> Self {
        let (start, base) = (Instant::now(), SystemTime::now());
        Self::with_wall(move || base + start.elapsed())
    }

    /// With another wall.
    pub(super) fn with_wall(wall: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { start: Instant::now(), base: wall().into(), wall: Box::new(wall) }
    }

    pub(super) fn read(&self) -> Reading {
        let passed = self.start.elapsed();
        Reading { now: self.base + passed, wall: (self.wall)() }
    }

    /// When a timer for `time` is due.
    pub(super) fn instant(&self, time: Timestamp) -> Instant {
        // A time beyond what the timer counts is as good as never.
        self.start.checked_add(time.since(self.base)).unwrap_or(self.start + FAR)
    }
}

impl Reading {
    /// How far the wall went ahead of the monotonic clock since `earlier`, if it did: the host
    /// slept, or somebody set the clock. Both mean that a connection may have been cut meanwhile,
    /// and neither that an instance is ill. A wall that stays behind says nothing: it was set
    /// back.
    pub(super) fn is_jump_since(&self, earlier: &Self) -> bool {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        wall > self.now.since(earlier.now) + SLACK
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A timer that is later than this was not late by load: the program was stopped, or starved to a
/// degree at which its own time-outs mean nothing.
pub(super) const SLACK: Duration = Duration::from_millis(500);
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
