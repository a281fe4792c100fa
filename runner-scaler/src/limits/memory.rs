//! What limits remember between decisions.

use std::{collections::VecDeque, time::Duration};

use runner_core::time::Timestamp;

use super::{Limits, Rate};
use crate::{
    decision::{Count, Seen},
    peaks::Peaks,
};

/// What limits remember.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(super) active: Peaks,
    pub(super) total: Peaks,
    /// What was added and taken, newest last.
    moves: VecDeque<Move>,
    /// When there was last anything to do.
    pub(super) busy: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    at: Timestamp,
    pub(super) out: u32,
    pub(super) r#in: u32,
}

impl Memory {
    /// Remembers so many as wished for and busy at this moment.
    pub(crate) fn resume(&mut self, count: u32, limits: &Limits, now: Timestamp) {
        self.active.push(now, count, limits.standby_after);
        self.total.push(now, count, limits.scale_in_delay);
        self.busy = Some(now);
    }

    /// Takes note of a wish before it is passed.
    pub(crate) fn note(&mut self, wish: Count, limits: &Limits, seen: &Seen, now: Timestamp) {
        // What is not begun now is not to be begun later for having been wished for once.
        let wish = limits.useful(wish, seen);
        self.active.push(now, wish.active, limits.standby_after);
        self.total.push(now, wish.total, limits.scale_in_delay);
        let came = seen.arrival_rate.is_some_and(|rate| rate > 0.0);
        if self.busy.is_none() || came || seen.in_flight + seen.waiting > 0 || wish.total > 0 {
            self.busy = Some(now);
        }
        let longest = [limits.rate_out, limits.rate_in].into_iter().flatten().map(|rate| rate.per);
        let longest = longest.max().unwrap_or(Duration::ZERO);
        while self.moves.front().is_some_and(|one| one.at + longest <= now) {
            self.moves.pop_front();
        }
    }

    /// Takes note of what was decided.
    pub(crate) fn settle(&mut self, count: Count, limits: &Limits, seen: &Seen, now: Timestamp) {
        if limits.rate_out.is_none() && limits.rate_in.is_none() {
            return;
        }
        let present = seen.fleet.active();
        let (out, r#in) =
            (count.active.saturating_sub(present), present.saturating_sub(count.active));
        if out > 0 || r#in > 0 {
            self.moves.push_back(Move { at: now, out, r#in });
        }
    }

    pub(super) fn budget(&self, rate: Rate, now: Timestamp, of: impl Fn(&Move) -> u32) -> u32 {
        let recent = self.moves.iter().filter(|one| one.at + rate.per > now);
        rate.count.saturating_sub(recent.map(of).sum())
    }
}
