//! Keys take turns: start-time fair queueing in each class.
//!
//! An ideal server would serve all keys of a class at once, each at a speed in proportion to its
//! weight. The real one serves a request at a time: the one that would *start* first in the ideal.
//! A class's `now` is how far the ideal has come, a key's `start` is where its next request would
//! begin, and a turn moves that on by the inverse of the key's weight. A key that comes back after
//! a while begins at `now`: it is owed nothing for the time it did not ask.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FairKey, Pin, Priority, QueueSettings,
    lanes::{ByPin, Line},
};

/// The classes and the keys in them, and who is next. Knows who waits only as lines of people.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) classes: [Class; Priority::ALL.len()],
    flows: Vec<Flow>,
    vacant: Vec<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Class {
    pub(super) waiting: u32,
    /// Weights of the keys that have somebody waiting.
    pub(super) weight: u64,
    pub(super) flows: BTreeMap<FlowKey, u32>,
    /// How far the ideal division has come.
    now: u64,
    /// Keys that have nobody waiting but were charged ahead of `now`, by what they were charged.
    charged: BTreeSet<(u64, u32)>,
    /// The last key that waited in an empty class. It is owed nothing and kept only because it is
    /// the most likely to come next: forgetting it would search and change a tree each time.
    idle: Option<u32>,
    /// In each lane the keys that have somebody in it, the next one first.
    order: ByPin<Order>,
}

/// Those of one key in one class.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) class: u8,
    pub(super) key: FlowKey,
    pub(super) weight: u32,
    /// What a turn costs it: kept, since to divide for each takes as long as the rest of a turn.
    cost: u64,
    pub(super) waiting: u32,
    pub(super) lines: ByPin<Option<Line>>,
    /// When its next request would start in an ideal division.
    start: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FlowKey {
    /// Those who were admitted before and came back unserved: the head of the class.
    Returned,
    Of(FairKey),
}

/// When a key's line is next: by start, then by arrival of its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    start: u64,
    arrival: u64,
    pub(super) flow: u32,
}

/// Turns in order. The first is held apart from the rest, so that as long as a single key waits
/// there is no tree to be searched, and none allocated.
#[derive(Debug, Default, PartialEq)]
struct Order {
    first: Option<Turn>,
    /// Empty if there is no first.
    rest: BTreeSet<Turn>,
}

impl Keys {
    /// The people of a key.
    pub(super) fn flow(&self, flow: u32) -> &Flow {
        &self.flows[flow as usize]
    }

    /// The people of a key, if it is known.
    pub(super) fn find(&self, class: usize, key: FairKey) -> Option<&Flow> {
        self.classes[class].flows.get(&FlowKey::Of(key)).map(|&flow| self.flow(flow))
    }

    /// Counts somebody in and says among whom it stands.
    #[inline]
    pub(super) fn enter(&mut self, class: usize, key: FlowKey, settings: &QueueSettings) -> u32 {
        let index = match self.known(class, key) {
            Some(known) => known,
            None => self.admit(class, key),
        };
        let (flow, class) = (&mut self.flows[index as usize], &mut self.classes[class]);
        if flow.waiting == 0 {
            if class.idle == Some(index) {
                class.idle = None;
            } else {
                class.charged.remove(&(flow.start, index));
            }
            if let FlowKey::Of(key) = key {
                flow.start = flow.start.max(class.now).max(FIRST_START);
                flow.weight = settings.weight_of(key);
                flow.cost = TURN / u64::from(flow.weight);
            }
            class.weight += u64::from(flow.weight);
        }
        flow.waiting += 1;
        class.waiting += 1;
        index
    }

    /// Counts somebody out who stands in no line any more.
    #[inline]
    pub(super) fn leave(&mut self, index: u32) {
        let flow = &mut self.flows[index as usize];
        let class = &mut self.classes[usize::from(flow.class)];
        flow.waiting -= 1;
        class.waiting -= 1;
        if flow.waiting == 0 {
            class.weight -= u64::from(flow.weight);
            let number = usize::from(flow.class);
            if class.waiting == 0 {
                self.forget_all_but(number, index);
            } else {
                class.charged.insert((flow.start, index));
                self.settle(number);
            }
        }
    }

    /// The place of a key, if it has one. Looked for first where the next turn is: as long as a
    /// single key waits, that is it.
    #[inline]
    fn known(&self, class: usize, key: FlowKey) -> Option<u32> {
        let class = &self.classes[class];
        let likely = class.order.get(Pin::Any).and_then(|order| order.first);
        match likely.map(|turn| turn.flow).or(class.idle) {
            Some(flow) if self.flow(flow).key == key => Some(flow),
            _ => class.flows.get(&key).copied(),
        }
    }

    /// The line of a key in the lane of any slot, to be made longer: which changes no turn.
    #[inline]
    pub(super) fn line_to_extend(&mut self, index: u32) -> Option<&mut Line> {
        self.flows[index as usize].lines.any_mut().as_mut()
    }

    /// Takes the next turn where nobody insists on anything: the same as [`Self::take_turn`] of
    /// what [`Self::next_in`] finds, and as few steps as it takes. `change` takes the first of its
    /// line out.
    #[inline]
    pub(super) fn take_plain_turn(&mut self, change: impl FnOnce(&mut Option<Line>)) -> u32 {
        let class = self.classes.iter_mut().find(|class| class.waiting > 0);
        let order = class.expect("somebody waits");
        let (now, order) = (&mut order.now, order.order.any_mut());
        let turn = order.first.expect("somebody waits in this lane");
        let flow = &mut self.flows[turn.flow as usize];
        *now = (*now).max(turn.start);
        flow.start += flow.cost;
        let (start, line) = (flow.start, flow.lines.any_mut());
        change(line);
        let next = line.map(|line| Turn { start, arrival: line.arrival, flow: turn.flow });
        order.replace_first(next);
        turn.flow
    }

    /// Changes one line of a key. If that gives it another first, it gets another turn.
    #[inline]
    pub(super) fn change_line(
        &mut self,
        index: u32,
        pin: Pin,
        change: impl FnOnce(&mut Option<Line>),
    ) {
        let Flow { class, start, lines, .. } = &mut self.flows[index as usize];
        let turn = |line: Line| Turn { start: *start, arrival: line.arrival, flow: index };
        let (before, after) = lines.change(pin, |line| {
            let before = line.map(turn);
            change(line);
            (before, line.map(turn))
        });
        if before != after {
            let order = &mut self.classes[usize::from(*class)].order;
            order.change(pin, |order| order.replace(before, after));
        }
    }

    /// Takes a turn: the first of one line leaves by `change`, and the key is charged for it, in
    /// all of its lines at once.
    #[inline]
    pub(super) fn take_turn(
        &mut self,
        turn: Turn,
        pin: Pin,
        change: impl FnOnce(&mut Option<Line>),
    ) {
        let index = turn.flow;
        let flow = &mut self.flows[index as usize];
        let class = &mut self.classes[usize::from(flow.class)];
        class.now = class.now.max(turn.start);
        let before = flow.start;
        flow.start += flow.cost;
        let turn_of = |start, line: Line| Turn { start, arrival: line.arrival, flow: index };
        let line = flow.lines.change(pin, |line| {
            change(line);
            *line
        });
        let next = line.map(|line| turn_of(flow.start, line));
        class.order.change(pin, |order| order.replace(Some(turn), next));
        flow.lines.for_each(|other, line| {
            if let Some(line) = *line
                && other != pin
            {
                let (before, after) = (turn_of(before, line), turn_of(flow.start, line));
                class.order.change(other, |order| order.replace(Some(before), Some(after)));
            }
        });
    }

    /// The first class that has somebody in a lane, and whose turn it is there.
    #[inline]
    pub(super) fn next_in(&self, pin: Pin) -> Option<(u8, Turn)> {
        (0..)
            .zip(&self.classes)
            .filter(|(_, class)| class.waiting > 0)
            .find_map(|(number, class)| Some((number, class.order.get(pin)?.first?)))
    }

    /// Takes in a key that is not known.
    fn admit(&mut self, class: usize, key: FlowKey) -> u32 {
        // Those who come back start before everybody, however long others have waited, and pay
        // nothing. What others weigh and pay is looked up whenever they begin to wait.
        let start = if key == FlowKey::Returned { 0 } else { self.classes[class].now };
        let lines = ByPin::default();
        let flow = Flow { class: class as u8, key, weight: 1, cost: 0, waiting: 0, lines, start };
        let index = match self.vacant.pop() {
            Some(index) => {
                self.flows[index as usize] = flow;
                index
            }
            None => {
                self.flows.push(flow);
                (self.flows.len() - 1) as u32
            }
        };
        self.classes[class].flows.insert(key, index);
        index
    }

    /// Forgets what keys were charged once it no longer matters: when the division has come as
    /// far, or when so many are remembered that the oldest must go.
    fn settle(&mut self, class: usize) {
        let class = &mut self.classes[class];
        while let Some(&(start, flow)) = class.charged.first() {
            if start > class.now && class.charged.len() <= MOST_CHARGED {
                break;
            }
            class.charged.pop_first();
            class.flows.remove(&self.flows[flow as usize].key);
            self.vacant.push(flow);
        }
    }

    /// Forgets what all keys of a class were charged that nobody waits in, and all keys but the
    /// last.
    fn forget_all_but(&mut self, class: usize, last: u32) {
        let class = &mut self.classes[class];
        class.now = 0;
        self.flows[last as usize].start = 0;
        let before = class.idle.replace(last);
        if before.is_none() && class.charged.is_empty() {
            return;
        }
        let charged = std::mem::take(&mut class.charged).into_iter().map(|(_, flow)| flow);
        for flow in before.into_iter().chain(charged) {
            class.flows.remove(&self.flows[flow as usize].key);
            self.vacant.push(flow);
        }
    }
}

impl Order {
    /// Puts one turn in the place of another, either of which may be none.
    #[inline]
    fn replace(&mut self, before: Option<Turn>, after: Option<Turn>) {
        if self.first == before && self.rest.is_empty() {
            self.first = after;
            return;
        }
        if let Some(before) = before {
            self.remove(before);
        }
        if let Some(after) = after {
            self.insert(after);
        }
    }

    /// Puts a turn, or none, in the place of the first.
    #[inline]
    fn replace_first(&mut self, after: Option<Turn>) {
        self.first = after;
        if let Some(&next) = self.rest.first()
            && after.is_none_or(|after| next < after)
        {
            self.first = self.rest.pop_first();
            self.rest.extend(after);
        }
    }

    fn insert(&mut self, turn: Turn) {
        match self.first {
            None => self.first = Some(turn),
            Some(first) => {
                self.first = Some(first.min(turn));
                self.rest.insert(first.max(turn));
            }
        }
    }

    fn remove(&mut self, turn: Turn) {
        if self.first == Some(turn) {
            self.first = self.rest.pop_first();
        } else {
            self.rest.remove(&turn);
        }
    }
}

/// Where keys start in a class where nobody was served; before it start those who come back.
const FIRST_START: u64 = 1;

/// What a turn costs a key of weight 1.
const TURN: u64 = 1 << 20;

/// How many keys that have nobody waiting are remembered for what they were charged: a bound
/// against clients that invent keys, far above the keys that any fleet serves at once.
const MOST_CHARGED: usize = 4_096;
