//! What explains a loss: what was done at the time, and nothing that the platform says.

use std::{collections::BTreeMap, time::Duration};

use super::super::{
    log::{Change, Event, Outcome},
    services::STALL_IS_KNOWN,
    time::micros,
};

/// What was done, by its times.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// From when to when the platform was being killed.
    platform: Vec<(u64, u64)>,
    /// From when to when an instance was hurt and that could not be known.
    instances: BTreeMap<String, Vec<(u64, u64)>>,
    /// From when to when somebody wanted a service to answer nobody.
    paused: BTreeMap<String, Vec<(u64, u64)>>,
}

impl Faults {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut faults = Self::default();
        let mut resumes = BTreeMap::new();
        for event in events {
            match event {
                Event::PlatformKilled { from, gone } => faults.platform.push((*from, *gone)),
                Event::InstanceKilled { service, at, .. } => {
                    let known = at + micros(DEATH_IS_KNOWN);
                    faults.instances.entry(service.clone()).or_default().push((*at, known));
                }
                Event::InstanceStopped { service, at, .. } => {
                    let known = at + micros(STALL_IS_KNOWN);
                    faults.instances.entry(service.clone()).or_default().push((*at, known));
                }
                Event::Asked { service, change: Change::Pause, at, .. } => {
                    faults.paused.entry(service.clone()).or_default().push((*at, u64::MAX));
                }
                Event::Asked { service, change: Change::Resume, number, .. } => {
                    resumes.insert(*number, service.clone());
                }
                Event::Accepted { number, at } => {
                    let paused = resumes.get(number).and_then(|name| faults.paused.get_mut(name));
                    for (_, until) in paused.into_iter().flatten() {
                        *until = (*until).min(*at);
                    }
                }
                _ => {}
            }
        }
        faults
    }

    /// Whether it was refused because somebody had paused the service.
    pub(super) fn was_paused(
        &self,
        service: &str,
        sent: u64,
        ended: u64,
        outcome: &Outcome,
    ) -> bool {
        let spans = self.paused.get(service).map_or(&[][..], Vec::as_slice);
        matches!(outcome, Outcome::Refused { status: 503, reason } if reason == "paused")
            && spans.iter().any(|(from, until)| sent <= *until && ended >= *from)
    }

    /// Whether it is explained by what was done while it was under way.
    pub(super) fn explain(&self, service: &str, sent: u64, ended: u64, outcome: &Outcome) -> bool {
        let meets = |spans: &[(u64, u64)]| {
            spans.iter().any(|(from, until)| sent <= *until && ended >= *from)
        };
        let of_service = self.instances.get(service).map_or(&[][..], Vec::as_slice);
        match outcome {
            Outcome::Broken(_) => meets(&self.platform) || meets(of_service),
            // What was given to an instance and got no answer. All else was refused without.
            Outcome::Refused { reason, .. } => GIVEN.contains(&&**reason) && meets(of_service),
            // Somebody always listens: the stage holds the socket.
            Outcome::Unconnected(_) | Outcome::Wrong(_) | Outcome::Answered { .. } => false,
        }
    }
}

/// The reasons of a loss after the request was given to an instance.
const GIVEN: [&str; 4] = ["bad_response", "closed_early", "head_timed_out", "total_timed_out"];

/// How long a process that is killed may take to be gone, on a machine with much to do: until then
/// its sockets take what is sent to them.
const DEATH_IS_KNOWN: Duration = Duration::from_millis(200);
