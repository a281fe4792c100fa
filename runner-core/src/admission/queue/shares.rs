//! What is whose share of the queue: places in it, and who has to make room.

use super::{
    Pin, Priority, Queue, QueueSettings, Standing, Ticket,
    keys::{Flow, FlowKey},
};
use crate::admission::{Ask, FairKey};

impl<W, D> Queue<W, D> {
    /// The place, counted from 1, that a newcomer would be served at if nobody came after it.
    ///
    /// Each other key gets at most its weight's part of the turns until then, and no more than it
    /// has waiting; one bound over all of them stands for the sum, so that this costs the same
    /// however many keys there are.
    pub(in super::super) fn place_of(
        &self,
        priority: Priority,
        key: FairKey,
        settings: &QueueSettings,
    ) -> u64 {
        let class = &self.keys.classes[priority as usize];
        let own = self.keys.find(priority as usize, key).map_or(0, |flow| flow.waiting);
        let weight = u64::from(settings.weight_of(key));
        let all = class.weight + if own == 0 { weight } else { 0 };
        self.ahead_of(priority) + place_among(own, weight, all, class.waiting)
    }

    /// The same for one that was admitted before and comes back: only those stand before it that
    /// came back earlier, and the classes before its own.
    pub(in super::super) fn place_of_returned(&self, priority: Priority) -> u64 {
        let returned = self.keys.classes[priority as usize].flows.get(&FlowKey::Returned);
        let own = returned.map_or(0, |&flow| self.keys.flow(flow).waiting);
        self.ahead_of(priority) + u64::from(own) + 1
    }

    /// How many wait in the classes before this one.
    fn ahead_of(&self, priority: Priority) -> u64 {
        let before = &self.keys.classes[..priority as usize];
        before.iter().map(|class| u64::from(class.waiting)).sum()
    }

    /// What somebody who waits would ask for if it came anew.
    pub(in super::super) fn ask_of(&self, standing: &Standing) -> Ask {
        let flow = self.keys.flow(standing.flow);
        let key = match flow.key {
            FlowKey::Returned => FairKey::default(),
            FlowKey::Of(key) => key,
        };
        let priority = Priority::ALL[usize::from(flow.class)];
        Ask { priority, key, pin: standing.pin, ..Ask::default() }
    }

    /// Whose place a newcomer may take in a full queue: the newest of the key furthest above its
    /// share, if the newcomer's key is below its own; or, where a lower class waits, of the last
    /// such class.
    pub(in super::super) fn displaced_by(
        &self,
        priority: Priority,
        key: FairKey,
        settings: &QueueSettings,
    ) -> Option<Ticket> {
        let classes = &self.keys.classes;
        let mut lower = (priority as usize + 1..classes.len()).rev();
        if let Some(flow) = lower.find_map(|class| self.furthest_above(class, 0)) {
            return self.newest_of(flow);
        }
        let class = priority as usize;
        let own = u128::from(self.keys.find(class, key).map_or(0, |flow| flow.waiting));
        let weight = u128::from(settings.weight_of(key));
        let newly = if own == 0 { weight } else { 0 };
        let all = u128::from(classes[class].weight) + newly;
        let below = (own + 1) * all <= u128::from(classes[class].waiting) * weight;
        if !below {
            return None;
        }
        self.newest_of(self.furthest_above(class, newly as u64)?)
    }

    /// The key that has most above its share of those who wait in a class, were there `newly`
    /// more weight.
    fn furthest_above(&self, class: usize, newly: u64) -> Option<&Flow> {
        let class = &self.keys.classes[class];
        let all = i128::from(class.weight + newly);
        let excess = |flow: &&Flow| {
            i128::from(flow.waiting) * all - i128::from(class.waiting) * i128::from(flow.weight)
        };
        let flows = class.flows.values().map(|&flow| self.keys.flow(flow));
        // Who comes back was promised its place.
        flows.filter(|flow| flow.key != FlowKey::Returned && flow.waiting > 0).max_by_key(excess)
    }

    fn newest_of(&self, flow: &Flow) -> Option<Ticket> {
        let newest = flow.lines.iter().filter_map(|(_, line)| Some((*line)?.last));
        newest.max_by_key(|&last| self.places[last].arrival).map(|last| self.places.ticket(last))
    }

    /// All who wait with the place, counted from 1, at which each would be served if all of those
    /// before it that `keep` keeps are served before it. Those it does not keep are returned.
    pub(in super::super) fn sift(
        &self,
        mut keep: impl FnMut(&Standing, u64) -> bool,
    ) -> Vec<Ticket> {
        let mut dismissed = Vec::new();
        let mut ahead = 0;
        for class in &self.keys.classes {
            let before = dismissed.len();
            for &flow in class.flows.values() {
                let flow = self.keys.flow(flow);
                let (weight, mut own) = (u64::from(flow.weight), 0);
                for index in self.people(flow) {
                    let place = match flow.key {
                        FlowKey::Returned => u64::from(own) + 1,
                        FlowKey::Of(_) => place_among(own, weight, class.weight, class.waiting - 1),
                    };
                    match keep(&self.places[index], ahead + place) {
                        true => own += 1,
                        false => dismissed.push(self.places.ticket(index)),
                    }
                }
            }
            ahead += u64::from(class.waiting) - (dismissed.len() - before) as u64;
        }
        dismissed
    }

    /// A key's people in all lanes, the first come first.
    fn people(&self, flow: &Flow) -> Vec<u32> {
        let lines = flow.lines.iter().filter_map(|(_, line)| *line);
        let mut all: Vec<u32> = lines.flat_map(|line| line.people(&self.places)).collect();
        if flow.lines.iter().any(|(pin, _)| pin != Pin::Any) {
            all.sort_by_key(|&index| self.places[index].arrival);
        }
        all
    }
}

/// The place, counted from 1, of one who has `own` of its key before it, where `all` is the weight
/// of the keys that wait and `others` how many wait besides it.
fn place_among(own: u32, weight: u64, all: u64, others: u32) -> u64 {
    let turns = (u64::from(own) + 1) * all / weight.max(1);
    1 + turns.saturating_sub(1).min(u64::from(others))
}
