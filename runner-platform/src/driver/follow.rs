//! What the instances of a service write, for who follows it: those there are, those that have
//! ended and are still remembered, and each that comes while it is followed.
//!
//! Which those are, nobody looks for: a list says it once, and from then on the service's task
//! tells of each that it starts or finds. One that lives for a moment is read too.

use std::{collections::BTreeSet, future::poll_fn, sync::Arc, time::Duration};

use runner_core::{
    backend::LogLine,
    error::Retry,
    id::{InstanceId, ServiceId},
    time::Timestamp,
};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, oneshot,
    },
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    logs::{LINES, LogsFrom},
    message::{Aftermath, Birth, Follow},
    shared::{ListAsk, Shared},
};

type Line = (InstanceId, LogLine);

pub(super) async fn follow(shared: Arc<Shared>, asked: Follow) {
    let Follow { service, from, births, lines: to } = asked;
    let (from, last) = match from {
        LogsFrom::Now => (shared.clock.now(), None),
        LogsFrom::Since(since) => (since, None),
        LogsFrom::Last(count) => (Timestamp::EPOCH, Some(count.min(LogsFrom::MOST_LAST))),
    };
    let (sender, lines) = mpsc::channel(LINES);
    let following = Following {
        shared,
        service,
        births,
        sender,
        lines,
        known: BTreeSet::new(),
        reading: JoinSet::new(),
    };
    tokio::select! {
        biased;
        () = to.closed() => {}
        () = following.run(from, last, &to) => {}
    }
}

struct Following {
    shared: Arc<Shared>,
    service: ServiceId,
    births: broadcast::Receiver<Birth>,
    sender: mpsc::Sender<Line>,
    lines: mpsc::Receiver<Line>,
    /// Instances that are read, or were.
    known: BTreeSet<InstanceId>,
    reading: JoinSet<()>,
}

/// What comes next.
enum Next {
    Line(Line),
    Nothing,
    Ends(Aftermath),
}

impl Following {
    async fn run(mut self, from: Timestamp, last: Option<usize>, to: &mpsc::Sender<Line>) {
        self.read_all(from).await;
        let ends = match last {
            Some(count) => self.gather(count, to).await,
            None => None,
        };
        let aftermath = match ends {
            Some(aftermath) => aftermath,
            None => loop {
                match self.next().await {
                    Next::Line(line) => {
                        if to.send(line).await.is_err() {
                            return;
                        }
                    }
                    Next::Nothing => {}
                    Next::Ends(aftermath) => break aftermath,
                }
            },
        };
        if aftermath == Aftermath::Stop {
            self.finish(to).await;
        }
    }

    async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            // Before lines: who writes without end must not hide who else writes.
            birth = self.births.recv() => match birth {
                // Its first line is one from now on, whatever the clocks of backend and platform.
                Ok(Birth::Born(instance)) => self.read(instance, Timestamp::EPOCH),
                Ok(Birth::Gone(service)) if service == self.service => {
                    return Next::Ends(Aftermath::Stop);
                }
                Ok(Birth::Gone(_)) => {}
                Ok(Birth::Over(aftermath)) => return Next::Ends(aftermath),
                Err(RecvError::Lagged(_)) => self.read_all(Timestamp::EPOCH).await,
                Err(RecvError::Closed) => return Next::Ends(Aftermath::Leave),
            },
            Some(_) = self.reading.join_next() => {}
            Some(line) = self.lines.recv() => return Next::Line(line),
        }
        Next::Nothing
    }

    /// Reads all that a list has of the service. Where there is no list, those that come are read.
    async fn read_all(&mut self, from: Timestamp) {
        let (answer, listed) = oneshot::channel();
        let since = self.shared.clock.now();
        if self.shared.lists.send(ListAsk { since, answer }).is_err() {
            return;
        }
        let Ok(Ok(sighted)) = listed.await else { return };
        for (instance, _) in sighted.of(self.service) {
            self.read(*instance, from);
        }
    }

    fn read(&mut self, instance: InstanceId, from: Timestamp) {
        if instance.service == self.service && self.known.insert(instance) {
            let (shared, to) = (Arc::clone(&self.shared), self.sender.clone());
            self.reading.spawn(read(shared, instance, from, to));
        }
        // The oldest is told of no more.
        if self.known.len() > KNOWN {
            self.known.pop_first();
        }
    }

    /// Tells the newest lines of all there are. That a backend has told all it has, nobody says: it
    /// has where nothing comes for a moment.
    async fn gather(&mut self, count: usize, to: &mpsc::Sender<Line>) -> Option<Aftermath> {
        let mut newest: Vec<Line> = Vec::new();
        let mut ends = None;
        let at_last = Instant::now() + GATHER;
        let mut quiet = Instant::now() + QUIET;
        while let Ok(next) = timeout_at(quiet.min(at_last), self.next()).await {
            match next {
                Next::Line(line) => {
                    newest.push(line);
                    quiet = Instant::now() + QUIET;
                    if newest.len() >= 2 * count.max(LINES) {
                        keep_newest(&mut newest, count);
                    }
                }
                Next::Nothing => {}
                Next::Ends(aftermath) => {
                    ends = Some(aftermath);
                    break;
                }
            }
        }
        keep_newest(&mut newest, count);
        for line in newest {
            if to.send(line).await.is_err() {
                break;
            }
        }
        ends
    }

    /// The last words of instances that were stopped.
    async fn finish(self, to: &mpsc::Sender<Line>) {
        let Self { sender, mut lines, mut reading, .. } = self;
        drop(sender);
        let until = Instant::now() + LAST_WORDS;
        // Over when the last reader is.
        while let Ok(Some(line)) = timeout_at(until, lines.recv()).await {
            if to.send(line).await.is_err() {
                return;
            }
        }
        reading.shutdown().await;
    }
}

/// By their times; those of one time, and of one instance, stay in their order.
fn keep_newest(lines: &mut Vec<Line>, count: usize) {
    lines.sort_by_key(|(_, line)| line.at);
    lines.drain(..lines.len().saturating_sub(count));
}

/// Until the instance has ended and all is read. A backend that does not answer is asked again.
async fn read(shared: Arc<Shared>, instance: InstanceId, from: Timestamp, to: mpsc::Sender<Line>) {
    loop {
        let read = shared.backend.logs(shared.fence, instance, from).await;
        match read {
            Ok(mut lines) => {
                while let Some(line) = poll_fn(|context| lines.as_mut().poll_next(context)).await {
                    if to.send((instance, line)).await.is_err() {
                        return;
                    }
                }
                return;
            }
            Err(error) if error.retry() == Retry::Backoff => {
                sleep_until(Instant::now() + AGAIN).await;
            }
            // It is not remembered any more.
            Err(_) => return,
        }
    }
}

/// As many instances as are told apart from new ones.
const KNOWN: usize = 1_024;
/// How long nothing comes when a backend has told all it has.
const QUIET: Duration = Duration::from_millis(100);
/// How long the newest lines are gathered at most.
const GATHER: Duration = Duration::from_secs(2);
/// How long the last words of instances are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How soon a backend that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);
