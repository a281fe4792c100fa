//! What readers run: one binary for each thing to see; here is the sample app that it is shown on,
//! and what some of them share.

pub mod load;
pub mod sample_app;
pub mod scaling;
pub mod screen;
pub mod server;
pub mod words;

use std::io::{Write as _, stderr, stdout};

/// What a program begins with that takes no arguments: it is the [sample app](sample_app) where that
/// is asked for, answers `--help`, and refuses whatever else it is told.
#[expect(clippy::disallowed_methods, reason = "it stands before everything that has a destructor")]
pub fn begin(program: &str, what: &str) {
    sample_app::run_if_asked();
    let code = match std::env::args().nth(1).as_deref() {
        None => return,
        Some("--help" | "-h") => {
            // Whoever closed the pipe has read enough.
            let _ = writeln!(stdout().lock(), "{program}: {what}\n\nusage: {program} [--help]");
            0
        }
        Some(other) => {
            let _ = writeln!(stderr().lock(), "{program}: `{other}` is no flag; see --help");
            2
        }
    };
    std::process::exit(code);
}
