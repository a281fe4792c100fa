//! What handles tell the driver and the tasks of services.

use runner_core::{
    backend::LogLine,
    id::{InstanceId, OperationId, ServiceId},
    service::{Command, Dump},
    spec::ServiceSpec,
    time::Timestamp,
};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{Error, LogsFrom, Operation, describe::Description};

/// What becomes of instances when the platform ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they stay or they do not")]
pub enum Aftermath {
    /// Their requests are finished, they go on, and the next platform of the same journal takes
    /// them up.
    Leave,
    /// Their requests are finished and they are stopped. On record the services are what they
    /// were: the next platform starts them again.
    Stop,
}

/// What handles ask of the driver.
pub(crate) enum Request {
    Create { spec: Box<ServiceSpec>, answer: oneshot::Sender<Result<Operation, Error>> },
    Follow(Follow),
    Shutdown { aftermath: Aftermath, until: Timestamp, answer: oneshot::Sender<()> },
}

/// Somebody who follows what the instances of a service write.
pub(crate) struct Follow {
    pub(crate) service: ServiceId,
    pub(crate) from: LogsFrom,
    /// Heard from before it was asked: none that comes meanwhile is missed.
    pub(crate) births: broadcast::Receiver<Birth>,
    pub(crate) lines: mpsc::Sender<(InstanceId, LogLine)>,
}

/// What a service's task is asked.
#[derive(Debug)]
pub(crate) enum Message {
    /// Boxed: a queue of messages has room for as many as it may hold.
    Command(Box<Command>, oneshot::Sender<Result<Option<Operation>, Error>>),
    Describe(oneshot::Sender<Description>),
    /// An operation of its own, followed from now on.
    Follow(OperationId, oneshot::Sender<Option<Operation>>),
    Dump(oneshot::Sender<Dump>),
    Shutdown {
        aftermath: Aftermath,
        until: Timestamp,
    },
}

/// What those who follow have to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Birth {
    /// An instance is there.
    Born(InstanceId),
    /// A service is gone, and all of its instances.
    Gone(ServiceId),
    /// The platform ends.
    Over(Aftermath),
}
