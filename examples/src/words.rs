//! Numbers as people say them.

use std::{error::Error, time::Duration};

/// An error with all that caused it: each says its own level and no other.
///
/// ```
/// use runner_core::Error;
///
/// let error = Error::unavailable("the state cannot be stored").caused_by(std::fmt::Error);
/// let said = runner_examples::words::whole(&error);
/// assert!(said.starts_with("the state cannot be stored: an error occurred"), "{said}");
/// ```
pub fn whole(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

/// A span with as many digits as matter: `0.4 ms`, `38 ms`, `2.5 s`, `70 s`.
///
/// ```
/// use runner_examples::words::span;
/// use std::time::Duration;
///
/// assert_eq!(span(Duration::from_micros(38_400)), "38 ms");
/// assert_eq!(span(Duration::from_millis(9_960)), "10 s");
/// ```
pub fn span(span: Duration) -> String {
    // Rounded before the unit is chosen: 999.7 ms are a second, and not a thousand of something.
    let tenths = (span.as_micros() + 50) / 100;
    match tenths {
        0..100 => format!("{}.{} ms", tenths / 10, tenths % 10),
        100..9_995 => format!("{} ms", (tenths + 5) / 10),
        9_995..99_500 => {
            let tenths = (tenths + 500) / 1_000;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
        _ => format!("{} s", (tenths + 5_000) / 10_000),
    }
}

/// So many of something: `no instance`, `1 instance`, `4 instances`.
///
/// ```
/// assert_eq!(runner_examples::words::count(4, "instance"), "4 instances");
/// ```
pub fn count(number: u64, what: &str) -> String {
    match number {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_the_unit_that_it_rounds_to() {
        for (micros, said) in [
            (0, "0.0 ms"),
            (440, "0.4 ms"),
            (9_949, "9.9 ms"),
            (9_960, "10 ms"),
            (38_400, "38 ms"),
            (999_400, "999 ms"),
            (999_600, "1.0 s"),
            (2_450_000, "2.5 s"),
            (9_940_000, "9.9 s"),
            (9_960_000, "10 s"),
            (70_400_000, "70 s"),
        ] {
            assert_eq!(span(Duration::from_micros(micros)), said, "{micros}");
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!((count(0, "wait"), count(1, "wait")), ("no wait".into(), "1 wait".into()));
    }
}
