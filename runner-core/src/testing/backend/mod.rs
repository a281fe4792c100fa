//! An engine in memory, and a backend over it.
//!
//! [`MemoryBackend`] is a true [`ContainerBackend`](crate::backend::ContainerBackend): it passes
//! the conformance kit with every capability declared. What it starts are not programs but
//! [lives](Life), plain values that say when an instance listens, how it answers and when it
//! ends. All of it happens in the virtual time of a
//! [`TestClock`](crate::testing::clock::TestClock), and what goes wrong is
//! [scripted](Faults).
//!
//! It has three layers, each of use alone:
//!
//! - [`Engine`], a plain value: calls go in with the time, answers come out when they are due.
//!   A simulation drives it without a future in sight.
//! - [`SharedEngine`], the same behind a handle, with a clock. It outlives its backends, as a real
//!   engine outlives the platform.
//! - [`MemoryBackend`], the trait over it: one per life of a platform. Dropping it is the
//!   platform's crash; [opening](SharedEngine::open) another is its return.
//!
//! ```
//! use runner_core::{
//!     backend::{Condition, ContainerBackend, Fence, PortRequest, StartRequest},
//!     id::{Epoch, PlatformId, ServiceId},
//!     source::ResolvedSource,
//!     testing::{
//!         backend::{Engine, Fault, Faults, On, Operation, SharedEngine},
//!         clock::TestClock,
//!     },
//! };
//! use std::time::Duration;
//!
//! let clock = TestClock::new();
//! let late = Fault::AnswerLate(Duration::from_secs(60));
//! let faults = Faults::none().call(On::nth(Operation::Start, 1), late);
//! let engine = SharedEngine::new(&clock, Engine::new().with_faults(faults));
//!
//! let fence = Fence { platform: PlatformId::from_random(1), epoch: Epoch::FIRST };
//! let instance = ServiceId::from_random(2).instance(1);
//! let request = StartRequest::command(instance, ["./hello"]);
//!
//! clock.run(async {
//!     let backend = engine.open();
//!     let started = backend.start(fence, request).await.expect("late, but started");
//!     assert!(started.address.is_some());
//!
//!     drop(backend); // the platform crashes, the engine does not
//!     let after = Fence { epoch: fence.epoch.next(), ..fence };
//!     let listing = engine.open().list(after).await.expect("a listing");
//!     assert_eq!(listing.instances[0].condition, Condition::Running);
//! });
//! assert!(clock.now().since(clock.start()) >= Duration::from_secs(60));
//! ```

mod call;
mod engine;
mod faults;
mod life;
mod shell;

pub use call::{Answer, Call, Operation, Ticket};
pub use engine::{Engine, Happening, InstanceView, Latency, Reply, WatchId, Watched, What};
pub use faults::{Fault, FaultMix, Faults, HintFault, On};
pub use life::{Answers, Life, OnStop};
pub use shell::{MemoryBackend, SharedEngine};

#[cfg(test)]
mod tests;
