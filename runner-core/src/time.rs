//! One time for all pure parts.
//!
//! A [`Timestamp`] is nanoseconds since the Unix epoch. Pure parts never ask what time it is: the
//! shell passes `now`, a simulation passes what it likes. The shell's clock is wall time at its
//! start plus monotonic time since, floored by the newest time in the journal, so that time as
//! the machines see it never goes back.

use std::{
    borrow::Cow,
    fmt,
    ops::{Add, AddAssign, Sub},
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in nanoseconds since 1970-01-01T00:00:00Z; good until the year 2554.
///
/// Arithmetic saturates at both ends: a deadline that lies beyond the end of time is the end of
/// time, and what is past its deadline is zero away from it. Written as RFC 3339 text, since the
/// number does not fit in what JSON keeps exactly.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The beginning of the Unix epoch; where simulations start.
    pub const EPOCH: Self = Self(0);
    /// The end of time.
    pub const MAX: Self = Self(u64::MAX);

    /// A time by its nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A time by its milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// A time by its seconds since the Unix epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How long it is from `now` until this; zero when it has passed.
    pub const fn until(self, now: Self) -> Duration {
        self.since(now)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

/// A wall-clock reading; before the epoch is the epoch.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, nanos))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_nanos(time.0)
    }
}

/// RFC 3339 in UTC, with as many digits after the second as it takes to be exact.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339(SystemTime::from(*self)).fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let invalid = || InvalidTimestamp(text.chars().take(80).collect());
        let time = humantime::parse_rfc3339(text).map_err(|_| invalid())?;
        let since = time.duration_since(UNIX_EPOCH).map_err(|_| invalid())?;
        u64::try_from(since.as_nanos()).map(Self).map_err(|_| invalid())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is no time of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time between 1970 and 2554 in UTC, such as 2026-04-30T00:00:00Z")]
pub struct InvalidTimestamp(String);

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_time_hold() {
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH - Duration::from_secs(1), Timestamp::EPOCH);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn it_reads_as_people_write_it_and_refuses_the_rest() {
        assert_eq!(Timestamp::from_secs(1_777_507_200).to_string(), "2026-04-30T00:00:00Z");
        for bad in ["", "yesterday", "1969-12-31T23:59:59Z", "2555-01-01T00:00:00Z"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn it_survives_json_to_the_nanosecond(nanos: u64) {
            let time = Timestamp::from_nanos(nanos);
            let json = serde_json::to_string(&time).expect("a time serialises");
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).expect("and back"), time);
        }

        #[test]
        fn adding_then_measuring_gives_the_span_back(nanos in 0..u64::MAX / 2, span in 0..u64::MAX / 2) {
            let start = Timestamp::from_nanos(nanos);
            let span = Duration::from_nanos(span);
            prop_assert_eq!((start + span).since(start), span);
            prop_assert_eq!((start + span) - span, start);
        }
    }
}
