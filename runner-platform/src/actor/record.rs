//! What goes on record, and what waits for it.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use runner_core::{
    BoxFuture, Error,
    error::ErrorKind,
    id::ServiceName,
    journal::{self, Batch, HistoryEntry, RecordKey},
    service::{Effect, Record, Service},
    spec::ServiceSettings,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Actor, Over};
use crate::operation::OperationSummary;

/// A service on record.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) name: ServiceName,
    pub(crate) created: Timestamp,
    /// The form of `machine`.
    pub(crate) form: u32,
    pub(crate) machine: Record,
    pub(crate) operations: VecDeque<OperationSummary>,
}

impl Stored {
    /// The version of the form in which a service is written.
    pub(crate) const VERSION: u32 = 1;

    /// The settings in effect.
    pub(crate) fn settings(&self) -> &ServiceSettings {
        self.machine.service().settings()
    }

    /// Reads one.
    pub(crate) fn read(record: &journal::Record) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Form {
            name: String,
            form: u32,
        }
        let newer = |what: &str, version: u32, known: u32| {
            let message = format!(
                "{what} is on record in form {version}, and this program knows {known} and older \
                 ones; use the newer program that wrote it"
            );
            Error::unsupported(message)
        };
        if record.version > Self::VERSION {
            return Err(newer(&format!("{:?}", record.key), record.version, Self::VERSION));
        }
        let corrupt = |error| {
            let message = format!("the record of {:?} cannot be read", record.key);
            Error::new(ErrorKind::Corrupt, message).caused_by(error)
        };
        let Form { name, form } = serde_json::from_slice(&record.bytes).map_err(corrupt)?;
        if form > Record::VERSION {
            return Err(newer(&format!("service `{name}`"), form, Record::VERSION));
        }
        serde_json::from_slice(&record.bytes).map_err(corrupt)
    }
}

/// Durable effects, notes, and the commit that they wait for.
#[derive(Default)]
pub(super) struct Outbox {
    /// Asked for since the last commit began.
    waiting: Vec<Effect>,
    notes: Vec<HistoryEntry>,
    pub(super) commit: Commit,
    failures: u32,
    /// When a commit that failed is tried again.
    again: Option<Timestamp>,
}

/// The commit under way, and what is carried out after it. Pending while there is none.
#[derive(Default)]
pub(super) struct Commit(Option<UnderWay>);

struct UnderWay {
    answer: BoxFuture<'static, Result<(), Error>>,
    effects: Vec<Effect>,
    notes: Vec<HistoryEntry>,
}

/// How a commit ended, with what waited for it.
pub(super) struct Committed {
    result: Result<(), Error>,
    effects: Vec<Effect>,
    notes: Vec<HistoryEntry>,
}

impl Future for Commit {
    type Output = Committed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Committed> {
        let Some(under_way) = &mut self.0 else { return Poll::Pending };
        let Poll::Ready(result) = under_way.answer.as_mut().poll(context) else {
            return Poll::Pending;
        };
        let Some(UnderWay { effects, notes, .. }) = self.0.take() else { return Poll::Pending };
        Poll::Ready(Committed { result, effects, notes })
    }
}

impl Outbox {
    pub(super) fn push(&mut self, effect: Effect) {
        self.waiting.push(effect);
    }

    pub(super) fn note(&mut self, entry: HistoryEntry) {
        self.notes.push(entry);
        // Without a commit they would pile up; people read the newest.
        if self.notes.len() > NOTES_KEPT {
            self.notes.remove(0);
        }
    }

    pub(super) fn again(&self) -> Option<Timestamp> {
        self.again.filter(|_| !self.waiting.is_empty() && self.commit.0.is_none())
    }
}

impl Actor {
    /// Begins a commit where something waits for one.
    pub(super) fn flush(&mut self, now: Timestamp) {
        let outbox = &self.outbox;
        let held = outbox.again.is_some_and(|again| again > now);
        if outbox.waiting.is_empty() || outbox.commit.0.is_some() || held {
            return;
        }
        let effects = std::mem::take(&mut self.outbox.waiting);
        let notes = std::mem::take(&mut self.outbox.notes);
        self.summarise(&effects, now);
        let retire = effects.iter().any(|effect| matches!(effect, Effect::Retire));
        let batch = self.batch(&self.machine, &notes, retire, now);
        let answer = self.commit(batch);
        self.outbox.commit = Commit(Some(UnderWay { answer, effects, notes }));
    }

    /// Takes in how a commit ended.
    pub(super) fn committed(&mut self, committed: Committed) {
        let Committed { result, mut effects, mut notes } = committed;
        let now = self.shared.clock.now();
        match result {
            Ok(()) => {
                (self.outbox.failures, self.outbox.again) = (0, None);
                for effect in effects {
                    self.carry_out(effect, now);
                }
            }
            Err(error) => {
                // What is asked again is asked with what came since, in its order.
                effects.append(&mut self.outbox.waiting);
                notes.append(&mut self.outbox.notes);
                (self.outbox.waiting, self.outbox.notes) = (effects, notes);
                let doublings = self.outbox.failures.min(6);
                self.outbox.failures += 1;
                self.outbox.again = Some(now + AGAIN * (1 << doublings));
                tracing::warn!(service = %self.name, %error, "its state cannot be stored; what has to be waits");
            }
        }
    }

    /// Commits what a command on a copy comes to. The copy takes the machine's place afterwards;
    /// where it cannot be stored nothing has changed.
    pub(super) async fn store(
        &mut self,
        copy: &Service,
        effects: &[Effect],
        now: Timestamp,
    ) -> Result<(), crate::Error> {
        // Records are committed in the order in which they were taken.
        self.finish_commit().await;
        let before = self.operations.clone();
        let waiting = std::mem::take(&mut self.outbox.waiting);
        self.summarise(&waiting, now);
        self.summarise(effects, now);
        let mut notes = self.outbox.notes.clone();
        notes.extend(effects.iter().filter_map(|effect| self.entry_of(effect, now)));
        let retire = effects.iter().any(|effect| matches!(effect, Effect::Retire));
        let batch = self.batch(copy, &notes, retire, now);
        match self.commit(batch).await {
            Ok(()) => {
                self.outbox.notes.clear();
                (self.outbox.failures, self.outbox.again) = (0, None);
                for effect in waiting {
                    self.carry_out(effect, now);
                }
                Ok(())
            }
            Err(error) => {
                (self.outbox.waiting, self.operations) = (waiting, before);
                Err(crate::Error::NotStored(error))
            }
        }
    }

    /// Waits for the commit under way, if there is one.
    pub(super) async fn finish_commit(&mut self) {
        if self.outbox.commit.0.is_some() {
            let committed = (&mut self.outbox.commit).await;
            self.committed(committed);
        }
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), Error>> {
        let journal = std::sync::Arc::clone(&self.shared.journal);
        Box::pin(async move {
            timeout(COMMIT_LIMIT, journal.commit(batch)).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::TimedOut, "the journal takes too long; see its disk"))
            })
        })
    }

    fn batch(
        &self,
        machine: &Service,
        notes: &[HistoryEntry],
        retire: bool,
        now: Timestamp,
    ) -> Batch {
        let key = RecordKey::Service(machine.id());
        let batch = match retire {
            true => Batch::new(now).remove(key),
            false => {
                let stored = Stored {
                    name: self.name.clone(),
                    created: self.created,
                    form: Record::VERSION,
                    machine: machine.record(),
                    operations: self.operations.clone(),
                };
                // Plain data, with text for every key.
                let bytes = serde_json::to_vec(&stored).expect("a record is plain data");
                Batch::new(now).put(journal::Record { key, version: Stored::VERSION, bytes })
            }
        };
        notes.iter().cloned().fold(batch, Batch::note)
    }

    /// Remembers operations that begin and end.
    fn summarise(&mut self, effects: &[Effect], now: Timestamp) {
        for effect in effects {
            match effect {
                Effect::Accepted(id, kind) if self.operations.iter().all(|one| one.id != *id) => {
                    let summary =
                        OperationSummary { id: *id, kind: *kind, began: now, ended: None };
                    self.operations.push_back(summary);
                }
                Effect::Finished(finished) => {
                    let of_it = |one: &&mut OperationSummary| one.id == finished.operation;
                    if let Some(one) = self.operations.iter_mut().find(of_it)
                        && one.ended.is_none()
                    {
                        one.ended = Some((now, finished.result.clone()));
                    }
                }
                _ => {}
            }
        }
        while self.operations.len() > OPERATIONS_KEPT {
            self.operations.pop_front();
        }
    }

    /// What is over for good.
    pub(super) fn retire(&mut self) {
        self.over = Some(Over::Retired);
    }
}

/// As many operations of a service as are shown to people.
const OPERATIONS_KEPT: usize = 20;
/// As many notes as wait for a commit.
const NOTES_KEPT: usize = 100;
/// How long until a commit that failed is tried again, at first; up to a minute.
const AGAIN: Duration = Duration::from_millis(100);
/// A disk that takes longer is held to be broken.
const COMMIT_LIMIT: Duration = Duration::from_secs(30);
