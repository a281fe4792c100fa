//! What goes on record, and what waits for it.
//!
//! # The form
//!
//! A record bears the version of the form in which it is written; one of a newer form is refused by
//! name, and nothing is written over it. Under one version a field may be *added*, with a default
//! for records of before: a program that does not know it passes it over, and forgets it at its
//! next commit. Where that would do harm, and for all else that changes, the version rises, and the
//! older form is read as long as a fixture of it is kept; see the tests.

#[cfg(all(test, feature = "journal", feature = "testing"))]
mod tests;

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
use tokio::time::{Instant, sleep_until, timeout};

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
    /// A change that was refused may be on record, now or when the disk answers: what is true has
    /// to be written over it, whether or not anything waits for that.
    owed: bool,
}

/// The commit under way, and what is carried out after it. Pending while there is none.
#[derive(Default)]
pub(super) struct Commit(Option<UnderWay>);

struct UnderWay {
    answer: BoxFuture<'static, Result<(), Error>>,
    effects: Vec<Effect>,
    notes: Vec<HistoryEntry>,
    began: Timestamp,
    /// It carries a change that was refused meanwhile, or writes over one.
    owes: bool,
}

/// How a commit ended, with what waited for it.
pub(super) struct Committed {
    result: Result<(), Error>,
    ended: UnderWay,
}

impl Future for Commit {
    type Output = Committed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Committed> {
        let Some(under_way) = &mut self.0 else { return Poll::Pending };
        let Poll::Ready(result) = under_way.answer.as_mut().poll(context) else {
            return Poll::Pending;
        };
        let Some(ended) = self.0.take() else { return Poll::Pending };
        Poll::Ready(Committed { result, ended })
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
        self.again.filter(|_| self.has_something() && self.commit.0.is_none())
    }

    /// Whether the journal refuses, or does not answer.
    pub(super) fn fails(&self, now: Timestamp) -> bool {
        self.again().is_some() || self.commit.0.as_ref().is_some_and(|commit| commit.is_late(now))
    }

    fn has_something(&self) -> bool {
        self.owed || !self.waiting.is_empty()
    }
}

impl UnderWay {
    fn is_late(&self, now: Timestamp) -> bool {
        now.since(self.began) >= COMMIT_LIMIT
    }
}

impl Actor {
    /// Begins a commit where something waits for one.
    pub(super) fn flush(&mut self, now: Timestamp) {
        let outbox = &self.outbox;
        let held = outbox.again.is_some_and(|again| again > now);
        if !outbox.has_something() || outbox.commit.0.is_some() || held {
            return;
        }
        let owes = std::mem::take(&mut self.outbox.owed);
        let effects = std::mem::take(&mut self.outbox.waiting);
        let notes = std::mem::take(&mut self.outbox.notes);
        self.summarise(&effects, now);
        let retire = effects.iter().any(|effect| matches!(effect, Effect::Retire));
        let batch = self.batch(&self.machine, &notes, retire, now);
        let (answer, name) = (self.commit(batch), self.name.clone());
        // However long it takes: a second one beside it might be overtaken by it.
        let answer = Box::pin(async move {
            let mut answer = answer;
            match timeout(COMMIT_LIMIT, &mut answer).await {
                Ok(result) => result,
                Err(_) => {
                    let error = late();
                    tracing::warn!(service = %name, %error, "its state is not stored yet; what has to be waits");
                    answer.await
                }
            }
        });
        let under_way = UnderWay { answer, effects, notes, began: now, owes };
        self.outbox.commit = Commit(Some(under_way));
    }

    /// Takes in how a commit ended.
    pub(super) fn committed(&mut self, committed: Committed) {
        let Committed { result, ended } = committed;
        let UnderWay { mut effects, mut notes, owes, .. } = ended;
        let now = self.shared.clock.now();
        match result {
            Ok(()) => {
                (self.outbox.failures, self.outbox.again) = (0, None);
                for effect in effects {
                    self.carry_out(effect, now);
                }
            }
            Err(error) => {
                self.outbox.owed |= owes;
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
        self.finish_commit().await?;
        let before = self.operations.clone();
        let waiting = std::mem::take(&mut self.outbox.waiting);
        self.summarise(&waiting, now);
        self.summarise(effects, now);
        let mut notes = self.outbox.notes.clone();
        notes.extend(effects.iter().filter_map(|effect| self.entry_of(effect, now)));
        let retire = effects.iter().any(|effect| matches!(effect, Effect::Retire));
        let batch = self.batch(copy, &notes, retire, now);
        let mut answer = self.commit(batch);
        match timeout(COMMIT_LIMIT, &mut answer).await {
            Ok(Ok(())) => {
                self.outbox.notes.clear();
                (self.outbox.failures, self.outbox.again) = (0, None);
                // It carried the state as it is, changed.
                self.outbox.owed = false;
                for effect in waiting {
                    self.carry_out(effect, now);
                }
                Ok(())
            }
            Ok(Err(error)) => {
                (self.outbox.waiting, self.operations) = (waiting, before);
                // A journal may find it at its next opening: not if the truth comes after it.
                self.outbox.owed = true;
                self.outbox.again.get_or_insert(now + AGAIN);
                Err(crate::Error::NotStored(error))
            }
            Err(_) => {
                (self.outbox.waiting, self.operations) = (waiting, before);
                // The journal has it and may write it whenever the disk answers. So it stays under
                // way, nothing is committed beside it, and what it leaves is written over.
                self.outbox.owed = true;
                let (effects, notes) = (Vec::new(), Vec::new());
                let began = now;
                let under_way = UnderWay { answer, effects, notes, began, owes: true };
                self.outbox.commit = Commit(Some(under_way));
                Err(crate::Error::NotStored(late()))
            }
        }
    }

    /// Waits for the commit under way, if there is one and it is not known to take too long.
    async fn finish_commit(&mut self) -> Result<(), crate::Error> {
        let Some(under_way) = &self.outbox.commit.0 else { return Ok(()) };
        let limit = match under_way.is_late(self.shared.clock.now()) {
            true => Duration::ZERO,
            false => COMMIT_LIMIT,
        };
        let committed = timeout(limit, &mut self.outbox.commit).await;
        self.committed(committed.map_err(|_| crate::Error::NotStored(late()))?);
        Ok(())
    }

    /// Before the end: what is under way, and over a change that was refused what is true.
    pub(super) async fn settle(&mut self) {
        if self.finish_commit().await.is_ok() && self.outbox.owed {
            self.flush(self.shared.clock.now());
            let _ = self.finish_commit().await;
        }
    }

    /// What a creation that was refused leaves to do before its name is free: the journal may have
    /// the service, and write it whenever the disk answers.
    pub(super) fn undo_creation(mut self: Box<Self>) -> Option<BoxFuture<'static, ()>> {
        let under_way = self.outbox.commit.0.take()?;
        let key = RecordKey::Service(self.machine.id());
        let (shared, name) = (self.shared, self.name);
        Some(Box::pin(async move {
            // Either way the next opening may find it.
            let _ = under_way.answer.await;
            let mut pause = AGAIN;
            loop {
                let batch = Batch::new(shared.clock.now()).remove(key);
                let Err(error) = shared.journal.commit(batch).await else { return };
                tracing::warn!(service = %name, %error, "its creation cannot be undone yet");
                sleep_until(Instant::now() + pause).await;
                pause = (pause * 2).min(AGAIN * 600);
            }
        }))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), Error>> {
        let journal = std::sync::Arc::clone(&self.shared.journal);
        Box::pin(async move { journal.commit(batch).await })
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

fn late() -> Error {
    let message = "the journal does not answer, see its disk; should it write this after all, it \
                   is undone then";
    Error::new(ErrorKind::TimedOut, message)
}

/// As many operations of a service as are shown to people.
const OPERATIONS_KEPT: usize = 20;
/// As many notes as wait for a commit.
const NOTES_KEPT: usize = 100;
/// How long until a commit that failed is tried again, at first; up to a minute.
const AGAIN: Duration = Duration::from_millis(100);
/// A disk that takes longer is held to be broken, and nobody is kept waiting for it.
const COMMIT_LIMIT: Duration = Duration::from_secs(30);
