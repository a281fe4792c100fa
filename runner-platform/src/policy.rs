//! The policy of a service whose embedding program has none of its own.

use std::any::Any;

use runner_core::spec::ServiceSettings;
use runner_scaler::{Asked, DefaultPolicy, Look, Policy, Signal, TargetTracking};

/// What the objective needs, and room to spare as the settings say.
pub(crate) fn default_policy(settings: &ServiceSettings) -> Box<dyn Policy + Send> {
    let scaling = settings.scaling();
    let full = f64::from(scaling.target_utilisation.number()) / 100.0;
    Box::new(Both { needed: DefaultPolicy::default(), room: Roomy { full, held: None } })
}

/// Two rules, of whose wishes the one for most counts.
struct Both {
    needed: DefaultPolicy,
    room: Roomy,
}

impl Policy for Both {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        self.needed.ask(look, asked);
        self.room.ask(look, asked);
    }

    /// Other bounds or another utilisation make nothing untrue that was learned of the load.
    fn learned(&mut self) -> Option<&mut dyn Any> {
        self.needed.learned()
    }

    fn take_over(&mut self, learned: &mut dyn Any) {
        self.needed.take_over(learned);
    }
}

/// Instances meant to be as full as this: of the cap as it is, since one that is found by measuring
/// moves.
struct Roomy {
    full: f64,
    held: Option<(u32, TargetTracking)>,
}

impl Policy for Roomy {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        let cap = look.seen.cap;
        if self.held.as_ref().is_none_or(|(of, _)| *of != cap) {
            let target = f64::from(cap) * self.full;
            self.held =
                TargetTracking::new(Signal::Concurrency, target).ok().map(|rule| (cap, rule));
        }
        if let Some((_, rule)) = &mut self.held {
            rule.ask(look, asked);
        }
    }
}
