//! Instruments for tests: fakes that never sleep, conformance kits, the explorer.

pub mod backend;
pub mod clock;
pub mod explorer;
pub mod journal;
pub mod kit;
pub mod machine;
pub mod random;

mod shared;
