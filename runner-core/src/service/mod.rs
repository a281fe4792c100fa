//! A service: its lifecycle, its operations, its deployments and its instances as one machine.
//!
//! [`Service`] is a plain value around the two sides of a [deployment](crate::deployment). Events
//! come in through [`Service::handle`], what users ask through [`Service::command`], and both give
//! back effects. It knows App Runner's states, operations and event codes.
//!
//! # The contract
//!
//! On top of what [`deployment`](crate::deployment) asks of whoever drives it:
//!
//! 1. **Durable effects wait.** Before an effect that [is durable](Effect::is_durable) is carried
//!    out, [`Service::record`] is committed, taken after the event that asked for it. Records are
//!    committed in the order in which they were taken; a newer one stands for an older.
//! 2. **Volatile effects do not wait.** After a crash [`Service::recover`] asks for them anew.
//! 3. **Commands are accepted when they are durable**: a caller is told with
//!    [`Effect::Accepted`], not before.
//!
//! # What users get
//!
//! - What a revision needs is resolved before anything of it is started. A secret that is missing
//!   fails the operation at once, by name, and the old revision goes on.
//! - A change of settings applies at once, whatever is under way. A change of the revision deploys;
//!   what becomes of it while another operation is under way says `deployment.concurrent_edits`.
//! - Failed and paused services can be edited. What is edited while paused is resolved then, and
//!   deployed on resume.
//! - A resume ends in its time: with instances, or paused as before, with the cause. A deletion
//!   takes the place of whatever is under way.
//! - After a restart every instance is looked for, probed, and only then trusted. The values of
//!   secrets are asked for again; until they are there nothing is started, and what runs goes on.
//! - Everything that is waited for has a name and an end: [`Service::dump`].
//!
//! # What it is not
//!
//! It decides nothing about load: how many instances are wanted comes in as
//! [`Desired`](crate::deployment::Event::Desired). It judges no probes. It stores nothing.

mod command;
mod commands;
mod dump;
mod event;
mod machine;
mod operations;
mod record;
mod resolve;
mod state;
mod views;

pub use command::{Command, Ending, Finished, Kind, Refused};
pub use dump::Dump;
pub use event::{Effect, Event, Notice, Timer};
pub use machine::Service;
pub use record::Record;
pub use state::{Resolution, Status};
