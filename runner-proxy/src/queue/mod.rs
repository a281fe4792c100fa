//! The overflow queue: admit, hold or refuse.
//!
//! # How it differs from tower's own
//!
//! `ConcurrencyLimit` takes its permit in `poll_ready` and keeps it inside the clone, so idle
//! clones strand capacity; it gives it back when the head of the response is there, however long
//! the body takes; and it cannot refuse. `LoadShed` sheds on any `Pending` of what is inside, one
//! that only means "poll me again" included. `Buffer` moves each request through a channel to a
//! task and back. Here nothing is reserved for who has not asked: a service is always ready,
//! decides when it is called, and drives the readiness of a fresh clone of the inner service once
//! it has a slot.
//!
//! # On the span
//!
//! What a request met is recorded on the span that is current when it is decided, in the fields
//! `queue.wait_ms` (how long it waited; of one that was refused, how long it would have) and
//! `queue.refused` (the code of the reason). A span has only the fields that it was made with, so
//! declare them: `info_span!("request", queue.wait_ms = Empty, queue.refused = Empty)`. A request
//! that found a slot at once records nothing, since reading a clock would cost it more than its
//! admission does.
//!
//! # What is where
//!
//! The decision is the ledger's (`runner_core::admission`), a plain value under one short lock.
//! While nobody waits for a single cap, an atomic word before it does without the lock. The rest of
//! this module is the way of a request through it.

#[cfg(feature = "forward")]
mod again;
mod alarm;
mod body;
mod counters;
mod form;
mod future;
mod gate;
mod handle;
mod head;
mod layer;
mod refuse;
mod ring;
mod service;
mod shared;
mod wait;
mod word;

#[cfg(feature = "forward")]
pub(crate) use again::Return;
pub use body::{LeasedBody, ResponseBody};
pub use counters::QueueCounters;
pub(crate) use form::Pooled;
pub(crate) use future::Drive;
pub(crate) use gate::{Gate, Hooks};
pub use handle::LeaseHandle;
pub use head::RequestHead;
pub use layer::{InvalidQueue, OverflowQueueBuilder, OverflowQueueLayer};
pub(crate) use layer::{ask_by_timeout, default_refusals};
pub use refuse::refusal_response;
pub use service::{OverflowQueue, ResponseFuture};
pub(crate) use shared::Shared;
#[cfg(feature = "forward")]
pub(crate) use shared::Target;

pub use crate::told::MaybeOwn;
