//! Where a deployment stands.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Aside, Cause, Side, Window};
use crate::{id::InstanceId, time::Timestamp};

/// What the two sides are about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Course {
    /// Nothing: blue serves.
    #[default]
    Steady,
    /// Green is to take blue's place. Boxed: most services do this for a minute a day.
    Rolling(Box<Rollout>),
    /// Green was promoted; what is left of the others leaves.
    Leaving,
}

/// A deployment that is not promoted yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Rollout {
    pub(crate) green: Side,
    pub(crate) stage: Stage,
    pub(crate) since: Aside<Timestamp>,
    /// Whether as many instances as it needs have passed at once, and got requests for it.
    pub(crate) passed: bool,
    pub(crate) approved: bool,
    /// Blue's last window before the shift.
    pub(crate) baseline: Option<Window>,
    /// Why it turned back.
    pub(crate) cause: Aside<Option<Arc<Cause>>>,
    /// Whether blue leaves before green comes. Fixed when it begins: a setting that changes under
    /// way must not empty what serves.
    pub(crate) in_place: bool,
    /// Whether it turned back for something newer, which need not wait until green is gone.
    #[serde(default)]
    pub(crate) makes_way: bool,
    /// Whether it turned back and blue did not come back in its time, which nobody waits for any
    /// more.
    #[serde(default)]
    pub(crate) outlasted: bool,
}

/// How long a deployment was in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timing {
    /// Which.
    pub stage: Stage,
    /// Since when.
    pub began: Timestamp,
    /// For how long; none while it is in it.
    pub took: Option<Duration>,
}

/// A stage of a deployment.
///
/// ```text
/// PreDeploy ─► Provisioning ─► Holding ─► Shifting ─► Baking ═► Leaving ─► over
///                    ▲             │  └──► Replacing ──┘  promoted
/// Emptying ──────────┘             └─────────────────────►│
///     └───────────┴──────────┴───────────┴────────────────┴──► TurningBack ─► over
/// ```
///
/// In place it holds before it empties, since blue serves until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a stage that is ignored is a bug")]
pub enum Stage {
    /// The pre-deploy command runs, once, before anything else is started.
    /// Goes to `Emptying`, `Provisioning`, in place also to `Holding`; `TurningBack`.
    PreDeploy {
        /// What runs it.
        job: Aside<InstanceId>,
    },
    /// In place: blue leaves. Goes to `Provisioning`, `TurningBack`.
    Emptying,
    /// Green starts, and is proven. Goes to `Holding`, `Shifting`, `Replacing`, `Baking`,
    /// `TurningBack`.
    Provisioning,
    /// Green is proven, and waits for somebody's word; in place nothing of it is there yet. Goes
    /// on as `Provisioning` does, in place to `Emptying`. Never where nothing serves.
    Holding,
    /// Requests move in steps, and instances with them where only a part of green stands beside
    /// blue. Goes to itself, `Replacing`, `Baking`, `TurningBack`.
    Shifting {
        /// Which step, from zero.
        step: u8,
    },
    /// A part of green is there; blue leaves one by one as more of green is ready. Goes to
    /// `Baking`, `TurningBack`.
    Replacing,
    /// Green serves alone, and blue still stands. Goes to `Leaving`, `TurningBack`.
    Baking,
    /// Promoted: the old instances leave. The only way back is another deployment.
    Leaving,
    /// Back to blue, and green leaves: as far as blue can carry the load, at last altogether.
    TurningBack,
}

impl Stage {
    /// What is going on, as App Runner's log would say it.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::PreDeploy { .. } => "Running the pre-deploy command",
            Self::Emptying => "Stopping the old instances before the new ones start",
            Self::Provisioning => "Provisioning instances and performing health checks",
            Self::Holding => "The old revision serves. Waiting for approval to replace it",
            Self::Shifting { .. } => "Health checks are successful. Routing a part of the traffic",
            Self::Replacing => "Health checks are successful. Replacing instances in turn",
            Self::Baking => "Successfully routed incoming traffic to the new revision",
            Self::Leaving => "The new revision is promoted. Stopping the old instances",
            Self::TurningBack => "Going back to the old revision",
        }
    }
}
