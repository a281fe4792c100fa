//! Probes, verdicts and a monitor: whether an instance may serve, and what was seen.
//!
//! Three parts, each of use without the next:
//!
//! - [`probe`]: one attempt to ask one instance one question, over TCP, HTTP, gRPC, by a command
//!   inside it or by a closure. It says what it saw.
//! - [`verdict`] and [`passive`]: what the answers mean, and what requests saw. Plain values
//!   without a clock, a socket or a task.
//! - [`monitor`]: the shell that asks a changing fleet on time.
//!
#![cfg_attr(feature = "monitor", doc = "```")]
#![cfg_attr(not(feature = "monitor"), doc = "```ignore")]
//! use std::{sync::Arc, time::Duration};
//! use runner_core::{address::Address, id::ServiceId};
//! use runner_health::{Cadence, Monitor, MonitorSettings, Notice, Plan, probe::{Seen, from_fn}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let second = Duration::from_secs(1);
//! let probe = from_fn(|_| async { Seen::good("it says hello") });
//! let plan = Arc::new(Plan::new(Cadence::every(5 * second, 2 * second), probe));
//!
//! let (handle, monitor) = Monitor::new(MonitorSettings::default());
//! let instance = ServiceId::from_random(1).instance(1);
//! handle.add(instance, Address::Memory("hello".into()), plan);
//!
//! let (told, mut notices) = tokio::sync::mpsc::unbounded_channel();
//! tokio::spawn(monitor.run(move |notice| drop(told.send(notice))));
//! let Some(Notice::Changed { change, .. }) = notices.recv().await else { panic!() };
//! assert_eq!(change.cause.to_string(), "readiness passed once: it says hello");
//! assert!(handle.verdict(instance).is_some_and(|verdict| verdict.may_serve()));
//! # }
//! ```
//!
//! # Guarantees
//!
//! - An app that took `t` to start is noticed within `t / 30`, at least 2 ms, and one round trip.
//! - With App Runner's settings an instance goes out after 25 seconds of bad answers, a tenth more
//!   or less, and never for one of them.
//! - What requests saw never takes out more than a stated share of the instances that active
//!   questions call ready, and never the last.
//! - A hung probe delays nobody, and a pause of this program, a sleep of the host or a clock that
//!   is set ejects nobody: see [`monitor`].
//! - While no instance is well, one is replaced at a time: see [`verdict`].
//!
//! # Cancel safety
//!
//! Every future here may be dropped at any time: an attempt closes its connection, the monitor
//! drops its attempts. Nothing is spawned but by [`Monitor::run`](monitor::Monitor::run), into a
//! set that ends with it.
//!
//! # Limits
//!
//! - Probes speak no TLS, and HTTP/1.1 only; gRPC is HTTP/2 without TLS.
//! - At most 64 KiB of a body are searched for a text, and 1 KiB of a gRPC answer is read.
//! - Threshold times interval is how long a fault may last; a shorter interval is the way to
//!   notice sooner, down to 10 ms.
//! - A pause shorter than a second is not told from load.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `monitor` (default) | the monitor; tokio's tasks and timers |
//! | `tcp` | the TCP probe; tokio's sockets |
//! | `http` | the HTTP probe and App Runner's own check; hyper's HTTP/1 client |
//! | `grpc` | the gRPC probe; h2 |
//!
//! No feature changes what is there without it.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "http")]
mod app_runner;
mod error;
#[cfg(feature = "monitor")]
pub mod monitor;
pub mod passive;
mod plan;
pub mod probe;
mod settings;
pub mod verdict;

#[cfg(feature = "http")]
pub use app_runner::AppRunnerCheck;
pub use error::Error;
#[cfg(feature = "monitor")]
pub use monitor::{Monitor, MonitorHandle, MonitorSettings, Notice};
pub use plan::{Plan, Surroundings};
pub use settings::{Cadence, HealthSettings};
