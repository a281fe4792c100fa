//! What was, from the journal: services get their tasks back, and look for their instances.

use std::{collections::BTreeMap, sync::Arc};

use runner_core::{
    Error,
    error::ErrorKind,
    id::{ServiceId, ServiceName},
    journal::{Batch, Record, RecordKey},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{Driver, enter};
use crate::{
    actor::{Actor, Over, Stored},
    shared::{Entry, Shared},
};

/// What is on record of the platform as a whole.
#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    /// In which boot of the host it last ran.
    boot: Option<String>,
}

impl Whole {
    const VERSION: u32 = 1;

    fn read(record: &Record) -> Result<Self, Error> {
        if record.version > Self::VERSION {
            return Err(Error::unsupported(format!(
                "the platform is on record in form {}, and this program knows {} and older ones; \
                 use the newer program that wrote it",
                record.version,
                Self::VERSION
            )));
        }
        serde_json::from_slice(&record.bytes).map_err(|error| {
            let message =
                "the record of the platform cannot be read; restore a copy of the journal";
            Error::new(ErrorKind::Corrupt, message).caused_by(error)
        })
    }
}

impl Driver {
    /// Reads all before any of it is begun: one record of a newer program stops the whole. Answers
    /// whether the host has booted since.
    pub(super) async fn recover(&mut self) -> Result<bool, crate::Error> {
        let shared = Arc::clone(&self.ends.0);
        let mut whole = None;
        let mut services: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in shared.journal.records().await? {
            match record.key {
                RecordKey::Platform => whole = Some(Whole::read(&record)?),
                RecordKey::Service(id) => {
                    let stored = Stored::read(&record)?;
                    let kept = services.entry(stored.name.clone()).or_default();
                    kept.push((id, stored));
                }
                // Of a newer program, and nothing of ours.
                _ => {}
            }
        }
        let services = one_of_each(&shared, services).await;
        let before = whole.as_ref().and_then(|whole| whole.boot.as_ref());
        let booted = before.is_some() && before != shared.boot.as_ref() && !services.is_empty();
        if booted {
            // All instances of the host have to start at once: as many as it has processors do.
            let budget = Arc::new(Semaphore::new(shared.processors));
            shared.with(|registry| registry.start_budget = Some(budget));
        }
        // During the rush the boot before is what is on record: who is killed meanwhile rations on.
        if !booted && whole.is_none_or(|whole| whole.boot != shared.boot) {
            remember_boot(&shared).await;
        }
        let recovered: Vec<_> = services
            .into_iter()
            .map(|(name, (id, stored))| (self.place(&name, id, stored.settings()), stored))
            .collect();
        shared.paths.publish_all(
            recovered.iter().map(|(place, stored)| (&place.name, stored.settings(), &place.way)),
        );
        for (place, stored) in recovered {
            self.task(place.name.clone(), Actor::recover(place, stored).run());
        }
        Ok(booted)
    }
}

/// Two of one name are a creation that was refused when the disk did not answer, written all the
/// same just before a crash, and what was created in its place: the newer one. The other never had
/// an instance.
async fn one_of_each(
    shared: &Shared,
    found: BTreeMap<ServiceName, Vec<(ServiceId, Stored)>>,
) -> BTreeMap<ServiceName, (ServiceId, Stored)> {
    let mut kept = BTreeMap::new();
    let mut others = Batch::new(shared.clock.now());
    for (name, mut services) in found {
        services.sort_by_key(|(id, stored)| (stored.created, *id));
        let newest = services.pop();
        for (id, _) in services {
            tracing::warn!(service = %name, %id, "a creation that was refused is on record; it is removed");
            others = others.remove(RecordKey::Service(id));
        }
        kept.extend(newest.map(|newest| (name, newest)));
    }
    if !others.changes().is_empty()
        && let Err(error) = shared.journal.commit(others).await
    {
        // They are passed over again next time.
        tracing::warn!(%error, "what was refused cannot be removed from the record yet");
    }
    kept
}

pub(super) async fn remember_boot(shared: &Shared) {
    let whole = Whole { boot: shared.boot.clone() };
    let bytes = serde_json::to_vec(&whole).unwrap_or_default();
    let record = Record { key: RecordKey::Platform, version: Whole::VERSION, bytes };
    let batch = Batch::new(shared.clock.now()).put(record);
    // Not remembered, the next start is a little slower than it need be.
    if let Err(error) = shared.journal.commit(batch).await {
        tracing::warn!(%error, "the boot of this host cannot be stored");
    }
}

/// Gives a service a new task after a panic, from what is on record.
pub(super) async fn begin_anew(shared: Arc<Shared>, name: ServiceName, entry: Entry) -> Over {
    let key = RecordKey::Service(entry.id);
    loop {
        let found = match shared.journal.records().await {
            Ok(records) => records.into_iter().find(|record| record.key == key),
            Err(error) => {
                tracing::warn!(service = %name, %error, "its record cannot be read; it is tried again");
                tokio::time::sleep_until(tokio::time::Instant::now() + super::AGAIN).await;
                continue;
            }
        };
        // It panicked before it was durable: it has never been.
        let Some(record) = found else { return Over::Retired };
        return match Stored::read(&record) {
            Ok(stored) => {
                // Its queue stays, and all who wait in it.
                let place = enter(&shared, &name, entry.id, entry.way);
                Box::pin(Actor::recover(place, stored).run()).await
            }
            Err(error) => {
                tracing::error!(service = %name, %error, "its record cannot be read");
                // Its queue serves on; nobody decides about it until the program is begun anew.
                std::future::pending().await
            }
        };
    }
}
