//! What requests saw: ejecting outliers without asking anybody.
//!
//! A pure value. It is told how requests to each instance went (deltas of counters, as often as
//! one likes) and which instances are eligible, those that active questions call ready; it says
//! whom to eject and whom to take back.
//!
//! An instance is ejected on one of three [`Grounds`]: so many errors in a row, so many failed
//! connections in a row, or a share of errors well above that of all others together within a
//! window. When a fault lies behind all instances (a database is down), all fail alike, the third
//! finds no outlier, and the first two are held by the bound:
//!
//! **At any time at most [`most_ejected`](PassiveSettings::most_ejected) of the eligible instances
//! are ejected, rounded down, and never the last.** When others fail their active questions and
//! fewer are left, those whose time ends first are taken back. So a single instance is never
//! ejected by this: half an answer is better than none.
//!
//! Each ejection is twice as long as the one before, up to
//! [`longest`](PassiveSettings::longest). An instance that was in for that long since begins anew.
//!
//! ```
//! use std::{num::NonZeroU32, time::Duration};
//! use runner_core::{id::ServiceId, time::Timestamp};
//! use runner_health::passive::{Outcomes, Passive, PassiveEffect, PassiveSettings};
//!
//! let mut passive = Passive::new(PassiveSettings::default());
//! let [one, other] = [1, 2].map(|number| ServiceId::from_random(7).instance(number));
//! let now = Timestamp::from_secs(1_777_507_200);
//! passive.handle_eligible(one, true, now);
//! passive.handle_eligible(other, true, now);
//! let broken = Outcomes { requests: 9, errors: 5, errors_in_a_row: 5, ..Outcomes::default() };
//! let effects = passive.handle_report(one, broken, now);
//! assert!(matches!(effects[..], [PassiveEffect::Eject { instance, .. }] if instance == one));
//! assert!(passive.handle_report(other, broken, now).is_empty(), "never more than half");
//! ```
//!
//! # What it is not
//!
//! No circuit breaker: whether one more request is worth sending is for admission. It does not
//! say what an error is: whoever forwards requests does.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU32,
    time::Duration,
};

use runner_core::{id::InstanceId, spec::Percent, time::Timestamp};

/// When requests that go badly eject an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassiveSettings {
    /// So many errors in a row; none: never for that. Default: 5.
    pub errors_in_a_row: Option<NonZeroU32>,
    /// So many failed connections in a row; none: never for that. Default: 3, since a connection
    /// that fails says more than an error that an application may have meant.
    pub connect_failures_in_a_row: Option<NonZeroU32>,
    /// A share of errors so many hundredths above that of all others; none: never for that.
    /// Default: 30.
    pub above_others: Option<Percent>,
    /// So many requests have to be seen of an instance, and of the others together, before shares
    /// are compared. Default: 20, below which one error is five hundredths.
    pub least_requests: u32,
    /// Over how long shares are counted. Default: 10 s.
    pub window: Duration,
    /// How long the first ejection is. Default: 30 s.
    pub base: Duration,
    /// How long the longest is. Default: 300 s.
    pub longest: Duration,
    /// How many of the eligible instances may be out at once. Default: half.
    pub most_ejected: Percent,
}

/// How requests to one instance went since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the caller makes it, and has to fill in each")]
pub struct Outcomes {
    /// How many ended.
    pub requests: u64,
    /// How many of those with an error that speaks against the instance.
    pub errors: u64,
    /// How many of those errors were connections that failed.
    pub connect_failures: u64,
    /// How many of the last requests were errors without a good one between; may reach back
    /// before this report.
    pub errors_in_a_row: u64,
    /// The same for connections.
    pub connect_failures_in_a_row: u64,
}

/// Why an instance was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grounds {
    /// Errors without a good answer between.
    ErrorsInARow(u64),
    /// Connections that failed without a good one between.
    ConnectFailuresInARow(u64),
    /// Its share of errors against that of the others.
    Share {
        /// Its own, in hundredths.
        own: u8,
        /// That of all others together.
        others: u8,
        /// Over how many of its requests.
        requests: u64,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "to ignore one is a bug")]
#[must_use = "an ejection that nobody carries out ejects nobody"]
pub enum PassiveEffect {
    /// No new requests to it.
    Eject {
        /// To which.
        instance: InstanceId,
        /// Why.
        grounds: Grounds,
        /// For how long.
        span: Duration,
    },
    /// Requests to it again.
    Readmit {
        /// To which.
        instance: InstanceId,
        /// Whether its time is not over, and too few others are left.
        failed_open: bool,
    },
}

/// The outcomes of a fleet. See the [module page](self).
#[derive(Clone, Debug)]
pub struct Passive {
    settings: PassiveSettings,
    /// Boxed: a map has room for a dozen values, and most fleets are of one.
    records: BTreeMap<InstanceId, Box<Record>>,
    /// When ejections end, the first first.
    ends: BTreeSet<(Timestamp, InstanceId)>,
    /// Instances that are eligible, and those of them that are ejected.
    eligible: usize,
    ejected: usize,
    /// The end of the window that is counted in, while anything was.
    window_ends: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    is_eligible: bool,
    /// In this window.
    requests: u64,
    errors: u64,
    /// Since it was last taken back: what was before is forgiven.
    errors_since: u64,
    connect_failures_since: u64,
    ejected_until: Option<Timestamp>,
    /// How often it was ejected without being in for long between.
    times: u32,
    taken_back: Timestamp,
}

impl Default for PassiveSettings {
    fn default() -> Self {
        let percent = |number| Percent::new(number).unwrap_or(Percent::MAX);
        Self {
            errors_in_a_row: NonZeroU32::new(5),
            connect_failures_in_a_row: NonZeroU32::new(3),
            above_others: Percent::new(30),
            least_requests: 20,
            window: Duration::from_secs(10),
            base: Duration::from_secs(30),
            longest: Duration::from_secs(300),
            most_ejected: percent(50),
        }
    }
}

impl Passive {
    /// Nothing was seen yet.
    pub const fn new(settings: PassiveSettings) -> Self {
        Self {
            settings,
            records: BTreeMap::new(),
            ends: BTreeSet::new(),
            eligible: 0,
            ejected: 0,
            window_ends: None,
        }
    }

    /// Whether an eligible instance is kept out.
    pub fn is_ejected(&self, instance: InstanceId) -> bool {
        self.records.get(&instance).is_some_and(|record| record.is_out())
    }

    /// How many of how many eligible instances are ejected.
    pub const fn ejected(&self) -> (usize, usize) {
        (self.ejected, self.eligible)
    }

    /// When there is something to do although nobody reports anything.
    pub fn next_due(&self) -> Option<Timestamp> {
        let first = self.ends.first().map(|(until, _)| *until);
        first.into_iter().chain(self.window_ends).min()
    }

    /// Active questions took an instance in, or out.
    pub fn handle_eligible(
        &mut self,
        instance: InstanceId,
        is_eligible: bool,
        now: Timestamp,
    ) -> Vec<PassiveEffect> {
        self.change(instance, |record| record.is_eligible = is_eligible);
        self.fail_open(now)
    }

    /// An instance is gone.
    pub fn handle_removed(&mut self, instance: InstanceId, now: Timestamp) -> Vec<PassiveEffect> {
        self.change(instance, |record| *record = Record::default());
        self.records.remove(&instance);
        self.fail_open(now)
    }

    /// Requests to an instance ended.
    pub fn handle_report(
        &mut self,
        instance: InstanceId,
        outcomes: Outcomes,
        now: Timestamp,
    ) -> Vec<PassiveEffect> {
        let window = self.settings.window;
        let Some(record) = self.records.get_mut(&instance) else { return Vec::new() };
        // Of one that is out, only what was under way ends; it was judged already.
        if record.ejected_until.is_some() || outcomes.requests == 0 {
            return Vec::new();
        }
        record.requests += outcomes.requests;
        record.errors += outcomes.errors.min(outcomes.requests);
        record.errors_since += outcomes.errors;
        record.connect_failures_since += outcomes.connect_failures;
        self.window_ends.get_or_insert(now + window);
        let grounds = record.is_eligible.then(|| self.settings.runs(record, outcomes)).flatten();
        grounds.and_then(|grounds| self.eject(instance, grounds, now)).into_iter().collect()
    }

    /// Time has passed: ends ejections and, at the end of a window, compares shares.
    pub fn handle_tick(&mut self, now: Timestamp) -> Vec<PassiveEffect> {
        let mut effects = Vec::new();
        while let Some((until, instance)) = self.ends.first().copied()
            && until <= now
        {
            effects.extend(self.take_back(instance, false, now));
        }
        if self.window_ends.is_some_and(|end| end <= now) {
            self.window_ends = None;
            for (instance, grounds) in self.outliers() {
                effects.extend(self.eject(instance, grounds, now));
            }
            for record in self.records.values_mut() {
                (record.requests, record.errors) = (0, 0);
            }
        }
        effects
    }

    /// This program did not run for a while: what requests saw meanwhile is no one else's fault.
    pub fn handle_lost(&mut self) {
        self.window_ends = None;
        for record in self.records.values_mut() {
            record.forgive();
        }
    }

    /// Those whose share of errors is above that of the others, the worst first.
    fn outliers(&self) -> Vec<(InstanceId, Grounds)> {
        let Some(above) = self.settings.above_others else { return Vec::new() };
        let least = u128::from(self.settings.least_requests.max(1));
        let counted = self.records.iter().filter(|(_, record)| record.is_eligible);
        let (all_requests, all_errors) =
            counted.clone().fold((0, 0), |(requests, errors), (_, r)| {
                (requests + u128::from(r.requests), errors + u128::from(r.errors))
            });
        let mut outliers: Vec<_> = counted
            .filter_map(|(instance, record)| {
                let (requests, errors) = (u128::from(record.requests), u128::from(record.errors));
                let (others, their_errors) = (all_requests - requests, all_errors - errors);
                if requests < least || others < least {
                    return None;
                }
                // own - others >= above, without a fraction that would have to be rounded.
                let own = errors * others * 100;
                let bound =
                    their_errors * requests * 100 + u128::from(above.number()) * requests * others;
                let hundredths = |part: u128, whole: u128| (part * 100 / whole) as u8;
                let grounds = Grounds::Share {
                    own: hundredths(errors, requests),
                    others: hundredths(their_errors, others),
                    requests: record.requests,
                };
                (own >= bound).then_some((errors * 1_000_000 / requests, *instance, grounds))
            })
            .collect();
        outliers.sort_by_key(|(share, instance, _)| (std::cmp::Reverse(*share), *instance));
        outliers.into_iter().map(|(_, instance, grounds)| (instance, grounds)).collect()
    }

    /// Ejects an eligible instance if that many may be out.
    fn eject(
        &mut self,
        instance: InstanceId,
        grounds: Grounds,
        now: Timestamp,
    ) -> Option<PassiveEffect> {
        let record = self.records.get(&instance)?;
        if !record.is_eligible || record.is_out() || self.ejected >= self.most() {
            return None;
        }
        let settings = self.settings;
        let span = self.change(instance, |record| {
            let has_settled = now.since(record.taken_back) >= settings.longest;
            record.times = if has_settled { 1 } else { record.times.saturating_add(1) };
            let doubled = settings.base.saturating_mul(1 << (record.times - 1).min(16));
            let span = doubled.min(settings.longest);
            record.ejected_until = Some(now + span);
            span
        });
        Some(PassiveEffect::Eject { instance, grounds, span })
    }

    /// Takes back, of those that are out, whose time ends first, until few enough are.
    fn fail_open(&mut self, now: Timestamp) -> Vec<PassiveEffect> {
        let mut effects = Vec::new();
        while self.ejected > self.most() {
            let mut out = self.ends.iter().map(|(_, instance)| *instance);
            let Some(instance) = out.find(|instance| self.is_ejected(*instance)) else { break };
            effects.extend(self.take_back(instance, true, now));
        }
        effects
    }

    fn take_back(
        &mut self,
        instance: InstanceId,
        failed_open: bool,
        now: Timestamp,
    ) -> Option<PassiveEffect> {
        let was_out = self.is_ejected(instance);
        self.change(instance, |record| {
            record.ejected_until = None;
            record.taken_back = now;
            record.forgive();
        });
        was_out.then_some(PassiveEffect::Readmit { instance, failed_open })
    }

    /// Changes a record and keeps the two counts right.
    fn change<T>(&mut self, instance: InstanceId, change: impl FnOnce(&mut Record) -> T) -> T {
        let record = self.records.entry(instance).or_default();
        let (before, ended) = ((record.is_eligible, record.is_out()), record.ejected_until);
        let result = change(record);
        if ended != record.ejected_until {
            ended.map(|until| self.ends.remove(&(until, instance)));
            record.ejected_until.map(|until| self.ends.insert((until, instance)));
        }
        let after = (record.is_eligible, record.is_out());
        self.eligible = self.eligible + usize::from(after.0) - usize::from(before.0);
        self.ejected = self.ejected + usize::from(after.1) - usize::from(before.1);
        result
    }

    /// How many may be out of those that are eligible.
    fn most(&self) -> usize {
        let share = self.eligible * usize::from(self.settings.most_ejected.number()) / 100;
        share.min(self.eligible.saturating_sub(1))
    }
}

impl PassiveSettings {
    /// The first two grounds. A run counts no further back than what was seen since the instance
    /// was last taken back.
    fn runs(&self, record: &Record, outcomes: Outcomes) -> Option<Grounds> {
        let connects = outcomes.connect_failures_in_a_row.min(record.connect_failures_since);
        let errors = outcomes.errors_in_a_row.min(record.errors_since);
        let reaches = |run: u64, most: Option<NonZeroU32>| {
            most.is_some_and(|most| run >= u64::from(most.get()))
        };
        if outcomes.connect_failures > 0 && reaches(connects, self.connect_failures_in_a_row) {
            return Some(Grounds::ConnectFailuresInARow(connects));
        }
        (outcomes.errors > 0 && reaches(errors, self.errors_in_a_row))
            .then_some(Grounds::ErrorsInARow(errors))
    }
}

impl Record {
    const fn is_out(&self) -> bool {
        self.is_eligible && self.ejected_until.is_some()
    }

    fn forgive(&mut self) {
        (self.requests, self.errors) = (0, 0);
        (self.errors_since, self.connect_failures_since) = (0, 0);
    }
}

impl fmt::Display for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorsInARow(run) => write!(f, "{run} requests in a row went wrong"),
            Self::ConnectFailuresInARow(run) => {
                write!(f, "{run} connections in a row failed")
            }
            Self::Share { own, others, requests } => {
                write!(f, "{own} % of {requests} requests went wrong, {others} % elsewhere")
            }
        }
    }
}
