//! What goes on record, and how a service comes back from it.

use serde::{Deserialize, Serialize};

use super::{Effect, Service};
use crate::time::Timestamp;

/// What has to survive: committed before any durable effect of the state that it was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(pub(crate) Box<Service>);

/// The version of the form in which a [`Record`] is written.
impl Record {
    /// As it is written now.
    pub const VERSION: u32 = 1;

    /// The service as it is on record, to look at.
    pub fn service(&self) -> &Service {
        &self.0
    }
}

impl Service {
    /// What has to survive of the state as it is.
    pub fn record(&self) -> Record {
        let mut record = self.clone();
        record.sides = self.sides.durable();
        Record(Box::new(record))
    }

    /// Goes on after a restart. Nothing is trusted before it was found and probed.
    pub fn recover(record: Record, now: Timestamp) -> (Self, Vec<Effect>) {
        let mut service = *record.0;
        let mut effects = Vec::new();
        service.resume(now, &mut effects);
        (service, effects)
    }
}
