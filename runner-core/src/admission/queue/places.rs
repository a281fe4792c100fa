//! The places that people wait at, and the tickets for them.

use std::{
    ops::{Index, IndexMut},
    time::Duration,
};

use super::Pin;
use crate::time::Timestamp;

/// Everybody who waits or has not yet asked what was decided. A place is used again once its
/// decision was collected, so waiting allocates nothing after the longest queue there was.
#[derive(Debug)]
pub(super) struct Places<W, D> {
    all: Vec<Place<W, D>>,
    vacant: Vec<u32>,
}

/// A place in the queue, until its decision is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub(super) index: u32,
    /// Tells a ticket from an older one for the same place.
    generation: u32,
}

#[derive(Debug)]
struct Place<W, D> {
    generation: u32,
    state: State<W, D>,
    /// Of the one whose place it is, or was last.
    standing: Standing,
}

#[derive(Debug)]
enum State<W, D> {
    /// For the next who comes.
    Vacant,
    Waiting(W),
    /// No longer waiting; the decision was not collected yet.
    Decided(D),
}

/// Where somebody stands. Plain numbers beside the state and not inside it, so that a decision
/// moves none of them.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Standing {
    pub(in super::super) pin: Pin,
    pub(in super::super) since: Timestamp,
    pub(in super::super) budget: Duration,
    pub(super) flow: u32,
    /// Its place among all arrivals.
    pub(super) arrival: u64,
    pub(super) before: Option<u32>,
    pub(super) behind: Option<u32>,
}

impl Standing {
    pub(in super::super) fn deadline(&self) -> Timestamp {
        self.since + self.budget
    }
}

impl<W, D> Places<W, D> {
    pub(super) const fn new() -> Self {
        Self { all: Vec::new(), vacant: Vec::new() }
    }

    /// Gives somebody a place.
    #[inline]
    pub(super) fn seat(&mut self, payload: W, standing: Standing) -> Ticket {
        let state = State::Waiting(payload);
        let Some(index) = self.vacant.pop() else {
            let index = self.all.len() as u32;
            self.all.push(Place { generation: 0, state, standing });
            return Ticket { index, generation: 0 };
        };
        let place = &mut self.all[index as usize];
        (place.state, place.standing) = (state, standing);
        Ticket { index, generation: place.generation }
    }

    /// The ticket for a place.
    #[inline]
    pub(super) fn ticket(&self, index: u32) -> Ticket {
        Ticket { index, generation: self.all[index as usize].generation }
    }

    /// Somebody who waits.
    #[inline]
    pub(super) fn waiter(&self, ticket: Ticket) -> Option<&Standing> {
        let place = self.all.get(ticket.index as usize)?;
        let waits =
            place.generation == ticket.generation && matches!(place.state, State::Waiting(_));
        waits.then_some(&place.standing)
    }

    #[inline]
    pub(super) fn payload_mut(&mut self, ticket: Ticket) -> Option<&mut W> {
        match self.all.get_mut(ticket.index as usize)? {
            Place { generation, state: State::Waiting(payload), .. }
                if *generation == ticket.generation =>
            {
                Some(payload)
            }
            _ => None,
        }
    }

    /// What is kept with each who waits.
    pub(super) fn payloads_mut(&mut self) -> impl Iterator<Item = &mut W> {
        self.all.iter_mut().filter_map(|place| match &mut place.state {
            State::Waiting(payload) => Some(payload),
            State::Vacant | State::Decided(_) => None,
        })
    }

    /// The places of all who insist on something.
    pub(super) fn pinned_to(&self, pin: Pin) -> Vec<u32> {
        (0..)
            .zip(&self.all)
            .filter(|(_, at)| matches!(at.state, State::Waiting(_)) && at.standing.pin == pin)
            .map(|(index, _)| index)
            .collect()
    }

    /// Keeps a decision for somebody who waited until now.
    #[inline]
    pub(super) fn decide(&mut self, index: u32, decision: D) -> W {
        let state = &mut self.all[index as usize].state;
        match std::mem::replace(state, State::Decided(decision)) {
            State::Waiting(payload) => payload,
            State::Vacant | State::Decided(_) => unreachable!("it stood in a line"),
        }
    }

    /// Takes the decision about somebody who no longer waits, and when it began to.
    #[inline]
    pub(super) fn collect(&mut self, ticket: Ticket) -> Option<(D, Timestamp)> {
        let place = self.all.get(ticket.index as usize)?;
        if place.generation != ticket.generation || !matches!(place.state, State::Decided(_)) {
            return None;
        }
        let since = place.standing.since;
        match self.vacate(ticket.index) {
            State::Decided(decision) => Some((decision, since)),
            State::Vacant | State::Waiting(_) => unreachable!("matched above"),
        }
    }

    /// Frees the place of somebody who leaves with nothing to collect.
    #[inline]
    pub(super) fn leave(&mut self, index: u32) -> W {
        match self.vacate(index) {
            State::Waiting(payload) => payload,
            State::Vacant | State::Decided(_) => unreachable!("it stood in a line"),
        }
    }

    #[inline]
    fn vacate(&mut self, index: u32) -> State<W, D> {
        let place = &mut self.all[index as usize];
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(index);
        std::mem::replace(&mut place.state, State::Vacant)
    }
}

impl<W, D> Index<u32> for Places<W, D> {
    type Output = Standing;

    fn index(&self, index: u32) -> &Standing {
        &self.all[index as usize].standing
    }
}

impl<W, D> IndexMut<u32> for Places<W, D> {
    fn index_mut(&mut self, index: u32) -> &mut Standing {
        &mut self.all[index as usize].standing
    }
}
