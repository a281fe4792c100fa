//! What the monitor knows: the machine and what is due. No decisions but the order of starting.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use runner_core::{address::Address, id::InstanceId, time::Timestamp};
use tokio::task::AbortHandle;

use super::{Lateness, MonitorCounters, Notice};
use crate::{
    Plan,
    probe::{Probe, Seen, Target},
    verdict::{Answer, Ask, FleetEffect, FleetEvent, FleetHealth, Question},
};

#[derive(Debug)]
pub(super) struct State {
    pub(super) fleet: FleetHealth,
    /// Boxed: a map has room for a dozen values, and most fleets are of one.
    watched: BTreeMap<InstanceId, Box<Watched>>,
    due: Due,
    /// Those whose last attempt waited in vain.
    suspects_due: Due,
    notices: VecDeque<Notice>,
    pub(super) counters: MonitorCounters,
    pub(super) lateness: Lateness,
}

type Due = BTreeSet<(Timestamp, InstanceId, Question)>;

#[derive(Debug)]
struct Watched {
    address: Address,
    plan: Arc<Plan>,
    slots: [Option<Slot>; 3],
    /// What the last attempt saw.
    seen: Option<Seen>,
}

/// A question that is to be asked or is being asked.
#[derive(Debug)]
struct Slot {
    ask: Ask,
    running: Option<AbortHandle>,
    is_suspect: bool,
}

/// An attempt to be started.
pub(super) struct Start {
    pub(super) instance: InstanceId,
    pub(super) ask: Ask,
    pub(super) is_suspect: bool,
    pub(super) probe: Arc<dyn Probe>,
    pub(super) target: Target,
    pub(super) losses: u64,
}

/// How many more attempts may be started.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) all: usize,
    pub(super) suspects: usize,
}

impl State {
    pub(super) fn new(fleet: FleetHealth) -> Self {
        Self {
            fleet,
            watched: BTreeMap::new(),
            due: Due::new(),
            suspects_due: Due::new(),
            notices: VecDeque::new(),
            counters: MonitorCounters::default(),
            lateness: Lateness::default(),
        }
    }

    pub(super) fn add(
        &mut self,
        instance: InstanceId,
        address: Address,
        plan: Arc<Plan>,
        now: Timestamp,
    ) {
        if self.watched.contains_key(&instance) {
            return;
        }
        let settings = Arc::clone(plan.settings());
        let slots = [const { None }; 3];
        let watched = Watched { address, plan, slots, seen: None };
        self.watched.insert(instance, Box::new(watched));
        self.handle(FleetEvent::Added { instance, settings }, now);
    }

    pub(super) fn remove(&mut self, instance: InstanceId, now: Timestamp) {
        self.forget_asks(instance);
        self.watched.remove(&instance);
        self.handle(FleetEvent::Removed { instance }, now);
    }

    pub(super) fn seen(&self, instance: InstanceId) -> Option<Seen> {
        self.watched.get(&instance)?.seen.clone()
    }

    pub(super) fn freeze(&mut self, instance: InstanceId, now: Timestamp) {
        self.forget_asks(instance);
        self.handle(FleetEvent::Freeze { instance }, now);
    }

    pub(super) fn answer(&mut self, instance: InstanceId, answer: Answer, now: Timestamp) {
        if let Some(watched) = self.watched.get_mut(&instance) {
            let slot = watched.slots[answer.question as usize].as_mut();
            if let Some(slot) = slot.filter(|slot| slot.ask.ticket == answer.ticket) {
                slot.running = None;
                slot.is_suspect = answer.seen.is_time_out();
                watched.seen = Some(answer.seen.clone());
            }
        }
        self.counters.answered += 1;
        self.counters.good += u64::from(answer.seen.is_good());
        self.counters.disturbed += u64::from(answer.disturbed);
        self.handle(FleetEvent::Answered { instance, answer }, now);
    }

    pub(super) fn handle(&mut self, event: FleetEvent, now: Timestamp) {
        for effect in self.fleet.handle(event, now) {
            match effect {
                FleetEffect::Ask { instance, ask } => self.schedule(instance, ask),
                FleetEffect::Changed(change) => {
                    self.notify(Notice::Changed { change, at: now });
                }
                FleetEffect::Replace { instance } => self.notify(Notice::Replace { instance }),
            }
        }
    }

    /// The next attempts that are due and for which there is room, in the order of their times.
    pub(super) fn next_start(&mut self, room: Room, now: Timestamp) -> Option<Start> {
        let first = |due: &Due| due.first().copied().filter(|(at, ..)| *at <= now);
        let well = first(&self.due).filter(|_| room.all > 0);
        let suspect = first(&self.suspects_due).filter(|_| room.all > 0 && room.suspects > 0);
        let (at, instance, question) = well.into_iter().chain(suspect).min()?;
        let key = (at, instance, question);
        if !self.due.remove(&key) {
            self.suspects_due.remove(&key);
        }
        let watched = self.watched.get(&instance)?;
        let slot = watched.slots[question as usize].as_ref()?;
        self.lateness.count(now.since(at));
        self.counters.started += 1;
        Some(Start {
            instance,
            ask: slot.ask,
            is_suspect: slot.is_suspect,
            probe: Arc::clone(watched.plan.probe(question)),
            target: Target::new(instance, watched.address.clone(), slot.ask.limit),
            losses: self.counters.losses,
        })
    }

    pub(super) fn started(&mut self, instance: InstanceId, ask: &Ask, task: AbortHandle) {
        if let Some(watched) = self.watched.get_mut(&instance)
            && let Some(slot) = &mut watched.slots[ask.question as usize]
        {
            slot.running = Some(task);
        }
    }

    /// When there is something to do.
    pub(super) fn next_due(&self, room: Room) -> Option<Timestamp> {
        let first = |due: &Due| due.first().map(|(at, ..)| *at);
        let well = first(&self.due).filter(|_| room.all > 0);
        let suspect = first(&self.suspects_due).filter(|_| room.all > 0 && room.suspects > 0);
        well.into_iter().chain(suspect).chain(self.fleet.next_due()).min()
    }

    pub(super) fn take_notices(&mut self) -> VecDeque<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn schedule(&mut self, instance: InstanceId, ask: Ask) {
        let Some(watched) = self.watched.get_mut(&instance) else { return };
        let slot = &mut watched.slots[ask.question as usize];
        let is_suspect = slot.as_ref().is_some_and(|slot| slot.is_suspect);
        let before = slot.replace(Slot { ask, running: None, is_suspect });
        if let Some(before) = before {
            forget(before, instance, &mut self.due, &mut self.suspects_due);
        }
        let due = if is_suspect { &mut self.suspects_due } else { &mut self.due };
        due.insert((ask.at, instance, ask.question));
    }

    fn forget_asks(&mut self, instance: InstanceId) {
        let Some(watched) = self.watched.get_mut(&instance) else { return };
        for slot in watched.slots.iter_mut().filter_map(Option::take) {
            forget(slot, instance, &mut self.due, &mut self.suspects_due);
        }
    }

    /// Keeps a notice until it is read. While nobody reads, what is kept stays within a few for
    /// each instance: the changes of one are put together.
    fn notify(&mut self, notice: Notice) {
        self.notices.push_back(notice);
        if self.notices.len() <= 4 * (self.watched.len() + 256) {
            return;
        }
        let mut merged: BTreeMap<InstanceId, (Option<Notice>, bool)> = BTreeMap::new();
        for notice in self.notices.drain(..) {
            match notice {
                Notice::Replace { instance } => merged.entry(instance).or_default().1 = true,
                Notice::Changed { mut change, at } => {
                    let (kept, _) = merged.entry(change.instance).or_default();
                    if let Some(Notice::Changed { change: first, .. }) = kept {
                        change.from = first.from;
                    }
                    *kept = Some(Notice::Changed { change, at });
                }
            }
        }
        for (instance, (change, is_replaced)) in merged {
            self.notices.extend(change);
            self.notices.extend(is_replaced.then_some(Notice::Replace { instance }));
        }
    }
}

fn forget(slot: Slot, instance: InstanceId, due: &mut Due, suspects_due: &mut Due) {
    let key = (slot.ask.at, instance, slot.ask.question);
    due.remove(&key);
    suspects_due.remove(&key);
    // One whose answer nobody waits for any more; of one that has ended this does nothing.
    slot.running.inspect(AbortHandle::abort);
}
