//! What instances write, said as it comes.

use std::{collections::BTreeSet, future::poll_fn, time::SystemTime};

use runner_backends::process::Process;
use runner_core::{
    backend::{ContainerBackend as _, Fence, OutputStream},
    id::InstanceId,
    time::Timestamp,
};
use runner_platform::Description;
use tokio::task::JoinSet;

use crate::screen::{Line, Stage, Tone};

/// Reads what all instances write, each from when it is first seen.
#[derive(Debug)]
pub(super) struct Logs {
    backend: Process,
    fence: Fence,
    stage: Stage,
    /// What was written before is said by nobody a second time.
    since: Timestamp,
    known: BTreeSet<InstanceId>,
    reading: JoinSet<()>,
}

impl Logs {
    #[expect(clippy::disallowed_methods, reason = "the times of lines are those of the wall")]
    pub(super) fn new(backend: Process, fence: Fence, stage: Stage) -> Self {
        let (since, known) = (SystemTime::now().into(), BTreeSet::new());
        Self { backend, fence, stage, since, known, reading: JoinSet::new() }
    }

    /// Begins to read what those write that are new.
    pub(super) fn follow(&mut self, service: &Description) {
        for one in &service.instances {
            if self.known.insert(one.id) {
                let prefix = format!("{}/{} | ", service.name, one.id.number);
                let (backend, stage) = (self.backend.clone(), self.stage.clone());
                let (fence, since, instance) = (self.fence, self.since, one.id);
                self.reading.spawn(async move {
                    read(&backend, fence, instance, since, &prefix, &stage).await;
                });
            }
        }
        // Those that have ended are told by nobody else.
        while self.reading.try_join_next().is_some() {}
        let there = |id: &InstanceId| service.instances.iter().any(|one| one.id == *id);
        self.known.retain(|id| id.service != service.id || there(id));
    }

    /// Waits for the last words of all that have ended.
    pub(super) async fn finish(mut self) {
        while self.reading.join_next().await.is_some() {}
    }
}

/// Until the instance has ended.
async fn read(
    backend: &Process,
    fence: Fence,
    instance: InstanceId,
    since: Timestamp,
    prefix: &str,
    stage: &Stage,
) {
    let Ok(mut lines) = backend.logs(fence, instance, since).await else { return };
    while let Some(line) = poll_fn(|context| lines.as_mut().poll_next(context)).await {
        let tone = match line.stream {
            OutputStream::Backend => Tone::Busy,
            _ => Tone::Plain,
        };
        // In its turn: an app may write faster than a terminal shows.
        stage.say_in_turn(Line::new().and(Tone::Faint, prefix).and(tone, &line.text)).await;
    }
}
