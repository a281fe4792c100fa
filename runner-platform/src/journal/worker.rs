//! The thread that does what blocks.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{PoisonError, mpsc},
    thread::JoinHandle,
};

use runner_core::{
    Error,
    error::ErrorKind,
    id::ServiceId,
    journal::{Batch, HistoryEntry, Record},
};
use tokio::sync::oneshot;

use super::{lock::Lock, store::Store};

/// What is asked of the thread.
pub(super) enum Call {
    Commit { batch: Batch, answer: Answer<()> },
    Records(Answer<Vec<Record>>),
    History { service: ServiceId, limit: usize, answer: Answer<Vec<HistoryEntry>> },
    BackUp { to: PathBuf, answer: Answer<()> },
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// The way to the thread, which begins with the first call: constructors spawn nothing.
pub(super) struct Worker {
    #[expect(clippy::disallowed_types, reason = "guards the beginning of the thread")]
    state: std::sync::Mutex<State>,
}

enum State {
    Idle(Box<(Store, Option<Lock>)>),
    Running { calls: mpsc::Sender<Call>, joins: JoinHandle<()> },
    Over,
}

impl Worker {
    pub(super) fn new(store: Store, lock: Option<Lock>) -> Self {
        let state = State::Idle(Box::new((store, lock)));
        #[expect(clippy::disallowed_types, reason = "see the field")]
        Self { state: std::sync::Mutex::new(state) }
    }

    /// Sends a call when it is first polled, and waits for its answer.
    pub(super) async fn ask<T>(&self, call: impl FnOnce(Answer<T>) -> Call) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(call(answer))?;
        answered.await.map_err(|_| Error::bug("the journal's thread has ended"))?
    }

    fn send(&self, call: Call) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Idle(_) = &*state
            && let State::Idle(idle) = std::mem::replace(&mut *state, State::Over)
        {
            let (calls, called) = mpsc::channel();
            let thread = std::thread::Builder::new().name("runner-journal".to_owned());
            let joins = thread.spawn(move || {
                // The lock is given up after the file is closed.
                let (mut store, _lock) = *idle;
                run(&mut store, &called);
                drop(store);
            });
            let joins = joins.map_err(|error| {
                Error::exhausted("no thread can be started for the journal").caused_by(error)
            })?;
            *state = State::Running { calls, joins };
        }
        match &*state {
            State::Running { calls, .. } if calls.send(call).is_ok() => Ok(()),
            _ => Err(Error::bug("the journal's thread has ended")),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Running { calls, joins } = std::mem::replace(state, State::Over) {
            drop(calls);
            // It finishes what it was sent: whoever opens next has to find it.
            let _ = joins.join();
        }
    }
}

/// Until nobody can send any more.
fn run(store: &mut Store, calls: &mpsc::Receiver<Call>) {
    let mut next = calls.recv().ok();
    while let Some(call) = next.take() {
        match call {
            Call::Commit { batch, answer } => next = commit_group(store, batch, answer, calls),
            Call::Records(answer) => drop(answer.send(guarded(store, Store::records))),
            Call::History { service, limit, answer } => {
                drop(answer.send(guarded(store, |store| store.history(service, limit))));
            }
            Call::BackUp { to, answer } => {
                drop(answer.send(guarded(store, |store| store.back_up(&to))));
            }
        }
        if next.is_none() {
            next = calls.recv().ok();
        }
    }
}

/// Commits what is there to commit, with one sync; gives back the first call that is something
/// else.
fn commit_group(
    store: &mut Store,
    batch: Batch,
    answer: Answer<()>,
    calls: &mpsc::Receiver<Call>,
) -> Option<Call> {
    let (mut batches, mut answers) = (vec![batch], vec![answer]);
    let mut other = None;
    while batches.len() < GROUP {
        match calls.try_recv() {
            Ok(Call::Commit { batch, answer }) => {
                batches.push(batch);
                answers.push(answer);
            }
            Ok(call) => {
                other = Some(call);
                break;
            }
            Err(_) => break,
        }
    }
    let result = guarded(store, |store| store.commit(&batches));
    for answer in answers {
        let _ = answer.send(result.clone());
    }
    other
}

/// A file that is not what the database believes may make it panic; nobody else should, and it is
/// opened anew.
fn guarded<T>(
    store: &mut Store,
    work: impl FnOnce(&mut Store) -> Result<T, Error>,
) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(|| work(store))).unwrap_or_else(|_| {
        let message = "the journal cannot be read as what it was; restore a copy of it";
        let _ = catch_unwind(AssertUnwindSafe(|| store.fall_back()));
        Err(Error::new(ErrorKind::Corrupt, message))
    })
}

/// As many commits as share one sync: enough that a thousand services at once take a few.
const GROUP: usize = 512;
