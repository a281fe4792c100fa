//! What handles, the driver and the tasks of services have in common.

use std::{
    collections::BTreeMap,
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
use runner_scaler::Policy;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};

use crate::{
    clock::Clock,
    events::Happening,
    message::{Message, Request},
    operation::Followed,
    path::{Paths, Way},
    random::Ids,
};

/// What of a service's specification is asked of its instances, and with what.
pub(crate) type PlanFn =
    dyn Fn(&Health, &Surroundings) -> Result<Plan, runner_health::Error> + Send + Sync;

/// The policy of a service, by its settings.
pub(crate) type PolicyFn = dyn Fn(&ServiceSettings) -> Box<dyn Policy + Send> + Send + Sync;

/// What a list found, by service.
pub(crate) type Sighted = BTreeMap<ServiceId, BTreeMap<InstanceId, Found>>;

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
    pub(crate) ids: Ids,
    pub(crate) paths: Paths,
    /// The boot of this host, where it can be told.
    pub(crate) boot: Option<String>,
    pub(crate) processors: usize,
    pub(crate) events: broadcast::Sender<Happening>,
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
    pub(crate) foreign: Vec<ForeignInstance>,
    /// Set while the host has just booted: so many starts at once.
    pub(crate) start_budget: Option<Arc<Semaphore>>,
}

impl Registry {
    pub(crate) fn enter(&mut self, name: &ServiceName, entry: Entry) {
        self.labels.insert(name.host_label(), name.clone());
        self.services.insert(name.clone(), entry);
    }

    pub(crate) fn leave(&mut self, name: &ServiceName) {
        self.labels.remove(&name.host_label());
        self.services.remove(name);
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
    pub(crate) way: Way,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "a plain list of parts, called once")]
    pub(crate) fn new(
        (backend, fence): (Arc<dyn ContainerBackend>, Fence),
        (journal, is_durable): (Arc<dyn Journal>, bool),
        clock: Clock,
        (secrets, sources): (Arc<dyn SecretProvider>, Arc<dyn SourceResolver>),
        (plans, policies): (Box<PlanFn>, Box<PolicyFn>),
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
            ids,
            paths,
            boot,
            processors,
            events: broadcast::Sender::new(EVENTS),
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
