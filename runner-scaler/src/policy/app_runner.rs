//! App Runner's own rule.

use std::time::Duration;

use super::{Asked, Bounded, Look, Policy, PolicyExt, just_above, whole};
use crate::{
    decision::{Because, Signal, Wish},
    limits::Limits,
    observation::Name,
};

/// As many instances as hold all requests there are, each filled to its cap.
///
/// The published rule: concurrency above the maximum per instance adds instances, and nothing
/// else does. The maximum per instance is the cap that is observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppRunner;

impl AppRunner {
    /// The rule with the service's limits: an instance that is not needed loses its processor
    /// after a minute, and leaves after two, its "couple of minutes".
    pub fn as_served(minimum: u32, maximum: u32) -> Bounded<Self> {
        Self.within(Limits::between(minimum, maximum))
            .scale_in_delay(Duration::from_secs(120))
            .standby_after(Duration::from_secs(60))
    }
}

impl Policy for AppRunner {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        let (present, each) = (look.seen.load.present() as f64, look.seen.slots_each());
        let active = whole(present / each);
        let because = Because::new(Signal::Concurrency, present, each)
            .more_at(just_above(f64::from(active) * each).ceil());
        asked.wish(Wish::new(Name::fixed("app runner"), active, because));
    }
}
