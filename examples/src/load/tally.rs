//! What became of requests.

use std::{collections::BTreeMap, fmt, time::Duration};

use tokio::time::Instant;

use crate::screen::Requests;

/// Counts of requests, by what became of them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// All that were sent, those under way too.
    pub sent: u64,
    /// How many connections they have had at most at the same time.
    pub connections: u64,
    /// Those that were answered as expected, by the version that did.
    pub answered: BTreeMap<String, Answers>,
    /// Those that were refused, by status and reason.
    pub refused: BTreeMap<(u16, String), u64>,
    /// Those that came to nothing.
    pub lost: BTreeMap<Loss, u64>,
    /// The first answer that was not expected, in its own words.
    pub unexpected: Option<String>,
    /// How long those took that were answered.
    pub waits: Waits,
}

/// Answers of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answers {
    /// How many.
    pub count: u64,
    /// When the first came.
    pub first: Instant,
    /// When the last came.
    pub last: Instant,
}

/// A way for a request to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Loss {
    /// There was no connection to be had.
    Unconnected,
    /// The connection broke before the whole answer was there.
    Broken,
    /// There was no whole answer in time.
    TimedOut,
    /// The answer was an error, and no refusal that gives its reason.
    Status(u16),
    /// The answer was none of a version that may answer.
    Unexpected,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered(String),
    Refused(u16, String),
    Unexpected(String),
    Lost(Loss),
}

impl Tally {
    pub(super) fn count(&mut self, outcome: Outcome, took: Duration, now: Instant) {
        match outcome {
            Outcome::Answered(version) => {
                self.waits.record(took);
                let first = Answers { count: 0, first: now, last: now };
                let answers = self.answered.entry(version).or_insert(first);
                answers.count += 1;
                answers.last = now;
            }
            Outcome::Refused(status, reason) => {
                *self.refused.entry((status, reason)).or_default() += 1;
            }
            Outcome::Unexpected(said) => {
                self.unexpected.get_or_insert(said);
                *self.lost.entry(Loss::Unexpected).or_default() += 1;
            }
            Outcome::Lost(loss) => *self.lost.entry(loss).or_default() += 1,
        }
    }

    /// How many were answered as expected.
    pub fn answered(&self) -> u64 {
        self.answered.values().map(|answers| answers.count).sum()
    }

    /// How many were refused.
    pub fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// How many were lost.
    pub fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    /// How many are under way.
    pub fn under_way(&self) -> u64 {
        self.sent - self.answered() - self.refused() - self.lost()
    }
}

/// `38 sent: 30 answered, 8 refused (429 queue_full), 0 lost`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent: {} answered, {} refused", self.sent, self.answered(), self.refused())?;
        let each = self.refused.iter().map(|((status, reason), many)| match self.refused.len() {
            1 => format!("{status} {reason}"),
            _ => format!("{many} x {status} {reason}"),
        });
        in_brackets(f, each)?;
        write!(f, ", {} lost", self.lost())?;
        let each = self.lost.iter().map(|(loss, many)| match (loss, &self.unexpected) {
            (Loss::Unexpected, Some(said)) => format!("{many} x {loss}: {said:?}"),
            _ => format!("{many} x {loss}"),
        });
        in_brackets(f, each)
    }
}

fn in_brackets(f: &mut fmt::Formatter<'_>, each: impl Iterator<Item = String>) -> fmt::Result {
    match each.collect::<Vec<_>>().join(", ") {
        all if all.is_empty() => Ok(()),
        all => write!(f, " ({all})"),
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unconnected => f.write_str("no connection"),
            Self::Broken => f.write_str("connection broke"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Unexpected => f.write_str("an unexpected answer"),
        }
    }
}

impl From<&Tally> for Requests {
    fn from(tally: &Tally) -> Self {
        Self {
            answered: tally.answered(),
            refused: tally.refused(),
            lost: tally.lost(),
            median: tally.waits.quantile(0.5),
            slowest: tally.waits.quantile(0.99),
        }
    }
}

/// Waits, each rounded up by one part in 32 at most, so that there are few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits(BTreeMap<u64, u64>);

impl Waits {
    fn record(&mut self, wait: Duration) {
        *self.0.entry(rounded_up(wait.as_micros() as u64)).or_default() += 1;
    }

    /// What this part of all did not exceed; nothing of no waits.
    pub fn quantile(&self, part: f64) -> Duration {
        let all: u64 = self.0.values().sum();
        let wanted = (all as f64 * part).ceil() as u64;
        let mut seen = 0;
        let found = self.0.iter().find(|(_, many)| {
            seen += *many;
            seen >= wanted.max(1)
        });
        found.map_or(Duration::ZERO, |(micros, _)| Duration::from_micros(*micros))
    }
}

/// With zeros behind its first six binary digits.
const fn rounded_up(micros: u64) -> u64 {
    let step = 1 << (micros | 1).ilog2().saturating_sub(5);
    micros.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_by_a_32nd_at_most() {
        for micros in (0..100_000).chain([1_000_000, 59_999_999]) {
            let rounded = rounded_up(micros);
            assert!(rounded >= micros && rounded <= micros + micros / 32, "{micros}: {rounded}");
        }
    }

    #[test]
    fn a_quantile_is_what_so_many_did_not_exceed() {
        let mut waits = Waits::default();
        assert_eq!(waits.quantile(0.99), Duration::ZERO);
        (0..99).for_each(|_| waits.record(Duration::from_micros(8)));
        waits.record(Duration::from_micros(64_000));
        assert_eq!(waits.quantile(0.5), Duration::from_micros(8));
        assert_eq!(waits.quantile(0.99), Duration::from_micros(8));
        assert_eq!(waits.quantile(1.0), Duration::from_micros(64_000).max(waits.quantile(0.991)));
    }

    #[test]
    fn a_tally_says_what_became_of_each() {
        let mut tally = Tally { sent: 6, ..Tally::default() };
        let now = Instant::now();
        for outcome in [
            Outcome::Answered("v1".into()),
            Outcome::Refused(429, "queue_full".into()),
            Outcome::Lost(Loss::Status(502)),
            Outcome::Unexpected("v0".into()),
            Outcome::Unexpected("v9".into()),
        ] {
            tally.count(outcome, Duration::from_millis(2), now);
        }
        assert_eq!(tally.under_way(), 1);
        assert_eq!(
            tally.to_string(),
            "6 sent: 1 answered, 1 refused (429 queue_full), 3 lost (1 x status 502, \
             2 x an unexpected answer: \"v0\")"
        );
    }
}
