//! The whole path at the sizes it is made for: door, router, queue and forwarding in a process of
//! their own, whose memory is looked at, between clients and instances on real sockets.
//!
//! Each test takes its size from a variable of the environment and prints it. What is set where
//! nothing is said ends in seconds; `.ci/run sizes` says the sizes that were promised.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests spawn, wait, say what they saw, and fail where they unwrap"
)]

#[path = "../forward/bed.rs"]
mod bed;
mod bodies;
mod cuts;
mod peers;
mod proxy;
mod slow;
mod streams;
mod weight;

/// The process that the other tests start. As one of the tests it does nothing.
#[test]
fn child() {
    proxy::serve_if_asked();
}

/// The size that a variable says.
fn size(variable: &str, otherwise: u64) -> u64 {
    let size = match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => otherwise,
    };
    println!("{variable}={size}");
    size
}
