//! A platform on a stage: how its services are, and what happens to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use runner_core::{deployment::Phase, spec::CapSetting};
use runner_platform::{Description, Events, Platform, Told};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use super::logs::Logs;
use crate::screen::{Fleet, Line, ServiceView, Stage, Tone};

/// Shows how the services are and says what happens to them, and what their instances write where
/// that is asked for, until the platform has ended.
///
/// It knows of what happens from when it is made, before it is polled first.
pub(super) fn watch(
    platform: Platform,
    stage: Stage,
    logs: Option<Logs>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
) -> impl Future<Output = ()> {
    let events = platform.events();
    say_all(platform, events, stage, logs, asked)
}

async fn say_all(
    platform: Platform,
    mut events: Events,
    stage: Stage,
    mut logs: Option<Logs>,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut wanted = BTreeMap::new();
    let mut warned = BTreeSet::new();
    let mut said_last = String::new();
    loop {
        tokio::select! {
            // Whoever asks whether all is said is answered when there is nothing to say.
            biased;
            happened = events.next() => {
                let Some(told) = happened else { break };
                let Told::Happened(happening) = told else {
                    stage.say_in(Tone::Busy, "  more happened than can be said here; see the history");
                    continue;
                };
                let words = format!("  {}: {}", happening.service, happening.message);
                let is_new = match happening.code {
                    // What changes from one second to the next is seen in the picture.
                    "ServiceStatusChange" => false,
                    // What this machine cannot do it cannot do for each instance.
                    "StartWarning" => warned.insert(words.clone()),
                    // A stage that was just named with its reason.
                    _ => !said_last.strip_prefix(&*words).is_some_and(|why| why.starts_with(": ")),
                };
                if is_new {
                    stage.say(Line::new().and(Tone::Faint, &words));
                    said_last = words;
                }
                // One that is new may have written something before the next look.
                if let Some(logs) = &mut logs
                    && let Ok(service) = platform.describe(happening.service.as_str()).await
                {
                    logs.follow(&service);
                }
            }
            Some(told) = asked.recv() => drop(told.send(())),
            _ = beat.tick() => {
                let Ok(names) = platform.list().await else { break };
                let mut services = Vec::new();
                for name in names {
                    // It may be gone by now.
                    let Ok(service) = platform.describe(name.as_str()).await else { continue };
                    say_scaling(&service, &mut wanted, &stage);
                    if let Some(logs) = &mut logs {
                        logs.follow(&service);
                    }
                    services.push(view_of(&service));
                }
                stage.show(|view| view.services = services);
            }
        }
    }
    if let Some(logs) = logs {
        logs.finish().await;
    }
}

/// Says that there are to be more or fewer instances, and why.
fn say_scaling(service: &Description, wanted: &mut BTreeMap<String, u32>, stage: &Stage) {
    let before = wanted.insert(service.name.to_string(), service.desired);
    let (Some(before), Some(why)) = (before, &service.decision) else { return };
    if before != service.desired && service.stage.is_none() {
        let words = format!("  {}: {before} -> {why}", service.name);
        stage.say(Line::new().and(Tone::Faint, &words));
    }
}

fn view_of(service: &Description) -> ServiceView {
    let fleet = fleet_of(service);
    let cap = match service.spec.settings().scaling().cap {
        CapSetting::Fixed(cap) => cap.number(),
        other => other.upper().number(),
    };
    let revision = match (service.live, service.green) {
        (Some(live), Some(green)) if live != green => format!("{live} -> {green}"),
        (Some(live), _) => format!("revision {live}"),
        (None, Some(green)) => format!("-> {green}"),
        (None, None) => service.status.to_string(),
    };
    let waits = service.waits.iter().map(|wait| wait.name).next();
    ServiceView {
        name: service.name.to_string(),
        revision,
        fleet,
        slots: (service.in_flight, u64::from(cap) * fleet.ready as u64),
        waiting: service.waiting.into(),
        why: match (waits, &service.decision) {
            (Some(wait), _) => format!("waits: {wait}"),
            (None, Some(decision)) => decision.clone(),
            (None, None) => String::new(),
        },
    }
}

fn fleet_of(service: &Description) -> Fleet {
    let mut fleet = Fleet::default();
    for instance in &service.instances {
        *match instance.phase {
            Phase::Ready | Phase::Running => &mut fleet.ready,
            Phase::Starting { .. } | Phase::Proving | Phase::Waking { .. } => &mut fleet.starting,
            Phase::Freezing { .. } | Phase::Standby => &mut fleet.standby,
            _ => &mut fleet.draining,
        } += 1;
    }
    fleet
}

/// How often services are looked at: as often as the picture is drawn.
const BEAT: Duration = Duration::from_millis(200);
