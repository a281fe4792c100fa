//! Whether rest stays within reach, by going backward from it.
//!
//! The question is not what a scheduler would do, but what is possible: from every state, is
//! there a way to rest that uses nothing but what was promised? A state without one is stuck
//! however fair the world is. Asked backward it is one pass over the edges, whatever the number
//! of states.

use super::{Reliance, visited::StateId};

/// What liveness asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rest {
    /// From every state rest can be reached by actions that are at least
    /// [`Due`](Reliance::Due).
    Reachable,
    /// From every state rest can be reached within so many [`Good`](Reliance::Good) steps, along
    /// the best way; [`Free`](Reliance::Free) ones are not counted.
    Within(u32),
    /// From every state good steps lead to rest within so many, in whatever order they come.
    ///
    /// Stronger than one usually wants: a steady timer that counts as good may fire forever
    /// before anything else does. Free steps are not counted, but round in circles they may
    /// not go either.
    AlwaysWithin(u32),
}

/// The nearest state that falls short, and how far from rest it is where that is a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shortfall {
    pub(super) state: StateId,
    pub(super) steps: Option<u32>,
}

impl Rest {
    pub(super) fn bound(self) -> Option<u32> {
        match self {
            Self::Reachable => None,
            Self::Within(steps) | Self::AlwaysWithin(steps) => Some(steps),
        }
    }

    pub(super) fn in_any_order(self) -> bool {
        matches!(self, Self::AlwaysWithin(_))
    }

    /// How far from rest the farthest state is.
    pub(super) fn judge(self, edges: &Edges, rest: &[bool]) -> Result<u32, Shortfall> {
        let far = match self {
            Self::Reachable => nearest(edges, rest, Reliance::Due),
            Self::Within(_) => nearest(edges, rest, Reliance::Good),
            Self::AlwaysWithin(_) => farthest(edges, rest),
        };
        let most = self.bound().unwrap_or(NEVER - 1);
        let mut worst = 0;
        for (state, steps) in (0..).map(StateId).zip(far) {
            if steps > most {
                let steps = (steps != NEVER).then_some(steps);
                return Err(Shortfall { state, steps });
            }
            worst = worst.max(steps);
        }
        Ok(worst)
    }
}

/// The transitions that may be relied on, by the state they leave: four bytes each, and four
/// for each state.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Where the edges of each state end.
    ends: Vec<u32>,
    /// Target and reliance; ids leave two bits free.
    packed: Vec<u32>,
}

impl Edges {
    /// Adds an edge that leaves the state after the last that was ended.
    pub(super) fn push(&mut self, target: StateId, reliance: Reliance) {
        self.packed.push(pack(target, reliance));
    }

    pub(super) fn end_source(&mut self) {
        let end = u32::try_from(self.packed.len());
        self.ends.push(end.expect("four billion edges do not fit; make the scope smaller"));
    }

    pub(super) fn len(&self) -> u64 {
        self.packed.len() as u64
    }

    /// Every edge that is at least so reliable: source, target, and how many steps it counts for.
    fn at_least(&self, least: Reliance) -> impl Iterator<Item = (StateId, StateId, u32)> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends).map(|(from, &to)| from as usize..to as usize);
        (0..).map(StateId).zip(ranges).flat_map(move |(source, range)| {
            self.packed[range].iter().filter_map(move |&packed| {
                let (target, reliance) = unpack(packed);
                let steps = u32::from(reliance != Reliance::Free);
                (reliance >= least).then_some((source, target, steps))
            })
        })
    }
}

/// The same edges by the state they lead to.
struct Backward {
    /// Where the edges into each state start; one more at the end.
    starts: Vec<u32>,
    /// The source, with the top bit set where the edge counts for a step.
    sources: Vec<u32>,
}

impl Backward {
    fn new(edges: &Edges, least: Reliance, states: usize) -> Self {
        let mut starts = vec![0_u32; states + 1];
        for (_, target, _) in edges.at_least(least) {
            starts[target.index()] += 1;
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        // Filled from the end of each range, which moves its start to where it belongs.
        let mut sources = vec![0; total as usize];
        for (source, target, steps) in edges.at_least(least) {
            let start = &mut starts[target.index()];
            *start -= 1;
            sources[*start as usize] = source.0 | (steps << 31);
        }
        Self { starts, sources }
    }

    fn sources_of(&self, target: StateId) -> impl Iterator<Item = (StateId, u32)> {
        let range = self.starts[target.index()]..self.starts[target.index() + 1];
        self.sources[range.start as usize..range.end as usize]
            .iter()
            .map(|&packed| (StateId(packed & !(1 << 31)), packed >> 31))
    }
}

/// The fewest steps from each state to rest.
fn nearest(edges: &Edges, rest: &[bool], least: Reliance) -> Vec<u32> {
    let backward = Backward::new(edges, least, rest.len());
    let mut steps = vec![NEVER; rest.len()];
    let mut now = Vec::new();
    for (state, _) in (0..).map(StateId).zip(rest).filter(|&(_, &rest)| rest) {
        steps[state.index()] = 0;
        now.push(state);
    }
    let mut distance = 0;
    let mut next = Vec::new();
    while !now.is_empty() {
        while let Some(target) = now.pop() {
            // Found again on a shorter way after it was put off.
            if steps[target.index()] != distance {
                continue;
            }
            for (source, step) in backward.sources_of(target) {
                if distance + step < steps[source.index()] {
                    steps[source.index()] = distance + step;
                    match step {
                        0 => now.push(source),
                        _ => next.push(source),
                    }
                }
            }
        }
        std::mem::swap(&mut now, &mut next);
        distance += 1;
    }
    steps
}

/// The most steps from each state to rest along good edges, which end at the first rest; never,
/// where they may go round in circles or end elsewhere.
fn farthest(edges: &Edges, rest: &[bool]) -> Vec<u32> {
    let backward = Backward::new(edges, Reliance::Good, rest.len());
    let mut open = vec![0_u32; rest.len()];
    for (source, ..) in edges.at_least(Reliance::Good) {
        open[source.index()] += 1;
    }
    let mut so_far = vec![0; rest.len()];
    let mut settled = vec![false; rest.len()];
    let mut ready: Vec<_> =
        (0..).map(StateId).zip(rest).filter_map(|(state, &rest)| rest.then_some(state)).collect();
    while let Some(target) = ready.pop() {
        settled[target.index()] = true;
        for (source, step) in backward.sources_of(target) {
            let at = source.index();
            if rest[at] {
                continue;
            }
            so_far[at] = (so_far[target.index()] + step).max(so_far[at]);
            open[at] -= 1;
            if open[at] == 0 {
                ready.push(source);
            }
        }
    }
    so_far
        .into_iter()
        .zip(settled)
        .zip(rest)
        .map(|((steps, settled), &rest)| match (rest, settled) {
            (true, _) => 0,
            (false, true) => steps,
            (false, false) => NEVER,
        })
        .collect()
}

fn pack(target: StateId, reliance: Reliance) -> u32 {
    let class = match reliance {
        Reliance::Chance => 0,
        Reliance::Due => 1,
        Reliance::Good => 2,
        Reliance::Free => 3,
    };
    target.0 | (class << 30)
}

fn unpack(packed: u32) -> (StateId, Reliance) {
    let reliance = match packed >> 30 {
        0 => Reliance::Chance,
        1 => Reliance::Due,
        2 => Reliance::Good,
        _ => Reliance::Free,
    };
    (StateId(packed & !(0b11 << 30)), reliance)
}

/// Farther than any number of steps.
const NEVER: u32 = u32::MAX;
