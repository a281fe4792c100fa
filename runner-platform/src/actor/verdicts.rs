//! What the monitor of a service says: kept for the task that polls it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    sync::PoisonError,
    task::Poll,
};

use runner_health::Notice;

/// Notices that were not taken yet. Its task runs the monitor too, so whoever takes was just there
/// when they came, and nobody need be woken; most services have none most of the time, and no room
/// for any.
#[derive(Default)]
pub(super) struct Verdicts(Lock);

#[expect(clippy::disallowed_types, reason = "of one task: never waited for")]
type Lock = std::sync::Mutex<VecDeque<Notice>>;

impl Verdicts {
    pub(super) fn push(&self, notice: Notice) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(notice);
    }

    fn pop(&self) -> Option<Notice> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Runs the monitor until there is a notice.
    pub(super) async fn next(
        &self,
        mut asking: Pin<&mut impl Future<Output = Infallible>>,
    ) -> Notice {
        poll_fn(|context| {
            if let Some(notice) = self.pop() {
                return Poll::Ready(notice);
            }
            match asking.as_mut().poll(context) {
                Poll::Ready(never) => match never {},
                Poll::Pending => self.pop().map_or(Poll::Pending, Poll::Ready),
            }
        })
        .await
    }
}
