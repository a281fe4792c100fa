//! What the control side tells the ledger: one immutable value, swapped as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    address::Address,
    id::{InstanceId, RevisionNumber},
    time::Timestamp,
};

/// Everything about a service's instances that a request needs.
///
/// Applying one to a [`Ledger`](super::Ledger) *is* the switch from blue to green, the drain and
/// the undrain: nothing is decided from two values that could disagree. What it does not mention
/// gets no request any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The instances that requests may go to, and those that finish what they have.
    pub instances: Vec<Instance>,
    /// How much of the traffic each revision should get. Empty: as much as its instances take.
    /// A revision that is not named here, or has weight 0, gets none.
    pub weights: Vec<Weight>,
    /// Whether weights are kept to even while another revision has a free slot.
    pub strict_weights: bool,
    /// Slots that are coming: instances that are starting.
    pub expected: Vec<Expected>,
    /// Slots that could be made to come beyond those.
    pub attainable: Attainable,
    /// Set while newcomers are refused whatever is free.
    pub closed: Option<Closed>,
}

/// One instance, as requests see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// Which one.
    pub id: InstanceId,
    /// Where it takes requests.
    pub address: Address,
    /// Of which revision it is.
    pub revision: RevisionNumber,
    /// How many requests it may have at once.
    pub cap: u32,
    /// How its cap rises after it became ready, if it does.
    pub ramp: Option<Ramp>,
    /// Whether it takes new requests; one that does not finishes those it has.
    pub accepting: bool,
}

impl Instance {
    /// An instance that takes requests up to its whole cap.
    pub const fn new(id: InstanceId, address: Address, revision: RevisionNumber, cap: u32) -> Self {
        Self { id, address, revision, cap, ramp: None, accepting: true }
    }

    /// The same, its cap rising.
    #[must_use]
    pub const fn ramping(mut self, ramp: Ramp) -> Self {
        self.ramp = Some(ramp);
        self
    }

    /// The same, finishing what it has.
    #[must_use]
    pub const fn draining(mut self) -> Self {
        self.accepting = false;
        self
    }

    /// How many requests it may have at `now`: the cap, or as much of it as the ramp allows.
    pub fn effective_cap(&self, now: Timestamp) -> u32 {
        match self.ramp {
            _ if !self.accepting => 0,
            Some(ramp) => ramp.of(self.cap, now),
            None => self.cap,
        }
    }
}

/// A slow start: how the cap of a new instance rises in a straight line to its full height.
///
/// Tied to the instance and not to its having failed before, so that the first burst does not
/// meet cold caches at full width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    /// When it became ready.
    pub since: Timestamp,
    /// How long until the whole cap is there.
    pub over: Duration,
}

impl Ramp {
    /// As much of `cap` as is allowed at `now`; never less than one slot of a cap that has any.
    pub fn of(self, cap: u32, now: Timestamp) -> u32 {
        let passed = now.since(self.since).as_nanos();
        let over = self.over.as_nanos();
        if passed >= over {
            return cap;
        }
        // `passed < over`, so the quotient is below `cap` and the conversion cannot fail.
        let part = u32::try_from(u128::from(cap) * passed / over).unwrap_or(cap);
        part.max(1).min(cap)
    }
}

/// How much of the traffic a revision should get, relative to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Which revision.
    pub revision: RevisionNumber,
    /// Its part of the sum of all weights.
    pub weight: u32,
}

/// Slots of an instance that is starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// How many slots it will bring.
    pub slots: u32,
    /// When, as learned from earlier starts; nothing before anything was learned.
    pub at: Option<Timestamp>,
}

/// Slots that could be made to come, beyond those that are coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a prediction has to know all supplies there are")]
pub enum Attainable {
    /// None, and why.
    Nothing(Why),
    /// More instances could be started.
    Slots {
        /// How many slots they would bring together.
        count: u32,
        /// Reaction time and learned start-up time together; nothing before that was learned.
        after: Option<Duration>,
    },
}

/// None: nobody has said that anything can be started.
impl Default for Attainable {
    fn default() -> Self {
        Self::Nothing(Why::Fixed)
    }
}

/// Why no more slots can be made to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// The service has all the instances that its settings allow.
    AtMaximum,
    /// The backend has nothing left to give.
    BackendExhausted,
    /// Instances die as soon as they start, and the next is tried later.
    CrashLoop,
    /// The number of slots is fixed: nobody starts instances here.
    Fixed,
    /// The service was paused.
    Paused,
}

/// Why newcomers are refused whatever is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "each is answered differently")]
pub enum Closed {
    /// The service is going away or moving: who waits is still served.
    Draining,
    /// The service was paused: who waits is refused too.
    Paused,
}
