//! The calls of the trait as values.

use std::{fmt, time::Duration};

use crate::{
    backend::{
        CommandOutput, Exit, ForeignInstance, HostCapacity, InstanceUsage, Listing, StartRequest,
        Started,
    },
    id::InstanceId,
    time::Timestamp,
};

/// What is asked of an [`Engine`](super::Engine): the methods of
/// [`ContainerBackend`](crate::backend::ContainerBackend) that answer once.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "an engine has to answer each")]
#[expect(missing_docs, reason = "each is the method of its name, and its fields that method's")]
pub enum Call {
    Start(StartRequest),
    Stop { instance: InstanceId, grace: Duration },
    List,
    Freeze(InstanceId),
    Thaw(InstanceId),
    RunCommand { instance: InstanceId, command: Vec<String>, limit: Duration },
    Logs { instance: InstanceId, since: Timestamp },
    Usage(InstanceId),
    ListeningPorts(InstanceId),
    Capacity,
    Reap(ForeignInstance),
}

/// Which call is meant, where its arguments do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there are as many as there are calls")]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Operation {
    Start,
    Stop,
    List,
    Freeze,
    Thaw,
    RunCommand,
    Logs,
    Usage,
    ListeningPorts,
    Capacity,
    Reap,
}

impl Call {
    /// Which call it is.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Start(_) => Operation::Start,
            Self::Stop { .. } => Operation::Stop,
            Self::List => Operation::List,
            Self::Freeze(_) => Operation::Freeze,
            Self::Thaw(_) => Operation::Thaw,
            Self::RunCommand { .. } => Operation::RunCommand,
            Self::Logs { .. } => Operation::Logs,
            Self::Usage(_) => Operation::Usage,
            Self::ListeningPorts(_) => Operation::ListeningPorts,
            Self::Capacity => Operation::Capacity,
            Self::Reap(_) => Operation::Reap,
        }
    }

    /// The instance that it is about, of those that are about one.
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Start(request) => Some(request.instance),
            Self::Stop { instance, .. }
            | Self::Freeze(instance)
            | Self::Thaw(instance)
            | Self::RunCommand { instance, .. }
            | Self::Logs { instance, .. }
            | Self::Usage(instance)
            | Self::ListeningPorts(instance) => Some(*instance),
            Self::List | Self::Capacity | Self::Reap(_) => None,
        }
    }
}

/// What an engine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are as many as there are calls")]
pub enum Answer {
    /// To a start.
    Started(Started),
    /// To a stop.
    Stopped(Exit),
    /// To a list.
    Listed(Listing),
    /// To a command.
    Ran(CommandOutput),
    /// To a question for usage.
    Used(InstanceUsage),
    /// To a question for ports.
    Ports(Vec<u16>),
    /// To a question for capacity.
    Capacity(HostCapacity),
    /// To freeze, thaw, logs and reap: it is so.
    Done,
}

/// One delivered call, by which its answer is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}", self.0)
    }
}
