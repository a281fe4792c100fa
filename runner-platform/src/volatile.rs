//! The journal of a platform that keeps nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::PoisonError,
};

use runner_core::{
    BoxFuture, Error,
    id::{Epoch, PlatformId, ServiceId},
    journal::{Batch, Change, HistoryEntry, Journal, Opened, Record, RecordKey},
    time::Timestamp,
};

/// Forgets all when it is dropped.
pub(crate) struct VolatileJournal {
    opened: Opened,
    #[expect(clippy::disallowed_types, reason = "guards plain maps for one change or look")]
    kept: std::sync::Mutex<Kept>,
    #[expect(dead_code, reason = "held for its drop")]
    with: Option<GoesWithIt>,
}

/// What ends when nothing is remembered any more. A platform drops its journal after its backend.
pub(crate) type GoesWithIt = Box<dyn Send + Sync>;

#[derive(Default)]
struct Kept {
    records: BTreeMap<RecordKey, Record>,
    history: VecDeque<HistoryEntry>,
}

impl VolatileJournal {
    pub(crate) fn new(id: u128, with: Option<GoesWithIt>) -> Self {
        let platform = PlatformId::from_random(id);
        let opened = Opened { platform, epoch: Epoch::FIRST, newest: Timestamp::EPOCH };
        Self { opened, kept: Default::default(), with }
    }

    fn with<R>(&self, look: impl FnOnce(&mut Kept) -> R) -> R {
        look(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal for VolatileJournal {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        Box::pin(async { Ok(self.with(|kept| kept.records.values().cloned().collect())) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.with(|kept| {
                for change in batch.changes() {
                    match change {
                        Change::Put(record) => {
                            kept.records.insert(record.key, record.clone());
                        }
                        Change::Remove(key) => {
                            kept.records.remove(key);
                        }
                        Change::Note(entry) => kept.history.push_front(entry.clone()),
                    }
                }
                kept.history.truncate(HISTORY);
            });
            Ok(())
        })
    }

    fn history(
        &self,
        service: ServiceId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        Box::pin(async move {
            Ok(self.with(|kept| {
                let of_it = kept.history.iter().filter(|entry| entry.service == service);
                of_it.take(limit).cloned().collect()
            }))
        })
    }
}

/// As many entries as are kept in all, some megabytes.
const HISTORY: usize = 10_000;
