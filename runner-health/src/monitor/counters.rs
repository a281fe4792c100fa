//! What the monitor counts.

use std::time::Duration;

/// Counters since the monitor was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MonitorCounters {
    /// Attempts that were started.
    pub started: u64,
    /// Attempts that ended by themselves.
    pub answered: u64,
    /// Those of them that were good.
    pub good: u64,
    /// Those of them during which this program was stopped or the host slept.
    pub disturbed: u64,
    /// How often the monitor noticed that it had not run.
    pub losses: u64,
}

/// How late attempts were started, in steps that double.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness([u64; STEPS]);

impl Lateness {
    pub(super) fn count(&mut self, late: Duration) {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX) / LEAST_MICROS;
        let step = (u64::BITS - micros.leading_zeros()) as usize;
        self.0[step.min(STEPS - 1)] += 1;
    }

    /// What was counted after `earlier`, which was read from the same monitor.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (step, before) in since.0.iter_mut().zip(earlier.0) {
            *step = step.saturating_sub(before);
        }
        since
    }

    /// How many attempts were counted.
    pub fn attempts(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Not more than this late was the given part of all; the upper end of a step. Zero when
    /// nothing was counted.
    pub fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.attempts() as f64 * part.clamp(0.0, 1.0)).ceil() as u64;
        let mut counted = 0;
        let reached = self.0.iter().position(|step| {
            counted += step;
            counted >= wanted && counted > 0
        });
        reached.map_or(Duration::ZERO, |step| Duration::from_micros(LEAST_MICROS << step))
    }
}

/// An eighth of a millisecond: the first step is below what a timer can do.
const LEAST_MICROS: u64 = 125;
/// Up to a minute and a half.
const STEPS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_upper_end_of_its_step() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.quantile(0.5), Duration::ZERO);
        for _ in 0..999 {
            lateness.count(Duration::from_micros(300));
        }
        lateness.count(Duration::from_millis(90));
        assert_eq!(lateness.quantile(0.5), Duration::from_micros(500));
        assert_eq!(lateness.quantile(0.999), Duration::from_micros(500));
        assert_eq!(lateness.quantile(1.0), Duration::from_millis(128));
        lateness.count(Duration::MAX);
        assert_eq!(lateness.attempts(), 1001);
    }
}
