//! One limit, named with a value: what an explanation says could have been otherwise.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A limit and a value it could have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Setting {
    /// The maximum.
    Maximum(u32),
    /// The minimum; a maximum below it is raised to it.
    Minimum(u32),
    /// The least that is never frozen.
    MinimumActive(u32),
    /// The most within some time: as many as were wished.
    RateUnlimited,
    /// How long fewer have to be enough.
    ScaleInDelay(Duration),
    /// Starts that would be ready only after the backlog is gone are begun all the same.
    StartsForAnyBacklog,
    /// How long an instance is idle before it is frozen.
    StandbyAfter(Duration),
    /// The most at once.
    StepUnlimited,
    /// How long nothing may come before the last goes.
    ZeroAfter(Duration),
}
