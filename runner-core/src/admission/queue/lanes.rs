//! Lanes: those who insist on something stand apart from those who take any slot.

use std::collections::BTreeMap;

use super::{Pin, places::Places};

/// Something for each lane, by default nothing. The lane of any slot is the one that nearly
/// everybody stands in, so finding it takes no search.
#[derive(Debug, Default)]
pub(super) struct ByPin<T> {
    any: T,
    /// Those that are something: pins name instances, and those come and go for ever.
    pinned: BTreeMap<Pin, T>,
}

impl<T: Default + PartialEq> ByPin<T> {
    #[inline]
    pub(super) fn get(&self, pin: Pin) -> Option<&T> {
        match pin {
            Pin::Any => Some(&self.any),
            pinned => self.pinned.get(&pinned),
        }
    }

    #[inline]
    pub(super) fn any_mut(&mut self) -> &mut T {
        &mut self.any
    }

    /// Whether there is nothing for any lane but that of any slot.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.pinned.is_empty()
    }

    /// All that may be something.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Pin, &T)> {
        let pinned = self.pinned.iter().map(|(pin, value)| (*pin, value));
        std::iter::once((Pin::Any, &self.any)).chain(pinned)
    }

    /// The same, for the path that every request takes.
    #[inline]
    pub(super) fn for_each(&self, mut each: impl FnMut(Pin, &T)) {
        each(Pin::Any, &self.any);
        if !self.pinned.is_empty() {
            self.pinned.iter().for_each(|(pin, value)| each(*pin, value));
        }
    }

    #[inline]
    pub(super) fn change<R>(&mut self, pin: Pin, change: impl FnOnce(&mut T) -> R) -> R {
        if matches!(pin, Pin::Any) {
            return change(&mut self.any);
        }
        let value = self.pinned.entry(pin).or_default();
        let result = change(value);
        if *value == T::default() {
            self.pinned.remove(&pin);
        }
        result
    }
}

/// Those of one key in one lane, the first come first: a list through the places. There is always
/// somebody in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) first: u32,
    pub(super) last: u32,
    /// When its first arrived, by which it compares with other lines.
    pub(super) arrival: u64,
}

impl Line {
    /// Puts somebody in by its arrival: at the end, unless it comes from another lane.
    #[inline]
    pub(super) fn join<W, D>(line: &mut Option<Self>, places: &mut Places<W, D>, index: u32) {
        let arrival = places[index].arrival;
        let (mut before, mut behind) = (line.map(|line| line.last), None);
        while let Some(other) = before.filter(|&other| places[other].arrival > arrival) {
            behind = before;
            before = places[other].before;
        }
        let standing = &mut places[index];
        (standing.before, standing.behind) = (before, behind);
        let line = line.get_or_insert(Self { first: index, last: index, arrival });
        match before {
            Some(before) => places[before].behind = Some(index),
            None => (line.first, line.arrival) = (index, arrival),
        }
        match behind {
            Some(behind) => places[behind].before = Some(index),
            None => line.last = index,
        }
    }

    /// Puts the newest of all in, who stands behind everybody.
    #[inline]
    pub(super) fn extend<W, D>(&mut self, places: &mut Places<W, D>, index: u32) {
        places[index].before = Some(self.last);
        places[self.last].behind = Some(index);
        self.last = index;
    }

    /// Takes the first out.
    #[inline]
    pub(super) fn advance<W, D>(line: &mut Option<Self>, places: &mut Places<W, D>) -> u32 {
        let ends = line.as_mut().expect("a turn is of somebody in a line");
        let first = ends.first;
        match places[first].behind {
            Some(next) => {
                let next_in_line = &mut places[next];
                next_in_line.before = None;
                (ends.first, ends.arrival) = (next, next_in_line.arrival);
            }
            None => *line = None,
        }
        first
    }

    /// Takes somebody out.
    #[inline]
    pub(super) fn part<W, D>(line: &mut Option<Self>, places: &mut Places<W, D>, index: u32) {
        let (before, behind) = (places[index].before, places[index].behind);
        let ends = line.as_mut().expect("whoever waits stands in a line");
        match (before, behind) {
            (None, None) => *line = None,
            (None, Some(next)) => {
                places[next].before = None;
                (ends.first, ends.arrival) = (next, places[next].arrival);
            }
            (Some(previous), None) => {
                places[previous].behind = None;
                ends.last = previous;
            }
            (Some(previous), Some(next)) => {
                places[previous].behind = behind;
                places[next].before = before;
            }
        }
    }

    /// Everybody in it, the first come first.
    pub(super) fn people<W, D>(self, places: &Places<W, D>) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(self.first), |&index| places[index].behind)
    }
}
