//! Times of the clock as cron writes them.
//!
//! Our own, since the crates that read cron bring a calendar or a clock of their own choosing and
//! the five fields are a hundred lines: five sets of small numbers and a search by days.

use std::{ops::RangeInclusive, str::FromStr};

use crate::error::InvalidPolicy;

/// Minute, hour, day of the month, month and day of the week, as in crontab(5).
///
/// Lists, ranges, steps and English names of months and days are read. As there, a day matches
/// by its month or by its week if both fields are restricted.
///
/// ```
/// use runner_scaler::Cron;
///
/// assert!("*/15 8-18 * * mon-fri".parse::<Cron>().is_ok());
/// assert!("0 0 31 2 *".parse::<Cron>().is_err(), "no February has 31 days");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

impl Cron {
    /// The first minute from `local` on that matches; minutes since 1970-01-01T00:00.
    pub(crate) fn next_from(&self, local: i64) -> Option<i64> {
        let today = local.div_euclid(DAY);
        (today..today + LONGEST_SEARCH).filter(|&day| self.matches_day(day)).find_map(|day| {
            let from = if day == today { local.rem_euclid(DAY) } else { 0 };
            let minute = (from..DAY).find(|minute| {
                has(self.hours, (minute / 60) as u32) && has(self.minutes, (minute % 60) as u32)
            })?;
            Some(day * DAY + minute)
        })
    }

    fn matches_day(&self, day: i64) -> bool {
        let (month, of_month) = month_and_day(day);
        // 1970-01-01 was a Thursday.
        let of_week = (day + 4).rem_euclid(7) as u32;
        let (by_month, by_week) = (has(self.days, of_month), has(self.weekdays, of_week));
        let by_day = if self.either_day { by_month || by_week } else { by_month && by_week };
        has(self.months, month) && by_day
    }
}

impl FromStr for Cron {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let invalid = |problem: String| InvalidPolicy::Cron {
            text: text.chars().take(80).collect(),
            problem,
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(invalid(format!("it has {} fields; write five", fields.len())));
        };
        let read = |name: &str, text: &str, range: RangeInclusive<u32>, words: &[&str]| {
            let set = field(text, range.clone(), words);
            set.ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                invalid(format!(
                    "`{text}` is no {name}; write *, {least} to {most}, a-b, a,b or */n"
                ))
            })
        };
        let weekdays = read("day of the week", weekday, 0..=7, &WEEKDAYS)?;
        let cron = Self {
            minutes: read("minute", minute, 0..=59, &[])?,
            hours: read("hour", hour, 0..=23, &[])?,
            days: read("day of the month", day, 1..=31, &[])?,
            months: read("month", month, 1..=12, &MONTHS)?,
            // Sunday is 0 and 7.
            weekdays: weekdays | (weekdays >> 7),
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        match cron.next_from(0) {
            Some(_) => Ok(cron),
            None => Err(invalid("there is no such day".to_owned())),
        }
    }
}

/// The set of numbers that a field names.
fn field(text: &str, range: RangeInclusive<u32>, words: &[&str]) -> Option<u64> {
    let (least, most) = (*range.start(), *range.end());
    let number = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let word = words.iter().position(|word| **word == lower);
        let offset = if words.len() == MONTHS.len() { 1 } else { 0 };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = word.map(|at| at as u32 + offset);
        number.or_else(|| text.parse().ok().filter(|_| digits)).filter(|n| range.contains(n))
    };
    text.split(',').try_fold(0, |set, part| {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last) = match span.split_once('-') {
            _ if span == "*" => (least, most),
            Some((first, last)) => (number(first)?, number(last)?),
            None if part.contains('/') => (number(span)?, most),
            None => (number(span)?, number(span)?),
        };
        (first <= last).then_some(())?;
        let numbers = (first..=last).step_by(step);
        Some(numbers.fold(set, |set, number| set | 1 << number))
    })
}

const fn has(set: u64, number: u32) -> bool {
    set >> number & 1 == 1
}

/// Month and day of the month of a day since 1970-01-01, in the Gregorian calendar.
///
/// Days are counted from a first of March in years of which each four hundred are alike, so that
/// the leap day is the last of its year.
fn month_and_day(day: i64) -> (u32, u32) {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (month as u32, of_month as u32)
}

const DAY: i64 = 24 * 60;
/// The 29th of February may be eight years away.
const LONGEST_SEARCH: i64 = 8 * 366 + 1;
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

#[cfg(test)]
mod tests {
    use runner_core::time::Timestamp;

    use super::*;

    fn next(cron: &str, from: &str) -> String {
        let cron: Cron = cron.parse().expect(cron);
        let from: Timestamp = from.parse().expect(from);
        let minute = cron.next_from((from.as_nanos() / 60_000_000_000) as i64).expect("it comes");
        Timestamp::from_secs(minute as u64 * 60).to_string()
    }

    #[test]
    fn the_next_time_is_found_across_days_months_and_leap_years() {
        for (cron, from, expected) in [
            ("* * * * *", "2026-04-30T12:34:00Z", "2026-04-30T12:34:00Z"),
            ("0 8 * * *", "2026-04-30T08:01:00Z", "2026-05-01T08:00:00Z"),
            ("30 9 * * mon-fri", "2026-05-01T09:31:00Z", "2026-05-04T09:30:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("*/20 6-8/2 * * *", "2026-01-01T06:41:00Z", "2026-01-01T08:00:00Z"),
            ("0 0 * * 7", "2026-04-30T00:00:00Z", "2026-05-03T00:00:00Z"),
            ("0 0 13 * fri", "2026-05-02T00:00:00Z", "2026-05-08T00:00:00Z"),
            ("5 4 1 jan,jul *", "2026-01-01T04:06:00Z", "2026-07-01T04:05:00Z"),
        ] {
            assert_eq!(next(cron, from), expected, "{cron} from {from}");
        }
    }

    #[test]
    fn what_is_no_cron_is_refused_with_the_field() {
        for (bad, word) in [
            ("", "0 fields"),
            ("* * * *", "4 fields"),
            ("60 * * * *", "`60` is no minute"),
            ("* 5-3 * * *", "`5-3` is no hour"),
            ("*/0 * * * *", "`*/0` is no minute"),
            ("* * 0 * *", "no day of the month"),
            ("* * * foo *", "`foo` is no month"),
            ("0 0 31 2 *", "no such day"),
            ("+5 * * * *", "no minute"),
        ] {
            let fault = bad.parse::<Cron>().expect_err(bad).to_string();
            assert!(fault.contains(word), "{bad}: {fault}");
        }
    }
}
