//! The task of one service: the shell around its machine.
//!
//! It decides nothing. Events go into the machine in the order in which they came, and what the
//! machine wants is carried out: at once where it is volatile, after the commit of the state that
//! asked for it where it is durable. One commit is under way at a time, and what comes meanwhile is
//! in the next; a commit that fails is tried again with the state as it is then.
//!
//! A command is different: it is tried on a copy, and the copy takes the place of the machine once
//! it is committed. So a change that cannot be stored has not happened.

mod answer;
mod calls;
mod command;
mod describe;
mod effects;
mod look;
mod outcomes;
mod record;
mod values;
mod verdicts;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use runner_core::{
    BoxFuture, Error,
    admission::Snapshot,
    deployment::{self, CauseCode, Evidence, Phase},
    id::{InstanceId, RevisionNumber, ServiceName},
    service::{Effect, Event, Record, Service, Timer},
    spec::{Routing, ServiceSpec},
    time::Timestamp,
};
use runner_health::{
    Monitor, MonitorHandle, MonitorSettings, Notice as Health, Plan, verdict::Verdict,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
    time::sleep_until,
};

pub(crate) use self::record::Stored;
use self::{
    answer::{Answer, Values},
    calls::Queued,
    look::Look,
    record::Outbox,
    verdicts::Verdicts,
};
use crate::{
    Operation,
    message::{Aftermath, Message},
    operation::OperationSummary,
    path::Way,
    shared::Shared,
};

/// How a service's task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The service is gone, and its record too.
    Retired,
    /// The platform ends.
    Shutdown,
}

pub(crate) struct Actor {
    shared: Arc<Shared>,
    name: ServiceName,
    created: Timestamp,
    machine: Service,
    way: Way,
    inbox: mpsc::Receiver<Message>,
    monitor: MonitorHandle,
    /// What the monitor said, which runs inside this task: no channel is between the two.
    verdicts: Arc<Verdicts>,
    /// Taken by the loop.
    asking: Option<Monitor>,
    /// What the machine has still to hear.
    queue: VecDeque<Event>,
    calls: JoinSet<Answer>,
    outbox: Outbox,
    values: BTreeMap<RevisionNumber, Box<Values>>,
    plans: BTreeMap<RevisionNumber, Arc<Plan>>,
    /// Instances whose last request is waited for.
    draining: BTreeMap<InstanceId, u64>,
    /// Starts that wait for a place in the start budget.
    queued: BTreeMap<InstanceId, Queued>,
    /// Places of the start budget, until the instance has passed or is gone.
    starting: BTreeMap<InstanceId, OwnedSemaphorePermit>,
    /// Instances whose time to start is over, while it is found out why.
    why: BTreeSet<InstanceId>,
    look: Look,
    /// How requests find it, as it was published last.
    routed: Option<Routing>,
    /// Routes that are its own and lead elsewhere, in words.
    unrouted: Vec<String>,
    operations: VecDeque<OperationSummary>,
    over: Option<Over>,
    /// When something about its instances changed last, as far as it knows: lists of before that
    /// tell it nothing.
    touched: Timestamp,
    /// Why the backend cannot say what is there, since it last could.
    list_trouble: Option<String>,
    /// What requests see.
    published: Option<Snapshot>,
}

/// What a task is made from, beside the machine.
pub(crate) struct Place {
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: ServiceName,
    pub(crate) way: Way,
    pub(crate) inbox: mpsc::Receiver<Message>,
}

/// Why a service was not created, and what is still to be done before its name is free.
pub(crate) type NotCreated = (crate::Error, Option<BoxFuture<'static, ()>>);

impl Actor {
    /// A new service. It is durable, and its first operation accepted, when this answers.
    pub(crate) async fn create(
        place: Place,
        spec: ServiceSpec,
        id: runner_core::id::ServiceId,
    ) -> Result<(Box<Self>, Operation), NotCreated> {
        let now = place.shared.clock.now();
        let operation = place.shared.operation_id();
        let standby = place.shared.capabilities.standby;
        let (machine, effects) = Service::create(id, operation, &spec, standby, now);
        drop(spec);
        let mut actor = Self::new(place, machine, now, VecDeque::new());
        match actor.accept(effects, now).await {
            Ok(Some(operation)) => Ok((actor, operation)),
            Ok(None) => Err((Error::bug("a creation was not accepted").into(), None)),
            Err(error) => Err((error, actor.undo_creation())),
        }
    }

    /// A service as it is on record.
    pub(crate) fn recover(place: Place, stored: Stored) -> Box<Self> {
        let now = place.shared.clock.now();
        let Stored { created, machine, operations, .. } = stored;
        for one in operations.iter().filter(|one| one.ended.is_none()) {
            place.shared.with(|registry| {
                let _ = registry.operations.begin(one.id, one.kind, &place.name);
            });
        }
        let (machine, effects) = Service::recover(Record::clone(&machine), now);
        let mut actor = Self::new(place, machine, created, operations);
        // With those of all others.
        actor.routed = Some(actor.machine.settings().routing().clone());
        actor.lack_routes(actor.shared.paths.all_taken(&actor.name, actor.machine.settings()));
        actor.look.resume(actor.machine.desired(), actor.machine.instances(), now);
        actor.apply_settings(now);
        actor.absorb(effects, now);
        actor
    }

    fn new(
        place: Place,
        machine: Service,
        created: Timestamp,
        operations: VecDeque<OperationSummary>,
    ) -> Box<Self> {
        let Place { shared, name, way, inbox } = place;
        // Two services must not ask their instances in step.
        let seed = (shared.ids.next() >> 64) as u64;
        let settings = MonitorSettings::default().seed(seed);
        let settings = settings.simulated_time(shared.clock.is_simulated());
        let (monitor, asking) = Monitor::new(settings);
        let now = shared.clock.now();
        let look = Look::new(&shared, machine.settings(), now);
        Box::new(Self {
            shared,
            name,
            created,
            machine,
            way,
            inbox,
            monitor,
            verdicts: Arc::default(),
            asking: Some(asking),
            queue: VecDeque::new(),
            calls: JoinSet::new(),
            outbox: Outbox::default(),
            values: BTreeMap::new(),
            plans: BTreeMap::new(),
            draining: BTreeMap::new(),
            queued: BTreeMap::new(),
            starting: BTreeMap::new(),
            why: BTreeSet::new(),
            look,
            routed: None,
            unrouted: Vec::new(),
            operations,
            over: None,
            touched: now,
            list_trouble: None,
            published: None,
        })
    }

    /// Until the service is gone or the platform ends. Dropping it leaves instances as they are.
    pub(crate) async fn run(mut self: Box<Self>) -> Over {
        let verdicts = Arc::clone(&self.verdicts);
        let asking =
            self.asking.take().map(|monitor| monitor.run(move |notice| verdicts.push(notice)));
        let mut asking = pin!(async move {
            match asking {
                Some(asking) => match asking.await {},
                None => std::future::pending().await,
            }
        });
        loop {
            let now = self.shared.clock.now();
            self.fire_timers(now);
            self.hear(now);
            self.flush(now);
            if let Some(over) = self.over {
                return over;
            }
            self.turn(asking.as_mut()).await;
        }
    }

    /// Waits for the next thing that happens, and takes it in.
    async fn turn(&mut self, asking: Pin<&mut impl Future<Output = std::convert::Infallible>>) {
        let wake = self.shared.clock.instant(self.next_wake());
        tokio::select! {
            // What was committed goes first: others wait for it.
            biased;
            answer = &mut self.outbox.commit => self.committed(answer),
            notice = self.way.pool.notice() => self.noticed(notice),
            Some(answer) = self.calls.join_next() => {
                // A call that was aborted is one that nobody waits for.
                if let Ok(answer) = answer {
                    self.answered(answer);
                }
            }
            nudged = self.way.book.nudge.next() => {
                if nudged.changed {
                    self.touched = self.shared.clock.now();
                    self.queue.push_back(deployment::Event::Changed.into());
                }
                if nudged.rerouted {
                    self.route(self.shared.clock.now());
                }
                if nudged.stirred {
                    self.look.wake(self.shared.clock.now());
                }
            }
            message = self.inbox.recv() => match message {
                // Boxed: few are asked anything, and all would have room for it.
                Some(message) => Box::pin(self.asked(message)).await,
                // Nobody can reach it any more: the driver is gone.
                None => self.over = Some(Over::Shutdown),
            },
            // It says something only while it is polled, so nothing said is left lying.
            notice = self.verdicts.next(asking) => self.judged(notice),
            () = sleep_until(wake) => self.look(),
        }
    }

    async fn asked(&mut self, message: Message) {
        match message {
            Message::Command(command, answer) => {
                let result = self.command(*command).await;
                let _ = answer.send(result);
            }
            Message::Describe(answer) => {
                let _ = answer.send(self.describe());
            }
            Message::Follow(id, answer) => {
                let _ = answer.send(self.operation(id));
            }
            Message::Dump(answer) => {
                let _ = answer.send(self.machine.dump());
            }
            Message::Shutdown { aftermath, until } => self.shut_down(aftermath, until).await,
        }
    }

    /// Lets the machine hear all that it has still to hear.
    fn hear(&mut self, now: Timestamp) {
        while let Some(event) = self.queue.pop_front() {
            let effects = self.machine.handle(event, now);
            // That all is as it was is no reason to look at the load.
            let is_quiet = |effect: &Effect| {
                use deployment::Effect::{List, Publish};
                matches!(effect, Effect::Fleet(List(_) | Publish(_)))
            };
            if !effects.iter().all(is_quiet) {
                self.look.stir(now);
            }
            self.absorb(effects, now);
        }
    }

    fn absorb(&mut self, effects: Vec<Effect>, now: Timestamp) {
        for effect in effects {
            match effect.is_durable() {
                true => self.outbox.push(effect),
                false => self.act(effect, now),
            }
        }
    }

    fn fire_timers(&mut self, now: Timestamp) {
        for (timer, at) in self.machine.timers() {
            match timer {
                _ if at > now => {}
                // What it may take counts from its turn.
                Timer::Fleet(deployment::Timer::Allowance(instance))
                    if self.queued.contains_key(&instance) => {}
                // It is answered with why.
                Timer::Fleet(deployment::Timer::Allowance(instance)) => self.ask_why(instance),
                timer => self.queue.push_back(Event::Due(timer)),
            }
        }
    }

    fn next_wake(&self) -> Timestamp {
        let asked = |timer: &Timer| match timer {
            Timer::Fleet(deployment::Timer::Allowance(instance)) => {
                self.why.contains(instance) || self.queued.contains_key(instance)
            }
            _ => false,
        };
        let timers = self.machine.timers().into_iter().filter(|(timer, _)| !asked(timer));
        let timers = timers.map(|(_, at)| at);
        // A timer that changes nothing and stays armed must not keep a processor busy.
        let soonest = self.shared.clock.now() + LEAST_WAIT;
        let timer = timers.min().map(|at| at.max(soonest));
        let others = [Some(self.look.next()), self.outbox.again()];
        others.into_iter().flatten().chain(timer).min().unwrap_or(Timestamp::MAX)
    }

    fn noticed(&mut self, notice: runner_proxy::pool::Notice) {
        if notice.demand.is_some() {
            self.queue.push_back(deployment::Event::Demand.into());
            // What comes of it is for the policy to say too, and at once.
            self.look.soon(self.shared.clock.now());
        }
        for instance in notice.drained {
            if let Some(asked) = self.draining.remove(&instance) {
                self.queue.push_back(deployment::Event::Drained { instance, asked }.into());
            }
        }
    }

    fn judged(&mut self, notice: Health) {
        let Health::Changed { change, .. } = notice else { return };
        let instance = change.instance;
        let event = match change.to {
            Verdict::Ready => return self.became_ready(instance),
            Verdict::Ejected | Verdict::Unready => deployment::Event::BecameUnwell(instance),
            Verdict::Failed => {
                let words = Evidence::Probe(change.cause.to_string());
                let cause = deployment::Cause::new(CauseCode::ProbeRefused).with(words);
                deployment::Event::BecameDead(instance, Arc::new(cause.of(instance)))
            }
            // The machine has the same allowance, and says why.
            // (`NeverReady`; all others say nothing new.)
            _ => return,
        };
        self.queue.push_back(event.into());
    }

    /// Ends the task: what instances are to become is the caller's word.
    async fn shut_down(&mut self, aftermath: Aftermath, until: Timestamp) {
        self.settle().await;
        self.finish_requests(until).await;
        if aftermath == Aftermath::Stop {
            self.stop_all(until).await;
        }
        self.over = Some(Over::Shutdown);
    }

    fn phase(&self, instance: InstanceId) -> Option<Phase> {
        self.machine.instances().get(&instance).map(|one| one.phase)
    }
}

/// The shortest wait between two looks at timers.
const LEAST_WAIT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what a service holds while it has nothing to do this is the part that grows unseen: each
    /// call that is awaited in place makes room for all that it may ever need.
    #[test]
    fn a_task_holds_little_beside_what_its_service_is() {
        fn size<A, F: Future>(_: impl Fn(A) -> F) -> usize {
            size_of::<F>()
        }
        let (task, service) = (size(Actor::run), size_of::<Actor>());
        assert!(task <= 2_048 && service <= 4_096, "{task} and {service} bytes");
    }
}
