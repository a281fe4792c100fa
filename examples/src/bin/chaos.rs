//! The certificate of this family's own platform over processes: everything that can be had is done
//! to it while it is asked, and each answer is judged. An embedder's own is as short.
//!
//! `cargo run --release -p runner-examples --bin chaos -- --minutes M --seed S`

use std::process::ExitCode;

use runner_backends::process::Process;
use runner_platform::testing::certificate::certify;

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    certify("chaos", |place| {
        // The disk has some megabytes, and a reserve is to fit on it.
        let reserve = if place.is_full { u64::MAX / 4 } else { 1 << 20 };
        let backend = Process::builder(&place.directory).disk_reserve(reserve);
        backend.output_bound(64 << 10).build()
    })
}
