//! One instance, as the machine believes it to be.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Aside;
use crate::{
    address::Address,
    id::{InstanceId, RevisionNumber, ServiceId},
    time::Timestamp,
};

/// One instance: of which revision it is, and where in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// What it was made from.
    pub revision: RevisionNumber,
    /// Where in its life it is.
    pub phase: Phase,
    /// Since when.
    pub since: Aside<Timestamp>,
    /// Where it takes requests; known once its start was answered.
    pub address: Aside<Option<Address>>,
    /// Whether its start was answered while a list was awaited, so that its absence from that list
    /// says nothing.
    pub(crate) too_new_to_miss: bool,
    /// When its start was asked for, if this run of the platform asked.
    #[serde(default)]
    pub(crate) begun: Aside<Option<Timestamp>>,
    /// How many requests it had when that was last said.
    #[serde(default)]
    pub(crate) load: u32,
    /// How often it was asked when its requests are finished. Only whether an answer is to the
    /// last question decides anything.
    #[serde(default)]
    pub(crate) drains: Aside<u64>,
}

/// What decides, as one word: what is leaving differs in nothing but revision and phase.
impl Hash for Instance {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.word());
    }
}

impl Instance {
    /// One whose number was just taken.
    pub(crate) const fn new(revision: RevisionNumber, phase: Phase, now: Timestamp) -> Self {
        Self {
            revision,
            phase,
            since: Aside(now),
            address: Aside(None),
            too_new_to_miss: false,
            begun: Aside(None),
            load: 0,
            drains: Aside(0),
        }
    }

    /// All of it that decides, in one word.
    fn word(&self) -> u64 {
        let phase = match self.phase {
            Phase::Starting { asked } => u64::from(asked),
            Phase::Proving => 2,
            Phase::Ready => 3,
            Phase::Unwell => 4,
            Phase::Freezing { asked } => 5 | u64::from(asked) << 3,
            Phase::Standby => 6,
            Phase::Waking { proven } => 7 | u64::from(proven) << 3,
            Phase::Running => 8,
            Phase::Adopting => 9,
            Phase::Draining => 10,
            Phase::Stopping { asked } => 11 + u64::from(asked),
        };
        let decides = u64::from(!self.phase.is_leaving());
        let seen = u64::from(self.too_new_to_miss) | u64::from(self.load) << 1;
        phase | self.revision.number() << 4 | (seen * decides) << 28
    }
}

/// Every instance of a service, in the order of their numbers.
///
/// A list that is kept in order, and no tree: it is read through at every event and copied with
/// every record, and new numbers are the highest, so they go to its end.
///
/// The numbers decide nothing but which of two goes first where nothing else does, and then it is
/// all the same. So they are left out of the hash, and so is the order: states which differ in
/// nothing else are one to whoever explores them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet(Vec<(InstanceId, Instance)>);

impl Fleet {
    /// The instance of that id.
    pub fn get(&self, id: &InstanceId) -> Option<&Instance> {
        self.place(id).ok().map(|at| &self.0[at].1)
    }

    /// Whether it is there.
    pub fn contains_key(&self, id: &InstanceId) -> bool {
        self.place(id).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its id, oldest first.
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&InstanceId, &Instance)> + ExactSizeIterator + Clone {
        self.0.iter().map(|(id, instance)| (id, instance))
    }

    /// The ids, oldest first.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &InstanceId> + ExactSizeIterator + Clone {
        self.0.iter().map(|(id, _)| id)
    }

    /// The instances, oldest first.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Instance> + ExactSizeIterator + Clone {
        self.0.iter().map(|(_, instance)| instance)
    }

    pub(crate) fn get_mut(&mut self, id: &InstanceId) -> Option<&mut Instance> {
        self.place(id).ok().map(|at| &mut self.0[at].1)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&InstanceId, &mut Instance)> {
        self.0.iter_mut().map(|(id, instance)| (&*id, instance))
    }

    pub(crate) fn insert(&mut self, id: InstanceId, instance: Instance) {
        match self.place(&id) {
            Ok(at) => self.0[at].1 = instance,
            Err(at) => self.0.insert(at, (id, instance)),
        }
    }

    pub(crate) fn remove(&mut self, id: &InstanceId) {
        if let Ok(at) = self.place(id) {
            self.0.remove(at);
        }
    }

    fn place(&self, id: &InstanceId) -> Result<usize, usize> {
        // The number first: it is what tells them apart, and the shorter half of the id.
        self.0.binary_search_by(|(known, _)| order(known).cmp(&order(id)))
    }
}

impl Hash for Fleet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let words = self.values().map(|instance| mix(instance.word()));
        state.write_usize(self.len());
        state.write_u64(words.fold(0, u64::wrapping_add));
    }
}

/// Spreads a word over all bits (the end of splitmix64), so that sums of them tell them apart.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A map, as people expect it in a record.
impl Serialize for Fleet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Fleet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Whatever the order in which it was written down.
        let instances = BTreeMap::<InstanceId, Instance>::deserialize(deserializer)?;
        let mut instances: Vec<_> = instances.into_iter().collect();
        instances.sort_by_key(|(id, _)| order(id));
        Ok(Self(instances))
    }
}

fn order(id: &InstanceId) -> (u64, ServiceId) {
    (id.number, id.service)
}

/// Where in its life an instance is. What is gone is in no fleet any more.
///
/// ```text
/// Starting ─► Proving ─► Ready ◄─► Unwell        Adopting ─► Proving | Waking | gone
///    │           │        │ ▲        │           (after a restart)
///    │           │        │ Waking ◄─ Standby ◄─ Freezing ◄─ Ready
///    ▼           ▼        ▼          ▼
/// Stopping ◄──────────  Draining ◄────           Running: a job, until it ends
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a phase that is ignored is a bug")]
pub enum Phase {
    /// Its number is taken. Its start was asked for, or (after a restart) will be again.
    Starting {
        /// Whether an answer is awaited.
        asked: bool,
    },
    /// It exists and has not passed yet.
    Proving,
    /// It passed, and may be given requests.
    Ready,
    /// It passed once and fails now: no requests, until it passes again or is replaced.
    Unwell,
    /// On its way into standby: no requests any more, those it has are finished first.
    Freezing {
        /// Whether the backend was asked.
        asked: bool,
    },
    /// Frozen: memory kept, no processor.
    Standby,
    /// The backend was asked to let it run again.
    Waking {
        /// Whether it was well when it froze, as far as this run of the platform knows.
        proven: bool,
    },
    /// A job: it runs until it ends.
    Running,
    /// After a restart: on record, and not found yet.
    Adopting,
    /// No new requests; stopped when those it has are finished, or in time.
    Draining,
    /// To be stopped, and then gone.
    Stopping {
        /// Whether an answer is awaited; otherwise it is asked again in time.
        asked: bool,
    },
}

impl Phase {
    /// What is given up first among those of one kind: what is least far.
    pub(crate) const fn worth(self) -> u8 {
        match self {
            Self::Starting { asked: false } => 0,
            Self::Starting { asked: true } => 1,
            Self::Waking { .. } | Self::Standby => 2,
            Self::Adopting | Self::Freezing { .. } => 3,
            Self::Proving
            | Self::Ready
            | Self::Unwell
            | Self::Running
            | Self::Draining
            | Self::Stopping { .. } => 4,
        }
    }

    /// Whether it is on its way out, and counts for nothing any more.
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::Draining | Self::Stopping { .. })
    }
}

/// How many instances of a revision there are, by what they count for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// May be given requests now.
    pub(crate) ready: u32,
    /// Capacity that is asleep, or falling asleep.
    pub(crate) standby: u32,
    /// Capacity that is waking up.
    pub(crate) waking: u32,
    /// On its way to being ready for the first time.
    pub(crate) pending: u32,
    /// Passed once, fails now.
    pub(crate) unwell: u32,
    /// On its way out.
    pub(crate) leaving: u32,
}

impl Count {
    pub(crate) fn add(&mut self, phase: Phase) {
        let counter = match phase {
            Phase::Ready => &mut self.ready,
            Phase::Freezing { .. } | Phase::Standby => &mut self.standby,
            Phase::Waking { proven: true } => &mut self.waking,
            Phase::Starting { .. }
            | Phase::Proving
            | Phase::Adopting
            | Phase::Waking { proven: false } => &mut self.pending,
            Phase::Unwell => &mut self.unwell,
            Phase::Draining | Phase::Stopping { .. } => &mut self.leaving,
            // A job is no capacity, and its stage looks after it.
            Phase::Running => return,
        };
        *counter += 1;
    }

    /// What passed and lives: ready, or awake at a word.
    pub(crate) const fn capacity(self) -> u32 {
        self.ready + self.standby + self.waking
    }

    /// All that is not on its way out.
    pub(crate) const fn staying(self) -> u32 {
        self.capacity() + self.pending + self.unwell
    }

    /// All there is.
    pub(crate) const fn present(self) -> u32 {
        self.staying() + self.leaving
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u64) -> InstanceId {
        ServiceId::from_random(u128::from(number % 2)).instance(number)
    }

    fn one(number: u64) -> Instance {
        Instance::new(RevisionNumber::new(number), Phase::Ready, Timestamp::EPOCH)
    }

    proptest! {
        #[test]
        fn a_fleet_is_a_map_in_the_order_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 1..12_u64), 0..40),
        ) {
            let (mut fleet, mut map) = (Fleet::default(), BTreeMap::new());
            for (step, (adds, number)) in (100..).zip(steps) {
                if adds {
                    fleet.insert(id(number), one(step));
                    map.insert(number, step);
                } else {
                    fleet.remove(&id(number));
                    map.remove(&number);
                }
                prop_assert_eq!(fleet.len(), map.len());
                prop_assert!(fleet.keys().map(|id| id.number).eq(map.keys().copied()));
                for number in 1..12 {
                    let found = fleet.get(&id(number)).map(|one| one.revision.number());
                    prop_assert_eq!(found, map.get(&number).copied());
                }
            }
            let written = serde_json::to_string(&fleet).expect("it is a map");
            let read: Fleet = serde_json::from_str(&written).expect("as it was written");
            prop_assert_eq!(read, fleet);
        }
    }
}
