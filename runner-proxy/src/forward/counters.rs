//! What was counted over all instances.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use runner_core::id::InstanceId;

use super::{fault::Fault, instances::Instances, outcomes::InstanceOutcomes};

/// Why a request was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Replay {
    /// An idle connection was closed before the request was written to it; another to the same
    /// instance was taken.
    Unwritten,
    /// An idle connection was closed while the request was written to it. The request is
    /// idempotent and its body was in hand; another connection to the same instance was taken.
    StaleConnection,
    /// The instance could not be connected to; another slot was asked for.
    Unreached,
    /// The instance closed a connection instead of answering. The request is idempotent and its
    /// body was in hand; another slot of the same revision was asked for.
    Unanswered,
}

impl Replay {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 4] =
        [Self::Unwritten, Self::StaleConnection, Self::Unreached, Self::Unanswered];

    /// Its place in [`Replay::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The kind as programs read it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unwritten => "unwritten",
            Self::StaleConnection => "stale_connection",
            Self::Unreached => "unreached",
            Self::Unanswered => "unanswered",
        }
    }
}

/// What forwarding counted so far, and how things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardCounters {
    /// Connections that were opened.
    pub connections_opened: u64,
    /// Upgraded connections that were begun, and those that are there now.
    pub upgraded: u64,
    /// Upgraded connections that are there now.
    pub upgraded_now: u64,
    /// Requests that were not sent again only because too many others had been.
    pub replays_over_budget: u64,
    replays: [u64; Replay::ALL.len()],
    faults: [u64; Fault::ALL.len()],
    /// Instances that had requests and are still there.
    pub instances: BTreeMap<InstanceId, InstanceCounters>,
}

/// What was counted of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceCounters {
    /// How its requests went.
    pub outcomes: InstanceOutcomes,
    /// Connections that wait for the next request now.
    pub idle_connections: usize,
}

impl ForwardCounters {
    /// How many requests were sent again for this reason.
    pub const fn replays(&self, kind: Replay) -> u64 {
        self.replays[kind.index()]
    }

    /// How many requests were answered by us for this reason.
    pub const fn faults(&self, fault: Fault) -> u64 {
        self.faults[fault.index()]
    }
}

/// A line for people.
impl fmt::Display for ForwardCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests: u64 = self.instances.values().map(|i| i.outcomes.requests).sum();
        let instances = self.instances.len();
        write!(f, "{requests} requests to {instances} instances")?;
        write!(f, " over {} connections", self.connections_opened)?;
        for kind in Replay::ALL {
            match self.replays(kind) {
                0 => {}
                count => write!(f, ", {count} sent again as {}", kind.code())?,
            }
        }
        for fault in Fault::ALL {
            match self.faults(fault) {
                0 => {}
                count => write!(f, ", {count} answered as {}", fault.code())?,
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) opened: AtomicU64,
    pub(super) upgraded: AtomicU64,
    pub(super) upgrades_ended: AtomicU64,
    pub(super) over_budget: AtomicU64,
    replays: [AtomicU64; Replay::ALL.len()],
    faults: [AtomicU64; Fault::ALL.len()],
}

impl Counters {
    pub(super) fn handle_replay(&self, kind: Replay) {
        self.replays[kind.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn handle_fault(&self, fault: Fault) {
        self.faults[fault.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, instances: &Instances) -> ForwardCounters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (ended, upgraded) = (of(&self.upgrades_ended), of(&self.upgraded));
        let instances = (instances.read().into_iter())
            .map(|(id, (outcomes, idle_connections))| {
                (id, InstanceCounters { outcomes, idle_connections })
            })
            .collect();
        ForwardCounters {
            connections_opened: of(&self.opened),
            upgraded,
            upgraded_now: upgraded.saturating_sub(ended),
            replays_over_budget: of(&self.over_budget),
            replays: self.replays.each_ref().map(of),
            faults: self.faults.each_ref().map(of),
            instances,
        }
    }
}
