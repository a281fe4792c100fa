//! Admission: who gets a slot, who waits, who is refused.
//!
//! A [`Ledger`] holds the slots of all instances of a service, those who wait for one, and the
//! leases that are out. It is a plain value: a proxy puts a lock around it, a simulator drives the
//! very same one. Its shell calls [`admit`](Ledger::admit) and, where there is no slot,
//! [`enqueue`](Ledger::enqueue); [`collect`](Ledger::collect)s what was decided when the ledger
//! says whom to wake; [`release`](Ledger::release)s each [`Lease`] once.
//!
//! ```
//! use std::time::Duration;
//! use runner_core::{
//!     address::Address,
//!     admission::{Ask, Instance, Ledger, Outcome, QueueSettings, Snapshot},
//!     id::{RevisionNumber, ServiceId},
//!     time::Timestamp,
//! };
//!
//! let now = Timestamp::from_secs(1);
//! let id = ServiceId::from_random(1).instance(1);
//! let mut snapshot = Snapshot::default();
//! snapshot.instances =
//!     vec![Instance::new(id, Address::Memory("a".into()), RevisionNumber::FIRST, 1)];
//! let mut ledger = Ledger::new(QueueSettings::new(10, Duration::from_secs(5)), snapshot, now);
//!
//! let ask = Ask::default();
//! let first = ledger.admit(&ask).expect("one slot is free");
//! assert!(ledger.admit(&ask).is_none());
//! let second = ledger.enqueue(&ask, "the second", now).expect("there is room to wait");
//! assert!(second.demand.is_some(), "the first to wait is told to whoever starts instances");
//!
//! let woken: Vec<_> = ledger.release(first).woken.into_iter().collect();
//! assert_eq!(woken, ["the second"]);
//! assert!(matches!(ledger.collect(second.ticket, now), Outcome::Granted(_)));
//! ```
//!
//! # The contract
//!
//! 1. **No lease is granted above an instance's effective cap** (its cap, times its ramp) at that
//!    moment. Leases that are out when a cap falls are kept.
//! 2. **Work-conserving:** nobody waits while a slot is free that it may use. Preferences and
//!    revision weights order free slots and yield to any; a [`Pin`] and strict weights do not.
//! 3. **In order:** classes before one another, keys of a class by weight, first come first served
//!    inside a key. Nobody barges: a released slot goes to the first in that order that may use it.
//! 4. **Refused only if it would not fit:** the wait is predicted from three supplies (slots that
//!    are there, at the pace at which they come free; slots of starting instances; slots that can
//!    still be made to come), and where one of them is not known yet nobody is refused for it. A
//!    newcomer is to fit though requests differ in length: who waits in vain is worse off than who
//!    is refused. When a promise breaks, those who wait are predicted anew.
//! 5. **Told at once:** the first to wait, and the first to wait for what no instance could give,
//!    is a [`Demand`]; so is the first that would have, had it not been refused.
//! 6. **Bounded** in count and in time; in a full queue a key below its share takes the place of
//!    the newest of the key furthest above its own.
//!
//! # What it is not
//!
//! It knows no clock (`now` is an argument, and the way without a queue needs none), no request, no
//! scaling policy. Fairness is by count of requests, not by how long each holds its slot. One queue
//! is one process's.

mod ask;
mod forecast;
mod ledger;
mod pace;
mod queue;
mod refusal;
mod slots;
mod snapshot;
mod tally;

pub use ask::{Ask, Balance, FairKey, Pin, Priority, QueueSettings};
pub use ledger::{Lease, Ledger, Outcome, Queued, Released, TurnedAway, Woken};
pub use queue::Ticket;
pub use refusal::{Reason, Refusal};
pub use snapshot::{Attainable, Closed, Expected, Instance, Ramp, Snapshot, Weight, Why};
pub use tally::{Demand, DemandCause, Tally, WaitHistogram};
