//! What a search found out, and what it broke on.

use std::{any::Any, collections::BTreeMap, fmt, time::Duration};

use super::{Model, Path, Violation};

/// What a search found out.
///
/// Displayed: `two deployments: 1,234,567 distinct states, 9,876,543 computed, depth 41`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What the search was called.
    pub name: String,
    /// States with an essence of their own.
    pub distinct: u64,
    /// Steps that were taken, each to a state that was computed and looked up.
    pub computed: u64,
    /// How many steps away the farthest state is.
    pub depth: u32,
    /// Steps that may be relied on; none are kept where liveness is not asked for.
    pub edges: u64,
    /// The most states of one depth: what memory beside the visited set is needed for.
    pub frontier_peak: u64,
    /// How far from rest the farthest state is, in the measure of the liveness asked for; none
    /// where it was not judged.
    pub farthest_from_rest: Option<u32>,
    /// The bound that ended it, where that was fine with the caller.
    pub cut_off: Option<Bound>,
    /// How often each kind of action was taken.
    pub actions: BTreeMap<String, u64>,
    /// How often each kind of effect was asked for.
    pub effects: BTreeMap<String, u64>,
}

impl Report {
    /// The report with the time that the caller measured, and the computed states a second.
    ///
    /// ```
    /// # use runner_core::testing::explorer::{Explorer, Model, Violation};
    /// # struct Count;
    /// # impl Model for Count {
    /// #     type Machine = u8;
    /// #     type World = ();
    /// #     type Action = ();
    /// #     type Effect = ();
    /// #     fn initial(&self) -> (u8, ()) { (0, ()) }
    /// #     fn actions(&self, at: &u8, (): &(), actions: &mut Vec<()>) { if *at < 9 { actions.push(()) } }
    /// #     fn step(&self, at: &mut u8, (): &mut (), (): &(), _: &mut Vec<()>) { *at += 1 }
    /// #     fn perform(&self, (): &mut (), (): ()) {}
    /// #     fn check(&self, _: &u8, (): &()) -> Result<(), Violation> { Ok(()) }
    /// # }
    /// let report = Explorer::new(&Count).named("to nine").explore()?;
    /// assert_eq!(
    ///     report.in_time(std::time::Duration::from_millis(3)).to_string(),
    ///     "to nine: 10 distinct states, 9 computed, depth 9, 0.0 s, 3,000 computed states/s",
    /// );
    /// # Ok::<(), runner_core::testing::explorer::Failure<Count>>(())
    /// ```
    pub fn in_time(&self, elapsed: Duration) -> impl fmt::Display {
        let seconds = elapsed.as_secs_f64();
        let speed = Grouped((self.computed as f64 / seconds.max(1e-9)) as u64);
        format!("{self}, {seconds:.1} s, {speed} computed states/s")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, depth, .. } = self;
        let (distinct, computed) = (Grouped(self.distinct), Grouped(self.computed));
        write!(f, "{name}: {distinct} distinct states, {computed} computed, depth {depth}")?;
        if let Some(steps) = self.farthest_from_rest {
            write!(f, ", rest at most {steps} steps away")?;
        }
        if let Some(bound) = self.cut_off {
            write!(f, ", cut off at {bound}")?;
        }
        Ok(())
    }
}

/// What ended a search before it was through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// There are more distinct states than this.
    States(u32),
    /// There is a state more steps away than this.
    Depth(u32),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::States(states) => write!(f, "{} states", Grouped(states.into())),
            Self::Depth(steps) => write!(f, "depth {steps}"),
        }
    }
}

/// Why a search or a walk failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A property does not hold in the state where the path ends.
    State(Violation),
    /// A property does not hold of the last effect of the path.
    Effect(Violation),
    /// The model panicked at the end of the path, with this message.
    Panic(String),
    /// Nothing can happen any more where the path ends.
    Deadlock,
    /// From where the path ends, nothing that may be relied on leads to rest; where good steps
    /// are counted, nothing good.
    NoRest,
    /// From where the path ends, rest is farther than it may be.
    RestTooFar {
        /// How far it is.
        steps: u32,
        /// How far it may be.
        within: u32,
    },
    /// From where the path ends, good steps may go on forever or end short of rest.
    RestMayNeverCome {
        /// How far rest may be.
        within: u32,
    },
    /// These kinds of actions or effects had to occur, and never did.
    NeverOccurred(Vec<String>),
    /// There was more than the bounds allow, so nothing is proven.
    CutOff(Bound),
}

impl Cause {
    pub(super) fn is_about_rest(&self) -> bool {
        matches!(self, Self::NoRest | Self::RestTooFar { .. } | Self::RestMayNeverCome { .. })
    }

    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panic(text.unwrap_or_else(|| "something that is no text".to_owned()))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(property) => write!(f, "broken in a state: {property}"),
            Self::Effect(property) => write!(f, "broken by an effect: {property}"),
            Self::Panic(message) => write!(f, "the model panicked: {message}"),
            Self::Deadlock => f.write_str("nothing can happen any more"),
            Self::NoRest => f.write_str("nothing that may be relied on leads to rest"),
            Self::RestTooFar { steps, within } => {
                write!(f, "rest is {steps} good steps away, {within} are allowed")
            }
            Self::RestMayNeverCome { within } => {
                write!(f, "good steps may go on forever or end short of rest, {within} are allowed")
            }
            Self::NeverOccurred(kinds) => write!(f, "never occurred: {}", kinds.join(", ")),
            Self::CutOff(bound) => write!(
                f,
                "cut off at {bound}; raise the bound, make the scope smaller, or ask for what fits"
            ),
        }
    }
}

/// What broke, with the way to it.
///
/// Its `Debug` form is its display: a failure is unwrapped in a test more often than not, and
/// what one wants to see then is the path.
pub struct Failure<M: Model>(Box<Inner<M>>);

struct Inner<M: Model> {
    cause: Cause,
    path: Option<Path<M>>,
    origin: Origin,
}

/// What found it.
enum Origin {
    Search(Report),
    Walk { name: String, seed: u64, steps: u64 },
}

impl<M: Model> Failure<M> {
    pub(super) fn in_search(cause: Cause, path: Option<Path<M>>, report: Report) -> Self {
        Self(Box::new(Inner { cause, path, origin: Origin::Search(report) }))
    }

    pub(super) fn in_walk(cause: Cause, path: Path<M>, name: &str, seed: u64, steps: u64) -> Self {
        Self(Box::new(Inner {
            cause,
            path: Some(path),
            origin: Origin::Walk { name: name.to_owned(), seed, steps },
        }))
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The way to where it failed; none where no place is to blame.
    pub fn path(&self) -> Option<&Path<M>> {
        self.0.path.as_ref()
    }

    /// How far a search had come; none for a walk.
    pub fn report(&self) -> Option<&Report> {
        match &self.0.origin {
            Origin::Search(report) => Some(report),
            Origin::Walk { .. } => None,
        }
    }

    /// The seed with which the failing walk comes first; none for a search.
    pub fn seed(&self) -> Option<u64> {
        match self.0.origin {
            Origin::Search(_) => None,
            Origin::Walk { seed, .. } => Some(seed),
        }
    }
}

impl<M: Model> fmt::Display for Failure<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { cause, path, origin } = &*self.0;
        writeln!(f, "{cause}")?;
        let after = path.as_ref().map_or(0, |path| path.steps.len());
        match origin {
            Origin::Search(report) => write!(f, "after {report}")?,
            Origin::Walk { name, seed, steps } => write!(
                f,
                "{name}: walk with seed {seed}, {} steps walked, {after} left after shrinking",
                Grouped(*steps)
            )?,
        }
        match path {
            Some(path) => write!(f, "\nthe way there, {after} steps:\n{path}"),
            None => Ok(()),
        }
    }
}

impl<M: Model> fmt::Debug for Failure<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<M: Model> std::error::Error for Failure<M> {}

/// A number with its thousands apart.
pub(super) struct Grouped(pub(super) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}
