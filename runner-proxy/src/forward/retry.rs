//! Whether a request is sent again, and where: as a value, from how the last try ended.
//!
//! It is only where that cannot do its work twice:
//!
//! - it certainly was not sent: it was handed back, or there was no connection to send it on; or
//! - doing it twice is the same as once ([idempotent](http::Method::is_idempotent), by RFC 9110),
//!   and its body is in hand: there is none, or all of it was read and is small.
//!
//! A connection that idled and was found closed says nothing about its instance, which is asked
//! once more on a new connection, under the same lease. In all other cases the lease is given back
//! and another asked for, at the head of the queue: the instance that failed is avoided, and the
//! revision stays the same unless nothing was sent. Where none can be reached, there are pauses.

use std::time::Duration;

use super::{counters::Replay, fault::Fault, outgoing::Outgoing};

/// A try that failed.
pub(super) struct Failed {
    /// The body as it was, where nothing of the request was sent.
    pub(super) unsent: Option<Outgoing>,
    pub(super) fault: Fault,
    /// Whether the connection had carried a request before.
    pub(super) was_reused: bool,
}

/// What is done after a try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The same instance, on a new connection.
    Anew(Replay),
    /// Back to the queue.
    Return(Replay),
    /// The client is told.
    GiveUp,
}

impl Next {
    /// Whether there is a body to send again is seen where it is taken.
    pub(super) fn after(
        failed: &Failed,
        is_repeatable: bool,
        is_anew: bool,
        attempts: u32,
    ) -> Self {
        let is_unsent = failed.unsent.is_some();
        match failed.fault {
            // A connection that idled was closed; a new one tells what that means.
            Fault::ClosedEarly if failed.was_reused && !is_anew => match is_unsent {
                true => Self::Anew(Replay::Unwritten),
                false if is_repeatable => Self::Anew(Replay::StaleConnection),
                false => Self::GiveUp,
            },
            fault if fault.is_of_connecting() => match attempts < MOST_UNREACHED {
                true => Self::Return(Replay::Unreached),
                false => Self::GiveUp,
            },
            _ if attempts >= MOST_ATTEMPTS => Self::GiveUp,
            Fault::ClosedEarly if is_unsent => Self::Return(Replay::Unreached),
            Fault::ClosedEarly if is_repeatable => Self::Return(Replay::Unanswered),
            // An answer that is none was an answer, and one that is late may still be worked on.
            _ => Self::GiveUp,
        }
    }
}

/// Whether to wait before the next try, where none could be reached so far: it is the same instance
/// again, which is the only one there is, or a few of them failed already. Most likely they have
/// ended. Soon whoever runs them knows, and the request waits in the queue for the next.
pub(super) fn is_to_pause(attempts: u32, is_same: bool) -> bool {
    is_same || attempts >= MOST_ATTEMPTS
}

/// For how long.
pub(super) fn pause(attempts: u32) -> Duration {
    FIRST_PAUSE * 2_u32.saturating_pow(attempts.saturating_sub(1).min(MOST_UNREACHED))
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// How many instances are sent to: what three of them broke off, a fourth most likely does too.
const MOST_ATTEMPTS: u32 = 3;

/// How many tries are made where none can be reached: with the pauses, a second and a quarter.
const MOST_UNREACHED: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(fault: Fault, is_unsent: bool, was_reused: bool) -> Failed {
        Failed { unsent: is_unsent.then(Outgoing::empty), fault, was_reused }
    }

    #[test]
    fn each_end_of_a_try_has_its_next_step() {
        use Fault::{BadResponse, ClosedEarly, ConnectFailed, ConnectTimedOut, HeadTimedOut};
        use Replay::{StaleConnection, Unanswered, Unreached, Unwritten};
        let (yes, no) = (true, false);
        for (fault, unsent, reused, repeatable, anew, attempts, next) in [
            (ConnectFailed, yes, no, no, no, 1, Next::Return(Unreached)),
            (ConnectTimedOut, yes, no, no, no, 2, Next::Return(Unreached)),
            (ConnectFailed, yes, no, yes, no, 7, Next::Return(Unreached)),
            (ConnectFailed, yes, no, yes, no, 8, Next::GiveUp),
            // Closed while it idled: the same instance is asked once more, and only once.
            (ClosedEarly, yes, yes, no, no, 1, Next::Anew(Unwritten)),
            (ClosedEarly, no, yes, yes, no, 1, Next::Anew(StaleConnection)),
            (ClosedEarly, no, yes, no, no, 1, Next::GiveUp),
            (ClosedEarly, no, yes, yes, no, 3, Next::Anew(StaleConnection)),
            (ClosedEarly, no, no, yes, yes, 1, Next::Return(Unanswered)),
            // Closed on a connection of its own.
            (ClosedEarly, yes, no, no, no, 1, Next::Return(Unreached)),
            (ClosedEarly, no, no, yes, no, 1, Next::Return(Unanswered)),
            (ClosedEarly, no, no, no, no, 1, Next::GiveUp),
            (ClosedEarly, no, no, yes, no, 3, Next::GiveUp),
            // It may have been worked on, or is.
            (BadResponse, no, yes, yes, no, 1, Next::GiveUp),
            (HeadTimedOut, no, no, yes, no, 1, Next::GiveUp),
        ] {
            let failed = failed(fault, unsent, reused);
            let found = Next::after(&failed, repeatable, anew, attempts);
            assert_eq!(found, next, "{fault:?} {unsent} {reused} {repeatable} {anew} {attempts}");
        }
    }

    #[test]
    fn what_may_have_been_worked_on_is_sent_again_only_where_twice_is_as_good_as_once() {
        for bits in 0..8 {
            let [reused, repeatable, anew] = [1, 2, 4].map(|bit| bits & bit != 0);
            for (fault, attempts) in Fault::ALL.map(|fault| [(fault, 1), (fault, 8)]).concat() {
                let next = Next::after(&failed(fault, false, reused), repeatable, anew, attempts);
                let is_safe = repeatable || fault.is_of_connecting();
                assert!(is_safe || next == Next::GiveUp, "{fault:?} {bits:b} {attempts}: {next:?}");
                let is_over = attempts >= MOST_UNREACHED && matches!(next, Next::Return(_));
                assert!(!is_over, "another instance after {fault:?}");
            }
        }
    }

    #[test]
    fn the_pauses_before_one_that_is_out_of_reach_double_and_end() {
        assert_eq!(pause(1), Duration::from_millis(10));
        assert_eq!(pause(2), Duration::from_millis(20));
        let all: Duration = (1..MOST_UNREACHED).map(pause).sum();
        assert_eq!(all, Duration::from_millis(1_270));
        assert!(is_to_pause(1, true) && is_to_pause(3, false));
        assert!(!is_to_pause(1, false) && !is_to_pause(2, false), "another may be well");
    }
}
