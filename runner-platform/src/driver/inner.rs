//! The inner door: opened before the outer one and closed after it, since what comes by that one is
//! answered by services that ask others.

use runner_core::{BoxFuture, time::Timestamp};
use runner_proxy::front_door::{Drain, FrontDoor, FrontDoorHandle};
use tokio::{task::JoinSet, time::timeout_at};

use super::{Entrance, LAST_CALLS, door_limits};
use crate::{Error, path::Paths, shared::Shared};

/// The inner door, while it is open.
#[derive(Default)]
pub(crate) struct Inner {
    entrances: Vec<Entrance>,
    /// What drives it, until it is opened.
    built: Option<BoxFuture<'static, ()>>,
    door: JoinSet<()>,
    handle: Option<FrontDoorHandle>,
}

impl Inner {
    pub(crate) fn enter_by(&mut self, entrances: Vec<Entrance>) {
        self.entrances = entrances;
    }

    /// Makes it, which may fail; nobody is let in yet.
    pub(super) fn build(&mut self, paths: &Paths) -> Result<(), Error> {
        let Some(names) = paths.names.as_ref().filter(|_| !self.entrances.is_empty()) else {
            return Ok(());
        };
        // What an instance calls its request is what it was told that it is called.
        let mut door =
            FrontDoor::before(names.service()).limits(door_limits()).trust_request_ids(|_| true);
        for entrance in self.entrances.drain(..) {
            door = entrance(door).map_err(|error| {
                runner_core::Error::unavailable("the inner door cannot listen").caused_by(error)
            })?;
        }
        let (door, handle) = door.build();
        self.handle = Some(handle);
        self.built = Some(Box::pin(async move {
            let _ = door.run().await;
        }));
        Ok(())
    }

    /// Lets instances in, now that all names are there.
    pub(super) fn open(&mut self) {
        if let Some(door) = self.built.take() {
            self.door.spawn(door);
        }
    }

    /// Lets what is under way end, by the deadline; nothing where it is closed already.
    pub(super) async fn close(&mut self, shared: &Shared, until: Timestamp) {
        let Some(handle) = self.handle.take() else { return };
        handle.drain(Drain::within(until.until(shared.clock.now())));
        let _ = timeout_at(shared.clock.instant(until) + LAST_CALLS, self.door.join_next()).await;
        self.door.shutdown().await;
    }
}
