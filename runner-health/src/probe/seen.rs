//! What one attempt saw.

use std::{fmt, time::Duration};

use runner_core::{backend::ExitStatus, spec::StatusRanges};

/// What one attempt saw, good or bad, in a form that a program can match and a person can read.
///
/// ```
/// use runner_health::probe::Seen;
///
/// let seen = Seen::Refused;
/// assert!(!seen.is_good());
/// assert_eq!(seen.to_string(), "the connection was refused: nothing listens there");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// Good: the port took a connection.
    Accepted,
    /// Good: an answer that counts. The text is what it was.
    Answered(Box<str>),
    /// Nobody listens.
    Refused,
    /// No connection for another reason, as the system says it.
    Unreachable(Box<str>),
    /// The connection was taken and then closed: by something that stands before the instance, or
    /// by an instance that cannot serve.
    ClosedAtOnce,
    /// No answer in time.
    TimedOut {
        /// How long was waited.
        limit: Duration,
        /// For what.
        waiting_for: Waiting,
    },
    /// HTTP: an answer with a status that is not among the good ones.
    Status {
        /// Which.
        status: u16,
        /// Where it wanted to send us, for a redirect; it is not followed.
        location: Option<Box<str>>,
        /// Which would have been good.
        wanted: StatusRanges,
    },
    /// HTTP: a good status, and a body that lacks the text asked for.
    BodyLacks {
        /// The text.
        wanted: Box<str>,
        /// How the body begins.
        start: Box<str>,
    },
    /// gRPC: the health service says something else than `SERVING`.
    NotServing(ServingStatus),
    /// gRPC: the call itself ended with a status that is not `OK`.
    GrpcStatus {
        /// Its number, as gRPC assigns them.
        code: u16,
        /// What the server added.
        message: Box<str>,
    },
    /// Whatever answered speaks another protocol, or broke off.
    Garbled(Box<str>),
    /// A command ended with something else than code 0.
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// Its last line, where it can be had.
        last_line: Option<Box<str>>,
    },
    /// It could not be asked at all: the fault is on this side, or of the configuration.
    NotAsked(Box<str>),
    /// A closure of the embedding program said no, in its own words.
    Said(Box<str>),
}

/// For what an attempt was waiting when its time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Waiting {
    /// The connection.
    Connection,
    /// The first of an answer.
    Answer,
    /// The rest of an answer.
    Rest,
    /// A command to end.
    Command,
    /// A probe that did not keep its own time.
    Probe,
}

/// What a gRPC health service says of a service that is not serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ServingStatus {
    /// `UNKNOWN`.
    Unknown,
    /// `NOT_SERVING`.
    NotServing,
    /// `SERVICE_UNKNOWN`.
    ServiceUnknown,
    /// A number that the protocol does not name.
    Other(u64),
}

impl Seen {
    /// Whether it speaks for the instance.
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Accepted | Self::Answered(_))
    }

    /// Whether the attempt waited until its time was over.
    pub const fn is_time_out(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// A good answer in the words of whoever asked.
    pub fn good(words: impl AsRef<str>) -> Self {
        Self::Answered(words_of(words.as_ref()))
    }

    /// A bad answer in the words of whoever asked.
    pub fn bad(words: impl AsRef<str>) -> Self {
        Self::Said(words_of(words.as_ref()))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("the port took a connection"),
            Self::Answered(words) | Self::Said(words) => f.write_str(words),
            Self::Refused => f.write_str("the connection was refused: nothing listens there"),
            Self::Unreachable(words) => write!(f, "there was no connection: {words}"),
            Self::ClosedAtOnce => f.write_str("the connection was taken and closed at once"),
            Self::TimedOut { limit, waiting_for } => {
                write!(f, "{waiting_for} within {limit:?}")
            }
            Self::Status { status, location, wanted } => {
                write!(f, "it answered {status}")?;
                if let Some(location) = location {
                    write!(f, " to {location} (not followed)")?;
                }
                write!(f, ", and {wanted} is good")
            }
            Self::BodyLacks { wanted, start } => {
                write!(f, "its body lacks {wanted:?}; it begins {start:?}")
            }
            Self::NotServing(status) => write!(f, "its health service says {status}"),
            Self::GrpcStatus { code, message } => {
                write!(f, "the health call ended with gRPC status {code}")?;
                match (message.is_empty(), code) {
                    (true, 12) => f.write_str(" (it has no health service)"),
                    (true, _) => Ok(()),
                    (false, _) => write!(f, ": {message}"),
                }
            }
            Self::Garbled(words) => write!(f, "its answer makes no sense: {words}"),
            Self::Exited { status, last_line } => {
                match status {
                    ExitStatus::Code(code) => write!(f, "the command ended with code {code}"),
                    ExitStatus::Signal(signal) => write!(f, "signal {signal} ended the command"),
                    ExitStatus::OutOfMemory => f.write_str("the command ran out of memory"),
                    _ => f.write_str("the command ended, nobody can tell how"),
                }?;
                last_line.as_ref().map_or(Ok(()), |line| write!(f, ": {line}"))
            }
            Self::NotAsked(words) => write!(f, "it could not be asked: {words}"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "no connection",
            Self::Answer => "no answer",
            Self::Rest => "the answer did not end",
            Self::Command => "the command did not end",
            Self::Probe => "the probe did not end",
        })
    }
}

impl fmt::Display for ServingStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("UNKNOWN"),
            Self::NotServing => f.write_str("NOT_SERVING"),
            Self::ServiceUnknown => f.write_str("SERVICE_UNKNOWN"),
            Self::Other(number) => write!(f, "{number}, which the protocol does not name"),
        }
    }
}

/// Words from outside, fit to be kept for each instance and shown on one line of a terminal.
pub(crate) fn words_of(text: &str) -> Box<str> {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let words: String = text.trim().chars().map(plain).take(LONGEST_WORDS).collect();
    words.into()
}

/// What fits on two lines of a terminal; one is kept for each instance.
const LONGEST_WORDS: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_from_outside_are_one_short_line_that_steers_no_terminal() {
        let hostile = format!("\x1b[31mred\nnext{}", "x".repeat(1000));
        let shown = Seen::bad(hostile).to_string();
        assert!(shown.starts_with(" [31mred next") || shown.starts_with("[31mred next"), "{shown}");
        assert!(shown.chars().count() <= LONGEST_WORDS);
        assert!(!shown.contains(['\x1b', '\n']));
    }

    #[test]
    fn what_was_seen_says_what_would_have_been_good() {
        let wanted: StatusRanges = "200-299,304".parse().expect("ranges");
        let seen = Seen::Status { status: 302, location: Some("/login".into()), wanted };
        assert_eq!(
            seen.to_string(),
            "it answered 302 to /login (not followed), and 200-299,304 is good"
        );
        let limit = Duration::from_secs(2);
        let seen = Seen::TimedOut { limit, waiting_for: Waiting::Answer };
        assert_eq!(seen.to_string(), "no answer within 2s");
        let seen = Seen::GrpcStatus { code: 12, message: "".into() };
        assert!(seen.to_string().ends_with("(it has no health service)"));
    }
}
