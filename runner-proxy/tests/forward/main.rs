//! Forwarding: what an instance sees, what its client gets back, and what happens in between.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests spawn servers and clients of their own, which write down what they saw"
)]

mod bed;
mod deadline;
mod faults;
mod heads;
mod http2;
mod plain;
mod replay;
mod upgrade;
