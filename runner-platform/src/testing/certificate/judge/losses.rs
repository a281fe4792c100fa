//! What explains a loss: what was done at the time, and nothing that the platform says.

use std::{collections::BTreeMap, time::Duration};

use super::super::{
    log::{Change, End, Event, Line, Outcome},
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
    pub(super) fn of(events: &[Event], lateness: &Lateness) -> Self {
        let mut faults = Self::default();
        let (mut pauses, mut resumes) = (BTreeMap::new(), BTreeMap::new());
        for event in events {
            match event {
                Event::PlatformKilled { from, gone } => faults.platform.push((*from, *gone)),
                Event::InstanceKilled { service, at, .. } => {
                    let known = lateness.known(*at, micros(DEATH_IS_KNOWN));
                    faults.instances.entry(service.clone()).or_default().push((*at, known));
                }
                Event::InstanceStopped { service, at, .. } => {
                    let known = lateness.known(*at, micros(STALL_IS_KNOWN));
                    faults.instances.entry(service.clone()).or_default().push((*at, known));
                }
                Event::Asked { service, change: Change::Pause, at, number } => {
                    pauses.insert(*number, service.clone());
                    faults.paused.entry(service.clone()).or_default().push((*at, u64::MAX));
                }
                // A pause that did not come to be excuses nothing from when that is known.
                Event::Ended { number, end: End::Failed | End::NeverBegan, at, .. } => {
                    faults.is_over(pauses.get(number), *at);
                }
                Event::Asked { service, change: Change::Resume, number, .. } => {
                    resumes.insert(*number, service.clone());
                }
                Event::Accepted { number, at } => {
                    faults.is_over(resumes.get(number), *at);
                }
                _ => {}
            }
        }
        faults
    }

    /// Nobody wants this service to be paused any more.
    fn is_over(&mut self, service: Option<&String>, at: u64) {
        let paused = service.and_then(|name| self.paused.get_mut(name));
        for (_, until) in paused.into_iter().flatten() {
            *until = (*until).min(at);
        }
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

/// How late the load itself was, by the second: how much this machine had else to do.
#[derive(Debug, Default)]
pub(super) struct Lateness(BTreeMap<u64, u64>);

impl Lateness {
    pub(super) fn of(lines: &[Line]) -> Self {
        let mut lateness = Self::default();
        for line in lines {
            if let Line::Sent { due, at, .. } = line {
                let most = lateness.0.entry(at / SECOND).or_default();
                *most = (*most).max(at.saturating_sub(*due));
            }
        }
        lateness
    }

    /// Until when something may be unknown that would be known after `span` if nothing else ran
    /// here: each of the steps to it may be as late as the latest request of that time.
    fn known(&self, at: u64, span: u64) -> u64 {
        let seconds = at / SECOND..=(at + 2 * span) / SECOND + 1;
        let latest = self.0.range(seconds).map(|(_, latest)| *latest).max();
        at + span + STEPS * latest.unwrap_or_default()
    }
}

/// From a fault to where it is known: a probe goes out, times out, and once more; then it is told.
const STEPS: u64 = 5;
const SECOND: u64 = 1_000_000;

/// The reasons of a loss after the request was given to an instance.
const GIVEN: [&str; 4] = ["bad_response", "closed_early", "head_timed_out", "total_timed_out"];

/// How long a process that is killed may take to be gone, on a machine with much to do: until then
/// its sockets take what is sent to them.
const DEATH_IS_KNOWN: Duration = Duration::from_millis(200);
