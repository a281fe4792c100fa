//! What a request asks for, and the settings under which it is answered.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{InstanceId, RevisionNumber},
    time::Timestamp,
};

/// What a request asks of the [`Ledger`](super::Ledger). The default asks for any slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask {
    /// Who is served first when not all can be.
    pub priority: Priority,
    /// Whose request it is, for fairness among those who wait.
    pub key: FairKey,
    /// What it insists on.
    pub pin: Pin,
    /// The instance it would like, as long as that one has a free slot.
    pub prefer: Option<InstanceId>,
    /// The instance it would rather not have again.
    pub avoid: Option<InstanceId>,
    /// How long it can wait by what its client and its own time-out say. The service's maximum
    /// wait bounds it further.
    pub budget: Option<Duration>,
    /// For one that was admitted before and comes back unserved: when it first arrived. It goes
    /// to the head of its class, and its budget counts from then.
    pub returned: Option<Timestamp>,
}

impl Ask {
    /// Any slot, in this class.
    pub fn with_priority(priority: Priority) -> Self {
        Self { priority, ..Self::default() }
    }

    /// The same on behalf of `key`.
    #[must_use]
    pub fn on_behalf_of(mut self, key: FairKey) -> Self {
        self.key = key;
        self
    }

    /// The same, insisting on something.
    #[must_use]
    pub fn pinned_to(mut self, pin: Pin) -> Self {
        self.pin = pin;
        self
    }

    /// The same, able to wait this long.
    #[must_use]
    pub fn within(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }
}

/// Who is served first when not all can be. A class is served only while nobody waits in the
/// classes before it; what bounds the wait of the last is its time, not its turn.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there are four, and each has its queue")]
pub enum Priority {
    /// Without it the service itself suffers: sign-in, health of others.
    Critical,
    /// Somebody waits for it at a screen and has begun something.
    High,
    /// What is not said to be anything else.
    #[default]
    Normal,
    /// Nobody would notice: prefetching, batches.
    Low,
}

impl Priority {
    /// All classes, the first served first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];
}

/// Whose request it is: a tenant, a route, whatever fairness is to be among.
///
/// A number of the caller's choosing, such as the hash of a tenant's name. A key that clients can
/// make up at will gives each of its inventions a share: use one they cannot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FairKey(pub u64);

/// What a request insists on. Unlike a preference it is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the queue keeps those who wait apart by it")]
pub enum Pin {
    /// Nothing.
    #[default]
    Any,
    /// This revision, as for a preview before the switch.
    Revision(RevisionNumber),
    /// This instance, as for a session that lives in its memory. When the instance no longer
    /// takes requests the session is lost in any case, and the request goes anywhere.
    Instance(InstanceId),
}

/// How a service wants its requests queued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueSettings {
    /// How many may wait. Each costs memory and a place that others wait behind.
    pub max_waiting: u32,
    /// How long anybody may wait.
    pub max_wait: Duration,
    /// How an instance is chosen where several have a free slot.
    pub balance: Balance,
    /// How much more than others a key gets while it waits; 1 where nothing is said.
    pub key_weights: BTreeMap<FairKey, u32>,
}

impl QueueSettings {
    /// Settings with a bound in count and one in time.
    pub const fn new(max_waiting: u32, max_wait: Duration) -> Self {
        Self { max_waiting, max_wait, balance: Balance::LeastLoaded, key_weights: BTreeMap::new() }
    }

    pub(super) fn weight_of(&self, key: FairKey) -> u32 {
        self.key_weights.get(&key).copied().unwrap_or(1).clamp(1, MAX_KEY_WEIGHT)
    }
}

/// How an instance is chosen where several have a free slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Balance {
    /// The one that uses the smallest part of its cap; among equals each in turn.
    #[default]
    LeastLoaded,
    /// The one that uses the largest part of its cap and still has a slot, so that the others
    /// become idle and can go to standby.
    Packed,
}

/// The heaviest key: beyond this a lighter one would hardly be served at all.
const MAX_KEY_WEIGHT: u32 = 1_000;
