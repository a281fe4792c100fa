//! What a platform is made from.

#[cfg(all(feature = "process", target_os = "linux"))]
mod processes;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use runner_core::{
    BoxFuture, Error as CoreError,
    backend::{ContainerBackend, Fence},
    error::ErrorKind,
    id::ServiceName,
    journal::Journal,
    secret::{EnvironmentSecrets, ResolvedSecret, SecretProvider},
    source::{CommandsOnly, SourceResolver},
    spec::{Health, SecretReference, ServiceSettings},
    time::Timestamp,
};
use runner_health::{Plan, Surroundings};
use runner_proxy::{forward::Trust, front_door::Listener};
use runner_scaler::{Policy, Reading};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    Driver, Error, Platform,
    clock::Clock,
    driver::Entrance,
    path::{InnerDoor, Paths, Reach},
    policy::default_policy,
    random::Ids,
    shared::{NumbersFn, PlanFn, PolicyFn, Shared},
    volatile::VolatileJournal,
};

/// What a platform is made from; [`build`](Self::build) makes it.
///
/// | part | default |
/// |---|---|
/// | backend | processes of this machine, known by files beside the journal (`process`, Linux) |
/// | journal | in memory: nothing survives, and instances are stopped at the end |
/// | secrets | the environment of this program |
/// | sources | commands alone |
/// | probes | what the specification says |
/// | policy | [`DefaultPolicy`](runner_scaler::DefaultPolicy), and `scaling.target_utilisation` held |
/// | numbers | none |
#[must_use = "nothing is made until `build` is called"]
pub struct PlatformBuilder {
    backend: Option<Arc<dyn ContainerBackend>>,
    journal: Keep,
    secrets: Arc<dyn SecretProvider>,
    stores: BTreeMap<String, Arc<dyn SecretProvider>>,
    sources: Arc<dyn SourceResolver>,
    plans: Box<PlanFn>,
    policies: Box<PolicyFn>,
    numbers: Box<NumbersFn>,
    reach: Reach,
    trust: Trust,
    base: String,
    addresses: Vec<String>,
    entrances: Vec<Entrance>,
    inner: Option<InnerDoor>,
    seed: Option<u64>,
    clock: Box<ClockFn>,
    boot: Option<String>,
    processors: Option<usize>,
}

/// The clock of a platform whose journal has this as its newest time.
type ClockFn = dyn Fn(Timestamp) -> Clock + Send + Sync;

enum Keep {
    InMemory,
    #[cfg_attr(not(feature = "journal"), expect(dead_code, reason = "made by that feature"))]
    At(PathBuf),
    Own(Arc<dyn Journal>),
}

impl PlatformBuilder {
    pub(crate) fn new() -> Self {
        Self {
            backend: None,
            journal: Keep::InMemory,
            secrets: Arc::new(EnvironmentSecrets::default()),
            stores: BTreeMap::new(),
            sources: Arc::new(CommandsOnly),
            plans: Box::new(Plan::of_spec),
            policies: Box::new(default_policy),
            numbers: Box::new(|_, _| Vec::new()),
            reach: Reach::default(),
            trust: Trust::nobody(),
            base: "localhost".to_owned(),
            addresses: Vec::new(),
            entrances: Vec::new(),
            inner: None,
            seed: None,
            clock: Box::new(Clock::start),
            boot: None,
            processors: None,
        }
    }

    /// What runs instances.
    pub fn backend(mut self, backend: impl ContainerBackend) -> Self {
        self.backend = Some(Arc::new(backend));
        self
    }

    /// Where state is kept: one file, made where there is none.
    ///
    /// Without a [backend](Self::backend) of one's own, what instances are known by lies beside it,
    /// in a directory of the file's name and `.instances`: the next program finds them by it. So
    /// the two are moved together, and only while nothing runs.
    #[cfg(feature = "journal")]
    #[cfg_attr(docsrs, doc(cfg(feature = "journal")))]
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Keep::At(path.into());
        self
    }

    /// A journal of one's own, held to be durable. It comes with a [backend](Self::backend) that
    /// finds its instances again: of this one nobody knows where it lies.
    pub fn journal_in(mut self, journal: impl Journal) -> Self {
        self.journal = Keep::Own(Arc::new(journal));
        self
    }

    /// Where secrets are found whose reference names no store.
    pub fn secrets(mut self, secrets: impl SecretProvider) -> Self {
        self.secrets = Arc::new(secrets);
        self
    }

    /// Where secrets are found whose reference names this store.
    pub fn secret_store(mut self, name: impl Into<String>, secrets: impl SecretProvider) -> Self {
        self.stores.insert(name.into(), Arc::new(secrets));
        self
    }

    /// What finds images and builds code.
    pub fn sources(mut self, sources: impl SourceResolver) -> Self {
        self.sources = Arc::new(sources);
        self
    }

    /// What instances are asked, in the place of what specifications say.
    pub fn probes(
        mut self,
        plans: impl Fn(&Health, &Surroundings) -> Result<Plan, runner_health::Error>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.plans = Box::new(plans);
        self
    }

    /// How many instances there should be, by a policy of one's own for each service. Its bounds
    /// stay those of the service's settings. While a service has no requests it is asked again
    /// only when its last wish ends, or something changes.
    pub fn policy<P: Policy + Send + 'static>(
        mut self,
        policy: impl Fn(&ServiceSettings) -> P + Send + Sync + 'static,
    ) -> Self {
        self.policies = Box::new(move |settings| Box::new(policy(settings)));
        self
    }

    /// Numbers that only this program knows, such as jobs in a queue, for policies that go by them
    /// ([`Signal::Named`](runner_scaler::Signal::Named)).
    ///
    /// It is asked for a service before its policy is, with the time that it is: while there are
    /// requests each second, and of a service at rest every few seconds as long as it has numbers
    /// to tell. So it has to answer at once, with what it knows: each number says when it was
    /// taken, and what becomes of an old one is the policy's
    /// ([`TargetTracking::when_stale`](runner_scaler::TargetTracking::when_stale)).
    ///
    /// ```
    /// use runner_platform::Platform;
    /// use runner_scaler::{Reading, Signal, Steps};
    ///
    /// let jobs = Signal::Named("jobs".into());
    /// let steps = Steps::new(jobs, [(1.0, 1), (20.0, 2), (100.0, 5)])?;
    /// let builder = Platform::builder().policy(move |_| steps.clone()).numbers(|service, now| {
    ///     let waiting = if service.as_str() == "worker" { 35.0 } else { 0.0 };
    ///     vec![Reading { name: "jobs".into(), value: waiting, at: now }]
    /// });
    /// # drop(builder);
    /// # Ok::<(), runner_scaler::InvalidPolicy>(())
    /// ```
    pub fn numbers(
        mut self,
        numbers: impl Fn(&ServiceName, Timestamp) -> Vec<Reading> + Send + Sync + 'static,
    ) -> Self {
        self.numbers = Box::new(numbers);
        self
    }

    /// How many instances start at once after the host has booted. Default: one for each
    /// processor.
    pub fn starts_after_boot(mut self, starts: usize) -> Self {
        self.processors = Some(starts.max(1));
        self
    }

    /// Serves clients at this address, such as `127.0.0.1:8080`; port 0 takes a free one, see
    /// [`Platform::addresses`]. It may be called for several.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Serves clients that come by this: an inherited socket, one with TLS before it.
    pub fn listen_by(mut self, listener: impl Listener) -> Self {
        self.entrances.push(Box::new(move |door| Ok(door.listen(listener))));
        self
    }

    /// Lets services reach each other by name, those that are not published included, and tells
    /// their instances where. Default: there is no such door.
    ///
    /// `inner_door(InnerDoor::new())` listens on the loopback alone; what that is not, its
    /// [page](InnerDoor) says.
    pub fn inner_door(mut self, door: InnerDoor) -> Self {
        self.inner = Some(door);
        self
    }

    /// Whose word is taken for where a request came from, what it is called and of which trace it
    /// is. Default: nobody's, so that a service never reads what a stranger wrote there.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Below which domain each service has a host of its own, by its name. Default: `localhost`, so
    /// that `hello.localhost` leads to `hello` on this machine.
    pub fn base_domain(mut self, base: impl Into<String>) -> Self {
        self.base = base.into();
        self
    }

    #[cfg(feature = "testing")]
    pub(crate) fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// Ids from a seed and time from a date, so that a simulation is the same each time.
    #[cfg(feature = "testing")]
    pub(crate) fn seeded(mut self, seed: u64, starts_at: Timestamp) -> Self {
        self.seed = Some(seed);
        self.clock = Box::new(move |newest| Clock::simulated(starts_at.max(newest)));
        self
    }

    /// Its clock begins at this time, as if somebody had set the host's.
    #[cfg(all(feature = "testing", feature = "journal", target_os = "linux"))]
    pub(crate) fn starts_at(mut self, at: Timestamp) -> Self {
        self.clock = Box::new(move |newest| Clock::starting_at(at.max(newest)));
        self
    }

    /// In which boot of the host it runs, where that is not the real one.
    #[cfg(feature = "testing")]
    #[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
    pub fn boot(mut self, boot: impl Into<String>) -> Self {
        self.boot = Some(boot.into());
        self
    }

    /// Makes the platform and its driver. Opens the journal, which blocks for as long as the disk
    /// takes, and begins nothing.
    ///
    /// # Errors
    ///
    /// When there is no backend, or the journal cannot be opened: somebody else has it, it was
    /// written by a newer program, or the disk is not well.
    pub fn build(self) -> Result<(Platform, Driver), Error> {
        let (mut entrances, mut addresses) = (self.entrances, Vec::new());
        for address in &self.addresses {
            let (listener, bound) = bind(address)?;
            addresses.push(bound);
            entrances.push(Box::new(move |door| Ok(door.listen(TcpListener::from_std(listener)?))));
        }
        let (names, inner_entrances) = self.inner.map(InnerDoor::open).transpose()?.unzip();
        let ids = self.seed.map_or(Ids::Random, |seed| Ids::Seeded(seed.into()));
        // The journal first: whoever has it open has the instances beside it too.
        let kept = match &self.journal {
            Keep::InMemory => None,
            Keep::Own(journal) => Some(Arc::clone(journal)),
            Keep::At(path) => Some(open(path)?),
        };
        let (backend, scratch) = match self.backend {
            Some(backend) => (backend, None),
            None => processes::of(&self.journal)?,
        };
        let is_durable = kept.is_some();
        let journal = kept.unwrap_or_else(|| Arc::new(VolatileJournal::new(ids.next(), scratch)));
        let opened = journal.opened();
        let fence = Fence { platform: opened.platform, epoch: opened.epoch };
        let clock = (self.clock)(opened.newest);
        let secrets = Stores { usual: self.secrets, named: self.stores };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (requests, requested) = mpsc::channel(REQUESTS);
        let (lists, asked) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(
            (backend, fence),
            (journal, is_durable),
            clock,
            (Arc::new(secrets), self.sources),
            (self.plans, self.policies, self.numbers),
            (ids, Paths::new(self.reach, self.trust, self.base, names)),
            (self.boot.or_else(boot_id), self.processors.unwrap_or(processors)),
            requests,
            lists,
        ));
        let mut driver = Driver::new(Arc::clone(&shared), requested, asked, entrances);
        driver.inner.enter_by(inner_entrances.unwrap_or_default());
        Ok((Platform::new(shared, addresses), driver))
    }
}

impl std::fmt::Debug for PlatformBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlatformBuilder").finish_non_exhaustive()
    }
}

/// Takes an address at once, so that a port that is busy is said before anything begins.
pub(crate) fn bind(address: &str) -> Result<(std::net::TcpListener, SocketAddr), Error> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::AddrInUse => ErrorKind::Conflict,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            std::io::ErrorKind::InvalidInput => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        let message = format!("cannot listen on {address}; choose another address or port");
        CoreError::new(kind, message).caused_by(error).into()
    })
}

/// Each secret from the store that its reference names.
struct Stores {
    usual: Arc<dyn SecretProvider>,
    named: BTreeMap<String, Arc<dyn SecretProvider>>,
}

impl SecretProvider for Stores {
    fn resolve<'a>(
        &'a self,
        reference: &'a SecretReference,
    ) -> BoxFuture<'a, Result<ResolvedSecret, CoreError>> {
        let store = match &reference.provider {
            None => Some(&self.usual),
            Some(name) => self.named.get(name),
        };
        match store {
            Some(store) => store.resolve(reference),
            None => {
                let (name, store) = (&reference.name, reference.provider.as_deref().unwrap_or(""));
                let message = format!(
                    "secret `{name}` is of the store `{store}`, which this platform has not"
                );
                Box::pin(std::future::ready(Err(CoreError::not_found(message))))
            }
        }
    }
}

#[cfg(feature = "journal")]
fn open(path: &Path) -> Result<Arc<dyn Journal>, Error> {
    Ok(Arc::new(crate::journal::DiskJournal::open(path)?))
}

#[cfg(not(feature = "journal"))]
fn open(path: &Path) -> Result<Arc<dyn Journal>, Error> {
    let message = format!("this build keeps nothing at {}; enable `journal`", path.display());
    Err(CoreError::unsupported(message).into())
}

#[cfg(not(all(feature = "process", target_os = "linux")))]
mod processes {
    use super::{Arc, ContainerBackend, CoreError, Error, Keep};
    use crate::volatile::GoesWithIt;

    type Made = (Arc<dyn ContainerBackend>, Option<GoesWithIt>);

    pub(super) fn of(_: &Keep) -> Result<Made, Error> {
        let message = "there is nothing that runs instances; give the platform a backend";
        Err(CoreError::invalid(message).into())
    }
}

/// The boot that this program runs in, where the system tells.
fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// As many handles as wait for the driver before they wait for room.
const REQUESTS: usize = 64;
