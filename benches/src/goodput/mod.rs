//! What is still served when far more comes than can be?
//!
//! An open loop: requests come at times of their own, at half to ten times of what the slots can
//! serve, whatever became of the ones before. Behind the real queue (the layer, or the pool form
//! before ten instances) stands a service whose slots are held by timers and cost no CPU, so that
//! what is measured is whom the queue lets in, and not a machine at its end.
//!
//! # Two clocks
//!
//! - **Paused time**, for the curves and all that an [`oracle`] judges: the same layer, futures,
//!   wakers and timers on tokio's test clock, which stands still while anything runs. Only
//!   decisions are left, they are the same on every machine, and no stall of the machine passes
//!   for a mistake of the queue or hides one. Times are whole milliseconds there, as tokio's timers
//!   are.
//! - **Real time**, for what paused time cannot show: how soon a refusal is answered, and whether
//!   goodput stands when deciding costs CPU. Refusals are timed from when the request was sent, the
//!   wait for its turn on the one thread included. How late it was sent is told beside, since on
//!   a machine with other work that is the machine's doing: where it is more than a few
//!   milliseconds, real time says little.
//!
//! # What counts
//!
//! Goodput is requests answered with success, after a wait within their own budget, per second.
//! Capacity is slots over the mean time for which the service held them. Both are of the same
//! stretch, after the start (when nothing was learned yet) is over.

pub mod arrivals;
pub mod clients;
pub mod curve;
pub mod journal;
pub mod oracle;
pub mod service;
pub mod svg;

/// How many requests the service works on at once.
pub const SLOTS: u32 = 500;
/// Into so many instances the pool form divides them.
pub const INSTANCES: u32 = 10;
