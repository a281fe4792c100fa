//! The judge: both logs, and nothing else.

mod losses;
mod versions;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    process::ExitCode,
};

use serde::Serialize;

use self::{
    losses::{Faults, Lateness},
    versions::Versions,
};
use super::{
    log::{Change, End, Event, Files, Line, Outcome, read},
    say::{complain, say},
};

/// What a test came to: its last line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) requests: u64,
    pub(super) wrong: u64,
    pub(super) lost_unexplained: u64,
    pub(super) lost_explained: u64,
    pub(super) instances_killed: u64,
    pub(super) platform_kills: u64,
    pub(super) deployments: u64,
    pub(super) stuck_operations: u64,
    pub(super) orphans: u64,
}

/// A request, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) service: String,
    pub(super) sent: u64,
    /// When and how it ended; nothing where the log does not say so.
    pub(super) ended: Option<(u64, Outcome)>,
}

/// Reads what there is and says what it comes to.
pub(super) fn run(place: &Path, least_kills: u32) -> ExitCode {
    let files = Files(place.to_owned());
    // Where nobody was asked anything, that is what there is to say.
    let lines = match read(&files.requests()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    };
    let (lines, events) = match (lines, read(&files.events())) {
        (Ok(lines), Ok(events)) => (lines, events),
        (Err(error), _) | (_, Err(error)) => {
            complain("judge", &format!("a log cannot be read: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let (verdict, complaints) = judge(lines, &events);
    for complaint in complaints.iter().take(COMPLAINTS) {
        say(complaint);
    }
    if complaints.len() > COMPLAINTS {
        say(&format!("and {} more", complaints.len() - COMPLAINTS));
    }
    say(&outcomes(&events));
    let enough = verdict.platform_kills >= u64::from(least_kills);
    if !enough {
        say(&format!("the platform was to be killed at least {least_kills} times"));
    }
    say(&verdict.line());
    if enough && verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The last line of a test in which nothing was asked.
pub(super) fn nothing() -> String {
    Verdict::default().line()
}

impl Verdict {
    fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn is_good(&self) -> bool {
        let Self { wrong, lost_unexplained, stuck_operations, orphans, requests, .. } = *self;
        requests > 0 && [wrong, lost_unexplained, stuck_operations, orphans] == [0; 4]
    }
}

/// What it comes to, and a sentence on each thing that is held against the platform.
pub(super) fn judge(lines: Vec<Line>, events: &[Event]) -> (Verdict, Vec<String>) {
    let mut verdict = Verdict::default();
    let mut complaints = Vec::new();
    let versions = Versions::of(events);
    let faults = Faults::of(events, &Lateness::of(&lines));
    let never: BTreeSet<u64> = events.iter().filter_map(never_began).collect();
    for asked in requests(lines) {
        verdict.requests += 1;
        let Asked { id, service, sent, ended } = &asked;
        let what = match ended {
            Some((at, Outcome::Answered { version, process })) => {
                let Some(why) = versions.objection(service, version, *sent, *at) else { continue };
                verdict.wrong += 1;
                format!("wrong: {version} of process {process}, {why}")
            }
            Some((_, Outcome::Wrong(what))) => {
                verdict.wrong += 1;
                format!("wrong: {what}")
            }
            Some((at, outcome)) => {
                if faults.was_paused(service, *sent, *at, outcome) {
                    continue;
                }
                if faults.explain(service, *sent, *at, outcome) {
                    verdict.lost_explained += 1;
                    continue;
                }
                verdict.lost_unexplained += 1;
                format!("lost after {} ms: {outcome:?}", (at - sent) / 1_000)
            }
            None => {
                verdict.lost_unexplained += 1;
                "lost: nobody knows what became of it".to_owned()
            }
        };
        complaints.push(format!("request {id} to {service} at {}: {what}", seconds(*sent)));
    }
    for event in events {
        match event {
            Event::PlatformKilled { .. } => verdict.platform_kills += 1,
            Event::InstanceKilled { .. } => verdict.instances_killed += 1,
            Event::Asked {
                change: Change::Good { .. } | Change::Bad { .. } | Change::Back { .. },
                number,
                ..
            } if !never.contains(number) => {
                verdict.deployments += 1;
            }
            Event::Stuck { words, at, number } => {
                verdict.stuck_operations += 1;
                complaints.push(format!("change {number} is stuck at {}: {words}", seconds(*at)));
            }
            Event::Orphan { words, process, .. } => {
                verdict.orphans += 1;
                complaints.push(format!("process {process} is left over: {words}"));
            }
            Event::Wrong { words, at } => {
                verdict.wrong += 1;
                complaints.push(format!("wrong at {}: {words}", seconds(*at)));
            }
            _ => {}
        }
    }
    (verdict, complaints)
}

/// The number of a change that was refused, or that no platform was there to hear.
fn never_began(event: &Event) -> Option<u64> {
    match event {
        Event::Ended { number, end: End::NeverBegan, .. } => Some(*number),
        _ => None,
    }
}

/// Each request with its end.
fn requests(lines: Vec<Line>) -> Vec<Asked> {
    let mut asked = BTreeMap::new();
    for line in lines {
        match line {
            Line::Sent { id, service, at, .. } => {
                asked.insert(id, Asked { id, service, sent: at, ended: None });
            }
            Line::Ended { id, at, outcome } => {
                if let Some(asked) = asked.get_mut(&id) {
                    asked.ended = Some((at, outcome));
                }
            }
            Line::Closed => {}
        }
    }
    asked.into_values().collect()
}

/// How the changes ended: a platform under which none succeeds would be found out here.
fn outcomes(events: &[Event]) -> String {
    let mut kinds: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for event in events {
        match event {
            Event::Asked { number, change, .. } => {
                let name = match change {
                    Change::Good { .. } => "good versions",
                    Change::Bad { .. } => "bad versions",
                    Change::Back { .. } => "roll-backs",
                    Change::Settings { .. } => "settings",
                    Change::Pause => "pauses",
                    Change::Resume => "resumptions",
                };
                names.insert(*number, name);
            }
            Event::Ended { number, end, .. } => {
                let Some(name) = names.get(number) else { continue };
                let place = match end {
                    End::Succeeded => 0,
                    End::Failed => 1,
                    End::NeverBegan => 2,
                };
                kinds.entry(name).or_default()[place] += 1;
            }
            _ => {}
        }
    }
    let each = kinds
        .iter()
        .map(|(name, [succeeded, failed, never])| format!("{name} {succeeded}/{failed}/{never}"));
    format!("succeeded/failed/never begun: {}", each.collect::<Vec<_>>().join(", "))
}

/// A time of the shared clock, for people.
fn seconds(at: u64) -> String {
    format!("{}.{:06}", at / 1_000_000, at % 1_000_000)
}

/// As many as a person reads.
const COMPLAINTS: usize = 40;
