//! What is said to who looks on: how it goes, and what went wrong.

use std::io::{self, Write as _};

/// Says something to who looks on.
pub(super) fn say(words: &str) {
    let _ = writeln!(io::stdout().lock(), "{words}");
}

/// Says to them what went wrong.
pub(super) fn complain(program: &str, why: &str) {
    let _ = writeln!(io::stderr().lock(), "{program}: {why}");
}
