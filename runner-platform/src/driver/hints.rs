//! Hints of the backend, handed on to who is meant.

use std::{convert::Infallible, future::poll_fn, sync::Arc, time::Duration};

use runner_core::backend::Hint;
use tokio::time::{Instant, sleep_until};

use crate::shared::Shared;

/// Tells each service when something may have changed for it. A hint says where to look; what is
/// so, a list says.
pub(super) async fn hand_on(shared: Arc<Shared>) -> Infallible {
    loop {
        let mut hints = shared.backend.watch(shared.fence);
        while let Some(hint) = poll_fn(|context| hints.as_mut().poll_next(context)).await {
            match hint {
                Hint::Ended(instance, _) => tell(&shared, |id| id == instance.service),
                Hint::Changed => tell(&shared, |_| true),
                // Of a kind that is not known yet: whoever looks, sees.
                _ => tell(&shared, |_| true),
            }
        }
        // Nobody knows what happened while nobody watched.
        sleep_until(Instant::now() + AGAIN).await;
        tell(&shared, |_| true);
    }
}

fn tell(shared: &Shared, meant: impl Fn(runner_core::id::ServiceId) -> bool) {
    shared.with(|registry| {
        for entry in registry.services.values().filter(|entry| meant(entry.id)) {
            entry.way.book.nudge.change();
        }
    });
}

/// How long until an engine whose watch ended is watched again.
const AGAIN: Duration = Duration::from_secs(1);
