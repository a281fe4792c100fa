//! Calls to the outside, each in a task of its own, each answered once and in its time.

use std::{sync::Arc, time::Duration};

use runner_core::{
    address::Address,
    backend::{Limits, PortRequest, StartRequest},
    deployment::{self, Cause, CauseCode, Evidence, Phase, ProbeSight},
    id::{InstanceId, RevisionNumber},
    service,
    source::ResolvedSource,
    spec::{RevisionSpec, Source},
    time::Timestamp,
};
use runner_health::{probe::Seen, verdict::Verdict};
use tokio::{
    sync::{OwnedSemaphorePermit, TryAcquireError},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Actor, answer::Answer};
use crate::{InnerDoor, message::Birth, shared::ListAsk, within::answer_within};

impl Actor {
    pub(super) fn answered(&mut self, answer: Answer) {
        if !answer.is_list() {
            self.touched = self.shared.clock.now();
        }
        match answer {
            Answer::Event(event) => {
                use deployment::Event::{Frozen, Listed};
                match &event {
                    service::Event::Fleet(Listed { .. }) => self.list_trouble = None,
                    service::Event::Fleet(Frozen(instance)) => self.look.froze(*instance),
                    _ => {}
                }
                let froze = matches!(event, service::Event::Fleet(Frozen(_)));
                self.tell_machine(event);
                // Who began to wait while it was being frozen said so when nothing slept yet, and
                // does not say it twice.
                if froze && self.way.pool.counters().waiting > 0 {
                    self.tell_machine(deployment::Event::Demand);
                }
            }
            Answer::ListFailed(asked, error) => {
                // Said once, until it is another: it is asked again by itself.
                let message = format!("The backend cannot say what is there: {error}");
                if self.list_trouble.as_ref() != Some(&message) {
                    self.say("ListFailed", message.clone(), self.shared.clock.now());
                    self.list_trouble = Some(message);
                }
                self.tell_machine(deployment::Event::ListFailed { asked });
            }
            Answer::FreezeFailed(instance, error) => {
                let now = self.shared.clock.now();
                if self.look.froze_not(instance, now) {
                    let message = format!("Instance {instance} cannot be frozen: {error}");
                    tracing::warn!(service = %self.name, %instance, %error, "an instance cannot be frozen");
                    self.say("FreezeFailed", message, now);
                }
                self.tell_machine(deployment::Event::FreezeFailed(instance));
            }
            Answer::Turn(instance, permit) => self.has_turn(instance, permit),
            Answer::Started { instance, started, permit } => {
                if let Some(permit) = permit {
                    self.starting.insert(instance, permit);
                }
                self.is_there(instance);
                for warning in started.warnings {
                    self.say("StartWarning", warning, self.shared.clock.now());
                }
                self.tell_machine(deployment::Event::Started(instance, started.address));
            }
            Answer::TooSlow(instance, cause) => {
                self.why.remove(&instance);
                self.tell_machine(deployment::Event::TooSlow(instance, cause));
            }
            Answer::Proven(instance) => {
                // It may have turned bad while that was found out.
                if self.monitor.verdict(instance) == Some(Verdict::Ready) {
                    self.tell_machine(deployment::Event::BecameReady(instance));
                }
            }
            Answer::Resolved(revision, resolved) => self.keep_values(revision, *resolved),
        }
    }

    pub(super) fn start(
        &mut self,
        instance: InstanceId,
        revision: RevisionNumber,
        job: bool,
        now: Timestamp,
    ) {
        let budget = self.shared.with(|registry| registry.start_budget.clone());
        let permit = match budget.as_ref().map(|budget| Arc::clone(budget).try_acquire_owned()) {
            Some(Err(TryAcquireError::NoPermits)) => None,
            // Closed when the rush is over: then nobody needs a place.
            Some(Err(TryAcquireError::Closed)) | None => Some(None),
            Some(Ok(permit)) => Some(Some(permit)),
        };
        match (permit, budget) {
            (None, Some(budget)) => {
                let turn = async move { Answer::Turn(instance, budget.acquire_owned().await.ok()) };
                let waiting = self.calls.spawn(turn);
                self.queued.insert(instance, Queued { revision, job, waiting });
            }
            (permit, _) => self.begin(instance, revision, job, permit.flatten(), now),
        }
    }

    /// A start that waited has its place: the machine hears that its time counts from now, unless
    /// it has given it up meanwhile.
    fn has_turn(&mut self, instance: InstanceId, permit: Option<OwnedSemaphorePermit>) {
        let Some(Queued { revision, job, .. }) = self.queued.remove(&instance) else { return };
        let now = self.shared.clock.now();
        self.tell_machine(deployment::Event::Begun(instance));
        // Before timers are looked at: the one of this start may have run out while it waited.
        self.hear(now);
        if matches!(self.phase(instance), Some(Phase::Starting { .. })) {
            self.begin(instance, revision, job, permit, now);
        }
    }

    /// Nobody wants it started any more.
    pub(super) fn give_up_turn(&mut self, instance: InstanceId) {
        if let Some(queued) = self.queued.remove(&instance) {
            queued.waiting.abort();
        }
    }

    fn begin(
        &mut self,
        instance: InstanceId,
        revision: RevisionNumber,
        job: bool,
        permit: Option<OwnedSemaphorePermit>,
        now: Timestamp,
    ) {
        self.look.born(instance, now);
        let request = match self.request(instance, revision, job) {
            Ok(request) => request,
            Err(cause) => {
                let event = deployment::Event::StartFailed(instance, Arc::new(cause));
                return self.tell_machine(event);
            }
        };
        let allowance = self.machine.revision(revision).map(|spec| spec.health().start_allowance);
        let limit = allowance.unwrap_or(CALL_LIMIT).max(CALL_LIMIT);
        let (backend, fence) = (Arc::clone(&self.shared.backend), self.shared.fence);
        self.call(async move {
            match answer_within(limit, || backend.start(fence, request)).await {
                Ok(started) => Answer::Started { instance, started, permit },
                Err(error) => {
                    let cause = Arc::new(Cause::from_start(&error).of(instance));
                    Answer::Event(deployment::Event::StartFailed(instance, cause).into())
                }
            }
        });
    }

    fn request(
        &self,
        instance: InstanceId,
        revision: RevisionNumber,
        job: bool,
    ) -> Result<StartRequest, Cause> {
        let missing = || {
            let what = format!("revision {revision} is not known any more");
            Cause::new(CauseCode::StartRefused).with(Evidence::Answer(what))
        };
        let spec = self.machine.revision(revision).ok_or_else(missing)?;
        let values = self.values.get(&revision);
        let pinned = self.machine.resolution(revision).map(|found| found.source.clone());
        let source = pinned.or_else(|| values.map(|values| values.source.clone()));
        let source = source.ok_or_else(missing)?;
        let mut request = StartRequest::command(instance, words(spec, &source, job));
        request.source = source;
        request.environment = spec
            .environment()
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        request.secrets = values.map(|values| values.secrets.clone()).unwrap_or_default();
        // What somebody says there themselves is theirs.
        if let Some(names) = &self.shared.paths.names
            && !request.secrets.contains_key(InnerDoor::VARIABLE)
        {
            let told = request.environment.entry(InnerDoor::VARIABLE.to_owned());
            told.or_insert_with(|| names.told.clone());
        }
        if let Some(name) =
            spec.secrets().keys().find(|name| !request.secrets.contains_key(name.as_str()))
        {
            let unknown = Evidence::Named(name.to_string());
            return Err(Cause::new(CauseCode::SecretsUnavailable).with(unknown));
        }
        let port = std::num::NonZeroU16::new(spec.port().number());
        request.port = match port {
            Some(port) if !job => PortRequest::Declared(port),
            _ => PortRequest::None,
        };
        let mut limits = Limits::default();
        limits.cpu_millis = Some(spec.instance().cpu.millis());
        limits.memory_bytes = Some(spec.instance().memory.size().bytes());
        limits.disk_bytes = Some(spec.instance().disk.bytes());
        request.limits = limits;
        request.directory = spec.instance().working_directory.as_ref().map(Into::into);
        Ok(request)
    }

    /// Tells those who read what instances write.
    pub(super) fn is_there(&self, instance: InstanceId) {
        let _ = self.shared.births.send(Birth::Born(instance));
    }

    pub(super) fn stop(&mut self, instance: InstanceId) {
        let grace = self.grace_of(instance);
        let (backend, fence) = (Arc::clone(&self.shared.backend), self.shared.fence);
        self.call(async move {
            let stop = || backend.stop(fence, instance, grace);
            Answer::Event(match answer_within(grace + CALL_LIMIT, stop).await {
                Ok(_) => deployment::Event::Stopped(instance).into(),
                Err(error) => {
                    let answer = Evidence::Answer(error.to_string());
                    let cause = Cause::new(CauseCode::StopFailed).with(answer).of(instance);
                    deployment::Event::StopFailed(instance, Arc::new(cause)).into()
                }
            })
        });
    }

    fn grace_of(&self, instance: InstanceId) -> Duration {
        let one = self.machine.instances().get(&instance);
        let spec = one.and_then(|one| self.machine.revision(one.revision));
        spec.map_or(runner_core::spec::DEFAULT_STOP_GRACE, |spec| spec.instance().stop_grace)
    }

    pub(super) fn freeze(&mut self, instance: InstanceId) {
        let (backend, fence) = (Arc::clone(&self.shared.backend), self.shared.fence);
        self.call(async move {
            let frozen = answer_within(CALL_LIMIT, || backend.freeze(fence, instance)).await;
            match frozen {
                Ok(()) => Answer::Event(deployment::Event::Frozen(instance).into()),
                Err(error) => Answer::FreezeFailed(instance, error),
            }
        });
    }

    pub(super) fn thaw(&mut self, instance: InstanceId) {
        let (backend, fence) = (Arc::clone(&self.shared.backend), self.shared.fence);
        self.call(async move {
            let thawed = answer_within(CALL_LIMIT, || backend.thaw(fence, instance)).await;
            Answer::Event(match thawed {
                Ok(()) => deployment::Event::Thawed(instance).into(),
                Err(error) => {
                    let cause = Arc::new(Cause::from_start(&error).of(instance));
                    deployment::Event::ThawFailed(instance, cause).into()
                }
            })
        });
    }

    /// A good probe says that somebody answers there, and not who: where the instance does not
    /// listen yet, or never does, a stranger may have its port. So the backend is asked, before the
    /// first request goes there, whether it is the instance's own.
    pub(super) fn became_ready(&mut self, instance: InstanceId) {
        let one = self.machine.instances().get(&instance);
        let has_served = matches!(
            one.map(|one| one.phase),
            Some(
                Phase::Ready
                    | Phase::Unwell
                    | Phase::Freezing { .. }
                    | Phase::Standby
                    | Phase::Waking { proven: true }
            )
        );
        let port = match one.and_then(|one| one.address.0.as_ref()) {
            Some(Address::Tcp(address)) => address.port(),
            _ => 0,
        };
        if has_served || port == 0 || !self.shared.capabilities.listening_ports {
            return self.tell_machine(deployment::Event::BecameReady(instance));
        }
        let shared = Arc::clone(&self.shared);
        self.call(async move {
            loop {
                let ports = || shared.backend.listening_ports(shared.fence, instance);
                match answer_within(WHY_LIMIT, ports).await {
                    Ok(ports) if ports.contains(&port) => return Answer::Proven(instance),
                    // A stranger's. The start allowance ends this, or the backend does.
                    Ok(_) => sleep_until(Instant::now() + PROVE_AGAIN).await,
                    // It is gone, and a look tells how.
                    Err(_) => return Answer::Event(deployment::Event::Changed.into()),
                }
            }
        });
    }

    /// Finds out why an instance has not become ready in its time: which ports are open, and what
    /// the last probe saw.
    pub(super) fn ask_why(&mut self, instance: InstanceId) {
        if !self.why.insert(instance) {
            return;
        }
        let one = self.machine.instances().get(&instance);
        let port = one.and_then(|one| Some(self.machine.revision(one.revision)?.port().number()));
        let wanted = match one.and_then(|one| one.address.0.clone()) {
            Some(Address::Tcp(address)) => address.port(),
            _ => port.unwrap_or_default(),
        };
        let sight = self.monitor.last_seen(instance).filter(|seen| !seen.is_good()).map(sight);
        let (shared, can) = (Arc::clone(&self.shared), self.shared.capabilities.listening_ports);
        self.call(async move {
            let ports = || shared.backend.listening_ports(shared.fence, instance);
            let listening = match can {
                true => answer_within(WHY_LIMIT, ports).await.ok(),
                false => None,
            };
            let cause = Cause::from_slow_start(wanted, listening, sight).of(instance);
            Answer::TooSlow(instance, Arc::new(cause))
        });
    }

    pub(super) fn ask_for_list(&mut self, asked: u64) {
        let (ask, answer) = tokio::sync::oneshot::channel();
        let since = self.touched.max(self.shared.clock.now() - FRESH);
        let sent = self.shared.lists.send(ListAsk { since, answer: ask });
        let service = self.machine.id();
        self.call(async move {
            let listed = match sent {
                Ok(()) => answer.await,
                // The driver ends, and this task with it.
                Err(_) => std::future::pending().await,
            };
            match listed {
                Ok(Ok(sighted)) => {
                    let found = sighted.of(service).iter().cloned().collect();
                    Answer::Event(deployment::Event::Listed { asked, found }.into())
                }
                Ok(Err(error)) => Answer::ListFailed(asked, error),
                // The driver ends, and this task with it.
                Err(_) => std::future::pending().await,
            }
        });
    }

    /// Takes no more requests, and waits for those that are under way until the platform ends: what
    /// carries them ends with it. The machine is not told, so that on record the service is what it
    /// was.
    pub(super) async fn finish_requests(&mut self, until: Timestamp) {
        let mut snapshot = self.machine.snapshot();
        for one in &mut snapshot.instances {
            one.accepting = false;
        }
        snapshot.closed = Some(runner_core::admission::Closed::Draining);
        self.way.pool.apply(snapshot);
        let deadline = self.shared.clock.instant(until);
        let instances = self.instances();
        let leases = |pool: &runner_proxy::pool::Pool| -> u32 {
            instances.iter().map(|instance| pool.leases_of(*instance)).sum()
        };
        while leases(&self.way.pool) > 0 {
            if timeout_at(deadline, self.way.pool.notice()).await.is_err() {
                break;
            }
        }
    }

    fn instances(&self) -> Vec<InstanceId> {
        self.machine.instances().keys().copied().collect()
    }

    /// Stops every instance, for a platform that ends; the machine is not told of this either.
    pub(super) async fn stop_all(&mut self, until: Timestamp) {
        let mut stops = tokio::task::JoinSet::new();
        for instance in self.instances() {
            // Past the deadline the rest is ended at once.
            let grace = self.grace_of(instance).min(until.until(self.shared.clock.now()));
            let (backend, fence) = (Arc::clone(&self.shared.backend), self.shared.fence);
            stops.spawn(async move {
                let _ = answer_within(grace + CALL_LIMIT, || backend.stop(fence, instance, grace))
                    .await;
            });
        }
        while stops.join_next().await.is_some() {}
    }

    pub(super) fn call(&mut self, call: impl Future<Output = Answer> + Send + 'static) {
        self.calls.spawn(call);
    }
}

/// A start that waits for its turn; what it is made from is looked up when it has it.
pub(super) struct Queued {
    revision: RevisionNumber,
    job: bool,
    waiting: AbortHandle,
}

fn sight(seen: Seen) -> ProbeSight {
    match seen {
        Seen::Refused => ProbeSight::NotConnected,
        Seen::TimedOut { limit, .. } => ProbeSight::TimedOut(limit),
        seen => ProbeSight::Refused(seen.to_string()),
    }
}

/// What is run: the command of the source, or of the pre-deploy step.
fn words(spec: &RevisionSpec, source: &ResolvedSource, job: bool) -> Vec<String> {
    if job && let Some(job) = spec.pre_deploy() {
        return job.command.words().to_vec();
    }
    match (spec.source(), source) {
        (Source::Command(command), _) => command.words().to_vec(),
        (Source::Image(image), _) => {
            image.command.as_ref().map_or_else(Vec::new, |command| command.words().to_vec())
        }
        // Of an image that was built the image knows how it is started, unless it is said.
        (Source::Code(code), _) => match &code.start {
            Some(start) => ["/bin/sh", "-c", start.as_str()].map(str::to_owned).to_vec(),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Whoever waits for the end of a failed start does not wait long for its reason.
const WHY_LIMIT: Duration = Duration::from_secs(2);
/// How old a list may be for a service of which nothing has changed since.
const FRESH: Duration = Duration::from_secs(10);
/// How soon it is looked again whose a port is.
const PROVE_AGAIN: Duration = Duration::from_millis(20);
/// How long any call may take beyond what it is asked to wait for: an engine that needs longer
/// is held to be down.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(60);
