//! The largest value of a moving window.

use std::{collections::VecDeque, time::Duration};

use runner_core::time::Timestamp;

/// The largest of the newest values: those that a later, larger one has not made irrelevant.
///
/// Values fall from front to back, so there are never more than there are different counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peaks(VecDeque<(Timestamp, u32)>);

impl Peaks {
    pub(crate) fn push(&mut self, now: Timestamp, value: u32, window: Duration) {
        while self.0.back().is_some_and(|&(_, known)| known <= value) {
            self.0.pop_back();
        }
        while self.0.front().is_some_and(|&(at, _)| at + window <= now) {
            self.0.pop_front();
        }
        self.0.push_back((now, value));
    }

    /// The largest of those younger than `window`, and when it was.
    pub(crate) fn largest(&self, window: Duration, now: Timestamp) -> Option<(Timestamp, u32)> {
        self.0.iter().find(|(at, _)| *at + window > now || *at == now).copied()
    }
}
