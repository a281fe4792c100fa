//! Which cap, processor and memory fit, and a cap that finds itself.
//!
//! The [`CapAdvisor`] remembers what instances did at each concurrency: how long requests took,
//! how busy the processor was, how many failed. From that it reads off the **knee**: the
//! concurrency beyond which more requests at once bring no more requests done, only longer ones.
//! It advises for people, or once a day.
//!
//! [`AutoCap`] is `cap = auto`: it moves a cap by itself, a little at a time. The rule is a
//! gradient, as in Netflix's limits: what requests take when an instance is nearly idle, over what
//! they take now. It differs in three ways, each against a known failure of theirs:
//!
//! - It never lowers the cap to find out how fast an idle instance is (that refuses good traffic
//!   to measure it). What "nearly idle" is like is learned when it happens by itself.
//! - It is raised only while the cap is what limits, and not by an idle stretch.
//! - It is never lowered below what is in flight by more than a step, and not at all while
//!   requests wait and nothing more can be started: a smaller cap then only starves traffic.

use std::{collections::BTreeMap, time::Duration};

use runner_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::InvalidPolicy;

/// What instances did over a span.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "one is made for each look")]
pub struct CapSample {
    /// Requests in flight per instance, the mean.
    pub concurrency: f64,
    /// How long they took, the mean.
    pub service_time: Duration,
    /// How many were done.
    pub completed: u64,
    /// How many of those failed.
    pub errors: u64,
    /// Busy part of the processor, if that is known.
    pub cpu: Option<f64>,
    /// Used gigabytes of memory, if that is known.
    pub gigabytes: Option<f64>,
}

/// Remembers what happened at each concurrency.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CapAdvisor {
    seen: BTreeMap<u32, AtConcurrency>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct AtConcurrency {
    completed: f64,
    errors: f64,
    /// Seconds, weighed by completed.
    service: f64,
    cpu: Option<f64>,
    gigabytes: Option<f64>,
}

/// What fits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Advice {
    /// How many requests an instance should be given at once.
    pub cap: u32,
    /// What decided that.
    pub because: CapLimit,
    /// Processors of the smallest size that carries that cap, if the processor was observed.
    pub cpus: Option<f64>,
    /// Gigabytes of that size, if memory was observed.
    pub gigabytes: Option<f64>,
}

/// What keeps a cap from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CapLimit {
    /// Beyond it requests fail.
    Errors,
    /// Beyond it requests only take longer.
    Knee,
    /// Nothing more was seen.
    Seen,
}

impl CapAdvisor {
    /// Takes note of a look.
    pub fn handle_sample(&mut self, sample: &CapSample) {
        let sound = sample.concurrency.is_finite() && sample.concurrency > 0.0;
        if !sound || sample.completed == 0 {
            return;
        }
        let at = self.seen.entry(bin(sample.concurrency)).or_default();
        let count = sample.completed as f64;
        at.completed += count;
        at.errors += sample.errors.min(sample.completed) as f64;
        at.service += sample.service_time.as_secs_f64() * count;
        at.cpu = largest(at.cpu, sample.cpu);
        at.gigabytes = largest(at.gigabytes, sample.gigabytes);
    }

    /// What fits an instance of so many processors, as far as was seen; nothing where too little
    /// was.
    pub fn advise(&self, cpus: f64) -> Option<Advice> {
        let mut known = (self.seen.iter())
            .filter(|(_, at)| at.completed >= FEWEST)
            .map(|(bin, at)| (middle(*bin), at));
        let (first, at) = known.next()?;
        let mut best = (first, at, first / (at.service / at.completed));
        let mut because = CapLimit::Seen;
        for (concurrency, at) in known {
            if at.errors / at.completed > MOST_ERRORS {
                because = CapLimit::Errors;
                break;
            }
            // Done in a second by one instance, by Little's law.
            let done = concurrency / (at.service / at.completed);
            let (before, _, done_before) = best;
            // A straight line would have brought this many more.
            let hoped = done_before * (concurrency / before - 1.0);
            if done - done_before < hoped * LEAST_GAIN {
                because = CapLimit::Knee;
                break;
            }
            best = (concurrency, at, done);
        }
        let (concurrency, at, _) = best;
        let size = fitting(at.cpu.map(|busy| busy * cpus), at.gigabytes);
        Some(Advice {
            cap: concurrency.round().max(1.0) as u32,
            because,
            cpus: at.cpu.and(size).map(|(cpus, _)| cpus),
            gigabytes: at.gigabytes.and(size).map(|(_, gigabytes)| gigabytes),
        })
    }
}

/// Concurrencies that are alike: bins of a twelfth of a doubling.
fn bin(concurrency: f64) -> u32 {
    (concurrency.max(1.0).log2() * 12.0).round() as u32
}

fn middle(bin: u32) -> f64 {
    (f64::from(bin) / 12.0).exp2()
}

fn largest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b.filter(|b| b.is_finite())) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// The smallest of App Runner's sizes of which four fifths hold what is used.
fn fitting(cpus: Option<f64>, gigabytes: Option<f64>) -> Option<(f64, f64)> {
    SIZES.into_iter().find(|(has_cpus, has_gigabytes)| {
        cpus.unwrap_or(0.0) <= has_cpus * FULL && gigabytes.unwrap_or(0.0) <= has_gigabytes * FULL
    })
}

/// A cap that moves by itself, within bounds.
///
/// ```
/// use std::time::Duration;
/// use runner_core::time::Timestamp;
/// use runner_scaler::advisor::{AutoCap, CapSample};
///
/// let mut cap = AutoCap::between(1, 200)?;
/// for second in 1..=300 {
///     // An application that does 50 in parallel and makes the others wait.
///     let slow = f64::from(cap.cap()).max(50.0) / 50.0 * 0.1;
///     let sample = CapSample {
///         concurrency: f64::from(cap.cap()),
///         service_time: Duration::from_secs_f64(slow),
///         completed: 400,
///         errors: 0,
///         cpu: None,
///         gigabytes: None,
///     };
///     cap.handle_sample(&sample, false, Timestamp::from_secs(second));
/// }
/// assert!((45..110).contains(&cap.cap()), "{}", cap.cap());
/// # Ok::<(), runner_scaler::InvalidPolicy>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutoCap {
    minimum: u32,
    maximum: u32,
    cap: f64,
    /// Seconds that a request takes where nobody is in its way.
    alone: Option<f64>,
    /// Seconds that it takes now, over some looks.
    recent: Option<f64>,
    moved: Timestamp,
    /// Concurrency and requests done in a second at the move before.
    before: Option<(f64, f64)>,
}

impl AutoCap {
    /// Between two bounds, beginning at twenty or what is nearest to it.
    ///
    /// # Errors
    ///
    /// When the bounds contradict each other.
    pub fn between(minimum: u32, maximum: u32) -> Result<Self, InvalidPolicy> {
        if maximum == 0 || minimum == 0 {
            return Err(InvalidPolicy::NoMaximum);
        }
        if minimum > maximum {
            return Err(InvalidPolicy::MinimumAboveMaximum { minimum, maximum });
        }
        let cap = f64::from(BEGINNING.clamp(minimum, maximum));
        let moved = Timestamp::EPOCH;
        Ok(Self { minimum, maximum, cap, alone: None, recent: None, moved, before: None })
    }

    /// The cap as it is.
    pub fn cap(&self) -> u32 {
        (self.cap.round() as u32).clamp(self.minimum, self.maximum)
    }

    /// Takes note of a look and moves the cap if it should; `starved` says that requests wait and
    /// nothing more can be started. The cap as it is then.
    pub fn handle_sample(&mut self, sample: &CapSample, starved: bool, now: Timestamp) -> u32 {
        let sound = sample.concurrency.is_finite() && sample.concurrency >= 0.0;
        if !sound || sample.completed < FEWEST_MOVED {
            return self.cap();
        }
        let took = sample.service_time.as_secs_f64().max(1e-6);
        let recent = self.recent.unwrap_or(took);
        self.recent = Some(recent + (took - recent) * RECENT_WEIGHT);
        // The fastest that was seen stands for "alone", and fades: the application may have
        // become slower for good, and then its cap must not fall for ever.
        let alone = self.alone.unwrap_or(took);
        let drift = if sample.concurrency < self.cap * APP_LIMITED { ALONE_WEIGHT } else { FADING };
        self.alone = Some(if took < alone { took } else { alone + (took - alone) * drift });
        if now.since(self.moved) < BETWEEN_MOVES {
            return self.cap();
        }
        self.moved = now;
        let wanted = self.wanted(sample);
        let limited = sample.concurrency >= self.cap * APP_LIMITED;
        if (wanted > self.cap && limited) || (wanted < self.cap && !starved) {
            let floor = sample.concurrency * (1.0 - LARGEST_STEP);
            self.cap = (wanted.max(floor.min(self.cap)))
                .clamp(f64::from(self.minimum), f64::from(self.maximum));
        }
        self.cap()
    }

    fn wanted(&mut self, sample: &CapSample) -> f64 {
        if sample.errors as f64 > sample.completed as f64 * MOST_ERRORS {
            return self.cap * (1.0 - LARGEST_STEP);
        }
        if self.brought_nothing(sample) {
            return self.cap * (1.0 - LARGEST_STEP / 2.0);
        }
        let (alone, recent) = (self.alone.unwrap_or(1.0), self.recent.unwrap_or(1.0));
        let gradient = (TOLERANCE * alone / recent).clamp(1.0 - LARGEST_STEP, 1.0);
        // Room to grow by: enough to find out, too little to hurt.
        let room = self.cap.sqrt();
        let wanted = self.cap * gradient + if gradient >= 1.0 { room * 0.5 } else { 0.0 };
        self.cap + (wanted - self.cap) * SMOOTHING
    }
}

impl AutoCap {
    /// Whether the last change of concurrency left what is done in a second as it was: then there
    /// were too many at once before and after it. It tells where nobody ever saw requests alone.
    fn brought_nothing(&mut self, sample: &CapSample) -> bool {
        let took = sample.service_time.as_secs_f64().max(1e-6);
        let now = (sample.concurrency, sample.concurrency / took);
        let Some((concurrency, done)) = self.before else {
            self.before = Some(now);
            return false;
        };
        let changed = now.0 / concurrency.max(1e-9) - 1.0;
        if changed.abs() < LEAST_CHANGE {
            return false;
        }
        self.before = Some(now);
        (now.1 / done.max(1e-9) - 1.0) / changed < LEAST_GAIN
    }
}

/// Processors and gigabytes as App Runner pairs them, the smallest first.
const SIZES: [(f64, f64); 11] = [
    (0.25, 0.5),
    (0.25, 1.0),
    (0.5, 1.0),
    (1.0, 2.0),
    (1.0, 3.0),
    (1.0, 4.0),
    (2.0, 4.0),
    (2.0, 6.0),
    (4.0, 8.0),
    (4.0, 10.0),
    (4.0, 12.0),
];
/// What of a size may be used.
const FULL: f64 = 0.8;
/// Fewer requests than this at a concurrency say nothing about it.
const FEWEST: f64 = 50.0;
/// Fewer than this in a look move nothing.
const FEWEST_MOVED: u64 = 10;
/// More failures than one in a hundred are no price for a higher cap.
const MOST_ERRORS: f64 = 0.01;
/// More at once has to bring at least this part of what a straight line would.
const LEAST_GAIN: f64 = 0.3;
/// Netflix begins here, and so do most pools.
const BEGINNING: u32 = 20;
/// Requests may take half as long again as alone before the cap falls.
const TOLERANCE: f64 = 1.5;
/// The cap falls by at most a tenth at a time.
const LARGEST_STEP: f64 = 0.1;
/// How much of a move is made at once.
const SMOOTHING: f64 = 0.5;
/// Below four fifths of the cap it is the application's load that limits, not the cap.
const APP_LIMITED: f64 = 0.8;
const RECENT_WEIGHT: f64 = 0.3;
/// What is seen at little load is nearly what it is like alone.
const ALONE_WEIGHT: f64 = 0.05;
/// What is seen at full load is hardly evidence of what it is like alone.
const FADING: f64 = 0.000_5;
/// A smaller change of concurrency tells nothing about what it brought.
const LEAST_CHANGE: f64 = 0.02;
const BETWEEN_MOVES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(concurrency: f64, secs: f64, errors: u64) -> CapSample {
        CapSample {
            concurrency,
            service_time: Duration::from_secs_f64(secs),
            completed: 1_000,
            errors,
            cpu: Some((concurrency / 60.0).min(1.0)),
            gigabytes: Some(0.5 + concurrency / 100.0),
        }
    }

    /// So many in parallel, the others wait.
    fn parallel(width: f64, concurrency: f64) -> f64 {
        0.1 * (concurrency / width).max(1.0)
    }

    #[test]
    fn the_knee_is_where_more_at_once_brings_no_more_done() {
        let mut advisor = CapAdvisor::default();
        assert_eq!(advisor.advise(1.0), None);
        for concurrency in 1..100 {
            let concurrency = f64::from(concurrency);
            advisor.handle_sample(&sample(concurrency, parallel(32.0, concurrency), 0));
        }
        let advice = advisor.advise(1.0).expect("enough was seen");
        assert_eq!(advice.because, CapLimit::Knee);
        assert!((30..=36).contains(&advice.cap), "{advice:?}");
        // A little more than half a processor was busy, and 0.8 GB used.
        assert_eq!((advice.cpus, advice.gigabytes), (Some(1.0), Some(2.0)));
    }

    #[test]
    fn a_concurrency_at_which_requests_fail_is_not_advised() {
        let mut advisor = CapAdvisor::default();
        for concurrency in 1..40 {
            let errors = if concurrency > 20 { 100 } else { 0 };
            advisor.handle_sample(&sample(f64::from(concurrency), 0.1, errors));
        }
        let advice = advisor.advise(1.0).expect("enough was seen");
        assert_eq!(advice.because, CapLimit::Errors);
        assert!((18..=21).contains(&advice.cap), "{advice:?}");
    }

    fn settle(cap: &mut AutoCap, width: f64, demand: f64, looks: u64, from: u64) {
        for look in from..from + looks {
            let concurrency = f64::from(cap.cap()).min(demand);
            let now = Timestamp::from_secs(look);
            cap.handle_sample(&sample(concurrency, parallel(width, concurrency), 0), false, now);
        }
    }

    #[test]
    fn it_finds_the_width_from_below_and_from_above() {
        for width in [10.0, 40.0, 120.0] {
            let mut cap = AutoCap::between(1, 500).expect("bounds");
            settle(&mut cap, width, 1e6, 600, 0);
            let found = f64::from(cap.cap());
            assert!(found >= width * 0.9 && found <= width * 2.2, "{width}: {found}");
        }
    }

    #[test]
    fn an_idle_service_keeps_its_cap() {
        let mut cap = AutoCap::between(1, 200).expect("bounds");
        settle(&mut cap, 50.0, 2.0, 500, 0);
        assert_eq!(cap.cap(), 20);
    }

    #[test]
    fn while_traffic_is_starved_it_does_not_fall() {
        let mut cap = AutoCap::between(1, 200).expect("bounds");
        settle(&mut cap, 50.0, 2.0, 10, 0);
        for look in 10..200 {
            cap.handle_sample(&sample(20.0, 5.0, 0), true, Timestamp::from_secs(look));
        }
        assert_eq!(cap.cap(), 20);
        cap.handle_sample(&sample(20.0, 5.0, 0), false, Timestamp::from_secs(200));
        assert!(cap.cap() < 20);
    }
}
