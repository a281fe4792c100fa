//! Verdicts: what the answers mean. Plain values, driven by events, without a clock.
//!
//! - [`Tally`]: rise and fall of one question.
//! - [`InstanceHealth`]: one instance; startup, readiness and liveness apart, when to ask next,
//!   freezing, damping.
//! - [`FleetHealth`]: all instances of a service together, with what
//!   [requests saw](crate::passive) merged in, and who may be replaced.
//!
//! # The rules
//!
//! 1. **Starting.** An instance is [`Starting`](Verdict::Starting) until the startup question has
//!    passed, where there is one, and then readiness. Bad answers do not count against it; only the
//!    start allowance does, after which it is [`NeverReady`](Verdict::NeverReady) for good.
//! 2. **Readiness** goes out after `fall` bad answers in a row and comes in after `rise` good ones.
//! 3. **Liveness** is asked from when the instance was first ready. One that fails it is
//!    [`Failed`](Verdict::Failed) and wants to be replaced, and is asked on: if it recovers before
//!    somebody replaces it, it is taken back.
//! 4. **Damping.** An instance that fails again within a minute of having come back waits for its
//!    next return: the interval, doubled each time, a minute at most.
//! 5. **Frozen** instances are not asked. When one wakes it has the verdict it froze with at once,
//!    is asked at once, and its first answer, if bad, takes it out.
//! 6. **Disturbed** answers do not count: when this program was stopped or the host slept while an
//!    attempt was under way, a bad answer is asked again, at most twice in a row. Start allowances
//!    are longer by what was lost.
//! 7. **What requests saw** ejects only instances that active questions call ready, and never more
//!    than a stated share of those. When fewer are left than that allows, the earliest to return
//!    are taken back: failing open. What failed an active question is never taken back by it.
//! 8. **Replacing.** While some instance is well, whoever wants to be replaced is. While none is,
//!    the fault may lie elsewhere and new instances may be no better: one is replaced at a time,
//!    until an instance passes.
//!
//! # What it is not
//!
//! It does not act: who takes an instance out of the traffic or starts another is for its caller.
//! It does not know why an instance is gone: one whose process ended is removed by its owner.

mod fleet;
mod instance;
mod schedule;
mod tally;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use runner_core::{id::InstanceId, time::Timestamp};

use crate::{
    passive::{Grounds, Outcomes},
    probe::Seen,
};

pub use fleet::{FleetEffect, FleetEvent, FleetHealth};
pub use instance::{InstanceEffect, InstanceEvent, InstanceHealth};
pub use tally::{Tally, Turn};

/// What an instance is held to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "whoever routes or replaces has to know each")]
pub enum Verdict {
    /// It has not been ready yet and is within its start allowance.
    Starting,
    /// It may serve.
    Ready,
    /// Its questions are answered well, and requests that it was given were not.
    Ejected,
    /// It failed readiness.
    Unready,
    /// It failed liveness: it should be replaced.
    Failed,
    /// It was not ready within its start allowance: it should be replaced.
    NeverReady,
    /// It is frozen and not asked.
    Frozen,
}

impl Verdict {
    /// Whether requests may go to it.
    pub const fn may_serve(self) -> bool {
        matches!(self, Self::Ready)
    }
}

/// The three things that are asked of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "each is asked with a probe of its own")]
pub enum Question {
    /// Has it started?
    Startup,
    /// May it be given requests?
    Readiness,
    /// May it go on running?
    Liveness,
}

/// That a question is to be asked: an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which question.
    pub question: Question,
    /// What the answer is given with; an older one is not listened to. An ask replaces those
    /// before it for the same question of the same instance.
    pub ticket: u64,
    /// When to ask.
    pub at: Timestamp,
    /// How long the answer may take.
    pub limit: Duration,
}

/// What came of an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which question.
    pub question: Question,
    /// The ticket of the ask.
    pub ticket: u64,
    /// When the attempt began.
    pub begun: Timestamp,
    /// What it saw.
    pub seen: Seen,
    /// Whether this program was stopped, or the host slept, while the attempt was under way.
    pub disturbed: bool,
}

/// A verdict that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Of which instance.
    pub instance: InstanceId,
    /// What it was.
    pub from: Verdict,
    /// What it is.
    pub to: Verdict,
    /// Why.
    pub cause: Cause,
}

/// Why a verdict changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A question was answered well often enough.
    Passed {
        /// Which.
        question: Question,
        /// How often in a row.
        times: u32,
        /// What was seen last.
        seen: Seen,
    },
    /// A question was answered badly often enough.
    Failed {
        /// Which.
        question: Question,
        /// How often in a row.
        times: u32,
        /// What was seen last.
        seen: Seen,
    },
    /// The first answer after waking was bad.
    FailedAfterWaking {
        /// What was seen.
        seen: Seen,
    },
    /// The start allowance is over.
    StartedTooSlowly {
        /// How long it was.
        allowance: Duration,
        /// Which question had not passed.
        question: Question,
        /// What was seen last.
        seen: Seen,
    },
    /// It was frozen.
    Frozen,
    /// It woke.
    Woken,
    /// Requests that it was given went badly.
    Ejected {
        /// How badly.
        grounds: Grounds,
        /// For how long it is out.
        span: Duration,
    },
    /// The time for which it was out is over.
    ServedItsTime,
    /// Too few others were left.
    FailedOpen,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Ejected => "ejected",
            Self::Unready => "unready",
            Self::Failed => "failed",
            Self::NeverReady => "never ready",
            Self::Frozen => "frozen",
        })
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { question, times, seen } => {
                write!(f, "{question} passed {}: {seen}", Times(*times))
            }
            Self::Failed { question, times, seen } => {
                write!(f, "{question} failed {}: {seen}", Times(*times))
            }
            Self::FailedAfterWaking { seen } => {
                write!(f, "its first answer after waking was bad: {seen}")
            }
            Self::StartedTooSlowly { allowance, question, seen } => {
                write!(f, "{question} did not pass within {allowance:?}; at last: {seen}")
            }
            Self::Frozen => f.write_str("it was frozen"),
            Self::Woken => f.write_str("it woke with the verdict it was frozen with"),
            Self::Ejected { grounds, span } => write!(f, "{grounds}; out for {span:?}"),
            Self::ServedItsTime => f.write_str("it was out for long enough"),
            Self::FailedOpen => f.write_str("too few others are left"),
        }
    }
}

struct Times(u32);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("once"),
            times => write!(f, "{times} times in a row"),
        }
    }
}
