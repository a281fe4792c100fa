//! One thread's share of a level: every action of every state in it.
//!
//! A share only reads what was seen before, so shares run side by side without a lock; what they
//! find is merged afterwards, in order, by [`Search`](super::search).

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    Allowance, Cause, Fingerprinter, Model, Reliance,
    coverage::Coverage,
    model::{State, advance},
    visited::{Key, StateId, Visited},
};

/// The two methods of [`Progress`](super::Progress), held as values so that a model without them can be explored.
pub(super) struct Watch<M: Model> {
    pub(super) is_rest: fn(&M, &M::Machine, &M::World) -> bool,
    pub(super) reliance: fn(&M, &M::Action) -> Reliance,
}

/// What a share found.
pub(super) struct Share<M: Model> {
    /// States that are new to this share, by ids of their own; parents are ids of the whole.
    pub(super) fresh: Visited,
    /// Their values, with whether each is at rest.
    pub(super) states: Vec<(State<M>, bool)>,
    /// For each transition that may be relied on, where it leads and how far.
    pub(super) edges: Vec<(Target, Reliance)>,
    /// How many of those leave each state of the share.
    pub(super) degrees: Vec<u16>,
    pub(super) computed: u64,
    pub(super) actions: Coverage<M::Action>,
    pub(super) effects: Coverage<M::Effect>,
    /// What broke, which also ended the share.
    pub(super) stop: Option<Stop>,
}

/// Where a transition leads.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Seen(StateId),
    /// By the share's own id.
    Fresh(StateId),
}

/// What broke, and where.
pub(super) struct Stop {
    pub(super) cause: Cause,
    pub(super) at: Place,
}

/// A state, or the action that was tried in it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) state: StateId,
    pub(super) action: Option<u16>,
}

/// Explores the states, which have consecutive ids from `first` on.
pub(super) fn expand<M: Model>(
    model: &M,
    watch: Option<&Watch<M>>,
    forbid_deadlock: bool,
    seen: &Visited,
    first: StateId,
    states: Vec<State<M>>,
) -> Share<M> {
    let mut expansion = Expansion {
        model,
        watch,
        forbid_deadlock,
        seen,
        at: Place { state: first, action: None },
        allowance: Allowance::default(),
        effects: Vec::new(),
        share: Share {
            fresh: Visited::with_room(states.len() * 2),
            states: Vec::with_capacity(states.len() * 2),
            edges: Vec::new(),
            degrees: Vec::with_capacity(states.len()),
            computed: 0,
            actions: Coverage::new(),
            effects: Coverage::new(),
            stop: None,
        },
    };
    // A panic is a finding like any other, and the way to it is worth as much. Nothing that it
    // may have left half done is looked at again: the share ends here.
    let outcome = catch_unwind(AssertUnwindSafe(|| expansion.run(states)));
    let at = expansion.at;
    let mut share = expansion.share;
    share.stop = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(cause)) => Some(Stop { cause, at }),
        Err(payload) => Some(Stop { cause: Cause::panicked(payload.as_ref()), at }),
    };
    share
}

struct Expansion<'s, M: Model> {
    model: &'s M,
    watch: Option<&'s Watch<M>>,
    forbid_deadlock: bool,
    seen: &'s Visited,
    at: Place,
    /// Of the state that is being explored.
    allowance: Allowance,
    effects: Vec<M::Effect>,
    share: Share<M>,
}

impl<M: Model> Expansion<'_, M> {
    fn run(&mut self, states: Vec<State<M>>) -> Result<(), Cause> {
        let mut actions = Vec::new();
        for state in states {
            self.at.action = None;
            actions.clear();
            self.model.actions(&state.0, &state.1, &mut actions);
            self.allowance = self.model.allowance(&state.0, &state.1);
            assert!(u16::try_from(actions.len()).is_ok(), "a state offers at most 65,535 actions");
            let edges = self.share.edges.len();
            // The last action takes the state itself: one copy fewer for each state.
            if let Some((last, others)) = actions.split_last() {
                for (position, action) in others.iter().enumerate() {
                    self.take(position as u16, action, state.clone())?;
                }
                self.take(others.len() as u16, last, state)?;
            } else if self.forbid_deadlock && !self.is_rest(&state) {
                return Err(Cause::Deadlock);
            }
            self.share.degrees.push((self.share.edges.len() - edges) as u16);
            self.at.state.0 += 1;
        }
        Ok(())
    }

    #[inline]
    fn take(
        &mut self,
        position: u16,
        action: &M::Action,
        mut state: State<M>,
    ) -> Result<(), Cause> {
        self.at.action = Some(position);
        self.share.computed += 1;
        self.share.actions.count(action);
        let covered = &mut self.share.effects;
        advance(self.model, &mut state, action, &mut self.effects, |effect| {
            covered.count(effect);
        })
        .map_err(Cause::Effect)?;

        let key = key(self.model, &state);
        // What uses up an allowance may be taken from a state that stands for one without it.
        let relied_on = key.allowance.covers(self.allowance);
        let target = match self.seen.find(key) {
            Some(id) => Target::Seen(id),
            None => Target::Fresh(self.discover(key, position, state)?),
        };
        if let Some(watch) = self.watch {
            let reliance = (watch.reliance)(self.model, action);
            if relied_on && reliance > Reliance::Chance {
                self.share.edges.push((target, reliance));
            }
        }
        Ok(())
    }

    fn discover(&mut self, key: Key, position: u16, state: State<M>) -> Result<StateId, Cause> {
        let place = match self.share.fresh.find_or_place(key) {
            Ok(id) => return Ok(id),
            Err(place) => place,
        };
        let checked = self.model.check(&state.0, &state.1);
        checked.map_err(Cause::State)?;
        let rest = self.is_rest(&state);
        self.share.states.push((state, rest));
        let id = self.share.fresh.insert(place, self.at.state, position);
        Ok(id)
    }

    fn is_rest(&self, (machine, world): &State<M>) -> bool {
        self.watch.is_some_and(|watch| (watch.is_rest)(self.model, machine, world))
    }
}

pub(super) fn key<M: Model>(model: &M, (machine, world): &State<M>) -> Key {
    let mut fingerprinter = Fingerprinter::new();
    model.essence(machine, world, &mut fingerprinter);
    let allowance = model.allowance(machine, world);
    Key { fingerprint: fingerprinter.fingerprint(), allowance }
}
