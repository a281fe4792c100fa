//! When requests come: an open loop, by a seed.

use std::time::Duration;

use runner_core::testing::random::SplitMix64;

/// How many come in a second, by the time since the start: each stretch ends where it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile(Vec<(Duration, f64)>);

impl Profile {
    /// `calm` until a time, then `rate` to the end.
    pub fn rising(calm: f64, until: Duration, rate: f64, end: Duration) -> Self {
        Self(vec![(until, calm), (end, rate)])
    }

    /// `rate`, and `spike` in between.
    pub fn spike(rate: f64, spike: f64, (from, to): (Duration, Duration), end: Duration) -> Self {
        Self(vec![(from, rate), (to, spike), (end, rate)])
    }

    /// When the last may come.
    pub fn end(&self) -> Duration {
        self.0.last().map_or(Duration::ZERO, |stretch| stretch.0)
    }

    /// The times at which requests come, as if each were sent by another client that knows of no
    /// other: a Poisson process.
    pub fn arrivals(self, seed: u64) -> Arrivals {
        Arrivals { profile: self, dice: SplitMix64::new(seed), at: Duration::ZERO }
    }
}

/// The times since the start at which requests come.
#[derive(Clone, Debug)]
pub struct Arrivals {
    profile: Profile,
    dice: SplitMix64,
    at: Duration,
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let (end, rate) = *self.profile.0.iter().find(|stretch| self.at < stretch.0)?;
            let next = self.at + Duration::from_secs_f64(exponential(&mut self.dice) / rate);
            // Beyond its end a stretch says nothing; the process knows no past, so the next
            // begins anew.
            self.at = next.min(end);
            if next < end {
                return Some(next);
            }
        }
    }
}

/// Evenly between zero and one, and never zero.
pub fn uniform(dice: &mut SplitMix64) -> f64 {
    ((dice.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// A time whose mean is one and of which nothing is known.
pub fn exponential(dice: &mut SplitMix64) -> f64 {
    -uniform(dice).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn each_stretch_has_its_rate_and_none_comes_after_the_end() {
        let profile = Profile::spike(100.0, 2_000.0, (secs(10), secs(20)), secs(30));
        let all: Vec<_> = profile.arrivals(1).collect();
        let within = |from, to| all.iter().filter(|at| (from..to).contains(*at)).count();
        assert!((850..1_150).contains(&within(secs(0), secs(10))));
        assert!((19_500..20_500).contains(&within(secs(10), secs(20))));
        assert!((850..1_150).contains(&within(secs(20), secs(30))));
        assert!(all.is_sorted() && all.last().is_some_and(|last| *last < secs(30)));
    }

    #[test]
    fn a_seed_says_it_all() {
        let times =
            |seed| Profile::rising(50.0, secs(2), 80.0, secs(5)).arrivals(seed).collect::<Vec<_>>();
        assert_eq!(times(7), times(7));
        assert_ne!(times(7), times(8));
    }
}
