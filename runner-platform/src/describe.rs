//! What a service is and how it does, for people and programs.

use std::sync::Arc;

use runner_core::{
    address::Address,
    deployment::{Cause, Phase, Stage, Wait},
    id::{InstanceId, OperationId, RevisionNumber, ServiceId, ServiceName},
    journal::HistoryEntry,
    service::{Dump, Kind, Status},
    spec::ServiceSpec,
    time::Timestamp,
};
use serde::Serialize;

use crate::OperationSummary;

/// A service at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// What it is called.
    pub name: ServiceName,
    /// Which one, also after another has its name.
    pub id: ServiceId,
    /// When it was created.
    pub created: Timestamp,
    /// App Runner's state.
    pub status: Status,
    /// What is specified now; what serves may be older.
    pub spec: ServiceSpec,
    /// The operation under way.
    pub operation: Option<(OperationId, Kind)>,
    /// The newest operations, the oldest first.
    pub operations: Vec<OperationSummary>,
    /// The revision that serves.
    pub live: Option<RevisionNumber>,
    /// The revision that is to serve.
    pub green: Option<RevisionNumber>,
    /// The revisions that are kept.
    pub revisions: Vec<RevisionNumber>,
    /// Where the deployment stands.
    pub stage: Option<Stage>,
    /// How many instances are wanted.
    pub desired: u32,
    /// Every instance there is.
    pub instances: Vec<InstanceSummary>,
    /// Requests that hold a slot now.
    pub in_flight: u64,
    /// Requests that wait for one now.
    pub waiting: u32,
    /// What is waited for.
    pub waits: Vec<Wait>,
    /// Why it failed, the last time it did.
    pub trouble: Option<Arc<Cause>>,
    /// Why there are as many instances wanted as there are, in the words of the policy.
    pub decision: Option<String>,
    /// Why the backend cannot say what is there, since it last could: until then what is known of
    /// instances may be old.
    pub list_trouble: Option<String>,
    /// Which of its routes lead to somebody else, who was faster: it has them when they are given
    /// back.
    pub unrouted: Vec<String>,
    /// Whether its state cannot be stored now. It is tried again by itself; commands are refused
    /// with the reason.
    pub storing_fails: bool,
}

/// An instance at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InstanceSummary {
    /// Which one.
    pub id: InstanceId,
    /// What it was made from.
    pub revision: RevisionNumber,
    /// Where in its life it is.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// Where it takes requests.
    pub address: Option<Address>,
    /// How many requests it has.
    pub leases: u32,
}

/// Everything about an operation.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct OperationDump {
    /// What it is, when it was accepted, and when and how it ended.
    pub operation: OperationSummary,
    /// What happened to the service while it was under way, in the order of time, as far as the
    /// history reaches back.
    pub history: Vec<HistoryEntry>,
    /// What is specified now.
    pub spec: ServiceSpec,
    /// The service as it is now: its stages with their times, every instance, what is waited for.
    pub service: Dump,
}

impl Description {
    /// How many instances may be given requests.
    pub fn ready(&self) -> usize {
        self.instances.iter().filter(|one| one.phase == Phase::Ready).count()
    }
}
