//! What a deployment is told before it begins, and what may change under way.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::Aside;
use crate::{
    id::RevisionNumber,
    spec::{
        DEFAULT_START_ALLOWANCE, DeploymentSettings, Percent, RevisionSpec, ServiceSettings,
        Strategy,
    },
};

/// How a deployment goes about it, and how instances are kept: the settings as the machine reads
/// them, at each decision anew, so that a change applies in the middle of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Policy {
    /// How requests move.
    pub shift: Shift,
    /// How many green instances stand beside the blue ones, in hundredths of those.
    pub surge: u8,
    /// Whether requests move only when somebody says so.
    pub approval: bool,
    /// How many instances are never frozen.
    pub minimum_active: u32,
    /// Whether instances can be frozen at all.
    pub standby: bool,
    /// After how many failures in a row a deployment turns back.
    pub failure_limit: u8,
    /// Slots of each instance.
    pub cap: u32,
    /// At most so many instances.
    pub maximum: u32,
    /// How long each wait may take. Lengths decide nothing: that a timer ran out is an event.
    pub spans: Aside<Spans>,
    /// Whether the old revision is kept for a while.
    pub keep_warm: bool,
}

/// How requests move to green.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "each is a way of its own through the stages")]
pub enum Shift {
    /// In one step.
    AtOnce,
    /// In steps of these hundredths, the last of them 100.
    Stepped(Vec<u8>),
    /// Blue leaves before green is started.
    InPlace,
}

/// How long each wait may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spans {
    /// From one weighted step to the next.
    pub step: Duration,
    /// How long green serves alone before blue is given up.
    pub bake: Duration,
    /// The same where there is no blue: how long until a first deployment counts as done.
    pub first_bake: Duration,
    /// How long a leaving instance may go on with its requests.
    pub drain: Duration,
    /// How long the old revision is kept for a return.
    pub keep_warm: Duration,
    /// How long all of green may take to become ready, at least: a revision with a longer start
    /// allowance has that for each failure that it may have.
    pub provision: Duration,
    /// How long somebody has to approve.
    pub approval: Duration,
    /// How long after the first failure the next start waits; twice as long after each further
    /// one. The same where the backend has nothing left.
    pub backoff: Duration,
    /// How long it waits at most.
    pub backoff_most: Duration,
    /// How long instances live until their failures are forgotten.
    pub forgive: Duration,
    /// How long until a stop that failed is tried again.
    pub stop_again: Duration,
}

/// A day: whoever wants to approve has slept once.
const APPROVAL: Duration = Duration::from_secs(86_400);
/// Long enough that a crash costs little and short enough that nobody reaches for a restart.
const BACKOFF: Duration = Duration::from_secs(1);
/// What Kubernetes settled on.
const BACKOFF_MOST: Duration = Duration::from_secs(300);
/// Twice the longest back-off, as Kubernetes has it.
const FORGIVE: Duration = Duration::from_secs(600);
const STOP_AGAIN: Duration = Duration::from_secs(5);

impl Policy {
    /// The policy that settings mean, on a backend that can freeze or not.
    pub fn new(settings: &ServiceSettings, standby: bool) -> Self {
        let DeploymentSettings {
            strategy,
            surge,
            bake,
            first_bake,
            drain,
            keep_warm,
            approval,
            ..
        } = settings.deployment();
        let failure_limit = settings.deployment().failure_limit.number();
        let scaling = settings.scaling();
        let (shift, step) = match strategy {
            Strategy::AllAtOnce => (Shift::AtOnce, Duration::ZERO),
            Strategy::InPlace => (Shift::InPlace, Duration::ZERO),
            Strategy::Stepped { steps, interval } => {
                (Shift::Stepped(steps.iter().map(|step| step.number()).collect()), *interval)
            }
        };
        Self {
            shift,
            surge: surge.number(),
            approval: *approval,
            minimum_active: scaling.minimum_active.number(),
            standby,
            failure_limit,
            cap: scaling.cap.upper().number(),
            maximum: scaling.largest_maximum().number(),
            keep_warm: !keep_warm.is_zero(),
            spans: Aside(Spans {
                step,
                bake: *bake,
                first_bake: *first_bake,
                drain: *drain,
                keep_warm: *keep_warm,
                // Every instance may use its whole allowance, one failure after the other.
                provision: DEFAULT_START_ALLOWANCE * (u32::from(failure_limit) + 1),
                approval: APPROVAL,
                backoff: BACKOFF,
                backoff_most: BACKOFF_MOST,
                forgive: FORGIVE,
                stop_again: STOP_AGAIN,
            }),
        }
    }

    /// How long all instances of a revision may take until they are ready.
    pub(crate) fn provision(&self, side: &Side) -> Duration {
        let tries = u32::from(self.failure_limit) + 1;
        self.spans.provision.max(side.start_allowance.0 * tries)
    }

    /// How many green instances are started beside `wanted` blue ones: at least one, so that at
    /// zero instances there is one that proves the revision.
    pub(crate) fn share(&self, wanted: u32) -> u32 {
        let part = match self.shift {
            Shift::AtOnce | Shift::Stepped(_) => u32::from(self.surge),
            Shift::InPlace => u32::from(Percent::MAX.number()),
        };
        (wanted * part).div_ceil(100).max(1)
    }
}

/// What of a revision matters to those who start and stop its instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Side {
    /// Which revision.
    pub revision: RevisionNumber,
    /// Whether a command runs once before any of its instances, and for how long it may.
    pub pre_deploy: Option<Duration>,
    /// How long an instance may take until it is ready.
    pub start_allowance: Aside<Duration>,
    pub(crate) pace: Pace,
}

impl Side {
    /// A revision by what its specification says.
    pub fn new(revision: RevisionNumber, spec: &RevisionSpec) -> Self {
        Self {
            revision,
            pre_deploy: spec.pre_deploy().map(|command| command.timeout),
            start_allowance: Aside(spec.health().start_allowance),
            pace: Pace::default(),
        }
    }
}

/// How failures hold back the next start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Pace {
    /// In a row, as many as count.
    pub(crate) failures: u8,
    /// Set while nothing is started.
    pub(crate) hold: Option<Hold>,
    pub(crate) since: Aside<crate::time::Timestamp>,
    /// How often in a row the backend had nothing left. No failure of the revision, so it counts
    /// towards no limit; it makes the next question wait longer.
    #[serde(default)]
    pub(crate) exhausted: Aside<u16>,
    /// Why, the last time.
    pub(crate) cause: Aside<Option<Arc<super::Cause>>>,
}

/// Why nothing is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hold {
    /// After a failure, for a while.
    Failed,
    /// The backend has nothing left, and is asked again in a while.
    Exhausted,
    /// The values of its secrets are not in memory; whoever finds them ends it.
    Values,
}

impl Pace {
    /// How long a hold lasts: twice as long after each failure, or each time that the backend has
    /// nothing left, up to a bound. Each question costs a number, a commit and a stop.
    pub(crate) fn span(&self, spans: &Spans) -> Duration {
        let times = match self.hold {
            Some(Hold::Exhausted) => self.exhausted.0,
            Some(Hold::Failed | Hold::Values) | None => self.failures.into(),
        };
        let doublings = u32::from(times.saturating_sub(1)).min(16);
        spans.backoff.saturating_mul(1 << doublings).min(spans.backoff_most)
    }
}
