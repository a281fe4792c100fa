//! The ways to fail that are not about requests.

use std::{io::Write, time::Duration};

use tokio::time::sleep;

/// Takes more memory for ever, and uses it, so that it counts.
#[expect(clippy::disallowed_methods, reason = "the pace of a leak, not a wait for anything")]
pub(super) async fn leak(bytes: u64) {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    let piece = usize::try_from(bytes).unwrap_or(1 << 20);
    loop {
        taken.push(vec![1; piece]);
        sleep(Duration::from_millis(10)).await;
    }
}

/// Writes as fast as it can; a write that fails, on a full disk, is one line less.
pub(super) fn flood() {
    for number in 0_u64.. {
        // Locked for one line: the rest of the app wants to say something too.
        let _ = writeln!(
            std::io::stdout(),
            "{number}: this app talks too much, and nobody listens to it"
        );
    }
}
