//! The one error of this crate and of the traits it asks others to implement.
//!
//! An error says three things as data: whose turn it is to act ([`Blame`]), of which kind it is
//! ([`ErrorKind`]), and whether the same call may succeed later ([`Retry`]). Its message is one
//! level, lower case, and says what to do; what lies beneath is its [`source`](std::error::Error::source).
//! A panic is never an answer to the world: it means a bug.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// What went wrong at the border to the outside.
///
/// ```
/// use runner_core::error::{Blame, Error, ErrorKind, Retry};
///
/// let error = Error::unavailable("nobody answers on /run/engine.sock; is the engine running?");
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert_eq!(error.kind().blame(), Blame::Environment);
/// assert_eq!(error.retry(), Retry::Backoff);
/// ```
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    retry: Retry,
    message: Cow<'static, str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// Of which kind an [`Error`] is: what a program can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller: what it asked for is malformed or contradicts itself.
    Invalid,
    /// The caller: what it names is not there.
    NotFound,
    /// The caller: what it asked for contradicts what already is.
    Conflict,
    /// The caller: this implementation does not offer it; its capabilities say so.
    Unsupported,
    /// The environment: credentials or permissions do not allow it.
    Denied,
    /// The environment: everything there was to give has been given.
    Exhausted,
    /// The environment: nobody answers, or the answer is not the one that was asked for.
    Unavailable,
    /// The environment: the answer took longer than its deadline.
    TimedOut,
    /// The environment: a newer epoch of this platform has been seen, so this caller is the past.
    Fenced,
    /// The environment: what was stored cannot be read back as what it was.
    Corrupt,
    /// A bug, here or in an implementation of a trait: please report it.
    Bug,
}

/// Whose turn it is to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there is nobody else to blame")]
pub enum Blame {
    /// Who asked: ask for something else.
    Caller,
    /// The world around: mend it, or wait.
    Environment,
    /// The code: report it.
    Bug,
}

/// Whether the same call may succeed later without anybody changing what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who retries has to handle each")]
pub enum Retry {
    /// It will fail again until somebody acts.
    Never,
    /// It may succeed; wait as the caller's own back-off says.
    Backoff,
    /// It may succeed after this long, as the other side said.
    After(Duration),
}

impl ErrorKind {
    /// Whose turn it is to act on an error of this kind.
    pub const fn blame(self) -> Blame {
        match self {
            Self::Invalid | Self::NotFound | Self::Conflict | Self::Unsupported => Blame::Caller,
            Self::Denied
            | Self::Exhausted
            | Self::Unavailable
            | Self::TimedOut
            | Self::Fenced
            | Self::Corrupt => Blame::Environment,
            Self::Bug => Blame::Bug,
        }
    }

    /// How an error of this kind is retried unless it says otherwise.
    const fn usual_retry(self) -> Retry {
        match self {
            Self::Exhausted | Self::Unavailable | Self::TimedOut => Retry::Backoff,
            Self::Invalid
            | Self::NotFound
            | Self::Conflict
            | Self::Unsupported
            | Self::Denied
            | Self::Fenced
            | Self::Corrupt
            | Self::Bug => Retry::Never,
        }
    }
}

impl Error {
    /// An error of a kind, with a message that says what to do, lower case and without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, retry: kind.usual_retry(), message: message.into(), source: None }
    }

    /// What was asked for is malformed or contradicts itself.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// What was named is not there.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// This implementation does not offer it.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Everything there was to give has been given; names what ran out.
    pub fn exhausted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Exhausted, message)
    }

    /// Nobody answers, or not as asked.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// A newer epoch has been seen.
    pub fn fenced(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Fenced, message)
    }

    /// A bug.
    pub fn bug(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Bug, message)
    }

    /// Says how the call may be retried, where that differs from what is usual for the kind.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Adds what lies beneath.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Of which kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        self.retry
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn display_is_one_level_and_the_rest_is_the_source() {
        let error = Error::unavailable("cannot read the image list").caused_by(fmt::Error);
        assert_eq!(error.to_string(), "cannot read the image list");
        assert!(error.source().is_some_and(|source| source.is::<fmt::Error>()));
    }

    #[test]
    fn what_the_other_side_said_about_retrying_wins() {
        let after = Retry::After(Duration::from_secs(3));
        assert_eq!(Error::exhausted("no ports left").with_retry(after).retry(), after);
    }
}
