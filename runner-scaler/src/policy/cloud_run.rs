//! Cloud Run's documented targets.

use std::time::Duration;

use super::{Asked, Bounded, Look, Policy, PolicyExt, TargetTracking, just_above, whole};
use crate::{
    decision::{Because, Signal, Wish},
    error::InvalidPolicy,
    limits::Limits,
    observation::Name,
};

/// Six tenths of the processor and six tenths of the cap, the mean of a minute, and nobody waits
/// without an instance being started for it.
///
/// What is documented: both targets, the minute, that a request that finds no room triggers an
/// instance, and that idle ones stay for up to a quarter of an hour. What is not is not guessed.
#[derive(Clone, Debug)]
pub struct CloudRun {
    concurrency: f64,
    cpu: TargetTracking,
    window: Duration,
    samples: std::collections::VecDeque<(runner_core::time::Timestamp, f64)>,
}

impl CloudRun {
    /// The rule with its own targets of the processor and of the cap, 0.1 to 0.95. Default: 0.6.
    ///
    /// # Errors
    ///
    /// When a target is not within what Cloud Run takes.
    pub fn targets(cpu: f64, concurrency: f64) -> Result<Self, InvalidPolicy> {
        InvalidPolicy::check("the target of the processor", cpu, 0.1..=0.95, "0.1 to 0.95")?;
        InvalidPolicy::check("the target of the cap", concurrency, 0.1..=0.95, "0.1 to 0.95")?;
        let cpu = TargetTracking::new(Signal::Cpu, cpu)?.called(Name::fixed("cloud run cpu"));
        let window = Duration::from_secs(60);
        Ok(Self { concurrency, cpu, window, samples: Default::default() })
    }

    /// The rule as it is served: idle instances stay without processor for a quarter of an hour.
    pub fn as_served(minimum: u32, maximum: u32) -> Bounded<Self> {
        let kept = Duration::from_secs(15 * 60);
        Self::default().within(Limits::between(minimum, maximum)).scale_in_delay(kept)
    }
}

impl Default for CloudRun {
    fn default() -> Self {
        Self::targets(0.6, 0.6).expect("the documented targets are within their bounds")
    }
}

impl Policy for CloudRun {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        let load = &look.seen.load;
        let own = load.mean_concurrency();
        while self.samples.front().is_some_and(|(at, _)| *at + self.window <= look.now) {
            self.samples.pop_front();
        }
        // A look between two ticks says the same again and would count twice.
        if self.samples.back().is_none_or(|(at, _)| *at + TICK <= look.now) {
            self.samples.push_back((look.now, own));
        }
        let count = self.samples.len() as f64;
        let all: f64 = self.samples.iter().map(|(_, value)| value).sum();
        let (mean, each) = (all / count, look.seen.slots_each() * self.concurrency);
        let active = whole(mean / each);
        let newest = self.samples.back().filter(|(at, _)| *at == look.now);
        let mut because = Because::new(Signal::Concurrency, mean, each);
        if let Some((_, newest)) = newest {
            because =
                because.more_at(just_above(f64::from(active) * each).mul_add(count, newest - all));
        }
        asked.wish(Wish::new(Name::fixed("cloud run concurrency"), active, because));
        if load.waiting > 0 {
            let (present, each) = (load.present() as f64, look.seen.slots_each());
            let active = whole(present / each);
            let because = Because::new(Signal::Concurrency, present, each)
                .more_at(just_above(f64::from(active) * each).ceil());
            asked.wish(Wish::new(Name::fixed("cloud run pending"), active, because));
        }
        self.cpu.ask(look, asked);
    }
}

/// Half of a usual tick: what is closer is a look in between.
const TICK: Duration = Duration::from_millis(500);
