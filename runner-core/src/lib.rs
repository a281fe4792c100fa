//! Vocabulary, traits and pure state machines of the runner crates.
//!
//! With these crates any Rust program becomes its own App Runner. This one holds what all the
//! others agree on:
//!
//! - **words**: [`id`], [`time`], [`address`], [`secret::Secret`], and the checked
//!   specifications in [`spec`];
//! - **machines**: [`admission`] (who gets a slot), [`deployment`] (how one revision takes the place
//!   of another) and [`service`] (all that happens to a service);
//! - **traits to the outside**: [`backend::ContainerBackend`] (what runs instances),
//!   [`secret::SecretProvider`], [`source::SourceResolver`] and [`journal::Journal`];
//! - **testing** (feature `testing`): an in-memory backend and journal that never sleep and fail
//!   on request, conformance kits for anybody's implementation of the traits, and the explorer
//!   that searches every reachable state of a machine.
//!
//! # Decide in values, act in shells
//!
//! Nothing here reads a clock, spawns a task, opens a socket or rolls a die. Time is an argument
//! ([`time::Timestamp`]), randomness is an argument, and what should happen is returned as data.
//! That is what makes exhaustive exploration and replay possible, and it is checked: this
//! crate's dependency tree names neither tokio nor hyper, and clippy refuses the calls. The two
//! secret providers that come with the crate read what they are for, the environment and files,
//! and nothing else does.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `text` | specifications from TOML and JSON text, faults with line and column |
//! | `testing` | fakes, conformance kits, the explorer |
//!
//! No feature changes what is there without it.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod address;
pub mod admission;
pub mod backend;
pub mod deployment;
pub mod error;
pub mod id;
pub mod journal;
pub mod secret;
pub mod service;
pub mod source;
pub mod spec;
pub mod time;

#[cfg(feature = "testing")]
pub mod testing;

pub use error::Error;

use std::{future::Future, pin::Pin};

use futures_core::Stream;

/// A boxed future that may move between threads: what the object-safe traits return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A boxed stream that may move between threads.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;
