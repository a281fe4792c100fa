//! Conformance kits: is this a true backend, journal, secret provider?
//!
//! A kit holds anybody's implementation of a trait to the contract on the trait's page, clause by
//! clause. Each clause is a check with a sentence for a name, and the result is a [`Report`] that
//! reads as a table. Every check is itself tested by an implementation that breaks its clause and
//! no other, so a pass means something.
//!
//! | kit | holds to |
//! |---|---|
//! | [`BackendKit`] | [`backend`](crate::backend) |
//! | [`JournalKit`] | [`journal`](crate::journal) |
//! | [`SecretKit`] | [`secret::SecretProvider`](crate::secret::SecretProvider) |
//!
//! # Running one against your own
//!
//! A kit is given a clock, a way to open the implementation, and what it cannot know: for a
//! backend, the programs that it starts.
//!
//! ```
//! use runner_core::{
//!     backend::{ContainerBackend, StartRequest},
//!     testing::{
//!         backend::{Engine, SharedEngine},
//!         clock::TestClock,
//!         kit::{Act, BackendKit},
//!     },
//! };
//! use std::sync::Arc;
//!
//! let clock = TestClock::new();
//! let engine = SharedEngine::new(&clock, Engine::new()); // here: yours
//!
//! let open = move || Ok(Arc::new(engine.open()) as Arc<dyn ContainerBackend>);
//! let kit = BackendKit::new("memory", clock.clone(), open, |instance, act| {
//!     let command: &[&str] = match act {
//!         Act::Serve => &["serve"],
//!         Act::IgnoreStop => &["ignore-stop"],
//!         _ => return None, // checks that need more programs are skipped, and say so
//!     };
//!     Some(StartRequest::command(instance, command.iter().copied()))
//! });
//!
//! let report = clock.run(kit.run());
//! assert!(report.cycles() >= 40);
//! report.assert();
//! ```
//!
//! # Real time
//!
//! The kits know no runtime. What runs in real time brings a [`KitClock`]; over tokio it is this:
//!
//! ```
//! # use std::{future::Future, pin::Pin, time::{Duration, SystemTime}};
//! # mod tokio { pub mod time { pub async fn sleep(_: std::time::Duration) {} } }
//! use runner_core::{BoxFuture, testing::kit::KitClock, time::Timestamp};
//!
//! struct RealTime;
//!
//! impl KitClock for RealTime {
//!     fn now(&self) -> Timestamp {
//!         SystemTime::now().into()
//!     }
//!     fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
//!         Box::pin(tokio::time::sleep(span))
//!     }
//! }
//! # assert!(RealTime.now() > Timestamp::EPOCH);
//! ```
//!
//! # What a kit cannot see
//!
//! What its subject hides from it: whether two copies run where one is listed is seen only by a
//! [witness](BackendKit::witness), whether a record survives a power failure only by a
//! [crash](JournalKit::crash) that the caller brings. Without them the checks are weaker, or
//! skipped, and the report says which.

mod backend;
mod journal;
mod report;
mod run;
mod secrets;

pub use backend::{Act, BackendKit};
pub use journal::JournalKit;
pub use report::{Check, NotConforming, Outcome, Report, Timing};
pub use secrets::SecretKit;

use std::time::Duration;

use super::clock::TestClock;
use crate::{BoxFuture, time::Timestamp};

/// The time in which a kit runs.
pub trait KitClock: Send + Sync + 'static {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Ready once `span` has passed.
    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()>;
}

impl KitClock for TestClock {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        Box::pin(Self::sleep(self, span))
    }
}
