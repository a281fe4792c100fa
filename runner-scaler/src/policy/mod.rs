//! What the load asks for: policies as plain values.
//!
//! A [`Policy`] has one method. It is shown a [`Look`] and adds what it wishes for to [`Asked`];
//! of several wishes the one for most instances counts, so rules are combined by putting them
//! beside each other ([`Largest`]) and never by taking an average of two reasons. What it must not
//! exceed, how fast it may move and how long it waits before it gives something up are not its
//! business: that is [`Limits`].
//!
//! A policy is a value with a memory. The same looks in the same order lead to the same wishes;
//! a clone asked "what if" leaves the original as it was.

mod app_runner;
mod cloud_run;
pub(crate) mod cron;
mod default;
mod forecast;
mod knative;
mod schedule;
mod steps;
mod target;
mod zone;

pub use app_runner::AppRunner;
pub use cloud_run::CloudRun;
pub use cron::Cron;
pub use default::{DefaultPolicy, Objective, Prices, wait_below};
pub use forecast::{Forecast, Season};
pub use knative::Knative;
pub use schedule::{Schedule, Window};
pub use steps::Steps;
pub use target::{Stale, TargetTracking};
pub use zone::Zone;

use std::{any::Any, time::Duration};

use runner_core::time::Timestamp;

use crate::{
    decision::{Reason, Wish},
    error::InvalidPolicy,
    limits::{Limits, Rate},
    observation::{Fleet, Observation},
};

/// How many instances the load asks for.
///
/// ```
/// use runner_scaler::{Asked, Because, Engine, Look, Name, Observation, Policy, Signal, Wish};
///
/// /// One instance for every five requests there are.
/// #[derive(Clone)]
/// struct Fives;
///
/// impl Policy for Fives {
///     fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
///         let present = look.seen.load.present() as f64;
///         let because = Because::new(Signal::Concurrency, present, 5.0);
///         asked.wish(Wish::new(Name::fixed("fives"), (present / 5.0).ceil() as u32, because));
///     }
/// }
///
/// # use runner_core::time::Timestamp;
/// # use runner_scaler::{Load, PolicyExt};
/// let mut engine = Engine::new(Fives.between(1, 10))?;
/// let now = Timestamp::from_secs(1);
/// let seen = Observation::of_ready(1, 10, now).with_load(Load::now(10, 7));
/// assert_eq!(engine.decide(&seen, now).active, 4);
/// # Ok::<(), runner_scaler::InvalidPolicy>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a scaling policy",
    note = "implement `Policy::ask`, or use one of those that come with this crate"
)]
pub trait Policy {
    /// Adds what this policy wishes for; nothing where it has no opinion.
    ///
    /// Called in the order of time, mostly once a second, and once more whenever a request
    /// begins to wait where none waited: a policy that averages has to weigh by spans.
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>);

    /// What it has learned, for one of its kind that takes its place. Nothing where it has learned
    /// nothing, or keeps it to itself.
    fn learned(&mut self) -> Option<&mut dyn Any> {
        None
    }

    /// Takes over what the policy before it [learned](Self::learned): called when settings changed
    /// and this one takes that one's place. Whether the two are of a kind only this one can tell.
    fn take_over(&mut self, learned: &mut dyn Any) {
        let _ = learned;
    }
}

impl<P: Policy + ?Sized> Policy for Box<P> {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        (**self).ask(look, asked);
    }

    fn learned(&mut self) -> Option<&mut dyn Any> {
        (**self).learned()
    }

    fn take_over(&mut self, learned: &mut dyn Any) {
        (**self).take_over(learned);
    }
}

/// What a policy is shown.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Look<'a> {
    /// What was observed.
    pub seen: &'a Observation,
    /// Its instances, counted.
    pub fleet: Fleet,
    /// How long a start takes, as far as was learned; the prior until then.
    pub start_up: Duration,
    /// The limits that hold around this policy.
    pub limits: &'a Limits,
    /// When this is.
    pub now: Timestamp,
}

/// Where a policy puts what it wishes for.
#[derive(Debug)]
pub struct Asked<'a> {
    reasons: &'a mut Vec<Reason>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(reasons: &'a mut Vec<Reason>) -> Self {
        Self { reasons }
    }

    /// Adds a wish.
    pub fn wish(&mut self, wish: Wish) {
        self.reasons.push(Reason::Asked(wish));
    }
}

/// Several policies, of whose wishes the one for most instances counts.
///
/// ```
/// use runner_scaler::{AppRunner, Engine, Largest, PolicyExt, Signal, TargetTracking};
///
/// let rules = Largest::of(AppRunner::default()).and(TargetTracking::new(Signal::Cpu, 0.6)?);
/// let engine = Engine::new(rules.between(1, 25))?;
/// assert_eq!(engine.limits().maximum, 25);
/// # Ok::<(), runner_scaler::InvalidPolicy>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Largest<A, B = Nothing> {
    first: A,
    second: B,
}

/// A policy without an opinion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to hide")]
pub struct Nothing;

impl<A: Policy> Largest<A> {
    /// Begins with one policy.
    pub const fn of(first: A) -> Self {
        Self { first, second: Nothing }
    }
}

impl<A: Policy, B: Policy> Largest<A, B> {
    /// Adds another.
    pub const fn and<C: Policy>(self, other: C) -> Largest<Self, C> {
        Largest { first: self, second: other }
    }
}

impl<A: Policy, B: Policy> Policy for Largest<A, B> {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        self.first.ask(look, asked);
        self.second.ask(look, asked);
    }
}

impl Policy for Nothing {
    fn ask(&mut self, _: &Look<'_>, _: &mut Asked<'_>) {}
}

/// A list of policies decided at run time, of whose wishes the one for most instances counts.
impl<P: Policy> Policy for Vec<P> {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        for policy in self {
            policy.ask(look, asked);
        }
    }
}

/// Limits around any policy.
pub trait PolicyExt: Policy + Sized {
    /// Between so many instances.
    fn between(self, minimum: u32, maximum: u32) -> Bounded<Self> {
        self.within(Limits::between(minimum, maximum))
    }

    /// Within these limits.
    fn within(self, limits: Limits) -> Bounded<Self> {
        Bounded { policy: self, limits, fault: None }
    }
}

impl<P: Policy> PolicyExt for P {}

/// A policy and the limits around it, checked when an [`Engine`](crate::Engine) is made of it.
#[derive(Clone, Debug)]
#[must_use = "an engine is made of it"]
pub struct Bounded<P> {
    pub(crate) policy: P,
    pub(crate) limits: Limits,
    pub(crate) fault: Option<InvalidPolicy>,
}

impl<P> Bounded<P> {
    /// How many are never frozen.
    pub fn minimum_active(mut self, count: u32) -> Self {
        self.limits.minimum_active = count;
        self
    }

    /// Without standby: what is kept serves.
    pub fn without_standby(mut self) -> Self {
        self.limits.standby = false;
        self
    }

    /// How many may be added, and taken, at once.
    pub fn steps(mut self, out: u32, r#in: u32) -> Self {
        (self.limits.step_out, self.limits.step_in) = (Some(out), Some(r#in));
        self
    }

    /// How many may be added within some time.
    pub fn rate_out(mut self, count: u32, per: Duration) -> Self {
        self.limits.rate_out = Some(Rate { count, per });
        self
    }

    /// How many may be taken within some time.
    pub fn rate_in(mut self, count: u32, per: Duration) -> Self {
        self.limits.rate_in = Some(Rate { count, per });
        self
    }

    /// For how long fewer have to be enough before one is given up.
    pub fn scale_in_delay(mut self, delay: Duration) -> Self {
        self.limits.scale_in_delay = delay;
        self
    }

    /// How long an instance is idle before it is frozen.
    pub fn standby_after(mut self, delay: Duration) -> Self {
        self.limits.standby_after = delay;
        self
    }

    /// How long nothing may come before the last instance goes.
    pub fn zero_after(mut self, delay: Duration) -> Self {
        self.limits.zero_after = delay;
        self
    }

    /// Leaves out starts that would be ready only after the backlog is gone.
    pub fn skipping_useless_starts(mut self) -> Self {
        self.limits.skip_useless_starts = true;
        self
    }

    /// The limits as they are so far.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl<P: Policy + 'static> Bounded<P> {
    /// The same of no particular type, for lists of different policies.
    pub fn boxed(self) -> Bounded<Box<dyn Policy>> {
        Bounded { policy: Box::new(self.policy), limits: self.limits, fault: self.fault }
    }
}

impl Bounded<DefaultPolicy> {
    /// What the policy is to hold; see [`DefaultPolicy::objective`].
    pub fn objective(mut self, objective: Objective) -> Self {
        match self.policy.clone().objective(objective) {
            Ok(policy) => self.policy = policy,
            Err(fault) => self.fault = self.fault.or(Some(fault)),
        }
        self
    }
}

/// A count from a number of instances that need not be whole, finite or positive.
///
/// A product that is whole but for what floating point lost is not rounded up for it.
pub(crate) fn whole(instances: f64) -> u32 {
    let nearest = instances.round();
    match (instances - nearest).abs() < 1e-9 * nearest.max(1.0) {
        true => nearest as u32,
        false => instances.ceil() as u32,
    }
}

/// A little more: enough for [`whole`] to round up.
pub(crate) fn just_above(value: f64) -> f64 {
    value + 1e-6 * value.max(1.0)
}
