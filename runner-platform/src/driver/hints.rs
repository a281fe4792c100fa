//! Hints of the backend, and what its instances write: handed on to who is meant.

use std::{convert::Infallible, future::poll_fn, sync::Arc, time::Duration};

use runner_core::{
    backend::{Hint, LogLine},
    id::InstanceId,
    time::Timestamp,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

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

/// Reads what an instance writes for who follows it, until either ends.
pub(super) async fn follow(
    shared: Arc<Shared>,
    instance: InstanceId,
    since: Timestamp,
    to: mpsc::Sender<(InstanceId, LogLine)>,
) {
    let Ok(mut lines) = shared.backend.logs(shared.fence, instance, since).await else { return };
    loop {
        tokio::select! {
            biased;
            () = to.closed() => return,
            line = poll_fn(|context| lines.as_mut().poll_next(context)) => {
                let Some(line) = line else { return };
                if to.send((instance, line)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// How long until an engine whose watch ended is watched again.
const AGAIN: Duration = Duration::from_secs(1);
