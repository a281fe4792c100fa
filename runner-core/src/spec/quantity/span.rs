//! Spans of time, as people write them.

use std::{fmt::Write as _, time::Duration};

use crate::spec::InvalidValue;

/// The longest span a specification holds. Whatever is longer is a slip of the pen or wants to be
/// no limit at all, and says so.
pub(in crate::spec) const LONGEST: Duration = Duration::from_secs(3_660 * 24 * 3_600);

/// Reads a span such as `5s`, `250ms`, `2m` or `1h 30m`.
///
/// A bare number is refused: App Runner counts seconds, others milliseconds.
///
/// # Errors
///
/// When the text is no span, has no unit, or is longer than ten years.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidValue> {
    let right = "write a number and a unit, such as 250ms, 5s, 2m or 1h 30m";
    let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if bare {
        let right = format!("write {text}s or {text}ms, whichever is meant");
        return Err(InvalidValue::new(text, "has no unit", right));
    }
    match humantime::parse_duration(text) {
        Ok(span) if span <= LONGEST => Ok(span),
        Ok(_) => Err(InvalidValue::new(text, "is too long", "write at most 3660d")),
        Err(_) => Err(InvalidValue::new(text, "is no span of time", right)),
    }
}

/// Writes a span so that [`parse_duration`] reads it back exactly: `90d`, `1h 30m`, `250ms`.
///
/// Unlike months and years, these units have one length.
pub fn format_duration(span: Duration) -> String {
    const UNITS: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let mut left = span.as_nanos();
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        if left >= nanos {
            let gap = if text.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{gap}{}{unit}", left / nanos);
            left %= nanos;
        }
    }
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_read_as_people_write_them() {
        for (text, millis) in [
            ("5s", 5_000),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h 30m", 5_400_000),
            ("1m30s", 90_000),
            ("0s", 0),
            ("5 sec", 5_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_asked_which_unit_it_means() {
        let refusal = parse_duration("5").expect_err("no unit").to_string();
        assert_eq!(refusal, "`5` has no unit; write 5s or 5ms, whichever is meant");
        for text in ["", "s", "-5s", "5 parsecs", "99999999999999999999s", "4000d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_span_reads_as_it_is_written(secs in 0..=LONGEST.as_secs() - 1, nanos in 0..1_000_000_000_u32) {
            for span in [Duration::new(secs, nanos), Duration::from_secs(secs), Duration::from_nanos(nanos.into())] {
                prop_assert_eq!(parse_duration(&format_duration(span)), Ok(span));
            }
        }
    }
}
