//! Amounts of memory, disk and data.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::thousandths;
use crate::spec::InvalidValue;

/// An amount of data, written `64 KB`, `2 GB` or `1.5 GiB`.
///
/// Units are powers of 1,024 whichever way they are spelled, as App Runner has it, where 2 GB are
/// 2048 MB. A bare number is refused: bytes to some, megabytes to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// How much memory an instance may hold: a [`ByteSize`] of at least a megabyte, or one of App
/// Runner's bare numbers of megabytes (512 to 12288).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(ByteSize);

impl ByteSize {
    /// The most there is: a petabyte.
    pub const MAX: Self = Self(1 << 50);

    /// So many bytes; none above [`MAX`](Self::MAX).
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        match bytes > Self::MAX.0 {
            true => None,
            false => Some(Self(bytes)),
        }
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    pub(in crate::spec) const fn kilobytes(count: u32) -> Self {
        Self((count as u64) << 10)
    }

    pub(in crate::spec) const fn gigabytes(count: u16) -> Self {
        Self((count as u64) << 30)
    }
}

impl Memory {
    /// The least that is worth asking for: a megabyte.
    pub const MIN: Self = Self(ByteSize::kilobytes(1024));

    /// This much memory; none below a megabyte.
    pub const fn new(size: ByteSize) -> Option<Self> {
        match size.0 < Self::MIN.0.0 {
            true => None,
            false => Some(Self(size)),
        }
    }

    /// As an amount of data.
    pub const fn size(self) -> ByteSize {
        self.0
    }

    pub(in crate::spec) const fn gigabytes(count: u16) -> Self {
        Self(ByteSize::gigabytes(count))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |problem: &'static str| {
            let right = "write a number and a unit, such as 512 MB or 2 GB, up to 1024 TB";
            InvalidValue::new(text, problem, right)
        };
        let trimmed = text.trim();
        let unit_at = trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| {
            match thousandths(trimmed) {
                Some(_) => invalid("has no unit"),
                None => invalid("is no amount of data"),
            }
        })?;
        let (number, unit) = trimmed.split_at(unit_at);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "b" => 0,
            "kb" | "kib" => 10,
            "mb" | "mib" => 20,
            "gb" | "gib" => 30,
            "tb" | "tib" => 40,
            _ => return Err(invalid("has no unit of data")),
        };
        let number =
            thousandths(number.trim_end()).ok_or_else(|| invalid("is no amount of data"))?;
        let thousandths = u128::from(number) << shift;
        if thousandths % 1000 != 0 {
            return Err(invalid("is no whole number of bytes"));
        }
        u64::try_from(thousandths / 1000)
            .ok()
            .and_then(Self::from_bytes)
            .ok_or_else(|| invalid("is too much"))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Memory {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const APP_RUNNER: [u32; 9] = [512, 1024, 2048, 3072, 4096, 6144, 8192, 10_240, 12_288];
        let size = match text.parse::<u32>() {
            Ok(megabytes) if APP_RUNNER.contains(&megabytes) => {
                ByteSize(u64::from(megabytes) << 20)
            }
            _ => text.parse()?,
        };
        Self::new(size).ok_or_else(|| {
            InvalidValue::new(text, "is too little to run in", "write at least 1 MB")
        })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Memory {
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
        for (text, megabytes) in [
            ("2 GB", 2048),
            ("2048", 2048),
            ("2GiB", 2048),
            ("0.5 GB", 512),
            ("512", 512),
            ("512 mb", 512),
            ("12288", 12_288),
        ] {
            let memory: Memory = text.parse().expect(text);
            assert_eq!(memory.size().bytes(), megabytes << 20, "{text}");
        }
    }

    #[test]
    fn bare_numbers_other_than_app_runners_are_refused() {
        for text in ["1000", "0", "", "2 GBit", "-1 GB", "2000 TB", "0.3 B", "12 B", "GB"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
        assert!("2048".parse::<ByteSize>().is_err(), "bytes or megabytes?");
        assert!("0.3 KB".parse::<ByteSize>().is_err(), "no whole number of bytes");
    }

    proptest! {
        #[test]
        fn every_size_reads_as_it_is_displayed(bytes in 0..=ByteSize::MAX.bytes(), shift in 0..40) {
            let size = ByteSize::from_bytes(bytes >> shift << shift).expect("within bounds");
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }
    }
}
