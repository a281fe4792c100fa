//! Real processes: what an instance is given, how it ends, and what is left of it.
//!
//! The instances are shells, which every machine has. What only a privileged user can do is skipped
//! for others, and says so.

#[path = "process/adoption.rs"]
mod adoption;
#[path = "process/bed.rs"]
mod bed;
#[path = "support/block.rs"]
mod block;
#[path = "process/command.rs"]
mod command;
#[path = "process/confined.rs"]
mod confined;
#[path = "process/ends.rs"]
mod ends;
#[path = "process/full.rs"]
mod full;
#[path = "process/given.rs"]
mod given;
#[path = "process/ordinary.rs"]
mod ordinary;
#[path = "process/ports.rs"]
mod ports;
#[path = "process/refused.rs"]
mod refused;
