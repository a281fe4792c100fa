//! What all clones of a [`Forward`](super::Forward) have in common.

use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use http::HeaderValue;

use super::{
    budget::Budget,
    counters::Counters,
    instances::Instances,
    settings::{Settings, TimeLimits},
    tasks::Tasks,
};
use crate::clock::Clock;

pub(super) struct Shared<C> {
    pub(super) connect: C,
    limits: Lock<TimeLimits>,
    pub(super) settings: Settings,
    pub(super) instances: Arc<Instances>,
    pub(super) tasks: Tasks,
    pub(super) budget: Budget,
    pub(super) counters: Counters,
    names: Names,
}

impl<C> Shared<C> {
    pub(super) fn new(
        connect: C,
        limits: TimeLimits,
        settings: Settings,
        instances: Arc<Instances>,
        tasks: Tasks,
        budget: Budget,
    ) -> Self {
        let (counters, names) = (Counters::default(), Names::new());
        let limits = Lock::new(limits);
        Self { connect, limits, settings, instances, tasks, budget, counters, names }
    }

    #[inline]
    pub(super) fn limits(&self) -> TimeLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_limits(&self, limits: TimeLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(super) fn new_name(&self) -> HeaderValue {
        self.names.next()
    }
}

#[expect(clippy::disallowed_types, reason = "held for a copy; nothing is awaited under it")]
type Lock<T> = std::sync::RwLock<T>;

/// Names for requests that come without one: when we began, and a count.
struct Names {
    /// With room for the count.
    start: [u8; START + COUNT],
    count: AtomicU64,
}

impl Names {
    fn new() -> Self {
        let mut start = [b'-'; START + COUNT];
        write_hex(&mut start[..START - 1], Clock::start().now().as_nanos() / 1_000);
        Self { start, count: AtomicU64::new(0) }
    }

    fn next(&self) -> HeaderValue {
        let mut name = self.start;
        write_hex(&mut name[START..], self.count.fetch_add(1, Ordering::Relaxed));
        HeaderValue::from_bytes(&name).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// The lowest digits of a number.
fn write_hex(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number % 16) as usize];
        number /= 16;
    }
}

/// Microseconds until the year 4253, and a dash.
const START: usize = 15;

/// As many as there can be in hundreds of years.
const COUNT: usize = 12;
