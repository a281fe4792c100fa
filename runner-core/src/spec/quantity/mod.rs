//! Quantities as people write them, each a type of its own.
//!
//! Unlike numbers never meet in one type: a [`Cap`] is no [`InstanceCount`], a [`Memory`] no
//! [`ByteSize`] of a disk. Whatever one of these displays as, it also reads; and wherever App
//! Runner has a form of its own ("1 vCPU" and "1024", "2 GB" and "2048"), that is read too.

mod count;
mod cpu;
mod size;
mod span;

pub use count::{
    Attempts, Cap, FailureLimit, HeaderCount, InstanceCount, Percent, Port, WaitingCount,
};
pub use cpu::Cpu;
pub use size::{ByteSize, Memory};
pub use span::{format_duration, parse_duration};

pub(super) use count::Number;
pub(super) use span::LONGEST;

/// A decimal number as a count of thousandths; none when it has a sign, an exponent, more than
/// three decimals, or does not fit.
///
/// No floating point: `0.1` has to be a hundred thousandths and nothing else.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let scale = [100, 10, 1][part.len() - 1];
    let whole: u64 = whole.parse().ok()?;
    let part: u64 = part.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(part * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_are_exact_or_refused() {
        for (text, number) in [
            ("1", Some(1000)),
            ("0.25", Some(250)),
            ("0.1", Some(100)),
            ("1.005", Some(1005)),
            ("1.0005", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(thousandths(text), number, "{text}");
        }
    }
}
