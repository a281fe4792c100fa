//! A refusal is an answer: a status, a reason, and when to come back.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Why;

/// A request that is not served, and what to tell its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// What decided it.
    pub reason: Reason,
    /// How long it would have waited, as far as could be told; for one that waited, how long it
    /// did.
    pub wait: Option<Duration>,
    /// How long it could have waited.
    pub budget: Duration,
    /// When it is worth coming back. Nothing where nobody can tell.
    pub retry_after: Option<Duration>,
    /// How many were waiting.
    pub waiting: u32,
    /// How many slots there were, free or not.
    pub slots: u32,
    /// Why no more could be made to come, where that was so.
    pub unattainable: Option<Why>,
}

/// What decided a [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It would wait too long, and the service is as large as it may be.
    AtMaximum,
    /// The service is going away.
    Draining,
    /// There is no slot, and none is coming.
    NoCapacityComing,
    /// The service is paused.
    Paused,
    /// As many wait as may, or its place went to one whose share was owed.
    QueueFull,
    /// It waited as long as it could, and no slot came.
    WaitedTooLong,
    /// It would wait longer than it can.
    WouldWaitTooLong,
}

impl Reason {
    /// All reasons, in the order in which [`Tally::refused`](super::Tally) counts them.
    pub const ALL: [Self; 7] = [
        Self::AtMaximum,
        Self::Draining,
        Self::NoCapacityComing,
        Self::Paused,
        Self::QueueFull,
        Self::WaitedTooLong,
        Self::WouldWaitTooLong,
    ];

    /// Its place in [`Reason::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason as programs read it: in headers, counters and bodies.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AtMaximum => "at_maximum",
            Self::Draining => "draining",
            Self::NoCapacityComing => "no_capacity_coming",
            Self::Paused => "paused",
            Self::QueueFull => "queue_full",
            Self::WaitedTooLong => "waited_too_long",
            Self::WouldWaitTooLong => "would_wait_too_long",
        }
    }

    /// The status it is answered with unless the service says otherwise: 429 where the client
    /// came too fast, 503 where the service is not able.
    pub const fn status(self) -> u16 {
        match self {
            Self::AtMaximum | Self::QueueFull | Self::WouldWaitTooLong => 429,
            Self::Draining | Self::NoCapacityComing | Self::Paused | Self::WaitedTooLong => 503,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Refusal {
    /// [`retry_after`](Self::retry_after) as the header has it: whole seconds, rounded up, so that
    /// who obeys never comes too early.
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

/// One sentence for people.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waiting, slots, .. } = self;
        let budget = Rounded(self.budget);
        match (self.reason, self.wait) {
            (Reason::AtMaximum, Some(wait)) => write!(
                f,
                "the wait would be {} and may be {budget}; all {slots} slots are taken, {waiting} \
                 wait, and the service is as large as it may be",
                Rounded(wait)
            ),
            (Reason::WouldWaitTooLong, Some(wait)) if slots == &0 => write!(
                f,
                "no instance is there yet and one is being started; the wait would be {} and may \
                 be {budget}",
                Rounded(wait)
            ),
            (Reason::WouldWaitTooLong, Some(wait)) => write!(
                f,
                "the wait would be {} and may be {budget}; all {slots} slots are taken and \
                 {waiting} wait",
                Rounded(wait)
            ),
            (Reason::AtMaximum | Reason::WouldWaitTooLong, None) => {
                write!(f, "the wait would be longer than {budget}; {waiting} wait")
            }
            // Where nothing could be made to come the reason is another.
            (Reason::QueueFull, _) if slots == &0 => {
                write!(f, "no instance is there yet, one is being started, and ")?;
                match waiting {
                    0 => f.write_str("nobody may wait for it"),
                    _ => write!(f, "as many wait for it as may: {waiting}"),
                }
            }
            (Reason::QueueFull, _) => {
                write!(f, "all {slots} slots are taken, and as many wait as may: {waiting}")
            }
            (Reason::WaitedTooLong, wait) => write!(
                f,
                "no slot came within {}; {waiting} wait for {slots} slots",
                Rounded(wait.unwrap_or(self.budget))
            ),
            (Reason::NoCapacityComing, _) => {
                let why = match self.unattainable {
                    Some(Why::AtMaximum) => "the service is as large as it may be",
                    Some(Why::BackendExhausted) => "the backend has nothing left to give",
                    Some(Why::CrashLoop) => "its instances end as soon as they start",
                    Some(Why::Paused) => "the service is paused",
                    Some(Why::Fixed) | None => "nothing starts any here",
                };
                write!(f, "no instance can take the request and none is coming: {why}")
            }
            (Reason::Draining, _) => f.write_str("the service is going away"),
            (Reason::Paused, _) => f.write_str("the service is paused"),
        }
    }
}

/// A duration as people say it: three digits at most matter.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_secs_f64() * 1e3;
        match millis {
            0.0..10.0 => write!(f, "{millis:.1} ms"),
            10.0..1000.0 => write!(f, "{millis:.0} ms"),
            1000.0..10_000.0 => write!(f, "{:.1} s", millis / 1e3),
            _ => write!(f, "{:.0} s", millis / 1e3),
        }
    }
}
