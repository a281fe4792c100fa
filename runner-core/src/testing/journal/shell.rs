//! The trait over the log: who has it open, how long a sync takes, what fails.

use std::{fmt, time::Duration};

use super::{Crash, FrameNumber, Log};
use crate::{
    BoxFuture, Error,
    error::ErrorKind,
    id::{PlatformId, ServiceId},
    journal::{Batch, HistoryEntry, Journal, Opened, Record},
    testing::{clock::TestClock, shared::Shared},
};

/// What happens to a commit.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a storage has to do each")]
pub enum WriteFault {
    /// Nothing is written and this is the answer, as with a disk that is full.
    Refuse(Error),
    /// A part is written and this is the answer.
    Tear(Error),
    /// All is written and making it durable fails with this: a crash may find it, whole or not.
    FailSync(Error),
    /// It is durable, and this is the answer all the same: the next opening finds it.
    LoseAnswer(Error),
    /// It takes this much longer. Commits that are sent later overtake it.
    Slow(Duration),
}

impl WriteFault {
    /// Nothing is written, since the disk is full.
    pub fn disk_full() -> Self {
        Self::Refuse(Error::exhausted("no space is left on the disk; make some"))
    }
}

/// The disk beneath a [`MemoryJournal`]: what is there before and after it.
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    clock: TestClock,
    state: Shared<State>,
}

#[derive(Debug)]
struct State {
    log: Log,
    sync_takes: Duration,
    faults: Vec<(u64, WriteFault)>,
    /// While this is set, every commit fails with it.
    broken: Option<Error>,
    commits: u64,
    /// Counts openings and crashes: a journal of another time is dead.
    generation: u64,
    holder: Option<String>,
}

impl MemoryStorage {
    /// An empty disk, in the time of a clock.
    pub fn new(clock: &TestClock, platform: PlatformId) -> Self {
        let state = State {
            log: Log::new(platform),
            sync_takes: Duration::from_millis(1),
            faults: Vec::new(),
            broken: None,
            commits: 0,
            generation: 0,
            holder: None,
        };
        Self { clock: clock.clone(), state: Shared::new(state) }
    }

    /// Opens the journal on it. The name is what a second opener is told.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) while another has it open.
    pub fn open(&self, name: impl Into<String>) -> Result<MemoryJournal, Error> {
        self.state.with(|state| {
            if let Some(holder) = &state.holder {
                let message = format!("the journal is held by {holder}; end it first");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            state.holder = Some(name.into());
            state.generation += 1;
            let opened = state.log.open();
            Ok(MemoryJournal { storage: self.clone(), generation: state.generation, opened })
        })
    }

    /// Gives the `nth` commit from now on, counted from 1, a fault.
    pub fn fail(&self, nth: u64, fault: WriteFault) {
        self.state.with(|state| state.faults.push((state.commits + nth, fault)));
    }

    /// Makes every commit fail from now on, or none any more.
    pub fn set_broken(&self, error: Option<Error>) {
        self.state.with(|state| state.broken = error);
    }

    /// The power goes: the journal that is open is dead, and what it had not synced is gone as
    /// `crash` says.
    pub fn crash(&self, crash: Crash) {
        self.state.with(|state| {
            state.log.crash(crash);
            state.generation += 1;
            state.holder = None;
        });
    }

    /// The log as it is, to look at.
    pub fn log(&self) -> Log {
        self.state.with(|state| state.log.clone())
    }
}

/// An in-memory journal; see the [module page](super). Dropping it closes it.
pub struct MemoryJournal {
    storage: MemoryStorage,
    generation: u64,
    opened: Opened,
}

impl MemoryJournal {
    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> Result<R, Error> {
        self.storage.state.with(|state| match state.generation == self.generation {
            true => Ok(f(state)),
            false => Err(Error::unavailable("the journal's storage has crashed; open it again")),
        })
    }

    /// The script's word on a commit that begins.
    fn next_fault(&self) -> Result<Option<WriteFault>, Error> {
        self.with(|state| {
            state.commits += 1;
            let number = state.commits;
            let fault = state.faults.iter().find(|(nth, _)| *nth == number);
            fault.map(|(_, fault)| fault.clone())
        })
    }

    /// The write half of a commit, and how long the other half takes.
    fn write(
        &self,
        batch: Batch,
        fault: Option<&WriteFault>,
    ) -> Result<(FrameNumber, Duration), Error> {
        self.with(|state| match (&state.broken, fault) {
            (Some(error), _) | (None, Some(WriteFault::Refuse(error))) => Err(error.clone()),
            (None, Some(WriteFault::Tear(error))) => {
                state.log.append_torn(batch);
                Err(error.clone())
            }
            _ => Ok((state.log.append(batch), state.sync_takes)),
        })?
    }

    /// The sync half. Whoever comes first syncs for all: a group commit.
    fn sync(&self, frame: FrameNumber, fault: Option<&WriteFault>) -> Result<(), Error> {
        self.with(|state| {
            if state.log.was_lost(frame) {
                return Err(Error::unavailable("the sync that this commit was part of failed"));
            }
            match fault {
                Some(WriteFault::FailSync(error)) => {
                    state.log.fail_sync();
                    Err(error.clone())
                }
                Some(WriteFault::LoseAnswer(error)) => {
                    state.log.sync_untold(frame);
                    Err(error.clone())
                }
                _ => {
                    state.log.sync();
                    Ok(())
                }
            }
        })?
    }
}

impl Journal for MemoryJournal {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        Box::pin(async move { self.with(|state| state.log.records()) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let fault = self.next_fault()?;
            if let Some(WriteFault::Slow(by)) = fault {
                self.storage.clock.sleep(by).await;
            }
            let (frame, sync_takes) = self.write(batch, fault.as_ref())?;
            self.storage.clock.sleep(sync_takes).await;
            self.sync(frame, fault.as_ref())
        })
    }

    fn history(
        &self,
        service: ServiceId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        Box::pin(async move { self.with(|state| state.log.history(service, limit)) })
    }
}

impl Drop for MemoryJournal {
    fn drop(&mut self) {
        // One that crashed closes nothing: another may have it open by now.
        let _ = self.with(|state| state.holder = None);
    }
}

impl fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryJournal").field("opened", &self.opened).finish_non_exhaustive()
    }
}
