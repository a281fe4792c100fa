//! The search itself: level by level, so that what is found first is nearest.

use std::{collections::VecDeque, fmt};

use super::{
    Bound, Cause, Failure, Model, Path, Progress, Report,
    coverage::Coverage,
    expand::{Place, Share, Stop, Target, Watch, expand, key},
    liveness::{Edges, Rest, Shortfall},
    model::State,
    visited::{Free, MOST_STATES, StateId, Visited},
};

/// Searches every state of a [`Model`] that can be reached, nearest first.
///
/// The [module page](super) shows one at work.
pub struct Explorer<'m, M: Model> {
    model: &'m M,
    name: String,
    max_states: u32,
    max_depth: u32,
    cut_off_is_fine: bool,
    forbid_deadlock: bool,
    liveness: Option<(Rest, Watch<M>)>,
    must_take: Vec<String>,
    threads: usize,
    /// How many states a share has, [`SHARES`] of which are explored between two merges. Never
    /// decided by the number of threads, so that results are not either.
    pub(super) share: usize,
}

impl<'m, M: Model> Explorer<'m, M> {
    /// Unless it is told otherwise: at most ten million states (about 400 MB beside the states
    /// of two levels), any depth, one thread, safety alone.
    pub fn new(model: &'m M) -> Self {
        Self {
            model,
            name: "the model".to_owned(),
            max_states: 10_000_000,
            max_depth: u32::MAX,
            cut_off_is_fine: false,
            forbid_deadlock: false,
            liveness: None,
            must_take: Vec::new(),
            threads: 1,
            share: 1024,
        }
    }

    /// What reports call it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many distinct states there may be; one more is a failure. At most 2^30 - 1.
    #[must_use]
    pub fn max_states(mut self, states: u32) -> Self {
        self.max_states = states.clamp(1, MOST_STATES);
        self
    }

    /// How many steps the farthest state may be away; a state that is farther is a failure.
    #[must_use]
    pub fn max_depth(mut self, steps: u32) -> Self {
        self.max_depth = steps;
        self
    }

    /// Explores what fits within the bounds and calls it a success.
    ///
    /// The report then says what cut it off ([`Report::cut_off`]), and liveness is not judged:
    /// what lies beyond the bound may be the way to rest.
    #[must_use]
    pub fn what_fits(mut self) -> Self {
        self.cut_off_is_fine = true;
        self
    }

    /// A state without any action is a failure, unless it is at rest where liveness is asked for.
    #[must_use]
    pub fn forbid_deadlock(mut self) -> Self {
        self.forbid_deadlock = true;
        self
    }

    /// Judges also whether rest stays within reach.
    #[must_use]
    pub fn liveness(mut self, rest: Rest) -> Self
    where
        M: Progress,
    {
        let watch = Watch { is_rest: M::is_rest, reliance: M::reliance };
        self.liveness = Some((rest, watch));
        self
    }

    /// Kinds of actions or effects that must occur, by the names of their variants.
    ///
    /// A crash that is never possible proves nothing about crashes.
    #[must_use]
    pub fn must_occur<T: Into<String>>(mut self, kinds: impl IntoIterator<Item = T>) -> Self {
        self.must_take.extend(kinds.into_iter().map(Into::into));
        self
    }

    /// How many threads explore, at least one. The result is the same for any number, the path
    /// included.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Explores until there is nothing left, or something breaks.
    ///
    /// # Errors
    ///
    /// The first failure in order of depth, with the shortest path to it.
    ///
    /// # Panics
    ///
    /// When the model answers differently when it is asked again, which no path survives.
    pub fn explore(&self) -> Result<Report, Failure<M>> {
        let mut search = Search::begin(self)?;
        while search.level()? {}
        search.judge()
    }
}

impl<M: Model> fmt::Debug for Explorer<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explorer")
            .field("name", &self.name)
            .field("max_states", &self.max_states)
            .field("max_depth", &self.max_depth)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// A search under way.
struct Search<'e, M: Model> {
    plan: &'e Explorer<'e, M>,
    seen: Visited,
    /// The states of the level that is found next, in the order of their ids: by shares, each of
    /// which is handed on as it is and freed when it was explored.
    frontier: VecDeque<Vec<State<M>>>,
    /// How many that are.
    found: usize,
    edges: Edges,
    rest: Vec<bool>,
    depth: u32,
    computed: u64,
    frontier_peak: usize,
    cut_off: Option<Bound>,
    actions: Coverage<M::Action>,
    effects: Coverage<M::Effect>,
}

impl<'e, M: Model> Search<'e, M> {
    fn begin(plan: &'e Explorer<'e, M>) -> Result<Self, Failure<M>> {
        let start = plan.model.initial();
        let mut search = Self {
            plan,
            seen: Visited::with_room(0),
            frontier: VecDeque::new(),
            found: 0,
            edges: Edges::default(),
            rest: Vec::new(),
            depth: 0,
            computed: 0,
            frontier_peak: 1,
            cut_off: None,
            actions: Coverage::new(),
            effects: Coverage::new(),
        };
        let print = key(plan.model, &start);
        let id = match search.seen.find_or_place(print) {
            Ok(id) => id,
            Err(place) => search.seen.insert(place, StateId::INITIAL, 0),
        };
        if let Some((_, watch)) = &plan.liveness {
            let rest = (watch.is_rest)(plan.model, &start.0, &start.1);
            search.rest.push(rest);
        }
        if let Err(violation) = plan.model.check(&start.0, &start.1) {
            return Err(search.failure(Cause::State(violation), Some(Place::here(id))));
        }
        search.push(start);
        Ok(search)
    }

    /// Explores one level; false when there was none left.
    fn level(&mut self) -> Result<bool, Failure<M>> {
        if self.frontier.is_empty() {
            return Ok(false);
        }
        let mut level = std::mem::take(&mut self.frontier);
        let mut first = StateId((self.seen.len() - std::mem::take(&mut self.found)) as u32);
        while !level.is_empty() {
            let batch: Vec<_> = level.drain(..level.len().min(SHARES)).collect();
            let explored: usize = batch.iter().map(Vec::len).sum();
            for share in self.explore_batch(first, batch) {
                self.merge(share)?;
                if matches!(self.cut_off, Some(Bound::States(_))) {
                    return Ok(false);
                }
            }
            first.0 += explored as u32;
        }
        if self.found > 0 {
            self.depth += 1;
        }
        self.frontier_peak = self.frontier_peak.max(self.found);
        Ok(true)
    }

    /// Deals shares out to the threads, one after the other, since neighbours are as much work;
    /// what they found comes back in the order of the shares.
    fn explore_batch(&self, mut first: StateId, batch: Vec<Vec<State<M>>>) -> Vec<Share<M>> {
        let (plan, seen) = (self.plan, &self.seen);
        let watch = plan.liveness.as_ref().map(|(_, watch)| watch);
        let explore = |hand: Vec<(StateId, Vec<State<M>>)>| -> Vec<Share<M>> {
            let each = hand.into_iter();
            let expand = |(first, states)| {
                expand(plan.model, watch, plan.forbid_deadlock, seen, first, states)
            };
            each.map(expand).collect()
        };
        let mut hands: Vec<_> = (0..plan.threads.min(batch.len())).map(|_| Vec::new()).collect();
        let dealt = hands.len();
        for (at, states) in batch.into_iter().enumerate() {
            let from = first;
            first.0 += states.len() as u32;
            hands[at % dealt].push((from, states));
        }
        let mut hands = hands.into_iter();
        let own = hands.next().unwrap_or_default();
        // Threads of a scope end before it does, so none outlives the call that wanted them.
        let mut found: Vec<_> = std::thread::scope(|scope| {
            let explore = &explore;
            let others: Vec<_> = hands.map(|hand| scope.spawn(move || explore(hand))).collect();
            let mut found = vec![explore(own).into_iter()];
            found.extend(others.into_iter().map(|other| {
                let shares = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                shares.into_iter()
            }));
            found
        });
        let mut shares = Vec::new();
        for at in 0.. {
            match found[at % dealt].next() {
                Some(share) => shares.push(share),
                None => break,
            }
        }
        shares
    }

    /// Takes over what a share found, as if its states had been explored one by one.
    fn merge(&mut self, share: Share<M>) -> Result<(), Failure<M>> {
        self.computed += share.computed;
        self.actions.add(share.actions);
        self.effects.add(share.effects);
        let mut ids = Vec::with_capacity(share.states.len());
        for (own, (state, rest)) in (0..).map(StateId).zip(share.states) {
            let print = share.fresh.key(own);
            let id = match self.seen.find_or_place(print) {
                Ok(id) => Some(id),
                Err(place) => self.admit(place, share.fresh.reached_by(own), state, rest)?,
            };
            ids.push(id);
        }
        if self.plan.liveness.is_some() {
            let mut edges = share.edges.into_iter();
            for degree in share.degrees {
                for (target, reliance) in edges.by_ref().take(degree.into()) {
                    let target = match target {
                        Target::Seen(id) => Some(id),
                        Target::Fresh(own) => ids[own.index()],
                    };
                    // Beyond a bound there is nobody to point at, and no verdict either.
                    if let Some(target) = target {
                        self.edges.push(target, reliance);
                    }
                }
                self.edges.end_source();
            }
        }
        match share.stop {
            Some(Stop { cause, at }) => Err(self.failure(cause, Some(at))),
            None => Ok(()),
        }
    }

    /// Gives a new state its id, if the bounds let it in.
    fn admit(
        &mut self,
        place: Free,
        (parent, action): (StateId, u16),
        state: State<M>,
        rest: bool,
    ) -> Result<Option<StateId>, Failure<M>> {
        let bound = if self.depth >= self.plan.max_depth {
            Bound::Depth(self.plan.max_depth)
        } else if self.seen.len() >= self.plan.max_states as usize {
            Bound::States(self.plan.max_states)
        } else {
            let id = self.seen.insert(place, parent, action);
            self.push(state);
            if self.plan.liveness.is_some() {
                self.rest.push(rest);
            }
            return Ok(Some(id));
        };
        self.cut_off = Some(bound);
        match self.plan.cut_off_is_fine {
            true => Ok(None),
            false => Err(self.failure(Cause::CutOff(bound), None)),
        }
    }

    fn push(&mut self, state: State<M>) {
        let room = self.frontier.back_mut().filter(|share| share.len() < self.plan.share);
        match room {
            Some(share) => share.push(state),
            None => {
                // The first grows as it needs to: most levels of most models are small.
                let mut share = match self.frontier.is_empty() {
                    true => Vec::new(),
                    false => Vec::with_capacity(self.plan.share),
                };
                share.push(state);
                self.frontier.push_back(share);
            }
        }
        self.found += 1;
    }

    /// What can only be said at the end.
    fn judge(self) -> Result<Report, Failure<M>> {
        let report = self.report();
        let missing: Vec<_> = self
            .plan
            .must_take
            .iter()
            .filter(|kind| {
                !report.actions.contains_key(*kind) && !report.effects.contains_key(*kind)
            })
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(self.failure(Cause::NeverOccurred(missing), None));
        }
        let (Some((rest, _)), None) = (&self.plan.liveness, self.cut_off) else {
            return Ok(report);
        };
        match rest.judge(&self.edges, &self.rest) {
            Ok(farthest) => Ok(Report { farthest_from_rest: Some(farthest), ..report }),
            Err(Shortfall { state, steps }) => {
                let cause = match (rest.bound(), steps) {
                    (Some(within), Some(steps)) => Cause::RestTooFar { steps, within },
                    (Some(within), None) if rest.in_any_order() => {
                        Cause::RestMayNeverCome { within }
                    }
                    _ => Cause::NoRest,
                };
                Err(self.failure(cause, Some(Place::here(state))))
            }
        }
    }

    fn report(&self) -> Report {
        Report {
            name: self.plan.name.clone(),
            distinct: self.seen.len() as u64,
            computed: self.computed,
            depth: self.depth + u32::from(self.found > 0),
            edges: self.edges.len(),
            frontier_peak: self.frontier_peak as u64,
            farthest_from_rest: None,
            cut_off: self.cut_off,
            actions: self.actions.counts(),
            effects: self.effects.counts(),
        }
    }

    fn failure(&self, cause: Cause, at: Option<Place>) -> Failure<M> {
        let path = at.map(|at| {
            let mut path = self.path(&cause, at);
            if let (Some((_, watch)), true) = (&self.plan.liveness, cause.is_about_rest()) {
                path.show_open(self.plan.model, watch.reliance);
            }
            path
        });
        Failure::in_search(cause, path, self.report())
    }

    /// The way to a place, walked anew.
    fn path(&self, cause: &Cause, at: Place) -> Path<M> {
        let mut positions = Vec::new();
        let mut state = at.state;
        while state != StateId::INITIAL {
            let (parent, action) = self.seen.reached_by(state);
            positions.push(action);
            state = parent;
        }
        positions.reverse();
        let mut path = Path::begin(self.plan.model);
        for position in positions {
            path.follow(self.plan.model, position);
        }
        assert!(
            path.key(self.plan.model) == self.seen.key(at.state),
            "the model must give the same answers each time; replayed, its path leads elsewhere: {path}"
        );
        if let Some(position) = at.action {
            path.end_with(self.plan.model, position, cause);
        }
        path
    }
}

/// How many shares are explored between two merges: enough that starting threads does not show
/// and that none waits long for another.
const SHARES: usize = 16;

impl Place {
    fn here(state: StateId) -> Self {
        Self { state, action: None }
    }
}
