//! One timer for all who wait, until a wait has become a long one.
//!
//! A timer for each who waits costs more than the rest of its wait, and nearly none of them ever
//! fires: a slot comes first. One timer for the whole queue would be cheap, but whoever owned it
//! could be polled late, or not at all, and make all the others wait longer than they may. So the
//! alarm is owned by nobody who waits. It is a timer whose waker is no task's but the ring of
//! [`ring`](super::ring): the runtime's own timer driver calls it, which takes the alarm away and
//! wakes all who wait. Each that then still waits makes a timer of its own.
//!
//! The alarm is set by the first who waits without one, for when half of the longest wait has
//! passed. Whoever comes before then relies on it, if its deadline is later. So each who waits has,
//! at any time, either its own timer or an alarm that comes before its deadline, on the runtime
//! that it was first polled on: an alarm on another would be as late as that is. The price is two
//! wake-ups more at most, for those who wait long: alarms come half of the longest wait apart.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
};

use runner_core::time::Timestamp;

use crate::sync::{RuntimeId, Sleep};

/// Which alarm somebody relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlarmId(u64);

/// The alarms that are set: one for each runtime that somebody waits on, which is nearly always
/// one.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    set: Vec<Alarm>,
    made: u64,
}

#[derive(Debug)]
struct Alarm {
    id: AlarmId,
    runtime: RuntimeId,
    at: Timestamp,
    #[expect(dead_code, reason = "held for its drop")]
    timer: Timer,
}

/// Held for its drop, which takes it from its driver. Nothing while it is being set, which is done
/// without the lock: an alarm that is taken away before leaves the timer to whoever sets it.
type Timer = Arc<OnceLock<Pin<Box<Sleep>>>>;

/// What somebody who waits can rely on.
#[derive(Debug)]
pub(crate) enum Reliance {
    /// An alarm that is set.
    On(AlarmId),
    /// An alarm that it has to [set](super::ring::set) now.
    Sets(Unset),
    /// A timer of its own.
    Own,
}

/// An alarm that others may rely on already, and that has no timer yet. If it never gets one, by a
/// panic or because its time has come, it rings, and each of them makes a timer of its own.
#[derive(Debug)]
#[must_use]
pub(crate) struct Unset {
    id: AlarmId,
    at: Timestamp,
    timer: Timer,
}

impl Alarms {
    /// What somebody relies on who begins to wait on this runtime; `at` is when an alarm of its
    /// making would come.
    #[inline]
    pub(super) fn rely(
        &mut self,
        runtime: RuntimeId,
        deadline: Timestamp,
        at: impl FnOnce() -> Timestamp,
    ) -> Reliance {
        match self.set.iter().find(|alarm| alarm.runtime == runtime) {
            Some(alarm) if alarm.at <= deadline => Reliance::On(alarm.id),
            Some(_) => Reliance::Own,
            None => self.add(runtime, deadline, at()),
        }
    }

    #[cold]
    fn add(&mut self, runtime: RuntimeId, deadline: Timestamp, at: Timestamp) -> Reliance {
        if at > deadline {
            return Reliance::Own;
        }
        self.made += 1;
        let (id, timer) = (AlarmId(self.made), Timer::default());
        self.set.push(Alarm { id, runtime, at, timer: Arc::clone(&timer) });
        Reliance::Sets(Unset { id, at, timer })
    }

    pub(super) fn is_set(&self, id: AlarmId) -> bool {
        self.set.iter().any(|alarm| alarm.id == id)
    }

    /// Takes an alarm away. What is returned is to be dropped without the lock.
    pub(super) fn take(&mut self, id: AlarmId) -> Option<impl Sized + use<>> {
        let at = self.set.iter().position(|alarm| alarm.id == id)?;
        Some(self.set.swap_remove(at))
    }
}

impl Unset {
    /// Which alarm it is.
    pub(super) fn id(&self) -> AlarmId {
        self.id
    }

    /// When it is to ring.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// Gives it its timer, which goes when the alarm is taken away; at once if that was done.
    pub(super) fn keep(self, timer: Pin<Box<Sleep>>) {
        let first = self.timer.set(timer);
        debug_assert!(first.is_ok(), "an alarm is set once");
    }
}
