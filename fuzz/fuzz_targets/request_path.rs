//! Whatever bytes a client says, its instance receives requests that read in one way.
//!
//! The first byte says in pieces of what size the rest is said (0: all at once), the rest is one
//! client of the whole path: door, router, queue, forwarding, and an instance that reads by the
//! letter. What must hold is written where `cargo test` uses it too, in
//! `runner-proxy/tests/door_fuzz/path.rs`.
//!
//! From this folder, with the stable compiler, for ten minutes:
//!
//! ```text
//! cargo run --release --bin request_path -- -max_total_time=600 -dict=http.dict corpus seeds
//! ```
//!
//! `corpus` grows with what is found and is not kept in the repository; `seeds` is. What fails is
//! written to a file `crash-...`; with its name as the only word it is said once more.
#![no_main]
#![allow(clippy::disallowed_methods, reason = "the path runs in a runtime of its own")]

use libfuzzer_sys::fuzz_target;

#[path = "../../runner-proxy/tests/door_fuzz/path.rs"]
mod path;

fuzz_target!(|data: &[u8]| {
    let Some((&size, said)) = data.split_first() else { return };
    let size = if size == 0 { usize::MAX } else { usize::from(size) };
    path::ask(&[said.chunks(size).collect()]);
});
