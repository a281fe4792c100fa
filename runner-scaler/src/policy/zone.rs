//! By whose clock a schedule runs.
//!
//! A fixed offset needs nothing. Named places need the rules of summer time, which change by
//! decree: they come with the `jiff` crate behind the feature `time-zones`, its database built in
//! so that the same program decides the same everywhere. Only its arithmetic is used, never its
//! clock.

use std::str::FromStr;

use runner_core::{spec::UtcOffset, time::Timestamp};

use crate::error::InvalidPolicy;

/// By whose clock a schedule runs: `UTC`, an offset such as `+01:00`, or with the feature
/// `time-zones` a name such as `Europe/Berlin`.
///
/// ```
/// use runner_scaler::Zone;
///
/// assert!("+05:30".parse::<Zone>().is_ok());
/// assert!("Middle-earth/Shire".parse::<Zone>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// Minutes east of UTC.
    Fixed(i64),
    #[cfg(feature = "time-zones")]
    Named(jiff::tz::TimeZone),
}

impl Zone {
    /// The clock of Greenwich, without summer time.
    pub const UTC: Self = Self(Kind::Fixed(0));

    /// Minutes since 1970-01-01T00:00 on this clock.
    pub(crate) fn local(&self, at: Timestamp) -> i64 {
        let minutes = (at.as_nanos() / NANOS_PER_MINUTE) as i64;
        minutes + self.offset(at)
    }

    fn offset(&self, at: Timestamp) -> i64 {
        match &self.0 {
            Kind::Fixed(minutes) => {
                let _ = at;
                *minutes
            }
            #[cfg(feature = "time-zones")]
            Kind::Named(zone) => {
                let nanos = i128::from(at.as_nanos());
                let at = jiff::Timestamp::from_nanosecond(nanos).unwrap_or(jiff::Timestamp::MAX);
                i64::from(zone.to_offset(at).seconds()) / 60
            }
        }
    }

    /// When this clock shows that minute. A minute that summer time skips is taken for the one
    /// as long after the gap began; of one that comes twice the first is meant.
    pub(crate) fn utc(&self, local: i64) -> Timestamp {
        let minutes = match &self.0 {
            Kind::Fixed(offset) => local - offset,
            #[cfg(feature = "time-zones")]
            Kind::Named(zone) => {
                let shown = jiff::Timestamp::from_second(local * 60).ok();
                let civil = shown.map(|at| jiff::tz::TimeZone::UTC.to_datetime(at));
                let at = civil.and_then(|civil| zone.to_timestamp(civil).ok());
                at.map_or(local, |at| at.as_second() / 60)
            }
        };
        Timestamp::from_secs(u64::try_from(minutes * 60).unwrap_or(0))
    }
}

impl FromStr for Zone {
    type Err = InvalidPolicy;

    fn from_str(name: &str) -> Result<Self, InvalidPolicy> {
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Self::UTC);
        }
        if let Ok(offset) = name.parse::<UtcOffset>() {
            return Ok(Self(Kind::Fixed(offset.minutes().into())));
        }
        #[cfg(feature = "time-zones")]
        if let Ok(zone) = jiff::tz::TimeZone::get(name) {
            return Ok(Self(Kind::Named(zone)));
        }
        Err(InvalidPolicy::Zone { name: name.to_owned() })
    }
}

const NANOS_PER_MINUTE: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_ahead_of_utc() {
        let zone: Zone = "+05:30".parse().expect("an offset");
        let noon = Timestamp::from_secs(12 * 3_600);
        assert_eq!(zone.local(noon), 17 * 60 + 30);
        assert_eq!(zone.utc(zone.local(noon)), noon);
    }

    #[cfg(feature = "time-zones")]
    #[test]
    fn berlin_goes_to_summer_time_on_the_last_sunday_of_march() {
        let zone: Zone = "Europe/Berlin".parse().expect("a place");
        let before: Timestamp = "2026-03-29T00:59:00Z".parse().expect("a time");
        let after: Timestamp = "2026-03-29T01:00:00Z".parse().expect("a time");
        assert_eq!(zone.local(before) % 1440, 60 + 59);
        assert_eq!(zone.local(after) % 1440, 3 * 60);
        // 02:30 is skipped: it is as long after the gap began.
        let skipped = zone.local(before) + 31;
        assert_eq!(zone.utc(skipped), "2026-03-29T01:30:00Z".parse().expect("a time"));
    }
}
