//! Hints of the backend, handed on to who is meant.
//!
//! Most say that something changed, and not for whom. One list says for whom: those are told for
//! whom it is not as the one before it. Were all told, each of a thousand services would ask what
//! is there whenever an instance of one begins.

use std::{convert::Infallible, future::poll_fn, sync::Arc, time::Duration};

use runner_core::{Error, backend::Hint, id::ServiceId};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::shared::{ListAsk, Shared, Sighted};

/// Tells each service when something may have changed for it. A hint says where to look; what is
/// so, a list says.
pub(super) async fn hand_on(shared: Arc<Shared>) -> Infallible {
    let mut known = Arc::<Sighted>::default();
    loop {
        let mut hints = shared.backend.watch(shared.fence);
        let mut listing = Listing::default();
        loop {
            tokio::select! {
                biased;
                hint = poll_fn(|context| hints.as_mut().poll_next(context)) => match hint {
                    Some(Hint::Ended(instance, _)) => tell(&shared, |id| id == instance.service),
                    // Of a kind that is not known yet: whoever looks, sees.
                    Some(_) => listing.ask(&shared),
                    None => break,
                },
                listed = listing.answered() => {
                    match listed {
                        Some(Ok(sighted)) => {
                            tell(&shared, |id| sighted.of(id) != known.of(id));
                            known = sighted;
                        }
                        // Each looks for itself, as soon as anybody can.
                        Some(Err(_)) | None => tell(&shared, |_| true),
                    }
                    listing.again(&shared);
                }
            }
        }
        // Nobody knows what happened while nobody watched.
        sleep_until(Instant::now() + AGAIN).await;
        tell(&shared, |_| true);
    }
}

/// The list that is under way, if any.
#[derive(Default)]
struct Listing {
    asked: Option<oneshot::Receiver<Result<Arc<Sighted>, Error>>>,
    /// Something changed since it was asked for.
    is_old: bool,
}

impl Listing {
    fn ask(&mut self, shared: &Shared) {
        if self.asked.is_some() {
            self.is_old = true;
            return;
        }
        let (answer, asked) = oneshot::channel();
        // Without the driver's task for lists nobody waits for this either.
        let _ = shared.lists.send(ListAsk { since: shared.clock.now(), answer });
        self.asked = Some(asked);
    }

    /// What it says, or nothing where it cannot be had. Pending while there is none.
    async fn answered(&mut self) -> Option<Result<Arc<Sighted>, Error>> {
        let Some(asked) = &mut self.asked else { return std::future::pending().await };
        let answer = asked.await.ok();
        self.asked = None;
        answer
    }

    /// Asks once more for what happened while it was under way.
    fn again(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.is_old) {
            self.ask(shared);
        }
    }
}

fn tell(shared: &Shared, meant: impl Fn(ServiceId) -> bool) {
    shared.with(|registry| {
        for entry in registry.services.values().filter(|entry| meant(entry.id)) {
            entry.way.book.nudge.change();
        }
    });
}

/// How long until an engine whose watch ended is watched again.
const AGAIN: Duration = Duration::from_secs(1);
