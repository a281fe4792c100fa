//! Waiting for a slot: a place in the queue, and what ends it in time.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use runner_core::admission::Refusal;
use tracing::level_filters::LevelFilter;

use super::{
    alarm::{AlarmId, Reliance},
    gate::Gate,
    ring,
    shared::{Admitted, Decided, Grant, Look, Place},
};
use crate::sync::{Arc, Sleep, runtime, sleep_until};

/// How a wait ended.
pub(crate) type Decision<T> = Result<Admitted<T>, Box<Refusal>>;

/// A place in the queue. Dropping it leaves the queue, and passes on a slot that was already
/// given to it.
pub(crate) struct Wait {
    /// Nothing once it was decided.
    place: Option<(Arc<Gate>, Place)>,
    timing: Timing,
}

/// What ends a wait in time.
enum Timing {
    /// It was not polled yet.
    Open,
    /// An alarm that it shares.
    Shared(AlarmId),
    /// A timer of its own, boxed, since only long waits have one.
    Own(Pin<Box<Sleep>>),
}

impl Wait {
    pub(crate) fn new(gate: Arc<Gate>, place: Place) -> Self {
        Self { place: Some((gate, place)), timing: Timing::Open }
    }

    /// The slot or the refusal, the gate it is of, and how long it took.
    #[inline]
    pub(crate) fn poll<T: Grant>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(Arc<Gate>, Duration, Decision<T>)> {
        let (gate, place) = self.place.as_ref().expect("a wait is not polled after its decision");
        let look = match &self.timing {
            Timing::Open => Look::First(runtime()),
            Timing::Shared(alarm) => Look::Again(*alarm),
            Timing::Own(_) => Look::Timed,
        };
        let mut decided = gate.shared.poll(*place, cx.waker(), look, || gate.clock.now());
        if let Decided::Waiting(reliance) = decided {
            let timer = match (reliance, &mut self.timing) {
                (Reliance::On(id), timing) => {
                    *timing = Timing::Shared(id);
                    return Poll::Pending;
                }
                (Reliance::Sets(alarm), timing) => {
                    *timing = Timing::Shared(alarm.id());
                    ring::set(alarm, gate);
                    return Poll::Pending;
                }
                (Reliance::Own, Timing::Own(timer)) => timer,
                (Reliance::Own, timing) => {
                    let timer = Box::pin(sleep_until(gate.clock.instant(place.deadline)));
                    *timing = Timing::Own(timer);
                    let Timing::Own(timer) = timing else { unreachable!("just set") };
                    timer
                }
            };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            decided = match gate.shared.expire(*place, gate.clock.now()) {
                Some(refusal) => Decided::Refused(Box::new(refusal)),
                // It was decided between the two looks.
                None => gate.shared.poll(*place, cx.waker(), Look::Timed, || gate.clock.now()),
            };
        }
        let (waited, answer) = match decided {
            Decided::Admitted(admitted, waited) => {
                record(waited);
                (waited, Ok(admitted))
            }
            Decided::Refused(refusal) => (gate.clock.now().since(place.since), Err(refusal)),
            Decided::Waiting(_) => return Poll::Pending,
        };
        let (gate, _) = self.place.take().expect("seen above");
        Poll::Ready((gate, waited, answer))
    }
}

/// Writes on the current span how long a request waited that was given a slot.
fn record(waited: Duration) {
    // Where nobody listens to anything, even the question for the span is saved.
    if LevelFilter::current() == LevelFilter::OFF {
        return;
    }
    let span = tracing::Span::current();
    if !span.is_disabled() {
        span.record("queue.wait_ms", waited.as_secs_f64() * 1e3);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some((gate, place)) = self.place.take() {
            gate.shared.leave(place);
        }
    }
}
