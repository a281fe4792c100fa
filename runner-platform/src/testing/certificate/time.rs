//! The clock that all parts of a test share: the machine's monotonic one, which nobody can set.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until};

/// Microseconds since the machine was started.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000 + nanos / 1_000
}

/// The same span in those.
pub(super) const fn micros(span: Duration) -> u64 {
    span.as_secs() * 1_000_000 + span.subsec_micros() as u64
}

/// Lets time pass, between one thing that is done and the next.
pub(super) async fn pause(span: Duration) {
    sleep_until(Instant::now() + span).await;
}
