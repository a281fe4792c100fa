//! What tests of the ledger begin with: instances, snapshots, and a ledger with its clock.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::time::Duration;

use runner_core::{
    address::Address,
    admission::{
        Ask, Attainable, Expected, Instance, Lease, Ledger, Outcome, QueueSettings, Queued,
        Refusal, Snapshot, Ticket, TurnedAway, Weight, Woken,
    },
    id::{InstanceId, RevisionNumber, ServiceId},
    time::Timestamp,
};

/// What tells requests apart.
pub(crate) type Request = u32;

/// What is woken where nobody is.
pub(crate) const NOBODY: [Request; 0] = [];

/// Where every test begins; not at the epoch, so that "before" exists.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_000);

pub(crate) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn instance_id(number: u64) -> InstanceId {
    ServiceId::from_random(1).instance(number)
}

/// An instance of the first revision.
pub(crate) fn instance(number: u64, cap: u32) -> Instance {
    instance_of(1, number, cap)
}

pub(crate) fn instance_of(revision: u64, number: u64, cap: u32) -> Instance {
    let address = Address::Memory(format!("i{number}").into());
    Instance::new(instance_id(number), address, RevisionNumber::new(revision), cap)
}

pub(crate) fn snapshot(instances: impl IntoIterator<Item = Instance>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.instances = instances.into_iter().collect();
    snapshot
}

/// Slots that come this long after [`START`], or at a time that was not learned.
pub(crate) fn expected(slots: u32, after: Option<Duration>) -> Expected {
    Expected { slots, at: after.map(|after| START + after) }
}

pub(crate) const fn attainable(count: u32, after: Option<Duration>) -> Attainable {
    Attainable::Slots { count, after }
}

pub(crate) fn weight(revision: u64, weight: u32) -> Weight {
    Weight { revision: RevisionNumber::new(revision), weight }
}

/// A ledger with a clock, and requests numbered as they come.
pub(crate) struct Desk {
    pub(crate) ledger: Ledger<Request>,
    pub(crate) now: Timestamp,
    next: Request,
}

/// What became of a newcomer.
#[derive(Debug)]
pub(crate) enum Entry {
    Admitted(Lease),
    Waits(Request, Ticket),
    Refused(Refusal),
}

impl Desk {
    pub(crate) fn new(settings: QueueSettings, snapshot: Snapshot) -> Self {
        Self { ledger: Ledger::new(settings, snapshot, START), now: START, next: 0 }
    }

    /// A desk whose slots are all taken, each by a request that takes `hold` as the ledger knows.
    pub(crate) fn busy(
        max_wait: Duration,
        snapshot: Snapshot,
        hold: Duration,
    ) -> (Self, Vec<Lease>) {
        let mut desk = Self::new(QueueSettings::new(10_000, max_wait), snapshot);
        let leases = desk.fill();
        desk.ledger.learn(hold);
        (desk, leases)
    }

    /// Takes every slot there is.
    pub(crate) fn fill(&mut self) -> Vec<Lease> {
        std::iter::from_fn(|| self.ledger.admit(&Ask::default())).collect()
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn arrive(&mut self, ask: &Ask) -> Entry {
        if let Some(lease) = self.ledger.admit(ask) {
            return Entry::Admitted(lease);
        }
        match self.enqueue(ask) {
            Ok(queued) => Entry::Waits(self.next - 1, queued.ticket),
            Err(refusal) => Entry::Refused(refusal),
        }
    }

    /// The same, for those who know that no slot is free.
    pub(crate) fn enqueue(&mut self, ask: &Ask) -> Result<Queued<Request>, Refusal> {
        let request = self.next;
        self.next += 1;
        self.ledger.enqueue(ask, request, self.now).map_err(|turned_away| {
            let TurnedAway { refusal, waiter, .. } = turned_away;
            assert_eq!(waiter, request, "a refusal hands back what was to be kept");
            refusal
        })
    }

    pub(crate) fn waits(&mut self, ask: &Ask) -> (Request, Ticket) {
        match self.arrive(ask) {
            Entry::Waits(request, ticket) => (request, ticket),
            other => panic!("it should wait: {other:?}"),
        }
    }

    pub(crate) fn refused(&mut self, ask: &Ask) -> Refusal {
        match self.arrive(ask) {
            Entry::Refused(refusal) => refusal,
            other => panic!("it should be refused: {other:?}"),
        }
    }

    pub(crate) fn admitted(&mut self, ask: &Ask) -> Lease {
        match self.arrive(ask) {
            Entry::Admitted(lease) => lease,
            other => panic!("it should be admitted: {other:?}"),
        }
    }

    /// How many of `asks` like this one are let wait before the first is refused, and that refusal.
    pub(crate) fn until_refused(&mut self, ask: &Ask) -> (u32, Refusal) {
        for count in 0..20_000 {
            if let Entry::Refused(refusal) = self.arrive(ask) {
                return (count, refusal);
            }
        }
        panic!("nobody was refused");
    }

    pub(crate) fn apply(&mut self, snapshot: Snapshot) -> Vec<Request> {
        in_order(self.ledger.apply(snapshot, self.now))
    }

    pub(crate) fn tick(&mut self) -> Vec<Request> {
        in_order(self.ledger.tick(self.now))
    }

    pub(crate) fn release(&mut self, lease: Lease) -> Vec<Request> {
        in_order(self.ledger.release(lease).woken)
    }

    pub(crate) fn granted(&mut self, ticket: Ticket) -> Lease {
        match self.ledger.collect(ticket, self.now) {
            Outcome::Granted(lease) => lease,
            other => panic!("it should have been granted a slot: {other:?}"),
        }
    }

    pub(crate) fn dismissed(&mut self, ticket: Ticket) -> Refusal {
        match self.ledger.collect(ticket, self.now) {
            Outcome::Refused(refusal) => refusal,
            other => panic!("it should have been refused: {other:?}"),
        }
    }

    pub(crate) fn still_waits(&mut self, ticket: Ticket) {
        let outcome = self.ledger.collect(ticket, self.now);
        assert!(matches!(outcome, Outcome::Waiting), "it should still wait: {outcome:?}");
    }

    pub(crate) fn instance_of(&self, lease: &Lease) -> InstanceId {
        self.ledger.instance(lease).id
    }
}

fn in_order(woken: Woken<Request>) -> Vec<Request> {
    woken.into_iter().collect()
}
