//! Bounds that hold at some times of the week.

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::{
    InstanceCount, InvalidValue,
    check::{Section, Word},
    raw,
};

/// Other bounds at some time of some days.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Schedule {
    /// On which days it begins. Default: on all.
    pub days: BTreeSet<Weekday>,
    /// When it begins. Default: 00:00.
    pub from: TimeOfDay,
    /// When it ends; on the next day if that is not later than its beginning. Default: 24:00.
    pub until: TimeOfDay,
    /// By whose clock, in minutes east of UTC. Default: 0. A fixed offset, since rules of summer
    /// time change by decree and would have to be shipped.
    pub utc_offset: UtcOffset,
    /// The minimum in that time. Default: as at other times.
    pub minimum: Option<InstanceCount>,
    /// The maximum in that time. Default: as at other times.
    pub maximum: Option<InstanceCount>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "their names say it")]
#[expect(clippy::exhaustive_enums, reason = "there will be no eighth")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// A time of day, `00:00` to `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u16);

/// How far a clock is ahead of UTC, `-14:00` to `+14:00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcOffset(i16);

impl Schedule {
    pub(super) fn check(
        raw: raw::Schedule,
        usual: (InstanceCount, InstanceCount),
        at: &mut Section<'_>,
        index: usize,
    ) -> Self {
        let usual_sound = at.sound(&["minimum", "maximum"]);
        let mut at = at.element("schedules", index);
        let schedule = Self {
            days: at.words("days", &raw.days),
            from: at.parsed("from", raw.from).unwrap_or(TimeOfDay::MIDNIGHT),
            until: at.parsed("until", raw.until).unwrap_or(TimeOfDay::END),
            utc_offset: at.parsed("utc_offset", raw.utc_offset).unwrap_or_default(),
            minimum: at.number_or_none("minimum", raw.minimum),
            maximum: at.number_or_none("maximum", raw.maximum),
        };
        if schedule.from == schedule.until && at.sound(&["from", "until"]) {
            at.fault(
                "until",
                schedule.until,
                "is when it begins",
                "write 00:00 and 24:00 for the whole day",
            );
        }
        if raw.minimum.is_none() && raw.maximum.is_none() && at.sound(&["minimum", "maximum"]) {
            at.missing_here("changes nothing", "write a minimum, a maximum or both");
        }
        if schedule.maximum == Some(InstanceCount::MIN) {
            at.fault("maximum", 0, "would serve nobody", "write at least 1");
        }
        let minimum = schedule.minimum.unwrap_or(usual.0);
        let maximum = schedule.maximum.unwrap_or(usual.1);
        if minimum > maximum && usual_sound && at.sound(&["minimum", "maximum"]) {
            let name = if schedule.minimum.is_some() { "minimum" } else { "maximum" };
            at.fault(
                name,
                if schedule.minimum.is_some() { minimum } else { maximum },
                format!("leaves a minimum of {minimum} above a maximum of {maximum}"),
                "raise the one or lower the other, here or at other times",
            );
        }
        schedule
    }
}

impl From<&Schedule> for raw::Schedule {
    fn from(schedule: &Schedule) -> Self {
        Self {
            days: schedule.days.iter().map(|day| day.word().to_owned()).collect(),
            from: Some(schedule.from.to_string()),
            until: Some(schedule.until.to_string()),
            utc_offset: Some(schedule.utc_offset.to_string()),
            minimum: schedule.minimum.map(|count| count.number().into()),
            maximum: schedule.maximum.map(|count| count.number().into()),
        }
    }
}

impl TimeOfDay {
    /// Where a day begins.
    pub const MIDNIGHT: Self = Self(0);
    /// Where it ends.
    pub const END: Self = Self(24 * 60);

    /// Minutes since midnight.
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl UtcOffset {
    /// Minutes east of UTC.
    pub fn minutes(self) -> i16 {
        self.0
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl FromStr for TimeOfDay {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match clock_minutes(text) {
            Some(minutes) if minutes <= Self::END.0 => Ok(Self(minutes)),
            _ => Err(InvalidValue::new(text, "is no time of day", "write 00:00 to 24:00")),
        }
    }
}

impl FromStr for UtcOffset {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let read = || {
            let minutes = clock_minutes(text.strip_prefix(['+', '-'])?)?;
            let minutes = i16::try_from(minutes).ok().filter(|minutes| *minutes <= 14 * 60)?;
            Some(Self(if text.starts_with('-') { -minutes } else { minutes }))
        };
        read().ok_or_else(|| {
            InvalidValue::new(
                text,
                "is no offset from UTC",
                "write -14:00 to +14:00, such as +01:00",
            )
        })
    }
}

fn clock_minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let minutes = two(minutes).filter(|minutes| *minutes < 60)?;
    Some(two(hours)? * 60 + minutes)
}

impl Word for Weekday {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("monday", Self::Monday),
        ("tuesday", Self::Tuesday),
        ("wednesday", Self::Wednesday),
        ("thursday", Self::Thursday),
        ("friday", Self::Friday),
        ("saturday", Self::Saturday),
        ("sunday", Self::Sunday),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_read_as_they_are_displayed() {
        for text in ["00:00", "08:30", "24:00"] {
            assert_eq!(text.parse::<TimeOfDay>().expect(text).to_string(), text);
        }
        for text in ["", "8:30", "24:01", "12:60", "noon", "-1:00", "+8:00"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
        for text in ["+00:00", "-03:30", "+14:00"] {
            assert_eq!(text.parse::<UtcOffset>().expect(text).to_string(), text);
        }
        for text in ["", "01:00", "+14:01", "+1", "UTC"] {
            assert!(text.parse::<UtcOffset>().is_err(), "{text}");
        }
    }
}
