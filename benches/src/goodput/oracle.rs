//! Who should have been let in, told afterwards, when it is known what came free and when.
//!
//! # Refused though it fitted
//!
//! The queue is first come, first served, so a refused request would have been given the slot that
//! went to the first who came after it and was given one. When that was is in the run's records;
//! it is not worked out from any model. If that is within the request's budget, it fitted.
//!
//! Ten times overloaded, all but one in ten have to be refused, and the queue stands where the next
//! one just fits or just does not. There a coin decides: of a thousand releases of spread service
//! times nobody knows to the last one when they will be done. Whoever fitted only by that coin was
//! not refused wrongly, as whoever is let in by it takes the place of another. So a refusal is held
//! against the queue if the request fitted with [`TO_SPARE`] of its budget left; the strict count
//! stands beside it.
//!
//! # Admitted, then expired
//!
//! It stood in line and was refused in the end, or was served later than its budget. Of all who
//! were let in. Here the coin is no excuse: a client that has waited for nothing is worse off than
//! one refused at once.
//!
//! # Came back as told
//!
//! Who was refused, came back at the exact time it was told, and was served.

use std::{ops::Range, time::Duration};

use super::journal::Record;

/// What part of its budget is left over where one clearly fitted.
pub const TO_SPARE: f64 = 0.1;

/// Counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Verdict {
    /// Attempts.
    pub asked: u64,
    /// Those that were let in: at once, or into the queue.
    pub admitted: u64,
    /// Those of them that were refused in the end, or served too late.
    pub expired: u64,
    /// Those that were refused at once and of which it is known what they would have waited.
    pub refused: u64,
    /// Those of them that fitted, with [`TO_SPARE`].
    pub fitted: u64,
    /// Those of them that fitted, and be it by nothing.
    pub fitted_strictly: u64,
    /// Attempts that were made because a refusal had said when.
    pub returned: u64,
    /// Those of them that were served.
    pub hit: u64,
}

impl Verdict {
    /// Judges the attempts that were made within one of the stretches.
    pub fn of(records: &[Record], stretches: &[Range<Duration>]) -> Self {
        let would = would_be_granted(records);
        let mut verdict = Self::default();
        for (record, would) in records.iter().zip(would) {
            if stretches.iter().any(|stretch| stretch.contains(&record.asked)) {
                verdict.add(record, would);
            }
        }
        verdict
    }

    fn add(&mut self, record: &Record, would: Option<Duration>) {
        self.asked += 1;
        let served = is_good(record);
        if record.attempt > 0 {
            self.returned += 1;
            self.hit += u64::from(served);
        }
        match record.refused {
            Some(told) if !told.had_waited => {
                let Some(would) = would else { return };
                let wait = would - record.asked;
                self.refused += 1;
                self.fitted += u64::from(wait <= record.budget.mul_f64(1.0 - TO_SPARE));
                self.fitted_strictly += u64::from(wait <= record.budget);
            }
            _ => {
                self.admitted += 1;
                self.expired += u64::from(!served);
            }
        }
    }

    /// Part of the refused who fitted.
    pub fn refused_though_it_fit(&self) -> f64 {
        part(self.fitted, self.refused)
    }

    /// Part of those let in who were not served in time.
    pub fn admitted_then_expired(&self) -> f64 {
        part(self.expired, self.admitted)
    }

    /// Part of those who came back as told who were served; nothing if none was told.
    pub fn retry_after_hit(&self) -> Option<f64> {
        (self.returned > 0).then(|| part(self.hit, self.returned))
    }
}

/// Whether it was served, and within its budget.
pub fn is_good(record: &Record) -> bool {
    record.refused.is_none()
        && record.granted.is_some_and(|(at, _)| at - record.asked <= record.budget)
}

/// The most attempts that came because of a refusal within any such stretch, as a rate.
pub fn busiest_return(records: &[Record], stretch: Duration) -> f64 {
    let mut times: Vec<Duration> =
        records.iter().filter(|record| record.attempt > 0).map(|record| record.asked).collect();
    times.sort_unstable();
    let mut from = 0;
    let mut most = 0;
    for (to, at) in times.iter().enumerate() {
        while *at - times[from] >= stretch {
            from += 1;
        }
        most = most.max(to + 1 - from);
    }
    most as f64 / stretch.as_secs_f64()
}

/// When each would have been given a slot had it stood in line: when the first who came after it
/// was given one. Nothing, if no later one was.
fn would_be_granted(records: &[Record]) -> Vec<Option<Duration>> {
    let mut earliest = None;
    let mut would = vec![None; records.len()];
    for (record, would) in records.iter().zip(&mut would).rev() {
        *would = earliest;
        if let Some((at, _)) = record.granted {
            earliest = Some(earliest.map_or(at, |known: Duration| known.min(at)));
        }
    }
    would
}

fn part(some: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::{super::journal::Told, *};

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const ALL: &[Range<Duration>] = &[ms(0)..ms(1_000_000)];

    fn record(asked: u64) -> Record {
        Record {
            due: ms(asked),
            sent: ms(asked),
            asked: ms(asked),
            budget: ms(1_000),
            attempt: 0,
            granted: None,
            answered: ms(asked),
            refused: None,
        }
    }

    fn served(asked: u64, granted: u64) -> Record {
        Record { granted: Some((ms(granted), ms(10))), answered: ms(granted + 10), ..record(asked) }
    }

    fn refused(asked: u64) -> Record {
        Record { refused: Some(Told { come_back: None, had_waited: false }), ..record(asked) }
    }

    fn expired(asked: u64) -> Record {
        let told = Told { come_back: None, had_waited: true };
        Record { refused: Some(told), answered: ms(asked + 1_000), ..record(asked) }
    }

    #[test]
    fn a_refused_one_would_have_had_the_slot_of_the_first_served_behind_it() {
        let of = |granted| {
            // The one before it, and the one behind that was refused too, say nothing.
            let run =
                [served(0, 5), refused(10), refused(11), served(12, granted), served(13, 99_999)];
            let verdict = Verdict::of(&run, &[ms(10)..ms(11)]);
            (verdict.refused, verdict.fitted, verdict.fitted_strictly)
        };
        assert_eq!(of(910), (1, 1, 1), "a tenth of its budget is left");
        assert_eq!(of(911), (1, 0, 1), "less is left, yet it fitted");
        assert_eq!(of(1_010), (1, 0, 1));
        assert_eq!(of(1_011), (1, 0, 0));
    }

    #[test]
    fn a_later_one_that_was_served_earlier_is_the_one_that_counts() {
        let run = [refused(0), served(1, 2_000), served(2, 500)];
        assert_eq!(Verdict::of(&run, ALL).fitted, 1);
    }

    #[test]
    fn nobody_is_judged_by_what_came_before_it_or_not_at_all() {
        let verdict = Verdict::of(&[served(0, 1), refused(10), expired(11)], ALL);
        assert_eq!((verdict.asked, verdict.refused, verdict.fitted), (3, 0, 0));
    }

    #[test]
    fn who_waited_in_vain_or_was_served_late_was_admitted_then_expired() {
        let verdict = Verdict::of(&[served(0, 1_000), served(0, 1_001), expired(0)], ALL);
        assert_eq!((verdict.admitted, verdict.expired), (3, 2));
        assert!((verdict.admitted_then_expired() - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn only_who_came_back_and_was_served_is_a_hit() {
        let again = |record| Record { attempt: 1, ..record };
        let run = [served(0, 1), again(served(5, 5)), again(refused(6)), again(expired(7))];
        let verdict = Verdict::of(&run, ALL);
        assert_eq!((verdict.returned, verdict.hit), (3, 1));
        assert_eq!(Verdict::of(&run[..1], ALL).retry_after_hit(), None);
    }

    #[test]
    fn returns_are_counted_where_they_are_densest() {
        let mut run: Vec<_> = (0..100).map(|n| Record { attempt: 1, ..refused(n * 100) }).collect();
        assert!((busiest_return(&run, ms(500)) - 10.0).abs() < 1e-9);
        run.extend((0..20).map(|_| Record { attempt: 1, ..refused(5_000) }));
        assert!((busiest_return(&run, ms(500)) - 50.0).abs() < 1e-9);
        run.extend((0..1_000).map(|_| refused(5_000)));
        assert!((busiest_return(&run, ms(500)) - 50.0).abs() < 1e-9, "first attempts do not count");
    }
}
