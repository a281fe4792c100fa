//! Processor time.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::thousandths;
use crate::spec::InvalidValue;

/// How much of the machine's processors an instance is given, in thousandths of one.
///
/// Written `1 vCPU`, `0.25 vCPU` or `250m`. A bare number counts processors below 256; App
/// Runner's own five numbers (256, 512, 1024, 2048, 4096, where 1024 is one processor) mean what
/// they mean there, and any other bare number from 256 on is refused rather than guessed at.
///
/// ```
/// use runner_core::spec::Cpu;
///
/// assert_eq!("0.25 vCPU".parse::<Cpu>()?.millis(), 250);
/// assert_eq!("1024".parse::<Cpu>()?.to_string(), "1 vCPU");
/// assert!("1000".parse::<Cpu>().is_err());
/// # Ok::<(), runner_core::spec::InvalidValue>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(u32);

impl Cpu {
    /// The most there is: 1,024 processors.
    pub const MAX: Self = Self(1_024_000);

    /// So many thousandths of a processor; none for none at all or above [`MAX`](Self::MAX).
    pub const fn from_millis(millis: u32) -> Option<Self> {
        match millis == 0 || millis > Self::MAX.0 {
            true => None,
            false => Some(Self(millis)),
        }
    }

    /// Thousandths of a processor.
    pub const fn millis(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        match part {
            0 => write!(f, "{whole} vCPU"),
            _ => {
                let part = format!("{part:03}");
                write!(f, "{whole}.{} vCPU", part.trim_end_matches('0'))
            }
        }
    }
}

impl FromStr for Cpu {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |problem: &'static str| {
            let right = "write 0.25 vCPU, 2 vCPU or 250m, up to 1024 vCPU";
            InvalidValue::new(text, problem, right)
        };
        let lower = text.trim().to_ascii_lowercase();
        let millis = if let Some(number) = lower.strip_suffix("vcpu") {
            thousandths(number.trim_end())
        } else if let Some(number) = lower.strip_suffix('m') {
            number.parse().ok().filter(|_| !number.starts_with('+'))
        } else {
            match thousandths(&lower) {
                Some(0..256_000) => thousandths(&lower),
                Some(units @ (256_000 | 512_000 | 1_024_000 | 2_048_000 | 4_096_000)) => {
                    Some(units / 1024)
                }
                Some(_) => return Err(invalid("could be processors or App Runner's units")),
                None => None,
            }
        };
        millis
            .and_then(|millis| Self::from_millis(u32::try_from(millis).ok()?))
            .ok_or_else(|| invalid("is no amount of processor"))
    }
}

impl Serialize for Cpu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn app_runners_forms_and_ours_mean_the_same() {
        for (text, millis) in [
            ("256", 250),
            ("0.25 vCPU", 250),
            ("250m", 250),
            ("1024", 1000),
            ("1 vCPU", 1000),
            ("1VCPU", 1000),
            ("1", 1000),
            ("0.5", 500),
            ("4096", 4000),
            ("4 vCPU", 4000),
            ("255", 255_000),
            ("256 vCPU", 256_000),
        ] {
            assert_eq!(text.parse::<Cpu>().expect(text).millis(), millis, "{text}");
        }
    }

    #[test]
    fn what_could_mean_two_things_or_nothing_is_refused() {
        for text in [
            "",
            "0",
            "0 vCPU",
            "-1",
            "257",
            "1000",
            "1025 vCPU",
            "vCPU",
            "1 core",
            "0.0001 vCPU",
            "+5m",
        ] {
            let refusal = text.parse::<Cpu>().expect_err(text).to_string();
            assert!(refusal.contains("0.25 vCPU"), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_reads_as_it_is_displayed(millis in 1..=1_024_000_u32) {
            let cpu = Cpu::from_millis(millis).expect("within bounds");
            prop_assert_eq!(cpu.to_string().parse::<Cpu>(), Ok(cpu));
        }
    }
}
