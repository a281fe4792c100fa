//! Where connections live: in one future that the embedding program runs.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    instances::{Instances, Sweep},
    tasks::BoxTask,
};

/// Runs the connections to instances and the upgraded ones through them.
///
/// Nothing is sent to any instance unless this runs. Dropping it ends all of them at once: drop
/// it after the last request.
#[must_use = "no connection makes progress until this is run"]
pub struct Connections {
    newcomers: mpsc::UnboundedReceiver<BoxTask>,
    instances: Weak<Instances>,
    sweep: Arc<Sweep>,
}

impl Connections {
    pub(super) fn new(newcomers: mpsc::UnboundedReceiver<BoxTask>, of: &Arc<Instances>) -> Self {
        Self { newcomers, instances: Arc::downgrade(of), sweep: Arc::clone(&of.sweep) }
    }

    /// Runs until the last clone of the [`Forward`](super::Forward) and the last connection are
    /// gone. Needs a tokio runtime with time and I/O enabled, on which each connection is a task.
    pub async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let sweep = Arc::clone(&self.sweep);
        let mut next_sweep = pin!(due(&sweep));
        loop {
            tokio::select! {
                // In one order, so that a simulation replays; the rarest first, so that none of
                // them waits for ever for a stream of newcomers to end.
                biased;
                () = next_sweep.as_mut() => {
                    let Some(instances) = self.instances.upgrade() else { break };
                    instances.sweep(Instant::now());
                    next_sweep.set(due(&sweep));
                }
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                newcomer = self.newcomers.recv() => match newcomer {
                    Some(task) => drop(tasks.spawn(task)),
                    None => break,
                },
            }
        }
        // What is under way ends by itself: its requests are answered.
        while tasks.join_next().await.is_some() {}
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// A while after connections are kept: until then nothing wakes a service without traffic.
async fn due(sweep: &Sweep) {
    sweep.wanted().await;
    sleep_until(Instant::now() + SWEEP).await;
}

/// How often idle connections are looked at: well below the time that any is kept.
const SWEEP: Duration = Duration::from_secs(1);
