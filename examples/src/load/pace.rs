//! When the next request is due, whatever became of those before.

use std::time::Duration;

use tokio::time::Instant;

/// So many requests a second, evenly.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    /// The first is due at once. Nothing where none are wanted.
    pub(super) fn new(per_second: f64, now: Instant) -> Option<Self> {
        let gap = Duration::try_from_secs_f64(per_second.recip()).ok()?;
        // Faster than one a microsecond is no rate that anybody means.
        Some(Self { gap: gap.max(Duration::from_micros(1)), next: now })
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// When those were due that are not sent yet. Who is late sends them all: a generator that
    /// skips what it was too slow for finds its server fast.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Instant> {
        let mut due = Vec::new();
        while self.next <= now {
            due.push(self.next);
            self.next += self.gap;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_evenly_and_none_is_skipped() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        let mut pace = Pace::new(100.0, began).expect("a rate");
        assert_eq!(pace.due(began), [began]);
        assert_eq!(pace.due(after(9)), []);
        assert_eq!(pace.next(), after(10));
        assert_eq!(pace.due(after(35)), [after(10), after(20), after(30)]);
        assert_eq!(pace.due(after(1_000)).len(), 97);
    }

    #[test]
    fn no_rate_is_no_pace() {
        for rate in [0.0, -1.0, f64::NAN] {
            assert!(Pace::new(rate, Instant::now()).is_none(), "{rate}");
        }
    }
}
