//! What a kit found.

use std::{fmt, time::Duration};

/// The result of a kit, check by check in the order in which they ran.
///
/// Its `Display` is a table for people; [`assert`](Self::assert) is for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a report that nobody looks at proves nothing"]
pub struct Report {
    pub(super) subject: String,
    pub(super) checks: Vec<Check>,
    pub(super) timings: Vec<Timing>,
    pub(super) took: Duration,
}

/// One clause of a contract, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// The clause as a sentence; also its name.
    pub name: &'static str,
    /// Whether it holds.
    pub outcome: Outcome,
    /// How long that took to find out.
    pub took: Duration,
}

/// Whether a clause holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a check has no other end")]
pub enum Outcome {
    /// It does.
    Passed,
    /// It does not: what was seen, and what would have been right.
    Failed(String),
    /// It was not asked, because of this.
    Skipped(String),
}

/// How long something took that was done many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// What was done.
    pub what: &'static str,
    /// How often.
    pub count: usize,
    /// Half of them took at most this.
    pub median: Duration,
    /// None took longer.
    pub worst: Duration,
}

impl Report {
    /// What was examined.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// All checks, in the order in which they ran.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// How a check ended, by its name.
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.checks.iter().find(|check| check.name == name).map(|check| &check.outcome)
    }

    /// The names of the checks that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        self.names(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// The names of the checks that were skipped.
    pub fn skipped(&self) -> Vec<&'static str> {
        self.names(|outcome| matches!(outcome, Outcome::Skipped(_)))
    }

    /// How many checks passed.
    pub fn passed(&self) -> usize {
        self.names(|outcome| *outcome == Outcome::Passed).len()
    }

    /// How long what was done many times took.
    pub fn timings(&self) -> &[Timing] {
        &self.timings
    }

    /// How many instances were started and stopped again in a row; zero for other kits.
    pub fn cycles(&self) -> usize {
        self.timings.iter().find(|timing| timing.what == START).map_or(0, |timing| timing.count)
    }

    /// Panics with the table when any check failed.
    ///
    /// # Panics
    ///
    /// When any check failed.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.failed().is_empty(), "{self}");
    }

    /// The report as it is, or as an error when any check failed.
    ///
    /// # Errors
    ///
    /// When any check failed.
    pub fn into_result(self) -> Result<Self, NotConforming> {
        match self.failed().is_empty() {
            true => Ok(self),
            false => Err(NotConforming(self)),
        }
    }

    fn names(&self, which: impl Fn(&Outcome) -> bool) -> Vec<&'static str> {
        self.checks.iter().filter(|check| which(&check.outcome)).map(|check| check.name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "conformance of {}: {} passed, {} failed, {} skipped in {}",
            self.subject,
            self.passed(),
            self.failed().len(),
            self.skipped().len(),
            Span(self.took)
        )?;
        for Check { name, outcome, took } in &self.checks {
            let took = Span(*took).to_string();
            match outcome {
                Outcome::Passed => writeln!(f, "  ok       {took:>8}  {name}")?,
                Outcome::Failed(why) => {
                    writeln!(f, "  FAILED   {took:>8}  {name}\n                      {why}")?;
                }
                Outcome::Skipped(why) => {
                    writeln!(f, "  skipped  {:>8}  {name}\n                      {why}", "")?;
                }
            }
        }
        for Timing { what, count, median, worst } in &self.timings {
            let (median, worst) = (Span(*median), Span(*worst));
            writeln!(f, "  {count} x {what}: median {median}, worst {worst}")?;
        }
        Ok(())
    }
}

impl Timing {
    /// The timing of something that was done at least once.
    pub(super) fn of(what: &'static str, mut spans: Vec<Duration>) -> Option<Self> {
        spans.sort_unstable();
        let worst = *spans.last()?;
        Some(Self { what, count: spans.len(), median: spans[spans.len() / 2], worst })
    }
}

/// A report in which at least one check failed; its message is the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotConforming(Report);

impl NotConforming {
    /// The report.
    pub fn report(&self) -> &Report {
        &self.0
    }
}

/// A span with three digits at most, in the unit that suits it.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros {
            0..1_000 => write!(f, "{micros} us"),
            1_000..1_000_000 => write!(f, "{} ms", micros / 1_000),
            _ => write!(f, "{:.1} s", self.0.as_secs_f64()),
        }
    }
}

/// The timings of the cycles.
pub(super) const START: &str = "start";
pub(super) const STOP: &str = "stop";

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let check =
            |name, outcome, millis| Check { name, outcome, took: Duration::from_millis(millis) };
        Report {
            subject: "memory".to_owned(),
            checks: vec![
                check("a stop ends the instance", Outcome::Passed, 12),
                check("a list is true", Outcome::Failed("it lists 2 of 3".to_owned()), 1500),
                check("capacity is told", Outcome::Skipped("not declared".to_owned()), 0),
            ],
            timings: Timing::of(START, vec![Duration::from_micros(7); 40]).into_iter().collect(),
            took: Duration::from_millis(1512),
        }
    }

    #[test]
    fn it_reads_as_a_table() {
        let expected = "\
conformance of memory: 1 passed, 1 failed, 1 skipped in 1.5 s
  ok          12 ms  a stop ends the instance
  FAILED      1.5 s  a list is true
                      it lists 2 of 3
  skipped            capacity is told
                      not declared
  40 x start: median 7 us, worst 7 us
";
        let text = report().to_string();
        let trimmed: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(trimmed, expected.lines().collect::<Vec<_>>());
    }

    #[test]
    fn one_failed_check_makes_it_an_error() {
        assert_eq!(report().cycles(), 40);
        let error = report().into_result().expect_err("one failed");
        assert_eq!(error.report().failed(), ["a list is true"]);
        let mut good = report();
        good.checks.remove(1);
        good.assert();
        assert!(good.into_result().is_ok());
    }
}
