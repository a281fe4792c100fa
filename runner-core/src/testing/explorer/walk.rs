//! Random walks, for scopes that no search can exhaust.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    Cause, Failure, Model, Path,
    coverage::Coverage,
    model::{State, advance},
    report::Grouped,
};

/// Walks through a [`Model`] at random, again and again from the beginning, with the same checks
/// as a search.
///
/// Every choice follows from the seed. A walk that breaks is shrunk before it is shown: steps
/// without which the same thing still breaks are left out.
pub struct Walker<'m, M: Model> {
    model: &'m M,
    name: String,
    seed: u64,
    steps: u64,
    length: u32,
}

/// What walks saw.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walked {
    /// What they were called.
    pub name: String,
    /// The seed of the first; each next one has the next number.
    pub seed: u64,
    /// How many walks there were.
    pub walks: u64,
    /// How many steps they took together.
    pub steps: u64,
    /// How often each kind of action was taken.
    pub actions: BTreeMap<String, u64>,
    /// How often each kind of effect was asked for.
    pub effects: BTreeMap<String, u64>,
}

impl fmt::Display for Walked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (walks, steps) = (Grouped(self.walks), Grouped(self.steps));
        let Self { name, seed, .. } = self;
        write!(f, "{name}: {steps} steps in {walks} walks from seed {seed}")
    }
}

impl<'m, M: Model> Walker<'m, M> {
    /// Unless it is told otherwise: a hundred thousand steps, at most a thousand in one walk,
    /// from seed 0.
    pub fn new(model: &'m M) -> Self {
        Self { model, name: "the model".to_owned(), seed: 0, steps: 100_000, length: 1000 }
    }

    /// What reports call it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The seed of the first walk. The seed that a failure names brings its walk first.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many steps all walks take together.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// After how many steps the next walk begins; at least one.
    ///
    /// Long enough to use up what a model allows of faults and commands and to come to rest;
    /// after that a walk only circles.
    #[must_use]
    pub fn length(mut self, steps: u32) -> Self {
        self.length = steps.max(1);
        self
    }

    /// Walks.
    ///
    /// # Errors
    ///
    /// The first walk that breaks, shrunk, with the seed that repeats it.
    ///
    /// # Panics
    ///
    /// When the model has no action in its first state: there is nowhere to walk.
    pub fn walk(&self) -> Result<Walked, Failure<M>> {
        let mut walk = Walk {
            model: self.model,
            taken: Vec::new(),
            effects: Vec::new(),
            covered: (Coverage::new(), Coverage::new()),
        };
        let (mut walks, mut steps) = (0, 0);
        while steps < self.steps {
            let seed = self.seed.wrapping_add(walks);
            let length = u64::from(self.length).min(self.steps - steps);
            walk.taken.clear();
            let outcome = catch_unwind(AssertUnwindSafe(|| walk.run(Dice(seed), length)));
            steps += walk.taken.len() as u64;
            walks += 1;
            let cause = match outcome {
                Ok(Ok(())) => {
                    assert!(!walk.taken.is_empty(), "there is no first action to take");
                    continue;
                }
                Ok(Err(cause)) => cause,
                Err(payload) => Cause::panicked(payload.as_ref()),
            };
            let path = shrink(self.model, std::mem::take(&mut walk.taken), &cause);
            return Err(Failure::in_walk(cause, path, &self.name, seed, steps));
        }
        Ok(Walked {
            name: self.name.clone(),
            seed: self.seed,
            walks,
            steps,
            actions: walk.covered.0.counts(),
            effects: walk.covered.1.counts(),
        })
    }
}

impl<M: Model> fmt::Debug for Walker<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walker")
            .field("name", &self.name)
            .field("seed", &self.seed)
            .field("steps", &self.steps)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

struct Walk<'m, M: Model> {
    model: &'m M,
    /// The actions of the present walk, the one that is being taken included.
    taken: Vec<M::Action>,
    effects: Vec<M::Effect>,
    covered: (Coverage<M::Action>, Coverage<M::Effect>),
}

impl<M: Model> Walk<'_, M> {
    fn run(&mut self, mut dice: Dice, length: u64) -> Result<(), Cause> {
        let mut state = self.model.initial();
        check(self.model, &state)?;
        let mut actions = Vec::new();
        for _ in 0..length {
            actions.clear();
            self.model.actions(&state.0, &state.1, &mut actions);
            if actions.is_empty() {
                return Ok(());
            }
            let action = actions.swap_remove(dice.below(actions.len()));
            self.covered.0.count(&action);
            self.taken.push(action.clone());
            let covered = &mut self.covered.1;
            advance(self.model, &mut state, &action, &mut self.effects, |effect| {
                covered.count(effect);
            })
            .map_err(Cause::Effect)?;
            check(self.model, &state)?;
        }
        Ok(())
    }
}

fn check<M: Model>(model: &M, (machine, world): &State<M>) -> Result<(), Cause> {
    model.check(machine, world).map_err(Cause::State)
}

/// Leaves out halves, then quarters, then single steps, as long as the same thing breaks.
///
/// Not the shortest path, but one in which each step is needed, at a price of about `n log n`
/// replayed steps for each round that still finds something.
fn shrink<M: Model>(model: &M, mut actions: Vec<M::Action>, cause: &Cause) -> Path<M> {
    let mut chunk = actions.len() / 2;
    while chunk > 0 {
        let before = actions.len();
        let mut at = 0;
        while at < actions.len() {
            let rest = actions.iter().skip(at + chunk);
            let fewer: Vec<_> = actions[..at].iter().chain(rest).cloned().collect();
            match replay(model, &fewer, cause) {
                Some(broken) if broken.len() < actions.len() => actions = broken,
                _ => at += chunk,
            }
        }
        // Single steps again and again, until each is needed.
        if chunk > 1 || actions.len() == before {
            chunk /= 2;
        }
    }
    let mut path = Path::begin(model);
    let last = actions.pop();
    for action in actions {
        path.take(model, action);
    }
    if let Some(last) = last {
        path.take_last(model, last, cause);
    }
    path
}

/// Takes those of the actions that are offered when their turn comes; the ones taken, where the
/// same thing breaks.
fn replay<M: Model>(model: &M, actions: &[M::Action], cause: &Cause) -> Option<Vec<M::Action>> {
    let mut taken = Vec::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut state = model.initial();
        let (mut offered, mut effects) = (Vec::new(), Vec::new());
        for action in actions {
            offered.clear();
            model.actions(&state.0, &state.1, &mut offered);
            if !offered.contains(action) {
                continue;
            }
            taken.push(action.clone());
            advance(model, &mut state, action, &mut effects, |_| {}).map_err(Cause::Effect)?;
            check(model, &state)?;
        }
        Ok(())
    }));
    let found = match outcome {
        Ok(Ok(())) => return None,
        Ok(Err(found)) => found,
        Err(payload) => Cause::panicked(payload.as_ref()),
    };
    (found == *cause).then_some(taken)
}

/// `SplitMix64`: every seed, consecutive ones included, gives a sequence of its own.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`; the bias of one in 2^50 does not show.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}
