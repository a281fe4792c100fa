//! Whole numbers with bounds.

use std::fmt;

use serde::Serialize;

/// A bounded number, so that one checking function serves them all.
pub(in crate::spec) trait Number: Copy + fmt::Display {
    const LEAST: u64;
    const MOST: u64;

    fn from_number(number: u64) -> Option<Self>;
}

/// A newtype over a whole number that cannot lie outside its bounds.
macro_rules! bounded {
    ($($(#[$doc:meta])* $name:ident($inner:ty) in $least:literal..=$most:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The least there is.
            pub const MIN: Self = Self($least);
            /// The most there is.
            pub const MAX: Self = Self($most);

            /// The number as its type; none outside the bounds.
            pub const fn new(number: $inner) -> Option<Self> {
                // Widened, since a bound may be the inner type's own and then compares always.
                match (number as u64) < ($least as u64) || (number as u64) > ($most as u64) {
                    true => None,
                    false => Some(Self(number)),
                }
            }

            /// The bare number.
            pub const fn number(self) -> $inner {
                self.0
            }
        }

        impl Number for $name {
            const LEAST: u64 = $least;
            const MOST: u64 = $most;

            fn from_number(number: u64) -> Option<Self> {
                <$inner>::try_from(number).ok().and_then(Self::new)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

bounded! {
    /// How often in a row something has to come out the same before it counts.
    Attempts(u32) in 1..=1_000;

    /// How many requests one instance is given at once.
    ///
    /// App Runner ends at 200. The bound here only keeps products of caps and counts small.
    Cap(u32) in 1..=100_000;

    /// How many failures in a row are too many.
    FailureLimit(u8) in 1..=100;

    /// How many header fields a request may have.
    HeaderCount(u32) in 1..=10_000;

    /// How many instances.
    ///
    /// App Runner ends at 25 unless asked. The bound here is what one platform can keep an eye
    /// on; it is no promise that a machine holds as many.
    InstanceCount(u32) in 0..=10_000;

    /// A part of a whole, in whole hundredths; never none of it.
    Percent(u8) in 1..=100;

    /// A TCP port that can be connected to.
    Port(u16) in 1..=65_535;

    /// How many requests may wait.
    ///
    /// Each that waits holds a connection and some kilobytes, so that a million is what a large
    /// machine can hold at all.
    WaitingCount(u32) in 0..=1_000_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_type_and_what_lies_outside_is_nothing() {
        assert_eq!(Cap::new(0), None);
        assert_eq!(Cap::new(1), Some(Cap::MIN));
        assert_eq!(Cap::new(100_001), None);
        assert_eq!(Port::new(0), None);
        assert_eq!(Port::from_number(65_536), None);
        assert_eq!(Port::from_number(65_535), Some(Port::MAX));
        assert_eq!(Percent::from_number(256 + 50), None, "no silent truncation");
        assert_eq!(InstanceCount::new(0).map(InstanceCount::number), Some(0));
    }
}
