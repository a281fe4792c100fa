//! Who has how many requests, and which free slot is the best.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Ask, Balance, Instance, Pin, Snapshot};
use crate::{
    id::{InstanceId, RevisionNumber},
    time::Timestamp,
};

/// The slots of all instances.
///
/// An instance keeps its place in the table as long as it has leases, also after no snapshot
/// mentions it any more, so a lease is an index and never dangles.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// What the search for a free slot reads; beside `seats` so that it reads nothing else.
    loads: Vec<Load>,
    seats: Vec<Option<Seat>>,
    by_id: BTreeMap<InstanceId, u32>,
    /// Free slots of accepting instances.
    free: u64,
    /// Effective caps of accepting instances.
    total: u64,
    in_flight: u64,
    /// Who is owed how much, most first.
    shares: Vec<Share>,
    strict: bool,
    /// Where the search begins, so that equals take turns.
    cursor: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    in_flight: u32,
    /// The effective cap; 0 where no request may go.
    cap: u32,
}

#[derive(Debug)]
struct Seat {
    instance: Instance,
    /// Whether the newest snapshot mentions it.
    listed: bool,
    upgraded: u32,
}

/// What a revision is owed of the traffic: smooth weighted round robin, so that any stretch of
/// requests is as close to the weights as whole requests allow.
#[derive(Clone, Copy, Debug)]
struct Share {
    revision: RevisionNumber,
    weight: i64,
    credit: i64,
    /// Effective caps of its accepting instances.
    slots: u64,
}

impl Slots {
    #[inline]
    pub(super) fn free(&self) -> u64 {
        self.free
    }

    /// Effective caps of all accepting instances together.
    #[inline]
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn leases_of(&self, instance: InstanceId) -> u32 {
        self.by_id.get(&instance).map_or(0, |&slot| self.loads[slot as usize].in_flight)
    }

    /// The instance behind a slot that is leased.
    pub(super) fn instance(&self, slot: u32) -> &Instance {
        let seat = self.seats[slot as usize].as_ref();
        &seat.expect("a leased slot keeps its instance").instance
    }

    /// Whether some instance takes requests that insist on this.
    #[inline]
    pub(super) fn could_serve(&self, pin: Pin) -> bool {
        match pin {
            Pin::Any => self.total > 0,
            Pin::Instance(id) => self.accepting(id).is_some(),
            Pin::Revision(revision) => self
                .seats()
                .any(|(slot, seat)| seat.instance.revision == revision && self.loads[slot].cap > 0),
        }
    }

    /// Whether this instance takes requests.
    pub(super) fn accepting(&self, id: InstanceId) -> Option<u32> {
        self.by_id.get(&id).copied().filter(|&slot| self.loads[slot as usize].cap > 0)
    }

    /// What of a pin can still be insisted on: an instance that takes no more requests is as good
    /// as any other.
    #[inline]
    pub(super) fn reachable(&self, pin: Pin) -> Pin {
        match pin {
            Pin::Instance(id) if self.accepting(id).is_none() => Pin::Any,
            pin => pin,
        }
    }

    /// The best free slot for a newcomer, if it may use any.
    #[inline]
    pub(super) fn pick(&self, ask: &Ask, balance: Balance) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        let pin = self.reachable(ask.pin);
        if pin == Pin::Any
            && let Some(liked) = ask.prefer.and_then(|id| self.accepting(id))
            && self.is_free(liked)
            && self.may_like(liked)
        {
            return Some(liked);
        }
        let avoided = ask.avoid.and_then(|id| self.by_id.get(&id).copied());
        let picked = self.pick_for(pin, avoided, balance);
        // What is to be avoided is still better than to wait.
        picked.or_else(|| avoided.and_then(|_| self.pick_for(pin, None, balance)))
    }

    /// The best free slot for those who insist on something that can be reached.
    #[inline]
    pub(super) fn pick_for(&self, pin: Pin, avoided: Option<u32>, balance: Balance) -> Option<u32> {
        match pin {
            Pin::Any if self.shares.len() > 1 => self.pick_by_share(avoided, balance),
            Pin::Any => self.best(None, avoided, balance),
            Pin::Revision(revision) => self.best(Some(revision), avoided, balance),
            Pin::Instance(id) => self.accepting(id).filter(|&slot| self.is_free(slot)),
        }
    }

    /// Whether a preference for this slot is heard. Strict weights come first: a newcomer that
    /// likes the other revision would otherwise overtake those who may not use it.
    fn may_like(&self, slot: u32) -> bool {
        let next = self.shares.iter().find(|share| share.slots > 0);
        !self.strict || next.is_none_or(|next| self.is_of(slot as usize, Some(next.revision)))
    }

    /// A slot of the revision that is owed the most; where that one has none free, of the next,
    /// unless weights are strict. A revision without any instance is not waited for.
    fn pick_by_share(&self, avoided: Option<u32>, balance: Balance) -> Option<u32> {
        let tried = if self.strict { 1 } else { self.shares.len() };
        let mut owed = self.shares.iter().filter(|share| share.slots > 0).take(tried);
        owed.find_map(|share| self.best(Some(share.revision), avoided, balance))
    }

    /// The best free slot of a revision, or of any.
    #[inline]
    fn best(
        &self,
        revision: Option<RevisionNumber>,
        avoided: Option<u32>,
        balance: Balance,
    ) -> Option<u32> {
        let count = self.loads.len();
        let mut best: Option<(usize, Load)> = None;
        for slot in (self.cursor..count).chain(0..self.cursor) {
            let load = self.loads[slot];
            if load.in_flight >= load.cap
                || !self.is_of(slot, revision)
                || avoided.is_some_and(|avoided| avoided as usize == slot)
            {
                continue;
            }
            if best.is_none_or(|(_, known)| load.is_better_than(known, balance)) {
                best = Some((slot, load));
                if load.in_flight == 0 && balance == Balance::LeastLoaded {
                    break;
                }
            }
        }
        best.map(|(slot, _)| slot as u32)
    }

    /// Takes a free slot for a request that insisted on `pin`.
    ///
    /// Strict weights divide the requests that go where they are sent. Were the others charged too,
    /// one of them could change whose turn it is, and a slot that those who wait may use would be
    /// free without anybody having looked.
    #[inline]
    pub(super) fn take(&mut self, slot: u32, pin: Pin) {
        let load = &mut self.loads[slot as usize];
        assert!(load.in_flight < load.cap, "a slot beyond the effective cap was taken");
        load.in_flight += 1;
        self.free -= 1;
        self.in_flight += 1;
        // Not a remainder: a division would take as long as all the rest.
        let next = slot as usize + 1;
        self.cursor = if next < self.loads.len() { next } else { 0 };
        if self.shares.len() > 1 && !(self.strict && pin != Pin::Any) {
            self.charge(slot);
        }
    }

    /// Gives a slot back; the instance, if this was the last lease of one that takes no more.
    #[inline]
    pub(super) fn give_back(&mut self, slot: u32) -> Option<InstanceId> {
        let load = &mut self.loads[slot as usize];
        assert!(load.in_flight > 0, "a lease was released twice");
        load.in_flight -= 1;
        self.in_flight -= 1;
        if load.in_flight < load.cap {
            self.free += 1;
        }
        (load.in_flight == 0 && load.cap == 0).then(|| self.vacate(slot as usize)).flatten()
    }

    /// Everybody gains what the weights say, and who served pays for all.
    fn charge(&mut self, slot: u32) {
        let served = self.instance(slot).revision;
        let all: i64 = self.shares.iter().map(|share| share.weight).sum();
        for share in &mut self.shares {
            let paid = if share.revision == served { all } else { 0 };
            // A revision that could not serve for a while is not owed all of that at once.
            let most = all.saturating_mul(MOST_OWED);
            share.credit = (share.credit + share.weight - paid).clamp(-most, most);
        }
        self.rank_shares();
    }

    pub(super) fn count_upgrade(&mut self, slot: u32) {
        if let Some(seat) = &mut self.seats[slot as usize] {
            seat.upgraded += 1;
        }
    }

    pub(super) fn uncount_upgrade(&mut self, slot: u32) {
        if let Some(seat) = &mut self.seats[slot as usize] {
            seat.upgraded -= 1;
        }
    }

    /// The accepting instance that is missed least: no upgraded connections before any, then the
    /// fewest leases, then the newest.
    pub(super) fn victim(&self, revision: Option<RevisionNumber>) -> Option<InstanceId> {
        self.seats()
            .filter(|(slot, _)| self.loads[*slot].cap > 0 && self.is_of(*slot, revision))
            .min_by_key(|(slot, seat)| {
                let newest_first = Reverse(seat.instance.id);
                (seat.upgraded, self.loads[*slot].in_flight, newest_first)
            })
            .map(|(_, seat)| seat.instance.id)
    }

    /// Puts a snapshot in the place of the one before.
    pub(super) fn apply(&mut self, snapshot: &Snapshot, now: Timestamp) {
        for seat in self.seats.iter_mut().flatten() {
            seat.listed = false;
        }
        for instance in &snapshot.instances {
            let slot = self.seat_for(instance.id);
            match &mut self.seats[slot] {
                Some(seat) => {
                    seat.instance = instance.clone();
                    seat.listed = true;
                }
                empty => {
                    *empty = Some(Seat { instance: instance.clone(), listed: true, upgraded: 0 });
                }
            }
        }
        self.reweigh(snapshot);
        self.refresh_caps(now);
        for slot in 0..self.seats.len() {
            self.vacate(slot);
        }
    }

    /// Works effective caps out anew: ramps rise with time.
    pub(super) fn refresh_caps(&mut self, now: Timestamp) {
        (self.free, self.total) = (0, 0);
        self.shares.iter_mut().for_each(|share| share.slots = 0);
        for (load, seat) in self.loads.iter_mut().zip(&self.seats) {
            let instance = seat.as_ref().filter(|seat| seat.listed).map(|seat| &seat.instance);
            let revision = instance.map(|instance| instance.revision);
            let share = self.shares.iter().position(|share| Some(share.revision) == revision);
            let open = instance.filter(|_| self.shares.is_empty() || share.is_some());
            load.cap = open.map_or(0, |instance| instance.effective_cap(now));
            if let Some(share) = share {
                self.shares[share].slots += u64::from(load.cap);
            }
            self.free += u64::from(load.cap.saturating_sub(load.in_flight));
            self.total += u64::from(load.cap);
        }
    }

    /// Says that the one instance there is has this many requests, counted elsewhere until now.
    pub(super) fn recount(&mut self, in_flight: u32) {
        let [load] = &mut self.loads[..] else {
            panic!("only a ledger of one instance can have its leases counted elsewhere")
        };
        load.in_flight = in_flight;
        self.in_flight = u64::from(in_flight);
        self.free = u64::from(load.cap.saturating_sub(in_flight));
    }

    fn reweigh(&mut self, snapshot: &Snapshot) {
        self.strict = snapshot.strict_weights;
        let owed = |revision, weight| {
            let known = self.shares.iter().find(|s| (s.revision, s.weight) == (revision, weight));
            known.map_or(0, |share| share.credit)
        };
        self.shares = (snapshot.weights.iter())
            .filter(|weight| weight.weight > 0)
            .map(|weight| (weight.revision, i64::from(weight.weight)))
            .map(|(revision, weight)| Share {
                revision,
                weight,
                credit: owed(revision, weight),
                slots: 0,
            })
            .collect();
        // Weights that are all zero send nothing anywhere, which is not the same as no weights.
        if self.shares.is_empty() && !snapshot.weights.is_empty() {
            let nobody = RevisionNumber::new(0);
            self.shares.push(Share { revision: nobody, weight: 0, credit: 0, slots: 0 });
        }
        self.rank_shares();
    }

    fn rank_shares(&mut self) {
        self.shares.sort_by_key(|share| Reverse(share.credit + share.weight));
    }

    fn seat_for(&mut self, id: InstanceId) -> usize {
        if let Some(&slot) = self.by_id.get(&id) {
            return slot as usize;
        }
        let slot = self.seats.iter().position(Option::is_none).unwrap_or(self.seats.len());
        if slot == self.seats.len() {
            self.seats.push(None);
            self.loads.push(Load::default());
        }
        self.by_id.insert(id, slot as u32);
        slot
    }

    /// Forgets an instance that no snapshot mentions and no lease holds. The instance, if it takes
    /// no more requests and has none, whether or not it was forgotten.
    fn vacate(&mut self, slot: usize) -> Option<InstanceId> {
        let seat = self.seats[slot].as_ref()?;
        let id = seat.instance.id;
        if self.loads[slot].in_flight > 0 {
            return None;
        }
        if !seat.listed {
            self.by_id.remove(&id);
            self.seats[slot] = None;
            // Empty places at the end would be searched for nothing.
            while let Some(None) = self.seats.last() {
                self.seats.pop();
                self.loads.pop();
            }
            if self.cursor >= self.loads.len() {
                self.cursor = 0;
            }
        }
        Some(id)
    }

    fn is_free(&self, slot: u32) -> bool {
        let load = self.loads[slot as usize];
        load.in_flight < load.cap
    }

    #[inline]
    fn is_of(&self, slot: usize, revision: Option<RevisionNumber>) -> bool {
        revision.is_none_or(|wanted| {
            self.seats[slot].as_ref().is_some_and(|seat| seat.instance.revision == wanted)
        })
    }

    fn seats(&self) -> impl Iterator<Item = (usize, &Seat)> {
        self.seats.iter().enumerate().filter_map(|(slot, seat)| Some((slot, seat.as_ref()?)))
    }
}

impl Load {
    /// Compares parts of caps without dividing.
    fn is_better_than(self, other: Self, balance: Balance) -> bool {
        let ours = u64::from(self.in_flight) * u64::from(other.cap);
        let theirs = u64::from(other.in_flight) * u64::from(self.cap);
        match balance {
            Balance::LeastLoaded => ours < theirs,
            Balance::Packed => ours > theirs,
        }
    }
}

/// How many rounds of the weights a revision can be ahead or behind.
const MOST_OWED: i64 = 16;
