//! What handles, the driver and the tasks of services have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, PoisonError},
};

use runner_core::{
    Error,
    backend::{Capabilities, ContainerBackend, Fence, ForeignInstance},
    deployment::Found,
    id::{InstanceId, OperationId, ServiceId, ServiceName},
    journal::Journal,
    secret::SecretProvider,
    source::SourceResolver,
    spec::{Health, ServiceSettings},
    time::Timestamp,
};
use runner_health::{Plan, Surroundings};
use runner_scaler::{Policy, Reading};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};

use crate::{
    clock::Clock,
    events::Happening,
    message::{Birth, Message, Request},
    operation::Followed,
    path::{Paths, Way},
    random::Ids,
};

/// What of a service's specification is asked of its instances, and with what.
pub(crate) type PlanFn =
    dyn Fn(&Health, &Surroundings) -> Result<Plan, runner_health::Error> + Send + Sync;

/// The policy of a service, by its settings.
pub(crate) type PolicyFn = dyn Fn(&ServiceSettings) -> Box<dyn Policy + Send> + Send + Sync;

/// Numbers of a service that only the embedding program knows, at this time.
pub(crate) type NumbersFn = dyn Fn(&ServiceName, Timestamp) -> Vec<Reading> + Send + Sync;

/// What a list found, in the order of the instances. The newest is kept for those who ask, so it is
/// no larger than it has to be.
#[derive(Default)]
pub(crate) struct Sighted(Box<[(InstanceId, Found)]>);

impl Sighted {
    pub(crate) fn new(mut found: Vec<(InstanceId, Found)>) -> Self {
        found.sort_unstable_by_key(|(id, _)| *id);
        Self(found.into())
    }

    /// What is there of a service.
    pub(crate) fn of(&self, service: ServiceId) -> &[(InstanceId, Found)] {
        let from = self.0.partition_point(|(id, _)| id.service < service);
        let of_it = self.0[from..].partition_point(|(id, _)| id.service == service);
        &self.0[from..from + of_it]
    }
}

/// Somebody who needs a list, of a call that began at this time or later.
pub(crate) struct ListAsk {
    pub(crate) since: Timestamp,
    pub(crate) answer: oneshot::Sender<Result<Arc<Sighted>, Error>>,
}

pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn ContainerBackend>,
    pub(crate) capabilities: Capabilities,
    pub(crate) fence: Fence,
    pub(crate) journal: Arc<dyn Journal>,
    /// Whether what is committed survives this program.
    pub(crate) is_durable: bool,
    pub(crate) clock: Clock,
    pub(crate) secrets: Arc<dyn SecretProvider>,
    pub(crate) sources: Arc<dyn SourceResolver>,
    pub(crate) plans: Box<PlanFn>,
    pub(crate) policies: Box<PolicyFn>,
    pub(crate) numbers: Box<NumbersFn>,
    pub(crate) ids: Ids,
    pub(crate) paths: Paths,
    /// The boot of this host, where it can be told.
    pub(crate) boot: Option<String>,
    pub(crate) processors: usize,
    pub(crate) events: broadcast::Sender<Happening>,
    /// Instances that come, for those who follow what they write.
    pub(crate) births: broadcast::Sender<Birth>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) lists: mpsc::UnboundedSender<ListAsk>,
    pub(crate) stage: watch::Sender<Stage>,
    #[expect(clippy::disallowed_types, reason = "guards names and operations for one look")]
    registry: std::sync::Mutex<Registry>,
}

/// Where the driver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It has not read the journal yet.
    Recovering,
    Running,
    /// It takes no more commands.
    Stopping,
    Ended,
}

#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) services: BTreeMap<ServiceName, Entry>,
    /// Who has which label in host names.
    labels: BTreeMap<String, ServiceName>,
    pub(crate) operations: Followed,
    /// Services of whose routes somebody else has some: they try again when routes change.
    pub(crate) unrouted: BTreeSet<ServiceName>,
    pub(crate) foreign: Vec<ForeignInstance>,
    /// Set while the host has just booted: so many starts at once.
    pub(crate) start_budget: Option<Arc<Semaphore>>,
}

impl Registry {
    pub(crate) fn enter(&mut self, name: &ServiceName, entry: Entry) {
        self.labels.insert(name.host_label(), name.clone());
        self.services.insert(name.clone(), entry);
    }

    pub(crate) fn leave(&mut self, name: &ServiceName) -> Option<Entry> {
        self.labels.remove(&name.host_label());
        self.unrouted.remove(name);
        self.services.remove(name)
    }

    /// Nobody reaches it any more, and its name stays taken.
    pub(crate) fn close(&mut self, name: &ServiceName) {
        self.services.remove(name);
    }

    /// Who has this name, or one that a host name would not tell from it.
    pub(crate) fn taken(&self, name: &ServiceName) -> Option<&ServiceName> {
        self.labels.get(&name.host_label())
    }
}

/// A service, as others reach it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) id: ServiceId,
    pub(crate) inbox: mpsc::Sender<Message>,
    /// Whose turn it is to change what is specified: a change is made of what was before.
    #[expect(clippy::disallowed_types, reason = "it is a queue of callers, and meant to be one")]
    pub(crate) turns: Arc<tokio::sync::Mutex<()>>,
    pub(crate) way: Way,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "a plain list of parts, called once")]
    pub(crate) fn new(
        (backend, fence): (Arc<dyn ContainerBackend>, Fence),
        (journal, is_durable): (Arc<dyn Journal>, bool),
        clock: Clock,
        (secrets, sources): (Arc<dyn SecretProvider>, Arc<dyn SourceResolver>),
        (plans, policies, numbers): (Box<PlanFn>, Box<PolicyFn>, Box<NumbersFn>),
        (ids, paths): (Ids, Paths),
        (boot, processors): (Option<String>, usize),
        requests: mpsc::Sender<Request>,
        lists: mpsc::UnboundedSender<ListAsk>,
    ) -> Self {
        Self {
            capabilities: backend.capabilities(),
            backend,
            fence,
            journal,
            is_durable,
            clock,
            secrets,
            sources,
            plans,
            policies,
            numbers,
            ids,
            paths,
            boot,
            processors,
            events: broadcast::Sender::new(EVENTS),
            births: broadcast::Sender::new(BIRTHS),
            requests,
            lists,
            stage: watch::Sender::new(Stage::Recovering),
            registry: Default::default(),
        }
    }

    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut Registry) -> R) -> R {
        look(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the services of the journal are known.
    pub(crate) async fn running(&self) -> Result<(), crate::Error> {
        let mut stage = self.stage.subscribe();
        let stage = stage.wait_for(|stage| *stage > Stage::Recovering).await;
        match stage.as_deref() {
            Ok(Stage::Running) => Ok(()),
            _ => Err(crate::Error::Stopped),
        }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<(ServiceName, Entry)> {
        let name: ServiceName = name.parse().ok()?;
        self.with(|registry| {
            let entry = registry.services.get(&name)?.clone();
            Some((name, entry))
        })
    }

    /// Routes have changed: those who lack one look whether it is free.
    pub(crate) fn rerouted(&self, by: &ServiceName) {
        self.with(|registry| {
            for name in registry.unrouted.iter().filter(|name| *name != by) {
                if let Some(entry) = registry.services.get(name) {
                    entry.way.book.nudge.reroute();
                }
            }
        });
    }

    pub(crate) fn operation_id(&self) -> OperationId {
        OperationId::from_random(self.ids.next())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = *self.stage.borrow();
        f.debug_struct("Shared")
            .field("fence", &self.fence)
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}

/// Those who watch and fall further behind than this miss some, and are told how many.
const EVENTS: usize = 1_024;
/// Those who follow what is written and fall further behind than this look at a list.
const BIRTHS: usize = 256;

#[cfg(test)]
mod tests {
    use runner_core::backend::Condition;

    use super::*;

    #[test]
    fn of_a_list_each_service_has_its_own_instances_in_their_order() {
        let service = ServiceId::from_random;
        let found = || Found { condition: Condition::Running, address: None };
        let ids = [(2, 9), (1, 1), (4, 3), (2, 1), (2, 5)];
        let ids = ids.map(|(of, number)| service(of).instance(number));
        let sighted = Sighted::new(ids.map(|id| (id, found())).to_vec());
        let numbers = |of| -> Vec<_> {
            sighted.of(service(of)).iter().map(|(id, _)| (id.service, id.number)).collect()
        };
        assert_eq!(numbers(2), [1, 5, 9].map(|number| (service(2), number)));
        assert_eq!(numbers(1), [(service(1), 1)]);
        assert_eq!(numbers(4), [(service(4), 3)]);
        // Before all, between two, and behind all.
        assert!([0, 3, 5].into_iter().all(|of| numbers(of).is_empty()));
    }
}
