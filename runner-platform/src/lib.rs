//! The composition: queue, health, scaling, deployments and a backend, driven with real I/O.
//!
//! A [`Platform`] runs services: what each should be is said once, and kept true. It is a cheap
//! handle; the [`Driver`] that comes with it is the one future that a program runs.
//!
#![cfg_attr(feature = "testing", doc = "```")]
#![cfg_attr(not(feature = "testing"), doc = "```ignore")]
//! use runner_core::{service::Status, spec::ServiceSpec};
//! # use runner_platform::testing::Memory;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let world = Memory::new(1);
//! let (platform, driver) = world.builder().build()?; // outside of tests: Platform::builder()
//! tokio::spawn(driver.run());
//!
//! let spec = ServiceSpec::command(["./hello"]).cap(10).between(1, 4);
//! let operation = platform.create("hello", spec).await?;
//! operation.finished().await?; // or its cause, with evidence
//!
//! platform.change("hello", |spec| spec.cap(20)).await?; // at once, no new instance
//! let hello = platform.describe("hello").await?;
//! assert_eq!((hello.status, hello.ready()), (Status::Running, 1));
//! # Ok(())
//! # }
//! ```
//!
//! Outside of tests `Platform::builder()` has a default for everything; most programs say where to
//! listen and where to keep the journal:
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use runner_platform::Platform;
//!
//! let builder = Platform::builder().listen("127.0.0.1:8080").journal("state.redb");
//! let (platform, driver) = builder.build()?;
//! tokio::spawn(driver.run());
//! assert_eq!(platform.addresses().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! Nothing here decides. Each service has a task around its
//! [machine](runner_core::service::Service): events go in as they come, and what comes out is done,
//! at once where recovery can derive it anew, after the journal's commit where it cannot. Requests
//! take another way, [`Platform::service`], and meet the control side in the routes and in the
//! snapshot of each queue alone.
//!
//! # Guarantees
//!
//! - **What was accepted is durable,** and goes on whether or not anybody follows it, over crashes
//!   too. A change that cannot be stored is refused with the cause and has not happened: it is
//!   tried on a copy of the machine first. Traffic goes on meanwhile.
//! - **After a restart nothing is trusted before it was found and probed.** Instances are taken up
//!   as they are, operations are carried on, and requests wait in the queue until then. After a
//!   boot of the host only as many instances start at once as it has processors.
//! - **Demand is not polled for.** A request that waits for what no instance can give reaches the
//!   machine at once, and the first one to a service at rest wakes it: nobody looks at it from time
//!   to time. Settings apply with the answer to the command that brought them, to every request
//!   that comes after it.
//! - **A panic poisons one service:** its queue stays, its operations are told, and it begins anew
//!   from what is on record.
//! - **Code of others** (backends, stores, resolvers) is called with a limit in time; where it
//!   panics, the call has failed.
//! - **Two platforms never meet:** there are no globals, and instances bear the platform's mark.
//!
//! # Services that call each other
//!
//! With an [inner door](PlatformBuilder::inner_door) every service is reached by the instances of
//! all others under its name, published or not, through the same queue as from outside: a call
//! waits, is refused, and wakes who sleeps. Instances find it in `RUNNER_SERVICES`:
//!
//! ```sh
//! curl -H 'host: shop' "$RUNNER_SERVICES/"           # or, where the field cannot be set:
//! curl --proxy "$RUNNER_SERVICES" http://shop.internal/
//! ```
//!
//! From the outer door a service that is not published is not told from one that does not exist.
//! The inner door is on the loopback and asks nobody who they are: see [`InnerDoor`].
//!
//! # Cancel safety
//!
//! Dropping the driver's future is a crash that is prepared for: every task and port ends, and
//! instances go on. Dropping a handle's future never undoes what was accepted. See
//! [`Platform::shutdown`] for an orderly end.
//!
//! # Limits
//!
//! - Commands of one service come one after another, and while one is being stored the service's
//!   other events wait: for a disk's sync, or 30 seconds where the disk hangs. What is refused then
//!   is undone should the disk write it after all; only a crash between the two leaves it made.
//! - While state cannot be stored no instance is started or stopped either; what serves serves on.
//! - A service whose task begins anew after a panic looks for its instances as after a restart:
//!   requests wait for the probes, some milliseconds.
//! - A specification that asks for what has no effect here is refused: see [`NotOffered`].
//! - Revisions are compared by their slowest hundredth once a thousand requests went to each.
//! - An orderly restart loses no request where the listening socket is kept open by a supervisor
//!   and handed in by [`listen_by`](PlatformBuilder::listen_by); otherwise connections are refused
//!   between the end of one program and the beginning of the next.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `journal` (default) | [`journal`]: state in one file |
//! | `process` (default, Linux) | processes of this machine as the default backend |
//! | `testing` | [`testing`]: a platform in memory and in paused time |

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod actor;
mod builder;
mod clock;
mod describe;
mod driver;
mod error;
mod events;
#[cfg(feature = "journal")]
#[cfg_attr(docsrs, doc(cfg(feature = "journal")))]
pub mod journal;
mod limits;
mod logs;
mod message;
mod nudge;
mod offered;
mod operation;
mod path;
mod platform;
mod policy;
mod queue;
mod random;
mod shared;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod volatile;
mod within;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use builder::PlatformBuilder;
pub use describe::{Description, InstanceSummary, OperationDump};
pub use driver::Driver;
pub use error::{Error, OperationFailed};
pub use events::{Events, Happening, Told};
pub use logs::{Logs, LogsFrom};
pub use message::Aftermath;
pub use offered::NotOffered;
pub use operation::{Operation, OperationSummary};
pub use path::{
    ACCESS_LOG, DataPath, InnerDoor, PathBody, PathError, PathFuture, Reach, ReachStream,
    ServicePath,
};
pub use platform::Platform;
