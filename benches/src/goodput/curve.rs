//! What is run, and what comes of it: curves of goodput over load, spikes, and the bounds.

use std::{ops::Range, time::Duration};

use super::{
    SLOTS,
    arrivals::Profile,
    clients::{Clock, Form, Patience, Scenario},
    journal::Record,
    oracle::{Verdict, busiest_return, is_good},
    service::Times,
};

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Extent {
    /// All curves, at all loads.
    Long,
    /// Less of each, in half a minute on a free core.
    Short,
}

/// One curve: the same service under rising load.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Curve {
    /// What it is called.
    pub name: &'static str,
    /// By which clock it ran.
    pub clock: Clock,
    /// From the least load to the largest.
    pub points: Vec<Point>,
}

impl Curve {
    /// Whether the machine had other things to do while this ran in real time: then what is late is
    /// not the queue's doing, and the curve is held against nobody.
    pub fn was_disturbed(&self) -> bool {
        self.clock == Clock::Real && self.points.iter().any(|p| p.lateness_p99 > MOST_LATE)
    }
}

/// What was found at one load.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Point {
    /// Requests that came, over those that could be served.
    pub load: f64,
    /// Requests that were served in time, in a second.
    pub goodput: f64,
    /// The same over capacity.
    pub over_capacity: f64,
    /// What the oracle says.
    pub verdict: Verdict,
    /// What it says of the time in which the queue had yet to learn what had changed.
    pub settling: Verdict,
    /// 99 of 100 refusals were answered so long after the request was sent.
    pub refusal_p99: Duration,
    /// 99 of 100 requests were sent so long after they were due.
    pub lateness_p99: Duration,
}

/// What was found where a crowd came and went, and was told when to come back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Spike {
    /// What it is called.
    pub name: &'static str,
    /// What part of those who came back as told was served.
    pub hit: f64,
    /// How many came back.
    pub returned: u64,
    /// The busiest quarter of a second of those who came back, over capacity.
    pub busiest: f64,
}

/// What a curve is of.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    form: Form,
    times: Times,
    patience: Patience,
    returns: u32,
}

impl Kind {
    const fn new(name: &'static str, form: Form, times: Times) -> Self {
        Self { name, form, times, patience: Patience::AsTheQueue, returns: 0 }
    }

    const fn impatient(self) -> Self {
        Self { patience: Patience::OfItsOwn, ..self }
    }

    const fn returning(self) -> Self {
        Self { returns: 1, ..self }
    }
}

const KINDS: [Kind; 8] = [
    Kind::new("constant, layer", Form::Layer, Times::Constant(HOLD)),
    Kind::new("exponential, layer", Form::Layer, Times::Exponential(HOLD)),
    Kind::new("exponential, pool", Form::Pool, Times::Exponential(HOLD)),
    Kind::new("log-normal, pool", Form::Pool, Times::LogNormal(HOLD)),
    Kind::new("bimodal, layer", Form::Layer, Times::Bimodal(HOLD)),
    Kind::new("exponential, deadlines of clients", Form::Layer, Times::Exponential(HOLD))
        .impatient(),
    Kind::new("exponential, clients return", Form::Layer, Times::Exponential(HOLD)).returning(),
    Kind::new("exponential, doubles", Form::Pool, Times::Doubling(HALF_HOLD, CHANGE)),
];

/// Runs all curves on paused time.
pub fn paused(extent: Extent, mut progress: impl FnMut(&str)) -> Vec<Curve> {
    let (loads, length, kinds): (&[f64], _, &[usize]) = match extent {
        Extent::Long => (&LOADS, LENGTH, &[0, 1, 2, 3, 4, 5, 6, 7]),
        Extent::Short => (&[0.8, 1.5, 10.0], SHORT_LENGTH, &[0, 3, 5]),
    };
    let run = |&kind: &usize| {
        let kind = KINDS[kind];
        progress(kind.name);
        let points = loads.iter().map(|load| point(kind, Clock::Paused, *load, CALM, length));
        Curve { name: kind.name, clock: Clock::Paused, points: points.collect() }
    };
    kinds.iter().map(run).collect()
}

/// Runs what needs the machine's own clock.
pub fn real(extent: Extent, mut progress: impl FnMut(&str)) -> Vec<Curve> {
    let (calm, length) = match extent {
        Extent::Long => (Duration::from_secs(5), Duration::from_secs(15)),
        Extent::Short => (Duration::from_secs(1), Duration::from_secs(5)),
    };
    let (loads, kinds): (&[f64], &[usize]) = match extent {
        Extent::Long => (&[1.2, 3.0, 10.0], &[1, 3]),
        Extent::Short => (&[1.2, 10.0], &[3]),
    };
    let run = |&kind: &usize| {
        let kind = KINDS[kind];
        progress(kind.name);
        let points = loads.iter().map(|load| point(kind, Clock::Real, *load, calm, length));
        Curve { name: kind.name, clock: Clock::Real, points: points.collect() }
    };
    kinds.iter().map(run).collect()
}

/// Lets crowds come for a while and go, on paused time.
pub fn spikes(extent: Extent, mut progress: impl FnMut(&str)) -> Vec<Spike> {
    let all = [
        ("three tenths in any case, exponential", 0.3, Times::Exponential(HOLD)),
        ("half in any case, log-normal", 0.5, Times::LogNormal(HOLD)),
        ("eight tenths in any case, constant", 0.8, Times::Constant(HOLD)),
    ];
    let some = match extent {
        Extent::Long => &all[..],
        Extent::Short => &all[1..2],
    };
    let run = |&(name, usual, times): &(&'static str, f64, Times)| {
        progress(name);
        let crowd = (CALM, CALM + CROWD);
        let end = Duration::from_secs(if extent == Extent::Long { 150 } else { 60 });
        let scenario = Scenario {
            form: Form::Layer,
            clock: Clock::Paused,
            profile: Profile::spike(usual * CAPACITY, 10.0 * CAPACITY, crowd, end),
            times,
            max_wait: MAX_WAIT,
            patience: Patience::AsTheQueue,
            returns: 10,
            seed: SEED,
        };
        let records = scenario.run();
        let verdict = Verdict::of(&records, &[Duration::ZERO..Duration::MAX]);
        let busiest = busiest_return(&records, Duration::from_millis(250)) / CAPACITY;
        let hit = verdict.retry_after_hit().unwrap_or(1.0);
        Spike { name, hit, returned: verdict.returned, busiest }
    };
    some.iter().map(run).collect()
}

fn point(kind: Kind, clock: Clock, load: f64, calm: Duration, length: Duration) -> Point {
    let end = calm + length;
    let capacity = f64::from(SLOTS) / kind.times.mean(Duration::ZERO).as_secs_f64();
    let scenario = Scenario {
        form: kind.form,
        clock,
        profile: Profile::rising(load.min(CALM_LOAD) * capacity, calm, load * capacity, end),
        times: kind.times,
        max_wait: MAX_WAIT,
        patience: kind.patience,
        returns: kind.returns,
        seed: SEED,
    };
    // The last are left out: who was refused is judged by who came after it and was served.
    let last = end - MAX_WAIT;
    let (stretches, settling) = match (clock, kind.times) {
        // Nothing is judged in real time but what a stall of the machine cannot be mistaken for.
        (Clock::Real, _) => (vec![calm + Duration::from_secs(1)..end], calm..calm),
        // Who meets the change in the queue came before it.
        (Clock::Paused, Times::Doubling(_, change)) => (
            vec![calm + SETTLING..change - MAX_WAIT, change + SETTLING..last],
            change - MAX_WAIT..change + SETTLING,
        ),
        (Clock::Paused, _) => (vec![calm + SETTLING..last], calm..calm + SETTLING),
    };
    let records = scenario.run();
    let settling = Verdict::of(&records, &[settling]);
    Point { settling, ..Point::of(load, &records, &stretches) }
}

impl Point {
    fn of(load: f64, records: &[Record], stretches: &[Range<Duration>]) -> Self {
        let within = |at: Duration| stretches.iter().any(|stretch| stretch.contains(&at));
        // The last stretch alone, since capacity may be another in each.
        let last = stretches.last().expect("there is one");
        let seconds = (last.end - last.start).as_secs_f64();
        let good = records.iter().filter(|r| last.contains(&r.answered) && is_good(r)).count();
        let held: Vec<f64> = (records.iter().filter_map(|record| record.granted))
            .filter(|(at, _)| last.contains(at))
            .map(|(_, held)| held.as_secs_f64())
            .collect();
        let capacity = f64::from(SLOTS) * held.len() as f64 / held.iter().sum::<f64>();
        let goodput = good as f64 / seconds;
        let refusals = records
            .iter()
            .filter(|r| within(r.asked) && r.refused.is_some_and(|told| !told.had_waited));
        Self {
            load,
            goodput,
            over_capacity: goodput / capacity,
            verdict: Verdict::of(records, stretches),
            settling: Verdict::default(),
            refusal_p99: p99(refusals.map(|record| record.answered - record.sent)),
            lateness_p99: p99(records.iter().map(|record| record.sent - record.due)),
        }
    }
}

fn p99(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// The worst of all runs: what the bounds are held against.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Worst {
    /// The peak of the curve whose peak is lowest.
    pub peak_over_capacity: f64,
    /// Goodput at ten times capacity, of the curve where it is lowest, in a second.
    pub goodput_at_10x: f64,
    /// Goodput at ten times capacity over the peak, of the curve where that is lowest.
    pub ratio: f64,
    /// In real time, of the point where it is highest; nothing if no curve of it could be judged.
    pub refusal_p99: Option<Duration>,
    /// On paused time, of the point where it is highest.
    pub refused_though_it_fit: f64,
    /// On paused time, of the point where it is highest.
    pub admitted_then_expired: f64,
    /// Of the spike where it is lowest.
    pub retry_after_hit: f64,
    /// Of the spike where it is highest.
    pub busiest_return: f64,
}

impl Worst {
    /// The worst of these.
    pub fn of(curves: &[Curve], spikes: &[Spike]) -> Self {
        let mut worst = Self {
            peak_over_capacity: f64::INFINITY,
            goodput_at_10x: f64::INFINITY,
            ratio: f64::INFINITY,
            refusal_p99: None,
            refused_though_it_fit: 0.0,
            admitted_then_expired: 0.0,
            retry_after_hit: 1.0,
            busiest_return: 0.0,
        };
        for curve in curves {
            worst.add(curve);
        }
        for spike in spikes {
            worst.retry_after_hit = worst.retry_after_hit.min(spike.hit);
            worst.busiest_return = worst.busiest_return.max(spike.busiest);
        }
        worst
    }

    fn add(&mut self, curve: &Curve) {
        if curve.was_disturbed() {
            return;
        }
        let peak = curve.points.iter().map(|p| p.over_capacity).fold(0.0, f64::max);
        self.peak_over_capacity = self.peak_over_capacity.min(peak);
        if let Some(last) = curve.points.last() {
            self.goodput_at_10x = self.goodput_at_10x.min(last.goodput);
            self.ratio = self.ratio.min(last.over_capacity / peak);
        }
        for Point { verdict, refusal_p99, .. } in &curve.points {
            match curve.clock {
                Clock::Real => self.refusal_p99 = self.refusal_p99.max(Some(*refusal_p99)),
                Clock::Paused => {
                    let fitted = verdict.refused_though_it_fit();
                    self.refused_though_it_fit = self.refused_though_it_fit.max(fitted);
                    let expired = verdict.admitted_then_expired();
                    self.admitted_then_expired = self.admitted_then_expired.max(expired);
                }
            }
        }
    }

    /// The bounds that are missed, in words.
    pub fn missed(&self) -> Vec<String> {
        let refusal_ms = self.refusal_p99.map(|p99| p99.as_secs_f64() * 1e3);
        let at_least = [
            ("peak_over_capacity", self.peak_over_capacity, 0.97),
            ("ratio", self.ratio, 0.98),
            ("retry_after_hit", self.retry_after_hit, 0.95),
        ];
        // Where it could not be judged it is neither met nor missed; who asks says so.
        let refusals = refusal_ms.map(|refusal_ms| ("refusal_p99_ms", refusal_ms, 5.0));
        let at_most = [
            ("refused_though_it_fit", self.refused_though_it_fit, 0.02),
            ("admitted_then_expired", self.admitted_then_expired, 0.005),
            (
                "the busiest quarter of a second of returns, over capacity,",
                self.busiest_return,
                1.0,
            ),
        ];
        let below = at_least.iter().filter(|(_, found, bound)| found < bound);
        let above = refusals.iter().chain(&at_most).filter(|(_, found, bound)| found > bound);
        below
            .map(|(name, found, bound)| {
                format!("{name} is {found:.4}, and is to be at least {bound}")
            })
            .chain(above.map(|(name, found, bound)| {
                format!("{name} is {found:.4}, and is to be at most {bound}")
            }))
            .collect()
    }
}

const LOADS: [f64; 11] = [0.5, 0.8, 0.95, 1.05, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0];
const HOLD: Duration = Duration::from_millis(250);
const HALF_HOLD: Duration = Duration::from_millis(125);
/// With [`HOLD`], in a second.
const CAPACITY: f64 = SLOTS as f64 / 0.25;
/// Sixteen times the mean service time: a line of eight thousand.
const MAX_WAIT: Duration = Duration::from_secs(4);
/// For as long as anybody waits after load or service times have changed, what the queue knows and
/// whom it let in are of before; and it takes as long as the longest requests do (here six means)
/// until all slots have been seen to come free. What it does meanwhile is counted apart.
const SETTLING: Duration = Duration::from_secs(6);
/// What a service has behind it when the load rises: a crowd seldom meets one that was just
/// started, and one that was knows nothing yet, refuses nobody, and is all in step.
const CALM: Duration = Duration::from_secs(10);
const CALM_LOAD: f64 = 0.9;
const LENGTH: Duration = Duration::from_secs(30);
const SHORT_LENGTH: Duration = Duration::from_secs(14);
/// When service times double: in the middle of the load.
const CHANGE: Duration = Duration::from_secs(25);
/// Beyond this the one who asks was itself late in real time: as much as a refusal may take.
const MOST_LATE: Duration = Duration::from_millis(5);
/// How long a crowd stays.
const CROWD: Duration = Duration::from_secs(2);
const SEED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(clock: Clock, over_capacity: [f64; 2]) -> Curve {
        let point = |over_capacity: f64| Point {
            load: 1.0,
            goodput: over_capacity * 2_000.0,
            over_capacity,
            verdict: Verdict::default(),
            settling: Verdict::default(),
            refusal_p99: Duration::from_millis(9),
            lateness_p99: Duration::ZERO,
        };
        let points = over_capacity.map(point).to_vec();
        Curve { name: "a curve", clock, points }
    }

    #[test]
    fn the_worst_curve_counts_and_each_missed_bound_is_named() {
        let good = curve(Clock::Paused, [0.99, 0.985]);
        let bad = curve(Clock::Real, [0.96, 0.90]);
        let one = Worst::of(std::slice::from_ref(&good), &[]);
        assert_eq!(one.missed(), Vec::<String>::new(), "paused time says nothing of latency");
        let both = Worst::of(&[good, bad], &[]);
        assert!((both.ratio - 0.9375).abs() < 1e-9 && (both.goodput_at_10x - 1_800.0).abs() < 1e-9);
        let missed = both.missed().join("\n");
        for name in ["peak_over_capacity", "ratio", "refusal_p99_ms"] {
            assert!(missed.contains(name), "{missed}");
        }
        assert_eq!(both.missed().len(), 3);
    }

    #[test]
    fn what_the_machine_disturbed_is_held_against_nobody() {
        let mut bad = curve(Clock::Real, [0.96, 0.90]);
        assert!(!bad.was_disturbed());
        bad.points[1].lateness_p99 = Duration::from_millis(6);
        assert!(bad.was_disturbed());
        let good = curve(Clock::Paused, [0.99, 0.985]);
        let with = Worst::of(&[good.clone(), bad.clone()], &[]);
        assert_eq!(with, Worst::of(std::slice::from_ref(&good), &[]));
        bad.clock = Clock::Paused;
        assert!(!bad.was_disturbed(), "paused time is never late");
    }

    #[test]
    fn a_second_spike_is_a_miss() {
        let spike = Spike { name: "a spike", hit: 0.94, returned: 10, busiest: 1.1 };
        assert_eq!(Worst::of(&[curve(Clock::Paused, [1.0, 1.0])], &[spike]).missed().len(), 2);
    }

    #[test]
    fn goodput_counts_who_was_served_in_time_within_the_stretch() {
        let secs = Duration::from_secs;
        let record = |granted: u64, wait: u64| Record {
            due: secs(granted - wait),
            sent: secs(granted - wait),
            asked: secs(granted - wait),
            budget: secs(2),
            attempt: 0,
            granted: Some((secs(granted), secs(1))),
            answered: secs(granted + 1),
            refused: None,
        };
        // One is late, and one is answered when the stretch is over.
        let records = [record(10, 1), record(11, 2), record(12, 3), record(19, 1)];
        let point = Point::of(1.0, &records, &[secs(10)..secs(20)]);
        assert!((point.goodput - 0.2).abs() < 1e-9, "{point:?}");
        assert!((point.over_capacity - 0.2 / f64::from(SLOTS)).abs() < 1e-9);
    }
}
