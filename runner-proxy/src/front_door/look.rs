//! The look at all connections: who is overdue, who falls behind, who has to go.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    task::Waker,
    time::Duration,
};

use super::{
    clock::Tick,
    counters::{DoorCounters, Totals},
    drain::{Class, Draining},
    limits::{Limits, Rate},
    watch::{CUT, DRAIN, LEAVE, Phase, Verdict, Watch},
};

#[expect(clippy::disallowed_types, reason = "guards the list; nothing is awaited under it")]
type Locked = std::sync::Mutex<Vec<Entry>>;

/// All connections and streams there are.
#[derive(Default)]
pub(super) struct Registry(Locked);

struct Entry {
    watch: Arc<Watch>,
    sends: Behind,
    takes: Behind,
}

impl Registry {
    pub(super) fn add(&self, watch: Arc<Watch>) {
        let entry = Entry { watch, sends: Behind::default(), takes: Behind::default() };
        self.lock().push(entry);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Looks at each once. Those that are gone are added up and forgotten.
    pub(super) fn look(
        &self,
        limits: &Limits,
        now: Tick,
        draining: Option<&mut Draining>,
        of: &Totals,
    ) {
        let mut draining = draining;
        let mut wake = Vec::new();
        let step = limits.look_every();
        self.lock().retain_mut(|entry| {
            if entry.watch.is_gone() {
                of.fold(&entry.watch.counts);
                return false;
            }
            let at = entry.watch.at();
            if let Some(verdict) = entry.overdue(at, limits, now, step) {
                wake.extend(entry.watch.judge(at, verdict));
            }
            if let Some(draining) = &mut draining {
                wake.extend(draining.apply(&entry.watch, at, now));
            }
            true
        });
        // Outside of the lock: waking may run the code of others.
        wake.into_iter().for_each(Waker::wake);
    }

    /// Tells everybody the same.
    pub(super) fn order_all(&self, order: u8) {
        let wake: Vec<_> =
            self.lock().iter().filter_map(|entry| entry.watch.order(order)).collect();
        wake.into_iter().for_each(Waker::wake);
    }

    /// All that was counted, by those who are gone and by those who are still here: nobody goes
    /// over from the one to the other in between.
    pub(super) fn sum(&self, of: &Totals) -> DoorCounters {
        let entries = self.lock();
        let mut counters = of.read();
        entries.iter().for_each(|entry| counters.add(&entry.watch.counts));
        counters
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn overdue(
        &mut self,
        at: (Phase, Tick),
        limits: &Limits,
        now: Tick,
        step: Duration,
    ) -> Option<Verdict> {
        let flags = &self.watch.flags;
        // It was written down by a clock that was last moved a look ago: nobody is judged early.
        let waited = now.since(at.1).saturating_sub(step);
        let verdict = match at.0 {
            Phase::New => (waited > limits.head).then_some(Verdict::Idle),
            Phase::Idle => {
                let open = self.watch.streams.load(Relaxed) > 0;
                (!open && waited > limits.idle).then_some(Verdict::Idle)
            }
            Phase::Head => (waited > limits.head).then_some(Verdict::HeadTooSlow),
            Phase::Busy => {
                limits.total.filter(|total| waited > *total).map(|_| Verdict::TookTooLong)
            }
            Phase::Closing => (waited > CLOSING).then_some(Verdict::NotTaken),
            Phase::Tunnel => return None,
        };
        let Some(rate) = limits.rate else { return verdict };
        let counts = &self.watch.counts;
        let wanted = flags.wants_body.load(Relaxed);
        let slow_body = self.sends.is_behind(wanted, counts.body.load(Relaxed), at, now, rate);
        let blocked = flags.blocked.load(Relaxed);
        let taken = if flags.stream.load(Relaxed) { &counts.taken } else { &counts.written };
        let slow_reader = self.takes.is_behind(blocked, taken.load(Relaxed), at, now, rate);
        match verdict {
            None if slow_body => Some(Verdict::BodyTooSlow),
            None if slow_reader => Some(Verdict::ReaderTooSlow),
            verdict => verdict,
        }
    }
}

/// How far a client is behind the least rate: it grows with the time in which the client is waited
/// for, and shrinks with what it moves. Who was quick before has no credit from it.
#[derive(Clone, Copy, Debug, Default)]
struct Behind {
    by: Duration,
    moved: u64,
    looked: Tick,
    /// The request that it is about.
    at: Tick,
}

impl Behind {
    fn is_behind(
        &mut self,
        waiting: bool,
        moved: u64,
        (_, at): (Phase, Tick),
        now: Tick,
        rate: Rate,
    ) -> bool {
        if self.at != at || moved < self.moved {
            *self = Self { by: Duration::ZERO, moved: 0, looked: now, at };
        }
        let earned =
            (moved - self.moved).saturating_mul(1_000) / u64::from(rate.bytes_per_second.get());
        if waiting {
            self.by += now.since(self.looked);
        }
        self.by = self.by.saturating_sub(Duration::from_millis(earned));
        (self.moved, self.looked) = (moved, now);
        waiting && self.by > rate.grace
    }
}

impl Draining {
    /// Tells one connection what the drain means for it now; whom to wake for it.
    fn apply(&mut self, watch: &Watch, at: (Phase, Tick), now: Tick) -> Option<Waker> {
        if at.0 == Phase::Tunnel && watch.flags.stream.load(Relaxed) {
            // It ends with its connection.
            return None;
        }
        let waited = now.since(self.since);
        let (class, deadline) = self.drain.class_of(watch, at.0);
        let order = match () {
            () if waited > deadline => DRAIN | LEAVE | CUT,
            () if waited >= self.drain.idle => DRAIN | LEAVE,
            () => DRAIN,
        };
        if watch.is_ordered(order) {
            return None;
        }
        if order & CUT != 0 && at.0 != Phase::Closing {
            match watch.streams.load(Relaxed) {
                0 => self.cut.count(class, 1),
                // The others were counted one by one.
                _ => self.cut.count(Class::Upgraded, watch.tunnels.load(Relaxed).into()),
            }
        }
        watch.order(order)
    }
}

/// How long the last words of a connection may take to be taken.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const RATE: Rate = Rate { bytes_per_second: NonZeroU32::new(100).unwrap(), grace: SECOND };
    const SECOND: Duration = Duration::from_secs(1);
    const AT: (Phase, Tick) = (Phase::Busy, Tick(0));

    #[test]
    fn a_client_is_behind_when_it_was_waited_for_longer_than_it_earned() {
        let mut behind = Behind::default();
        assert!(!behind.is_behind(true, 0, AT, Tick(1_000), RATE), "the grace is not over");
        assert!(behind.is_behind(true, 0, AT, Tick(1_001), RATE));
        assert!(!behind.is_behind(true, 50, AT, Tick(1_002), RATE), "50 bytes earn half a second");
        assert!(!behind.is_behind(true, 50, AT, Tick(1_499), RATE));
        assert!(behind.is_behind(true, 50, AT, Tick(1_502), RATE));
    }

    #[test]
    fn time_in_which_nobody_waits_for_it_is_not_its_fault() {
        let mut behind = Behind::default();
        for second in 1..100 {
            assert!(!behind.is_behind(false, 0, AT, Tick(second * 1_000), RATE));
        }
    }

    #[test]
    fn speed_of_before_is_no_credit_and_slowness_of_another_request_no_debt() {
        let mut behind = Behind::default();
        assert!(!behind.is_behind(true, 1 << 20, AT, Tick(10), RATE));
        assert!(behind.is_behind(true, 1 << 20, AT, Tick(1_020), RATE));
        let next = (Phase::Busy, Tick(1_020));
        assert!(!behind.is_behind(true, 0, next, Tick(1_100), RATE));
    }
}
