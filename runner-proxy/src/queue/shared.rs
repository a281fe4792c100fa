//! What all clones of a queue share: the ledger under its lock, and the word before it.

use std::{collections::BTreeSet, fmt, sync::PoisonError, task::Waker, time::Duration};

use runner_core::{
    address::Address,
    admission::{
        self, Ask, Demand, Ledger, Outcome, QueueSettings, Queued, Refusal, Released, Snapshot,
        Tally, Ticket, TurnedAway, Woken,
    },
    id::{InstanceId, RevisionNumber},
    time::Timestamp,
};
use tokio::sync::Notify;

use super::{
    alarm::{AlarmId, Alarms, Reliance},
    word::{Counts, Word},
};
use crate::sync::{MutexGuard, RuntimeId};

/// The ledger of one queue, shared by its services, requests and leases.
///
/// No code of others runs under the lock: wakers are cloned before it is taken, and woken and
/// dropped after it was given back.
pub(crate) struct Shared {
    word: Word,
    /// Whether the word may open: there is one cap, and nobody asks which instance.
    has_word: bool,
    inside: Lock<Inside>,
    /// Told when there is news.
    noticed: Notify,
}

#[expect(clippy::disallowed_types, reason = "the one short lock; nothing is awaited under it")]
type Lock<T> = crate::sync::Mutex<T>;

/// What the one lock guards.
struct Inside {
    /// With each who waits its waker, from the first time it is polled.
    ledger: Ledger<Option<Waker>>,
    alarms: Alarms,
    news: News,
}

/// What the control side has not been told yet: at most one demand, and each drained instance
/// once, so it is bounded however long nobody asks.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) demand: Option<Demand>,
    pub(crate) drained: BTreeSet<InstanceId>,
}

/// A slot that was taken. It must come back through [`Shared::release`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Admitted<T> {
    pub(crate) held: Held,
    /// Whether the ledger would like to know how long it is held.
    pub(crate) sampled: bool,
    pub(crate) target: T,
}

/// What is read of the ledger about a lease while it is locked.
pub(crate) trait Grant {
    fn of(lease: &admission::Lease, ledger: &Ledger<Option<Waker>>) -> Self;
}

/// How a slot is held.
#[derive(Debug)]
pub(crate) enum Held {
    /// Counted by the word while that is open and by the ledger while it is shut.
    Counted,
    /// By the ledger's own lease.
    Leased(admission::Lease),
}

/// Nothing: there is one service, and no question where a request goes.
impl Grant for () {
    fn of(_: &admission::Lease, _: &Ledger<Option<Waker>>) -> Self {}
}

/// Where an admitted request goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) instance: InstanceId,
    pub(crate) address: Address,
    pub(crate) revision: RevisionNumber,
}

impl Grant for Target {
    fn of(lease: &admission::Lease, ledger: &Ledger<Option<Waker>>) -> Self {
        let instance = ledger.instance(lease);
        let (id, revision) = (instance.id, instance.revision);
        Self { instance: id, address: instance.address.clone(), revision }
    }
}

/// What became of a newcomer.
#[derive(Debug)]
pub(crate) enum Entry<T> {
    Admitted(Admitted<T>),
    Refused(Box<Refusal>),
    Waiting(Place),
}

/// A place in the queue. It must be collected or left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) ticket: Ticket,
    pub(crate) since: Timestamp,
    pub(crate) deadline: Timestamp,
}

/// How somebody who waits looks what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    /// For the first time: it has left no waker yet. On this runtime, if it is on any.
    First(Option<RuntimeId>),
    /// Again, relying on an alarm. Most likely it was woken, and so was decided.
    Again(AlarmId),
    /// Again, with a timer of its own.
    Timed,
}

/// What became of somebody who waits.
#[derive(Debug)]
pub(crate) enum Decided<T> {
    /// It was given a slot, after so long.
    Admitted(Admitted<T>, Duration),
    /// Boxed, since few are, and the answer to all others would be as large.
    Refused(Box<Refusal>),
    /// Nothing yet; and what ends its wait in time.
    Waiting(Reliance),
}

/// What is known of the queue at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) in_flight: u64,
    pub(crate) waiting: u32,
    pub(crate) slots: u64,
    pub(crate) hold_time: Option<Duration>,
    pub(crate) tally: Tally,
}

impl Shared {
    /// One cap, no instances to choose from.
    pub(crate) fn fixed(settings: QueueSettings, snapshot: Snapshot, now: Timestamp) -> Self {
        let shared = Self::new(settings, snapshot, now, true);
        drop(Shut::new(&shared));
        shared
    }

    /// Instances that come and go.
    pub(crate) fn pooled(settings: QueueSettings, snapshot: Snapshot, now: Timestamp) -> Self {
        Self::new(settings, snapshot, now, false)
    }

    fn new(settings: QueueSettings, snapshot: Snapshot, now: Timestamp, has_word: bool) -> Self {
        let ledger = Ledger::new(settings, snapshot, now);
        let inside = Lock::new(Inside { ledger, alarms: Alarms::default(), news: News::default() });
        Self { word: Word::new(), has_word, inside, noticed: Notify::new() }
    }

    // === requests ===

    /// A slot without asking the ledger. Only where there is one cap, and nobody waits.
    #[inline]
    pub(crate) fn take(&self) -> Option<Admitted<()>> {
        let taken = self.word.take()?;
        // The last and not the first of each stretch: releasing a sampled lease opens the word
        // anew, and its count begins at zero.
        let sampled = (taken.admitted_before + 1).is_multiple_of(admission::Lease::SAMPLE_EVERY);
        Some(Admitted { held: Held::Counted, sampled, target: () })
    }

    /// A slot, a place in the queue, or a refusal. Asks for the time only where there is no slot.
    #[inline]
    pub(crate) fn enter<T: Grant>(&self, ask: &Ask, now: impl FnOnce() -> Timestamp) -> Entry<T> {
        let mut shut = self.shut();
        if let Some(admitted) = shut.admit(ask) {
            return Entry::Admitted(admitted);
        }
        let since = now();
        match shut.inside.ledger.enqueue(ask, None, since) {
            Ok(Queued { ticket, deadline, demand, displaced }) => {
                let news = shut.note(demand, None);
                drop(shut);
                if let Some(displaced) = displaced.flatten() {
                    displaced.wake();
                }
                self.tell(news);
                Entry::Waiting(Place { ticket, since, deadline })
            }
            Err(TurnedAway { refusal, waiter: _none, demand }) => {
                let news = shut.note(demand, None);
                drop(shut);
                self.tell(news);
                Entry::Refused(Box::new(refusal))
            }
        }
    }

    /// Asks what became of a place, and leaves a waker if nothing did. Asks for the time only
    /// where something did.
    pub(crate) fn poll<T: Grant>(
        &self,
        place: Place,
        waker: &Waker,
        look: Look,
        now: impl FnOnce() -> Timestamp,
    ) -> Decided<T> {
        // Whoever looks for the first time most likely leaves its waker.
        if matches!(look, Look::First(_)) {
            return self.leave_waker(place, waker, look, now);
        }
        let mut shut = self.shut();
        let Some(known) = shut.inside.ledger.waiter_mut(place.ticket) else {
            return shut.collect(place, now());
        };
        if known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return Decided::Waiting(shut.rely(place, look));
        }
        drop(shut);
        self.leave_waker(place, waker, look, now)
    }

    /// Leaves a waker at a place, unless it was decided.
    fn leave_waker<T: Grant>(
        &self,
        place: Place,
        waker: &Waker,
        look: Look,
        now: impl FnOnce() -> Timestamp,
    ) -> Decided<T> {
        // Cloned without the lock, and the older one dropped without it.
        let newer = waker.clone();
        let mut shut = self.shut();
        let Some(known) = shut.inside.ledger.waiter_mut(place.ticket) else {
            return shut.collect(place, now());
        };
        let older = known.replace(newer);
        let reliance = shut.rely(place, look);
        drop(shut);
        drop(older);
        Decided::Waiting(reliance)
    }

    /// Takes an alarm away and wakes all who wait: those who relied on it rely on something else
    /// from then on.
    pub(super) fn ring(&self, id: AlarmId) {
        // Nobody is served or let in by this, so the word may stay open.
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let alarm = inside.alarms.take(id);
        let wakers: Vec<Waker> = inside.ledger.waiters_mut().filter_map(Option::take).collect();
        drop(inside);
        drop(alarm);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The time of a place is up. It was decided otherwise if the ledger was faster.
    pub(crate) fn expire(&self, place: Place, now: Timestamp) -> Option<Refusal> {
        let mut shut = self.shut();
        let (refusal, waker) = shut.inside.ledger.expire(place.ticket, now)?;
        drop((shut, waker));
        Some(refusal)
    }

    /// The client of a place has gone.
    pub(crate) fn leave(&self, place: Place) {
        let mut shut = self.shut();
        let (waker, released) = shut.inside.ledger.cancel(place.ticket);
        self.finish(shut, released);
        drop(waker);
    }

    /// Gives a slot back, and says how long it was held if that was asked for.
    #[inline]
    pub(crate) fn release(&self, held: Held, sample: Option<Duration>) {
        let by_word = sample.is_none() && matches!(held, Held::Counted);
        if !(by_word && self.word.give_back()) {
            self.release_to_ledger(held, sample);
        }
    }

    fn release_to_ledger(&self, held: Held, sample: Option<Duration>) {
        let mut shut = self.shut();
        if let Some(held) = sample {
            shut.inside.ledger.learn(held);
        }
        let released = match held {
            Held::Leased(lease) => shut.inside.ledger.release(lease),
            Held::Counted => shut.inside.ledger.release_recounted(),
        };
        self.finish(shut, released);
    }

    /// Lets go of the lock, then wakes whom a release served.
    #[inline]
    fn finish(&self, mut shut: Shut<'_>, released: Released<Option<Waker>>) {
        let Released { woken, drained } = released;
        let news = shut.note(None, drained);
        drop(shut);
        wake(woken);
        self.tell(news);
    }

    fn tell(&self, news: bool) {
        if news {
            self.noticed.notify_one();
        }
    }

    // === the control side ===

    pub(crate) fn apply(&self, snapshot: Snapshot, now: Timestamp) {
        let mut shut = self.shut();
        // Whoever has not asked yet is not to stop an instance that takes requests again.
        let again = |id: &InstanceId| snapshot.instances.iter().any(|i| i.id == *id && i.accepting);
        shut.inside.news.drained.retain(|id| !again(id));
        let woken = shut.inside.ledger.apply(snapshot, now);
        drop(shut);
        wake(woken);
    }

    pub(crate) fn tick(&self, now: Timestamp) {
        let mut shut = self.shut();
        let woken = shut.inside.ledger.tick(now);
        drop(shut);
        wake(woken);
    }

    /// Anything else that is asked of the ledger, or told to it.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&mut Ledger<Option<Waker>>) -> T) -> T {
        ask(&mut self.shut().inside.ledger)
    }

    /// What there is to tell since this was last asked; waits until there is some. Dropping the
    /// future loses nothing.
    pub(crate) async fn news(&self) -> News {
        loop {
            let news = std::mem::take(&mut self.shut().inside.news);
            if news.demand.is_some() || !news.drained.is_empty() {
                return news;
            }
            self.noticed.notified().await;
        }
    }

    /// What is known now. Leaves an open word open.
    pub(crate) fn read(&self) -> Reading {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = &inside.ledger;
        let mut tally = *ledger.tally();
        let mut in_flight = ledger.in_flight();
        if let Some(counts) = self.word.counts() {
            in_flight = u64::from(counts.in_flight);
            tally.admitted += counts.admitted;
            tally.released = tally.admitted - in_flight;
        }
        Reading {
            in_flight,
            waiting: ledger.waiting(),
            slots: ledger.slots(),
            hold_time: ledger.hold_time(),
            tally,
        }
    }

    #[inline]
    fn shut(&self) -> Shut<'_> {
        Shut::new(self)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("reading", &self.read()).finish_non_exhaustive()
    }
}

/// The ledger, locked, with the word shut; dropping it opens the word again if nobody waits.
struct Shut<'a> {
    shared: &'a Shared,
    inside: MutexGuard<'a, Inside>,
}

impl<'a> Shut<'a> {
    #[inline]
    fn new(shared: &'a Shared) -> Self {
        // The ledger panics only on a bug of ours; other requests are better served on than lost.
        let mut inside = shared.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.has_word
            && let Some(Counts { in_flight, admitted }) = shared.word.close()
        {
            let before = inside.ledger.tally().admitted;
            inside.ledger.recount(in_flight, before + admitted);
        }
        Self { shared, inside }
    }

    #[inline]
    fn admit<T: Grant>(&mut self, ask: &Ask) -> Option<Admitted<T>> {
        let lease = self.inside.ledger.admit(ask)?;
        Some(self.hold(lease))
    }

    /// What was decided about a place where nobody waits any more.
    #[inline]
    fn collect<T: Grant>(mut self, place: Place, now: Timestamp) -> Decided<T> {
        match self.inside.ledger.collect(place.ticket, now) {
            Outcome::Granted(lease) => Decided::Admitted(self.hold(lease), now.since(place.since)),
            Outcome::Refused(refusal) => Decided::Refused(Box::new(refusal)),
            Outcome::Waiting => unreachable!("nobody waits there"),
        }
    }

    /// What somebody who still waits relies on to be done in time.
    #[inline]
    fn rely(&mut self, place: Place, look: Look) -> Reliance {
        let Inside { ledger, alarms, .. } = &mut *self.inside;
        match look {
            Look::First(Some(runtime)) => {
                let half = || ledger.settings().max_wait / 2;
                alarms.rely(runtime, place.deadline, || place.since + half())
            }
            Look::Again(id) if alarms.is_set(id) => Reliance::On(id),
            Look::First(None) | Look::Again(_) | Look::Timed => Reliance::Own,
        }
    }

    /// Keeps what the control side should know; whether there was anything.
    #[inline]
    fn note(&mut self, demand: Option<Demand>, drained: Option<InstanceId>) -> bool {
        let news = &mut self.inside.news;
        if let Some(drained) = drained {
            news.drained.insert(drained);
        }
        news.demand = demand.or(news.demand);
        demand.is_some() || drained.is_some()
    }

    #[inline]
    fn hold<T: Grant>(&self, lease: admission::Lease) -> Admitted<T> {
        let (sampled, target) = (lease.is_sampled(), T::of(&lease, &self.inside.ledger));
        let held = match self.shared.has_word {
            // From here on the count of leases stands for it, wherever that is kept.
            true => Held::Counted,
            false => Held::Leased(lease),
        };
        Admitted { held, sampled, target }
    }
}

impl Drop for Shut<'_> {
    #[inline]
    fn drop(&mut self) {
        let ledger = &self.inside.ledger;
        if self.shared.has_word && ledger.waiting() == 0 && ledger.snapshot().closed.is_none() {
            // Both fit: `Word::MAX_CAP` bounds the cap, and leases beyond a cap that fell are
            // fewer than the cap that they were granted under.
            self.shared.word.open(ledger.slots() as u32, ledger.in_flight() as u32);
        }
    }
}

/// Who was not polled since it began to wait has left no waker, and looks when it is.
fn wake(woken: Woken<Option<Waker>>) {
    woken.for_each(|waker| waker.into_iter().for_each(Waker::wake));
}
