//! What instances write, said as it comes.

use std::{collections::BTreeSet, time::SystemTime};

use runner_core::{backend::OutputStream, id::ServiceId, time::Timestamp};
use runner_platform::{Description, LogsFrom, Platform};
use tokio::task::JoinSet;

use crate::screen::{Line, Stage, Tone};

/// Reads what the instances of all services write, from when this was made.
#[derive(Debug)]
pub(super) struct Logs {
    platform: Platform,
    stage: Stage,
    /// What was written before is said by nobody a second time.
    since: Timestamp,
    known: BTreeSet<ServiceId>,
    reading: JoinSet<()>,
}

impl Logs {
    #[expect(clippy::disallowed_methods, reason = "the times of lines are those of the wall")]
    pub(super) fn new(platform: Platform, stage: Stage) -> Self {
        let (since, known) = (SystemTime::now().into(), BTreeSet::new());
        Self { platform, stage, since, known, reading: JoinSet::new() }
    }

    /// Begins to read what a service's instances write, if it is new.
    pub(super) fn follow(&mut self, service: &Description) {
        if self.known.insert(service.id) {
            let (platform, stage) = (self.platform.clone(), self.stage.clone());
            let (name, since) = (service.name.to_string(), self.since);
            self.reading.spawn(async move { read(&platform, &name, since, &stage).await });
        }
        // Those that have ended are told by nobody else.
        while self.reading.try_join_next().is_some() {}
    }

    /// Waits for the last words of all that have ended.
    pub(super) async fn finish(mut self) {
        while self.reading.join_next().await.is_some() {}
    }
}

/// Until the service is gone, or the platform has ended.
async fn read(platform: &Platform, name: &str, since: Timestamp, stage: &Stage) {
    let Ok(mut logs) = platform.logs(name, LogsFrom::Since(since)).await else { return };
    while let Some((instance, line)) = logs.next().await {
        let tone = match line.stream {
            OutputStream::Backend => Tone::Busy,
            _ => Tone::Plain,
        };
        let prefix = format!("{name}/{} | ", instance.number);
        // In its turn: an app may write faster than a terminal shows.
        stage.say_in_turn(Line::new().and(Tone::Faint, &prefix).and(tone, &line.text)).await;
    }
}
