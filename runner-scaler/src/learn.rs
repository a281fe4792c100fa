//! How long a start takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was learned about starts: a mean and a deviation that follow the newest ones.
///
/// A start that is still under way says something too: it takes at least as long as it has taken
/// so far. So when starts become five times slower the estimate follows the first slow one while
/// it is slow, and not only after it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartUp {
    mean: f64,
    deviation: f64,
    count: u32,
    /// How long the oldest that is under way has taken.
    under_way: f64,
}

impl Default for StartUp {
    fn default() -> Self {
        Self { mean: PRIOR.as_secs_f64(), deviation: 0.0, count: 0, under_way: 0.0 }
    }
}

impl StartUp {
    /// A start took so long.
    pub fn handle_start(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.count = self.count.saturating_add(1);
        // The first is believed, later ones in part: the mean of the first few, then the newest.
        let weight = (1.0 / f64::from(self.count)).max(NEWEST_WEIGHT);
        let off = took - self.mean;
        self.mean += off * weight;
        match self.count {
            1 => self.deviation = took * FIRST_DEVIATION,
            _ => self.deviation += (off.abs() - self.deviation) * weight,
        }
    }

    /// The oldest start under way has taken so long; zero when none is.
    pub fn handle_waiting(&mut self, so_far: Duration) {
        self.under_way = so_far.as_secs_f64();
    }

    /// How long a start is expected to take.
    pub fn expected(&self) -> Duration {
        Duration::from_secs_f64(self.mean.max(self.under_way))
    }

    /// How long nearly every start is over in.
    pub fn nearly_all(&self) -> Duration {
        Duration::from_secs_f64((self.mean + 3.0 * self.deviation).max(self.under_way))
    }

    /// How many starts it was learned from.
    pub const fn count(&self) -> u32 {
        self.count
    }
}

/// What is taken for a start before there was one: a container whose image is there.
const PRIOR: Duration = Duration::from_secs(5);
/// A start counts for a fifth: five later a change is believed.
const NEWEST_WEIGHT: f64 = 0.2;
/// How far the next is off when there was only one.
const FIRST_DEVIATION: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_is_believed_and_a_slower_one_while_it_is_under_way() {
        let mut starts = StartUp::default();
        starts.handle_start(Duration::from_secs(3));
        assert_eq!(starts.expected(), Duration::from_secs(3));
        starts.handle_waiting(Duration::from_secs(12));
        assert_eq!(starts.expected(), Duration::from_secs(12));
        starts.handle_waiting(Duration::ZERO);
        for _ in 0..12 {
            starts.handle_start(Duration::from_secs(15));
        }
        assert!(starts.expected() > Duration::from_secs(13), "{starts:?}");
    }
}
