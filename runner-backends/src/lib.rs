//! Adapters that run instances: local processes, Docker and beyond.
//!
//! Each is a module and a feature of its own and implements
//! [`ContainerBackend`](runner_core::backend::ContainerBackend), whose page says what all of them
//! promise; the conformance kit of `runner-core` holds each to it.
//!
//! | feature | module | runs instances as |
//! |---|---|---|
//! | `process` (default, Linux) | [`process`] | processes of this machine, with nothing to install |

#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(feature = "process", target_os = "linux"))]
pub mod process;
