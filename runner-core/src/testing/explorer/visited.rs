//! The states that were seen: a fingerprint each, and how each was first reached.
//!
//! A state costs 26 bytes (fingerprint 16, parent 4, allowance 4, action 2) and its slots: 8 bytes
//! at a load between a half and three quarters, so 37 to 42 bytes in all, and thirty million states
//! are about 1.2 GiB. A slot holds an id and 32 bits of the fingerprint, so that a probe past a
//! stranger stays in the table; the full 128 bits are compared before anything counts as seen.
//! std's map is no use here: it would keep key and value in a table that doubles, at 32 bytes
//! per slot and with both tables alive while it grows.

use super::Allowance;

/// A state by the order in which it was found, which is also the order of depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StateId(pub(super) u32);

impl StateId {
    pub(super) const INITIAL: Self = Self(0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a state is known by: its essence, and what may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) fingerprint: u128,
    pub(super) allowance: Allowance,
}

/// Where a state that was not seen belongs, until the set changes.
#[derive(Debug)]
pub(super) struct Free {
    key: Key,
    slot: usize,
}

/// Ids leave two bits of a word free, which the edges use: about a billion states, 42 GiB.
pub(super) const MOST_STATES: u32 = (1 << 30) - 1;

/// An open-addressed set of fingerprints that remembers parents.
#[derive(Debug)]
pub(super) struct Visited {
    fingerprints: Vec<u128>,
    allowances: Vec<Allowance>,
    parents: Vec<StateId>,
    actions: Vec<u16>,
    /// Zero, or 32 bits of the fingerprint above the id plus one.
    slots: Vec<u64>,
}

impl Visited {
    /// An empty set with room for this many before it grows.
    pub(super) fn with_room(states: usize) -> Self {
        Self {
            fingerprints: Vec::new(),
            allowances: Vec::new(),
            parents: Vec::new(),
            actions: Vec::new(),
            slots: vec![0; (states.max(48) / 3 + 1) * 4],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.fingerprints.len()
    }

    pub(super) fn key(&self, id: StateId) -> Key {
        let at = id.index();
        Key { fingerprint: self.fingerprints[at], allowance: self.allowances[at] }
    }

    /// How a state was first reached; for the initial one its own id.
    pub(super) fn reached_by(&self, id: StateId) -> (StateId, u16) {
        (self.parents[id.index()], self.actions[id.index()])
    }

    /// A state with this fingerprint from which at least as much may go wrong, where one was seen.
    pub(super) fn find(&self, key: Key) -> Option<StateId> {
        self.probe(key).ok()
    }

    /// The state that stands for this one, or else the place for it: one probe for both.
    pub(super) fn find_or_place(&mut self, key: Key) -> Result<StateId, Free> {
        if (self.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.probe(key).map_err(|slot| Free { key, slot })
    }

    /// Adds a state at the place that was just found for it.
    #[expect(clippy::needless_pass_by_value, reason = "a place is good for one insertion")]
    pub(super) fn insert(&mut self, place: Free, parent: StateId, action: u16) -> StateId {
        let Free { key, slot: at } = place;
        let id = self.len() as u32;
        assert!(id < MOST_STATES, "the bound on states is checked before");
        debug_assert_eq!(self.slots[at], 0, "nothing came in between");
        self.slots[at] = slot(key.fingerprint, id);
        self.fingerprints.push(key.fingerprint);
        self.allowances.push(key.allowance);
        self.parents.push(parent);
        self.actions.push(action);
        StateId(id)
    }

    /// Where a state is that stands for this one, or else the free slot where it belongs. States
    /// that differ in their allowances alone lie behind one another.
    fn probe(&self, key: Key) -> Result<StateId, usize> {
        let Key { fingerprint, allowance } = key;
        let mut at = home(fingerprint, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return Err(at);
            }
            let id = slot as u32 - 1;
            if (slot >> 32) as u32 == fingerprint as u32
                && self.fingerprints[id as usize] == fingerprint
                && self.allowances[id as usize].covers(allowance)
            {
                return Ok(StateId(id));
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    /// By half, not by doubling, and anew from the fingerprints: the old table is gone before
    /// the new one is there, so that growing costs no memory twice.
    fn grow(&mut self) {
        let room = self.slots.len() / 2 * 3;
        self.slots = Vec::new();
        self.slots = vec![0; room];
        for (id, &fingerprint) in self.fingerprints.iter().enumerate() {
            let mut at = home(fingerprint, room);
            while self.slots[at] != 0 {
                at += 1;
                if at == room {
                    at = 0;
                }
            }
            self.slots[at] = slot(fingerprint, id as u32);
        }
    }
}

/// The high half decides the place and the low half is the tag, so neither repeats the other.
fn home(fingerprint: u128, room: usize) -> usize {
    (((fingerprint >> 64) * room as u128) >> 64) as usize
}

fn slot(fingerprint: u128, id: u32) -> u64 {
    (u64::from(fingerprint as u32) << 32) | u64::from(id + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_state_costs_at_most_forty_two_bytes_at_every_size() {
        let mut visited = Visited::with_room(0);
        for n in 0..50_000_u128 {
            // Spread as fingerprints are: an odd multiple of the golden ratio.
            let fingerprint = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            let key = Key { fingerprint, allowance: Allowance::default() };
            let place = visited.find_or_place(key).expect_err("all differ");
            visited.insert(place, StateId::INITIAL, 0);
            let bytes = visited.slots.len() * 8 + visited.len() * (16 + 4 + 4 + 2);
            assert!(n < 1000 || bytes <= visited.len() * 42, "{bytes} for {n} states");
        }
    }

    proptest! {
        // Few distinct halves, so that places and tags collide all the time.
        #[test]
        fn it_agrees_with_a_list_that_is_searched_from_the_front(
            keys in prop::collection::vec((0..4_u64, 0..20_u64, 0..3_u8, 0..3_u8), 0..400),
        ) {
            let mut visited = Visited::with_room(0);
            let mut list: Vec<(Key, StateId)> = Vec::new();
            for (step, (high, low, one, other)) in keys.into_iter().enumerate() {
                let fingerprint = u128::from(high) << 126 | u128::from(low) << 32;
                let key = Key { fingerprint, allowance: Allowance::of([one, other]) };
                let stands_for = |(known, _): &&(Key, StateId)| {
                    known.fingerprint == fingerprint && known.allowance.covers(key.allowance)
                };
                let known = list.iter().find(stands_for).map(|(_, id)| *id);
                // Any that covers it will do, so only whether there is one is compared.
                prop_assert_eq!(visited.find(key).is_some(), known.is_some());
                if known.is_none() {
                    let parent = StateId(step as u32);
                    let place = visited.find_or_place(key).expect_err("it was not seen");
                    let id = visited.insert(place, parent, 3);
                    prop_assert_eq!(visited.reached_by(id), (parent, 3));
                    list.push((key, id));
                }
            }
            prop_assert_eq!(visited.len(), list.len());
            for (key, id) in list {
                prop_assert_eq!(visited.key(id), key);
                let found = visited.find(key).map(|id| visited.key(id));
                let stands = found.is_some_and(|found| {
                    found.fingerprint == key.fingerprint && found.allowance.covers(key.allowance)
                });
                prop_assert!(stands);
            }
        }
    }
}
