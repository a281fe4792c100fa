//! What the runner crates are measured by; each module asks one question.
//!
//! A question is a function from a number of operations to the time they took, so that criterion
//! and the programs that compare peers in one run ask it in the same way.

#![allow(clippy::disallowed_methods, reason = "to measure is to read clocks")]

pub mod admission;
pub mod fidelity;
pub mod goodput;
pub mod health;
pub mod machine;
mod own;
pub mod platform;
pub mod process;
pub mod proxy;
pub mod scaler;
