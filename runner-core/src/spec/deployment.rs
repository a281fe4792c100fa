//! How one revision takes the place of another.

use std::time::Duration;

use super::{
    FailureLimit, Limits, Percent,
    check::{Section, Word},
    format_duration, raw,
};

/// How a deployment goes about it. Read as it is when each step begins, so that a change applies
/// to a deployment under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeploymentSettings {
    /// How requests move to the new revision. Default: all at once, as in App Runner.
    pub strategy: Strategy,
    /// How many new instances stand beside the old ones, as a part of those. Default:
    /// [`DEFAULT_SURGE`].
    pub surge: Percent,
    /// How long the new revision serves alone before the old one is given up; until then a
    /// failure or a cancel returns to it. Default: [`DEFAULT_BAKE`].
    pub bake: Duration,
    /// The same for the first deployment of a service, which has nothing to return to: its
    /// creation is done that much later, and fails where an instance fails in that time. Default:
    /// not at all.
    pub first_bake: Duration,
    /// How long instances that leave may go on with the requests they have. Default: as long as a
    /// request may take, [`DEFAULT_DRAIN`] where that has no limit.
    pub drain: Duration,
    /// How long the old revision's instances stay in standby afterwards, for a quick return.
    /// Default: not at all, as in App Runner, since they cost memory.
    pub keep_warm: Duration,
    /// Whether requests move only when somebody says so, and in place whether the old instances
    /// leave only then. The first deployment of a service asks nobody, since nothing serves.
    /// Default: they move by themselves.
    pub approval: bool,
    /// Whether a new image or commit deploys by itself. Default: no. App Runner does so for some
    /// sources; what moves without being asked is better asked for.
    pub automatic: bool,
    /// What becomes of a change that comes while another one is under way. Default:
    /// [`ConcurrentEdits::Refuse`], as in App Runner.
    pub concurrent_edits: ConcurrentEdits,
    /// After how many instances that failed in a row the new revision is given up. Each failure
    /// also makes the next start wait longer. Default: [`DEFAULT_FAILURE_LIMIT`].
    pub failure_limit: FailureLimit,
}

/// How requests move to the new revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// In one step, when enough new instances are ready.
    AllAtOnce,
    /// New instances take the place of old ones with none beside them: for what may not run
    /// twice, at the price of a gap.
    InPlace,
    /// In steps.
    Stepped {
        /// Which part of the requests the new revision has after each step: rising, and 100 at
        /// last. Default: [`DEFAULT_STEPS`].
        steps: Vec<Percent>,
        /// From one step to the next. Default: [`DEFAULT_STEP_INTERVAL`].
        interval: Duration,
    },
}

/// What becomes of a change that comes while another one is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConcurrentEdits {
    /// It waits its turn.
    Queue,
    /// It is refused.
    #[default]
    Refuse,
    /// It takes the place of the one under way, which is cancelled: the newest wins.
    Supersede,
}

/// App Runner's: as many new instances as old ones.
pub const DEFAULT_SURGE: Percent = Percent::MAX;

/// Longer than the 25 seconds in which the default probes notice a sick instance.
pub const DEFAULT_BAKE: Duration = Duration::from_secs(30);

/// A tenth to see whether it works at all, a half to see whether it carries load.
pub const DEFAULT_STEPS: [u8; 3] = [10, 50, 100];

/// Twice what the default probes need to notice a sick instance, rounded up.
pub const DEFAULT_STEP_INTERVAL: Duration = Duration::from_secs(60);

/// One may be bad luck, two a bad host; three are the revision's own fault.
pub const DEFAULT_FAILURE_LIMIT: u8 = 3;

/// As long as App Runner lets a request take.
pub const DEFAULT_DRAIN: Duration = super::DEFAULT_TOTAL;

impl DeploymentSettings {
    pub(super) fn check(raw: &raw::Deployment, limits: &Limits, mut at: Section<'_>) -> Self {
        let least = Duration::ZERO;
        let drain_default = limits.total.unwrap_or(DEFAULT_DRAIN);
        let settings = Self {
            surge: at.percent("surge", raw.surge.as_ref()).unwrap_or(DEFAULT_SURGE),
            bake: at.span("bake", raw.bake.as_ref(), DEFAULT_BAKE, least),
            first_bake: at.span("first_bake", raw.first_bake.as_ref(), Duration::ZERO, least),
            drain: at.span("drain", raw.drain.as_ref(), drain_default, least),
            keep_warm: at.span("keep_warm", raw.keep_warm.as_ref(), Duration::ZERO, least),
            approval: raw.approval.unwrap_or(false),
            automatic: raw.automatic.unwrap_or(false),
            concurrent_edits: at.word(
                "concurrent_edits",
                raw.concurrent_edits.as_deref(),
                ConcurrentEdits::default(),
            ),
            failure_limit: at.number(
                "failure_limit",
                raw.failure_limit,
                FailureLimit::new(DEFAULT_FAILURE_LIMIT).unwrap_or(FailureLimit::MIN),
            ),
            strategy: Strategy::check(raw, &mut at),
        };
        if settings.strategy == Strategy::InPlace && !settings.keep_warm.is_zero() {
            at.fault(
                "keep_warm",
                format_duration(settings.keep_warm),
                "keeps what in-place deployment has stopped already",
                "remove it, or choose another strategy",
            );
        }
        settings.check_requests_end(limits, &mut at);
        settings
    }

    fn check_requests_end(&self, limits: &Limits, at: &mut Section<'_>) {
        if let Some(total) = limits.total
            && self.drain < total
            && at.sound(&["drain"])
            && at.sound_elsewhere(&["limits.total"])
        {
            let total = format_duration(total);
            at.warn(
                "drain",
                format_duration(self.drain),
                format!("is shorter than a request may take (limits.total, {total}), so a deployment may cut requests off"),
                format!("write at least {total}"),
            );
        }
    }
}

impl Strategy {
    fn check(raw: &raw::Deployment, at: &mut Section<'_>) -> Self {
        let word = at.word("strategy", raw.strategy.as_deref(), StrategyWord::AllAtOnce);
        let interval = at.span(
            "step_interval",
            raw.step_interval.as_ref(),
            DEFAULT_STEP_INTERVAL,
            Duration::ZERO,
        );
        let steps = check_steps(&raw.steps, at);
        if word == StrategyWord::Stepped {
            return Self::Stepped { steps, interval };
        }
        if at.sound(&["strategy"]) {
            let given =
                [("steps", !raw.steps.is_empty()), ("step_interval", raw.step_interval.is_some())];
            for (name, given) in given {
                if given && at.sound(&[name]) {
                    at.fault_at(
                        at.path(name),
                        None,
                        format!("means nothing to the strategy {:?}", word.word()),
                        "set strategy = \"stepped\", or remove it",
                    );
                }
            }
        }
        match word {
            StrategyWord::InPlace => Self::InPlace,
            StrategyWord::AllAtOnce | StrategyWord::Stepped => Self::AllAtOnce,
        }
    }

    fn word(&self) -> StrategyWord {
        match self {
            Self::AllAtOnce => StrategyWord::AllAtOnce,
            Self::InPlace => StrategyWord::InPlace,
            Self::Stepped { .. } => StrategyWord::Stepped,
        }
    }
}

fn check_steps(raw: &[raw::Scalar], at: &mut Section<'_>) -> Vec<Percent> {
    if raw.is_empty() {
        return DEFAULT_STEPS.into_iter().filter_map(Percent::new).collect();
    }
    let mut steps = Vec::new();
    for (index, step) in raw.iter().enumerate() {
        steps.extend(at.element("steps", index).percent_here(step));
    }
    if at.sound(&["steps"]) {
        for (index, pair) in steps.windows(2).enumerate() {
            if pair[0] >= pair[1] {
                at.fault_at(
                    at.path("steps").index(index + 1),
                    Some(&pair[1]),
                    format!("does not rise from the step before it ({})", pair[0]),
                    "write steps that rise, such as [10, 50, 100]",
                );
            }
        }
        if let Some(last) = steps.last().filter(|last| **last != Percent::MAX) {
            at.fault_at(
                at.path("steps").index(steps.len() - 1),
                Some(last),
                "is the last step, and the old revision would keep the rest",
                "end with 100",
            );
        }
    }
    steps
}

impl From<&DeploymentSettings> for raw::Deployment {
    fn from(settings: &DeploymentSettings) -> Self {
        let mut raw = Self {
            strategy: settings.strategy.word().raw(),
            surge: Some(u32::from(settings.surge.number()).into()),
            bake: Some(settings.bake.into()),
            first_bake: Some(settings.first_bake.into()),
            drain: Some(settings.drain.into()),
            keep_warm: Some(settings.keep_warm.into()),
            approval: Some(settings.approval),
            automatic: Some(settings.automatic),
            concurrent_edits: settings.concurrent_edits.raw(),
            failure_limit: Some(settings.failure_limit.number().into()),
            ..Self::default()
        };
        if let Strategy::Stepped { steps, interval } = &settings.strategy {
            raw.steps = steps.iter().map(|step| u32::from(step.number()).into()).collect();
            raw.step_interval = Some((*interval).into());
        }
        raw
    }
}

#[derive(Clone, Copy, PartialEq)]
enum StrategyWord {
    AllAtOnce,
    InPlace,
    Stepped,
}

impl Word for StrategyWord {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("all_at_once", Self::AllAtOnce),
        ("stepped", Self::Stepped),
        ("in_place", Self::InPlace),
    ];
}

impl Word for ConcurrentEdits {
    const WORDS: &'static [(&'static str, Self)] =
        &[("refuse", Self::Refuse), ("queue", Self::Queue), ("supersede", Self::Supersede)];
}
