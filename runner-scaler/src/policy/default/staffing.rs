//! How many slots keep the wait inside an objective.
//!
//! Where many slots serve one queue, the offered load `r` is that of independent requests and the
//! slots are `r + beta * sqrt(r)`, the part of requests that wait is
//!
//! ```text
//! alpha(beta) = 1 / (1 + beta * Phi(beta) / phi(beta))
//! ```
//!
//! and of those the part that waits longer than `t` is `exp(-beta * sqrt(r) * t / s)` where `s` is
//! the service time (Halfin and Whitt, 1981): free slots come at the pace at which the queue
//! drains. It depends on service times by their mean alone to within a few percent where they vary
//! about as much as their mean. Where the load is burstier than independent requests its square
//! root is widened by as much.
//!
//! Instances come in caps of several slots, so the search is from the offered load up, one
//! instance at a time: mostly one or two steps.

use super::Objective;

/// What is to be served.
pub(super) struct Load {
    /// Arrivals times service time: slots that are busy on average.
    pub(super) offered: f64,
    /// How much wider than by chance it spreads.
    pub(super) scatter: f64,
    /// Seconds that a request holds its slot.
    pub(super) service: f64,
}

pub(super) struct Staffing {
    offered: f64,
    spread: f64,
    /// How many service times a request may wait.
    patience: f64,
    late: f64,
}

impl Staffing {
    pub(super) fn new(load: &Load, objective: Objective) -> Self {
        let offered = load.offered.max(0.0);
        Self {
            offered,
            spread: (offered.sqrt() * load.scatter).max(1e-9),
            patience: objective.wait.as_secs_f64() / load.service.max(1e-6),
            late: 1.0 - objective.part,
        }
    }

    /// The part of requests that would wait longer than they may, with so many slots.
    pub(super) fn too_late(&self, slots: f64) -> f64 {
        let beta = (slots - self.offered) / self.spread;
        if beta <= 0.0 {
            return 1.0;
        }
        let waits = 1.0 / (1.0 + beta * below(beta) / density(beta));
        waits * (-(slots - self.offered) * self.patience).exp()
    }

    /// How many instances of so many slots hold the objective; at most `most`.
    pub(super) fn instances(&self, each: f64, most: u32) -> u32 {
        if self.offered < LEAST {
            return 0;
        }
        let least = ((self.offered / each).ceil() as u32).min(most);
        (least..most)
            .find(|&count| self.too_late(f64::from(count) * each) <= self.late)
            .unwrap_or(most)
    }
}

/// The density of the normal distribution.
fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() * 0.398_942_280_401_432_7
}

/// The part of the normal distribution below `x`, for `x` from 0 on; right to 7 digits
/// (Abramowitz and Stegun, 26.2.17).
fn below(x: f64) -> f64 {
    let t = 1.0 / 0.231_641_9_f64.mul_add(x, 1.0);
    let terms = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let tail = terms.iter().fold(0.0, |sum, term| (sum + term) * t);
    1.0 - density(x) * tail
}

/// A load so small that it asks for nothing by itself: one slot busy for a second in an hour.
const LEAST: f64 = 1.0 / 3_600.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::wait_below, *};

    fn staffing(offered: f64, wait_ms: u64, part: f64) -> Staffing {
        let load = Load { offered, scatter: 1.0, service: 0.2 };
        Staffing::new(&load, wait_below(Duration::from_millis(wait_ms), part))
    }

    /// The exact answer for exponential service times (Erlang's C formula).
    fn erlang(offered: f64, slots: u32, patience: f64) -> f64 {
        let mut blocked = 1.0;
        for n in 1..=slots {
            blocked = offered * blocked / (f64::from(n) + offered * blocked);
        }
        let slots = f64::from(slots);
        let waits = slots * blocked / (slots - offered * (1.0 - blocked));
        waits * (-(slots - offered) * patience).exp()
    }

    #[test]
    fn the_normal_distribution_is_as_tabulated() {
        for (x, expected) in
            [(0.0, 0.5), (1.0, 0.841_344_7), (1.96, 0.975_002_1), (3.09, 0.998_999_2)]
        {
            assert!((below(x) - expected).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn the_part_that_waits_is_near_erlangs_where_objectives_lie() {
        for (offered, slots) in [(13.0, 20), (50.0, 60), (200.0, 220)] {
            let ours = staffing(offered, 0, 0.99).too_late(f64::from(slots));
            let exact = erlang(offered, slots, 0.0);
            assert!((ours / exact).ln().abs() < 0.7, "{offered} {slots}: {ours} {exact}");
        }
    }

    #[test]
    fn more_load_a_shorter_wait_or_a_stricter_part_never_need_fewer() {
        let needed = |offered, wait, part| staffing(offered, wait, part).instances(10.0, 1_000);
        for offered in 1..300 {
            let offered = f64::from(offered);
            assert!(needed(offered, 200, 0.999) <= needed(offered + 1.0, 200, 0.999));
            assert!(needed(offered, 200, 0.999) <= needed(offered, 50, 0.999));
            assert!(needed(offered, 200, 0.99) <= needed(offered, 200, 0.9999));
        }
        assert_eq!(needed(0.0, 200, 0.999), 0);
    }
}
