//! What it costs at least, and what it costs who knows the future.
//!
//! **The lower bound** is that of a problem that is easier than the real one in every respect: no
//! start-up, no waking, requests that may be cut in pieces and served at any time. Two things hold
//! there as well, for whatever serves the same requests:
//!
//! - Work: an active instance gives at most its cap of slot time, so the processors are billed for
//!   at least the work divided by the cap.
//! - Cover: each request is served at a moment at which something is active, at most its patience
//!   after it came. The times at which anything is active fall apart into stretches, each billed
//!   for its length and for a minute at least. Whoever is served in a stretch of length `l` came
//!   within `l` and the patience. So the cheapest way to cover the arrivals by such stretches is
//!   never dearer than what was billed; it is found by dynamic programming over the first served
//!   arrival of each second (fewer points to cover make it cheaper, never dearer).
//!
//! Memory is held by the minimum all the time and by whatever is active.
//!
//! **The schedule that knows the future** is a real one: see [`Script`].

use std::time::Duration;

use runner_core::time::Timestamp;

use super::{
    arrivals::Arrivals,
    run::{Driver, Outcomes},
    scenario::{SECOND, Scenario},
    trace::Trace,
};
use crate::{Count, Observation};

pub(super) fn lower_bound(scenario: &Scenario, seconds: usize, out: &Outcomes) -> f64 {
    let prices = &scenario.prices;
    let work = out.work as f64 / 1e9 / f64::from(scenario.cap);
    let patience = scenario.max_wait.as_nanos() as u64;
    let covered = cover(&out.firsts, prices.minimum.as_nanos() as u64, patience);
    let kept = f64::from(scenario.minimum_active) * seconds as f64;
    let active = work.max(covered as f64 / 1e9).max(kept);
    // What is billed beyond what was used (the minute) holds no memory.
    let provisioned = (f64::from(scenario.minimum) * seconds as f64).max(work);
    prices.cost(&super::cost::Usage { billed_active: active, provisioned, served: out.served })
}

/// The cheapest cover of points by stretches, each as long as its points are apart less the
/// patience, and at least the minimum.
fn cover(points: &[u64], minimum: u64, patience: u64) -> u64 {
    // costs[j]: the cheapest cover of the first j points. It never falls with j.
    let mut costs: Vec<u64> = Vec::with_capacity(points.len() + 1);
    costs.push(0);
    let mut near = 0;
    // The least of costs[i] - points[i] over points too far away for a minimal stretch.
    let mut far: Option<i128> = None;
    for (j, &last) in points.iter().enumerate() {
        while last - points[near] > minimum + patience {
            let reach = i128::from(costs[near]) - i128::from(points[near]);
            far = Some(far.map_or(reach, |far| far.min(reach)));
            near += 1;
        }
        let short = costs[near] + minimum;
        let long = far.map(|far| (far + i128::from(last) - i128::from(patience)) as u64);
        costs.push(long.map_or(short, |long| long.min(short)));
        debug_assert!(costs[j + 1] >= costs[j]);
    }
    costs.pop().unwrap_or(0)
}

/// A schedule written with the whole trace at hand, and followed to the letter.
///
/// It is found level by level: at which times the load needs an n-th instance, and between two
/// such times whether to keep it serving, freeze it, or stop it and start it anew in time. Then it
/// is run like any policy, in the same simulator, so that it is feasible by construction and what
/// it costs is what it cost.
pub(super) struct Script {
    /// When there should be how many, in order.
    steps: Vec<(u64, Count)>,
    next: std::cell::Cell<usize>,
    start: Duration,
}

impl Script {
    /// Between the mean load of each second (`tightness` 0) and its peak (1).
    pub(super) fn new(trace: &Trace, scenario: &Scenario, tightness: f64, load: &Seconds) -> Self {
        let need = load.needed(scenario, tightness);
        let most = need.iter().copied().max().unwrap_or(0).max(scenario.minimum);
        let mut changes: Vec<(u64, i32, i32)> = Vec::new();
        for level in 1..=most {
            Level::new(level, &need, trace, scenario).plan(&mut changes);
        }
        changes.sort_unstable();
        let (mut active, mut total) = (0_i32, 0_i32);
        let mut steps: Vec<(u64, Count)> = Vec::new();
        for (at, more_active, more_total) in changes {
            active += more_active;
            total += more_total;
            let count = Count::new(active.max(0) as u32, total.max(0) as u32);
            match steps.last_mut() {
                Some((last, known)) if *last == at => *known = count,
                _ => steps.push((at, count)),
            }
        }
        Self { steps, next: std::cell::Cell::new(0), start: scenario.start }
    }
}

impl Driver for Script {
    fn decide(&mut self, _: &Observation, now: Timestamp) -> Count {
        let now = now.as_nanos();
        let passed = self.steps.partition_point(|(at, _)| *at <= now);
        self.next.set(passed);
        passed.checked_sub(1).map_or_else(Count::default, |last| self.steps[last].1)
    }

    fn start_up(&self) -> Option<Duration> {
        Some(self.start)
    }

    fn next_look(&self, now: u64) -> u64 {
        let next = self.steps.get(self.next.get()).map_or(u64::MAX, |(at, _)| *at);
        // The ledger learns from looks, so there is one a second in any case.
        next.min(now + SECOND)
    }

    fn looks_on_demand(&self) -> bool {
        false
    }

    fn freezes(&self) -> bool {
        true
    }
}

/// Mean and peak of the load of each second if nobody ever waited.
pub(super) struct Seconds(Vec<(f64, u32)>);

impl Seconds {
    pub(super) fn new(trace: &Trace, scenario: &Scenario) -> Self {
        let mut seconds = vec![(0.0, 0); trace.seconds() + 1];
        let mut arrivals = Arrivals::new(trace, scenario);
        let mut ends = std::collections::BinaryHeap::new();
        let (mut now, mut present) = (0_u64, 0_u32);
        loop {
            let end = ends.peek().map_or(u64::MAX, |std::cmp::Reverse(end)| *end);
            let come = arrivals.peek();
            let next = end.min(come);
            if next == u64::MAX {
                return Self(seconds);
            }
            // What lasts beyond the last second is served by whoever is still there.
            while now < next {
                let second = (now / SECOND) as usize;
                let until = next.min((now / SECOND + 1) * SECOND);
                let Some((area, peak)) = seconds.get_mut(second) else { return Self(seconds) };
                *area += f64::from(present) * (until - now) as f64 / SECOND as f64;
                *peak = (*peak).max(present);
                now = until;
            }
            if end <= come {
                ends.pop();
                present -= 1;
            } else if let Some(arrival) = arrivals.take() {
                ends.push(std::cmp::Reverse(arrival.at + arrival.service));
                present += 1;
            }
        }
    }

    fn needed(&self, scenario: &Scenario, tightness: f64) -> Vec<u32> {
        let cap = f64::from(scenario.cap);
        let needed = |&(mean, peak): &(f64, u32)| {
            let load = (f64::from(peak) - mean).max(0.0).mul_add(tightness, mean);
            ((load / cap).ceil() as u32).clamp(scenario.minimum_active, scenario.maximum)
        };
        self.0.iter().map(needed).collect()
    }
}

/// The n-th instance: when it is needed, and what it costs between.
struct Level<'a> {
    /// Stretches of seconds in which the load needs it.
    needed: Vec<(u64, u64)>,
    always: bool,
    scenario: &'a Scenario,
    end: u64,
    start: u64,
    wake: u64,
}

impl<'a> Level<'a> {
    fn new(level: u32, need: &[u32], trace: &Trace, scenario: &'a Scenario) -> Self {
        let mut needed: Vec<(u64, u64)> = Vec::new();
        for (second, _) in (0..).zip(need).filter(|(_, count)| **count >= level) {
            let (from, until) = (second * SECOND, (second + 1) * SECOND);
            match needed.last_mut() {
                Some((_, last)) if *last == from => *last = until,
                _ => needed.push((from, until)),
            }
        }
        let always = level <= scenario.minimum;
        let end = trace.seconds() as u64 * SECOND;
        // Nearly every start is over in its mean and three deviations.
        let slowest = scenario.start_factor(end, trace.seconds());
        let start = scenario.start.mul_f64(1.0 + 3.0 * scenario.start_cv).as_nanos() as u64;
        let start = start * slowest;
        let wake = scenario.wake.as_nanos() as u64 + 1_000_000;
        Self { needed, always, scenario, end, start, wake }
    }

    /// Adds when it is to be begun, frozen and stopped: time, change of those that serve, change
    /// of all.
    fn plan(&self, changes: &mut Vec<(u64, i32, i32)>) {
        if self.always {
            changes.push((0, 0, 1));
        }
        for cluster in self.clusters() {
            let (from, until, fresh) = cluster;
            let begun = from.saturating_sub(if fresh { self.start } else { self.wake });
            changes.push((begun, 1, i32::from(fresh)));
            changes.push((until, -1, 0));
        }
        if self.always {
            return;
        }
        // Frozen from the end of one cluster to the beginning of the next, unless that is fresh.
        let clusters = self.clusters();
        for (index, (_, until, _)) in clusters.iter().enumerate() {
            let kept = clusters.get(index + 1).is_some_and(|(_, _, fresh)| !fresh);
            if !kept {
                changes.push((*until, 0, -1));
            }
        }
    }

    /// Stretches in which it serves without a pause: from, until, and whether it is started for it.
    ///
    /// `costs[i]` is the cheapest way to have served the first `i` needs and to be frozen or gone
    /// since the end of the last. A cluster from need `j` to need `i` has its processor for a
    /// minute at least. Clusters are looked for back to an hour: gaps inside one are short.
    fn clusters(&self) -> Vec<(u64, u64, bool)> {
        let prices = self.scenario.prices.prices();
        let (cpu, memory) = (prices.processor_hour / 3.6e12, prices.memory_hour / 3.6e12);
        let minimum = prices.minimum.as_nanos() as u64;
        let mut costs = vec![0.0_f64; self.needed.len() + 1];
        let mut from = vec![(0_usize, false); self.needed.len() + 1];
        for (i, &(_, until)) in self.needed.iter().enumerate() {
            costs[i + 1] = f64::INFINITY;
            for j in (0..=i).rev().take(MOST_MERGED) {
                let begin = self.needed[j].0;
                let before = j.checked_sub(1).map(|last| self.needed[last].1);
                let length = until - begin;
                let served = |lead: u64| (length + lead).max(minimum) as f64 * cpu;
                let held = if self.always { 0.0 } else { memory };
                // Frozen since the last need, or, for the first, not there at all.
                let kept = match before {
                    Some(last) => costs[j] + (begin - last) as f64 * held + served(self.wake),
                    None if self.always => served(self.wake),
                    None => f64::INFINITY,
                };
                let anew = match self.always {
                    true => f64::INFINITY,
                    false => costs[j] + self.start as f64 * held + served(self.start),
                };
                let cost = kept.min(anew) + length as f64 * held;
                if cost < costs[i + 1] {
                    costs[i + 1] = cost;
                    from[i + 1] = (j, anew < kept);
                }
                if length > minimum && i - j > FEW {
                    break;
                }
            }
        }
        let mut clusters = Vec::new();
        let mut i = self.needed.len();
        while i > 0 {
            let (j, fresh) = from[i];
            let until = self.needed[i - 1].1;
            // What is needed in the last second is kept to the end of the last request.
            let until = if until >= self.end { u64::MAX } else { until };
            clusters.push((self.needed[j].0, until, fresh));
            i = j;
        }
        clusters.reverse();
        clusters
    }
}

/// Needs that one cluster is made of at most: more would be an hour of seconds.
const MOST_MERGED: usize = 400;
/// Clusters longer than the shortest bill and of more needs than this are made of shorter ones
/// that already compared as well.
const FEW: usize = 200;

#[cfg(test)]
mod tests;
