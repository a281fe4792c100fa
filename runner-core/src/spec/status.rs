//! Statuses that count as good.

use std::{fmt, str::FromStr};

use super::InvalidValue;

/// Statuses that count as good, written `200-299,304`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusRanges(Vec<(u16, u16)>);

impl StatusRanges {
    /// Whether an answer with this status is good.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

/// `200-399`: App Runner does not say what it takes; its users found that redirects pass and that
/// 401 does not.
impl Default for StatusRanges {
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

impl fmt::Display for StatusRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{gap}{first}")?,
                false => write!(f, "{gap}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for StatusRanges {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let code = |text: &str| {
            let text = text.trim();
            let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|code| digits && (100..=599).contains(code))
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range: (u16, u16) = (code(first)?, code(last)?);
            (range.0 <= range.1).then_some(range)
        };
        text.split(',').map(range).collect::<Option<_>>().map(Self).ok_or_else(|| {
            InvalidValue::new(
                text,
                "names no statuses",
                "write statuses and ranges from 100 to 599, such as 200-299,304",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statuses_are_listed_and_ranged() {
        let ranges: StatusRanges = "200-299, 304".parse().expect("ranges");
        assert_eq!(ranges.to_string(), "200-299,304");
        for (status, good) in [(199, false), (200, true), (299, true), (300, false), (304, true)] {
            assert_eq!(ranges.contains(status), good, "{status}");
        }
        for text in ["", ",", "200-", "299-200", "99", "600", "2xx", "+20", "200-299-300"] {
            assert!(text.parse::<StatusRanges>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn statuses_read_as_they_are_displayed(text in "([1-5][0-9]{2}(-[1-5][0-9]{2})?,?){1,4}") {
            if let Ok(ranges) = text.parse::<StatusRanges>() {
                prop_assert_eq!(ranges.to_string().parse::<StatusRanges>(), Ok(ranges));
            }
        }
    }
}
