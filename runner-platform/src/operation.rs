//! Operations: what takes time, and can be awaited.

use std::{collections::BTreeMap, sync::Arc};

use runner_core::{
    id::{OperationId, ServiceName},
    service::{Ending, Kind},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::OperationFailed;

/// Something that was accepted: it is durable, and goes on whether or not anybody follows it.
#[derive(Clone, Debug)]
#[must_use = "an operation has only begun; see `finished`"]
pub struct Operation {
    id: OperationId,
    service: ServiceName,
    kind: Kind,
    end: watch::Receiver<Option<End>>,
}

/// How it ended, as those who follow it are told.
pub(crate) type End = Result<(), OperationFailed>;

impl Operation {
    /// By what it is found again, over restarts too.
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// The service that it is about.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Waits for its end. May be dropped at any time, and called again.
    ///
    /// # Errors
    ///
    /// Why it did not do what was asked, with the evidence, and whether the service is as it was.
    pub async fn finished(&self) -> Result<(), OperationFailed> {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await;
        match ended.as_deref() {
            Ok(Some(end)) => end.clone(),
            _ => Err(OperationFailed::Stopped(self.id)),
        }
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<Result<(), OperationFailed>> {
        self.end.borrow().clone()
    }
}

/// An operation, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperationSummary {
    /// Which one.
    pub id: OperationId,
    /// Of which kind it is.
    pub kind: Kind,
    /// When it was accepted.
    pub began: Timestamp,
    /// When and how it ended; nothing while it is under way.
    pub ended: Option<(Timestamp, Ending)>,
}

/// Operations under way, and who follows them.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    under_way: BTreeMap<OperationId, (ServiceName, watch::Sender<Option<End>>)>,
    /// The driver ended: nobody ends an operation any more.
    over: bool,
}

impl Followed {
    /// An operation of this id, followed from now on; the same as before where it is known.
    pub(crate) fn begin(
        &mut self,
        id: OperationId,
        kind: Kind,
        service: &ServiceName,
    ) -> Operation {
        if self.over {
            let end = watch::Sender::new(None).subscribe();
            return Operation { id, service: service.clone(), kind, end };
        }
        let followed = self.under_way.entry(id);
        let (service, sender) =
            followed.or_insert_with(|| (service.clone(), watch::Sender::new(None)));
        Operation { id, service: service.clone(), kind, end: sender.subscribe() }
    }

    pub(crate) fn end(&mut self, id: OperationId, ending: &Ending) {
        if let Some((_, sender)) = self.under_way.remove(&id) {
            sender.send_replace(Some(end_of(ending)));
        }
    }

    /// The service's task panicked: nobody waits in vain.
    pub(crate) fn panicked(&mut self, service: &ServiceName, message: &Arc<str>) {
        self.under_way.retain(|_, (of, sender)| {
            let hit = of == service;
            if hit {
                sender.send_replace(Some(Err(OperationFailed::Panicked(Arc::clone(message)))));
            }
            !hit
        });
    }

    /// The driver ended.
    pub(crate) fn clear(&mut self) {
        self.under_way.clear();
        self.over = true;
    }
}

/// One that is over.
pub(crate) fn ended(
    id: OperationId,
    kind: Kind,
    service: ServiceName,
    ending: &Ending,
) -> Operation {
    Operation { id, service, kind, end: watch::Sender::new(Some(end_of(ending))).subscribe() }
}

fn end_of(ending: &Ending) -> End {
    match ending {
        Ending::Succeeded => Ok(()),
        Ending::Failed(cause) => Err(OperationFailed::Failed(Arc::clone(cause))),
        Ending::RollbackSucceeded(cause) => Err(OperationFailed::RolledBack(Arc::clone(cause))),
    }
}
