//! Scaling policies as plain values: how many instances there should be now, and why.
//!
//! ```
//! use std::time::Duration;
//! use runner_core::time::Timestamp;
//! use runner_scaler::{DefaultPolicy, Engine, Load, Observation, PolicyExt};
//!
//! let mut engine = Engine::new(DefaultPolicy::default().between(1, 25))?;
//! let now = Timestamp::from_secs(60);
//! let seen = Observation::of_ready(2, 10, now).with_load(Load::now(20, 5));
//! let decision = engine.decide(&seen, now);
//! assert_eq!(decision.active, 3);
//! println!("{decision}");
//! # Ok::<(), runner_scaler::InvalidPolicy>(())
//! ```
//!
//! - [`Observation`] in, [`Decision`] out: plain data, both ways serde. A decision says which rule
//!   asked for what, which clamp changed it, until when it holds and what would have changed it;
//!   text is made when somebody displays it.
//! - A [`Policy`] says what the load asks for; [`Limits`] around it say what is done about that;
//!   an [`Engine`] is both with what was learned about starts.
//! - [`simulator`] replays recorded traffic through the very policies that decide and the very
//!   ledger that serves requests, and says what that would have cost; [`tune`] looks for the
//!   parameters that cost least.
//! - [`advisor`] finds what cap, processor and memory fit, and moves a cap by itself.
//!
//! # Guarantees
//!
//! A decision is within its bounds, never below what is in flight as long as the maximum allows
//! it, and depends on nothing but the observations so far: no clock, no randomness, no I/O. What
//! it names as "otherwise" was tried out on the same limits before it was named.
//!
//! # Limits
//!
//! It starts nothing and knows no service by name. Observations come in the order of time, each
//! covering the span since the one before.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `time-zones` | schedules by the clock of a named place, such as `Europe/Berlin` |

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod advisor;
mod decision;
mod engine;
mod error;
mod explain;
mod learn;
mod limits;
mod observation;
mod peaks;
mod policy;
pub mod simulator;
pub mod tune;

pub use decision::{
    Because, Change, Clamp, Clamped, Count, Decision, Otherwise, Reason, Seen, Signal, Wish,
};
pub use engine::Engine;
pub use error::InvalidPolicy;
pub use learn::StartUp;
pub use limits::{Limits, Rate, Setting};
pub use observation::{Fleet, Load, Name, Observation, Observed, Phase, Reading};
pub use policy::{
    AppRunner, Asked, Bounded, CloudRun, Cron, DefaultPolicy, Forecast, Knative, Largest, Look,
    Nothing, Objective, Policy, PolicyExt, Prices, Schedule, Season, Stale, Steps, TargetTracking,
    Window, Zone, wait_below,
};
