//! Policies and inputs that cannot be.

/// A policy that contradicts itself. Whoever wrote it is to change it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// More are never frozen than there are.
    #[error(
        "{minimum_active} are never frozen, but there may be only {minimum}; raise the minimum or lower the minimum active"
    )]
    ActiveAboveMinimum {
        /// The least that is never frozen.
        minimum_active: u32,
        /// The minimum.
        minimum: u32,
    },
    /// A cron expression that cannot be read.
    #[error("`{text}` is no cron expression: {problem}")]
    Cron {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing to choose from.
    #[error("{what} is empty; give at least one")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// The minimum is above the maximum.
    #[error(
        "the minimum of {minimum} is above the maximum of {maximum}; raise the one or lower the other"
    )]
    MinimumAboveMaximum {
        /// The minimum.
        minimum: u32,
        /// The maximum.
        maximum: u32,
    },
    /// A limit that would never let anything move.
    #[error("a {name} of zero would never move; leave it out or give at least 1 within some time")]
    NeverMoves {
        /// Which limit.
        name: &'static str,
    },
    /// A maximum of zero.
    #[error("a maximum of 0 would serve nobody; write at least 1")]
    NoMaximum,
    /// Steps that do not rise.
    #[error(
        "the step at {at} does not rise above the one before it; order steps by where they begin, each for more instances"
    )]
    NotRising {
        /// Where the step begins.
        at: f64,
    },
    /// A number outside of what its place allows.
    #[error("{what} is {value}; write {right}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        right: &'static str,
    },
    /// A signal that does not tell how many instances are needed.
    #[error("the clock is no number to hold at a target; use a schedule")]
    ClockAsTarget,
    /// A place whose clock is not known.
    #[error(
        "`{name}` is no time zone; write UTC, an offset such as +01:00, or with the feature `time-zones` a name such as Europe/Berlin"
    )]
    Zone {
        /// What was given.
        name: String,
    },
    /// A time to zero where zero is never reached.
    #[error(
        "a time to zero beside a minimum of {minimum} would never pass; set the minimum to 0 or leave it out"
    )]
    ZeroNeverReached {
        /// The minimum.
        minimum: u32,
    },
}

impl InvalidPolicy {
    /// Refuses a number that is not within a range.
    pub(crate) fn check(
        what: &'static str,
        value: f64,
        range: impl std::ops::RangeBounds<f64>,
        right: &'static str,
    ) -> Result<(), Self> {
        // What is no number is in no range.
        match range.contains(&value) {
            true => Ok(()),
            false => Err(Self::OutOfRange { what, value, right }),
        }
    }
}
