//! What requests came to: for the monitor, for a deployment that shifts, and for a cap that is
//! found by measuring.

use std::{collections::BTreeMap, time::Duration};

use runner_core::{
    admission::{Attainable, Snapshot},
    deployment::{self, Window},
    id::{InstanceId, RevisionNumber},
    spec::{CapSetting, Scaling},
    time::Timestamp,
};
use runner_health::passive::Outcomes;
use runner_proxy::forward::{HeadTimes, InstanceOutcomes};
use runner_scaler::{
    Load,
    advisor::{AutoCap, CapSample},
};

use super::Actor;
use crate::queue;

/// What is remembered of requests between two looks.
#[derive(Default)]
pub(super) struct Results {
    /// How requests to each instance had gone at the last look.
    before: BTreeMap<InstanceId, InstanceOutcomes>,
    /// How they went by revision: of those that serve and are to serve.
    sides: BTreeMap<RevisionNumber, Recent>,
    cap: Option<FoundCap>,
}

/// The results of a revision over some minutes, so that one that has served for weeks is compared
/// as it is today.
struct Recent {
    since: Timestamp,
    now: Counted,
    before: Counted,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    requests: u64,
    errors: u64,
    times: HeadTimes,
}

/// A cap that is found between bounds.
struct FoundCap {
    bounds: (u32, u32),
    cap: AutoCap,
    /// Requests in flight, added up over so many looks.
    flights: (u64, u32),
}

impl Results {
    /// Settings changed: bounds of a cap, or whether one is to be found at all.
    pub(super) fn apply(&mut self, scaling: &Scaling) {
        let CapSetting::Auto { minimum, maximum } = scaling.cap else { return self.cap = None };
        let bounds = (minimum.number(), maximum.number());
        if self.cap.as_ref().is_none_or(|found| found.bounds != bounds) {
            let cap = AutoCap::between(bounds.0, bounds.1).ok();
            self.cap = cap.map(|cap| FoundCap { bounds, cap, flights: (0, 0) });
        }
    }

    /// The cap in effect.
    pub(super) fn cap(&self, scaling: &Scaling) -> u32 {
        let found = self.cap.as_ref().map(|found| found.cap.cap());
        found.unwrap_or_else(|| scaling.cap.upper().number())
    }

    /// A look between two decisions.
    pub(super) fn note_flight(&mut self, in_flight: u64) {
        if let Some(FoundCap { flights, .. }) = &mut self.cap {
            *flights = (flights.0 + in_flight, flights.1 + 1);
        }
    }
}

impl Recent {
    fn since(now: Timestamp) -> Self {
        Self { since: now, now: Counted::default(), before: Counted::default() }
    }

    fn turn(&mut self, now: Timestamp) {
        if now.since(self.since) >= RECENT {
            (self.since, self.before) = (now, std::mem::take(&mut self.now));
        }
    }

    fn whole(&self) -> Counted {
        let mut whole = self.now;
        whole.requests += self.before.requests;
        whole.errors += self.before.errors;
        whole.times.add(&self.before.times);
        whole
    }
}

impl Counted {
    fn add(&mut self, news: &InstanceOutcomes) {
        self.requests += news.requests;
        self.errors += news.errors;
        self.times.add(&news.head_times);
    }

    fn window(&self, slow: Duration) -> Window {
        Window::new(self.requests, self.errors, slow)
    }
}

/// Both sides as they compare. Their slowest hundredths are told where ten requests of each side
/// were in them: of fewer, one that met a cold cache would decide.
fn compared(green: &Counted, blue: Option<&Counted>) -> (Window, Option<Window>) {
    let slow = |side: &Counted| match side.times.count() >= LEAST_TIMES {
        true => side.times.quantile(0.99),
        false => None,
    };
    let slow = slow(green).zip(blue.and_then(slow));
    let (slow_green, slow_blue) = slow.unwrap_or_default();
    (green.window(slow_green), blue.map(|blue| blue.window(slow_blue)))
}

impl Actor {
    /// Hands on how requests went: to the monitor, which ejects, and to a deployment that shifts.
    /// How many failed since the last look.
    pub(super) fn judge_requests(&mut self, now: Timestamp) -> u64 {
        let counters = self.way.forward.counters().instances;
        let (live, green) = (self.machine.live(), self.machine.green());
        let instances = self.machine.instances();
        let results = &mut self.look.results;
        let mut errors = 0;
        for (id, counted) in &counters {
            let before = results.before.insert(*id, counted.outcomes).unwrap_or_default();
            let news = counted.outcomes.since(before);
            if news.requests == 0 && news.errors == 0 {
                continue;
            }
            errors += news.errors;
            self.monitor.report(*id, outcomes(news));
            let Some(revision) = instances.get(id).map(|one| one.revision) else { continue };
            if Some(revision) == green || Some(revision) == live {
                let side = results.sides.entry(revision).or_insert_with(|| Recent::since(now));
                side.now.add(&news);
            }
        }
        results.before.retain(|id, _| counters.contains_key(id));
        results.sides.retain(|revision, _| Some(*revision) == live || Some(*revision) == green);
        let side = |revision: RevisionNumber| results.sides.get(&revision).map(Recent::whole);
        let Some(green) = green else {
            results.sides.values_mut().for_each(|side| side.turn(now));
            return errors;
        };
        if let Some(seen) = side(green).filter(|seen| seen.requests > 0) {
            let blue = live.and_then(side);
            let (green, blue) = compared(&seen, blue.as_ref());
            self.tell_machine(deployment::Event::Measured { green, blue });
        }
        errors
    }

    /// Moves a cap that is found by measuring; says whether it moved.
    pub(super) fn move_cap(&mut self, load: &Load, errors: u64) -> bool {
        let now = self.shared.clock.now();
        let ready = self.machine.snapshot().instances.iter().filter(|one| one.accepting).count();
        let stuck = matches!(self.machine.snapshot().attainable, Attainable::Nothing(_));
        let Some(FoundCap { cap, flights, .. }) = &mut self.look.results.cap else { return false };
        let (sum, looks) = std::mem::take(flights);
        if ready == 0 || looks == 0 || load.completed == 0 {
            return false;
        }
        let flight = sum as f64 / f64::from(looks);
        let sample = CapSample {
            concurrency: flight / ready as f64,
            // So many were in flight on average and so many were done: each took this long.
            service_time: load.span.mul_f64(flight / load.completed as f64),
            completed: load.completed,
            errors,
            cpu: None,
            gigabytes: None,
        };
        let before = cap.cap();
        cap.handle_sample(&sample, load.waiting > 0 && stuck, now) != before
    }

    /// A snapshot with the cap that was found.
    pub(super) fn capped(&self, snapshot: Snapshot) -> Snapshot {
        let scaling = self.machine.settings().scaling();
        match &self.look.results.cap {
            Some(found) => queue::with_cap(snapshot, found.cap.cap(), scaling.cap.upper().number()),
            None => snapshot,
        }
    }
}

fn outcomes(seen: InstanceOutcomes) -> Outcomes {
    Outcomes {
        requests: seen.requests,
        errors: seen.errors,
        connect_failures: seen.connect_failures,
        errors_in_a_row: seen.errors_in_a_row,
        connect_failures_in_a_row: seen.connect_failures_in_a_row,
    }
}

/// Results of a revision are of the last five to ten minutes.
const RECENT: Duration = Duration::from_secs(300);
/// A hundredth of these is ten.
const LEAST_TIMES: u64 = 1_000;

#[cfg(test)]
mod tests {
    use runner_core::deployment::{CauseCode, worse};

    use super::*;

    fn side(requests: u32, millis: u64, slow: u32) -> Counted {
        let mut times = HeadTimes::default();
        (0..requests - slow).for_each(|_| times.record(Duration::from_millis(millis)));
        (0..slow).for_each(|_| times.record(Duration::from_secs(3)));
        Counted { requests: requests.into(), errors: 0, times }
    }

    fn verdict(green: &Counted, blue: Option<&Counted>) -> Option<CauseCode> {
        let (green, blue) = compared(green, blue);
        worse(green, blue).map(|cause| cause.code)
    }

    #[test]
    fn a_slow_hundredth_is_told_where_enough_requests_were_in_it() {
        let usual = side(2_000, 20, 0);
        assert_eq!(verdict(&side(2_000, 20, 30), Some(&usual)), Some(CauseCode::Latency));
        assert_eq!(verdict(&side(2_000, 20, 10), Some(&usual)), None, "not one in a hundred");
        assert_eq!(verdict(&side(900, 20, 30), Some(&usual)), None, "too few to tell");
        assert_eq!(verdict(&side(2_000, 20, 30), Some(&side(900, 20, 0))), None);
        assert_eq!(verdict(&side(2_000, 200, 0), Some(&usual)), Some(CauseCode::Latency));
        assert_eq!(verdict(&side(2_000, 30, 0), Some(&usual)), None, "nobody notices");
        assert_eq!(verdict(&side(2_000, 2_000, 0), None), None, "nothing to be slower than");
    }

    #[test]
    fn results_are_of_the_last_minutes() {
        let at = Timestamp::from_secs;
        let mut recent = Recent::since(at(0));
        recent.now = side(100, 1, 0);
        recent.turn(at(299));
        recent.turn(at(300));
        recent.now = side(10, 1, 0);
        assert_eq!(recent.whole().requests, 110);
        recent.turn(at(600));
        assert_eq!((recent.whole().requests, recent.whole().times.count()), (10, 10));
    }
}
