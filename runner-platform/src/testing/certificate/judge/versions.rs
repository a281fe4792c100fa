//! Which version may answer when.

use std::collections::{BTreeMap, BTreeSet};

use super::super::log::{Change, End, Event};

/// What was deployed, service by service, in its order.
#[derive(Debug, Default)]
pub(super) struct Versions {
    stints: BTreeMap<String, Vec<Stint>>,
    bad: BTreeSet<(String, String)>,
}

/// A version's turn: from when it was asked for, and how that ended.
#[derive(Debug)]
struct Stint {
    number: u64,
    version: String,
    asked: u64,
    ended: Option<(u64, End)>,
}

impl Versions {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut versions = Self::default();
        for event in events {
            match event {
                Event::Asked { number, service, change, at } => match change {
                    Change::Good { version } | Change::Back { version } => {
                        let (number, version, asked) = (*number, version.clone(), *at);
                        let stint = Stint { number, version, asked, ended: None };
                        versions.stints.entry(service.clone()).or_default().push(stint);
                    }
                    Change::Bad { version, .. } => {
                        versions.bad.insert((service.clone(), version.clone()));
                    }
                    Change::Settings { .. } | Change::Pause | Change::Resume => {}
                },
                Event::Ended { number, end, at, .. } => {
                    let mut all = versions.stints.values_mut().flatten();
                    if let Some(stint) = all.find(|stint| stint.number == *number) {
                        stint.ended = Some((*at, *end));
                    }
                }
                _ => {}
            }
        }
        versions
    }

    /// Why this version must not have answered a request that was sent then, and answered then.
    pub(super) fn objection(
        &self,
        service: &str,
        version: &str,
        sent: u64,
        ended: u64,
    ) -> Option<&'static str> {
        if self.bad.contains(&(service.to_owned(), version.to_owned())) {
            return Some("which was never good");
        }
        let stints = self.stints.get(service).map_or(&[][..], Vec::as_slice);
        let mut why = "which nobody deployed";
        for (place, stint) in stints.iter().enumerate().filter(|(_, one)| one.version == version) {
            let is_over = match stint.ended {
                // It may have served for some time; when the request was sent it did not any more.
                Some((at, End::Failed | End::NeverBegan)) => at <= sent,
                _ => stints[place + 1..].iter().any(|later| match later.ended {
                    Some((at, End::Succeeded)) => at <= sent,
                    _ => false,
                }),
            };
            if stint.asked > ended {
                why = "before it was deployed";
            } else if is_over {
                why = "which was over";
            } else {
                return None;
            }
        }
        Some(why)
    }
}
