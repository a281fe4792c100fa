//! Who waits, and who is next.
//!
//! Four classes, each served only while nobody waits in those before it. Inside a class the keys
//! take turns by weight ([`keys`]), inside a key it is first come, first served. A key that nobody
//! else competes with is thus one plain queue.
//!
//! A turn is charged when a request is served, not when it arrives, so whoever leaves early costs
//! its key nothing. What was charged is forgotten when the class runs empty.
//!
//! Those who insist on a revision or an instance stand in lanes of their own beside the lane of
//! those who take any slot ([`lanes`]). A slot that comes free compares the heads of the lanes that
//! may use it, so skipping those who may not costs nothing.
//!
//! Nearly always there is one class, one key and one lane. Joining, being served and leaving are
//! then a few numbers changed in a list, and nothing is allocated or searched.

mod keys;
mod lanes;
mod places;
mod shares;
#[cfg(test)]
mod tests;

use std::time::Duration;

use keys::{FlowKey, Keys, Turn};
use lanes::{ByPin, Line};
use places::Places;
pub(super) use places::Standing;
pub use places::Ticket;

use super::{FairKey, Pin, Priority, QueueSettings};
use crate::time::Timestamp;

/// All who wait, and what was decided about those who have not looked yet.
#[derive(Debug)]
pub(super) struct Queue<W, D> {
    places: Places<W, D>,
    keys: Keys,
    /// How many wait in each lane.
    lanes: ByPin<u32>,
    waiting: u32,
    arrivals: u64,
}

/// What a newcomer brings.
#[derive(Debug)]
pub(super) struct Newcomer<W> {
    pub(super) payload: W,
    pub(super) priority: Priority,
    pub(super) key: FairKey,
    pub(super) pin: Pin,
    pub(super) since: Timestamp,
    pub(super) budget: Duration,
    pub(super) returned: bool,
}

/// The one who is next: of the first class, whose turn it is there, in which lane. Compares as
/// those of several lanes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Next {
    class: u8,
    turn: Turn,
    pin: Pin,
}

impl Next {
    /// What it insists on.
    pub(super) fn pin(&self) -> Pin {
        self.pin
    }
}

impl<W, D> Queue<W, D> {
    pub(super) fn new() -> Self {
        Self {
            places: Places::new(),
            keys: Keys::default(),
            lanes: ByPin::default(),
            waiting: 0,
            arrivals: 0,
        }
    }

    #[inline]
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// The lanes in which somebody waits.
    pub(super) fn lanes(&self) -> impl Iterator<Item = Pin> + '_ {
        self.lanes.iter().filter(|(_, waiting)| **waiting > 0).map(|(pin, _)| pin)
    }

    pub(super) fn waits_in(&self, pin: Pin) -> bool {
        self.lanes.get(pin).is_some_and(|waiting| *waiting > 0)
    }

    /// Takes a newcomer in.
    #[inline]
    pub(super) fn push(&mut self, newcomer: Newcomer<W>, settings: &QueueSettings) -> Ticket {
        let Newcomer { payload, priority, key, pin, since, budget, returned } = newcomer;
        let key = if returned { FlowKey::Returned } else { FlowKey::Of(key) };
        let flow = self.keys.enter(priority as usize, key, settings);
        self.waiting += 1;
        self.arrivals += 1;
        let (arrival, before, behind) = (self.arrivals, None, None);
        let standing = Standing { pin, since, budget, flow, arrival, before, behind };
        let ticket = self.places.seat(payload, standing);
        if let Pin::Any = pin {
            *self.lanes.any_mut() += 1;
            if let Some(line) = self.keys.line_to_extend(flow) {
                line.extend(&mut self.places, ticket.index);
                return ticket;
            }
        } else {
            self.lanes.change(pin, |waiting| *waiting += 1);
        }
        self.keys.change_line(flow, pin, |line| Line::join(line, &mut self.places, ticket.index));
        ticket
    }

    /// Who is next of those in lanes that somebody is `wanted` from, and what it is wanted for.
    #[inline]
    pub(super) fn next<T>(&self, mut wanted: impl FnMut(Pin) -> Option<T>) -> Option<(Next, T)> {
        let mut first: Option<(Next, T)> = None;
        self.lanes.for_each(|pin, &waiting| {
            if waiting > 0
                && let Some(what) = wanted(pin)
            {
                let (class, turn) = self.keys.next_in(pin).expect("somebody waits in this lane");
                let next = Next { class, turn, pin };
                if first.as_ref().is_none_or(|(other, _)| next < *other) {
                    first = Some((next, what));
                }
            }
        });
        first
    }

    /// Decides on the one who is next, and charges its key a turn.
    #[inline]
    pub(super) fn serve(&mut self, next: Next, decision: D) -> W {
        let Next { turn, pin, .. } = next;
        let mut served = None;
        self.keys.take_turn(turn, pin, |line| {
            served = Some(Line::advance(line, &mut self.places));
        });
        self.count_out(turn.flow, pin);
        self.places.decide(served.expect("just set"), decision)
    }

    /// Whether everybody who waits takes any slot.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.lanes.is_plain()
    }

    /// Decides on the one who is next where everybody takes any slot, and charges its key a turn.
    #[inline]
    pub(super) fn serve_plain(&mut self, decision: D) -> W {
        let mut served = None;
        let flow = self.keys.take_plain_turn(|line| {
            served = Some(Line::advance(line, &mut self.places));
        });
        self.keys.leave(flow);
        *self.lanes.any_mut() -= 1;
        self.waiting -= 1;
        self.places.decide(served.expect("just set"), decision)
    }

    /// Decides on somebody who waits, without a turn.
    pub(super) fn dismiss(&mut self, ticket: Ticket, decision: D) -> Option<W> {
        self.part(ticket)?;
        Some(self.places.decide(ticket.index, decision))
    }

    /// Lets somebody who waits go, with nothing to collect.
    #[inline]
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<W> {
        self.part(ticket)?;
        Some(self.places.leave(ticket.index))
    }

    /// Somebody who waits.
    #[inline]
    pub(super) fn waiter(&self, ticket: Ticket) -> Option<&Standing> {
        self.places.waiter(ticket)
    }

    #[inline]
    pub(super) fn payload_mut(&mut self, ticket: Ticket) -> Option<&mut W> {
        self.places.payload_mut(ticket)
    }

    pub(super) fn payloads_mut(&mut self) -> impl Iterator<Item = &mut W> {
        self.places.payloads_mut()
    }

    /// Takes the decision about somebody who no longer waits, and when it began to; the place is
    /// free again.
    #[inline]
    pub(super) fn collect(&mut self, ticket: Ticket) -> Option<(D, Timestamp)> {
        self.places.collect(ticket)
    }

    /// Moves those of a lane to the lane of any slot, each by its arrival.
    pub(super) fn unpin(&mut self, pin: Pin) {
        for index in self.places.pinned_to(pin) {
            let (keys, places) = (&mut self.keys, &mut self.places);
            let flow = places[index].flow;
            keys.change_line(flow, pin, |line| Line::part(line, places, index));
            places[index].pin = Pin::Any;
            keys.change_line(flow, Pin::Any, |line| Line::join(line, places, index));
            self.lanes.change(pin, |waiting| *waiting -= 1);
            self.lanes.change(Pin::Any, |waiting| *waiting += 1);
        }
    }

    /// Takes somebody who waits out of its line.
    #[inline]
    fn part(&mut self, ticket: Ticket) -> Option<()> {
        let Standing { flow, pin, .. } = *self.places.waiter(ticket)?;
        self.keys.change_line(flow, pin, |line| Line::part(line, &mut self.places, ticket.index));
        self.count_out(flow, pin);
        Some(())
    }

    #[inline]
    fn count_out(&mut self, flow: u32, pin: Pin) {
        self.keys.leave(flow);
        self.lanes.change(pin, |waiting| *waiting -= 1);
        self.waiting -= 1;
    }
}
