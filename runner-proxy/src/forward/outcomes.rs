//! How requests went, instance by instance: counters that are pulled.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use super::fault::Fault;

/// How requests to one instance went, since it was first asked.
///
/// Each number only grows, but for the two that count in a row: whoever judges instances takes the
/// difference to what it saw before ([`since`](Self::since)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceOutcomes {
    /// Requests that ended one way or the other. One whose client left is none of them.
    pub requests: u64,
    /// Those that ended in a way that speaks against the instance: it could not be connected to,
    /// answered with a status of 500 to 599, broke off, or was too slow.
    pub errors: u64,
    /// Those errors that were failed connections.
    pub connect_failures: u64,
    /// Those that were a status of 500 to 599.
    pub server_errors: u64,
    /// Those that were connections closed, or answers that are none, before a response began.
    pub resets: u64,
    /// Those that were a response which did not begin in time.
    pub timeouts: u64,
    /// Responses that broke off after they had begun; each is one of `requests` by its head.
    pub broken_bodies: u64,
    /// Responses that were not over when the time of their request was; no error, since it may be
    /// the client that is slow.
    pub late_bodies: u64,
    /// Errors since the last good response.
    pub errors_in_a_row: u64,
    /// Failed connections since the last good one.
    pub connect_failures_in_a_row: u64,
    /// Responses that began.
    pub heads: u64,
    /// How long it took from sending each request until its response began, added up.
    pub head_time: Duration,
    /// The same times, counted by their length.
    pub head_times: HeadTimes,
}

impl InstanceOutcomes {
    /// What was added since an earlier look; what counts in a row stands as it is.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            connect_failures: self.connect_failures.saturating_sub(earlier.connect_failures),
            server_errors: self.server_errors.saturating_sub(earlier.server_errors),
            resets: self.resets.saturating_sub(earlier.resets),
            timeouts: self.timeouts.saturating_sub(earlier.timeouts),
            broken_bodies: self.broken_bodies.saturating_sub(earlier.broken_bodies),
            late_bodies: self.late_bodies.saturating_sub(earlier.late_bodies),
            errors_in_a_row: self.errors_in_a_row,
            connect_failures_in_a_row: self.connect_failures_in_a_row,
            heads: self.heads.saturating_sub(earlier.heads),
            head_time: self.head_time.saturating_sub(earlier.head_time),
            head_times: self.head_times.since(&earlier.head_times),
        }
    }
}

/// Times until responses began, counted in four steps to each doubling: up to a millisecond, up to
/// 1.19, 1.41, 1.68, 2 and so on to more than two minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadTimes([u32; Self::STEPS]);

impl Default for HeadTimes {
    fn default() -> Self {
        Self([0; Self::STEPS])
    }
}

impl HeadTimes {
    const STEPS: usize = 70;

    /// Counts a time.
    pub fn record(&mut self, took: Duration) {
        let step = &mut self.0[Self::step_of(micros(took))];
        *step = step.wrapping_add(1);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.wrapping_add(more);
        }
    }

    /// A time that at least this part of them did not exceed, at most a fifth too long; nothing
    /// where there are none.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let step = self.0.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        })?;
        Some(Duration::from_micros((1_000.0 * (step as f64 / 4.0).exp2()) as u64))
    }

    fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (count, before) in since.0.iter_mut().zip(earlier.0) {
            // A step that went round in between is none the less for it.
            *count = count.wrapping_sub(before);
        }
        since
    }

    /// By whole numbers alone: the doubling by its highest bit, the quarter of it by comparison.
    fn step_of(micros: u64) -> usize {
        let Some(above) = (micros / 1_000).checked_ilog2() else { return 0 };
        let part = (micros << 10) / (1_000 << above);
        // 2^(1/4), 2^(1/2) and 2^(3/4) in 1,024ths; a whole millisecond is in the lowest step.
        let quarter = [1_024, 1_218, 1_448, 1_722].iter().filter(|least| part > **least).count();
        (above as usize * 4 + quarter).min(Self::STEPS - 1)
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX >> 10)
}

/// The counters of one instance. All are relaxed: nothing is decided from two of them at once.
#[derive(Debug)]
pub(super) struct Outcomes {
    /// Good responses: all heads but those with a server error.
    good: AtomicU64,
    connect_failures: AtomicU64,
    server_errors: AtomicU64,
    resets: AtomicU64,
    timeouts: AtomicU64,
    broken_bodies: AtomicU64,
    late_bodies: AtomicU64,
    errors_in_a_row: AtomicU64,
    connect_failures_in_a_row: AtomicU64,
    head_micros: AtomicU64,
    head_times: [AtomicU32; HeadTimes::STEPS],
}

impl Default for Outcomes {
    fn default() -> Self {
        Self {
            good: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            server_errors: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            broken_bodies: AtomicU64::new(0),
            late_bodies: AtomicU64::new(0),
            errors_in_a_row: AtomicU64::new(0),
            connect_failures_in_a_row: AtomicU64::new(0),
            head_micros: AtomicU64::new(0),
            head_times: [const { AtomicU32::new(0) }; HeadTimes::STEPS],
        }
    }
}

impl Outcomes {
    /// A response began.
    #[inline]
    pub(super) fn handle_head(&self, is_server_error: bool, took: Duration) {
        let micros = micros(took);
        self.head_micros.fetch_add(micros, Ordering::Relaxed);
        self.head_times[HeadTimes::step_of(micros)].fetch_add(1, Ordering::Relaxed);
        forget(&self.connect_failures_in_a_row);
        if is_server_error {
            self.server_errors.fetch_add(1, Ordering::Relaxed);
            self.errors_in_a_row.fetch_add(1, Ordering::Relaxed);
        } else {
            self.good.fetch_add(1, Ordering::Relaxed);
            forget(&self.errors_in_a_row);
        }
    }

    /// No response came.
    pub(super) fn handle_fault(&self, fault: Fault) {
        let counter = match fault {
            Fault::ConnectFailed | Fault::ConnectTimedOut => {
                self.connect_failures_in_a_row.fetch_add(1, Ordering::Relaxed);
                &self.connect_failures
            }
            Fault::ClosedEarly | Fault::BadResponse => &self.resets,
            Fault::HeadTimedOut => &self.timeouts,
            // None of these is the instance's.
            Fault::TotalTimedOut
            | Fault::CodingNotSupported
            | Fault::ConnectNotAllowed
            | Fault::NotAssigned
            | Fault::ProtocolNotSupported
            | Fault::RequestBroke
            | Fault::Stopping
            | Fault::Unreachable => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.errors_in_a_row.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn handle_broken_body(&self) {
        self.broken_bodies.fetch_add(1, Ordering::Relaxed);
        self.errors_in_a_row.fetch_add(1, Ordering::Relaxed);
    }

    /// The time of a request was over while its response came: whose fault, nobody can tell.
    pub(super) fn handle_late_body(&self) {
        self.late_bodies.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> InstanceOutcomes {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (good, server_errors) = (of(&self.good), of(&self.server_errors));
        let (connect_failures, resets) = (of(&self.connect_failures), of(&self.resets));
        let (timeouts, broken_bodies) = (of(&self.timeouts), of(&self.broken_bodies));
        let errors = server_errors + connect_failures + resets + timeouts + broken_bodies;
        InstanceOutcomes {
            requests: good + server_errors + connect_failures + resets + timeouts,
            errors,
            connect_failures,
            server_errors,
            resets,
            timeouts,
            broken_bodies,
            late_bodies: of(&self.late_bodies),
            errors_in_a_row: of(&self.errors_in_a_row),
            connect_failures_in_a_row: of(&self.connect_failures_in_a_row),
            heads: good + server_errors,
            head_time: Duration::from_micros(of(&self.head_micros)),
            head_times: HeadTimes(
                self.head_times.each_ref().map(|count| count.load(Ordering::Relaxed)),
            ),
        }
    }
}

/// Written only where there is something to forget, so that good responses share the line.
#[inline]
fn forget(in_a_row: &AtomicU64) {
    if in_a_row.load(Ordering::Relaxed) != 0 {
        in_a_row.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_never_too_short_and_at_most_a_fifth_too_long() {
        for millis in [1.0, 1.19, 1.5, 2.0, 2.01, 7.3, 99.0, 100.0, 1_000.0, 60_000.0] {
            let took = Duration::from_secs_f64(millis / 1e3);
            let mut times = HeadTimes::default();
            (0..99).for_each(|_| times.record(took));
            times.record(Duration::from_secs(100_000));
            let seen = times.quantile(0.99).expect("there are some");
            assert!(seen >= took.mul_f64(0.998) && seen <= took.mul_f64(1.2), "{took:?} {seen:?}");
            assert!(times.quantile(0.995) > Some(Duration::from_secs(120)));
        }
        assert_eq!(HeadTimes::default().quantile(0.99), None);
        let mut fast = HeadTimes::default();
        fast.record(Duration::ZERO);
        assert_eq!(fast.quantile(0.5), Some(Duration::from_millis(1)));
    }

    #[test]
    fn each_outcome_is_counted_as_what_it_is() {
        let outcomes = Outcomes::default();
        let took = Duration::from_micros(5);
        outcomes.handle_fault(Fault::ConnectFailed);
        outcomes.handle_fault(Fault::ConnectTimedOut);
        let seen = outcomes.read();
        assert_eq!((seen.connect_failures_in_a_row, seen.errors_in_a_row), (2, 2));
        outcomes.handle_head(true, took);
        let seen = outcomes.read();
        assert_eq!((seen.connect_failures_in_a_row, seen.errors_in_a_row), (0, 3));
        outcomes.handle_fault(Fault::ClosedEarly);
        outcomes.handle_fault(Fault::BadResponse);
        outcomes.handle_fault(Fault::HeadTimedOut);
        outcomes.handle_fault(Fault::RequestBroke);
        outcomes.handle_broken_body();
        let before = outcomes.read();
        assert_eq!((before.requests, before.errors, before.errors_in_a_row), (6, 7, 7));
        assert_eq!((before.resets, before.timeouts, before.broken_bodies), (2, 1, 1));
        outcomes.handle_head(false, took);
        let seen = outcomes.read();
        assert_eq!((seen.heads, seen.head_time, seen.errors_in_a_row), (2, took * 2, 0));
        let added = seen.since(before);
        assert_eq!((added.requests, added.errors, added.heads, added.head_time), (1, 0, 1, took));
    }
}
