//! What becomes of requests that find every slot taken.

use std::time::Duration;

use super::{
    Fairness, Limits, PriorityRule, Scaling, WaitingCount, check::Section, format_duration,
    quantity::Number, raw,
};

/// Who waits, for how long, in which order, and what is said to those who cannot.
///
/// App Runner has a queue of unknown length and one threshold at which it both scales out and
/// refuses. Here the two are apart: scaling out starts at
/// [`Scaling::target_utilisation`](super::Scaling::target_utilisation), refusing at these bounds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Overflow {
    /// How many may wait. Default, also written `"derived"`: as many as the service could take
    /// from standing at one instance to its maximum, (maximum - 1) x cap, and at least one cap.
    pub max_waiting: WaitingBound,
    /// How long one waits for a slot of an instance that is ready. Default:
    /// [`DEFAULT_MAX_WAIT`], or a quarter of the request's time where that is shorter.
    pub max_wait: Duration,
    /// How long one waits while instances that will have a slot are starting; never shorter than
    /// the other wait. Default: [`DEFAULT_HOLD_WHILE_STARTING`], or half of the request's time
    /// where that is shorter.
    pub hold_while_starting: Duration,
    /// With which statuses the others are refused.
    pub status: Statuses,
    /// Which requests go first: the class of the first rule that fits, else class
    /// [`PriorityRule::USUAL`]. Default: no rules.
    pub priority: Vec<PriorityRule>,
    /// Among whom slots are shared out within a class. Default: nobody, first come, first served.
    pub fairness: Option<Fairness>,
}

/// How many may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WaitingBound {
    /// As many as follow from cap and maximum; follows them when they change.
    Derived(WaitingCount),
    /// This many.
    Fixed(WaitingCount),
}

/// With which statuses requests are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Statuses {
    /// The queue is full, the wait would be too long, or the service is at its maximum. Default:
    /// [`DEFAULT_FULL`].
    pub full: u16,
    /// No capacity is coming, the wait was too long after all, or the service is paused. Default:
    /// [`DEFAULT_UNAVAILABLE`].
    pub unavailable: u16,
    /// The instance did not answer in time. Default: [`DEFAULT_TOO_SLOW`].
    pub too_slow: u16,
}

/// App Runner does not tell. Ten seconds are what a person waits for a page before trying again.
pub const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(10);

/// App Runner refuses with 429 while instances start, its users' oldest complaint. A minute is
/// longer than nearly any start, and leaves as much of the 120 seconds for the answer.
pub const DEFAULT_HOLD_WHILE_STARTING: Duration = Duration::from_secs(60);

/// App Runner's.
pub const DEFAULT_FULL: u16 = 429;

/// What a gateway says when nothing stands behind it; unlike 429, callers that retry only on 5xx
/// (queues that push) retry it.
pub const DEFAULT_UNAVAILABLE: u16 = 503;

/// What a gateway says when what stands behind it is too slow.
pub const DEFAULT_TOO_SLOW: u16 = 504;

impl WaitingBound {
    /// How many that is.
    pub fn count(self) -> WaitingCount {
        match self {
            Self::Derived(count) | Self::Fixed(count) => count,
        }
    }
}

impl Overflow {
    pub(super) fn check(
        raw: raw::Overflow,
        scaling: &Scaling,
        limits: &Limits,
        mut at: Section<'_>,
    ) -> Self {
        let wait_default =
            limits.total.map_or(DEFAULT_MAX_WAIT, |total| DEFAULT_MAX_WAIT.min(total / 4));
        let least = Duration::ZERO;
        let max_wait = at.span("max_wait", raw.max_wait.as_ref(), wait_default, least);
        let hold_default = limits.total.map_or(DEFAULT_HOLD_WHILE_STARTING, |total| {
            DEFAULT_HOLD_WHILE_STARTING.min(total / 2)
        });
        let hold = raw.hold_while_starting.as_ref();
        let hold_default = hold_default.max(max_wait);
        let overflow = Self {
            max_waiting: at
                .number_or_word("max_waiting", raw.max_waiting.as_ref(), DERIVED)
                .map_or_else(|| WaitingBound::Derived(derived_bound(scaling)), WaitingBound::Fixed),
            max_wait,
            hold_while_starting: at.span("hold_while_starting", hold, hold_default, least),
            status: Statuses::check(&raw.status, at.within("status")),
            priority: raw
                .priority
                .into_iter()
                .enumerate()
                .map(|(index, raw)| PriorityRule::check(raw, at.element("priority", index)))
                .collect(),
            fairness: Fairness::check(raw.fairness, at.within("fairness")),
        };
        overflow.check_time_left(hold.is_some(), limits, &mut at);
        overflow.check_scaling_has_its_chance(scaling, &mut at);
        overflow.check_bursts_fit(scaling, &mut at);
        overflow
    }

    fn check_time_left(&self, hold_is_written: bool, limits: &Limits, at: &mut Section<'_>) {
        let Some(total) = limits.total else { return };
        let waits = [
            ("max_wait", self.max_wait, true),
            // One that follows from the other wait would only repeat its fault.
            ("hold_while_starting", self.hold_while_starting, hold_is_written),
        ];
        for (name, wait, written) in waits {
            let sound = at.sound(&[name]) && at.sound_elsewhere(&["limits.total"]);
            if written && wait >= total && sound {
                let total = format_duration(total);
                at.fault(
                    name,
                    format_duration(wait),
                    format!("leaves nothing of limits.total ({total}) for the answer"),
                    format!("write less than {total}, or raise the total"),
                );
            }
        }
    }

    /// Refusing must not begin before an instance that could still start, or be woken, had its
    /// chance. A maximum wait of zero is fine: it refuses only where nothing more is coming.
    fn check_scaling_has_its_chance(&self, scaling: &Scaling, at: &mut Section<'_>) {
        let awake = scaling.minimum_active;
        let most = scaling.largest_maximum();
        let bounds =
            ["scaling.minimum", "scaling.maximum", "scaling.minimum_active", "scaling.schedules"];
        if most > awake && at.sound_elsewhere(&bounds) {
            let problem = format!(
                "refuses requests before scaling out has its chance: of up to {most} instances {awake} are always active"
            );
            if self.max_waiting.count() == WaitingCount::MIN && at.sound(&["max_waiting"]) {
                let right = format!("write {DERIVED:?} or a number, or keep all {most} active");
                at.fault("max_waiting", 0, problem.clone(), right);
            }
            if self.hold_while_starting.is_zero() && at.sound(&["hold_while_starting"]) {
                let right = format!("write as long as a start may take, or keep all {most} active");
                at.fault("hold_while_starting", "0s", problem, right);
            }
        }
        if self.hold_while_starting < self.max_wait
            && at.sound(&["max_wait", "hold_while_starting"])
        {
            let max_wait = format_duration(self.max_wait);
            at.fault(
                "hold_while_starting",
                format_duration(self.hold_while_starting),
                format!("is shorter than overflow.max_wait ({max_wait}), as if help on its way were bad news"),
                format!("write at least {max_wait}"),
            );
        }
    }

    fn check_bursts_fit(&self, scaling: &Scaling, at: &mut Section<'_>) {
        let burst = burst(scaling);
        let bound = self.max_waiting.count();
        let bounds = ["scaling.cap", "scaling.maximum", "scaling.schedules"];
        // Zero is a choice: where there is something to wait for, it is a fault already.
        if u64::from(bound.number()) < burst
            && bound > WaitingCount::MIN
            && at.sound(&["max_waiting"])
            && at.sound_elsewhere(&bounds)
        {
            at.warn(
                "max_waiting",
                bound,
                format!("is below (maximum - 1) x cap = {burst}, so a burst that the service could take is refused"),
                match burst <= u64::from(WaitingCount::MAX.number()) {
                    true => format!("write at least {burst}, or {DERIVED:?}"),
                    false => format!("no more than {} can wait; lower the cap", WaitingCount::MAX),
                },
            );
        }
    }
}

/// How many requests may come at once while one instance is there, and still be served by what
/// the service can start: with an automatic cap, by its upper bound.
fn burst(scaling: &Scaling) -> u64 {
    let most = u64::from(scaling.largest_maximum().number());
    most.saturating_sub(1) * u64::from(scaling.cap.upper().number())
}

/// As many, and at least one cap, so that a single instance has a queue, too.
fn derived_bound(scaling: &Scaling) -> WaitingCount {
    let bound = burst(scaling).max(scaling.cap.upper().number().into());
    WaitingCount::from_number(bound).unwrap_or(WaitingCount::MAX)
}

impl Statuses {
    fn check(raw: &raw::Statuses, mut at: Section<'_>) -> Self {
        let mut status = |name, raw: Option<u64>, default| match raw {
            None => default,
            Some(status) => match u16::try_from(status) {
                Ok(status @ 400..=599) => status,
                _ => {
                    at.fault(name, status, "is no status of a refusal", "write 400 to 599");
                    default
                }
            },
        };
        Self {
            full: status("full", raw.full, DEFAULT_FULL),
            unavailable: status("unavailable", raw.unavailable, DEFAULT_UNAVAILABLE),
            too_slow: status("too_slow", raw.too_slow, DEFAULT_TOO_SLOW),
        }
    }
}

impl From<&Overflow> for raw::Overflow {
    fn from(overflow: &Overflow) -> Self {
        Self {
            max_waiting: Some(match overflow.max_waiting {
                WaitingBound::Derived(_) => DERIVED.into(),
                WaitingBound::Fixed(count) => count.number().into(),
            }),
            max_wait: Some(overflow.max_wait.into()),
            hold_while_starting: Some(overflow.hold_while_starting.into()),
            status: raw::Statuses {
                full: Some(overflow.status.full.into()),
                unavailable: Some(overflow.status.unavailable.into()),
                too_slow: Some(overflow.status.too_slow.into()),
            },
            priority: overflow.priority.iter().map(Into::into).collect(),
            fairness: overflow.fairness.as_ref().into(),
        }
    }
}

/// How a bound that follows from the others is written.
const DERIVED: &str = "derived";
