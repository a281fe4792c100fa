//! A platform in memory and in paused time, for an embedder's own tests.
//!
//! Instances are [lives](runner_core::testing::backend::Life) of an engine in memory, the journal
//! is a disk in memory, and an hour passes as soon as everybody waits. What goes wrong is scripted.
//!
//! ```
//! use runner_core::{service::Status, spec::ServiceSpec};
//! use runner_platform::testing::Memory;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (platform, driver) = Memory::new(7).platform();
//! tokio::spawn(driver.run());
//! let created = platform.create("hello", ServiceSpec::command(["./hello"])).await?;
//! created.finished().await?;
//! assert_eq!(platform.describe("hello").await?.status, Status::Running);
//! # Ok(())
//! # }
//! ```
//!
//! # How time is kept
//!
//! The platform goes by tokio's clock, and the fakes by a [`TestClock`] that follows it: the two
//! never differ where anybody looks.

#[cfg(all(feature = "journal", target_os = "linux"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "journal", target_os = "linux"))))]
pub mod certificate;

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use runner_core::{
    BoxFuture,
    address::Address,
    id::{InstanceId, PlatformId},
    spec::Health,
    testing::{
        backend::{Engine, Reply, SharedEngine},
        clock::{Pacer, TestClock},
        journal::{Crash, MemoryStorage},
    },
    time::Timestamp,
};
use runner_health::{
    Plan,
    probe::{Probe, Seen, Target, from_fn},
};
use runner_proxy::{exchange::ClientConnection, forward::Memory as Requests};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{DataPath, Driver, Platform, PlatformBuilder, Reach};

/// What outlives a platform: the engine, the disk and the time. See the [module page](self).
#[derive(Clone, Debug)]
pub struct Memory {
    seed: u64,
    clock: TestClock,
    engine: SharedEngine,
    storage: MemoryStorage,
    requests: Requests,
    /// By which instances call others, once there is one.
    inner: Arc<watch::Sender<Option<DataPath>>>,
    lives: Arc<std::sync::atomic::AtomicU64>,
}

impl Memory {
    /// A world in which nothing goes wrong. The seed decides every id.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(seed: u64) -> Self {
        Self::with_engine(seed, Engine::new())
    }

    /// A world with this engine.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn with_engine(seed: u64, engine: Engine) -> Self {
        let clock = TestClock::following(Tokio { start: Instant::now() });
        let platform = PlatformId::from_random(u128::from(seed) << 64 | 1);
        Self {
            seed,
            engine: SharedEngine::new(&clock, engine),
            storage: MemoryStorage::new(&clock, platform),
            clock,
            requests: Requests::new(),
            inner: Arc::default(),
            lives: Arc::default(),
        }
    }

    /// A platform in it. After the one before was dropped, or crashed, this is its return.
    ///
    /// # Panics
    ///
    /// While another one runs on the same disk.
    pub fn platform(&self) -> (Platform, Driver) {
        self.builder().build().expect("the one before has ended")
    }

    /// The same, for a test that says more.
    ///
    /// # Panics
    ///
    /// While another one runs on the same disk.
    pub fn builder(&self) -> PlatformBuilder {
        self.builder_at(self.now())
    }

    /// The same on a host whose clock says another time, since somebody set it.
    ///
    /// # Panics
    ///
    /// While another one runs on the same disk.
    pub fn builder_at(&self, wall: Timestamp) -> PlatformBuilder {
        let life = self.lives.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let journal = self.storage.open(format!("life {life}")).expect("the one before has ended");
        let (requests, engine) = (self.requests.clone(), self.engine.clone());
        let inner = Arc::clone(&self.inner);
        let backend = self.engine.open().on_start(move |instance, address| {
            if let Address::Memory(name) = address {
                let (address, engine) = (address.clone(), engine.clone());
                let inner = Arc::clone(&inner);
                requests.serve(name, Answering { instance, address, engine, inner });
            }
        });
        let engine = self.engine.clone();
        let listens = move |address: &Address| {
            // A look and no request: some lives end with their n-th.
            let Address::Memory(name) = address else { return false };
            // Addresses in memory end in what their instances are called.
            let instance = name.rsplit('/').next().and_then(|name| name.parse().ok());
            engine.with(|engine, _| {
                engine.views().any(|view| {
                    Some(view.instance) == instance && view.is_living() && view.is_listening()
                })
            })
        };
        let probe = Arc::new(self.probe());
        Platform::builder()
            .backend(backend)
            .journal_in(journal)
            .probes(move |health, _| Ok(plan(health, &probe)))
            .reach(Reach::memory(self.requests.clone(), listens))
            .seeded(self.seed ^ (life << 32), wall)
            .boot("the only one")
    }

    /// Instances call others through this, when a request asks them to by [`CALLS`]: what
    /// [`Platform::inner_service`] gives.
    pub fn call_by(&self, inner: DataPath) {
        self.inner.send_replace(Some(inner));
    }

    /// The engine: to look at, to change, to break.
    pub fn engine(&self) -> &SharedEngine {
        &self.engine
    }

    /// The disk: to fill, to break.
    pub fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The power goes. Drop the driver before: its journal is dead.
    pub fn crash(&self, crash: Crash) {
        self.storage.crash(crash);
    }

    /// Asks an instance, as a request or a probe would.
    pub fn ask(&self, address: &Address) -> Reply {
        self.engine.ask(address)
    }

    fn probe(&self) -> impl Probe {
        let engine = self.engine.clone();
        from_fn(move |target: Target| {
            let reply = engine.ask(&target.address);
            async move {
                match reply {
                    Reply::Well => Seen::good("it answers"),
                    Reply::Badly => Seen::bad("it answers badly"),
                    Reply::Refused => Seen::Refused,
                    Reply::Silence => std::future::pending().await,
                }
            }
        })
    }
}

/// The engine is asked, whatever the specification would ask, as often as it says.
fn plan<P: Probe>(health: &Health, probe: &Arc<P>) -> Plan {
    let mut plan = Plan::new((&health.readiness).into(), Arc::clone(probe))
        .start_allowance(health.start_allowance);
    if let Some(startup) = &health.startup {
        plan = plan.startup(startup.into(), Arc::clone(probe));
    }
    if let Some(liveness) = &health.liveness {
        plan = plan.liveness(liveness.into(), Arc::clone(probe));
    }
    plan
}

/// Tokio's time, which the fakes go by.
struct Tokio {
    start: Instant,
}

impl Pacer for Tokio {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn reaches(&self, elapsed: Duration) -> BoxFuture<'static, ()> {
        // Tokio's timers count milliseconds: a little later is due as well, a little earlier not.
        Box::pin(sleep_until(self.start + elapsed))
    }
}

/// What an instance answers to requests: its id, once it has read all of it and after as many
/// milliseconds as the field [`TAKES`] says. Where its life answers badly, 500. By [`CALLS`] it
/// calls others first, and adds what they answered.
#[derive(Clone)]
struct Answering {
    instance: InstanceId,
    address: Address,
    engine: SharedEngine,
    inner: Arc<watch::Sender<Option<DataPath>>>,
}

impl Answering {
    /// Asks the first service that is named, which asks the others, and passes on what belongs to
    /// the whole chain. Its words are its status and body.
    async fn call(&self, named: &str, came_with: &HeaderMap) -> String {
        let (first, rest) = named.split_once(',').unwrap_or((named, ""));
        let Some(inner) = self.inner.borrow().clone() else {
            return "there is no inner door".to_owned();
        };
        let mut request = Request::get("/").header(header::HOST, first);
        if !rest.is_empty() {
            request = request.header(CALLS, rest);
        }
        for (name, value) in came_with.iter().filter(|(name, _)| PASSED_ON.contains(&name.as_str()))
        {
            request = request.header(name, value);
        }
        // An instance of this machine, as a front door would see it.
        let peer = Some((std::net::Ipv4Addr::LOCALHOST, 1).into());
        let request = request.extension(ClientConnection { peer, secure: false });
        let Ok(request) = request.body(Full::<Bytes>::default()) else {
            return format!("`{first}` cannot be called");
        };
        // Boxed: what is called may call.
        let mut inner = inner;
        let called = tower_service::Service::call(&mut inner, request);
        let called: BoxFuture<'static, _> = Box::pin(called);
        let Ok(response) = called.await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map(|body| body.to_bytes());
        let body = body.as_deref().map_or_else(|_| "broken off".into(), String::from_utf8_lossy);
        format!("{status} {body}")
    }
}

impl<B: Body + Send + 'static> tower_service::Service<Request<B>> for Answering
where
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (this, head) = (self.clone(), request.headers().clone());
        let takes =
            request.headers().get(TAKES).and_then(|takes| takes.to_str().ok()?.parse().ok());
        let saw_trace = request.headers().contains_key("traceparent");
        let field = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
        let calls = field(CALLS).map(str::to_owned);
        let saw: Vec<_> = field(ECHOES).into_iter().flat_map(|names| names.split(',')).collect();
        let saw: Vec<_> =
            saw.into_iter().map(|name| field(name).unwrap_or("-").to_owned()).collect();
        Box::pin(async move {
            // As an application that needs all of it.
            let _ = request.into_body().collect().await;
            if let Some(takes) = takes {
                sleep_until(Instant::now() + Duration::from_millis(takes)).await;
            }
            let mut text = this.instance.to_string();
            for value in saw {
                text = format!("{text} [{value}]");
            }
            if let Some(named) = calls {
                text = format!("{text} > {}", this.call(&named, &head).await);
            }
            let mut response = Response::new(Full::from(text));
            if saw_trace {
                response.headers_mut().insert(SAW_TRACE, HeaderValue::from_static("yes"));
            }
            if this.engine.ask(&this.address) != Reply::Well {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            Ok(response)
        })
    }
}

/// How many milliseconds an instance in memory takes over a request that has this field.
pub const TAKES: &str = "x-takes-ms";

/// The field of an answer of an instance in memory that was told which trace a request is of.
pub const SAW_TRACE: &str = "x-saw-trace";

/// The field of a request in which services are named, such as `shop,stock`, that an instance in
/// memory calls before it answers: the first by itself, the next by that one, and so on. They are
/// called by [`Memory::call_by`], and told what the whole chain is told: name, trace and hops.
pub const CALLS: &str = "x-calls";

/// The field of a request in which fields are named whose values an instance in memory answers
/// with, each in brackets.
pub const ECHOES: &str = "x-echoes";

/// What an application passes on of a request that it answers by asking others.
const PASSED_ON: [&str; 6] =
    ["x-request-id", "traceparent", "tracestate", "x-runner-hops", ECHOES, TAKES];
