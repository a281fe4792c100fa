//! The one error of this crate.

use runner_core::error::Blame;

/// What this crate refuses to be made of, by whose turn it is to act.
///
/// Running never fails: what goes wrong with an attempt is something that was
/// [seen](crate::probe::Seen).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller: a value that means nothing.
    #[error("{what} `{found}` {problem}")]
    Invalid {
        /// What was to be made.
        what: &'static str,
        /// What it was to be made of.
        found: String,
        /// Why that cannot be, and what can.
        problem: &'static str,
    },
    /// The caller: something that this build or this backend does not offer.
    #[error("{what} is not possible: {problem}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// Why not, and what to do.
        problem: &'static str,
    },
}

impl Error {
    #[cfg(feature = "http")]
    pub(crate) fn invalid(what: &'static str, found: &str, problem: &'static str) -> Self {
        Self::Invalid { what, found: found.chars().take(80).collect(), problem }
    }

    pub(crate) const fn unsupported(what: &'static str, problem: &'static str) -> Self {
        Self::Unsupported { what, problem }
    }

    /// Whose turn it is to act.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Invalid { .. } | Self::Unsupported { .. } => Blame::Caller,
        }
    }
}
