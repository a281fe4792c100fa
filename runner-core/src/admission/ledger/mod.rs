//! The ledger: slots, queue and leases as one value.

mod outcome;
mod predict;

use std::time::Duration;

pub use outcome::{Lease, Outcome, Queued, Released, TurnedAway, Woken};

use super::{
    Ask, Balance, Closed, Demand, DemandCause, Instance, Pin, QueueSettings, Reason, Refusal,
    Snapshot, Tally, Ticket,
    pace::Pace,
    queue::{Newcomer, Queue},
    slots::Slots,
};
use crate::{
    id::{InstanceId, RevisionNumber},
    time::Timestamp,
};

/// Slots, queue and leases of one service. See the [module page](super) for the contract.
///
/// `W` is what the shell keeps with each request that waits: a waker, or a number in a simulation.
/// It is handed back whenever the ledger is done with it, never dropped inside, since dropping a
/// waker may run code that asks the same ledger.
#[derive(Debug)]
pub struct Ledger<W> {
    settings: QueueSettings,
    snapshot: Snapshot,
    slots: Slots,
    queue: Queue<W, Decision>,
    pace: Pace,
    /// Until when those who were refused have been told to stay away, one after the other.
    promised: Timestamp,
    /// What was last demanded for a request that was refused, since the last snapshot.
    in_vain: Option<Pin>,
    tally: Tally,
}

/// What was decided about somebody who waited.
#[derive(Debug)]
enum Decision {
    Granted(Lease),
    /// Boxed, since every place in the queue has room for the largest decision.
    Refused(Box<Refusal>),
}

impl Decision {
    fn refused(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl<W> Ledger<W> {
    /// A ledger with its first snapshot.
    pub fn new(settings: QueueSettings, snapshot: Snapshot, now: Timestamp) -> Self {
        let mut slots = Slots::default();
        slots.apply(&snapshot, now);
        let tally = Tally::default();
        let queue = Queue::new();
        let pace = Pace::default();
        let promised = Timestamp::EPOCH;
        Self { settings, snapshot, slots, queue, pace, promised, in_vain: None, tally }
    }

    // === requests ===

    /// A slot at once, if one is free that this request may use.
    ///
    /// Reads no clock. Nobody is overtaken: while somebody waits, no slot that it may use is free.
    #[inline]
    pub fn admit(&mut self, ask: &Ask) -> Option<Lease> {
        if self.snapshot.closed.is_some() {
            return None;
        }
        let slot = self.slots.pick(ask, self.settings.balance)?;
        Some(self.lease(slot, self.slots.reachable(ask.pin)))
    }

    /// Takes in a request that [`admit`](Self::admit) found no slot for, or refuses it.
    ///
    /// # Errors
    ///
    /// The refusal, what was to be kept with the request, and a demand where the request would
    /// have waited for what no present instance can give: refused or not, it is to wake a service
    /// that is at zero.
    #[inline]
    pub fn enqueue(
        &mut self,
        ask: &Ask,
        waiter: W,
        now: Timestamp,
    ) -> Result<Queued<W>, TurnedAway<W>> {
        debug_assert!(
            self.snapshot.closed.is_some() || self.slots.pick(ask, Balance::Packed).is_none(),
            "whoever waits while a slot is free would wait for nothing: admit first"
        );
        self.look(now);
        let pin = self.slots.reachable(ask.pin);
        let since = ask.returned.unwrap_or(now).min(now);
        let whole =
            ask.budget.map_or(self.settings.max_wait, |own| own.min(self.settings.max_wait));
        let deadline = since + whole;
        let left = deadline.until(now);
        let cause = self.demands(pin);
        let mut displaced = None;
        if !self.surely_fits(pin, left) {
            match self.find_room(ask, pin, left, now) {
                Ok(loser) => displaced = loser,
                Err(refusal) => {
                    let demand = self.demand_in_vain(pin, &refusal, now);
                    return Err(TurnedAway { refusal: *refusal, waiter, demand });
                }
            }
        }
        let demand = cause.map(|cause| self.demand(cause, pin, now));
        let newcomer = Newcomer {
            payload: waiter,
            priority: ask.priority,
            key: ask.key,
            pin,
            since,
            budget: whole,
            returned: ask.returned.is_some(),
        };
        let ticket = self.queue.push(newcomer, &self.settings);
        self.tally.queued += 1;
        Ok(Queued { ticket, deadline, demand, displaced })
    }

    /// What was decided about a ticket; afterwards, unless it still waits, the ticket is spent.
    ///
    /// # Panics
    ///
    /// When the ticket is spent: a bug of the shell.
    #[inline]
    pub fn collect(&mut self, ticket: Ticket, now: Timestamp) -> Outcome {
        match self.queue.collect(ticket) {
            Some((Decision::Granted(lease), since)) => {
                self.tally.waits.record(now.since(since));
                Outcome::Granted(lease)
            }
            Some((Decision::Refused(refusal), _)) => Outcome::Refused(*refusal),
            None => {
                assert!(self.queue.waiter(ticket).is_some(), "a ticket is collected once");
                Outcome::Waiting
            }
        }
    }

    /// What is kept with a request that waits, to be replaced by its newer self.
    #[inline]
    pub fn waiter_mut(&mut self, ticket: Ticket) -> Option<&mut W> {
        self.queue.payload_mut(ticket)
    }

    /// What is kept with each who waits, in no order: for a shell that has to rouse them all.
    pub fn waiters_mut(&mut self) -> impl Iterator<Item = &mut W> {
        self.queue.payloads_mut()
    }

    /// Somebody who waits has waited as long as it could. Nothing, if it was decided already.
    pub fn expire(&mut self, ticket: Ticket, now: Timestamp) -> Option<(Refusal, W)> {
        let waiter = *self.queue.waiter(ticket)?;
        self.look(now);
        let supply = self.supply(now);
        let forecast = self.forecast_return(&waiter, &supply);
        let mut refusal = self.refuse(Reason::WaitedTooLong, forecast, waiter.budget, &supply);
        refusal.wait = Some(now.since(waiter.since));
        let payload = self.queue.leave(ticket)?;
        Some((refusal, payload))
    }

    /// The client of a ticket has gone: it leaves at once, and a slot that was given to it and
    /// not collected goes to the next.
    pub fn cancel(&mut self, ticket: Ticket) -> (Option<W>, Released<W>) {
        if let Some(payload) = self.queue.leave(ticket) {
            self.tally.left += 1;
            return (Some(payload), Released::nothing());
        }
        match self.queue.collect(ticket) {
            // It was counted as admitted when the slot was given to it.
            Some((Decision::Granted(lease), _)) => (None, self.release(lease)),
            Some((Decision::Refused(_), _)) | None => (None, Released::nothing()),
        }
    }

    /// Gives a slot back. It goes to the first of those who wait that may use it.
    #[inline]
    pub fn release(&mut self, lease: Lease) -> Released<W> {
        self.tally.released += 1;
        let drained = self.slots.give_back(lease.into_slot());
        Released { woken: self.dispatch(), drained }
    }

    /// How long a sampled lease was held.
    pub fn learn(&mut self, held: Duration) {
        self.pace.handle_sample(held);
        if self.queue.waiting() == 0 && self.slots.free() > 0 {
            self.pace.handle_load(self.slots.in_flight() as f64 / self.slots.total() as f64);
        }
    }

    /// The instance that a lease is for.
    pub fn instance(&self, lease: &Lease) -> &Instance {
        self.slots.instance(lease.slot)
    }

    /// Says that this lease is now an upgraded connection: its instance is the last to go.
    pub fn mark_upgraded(&mut self, lease: &Lease) {
        self.slots.count_upgrade(lease.slot);
    }

    /// Says that the upgraded connection of this lease has ended; before it is released.
    pub fn unmark_upgraded(&mut self, lease: &Lease) {
        self.slots.uncount_upgrade(lease.slot);
    }

    // === the control side ===

    /// Puts a snapshot in the place of the one before, at once and as a whole.
    ///
    /// Slots that came go to those who wait. Where a promise broke (fewer slots are coming, or
    /// later) those who no longer fit are refused now and not when their time is up.
    pub fn apply(&mut self, snapshot: Snapshot, now: Timestamp) -> Woken<W> {
        self.look(now);
        let before = self.slots.total();
        self.slots.apply(&snapshot, now);
        self.snapshot = snapshot;
        self.in_vain = None;
        if self.slots.total() != before {
            self.pace.handle_change();
        }
        for pin in self.lost_pins() {
            self.queue.unpin(pin);
        }
        let mut woken = self.dispatch();
        self.predict_anew(now, &mut woken);
        woken
    }

    /// Lets time pass: ramps rise, and what was released since the last look is counted. A few
    /// times a second is enough, and none where nothing ramps and requests come in any case.
    pub fn tick(&mut self, now: Timestamp) -> Woken<W> {
        self.look(now);
        let before = self.slots.total();
        self.slots.refresh_caps(now);
        if self.slots.total() != before {
            self.pace.handle_change();
        }
        self.dispatch()
    }

    /// Puts settings in the place of those before; who waits keeps its time.
    pub fn configure(&mut self, settings: QueueSettings) {
        self.settings = settings;
    }

    /// Says how many leases the one instance has and how many requests were admitted so far, both
    /// counted by a lease word in front of this ledger until now.
    ///
    /// # Panics
    ///
    /// When there is not exactly one instance.
    pub fn recount(&mut self, in_flight: u32, admitted: u64) {
        self.slots.recount(in_flight);
        // What was admitted and is not in flight was released.
        self.tally.admitted = admitted;
        self.tally.released = admitted - u64::from(in_flight);
        self.pace.handle_slack();
    }

    /// Gives back a slot of the one instance whose lease was counted elsewhere, or was collected
    /// and is counted elsewhere from then on.
    pub fn release_recounted(&mut self) -> Released<W> {
        self.release(Lease { slot: 0, sampled: false })
    }

    // === questions ===

    /// How many wait.
    pub fn waiting(&self) -> u32 {
        self.queue.waiting()
    }

    /// How many leases are out.
    pub fn in_flight(&self) -> u64 {
        self.slots.in_flight()
    }

    /// How many slots there are at this moment, ramps counted: what may be in flight at most.
    pub fn slots(&self) -> u64 {
        self.slots.total()
    }

    /// How many leases an instance has.
    pub fn leases_of(&self, instance: InstanceId) -> u32 {
        self.slots.leases_of(instance)
    }

    /// The instance that is missed least: what scaling in takes.
    pub fn victim(&self, revision: Option<RevisionNumber>) -> Option<InstanceId> {
        self.slots.victim(revision)
    }

    /// The snapshot that holds.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// How long a request holds its slot, as far as was learned.
    pub fn hold_time(&self) -> Option<Duration> {
        self.pace.rate().map(|rate| Duration::from_secs_f64(1.0 / rate))
    }

    /// The settings that hold.
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// What was counted so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    // === decisions ===

    #[inline]
    fn lease(&mut self, slot: u32, pin: Pin) -> Lease {
        self.slots.take(slot, pin);
        let sampled =
            !self.pace.is_learned() || self.tally.admitted.is_multiple_of(Lease::SAMPLE_EVERY);
        self.tally.admitted += 1;
        Lease { slot, sampled }
    }

    /// Gives free slots to those who wait, in order, until no slot is free that anybody may use.
    #[inline]
    fn dispatch(&mut self) -> Woken<W> {
        let mut woken = Woken::nobody();
        if self.queue.waiting() == 0 {
            if self.slots.free() > 0 {
                self.pace.handle_slack();
            }
            return woken;
        }
        if self.snapshot.closed == Some(Closed::Paused) {
            return woken;
        }
        while self.queue.waiting() > 0 && self.slots.free() > 0 {
            if self.queue.is_plain() {
                let slot = self.slots.pick_for(Pin::Any, None, self.settings.balance);
                let Some(slot) = slot else { break };
                let lease = self.lease(slot, Pin::Any);
                woken.push(self.queue.serve_plain(Decision::Granted(lease)));
                continue;
            }
            let (slots, balance) = (&self.slots, self.settings.balance);
            let next = self.queue.next(|pin| slots.pick_for(pin, None, balance));
            let Some((next, slot)) = next else { break };
            let lease = self.lease(slot, next.pin());
            woken.push(self.queue.serve(next, Decision::Granted(lease)));
        }
        if self.slots.free() > 0 {
            self.pace.handle_slack();
        }
        woken
    }

    /// Whether somebody who begins to wait now is to be told to whoever starts instances: once
    /// for the first who waits, and once for the first who waits for what nobody could give.
    #[inline]
    fn demands(&self, pin: Pin) -> Option<DemandCause> {
        if self.queue.waiting() == 0 {
            Some(DemandCause::FirstToWait)
        } else if !self.slots.could_serve(pin) && !self.queue.waits_in(pin) {
            Some(DemandCause::NobodyCouldServe)
        } else {
            None
        }
    }

    /// The demand of a request that was refused: as edge-triggered as the others, which here
    /// means once for each snapshot, since nobody stays in the queue to remember it by. Where
    /// somebody waits for the same, it told; where nothing can come, telling changes nothing.
    fn demand_in_vain(&mut self, pin: Pin, refusal: &Refusal, now: Timestamp) -> Option<Demand> {
        let could_come = match refusal.reason {
            Reason::AtMaximum | Reason::QueueFull | Reason::WouldWaitTooLong => true,
            Reason::Draining
            | Reason::NoCapacityComing
            | Reason::Paused
            | Reason::WaitedTooLong => false,
        };
        if !could_come
            || self.in_vain == Some(pin)
            || self.slots.could_serve(pin)
            || self.queue.waits_in(pin)
        {
            return None;
        }
        self.in_vain = Some(pin);
        let cause = match self.queue.waiting() {
            0 => DemandCause::FirstToWait,
            _ => DemandCause::NobodyCouldServe,
        };
        Some(self.demand(cause, pin, now))
    }

    fn demand(&mut self, cause: DemandCause, pin: Pin, now: Timestamp) -> Demand {
        self.tally.demands += 1;
        let revision = match pin {
            Pin::Revision(revision) => Some(revision),
            Pin::Any | Pin::Instance(_) => None,
        };
        let (in_flight, slots) = (self.slots.in_flight(), self.slots.total());
        Demand { at: now, cause, revision, in_flight, slots }
    }

    /// Instances that somebody insists on and that take no requests any more.
    fn lost_pins(&self) -> Vec<Pin> {
        (self.queue.lanes())
            .filter(|pin| matches!(pin, Pin::Instance(id) if self.slots.accepting(*id).is_none()))
            .collect()
    }

    #[inline]
    fn look(&mut self, now: Timestamp) {
        self.pace.handle_look(now, self.tally.released, self.slots.total());
        // Leases beyond the slots (of an instance that drains, of a cap that fell) end too, and
        // would make the slots seem faster than they are.
        if self.slots.free() > 0 || self.slots.in_flight() > self.slots.total() {
            self.pace.handle_slack();
        }
    }
}
