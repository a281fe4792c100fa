//! The front door, end to end: over real sockets, and in virtual time where it is about time.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests spawn, wait, and fail where they unwrap"
)]

#[path = "door/attacks.rs"]
mod attacks;
#[path = "door/bed.rs"]
mod bed;
#[path = "door/drain.rs"]
mod drain;
#[path = "door/extended.rs"]
mod extended;
#[path = "door/http.rs"]
mod http_versions;
#[path = "door/informational.rs"]
mod informational;
#[path = "door/limits.rs"]
mod limits;
#[path = "door/memory.rs"]
mod memory;
#[path = "door/path.rs"]
mod path;
#[path = "door/real.rs"]
mod real;
#[path = "door/routing.rs"]
mod routing;
#[path = "door/sockets.rs"]
mod sockets;
