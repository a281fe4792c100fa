//! Steps: from this load on, so many instances.

use super::{Asked, Look, Policy};
use crate::{
    decision::{Because, Signal, Wish},
    error::InvalidPolicy,
    observation::Name,
};

/// A table: from this value of a signal on, so many instances.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    signal: Signal,
    steps: Vec<(f64, u32)>,
}

impl Steps {
    /// Steps by where each begins and how many instances it wishes for, both rising.
    ///
    /// # Errors
    ///
    /// When there are none, when they do not rise, or when the signal is the clock.
    pub fn new(
        signal: Signal,
        steps: impl IntoIterator<Item = (f64, u32)>,
    ) -> Result<Self, InvalidPolicy> {
        if signal == Signal::Clock {
            return Err(InvalidPolicy::ClockAsTarget);
        }
        let steps: Vec<_> = steps.into_iter().collect();
        if steps.is_empty() {
            return Err(InvalidPolicy::Empty { what: "the list of steps" });
        }
        for (at, _) in &steps {
            InvalidPolicy::check("the beginning of a step", *at, 0.0..=1e12, "0 or more")?;
        }
        let fall = steps.windows(2).find(|two| two[1].0 <= two[0].0 || two[1].1 <= two[0].1);
        if let Some(fall) = fall {
            return Err(InvalidPolicy::NotRising { at: fall[1].0 });
        }
        Ok(Self { signal, steps })
    }
}

impl Policy for Steps {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        let Some(value) = self.signal.read(look.seen) else { return };
        let reached = self.steps.partition_point(|(at, _)| *at <= value);
        let (at, active) = reached.checked_sub(1).map_or((0.0, 0), |step| self.steps[step]);
        let mut because = Because::new(self.signal.clone(), value, at);
        because.more_at = self.steps.get(reached).map(|(at, _)| *at);
        asked.wish(Wish::new(Name::fixed("steps"), active, because));
    }
}
