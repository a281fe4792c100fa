//! What an alarm does when its time has come.
//!
//! Beside [`alarm`](super::alarm), which the ledger's lock guards and which knows of no queue: here
//! an alarm is given a timer that finds its way back to the queue.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc as StdArc,
    task::{Context, Wake, Waker},
};

use super::{
    alarm::{AlarmId, Unset},
    gate::Gate,
};
use crate::sync::{Arc, Weak, downgrade, sleep_until, unconstrained};

/// Gives an alarm its timer. One whose time has come already rings now.
pub(super) fn set(alarm: Unset, gate: &Arc<Gate>) {
    let id = alarm.id();
    let mut setting = Setting { gate, id, is_set: false };
    let waker = Waker::from(StdArc::new(Ring { gate: downgrade(gate), id }));
    let mut timer = Box::pin(sleep_until(gate.clock.instant(alarm.at())));
    // A task's budget says when the task should yield, not whether a timer may be set.
    let polled = pin!(unconstrained(poll_fn(|cx| timer.as_mut().poll(cx))));
    setting.is_set = polled.poll(&mut Context::from_waker(&waker)).is_pending();
    alarm.keep(timer);
}

struct Setting<'a> {
    gate: &'a Gate,
    id: AlarmId,
    is_set: bool,
}

impl Drop for Setting<'_> {
    fn drop(&mut self) {
        if !self.is_set {
            self.gate.shared.ring(self.id);
        }
    }
}

/// The waker of an alarm. It does not keep the queue alive, which owns the timer that holds it.
struct Ring {
    gate: Weak<Gate>,
    id: AlarmId,
}

/// Called by the runtime's driver, with none of its locks held; also when the runtime shuts down,
/// so that those who wait on another rely on it no more.
impl Wake for Ring {
    fn wake(self: StdArc<Self>) {
        if let Some(gate) = self.gate.upgrade() {
            gate.shared.ring(self.id);
        }
    }
}
