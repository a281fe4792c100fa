//! What goes wrong, as a plain value.
//!
//! [`Faults`] is a script: which call, or which hint, meets which fault. It is built by hand for
//! one scenario, or [from a seed](Faults::from_seed) for many, and either way it can be printed,
//! compared with what happened, and run again.

use std::time::Duration;

use super::{Call, Life, Operation};
use crate::{Error, id::InstanceId, testing::random::SplitMix64};

/// Which calls a fault is for.
///
/// ```
/// use runner_core::testing::backend::{On, Operation};
///
/// let second_start = On::nth(Operation::Start, 2);
/// assert_ne!(second_start, On::every(Operation::Start));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct On {
    operation: Operation,
    instance: Option<InstanceId>,
    nth: Option<u64>,
}

impl On {
    /// Every call of this kind.
    pub const fn every(operation: Operation) -> Self {
        Self { operation, instance: None, nth: None }
    }

    /// The `nth` call of this kind, counted from 1; with [`of`](Self::of), among those about that
    /// instance.
    pub const fn nth(operation: Operation, nth: u64) -> Self {
        Self { operation, instance: None, nth: Some(nth) }
    }

    /// Only those about this instance.
    #[must_use]
    pub const fn of(mut self, instance: InstanceId) -> Self {
        self.instance = Some(instance);
        self
    }

    /// Whether it is for this call: the `overall`-th of its kind, the `own`-th about its instance.
    fn is_for(&self, call: &Call, overall: u64, own: u64) -> bool {
        let count = if self.instance.is_some() { own } else { overall };
        self.operation == call.operation()
            && self.instance.is_none_or(|instance| call.instance() == Some(instance))
            && self.nth.is_none_or(|nth| nth == count)
    }
}

/// What happens to a call. Several may meet one call: late, and its answer lost.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "an engine has to act on each")]
pub enum Fault {
    /// Nothing is done and this is the answer.
    Refuse(Error),
    /// It reaches the engine only after this long. Calls that are sent later overtake it.
    Late(Duration),
    /// It is done at once, and the answer takes this much longer. Later answers overtake it.
    AnswerLate(Duration),
    /// It is done, and this is the answer all the same.
    LoseAnswer(Error),
    /// It reaches the engine twice, the second time this much later; the first answer counts.
    Twice(Duration),
    /// It never reaches the engine, and nothing answers.
    Vanish,
    /// A list answers what was true this long ago. Nothing to other calls.
    Stale(Duration),
}

/// What happens to a hint on its way to who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an engine has to act on each")]
pub enum HintFault {
    /// It never comes.
    Lose,
    /// It comes twice.
    Repeat,
    /// It comes this much later, after hints that were sent after it.
    Late(Duration),
    /// The stream ends in its place.
    Break,
}

/// A script of faults and of lives; empty, nothing goes wrong.
///
/// ```
/// use runner_core::{Error, testing::backend::{Fault, Faults, Life, On, Operation}};
/// use std::time::Duration;
///
/// let faults = Faults::none()
///     .call(On::nth(Operation::Start, 1), Fault::Refuse(Error::exhausted("no ports left")))
///     .call(On::every(Operation::List), Fault::Stale(Duration::from_secs(1)))
///     .life(On::nth(Operation::Start, 2), Life::serving().never_listens());
/// assert_eq!(faults.len(), 3);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults {
    calls: Vec<(On, Fault)>,
    hints: Vec<(u64, HintFault)>,
    lives: Vec<(On, Life)>,
}

impl Faults {
    /// A script in which nothing goes wrong.
    pub const fn none() -> Self {
        Self { calls: Vec::new(), hints: Vec::new(), lives: Vec::new() }
    }

    /// Adds a fault of a call.
    #[must_use]
    pub fn call(mut self, on: On, fault: Fault) -> Self {
        self.calls.push((on, fault));
        self
    }

    /// Adds a fault of the `nth` hint that the engine sends, counted from 1 over all who watch.
    #[must_use]
    pub fn hint(mut self, nth: u64, fault: HintFault) -> Self {
        self.hints.push((nth, fault));
        self
    }

    /// Gives instances another life than their command says. Of several that fit the first counts.
    #[must_use]
    pub fn life(mut self, on: On, life: Life) -> Self {
        self.lives.push((on, life));
        self
    }

    /// A script from a seed.
    ///
    /// It is drawn up in full at once, so that the script which broke something can be printed,
    /// and thinned out by hand until only the guilty line is left.
    pub fn from_seed(seed: u64, mix: FaultMix) -> Self {
        let mut dice = SplitMix64::new(seed);
        let mut faults = Self::none();
        for operation in [Operation::Start, Operation::Stop, Operation::List] {
            for nth in 1..=mix.calls {
                if dice.chance(mix.per_mille) {
                    let fault = random_fault(&mut dice, operation, mix.longest);
                    faults = faults.call(On::nth(operation, nth), fault);
                }
            }
        }
        for nth in 1..=mix.calls {
            if dice.chance(mix.per_mille) {
                faults = faults.hint(nth, random_hint_fault(&mut dice, mix.longest));
            }
            if dice.chance(mix.per_mille) {
                let life = random_life(&mut dice, mix.longest);
                faults = faults.life(On::nth(Operation::Start, nth), life);
            }
        }
        faults
    }

    /// How many lines the script has.
    pub fn len(&self) -> usize {
        self.calls.len() + self.hints.len() + self.lives.len()
    }

    /// Whether nothing goes wrong in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn of_call(
        &self,
        call: &Call,
        overall: u64,
        own: u64,
    ) -> impl Iterator<Item = &Fault> {
        let for_it = move |on: &On| on.is_for(call, overall, own);
        self.calls.iter().filter(move |(on, _)| for_it(on)).map(|(_, fault)| fault)
    }

    pub(super) fn of_hint(&self, nth: u64) -> Option<HintFault> {
        self.hints.iter().find(|(at, _)| *at == nth).map(|(_, fault)| *fault)
    }

    pub(super) fn life_of(&self, call: &Call, overall: u64, own: u64) -> Option<&Life> {
        self.lives.iter().find(|(on, _)| on.is_for(call, overall, own)).map(|(_, life)| life)
    }
}

/// How much goes wrong in a script from a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "three numbers that a test chooses by name")]
pub struct FaultMix {
    /// How many of a thousand calls, hints and lives are touched.
    pub per_mille: u64,
    /// Up to which call of each kind the script reaches; nothing goes wrong after it, so that a
    /// simulation can ask whether all comes to rest.
    pub calls: u64,
    /// The longest delay.
    pub longest: Duration,
}

impl Default for FaultMix {
    fn default() -> Self {
        Self { per_mille: 100, calls: 200, longest: Duration::from_secs(30) }
    }
}

fn random_fault(dice: &mut SplitMix64, operation: Operation, longest: Duration) -> Fault {
    let refusal = match dice.below(3) {
        0 => Error::exhausted("nothing left to give, as scripted"),
        1 => Error::unavailable("the engine does not answer, as scripted"),
        _ => Error::new(crate::error::ErrorKind::TimedOut, "the engine took too long, as scripted"),
    };
    match (dice.below(6), operation) {
        (0, _) => Fault::Refuse(refusal),
        (1, _) => Fault::Late(span(dice, longest)),
        (2, Operation::List) => Fault::Stale(span(dice, longest)),
        (2 | 3, _) => Fault::AnswerLate(span(dice, longest)),
        (4, _) => Fault::Twice(span(dice, longest)),
        _ => Fault::LoseAnswer(refusal),
    }
}

fn random_hint_fault(dice: &mut SplitMix64, longest: Duration) -> HintFault {
    match dice.below(4) {
        0 => HintFault::Lose,
        1 => HintFault::Repeat,
        2 => HintFault::Late(span(dice, longest)),
        _ => HintFault::Break,
    }
}

fn random_life(dice: &mut SplitMix64, longest: Duration) -> Life {
    use super::{Answers, OnStop};
    use crate::backend::ExitStatus;
    let life = Life::serving();
    match dice.below(7) {
        0 => life.never_listens(),
        1 => life.listens_after(span(dice, longest)),
        2 => life.answers(Answers::Badly),
        3 => life.answers(Answers::BadlyAfter(span(dice, longest))),
        4 => life.on_stop(OnStop::Ignores),
        5 => life.on_stop(OnStop::HangsFor(span(dice, longest))),
        _ => life.ends_after(span(dice, longest), ExitStatus::Code(1)),
    }
}

fn span(dice: &mut SplitMix64, longest: Duration) -> Duration {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(dice.below(nanos.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ServiceId;

    #[test]
    fn counting_is_per_instance_once_an_instance_is_named() {
        let instance = ServiceId::from_random(1).instance(1);
        let stop = Call::Stop { instance, grace: Duration::ZERO };
        assert!(On::nth(Operation::Stop, 5).is_for(&stop, 5, 1));
        assert!(!On::nth(Operation::Stop, 5).of(instance).is_for(&stop, 5, 1));
        assert!(On::nth(Operation::Stop, 1).of(instance).is_for(&stop, 5, 1));
        assert!(!On::every(Operation::Start).is_for(&stop, 1, 1));
    }

    #[test]
    fn a_seed_gives_one_script_and_another_seed_another() {
        let script = |seed| format!("{:?}", Faults::from_seed(seed, FaultMix::default()));
        assert_eq!(script(1), script(1));
        assert_ne!(script(1), script(2));
        let none = FaultMix { per_mille: 0, ..FaultMix::default() };
        assert!(Faults::from_seed(1, none).is_empty());
    }
}
