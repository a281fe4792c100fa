//! The parameters of a policy that meet an objective at least cost.
//!
//! A seeded search over simulations: some points tried at random, then ever smaller
//! changes to the best. A point that meets the objective beats every point that does not; of two
//! that do the cheaper wins, of two that do not the one that comes nearer.
//!
//! Parameters that fit one trace perfectly are worth little: run them on a second one, with
//! [`Tuner::check`], before they are believed.

use serde::{Deserialize, Serialize};

use crate::{
    Bounded, InvalidPolicy, Policy,
    simulator::{Report, Simulation},
};

/// What may be varied: a name, and between what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a name and a range")]
pub struct Parameter {
    /// What it is called.
    pub name: String,
    /// The least it may be.
    pub least: f64,
    /// The most it may be.
    pub most: f64,
    /// Whether equal ratios are equal steps: right for times, wrong for parts.
    pub by_ratio: bool,
}

impl Parameter {
    /// A parameter whose equal differences are equal steps.
    pub fn linear(name: &str, least: f64, most: f64) -> Self {
        Self { name: name.to_owned(), least, most, by_ratio: false }
    }

    /// A parameter whose equal ratios are equal steps; above zero.
    pub fn by_ratio(name: &str, least: f64, most: f64) -> Self {
        Self { name: name.to_owned(), least, most, by_ratio: true }
    }

    /// The value at a part of the way.
    fn at(&self, part: f64) -> f64 {
        match self.by_ratio {
            true => self.least * (self.most / self.least).powf(part),
            false => self.least + (self.most - self.least) * part,
        }
    }
}

/// A search for parameters.
#[derive(Clone, Debug)]
pub struct Tuner {
    parameters: Vec<Parameter>,
    tries: u32,
    seed: u64,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tuned {
    /// The values, in the order of the parameters.
    pub values: Vec<f64>,
    /// What came of them.
    pub report: Report,
    /// How many were tried.
    pub tries: u32,
}

impl Tuner {
    /// A search over these parameters, of so many tries.
    ///
    /// # Errors
    ///
    /// When there is nothing to search or a range is none.
    pub fn new(
        parameters: impl IntoIterator<Item = Parameter>,
        tries: u32,
    ) -> Result<Self, InvalidPolicy> {
        let parameters: Vec<_> = parameters.into_iter().collect();
        if parameters.is_empty() || tries == 0 {
            return Err(InvalidPolicy::Empty { what: "the search" });
        }
        for one in &parameters {
            let least = if one.by_ratio { f64::MIN_POSITIVE } else { f64::MIN };
            let right = "a range, above zero where steps are ratios";
            InvalidPolicy::check("the least of a parameter", one.least, least.., right)?;
            InvalidPolicy::check("the most of a parameter", one.most, one.least..=1e15, right)?;
        }
        Ok(Self { parameters, tries, seed: 1 })
    }

    /// The same with another seed.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Searches. `make` makes a policy of values; values of which it makes none are passed over.
    /// Tells how many tries are over.
    ///
    /// # Errors
    ///
    /// The fault of the last values tried, if none made a policy.
    pub fn search<P: Policy>(
        &self,
        simulation: &Simulation<'_>,
        make: impl Fn(&[f64]) -> Result<Bounded<P>, InvalidPolicy>,
        progress: &mut dyn FnMut(u32),
    ) -> Result<Tuned, InvalidPolicy> {
        let mut dice = Dice(self.seed);
        let mut best: Option<(Vec<f64>, Tuned)> = None;
        let mut fault = InvalidPolicy::Empty { what: "the search" };
        let broad = self.tries.div_ceil(3);
        for tried in 0..self.tries {
            let parts = self.point(tried, broad, best.as_ref().map(|(parts, _)| parts), &mut dice);
            let values: Vec<f64> =
                self.parameters.iter().zip(&parts).map(|(one, part)| one.at(*part)).collect();
            match make(&values).and_then(|policy| simulation.run("tuned", policy)) {
                Ok(report) => {
                    let better = best.as_ref().is_none_or(|(_, best)| beats(&report, &best.report));
                    if better {
                        best = Some((parts, Tuned { values, report, tries: self.tries }));
                    }
                }
                Err(other) => fault = other,
            }
            progress(tried + 1);
        }
        best.map(|(_, tuned)| tuned).ok_or(fault)
    }

    /// How values do on another trace.
    ///
    /// # Errors
    ///
    /// When they make no policy.
    pub fn check<P: Policy>(
        tuned: &Tuned,
        simulation: &Simulation<'_>,
        make: impl Fn(&[f64]) -> Result<Bounded<P>, InvalidPolicy>,
    ) -> Result<Report, InvalidPolicy> {
        simulation.run("tuned", make(&tuned.values)?)
    }

    /// The next point to try, each coordinate a part of its range.
    fn point(&self, tried: u32, broad: u32, best: Option<&Vec<f64>>, dice: &mut Dice) -> Vec<f64> {
        match best {
            Some(best) if tried >= broad => {
                // From a third of the range down to a hundredth.
                let over = f64::from(tried - broad) / f64::from((self.tries - broad).max(1));
                let reach = 0.33 * 0.03_f64.powf(over);
                let step =
                    |part: &f64| (dice.between() * 2.0 - 1.0).mul_add(reach, *part).clamp(0.0, 1.0);
                best.iter().map(step).collect()
            }
            // The first is the middle: often where its author put the default.
            _ if tried == 0 => vec![0.5; self.parameters.len()],
            _ => self.parameters.iter().map(|_| dice.between()).collect(),
        }
    }
}

/// Whether one report is better than another.
fn beats(one: &Report, other: &Report) -> bool {
    match (one.objective_met, other.objective_met) {
        (true, true) => one.cost_usd < other.cost_usd,
        (false, false) => one.within_objective > other.within_objective,
        (met, _) => met,
    }
}

struct Dice(u64);

impl Dice {
    fn between(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(1);
        (crate::simulator::mixed(0x7475_6e65, self.0) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        DefaultPolicy, PolicyExt,
        simulator::{Scenario, Trace},
    };

    #[test]
    fn it_finds_what_is_cheaper_and_still_holds() {
        let trace = Trace::of_counts((0..900).map(|second| 20 + (second / 90 % 4) * 30));
        let (trace, scenario) = (trace.expect("requests"), Scenario::default());
        let simulation = Simulation::new(&trace, &scenario).expect("a scenario");
        let make = |values: &[f64]| {
            let policy = DefaultPolicy::default().idle(Duration::from_secs_f64(values[0]));
            Ok(policy.within(scenario.limits()))
        };
        let tuner = Tuner::new([Parameter::by_ratio("idle", 1.0, 600.0)], 9).expect("a range");
        let mut told = 0;
        let tuned = tuner.search(&simulation, make, &mut |tries| told = tries).expect("one fits");
        let again = tuner.search(&simulation, make, &mut |_| {}).expect("one fits");
        assert_eq!((tuned.values.clone(), told), (again.values, 9));
        let wasteful = simulation.run("wasteful", make(&[600.0]).expect("a policy"));
        assert!(tuned.report.cost_usd < wasteful.expect("it runs").cost_usd);
    }

    #[test]
    fn an_empty_search_is_refused() {
        assert!(Tuner::new([], 10).is_err());
        assert!(Tuner::new([Parameter::linear("a", 2.0, 1.0)], 10).is_err());
        assert!(Tuner::new([Parameter::by_ratio("a", 0.0, 1.0)], 10).is_err());
    }
}
