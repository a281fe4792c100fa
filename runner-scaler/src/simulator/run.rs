//! One run: arrivals, completions and decisions in the order of their time.
//!
//! Requests go through the admission ledger that serves real ones, decisions come from the engine
//! that decides for real. The only thing that is made up is the world between them: when a
//! request is done ([`arrivals`](super::arrivals)) and when an instance is ready
//! ([`fleet`](super::fleet)).
//!
//! Of events at one time completions come first, then decisions, then arrivals: who comes the
//! moment a slot is free does not wait.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use runner_core::{
    admission::{
        Ask, Lease, Ledger, Outcome, QueueSettings, Queued, Released, Ticket, TurnedAway, Woken,
    },
    time::Timestamp,
};

use super::{
    arrivals::{Arrival, Arrivals},
    fleet::{Fleet, Used},
    histogram::Histogram,
    scenario::{SECOND, Scenario},
    trace::Trace,
};
use crate::{Count, Observation};

/// Who decides in a run: an engine, or a schedule that was written before.
pub(super) trait Driver {
    /// How many there should be.
    fn decide(&mut self, seen: &Observation, now: Timestamp) -> Count;
    /// How long a start takes, if that was learned.
    fn start_up(&self) -> Option<Duration>;
    /// When it wants to look next.
    fn next_look(&self, now: u64) -> u64;
    /// Whether it looks when somebody begins to wait.
    fn looks_on_demand(&self) -> bool;
    /// Whether it freezes instances.
    fn freezes(&self) -> bool;
}

/// What came of a run.
pub(super) struct Outcomes {
    pub(super) waits: Histogram,
    pub(super) served: u64,
    pub(super) refused: u64,
    pub(super) expired: u64,
    pub(super) fitted: u64,
    /// Requests that waited longer than the objective, and those that were refused.
    pub(super) late: u64,
    pub(super) used: Used,
    /// Slot time of those that were served.
    pub(super) work: u64,
    /// When the first that was served of each second came.
    pub(super) firsts: Vec<u64>,
    pub(super) points: Vec<Point>,
}

/// What a run was like at one look.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// Seconds since the beginning.
    pub second: f64,
    /// Requests that came since the look before.
    pub arrivals: u64,
    /// Instances with a processor.
    pub active: u32,
    /// Frozen instances.
    pub standby: u32,
    /// The most that waited at once.
    pub waiting: u32,
    /// Requests that were refused.
    pub refused: u64,
}

/// A request that will be done.
struct Done {
    at: u64,
    held: u64,
    lease: Lease,
}

impl PartialEq for Done {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Done {}

impl PartialOrd for Done {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Done {
    /// The soonest is the greatest, for a heap that has the greatest on top.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

/// A request that waits.
#[derive(Clone, Copy)]
struct Waiting {
    arrival: Arrival,
    ticket: Option<Ticket>,
}

/// What was counted since the look before.
#[derive(Default)]
struct Span {
    began: u64,
    arrivals: u64,
    refused: u64,
    completed: u64,
    held: u64,
    granted_after_wait: u64,
    waited: u64,
    /// Requests present times how long.
    area: u64,
    most_waiting: u32,
}

pub(super) struct Run<'a, D> {
    scenario: &'a Scenario,
    seconds: usize,
    arrivals: Arrivals<'a>,
    driver: D,
    ledger: Ledger<u32>,
    fleet: Fleet,
    done: BinaryHeap<Done>,
    waiting: Vec<Waiting>,
    vacant: Vec<u32>,
    expiries: VecDeque<(u64, Ticket)>,
    /// When those came that were refused and might have been served in time.
    regretted: VecDeque<u64>,
    span: Span,
    started: Vec<Duration>,
    observation: Observation,
    now: u64,
    next_look: u64,
    next_control: u64,
    demanded: bool,
    record: bool,
    out: Outcomes,
}

impl<'a, D: Driver> Run<'a, D> {
    pub(super) fn new(trace: &'a Trace, scenario: &'a Scenario, driver: D, record: bool) -> Self {
        let fleet = Fleet::new(scenario, driver.freezes());
        let snapshot = fleet.snapshot(driver.start_up(), 0);
        let settings = QueueSettings::new(scenario.max_waiting, scenario.max_wait);
        let mut observation = Observation { cap: scenario.cap, ..Observation::default() };
        observation.instances.reserve(scenario.maximum as usize * 2);
        let mut run = Self {
            scenario,
            seconds: trace.seconds(),
            arrivals: Arrivals::new(trace, scenario),
            ledger: Ledger::new(settings, snapshot, Timestamp::EPOCH),
            fleet,
            done: BinaryHeap::with_capacity(1_024),
            waiting: Vec::new(),
            vacant: Vec::new(),
            expiries: VecDeque::new(),
            regretted: VecDeque::new(),
            span: Span::default(),
            started: Vec::new(),
            observation,
            now: 0,
            next_look: driver.next_look(0),
            next_control: 0,
            demanded: false,
            record,
            driver,
            out: Outcomes {
                waits: Histogram::new(),
                served: 0,
                refused: 0,
                expired: 0,
                fitted: 0,
                late: 0,
                used: Used::default(),
                work: 0,
                firsts: Vec::new(),
                points: Vec::new(),
            },
        };
        run.plan();
        run
    }

    /// Runs to the end: of the trace, and of the last request. Tells how many seconds are over.
    pub(super) fn finish(mut self, progress: &mut dyn FnMut(usize)) -> Outcomes {
        let end = self.seconds as u64 * SECOND;
        let mut told = 0;
        loop {
            let (come, control) = (self.arrivals.peek(), self.next_control);
            let done = self.done.peek().map_or(u64::MAX, |done| done.at);
            if done <= control && done <= come {
                self.complete();
            } else if control <= come {
                let over = come == u64::MAX && done == u64::MAX && self.ledger.waiting() == 0;
                if over && control >= end {
                    break;
                }
                self.control(control);
                if control / SECOND > told {
                    told = control / SECOND;
                    progress(told as usize);
                }
            } else {
                self.arrive();
            }
        }
        let end = self.now.max(end);
        self.fleet.finish(end);
        self.out.used = self.fleet.used;
        self.out
    }

    // === requests ===

    /// Lets time pass.
    #[inline]
    fn advance(&mut self, now: u64) {
        let present = self.done.len() as u64 + u64::from(self.ledger.waiting());
        self.span.area += present * (now - self.now);
        self.now = now;
    }

    fn arrive(&mut self) {
        let Some(arrival) = self.arrivals.take() else { return };
        self.advance(arrival.at);
        self.span.arrivals += 1;
        match self.ledger.admit(&Ask::default()) {
            Some(lease) => {
                self.out.waits.record_zero();
                self.serve(lease, arrival);
            }
            None => self.wait(arrival),
        }
    }

    fn wait(&mut self, arrival: Arrival) {
        let now = Timestamp::from_nanos(self.now);
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => {
                self.waiting.push(Waiting { arrival, ticket: None });
                (self.waiting.len() - 1) as u32
            }
        };
        self.waiting[index as usize] = Waiting { arrival, ticket: None };
        match self.ledger.enqueue(&Ask::default(), index, now) {
            Ok(Queued { ticket, deadline, demand, displaced }) => {
                // All ask alike, so nobody is owed another's place.
                debug_assert!(displaced.is_none());
                self.waiting[index as usize].ticket = Some(ticket);
                self.expiries.push_back((deadline.as_nanos(), ticket));
                self.next_control = self.next_control.min(deadline.as_nanos());
                self.span.most_waiting = self.span.most_waiting.max(self.ledger.waiting());
                self.hear(demand.is_some());
            }
            Err(TurnedAway { refusal, waiter: index, demand }) => {
                debug_assert!(refusal.budget <= self.scenario.max_wait);
                self.vacant.push(index);
                self.refuse();
                self.hear(demand.is_some());
            }
        }
    }

    fn hear(&mut self, demand: bool) {
        if demand && self.driver.looks_on_demand() {
            self.demanded = true;
            // A burst of edges is one demand.
            let soonest = self.span.began + SHORTEST_LOOK;
            self.next_control = self.next_control.min(soonest.max(self.now));
        }
    }

    fn refuse(&mut self) {
        self.span.refused += 1;
        self.out.refused += 1;
        self.out.late += 1;
        let patience = self.scenario.max_wait.as_nanos() as u64;
        while self.regretted.front().is_some_and(|at| at + patience < self.now) {
            self.regretted.pop_front();
        }
        self.regretted.push_back(self.now);
    }

    #[inline]
    fn serve(&mut self, lease: Lease, arrival: Arrival) {
        if !self.regretted.is_empty() {
            self.regret(arrival.at);
        }
        self.out.served += 1;
        self.out.work += arrival.service;
        let second = arrival.at / SECOND;
        if self.out.firsts.last().is_none_or(|first| first / SECOND < second) {
            self.out.firsts.push(arrival.at);
        }
        self.done.push(Done { at: self.now + arrival.service, held: arrival.service, lease });
    }

    /// Somebody who came at `arrived` is served now. Whoever came before it and was refused would
    /// have been served by now too: in time, if its patience had lasted.
    fn regret(&mut self, arrived: u64) {
        let patience = self.scenario.max_wait.as_nanos() as u64;
        while let Some(at) = self.regretted.front().copied().filter(|at| *at <= arrived) {
            self.regretted.pop_front();
            if self.now <= at + patience {
                self.out.fitted += 1;
            }
        }
    }

    fn complete(&mut self) {
        let Some(Done { at, held, lease }) = self.done.pop() else { return };
        // The one that was taken out was present until now.
        self.span.area += at - self.now;
        self.advance(at);
        self.span.completed += 1;
        self.span.held += held;
        if lease.is_sampled() {
            self.ledger.learn(Duration::from_nanos(held));
        }
        let Released { woken, drained } = self.ledger.release(lease);
        if !woken.is_empty() {
            self.wake(woken);
        } else if !self.regretted.is_empty() && self.ledger.waiting() == 0 {
            self.regret(u64::MAX);
        }
        if let Some(id) = drained {
            self.fleet.handle_drained(id, at);
            self.work(None);
        }
    }

    fn wake(&mut self, woken: Woken<u32>) {
        let now = Timestamp::from_nanos(self.now);
        for index in woken {
            let Waiting { arrival, ticket } = self.waiting[index as usize];
            let Some(ticket) = ticket else { continue };
            self.vacant.push(index);
            match self.ledger.collect(ticket, now) {
                Outcome::Granted(lease) => {
                    let waited = self.now - arrival.at;
                    self.span.granted_after_wait += 1;
                    self.span.waited += waited;
                    self.out.waits.record(waited);
                    if waited >= self.scenario.objective.wait.as_nanos() as u64 {
                        self.out.late += 1;
                    }
                    self.serve(lease, arrival);
                }
                Outcome::Refused(_) => self.refuse(),
                Outcome::Waiting => debug_assert!(false, "whoever is woken was decided about"),
            }
        }
    }

    // === control ===

    fn control(&mut self, now: u64) {
        self.advance(now);
        while let Some((_, ticket)) = self.expiries.front().copied().filter(|(at, _)| *at <= now) {
            self.expiries.pop_front();
            if let Some((_, index)) = self.ledger.expire(ticket, Timestamp::from_nanos(now)) {
                self.vacant.push(index);
                self.span.refused += 1;
                self.out.refused += 1;
                self.out.expired += 1;
                self.out.late += 1;
            }
        }
        if self.fleet.next_event() <= now {
            let started = &mut self.started;
            self.fleet.handle_time(now, |took| started.push(Duration::from_nanos(took)));
            self.work_anew(None);
        }
        let demanded = self.demanded && now >= self.span.began + SHORTEST_LOOK;
        if demanded || now >= self.next_look {
            self.look();
        }
        self.plan();
    }

    fn look(&mut self) {
        let now = Timestamp::from_nanos(self.now);
        self.demanded = false;
        if self.now >= self.next_look {
            let woken = self.ledger.tick(now);
            self.wake(woken);
        }
        self.observe();
        let wanted = self.driver.decide(&self.observation, now);
        self.work(Some(wanted));
        if self.record {
            self.remember();
        }
        self.next_look = self.driver.next_look(self.now);
        self.span = Span { began: self.now, ..Span::default() };
    }

    fn observe(&mut self) {
        let span = &self.span;
        let length = self.now - span.began;
        let mean = |sum: u64, count: u64| (count > 0).then(|| Duration::from_nanos(sum / count));
        let load = &mut self.observation.load;
        load.span = Duration::from_nanos(length);
        load.in_flight = self.done.len() as u64;
        load.waiting = self.ledger.waiting().into();
        load.arrivals = span.arrivals;
        load.refused = span.refused;
        load.completed = span.completed;
        load.concurrency = (length > 0).then(|| span.area as f64 / length as f64);
        load.queue_wait = mean(span.waited, span.granted_after_wait);
        load.service_time = mean(span.held, span.completed);
        self.fleet.observe(&mut self.observation.instances);
        self.observation.started.clear();
        self.observation.started.append(&mut self.started);
    }

    fn remember(&mut self) {
        let (active, standby) = self.fleet.sizes();
        self.out.points.push(Point {
            second: self.now as f64 / SECOND as f64,
            arrivals: self.span.arrivals,
            active,
            standby,
            waiting: self.span.most_waiting,
            refused: self.span.refused,
        });
    }

    fn work(&mut self, wanted: Option<Count>) {
        let factor = self.scenario.start_factor(self.now, self.seconds);
        if self.fleet.work(wanted, &self.ledger, self.now, factor) || wanted.is_none() {
            self.publish();
        }
    }

    /// The same where the fleet is known to have changed.
    fn work_anew(&mut self, wanted: Option<Count>) {
        let factor = self.scenario.start_factor(self.now, self.seconds);
        // Requests see those that became ready before any of them is taken away again.
        self.publish();
        if self.fleet.work(wanted, &self.ledger, self.now, factor) {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let snapshot = self.fleet.snapshot(self.driver.start_up(), self.now);
        let woken = self.ledger.apply(snapshot, Timestamp::from_nanos(self.now));
        self.wake(woken);
        self.plan();
    }

    fn plan(&mut self) {
        let expiry = self.expiries.front().map_or(u64::MAX, |(at, _)| *at);
        let mut next = self.next_look.min(self.fleet.next_event()).min(expiry);
        if self.demanded {
            next = next.min((self.span.began + SHORTEST_LOOK).max(self.now));
        }
        self.next_control = next;
    }
}

/// Demands closer to each other than this are one.
pub(super) const SHORTEST_LOOK: u64 = 10_000_000;
