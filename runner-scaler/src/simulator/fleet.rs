//! The instances of a run: what each is doing, what it cost so far.
//!
//! The rules are those of the real thing. Who serves and is not wanted finishes its requests
//! first; of several the one with the fewest goes, the newest among equals. Whoever is frozen
//! wakes before anything is started. A start is not taken back while it may still be used.

use std::cmp::Reverse;

use runner_core::{
    address::Address,
    admission::{Attainable, Expected, Instance, Ledger, Snapshot, Why},
    id::{InstanceId, RevisionNumber, ServiceId},
    time::Timestamp,
};

use super::{
    chance::{LogNormal, mixed},
    scenario::Scenario,
};
use crate::{Count, Observed, Phase};

/// All instances that are not gone, and what those that are gone used.
pub(super) struct Fleet {
    all: Vec<One>,
    started: u64,
    starts: LogNormal,
    seed: u64,
    cap: u32,
    maximum: u32,
    wake: u64,
    minimum_bill: u64,
    wanted: Count,
    /// When the next of them is ready: asked for at every event, changed by few.
    next_ready: u64,
    pub(super) used: Used,
}

/// What was used, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) active: u64,
    pub(super) billed: u64,
    pub(super) standby: u64,
    pub(super) provisioned: u64,
    pub(super) cold_starts: u64,
    pub(super) wakes: u64,
}

#[derive(Clone, Copy, Debug)]
struct One {
    id: InstanceId,
    state: State,
    /// Since when it is in this state.
    since: u64,
    born: u64,
    /// Since when it has its processor.
    active_from: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting { ready_at: u64 },
    Waking { ready_at: u64 },
    Ready,
    Draining { freeze: bool },
    Standby,
}

impl State {
    fn has_processor(self) -> bool {
        self != Self::Standby
    }
}

impl Fleet {
    /// As many as the minimum, ready as if nobody had come for a while: frozen but for those that
    /// never are.
    pub(super) fn new(scenario: &Scenario, standby: bool) -> Self {
        let mut fleet = Self {
            all: Vec::new(),
            started: 0,
            starts: LogNormal::new(scenario.start.as_nanos() as f64, scenario.start_cv),
            seed: scenario.seed ^ STARTS,
            cap: scenario.cap,
            maximum: scenario.maximum,
            wake: scenario.wake.as_nanos() as u64,
            minimum_bill: scenario.prices.minimum.as_nanos() as u64,
            wanted: Count::new(scenario.minimum_active, scenario.minimum),
            next_ready: u64::MAX,
            used: Used::default(),
        };
        for number in 0..scenario.minimum {
            let state = match standby && number >= scenario.minimum_active {
                true => State::Standby,
                false => State::Ready,
            };
            fleet.add(state, 0);
        }
        fleet
    }

    fn add(&mut self, state: State, now: u64) {
        self.started += 1;
        let id = SERVICE.instance(self.started);
        self.all.push(One { id, state, since: now, born: now, active_from: now });
    }

    fn count(&self, of: impl Fn(State) -> bool) -> u32 {
        self.all.iter().filter(|one| of(one.state)).count() as u32
    }

    /// Those that serve, will, or could at once.
    fn present(&self) -> u32 {
        self.count(|state| !matches!(state, State::Draining { freeze: false }))
    }

    /// When the next of them is ready.
    pub(super) const fn next_event(&self) -> u64 {
        self.next_ready
    }

    fn find_next_ready(&mut self) {
        let ready_at = self.all.iter().filter_map(|one| match one.state {
            State::Starting { ready_at } | State::Waking { ready_at } => Some(ready_at),
            State::Ready | State::Draining { .. } | State::Standby => None,
        });
        self.next_ready = ready_at.min().unwrap_or(u64::MAX);
    }

    /// Those whose time has come are ready; tells how long the starts took that are over.
    pub(super) fn handle_time(&mut self, now: u64, mut started: impl FnMut(u64)) {
        for one in &mut self.all {
            match one.state {
                State::Starting { ready_at } if ready_at <= now => {
                    started(ready_at - one.born);
                    (one.state, one.since) = (State::Ready, now);
                }
                State::Waking { ready_at } if ready_at <= now => {
                    (one.state, one.since) = (State::Ready, now);
                }
                _ => {}
            }
        }
        self.find_next_ready();
    }

    /// One that takes no more requests has none left.
    pub(super) fn handle_drained(&mut self, id: InstanceId, now: u64) {
        let Some(index) = self.all.iter().position(|one| one.id == id) else { return };
        match self.all[index].state {
            State::Draining { freeze: true } => self.freeze(index, now),
            State::Draining { freeze: false } => self.stop(index, now),
            State::Starting { .. } | State::Waking { .. } | State::Ready | State::Standby => {}
        }
    }

    /// Works towards what was decided last; `factor` is how many times slower starts are now.
    /// Whether anything changed.
    pub(super) fn work(
        &mut self,
        wanted: Option<Count>,
        ledger: &Ledger<u32>,
        now: u64,
        factor: u64,
    ) -> bool {
        if let Some(wanted) = wanted {
            self.wanted = wanted;
        }
        let mut changed = self.serve_more(now, factor);
        changed |= self.serve_fewer(ledger, now);
        changed |= self.keep_fewer(now);
        if changed {
            self.find_next_ready();
        }
        changed
    }

    /// Those that still drain come back first, then the frozen ones, then new ones.
    fn serve_more(&mut self, now: u64, factor: u64) -> bool {
        let serving = self.count(|state| matches!(state, State::Ready | State::Waking { .. }));
        let mut missing = self.wanted.active.saturating_sub(serving);
        let mut changed = false;
        for one in &mut self.all {
            if missing > 0 && matches!(one.state, State::Draining { .. }) {
                (one.state, one.since) = (State::Ready, now);
                (missing, changed) = (missing - 1, true);
            }
        }
        for one in &mut self.all {
            if missing > 0 && one.state == State::Standby {
                self.used.standby += now - one.since;
                self.used.wakes += 1;
                one.state = State::Waking { ready_at: now + self.wake };
                (one.since, one.active_from) = (now, now);
                (missing, changed) = (missing - 1, true);
            }
        }
        let lacking = self.wanted.total.min(self.maximum).saturating_sub(self.present());
        for _ in 0..lacking {
            let takes = self.starts.draw(mixed(self.seed, self.started)).saturating_mul(factor);
            self.used.cold_starts += 1;
            self.add(State::Starting { ready_at: now.saturating_add(takes) }, now);
            changed = true;
        }
        changed
    }

    /// Ready ones beyond what is to serve are frozen, or stopped where fewer are to be kept.
    fn serve_fewer(&mut self, ledger: &Ledger<u32>, now: u64) -> bool {
        let ready = self.count(|state| matches!(state, State::Ready | State::Waking { .. }));
        let excess = ready.saturating_sub(self.wanted.active);
        if excess == 0 {
            return false;
        }
        let mut victims: Vec<usize> =
            (0..self.all.len()).filter(|&index| self.all[index].state == State::Ready).collect();
        victims.sort_by_key(|&index| {
            let one = &self.all[index];
            (ledger.leases_of(one.id), Reverse(one.id))
        });
        let mut surplus = self.present().saturating_sub(self.wanted.total);
        // What is frozen or starting goes before what serves, in `keep_fewer`.
        let spare = self.count(|state| matches!(state, State::Standby | State::Starting { .. }));
        surplus = surplus.saturating_sub(spare);
        let mut gone = Vec::new();
        for &index in victims.iter().take(excess as usize) {
            let freeze = surplus == 0;
            surplus = surplus.saturating_sub(1);
            let one = &mut self.all[index];
            (one.state, one.since) = (State::Draining { freeze }, now);
            if ledger.leases_of(one.id) == 0 {
                gone.push(one.id);
            }
        }
        for id in gone {
            self.handle_drained(id, now);
        }
        true
    }

    /// Frozen ones beyond what is to be kept are stopped, then starts that nobody needs.
    fn keep_fewer(&mut self, now: u64) -> bool {
        let mut surplus = self.present().saturating_sub(self.wanted.total);
        let mut changed = false;
        while surplus > 0 {
            let of = |wanted: fn(State) -> bool| self.all.iter().rposition(|one| wanted(one.state));
            let spare = of(|state| state == State::Standby)
                .or_else(|| of(|state| matches!(state, State::Starting { .. })))
                .or_else(|| of(|state| state == State::Draining { freeze: true }));
            let Some(index) = spare else { break };
            match self.all[index].state {
                State::Draining { .. } => {
                    self.all[index].state = State::Draining { freeze: false };
                }
                _ => self.stop(index, now),
            }
            (surplus, changed) = (surplus - 1, true);
        }
        changed
    }

    fn freeze(&mut self, index: usize, now: u64) {
        self.bill(index, now);
        let one = &mut self.all[index];
        (one.state, one.since) = (State::Standby, now);
    }

    fn stop(&mut self, index: usize, now: u64) {
        let one = self.all[index];
        match one.state.has_processor() {
            true => self.bill(index, now),
            false => self.used.standby += now - one.since,
        }
        self.used.provisioned += now - one.born;
        self.all.remove(index);
    }

    fn bill(&mut self, index: usize, now: u64) {
        let active = now - self.all[index].active_from;
        self.used.active += active;
        self.used.billed += active.max(self.minimum_bill);
    }

    /// Everything ends.
    pub(super) fn finish(&mut self, now: u64) {
        while !self.all.is_empty() {
            self.stop(self.all.len() - 1, now);
        }
    }

    /// What requests need to know.
    pub(super) fn snapshot(&self, start_up: Option<std::time::Duration>, now: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for one in &self.all {
            let instance = || {
                let address = Address::Tcp(([127, 0, 0, 1], 80).into());
                Instance::new(one.id, address, RevisionNumber::FIRST, self.cap)
            };
            let expected = |at| Expected { slots: self.cap, at };
            match one.state {
                State::Ready => snapshot.instances.push(instance()),
                State::Draining { .. } => snapshot.instances.push(instance().draining()),
                State::Starting { .. } => snapshot.expected.push(expected(
                    start_up.map(|start_up| Timestamp::from_nanos(one.since) + start_up),
                )),
                State::Waking { ready_at } => {
                    snapshot.expected.push(expected(Some(Timestamp::from_nanos(ready_at))));
                }
                // Whoever begins to wait wakes it at once.
                State::Standby => {
                    snapshot.expected.push(expected(Some(Timestamp::from_nanos(now + self.wake))));
                }
            }
        }
        let more = self.maximum.saturating_sub(self.present());
        snapshot.attainable = match more {
            0 => Attainable::Nothing(Why::AtMaximum),
            more => Attainable::Slots { count: more * self.cap, after: start_up },
        };
        snapshot
    }

    /// What a policy is shown.
    pub(super) fn observe(&self, into: &mut Vec<Observed>) {
        into.clear();
        into.extend(self.all.iter().map(|one| {
            let phase = match one.state {
                State::Starting { .. } => Phase::Starting,
                // Awake in milliseconds, before anybody looks again.
                State::Ready | State::Waking { .. } => Phase::Ready,
                // It can be had back at any time, so it counts as what it becomes.
                State::Standby | State::Draining { freeze: true } => Phase::Standby,
                State::Draining { freeze: false } => Phase::Draining,
            };
            Observed { phase, since: Timestamp::from_nanos(one.since) }
        }));
    }

    /// Those with a processor, and those that are frozen.
    pub(super) fn sizes(&self) -> (u32, u32) {
        let active = self.count(State::has_processor);
        (active, self.all.len() as u32 - active)
    }
}

const SERVICE: ServiceId = ServiceId::from_random(8);
const STARTS: u64 = 0x5354_4152_5453_2121;
