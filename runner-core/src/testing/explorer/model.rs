//! What an embedder writes: a model of a machine and the world that it acts on.

use std::{borrow::Cow, fmt, hash::Hash};

use super::Fingerprinter;

/// A machine and its world, as the explorer sees them.
///
/// Five methods are required. A **machine** is what is believed: the value under test, driven by
/// its own `handle(event, now) -> effects`. A **world** is what is true: calls under way, what
/// was written to disk, how many faults may still happen. They meet twice: an action lets the
/// world tell the machine something ([`step`](Self::step)), and an effect is all that the world
/// ever learns back ([`perform`](Self::perform)).
///
/// The model itself is the scope: how many clients, how many faults, which guard is left out.
/// Every method must give the same answer for the same arguments, in the same order: paths are
/// kept as positions in the list that [`actions`](Self::actions) gives, and rebuilt by replay.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model that the explorer can search",
    label = "implement `Model`: `initial`, `actions`, `step`, `perform` and `check`",
    note = "the module page of `runner_core::testing::explorer` shows a whole one"
)]
pub trait Model: Sync {
    /// What is believed: the value under test.
    type Machine: Clone + Eq + Hash + fmt::Debug + Send;
    /// What is true, and what may still happen.
    type World: Clone + Eq + Hash + fmt::Debug + Send;
    /// One thing that can happen next; an enum, whose variants are counted as kinds.
    type Action: Clone + PartialEq + fmt::Debug;
    /// What the machine asks of the world; an enum, whose variants are counted as kinds.
    type Effect: fmt::Debug;

    /// Where everything begins. Several beginnings are one beginning and an action for each.
    fn initial(&self) -> (Self::Machine, Self::World);

    /// Appends all that can happen in this state. The order is up to the model, but always the
    /// same.
    fn actions(
        &self,
        machine: &Self::Machine,
        world: &Self::World,
        actions: &mut Vec<Self::Action>,
    );

    /// Lets an action happen: changes the world, tells the machine, appends what the machine wants.
    fn step(
        &self,
        machine: &mut Self::Machine,
        world: &mut Self::World,
        action: &Self::Action,
        effects: &mut Vec<Self::Effect>,
    );

    /// Lets one effect reach the world; called for each in order, after its check.
    fn perform(&self, world: &mut Self::World, effect: Self::Effect);

    /// What must hold in every state.
    ///
    /// # Errors
    ///
    /// The property that does not hold, in words.
    fn check(&self, machine: &Self::Machine, world: &Self::World) -> Result<(), Violation>;

    /// What must hold of an effect, before it reaches the world.
    ///
    /// The machine has already moved on; earlier effects of the same step have reached the world.
    ///
    /// # Errors
    ///
    /// The property that does not hold, in words.
    fn check_effect(
        &self,
        machine: &Self::Machine,
        world: &Self::World,
        effect: &Self::Effect,
    ) -> Result<(), Violation> {
        let _ = (machine, world, effect);
        Ok(())
    }

    /// Writes what makes this state a state of its own; by default all of machine and world.
    ///
    /// States with the same essence are one state, of which only the first that is found is
    /// explored. So what is left out must never decide anything: which actions there are, what
    /// they lead to (up to essence), any check, or rest. Times, evidence and history are what
    /// this is for; [`Fingerprinter::write_unordered`] is for things that are interchangeable.
    fn essence(
        &self,
        machine: &Self::Machine,
        world: &Self::World,
        fingerprint: &mut Fingerprinter,
    ) {
        machine.hash(fingerprint);
        world.hash(fingerprint);
    }

    /// How much may still go wrong, kind by kind; by default nothing is said about it.
    ///
    /// What is said here belongs into no [`essence`](Self::essence). Of two states with the same
    /// essence the one from which less may go wrong, in every kind, is passed over where the other
    /// was found before it: what can happen there has happened, or will, in the other. A model says
    /// this only where it is true, which is where:
    ///
    /// - more never takes an action away, nor changes where it leads, up to essence and beside
    ///   [free](Reliance::Free) steps;
    /// - no check and no rest looks at it;
    /// - an action that may be relied on and is not there without it also uses some of it up. Such
    ///   an action is not relied on by the search.
    ///
    /// Without it a fault that was overcome doubles all that comes after.
    fn allowance(&self, machine: &Self::Machine, world: &Self::World) -> Allowance {
        let _ = (machine, world);
        Allowance::default()
    }
}

/// How much may still go wrong: up to eight kinds, up to seven times each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance(u32);

impl Allowance {
    /// So many times each; kinds that are not named may not.
    ///
    /// ```
    /// use runner_core::testing::explorer::Allowance;
    ///
    /// assert!(Allowance::of([2, 1]).covers(Allowance::of([1, 1])));
    /// assert!(!Allowance::of([2, 0]).covers(Allowance::of([1, 1])));
    /// ```
    ///
    /// # Panics
    ///
    /// When there are more than eight kinds, or one of more than seven times.
    pub fn of<const KINDS: usize>(times: [u8; KINDS]) -> Self {
        assert!(KINDS <= 8, "at most eight kinds fit");
        // Four bits each, of which the highest stays free for the comparison.
        Self(times.into_iter().fold(0, |packed, times| {
            assert!(times <= 7, "at most seven times fit");
            packed << 4 | u32::from(times)
        }))
    }

    /// Whether at least as much of each kind may go wrong as with the other.
    pub const fn covers(self, other: Self) -> bool {
        const BORROWS: u32 = 0x8888_8888;
        // All at once: where a kind has too little it borrows from the bit above it.
        ((self.0 | BORROWS) - other.0) & BORROWS == BORROWS
    }
}

/// A model that also says when it has come to rest, and on what it may count to get there.
///
/// Asked for by [`Explorer::liveness`](super::Explorer::liveness) alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say when it is at rest",
    label = "implement `Progress`: `is_rest` and `reliance`",
    note = "liveness is judged over stated actions alone, so they have to be stated"
)]
pub trait Progress: Model {
    /// Whether nothing is owed in this state: no call open, nobody waiting, no deadline armed.
    fn is_rest(&self, machine: &Self::Machine, world: &Self::World) -> bool;

    /// Whether an action may be counted on.
    fn reliance(&self, action: &Self::Action) -> Reliance;
}

/// How far an action may be counted on; each but the first includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a model says one of these and no other")]
pub enum Reliance {
    /// Nobody promises it: a command, a fault, a crash, a message that is repeated.
    Chance,
    /// It comes sooner or later: a timer, an answer, whatever it says.
    Due,
    /// It is due, and what one hopes for: a good answer.
    Good,
    /// It is good, and no step by itself: a commit.
    Free,
}

/// A property that does not hold, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(Cow<'static, str>);

impl Violation {
    /// Names a property that must hold and says whether it does.
    ///
    /// ```
    /// use runner_core::testing::explorer::Violation;
    ///
    /// fn check(owners: usize) -> Result<(), Violation> {
    ///     Violation::unless(owners <= 1, "a lock has one owner at a time")?;
    ///     Ok(())
    /// }
    /// assert_eq!(check(1), Ok(()));
    /// assert_eq!(check(2), Err("a lock has one owner at a time".into()));
    /// ```
    ///
    /// # Errors
    ///
    /// The property, where `holds` is false.
    pub fn unless(holds: bool, property: &'static str) -> Result<(), Self> {
        match holds {
            true => Ok(()),
            false => Err(property.into()),
        }
    }
}

impl From<&'static str> for Violation {
    fn from(property: &'static str) -> Self {
        Self(Cow::Borrowed(property))
    }
}

impl From<String> for Violation {
    fn from(property: String) -> Self {
        Self(Cow::Owned(property))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A machine in its world.
pub(super) type State<M> = (<M as Model>::Machine, <M as Model>::World);

/// One step, as searches, walks and replays all take it; `seen` is shown each effect in turn.
///
/// After a violation the state is as the broken effect found it.
pub(super) fn advance<M: Model>(
    model: &M,
    (machine, world): &mut State<M>,
    action: &M::Action,
    effects: &mut Vec<M::Effect>,
    mut seen: impl FnMut(&M::Effect),
) -> Result<(), Violation> {
    effects.clear();
    model.step(machine, world, action, effects);
    for effect in effects.drain(..) {
        seen(&effect);
        model.check_effect(machine, world, &effect)?;
        model.perform(world, effect);
    }
    Ok(())
}
