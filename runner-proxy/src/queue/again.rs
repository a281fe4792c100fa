//! The way back into the queue, for a request that was admitted and came back unserved.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use http::Response;
use runner_core::{
    admission::Pin,
    id::{InstanceId, RevisionNumber},
};
use tokio::time::Instant;

use super::{
    LeaseHandle, RequestHead,
    gate::Lease,
    shared::{Admitted, Entry, Target},
    wait::Wait,
};
use crate::sync::Arc;

/// Why a request comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Return {
    /// When it first arrived.
    pub(crate) arrived: Instant,
    /// Where it was not served.
    pub(crate) avoid: InstanceId,
    /// Its revision, where it may have been sent there: another might not know what it means.
    pub(crate) within: Option<RevisionNumber>,
}

impl LeaseHandle {
    /// Gives the slot back and gets another: at the head of the class, as if the request had
    /// waited since it arrived. All who hold a share in this handle share in the new slot.
    ///
    /// Gives nothing where the slot is on its way to another already.
    ///
    /// Dropping the future leaves the queue, and the handle without a slot.
    pub(crate) async fn exchange(
        &self,
        head: &RequestHead<'_>,
        why: Return,
    ) -> Option<Result<(Target, Duration), Response<Bytes>>> {
        let lease = self.take()?;
        let gate = Arc::clone(lease.gate());
        // First back, then another: a request never has two.
        drop(lease);
        let mut ask = (gate.hooks.ask)(head);
        ask.returned = Some(gate.clock.now() - why.arrived.elapsed());
        ask.avoid = Some(why.avoid);
        if let (Pin::Any, Some(revision)) = (ask.pin, why.within) {
            ask.pin = Pin::Revision(revision);
        }
        let decided = match gate.shared.enter(&ask, || gate.clock.now()) {
            Entry::Admitted(admitted) => Ok((admitted, Duration::ZERO)),
            Entry::Refused(refusal) => Err(refusal),
            Entry::Waiting(place) => {
                let mut wait = Wait::new(Arc::clone(&gate), place);
                let (_, waited, decided) = poll_fn(|cx| wait.poll(cx)).await;
                decided.map(|admitted| (admitted, waited))
            }
        };
        Some(match decided {
            Ok((Admitted { held, sampled, target }, waited)) => {
                self.put(Lease::new(gate, held, sampled));
                Ok((target, waited))
            }
            Err(refusal) => Err((gate.hooks.refuse)(head, &refusal)),
        })
    }
}
