//! Looking at the load: what the policy is shown, and handing on what it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use runner_core::{
    admission::{Attainable, QueueSettings, Snapshot, Why},
    deployment::{self, Fleet, Instance, Phase},
    id::InstanceId,
    spec::{Scaling, ServiceSettings},
    time::Timestamp,
};
use runner_proxy::QueueCounters;
use runner_scaler::{
    Decision, Engine, Limits, Load, Observation, Observed, Policy, PolicyExt as _,
};

use super::{Actor, outcomes::Results};
use crate::{limits::limits_of, queue, shared::Shared};

pub(super) struct Look {
    engine: Option<Engine<Box<dyn Policy + Send>>>,
    /// What the policy was made from.
    scaling: Option<Scaling>,
    /// The last decision, for people.
    pub(super) decision: Option<Decision>,
    before: Option<(Timestamp, QueueCounters)>,
    present: Present,
    /// When instances were asked for, until they have passed.
    asked: BTreeMap<InstanceId, Timestamp>,
    /// When instances passed.
    ready_since: BTreeMap<InstanceId, Timestamp>,
    /// How long the starts took that ended since the last look.
    started: Vec<Duration>,
    queue: Option<QueueSettings>,
    pub(super) results: Results,
    /// Those that could not be frozen: how often in a row, and when it is tried again.
    wakeful: BTreeMap<InstanceId, (u32, Timestamp)>,
    /// Instances of before a restart that have not been found and proven again.
    adopted: BTreeSet<InstanceId>,
    /// When there was a request last, if there has been any.
    busy: Option<Timestamp>,
    tick: Timestamp,
    next: Timestamp,
}

/// How many requests were present since the last decision, on average over moments: one moment
/// alone would be taken for the load of a second, and chance for bursts.
#[derive(Default)]
struct Present {
    sum: u64,
    moments: u32,
    /// Where in its stretch the next moment lies, in parts of 2^32.
    place: u32,
}

impl Present {
    fn note(&mut self, counters: &QueueCounters) {
        self.sum += counters.in_flight + u64::from(counters.waiting);
        self.moments += 1;
    }

    fn take_mean(&mut self) -> Option<f64> {
        let (sum, moments) = (std::mem::take(&mut self.sum), std::mem::take(&mut self.moments));
        (moments > 0).then(|| sum as f64 / f64::from(moments))
    }

    /// How long until the next moment: one in each [`TICK`], by the golden ratio nowhere twice.
    /// What comes every so often would otherwise be met at the same point of its course each time.
    fn next(&mut self) -> Duration {
        let before = self.place;
        self.place = before.wrapping_add(GOLDEN);
        let moved = f64::from(self.place) - f64::from(before);
        TICK.mul_f64(1.0 + moved / 2_f64.powi(32))
    }
}

impl Look {
    pub(super) fn new(shared: &Shared, settings: &ServiceSettings, now: Timestamp) -> Self {
        let mut look = Self {
            engine: None,
            scaling: Some(settings.scaling().clone()),
            decision: None,
            before: None,
            present: Present::default(),
            asked: BTreeMap::new(),
            ready_since: BTreeMap::new(),
            started: Vec::new(),
            queue: None,
            results: Results::default(),
            wakeful: BTreeMap::new(),
            adopted: BTreeSet::new(),
            busy: None,
            tick: Timestamp::MAX,
            next: now,
        };
        let policy = (shared.policies)(settings);
        look.results.apply(settings.scaling());
        let limits = limits_of(settings.scaling(), shared.capabilities.standby, now);
        look.engine = engine(policy, limits);
        look
    }

    /// Limits at once. What the policy learned stays, where the new one is of its kind.
    pub(super) fn apply(
        &mut self,
        shared: &Shared,
        settings: &ServiceSettings,
        standby: bool,
        now: Timestamp,
    ) {
        let limits = limits_of(settings.scaling(), standby, now);
        let changed = self.scaling.as_ref() != Some(settings.scaling());
        self.scaling = Some(settings.scaling().clone());
        self.results.apply(settings.scaling());
        match &mut self.engine {
            Some(engine) => {
                // What a policy was made from may be what has changed.
                if changed {
                    engine.set_policy((shared.policies)(settings));
                }
                drop(engine.set_limits(limits));
            }
            None => self.engine = engine((shared.policies)(settings), limits),
        }
        self.soon(now);
    }

    /// Goes on after a restart with so many instances, which were right until then: what the policy
    /// knew of the load is lost, and nothing in flight is no reason to give any of them up.
    pub(super) fn resume(&mut self, desired: u32, fleet: &Fleet, now: Timestamp) {
        if let Some(engine) = &mut self.engine {
            engine.resume(desired, now);
        }
        self.busy = Some(now);
        let adopted = fleet.iter().filter(|(_, one)| one.phase == Phase::Adopting);
        self.adopted = adopted.map(|(id, _)| *id).collect();
    }

    pub(super) fn next(&self) -> Timestamp {
        self.next.min(self.tick)
    }

    /// Looks at once.
    pub(super) fn soon(&mut self, now: Timestamp) {
        self.next = now;
    }

    /// Something is not as it was: a service at rest is looked at again.
    pub(super) fn stir(&mut self, now: Timestamp) {
        self.next = self.next.min(now + LOOK);
    }

    /// A request came to a service at rest.
    pub(super) fn wake(&mut self, now: Timestamp) {
        self.stir(now);
        self.tick = self.tick.min(now + TICK);
    }

    /// It was frozen: what failed before is forgotten.
    pub(super) fn froze(&mut self, instance: InstanceId) {
        self.wakeful.remove(&instance);
    }

    /// It could not be frozen; whether this is the first time in a row. It is tried again, but not
    /// with every look.
    pub(super) fn froze_not(&mut self, instance: InstanceId, now: Timestamp) -> bool {
        let (failures, again) = self.wakeful.entry(instance).or_insert((0, now));
        *again = now + FREEZE_AGAIN * (1 << (*failures).min(6));
        *failures += 1;
        *failures == 1
    }

    fn may_freeze(&self, instance: InstanceId, now: Timestamp) -> bool {
        self.wakeful.get(&instance).is_none_or(|(_, again)| *again <= now)
    }

    pub(super) fn born(&mut self, instance: InstanceId, now: Timestamp) {
        self.asked.insert(instance, now);
    }

    /// Drops what is known of those that have left, and notes who has passed; who is gone.
    pub(super) fn forget_gone(&mut self, fleet: &Fleet, now: Timestamp) -> Vec<InstanceId> {
        for (id, one) in fleet.iter() {
            if one.phase == Phase::Ready && !self.ready_since.contains_key(id) {
                self.ready_since.insert(*id, now);
                if let Some(asked) = self.asked.remove(id) {
                    self.started.push(now.since(asked));
                }
            }
        }
        self.wakeful.retain(|id, _| fleet.contains_key(id));
        let known = self.asked.keys().chain(self.ready_since.keys());
        let gone: Vec<_> = known.filter(|id| !fleet.contains_key(id)).copied().collect();
        for id in &gone {
            self.asked.remove(id);
            self.ready_since.remove(id);
        }
        gone
    }

    /// How the queue is to be set for a snapshot, where that is different from before.
    pub(super) fn queue_settings(
        &mut self,
        snapshot: &Snapshot,
        settings: &ServiceSettings,
    ) -> Option<QueueSettings> {
        let wanted = queue::settings(snapshot, settings);
        if self.queue.as_ref() == Some(&wanted) {
            return None;
        }
        self.queue = Some(wanted.clone());
        Some(wanted)
    }
}

impl Actor {
    /// One look at the load, when it is due.
    pub(super) fn look(&mut self) {
        let now = self.shared.clock.now();
        self.look.present.note(&self.way.pool.counters());
        if self.look.tick <= now {
            self.way.pool.tick();
        }
        if self.look.next <= now {
            self.decide(now);
        }
        // From here on the next request says so, unless it is among those seen now.
        self.way.book.nudge.rest();
        let counters = self.way.pool.counters();
        let busy = counters.in_flight > 0 || counters.waiting > 0;
        // Ramps and paces move only where there are requests.
        self.look.tick = Timestamp::MAX;
        if busy {
            self.way.book.nudge.go_on();
            self.look.results.note_flight(counters.in_flight);
            self.look.stir(now);
            self.look.tick = now + self.look.present.next();
        }
    }

    fn decide(&mut self, now: Timestamp) {
        let limits =
            limits_of(self.machine.settings().scaling(), self.shared.capabilities.standby, now);
        let counters = self.way.pool.counters();
        let seen = self.observe(&counters, now);
        let quiet = seen.load.present() == 0 && seen.load.arrivals == 0;
        if !quiet {
            self.look.busy = Some(now);
        }
        let Some(engine) = &mut self.look.engine else {
            self.look.next = now + IDLE_LOOK;
            return;
        };
        // Schedules move the limits.
        let _ = engine.set_limits(limits);
        let decision = engine.decide(&seen, now);
        let settled = decision.total() == self.machine.desired()
            && self.awake() <= decision.active as usize
            && self.warm_and_awake().next().is_none();
        // What a policy remembers of the load is over by then.
        let forgotten = self.look.busy.is_none_or(|busy| now.since(busy) >= QUIET);
        let latest = match () {
            () if !(quiet && settled && forgotten) => now + LOOK,
            () if !seen.load.named.is_empty() => now + NAMED_LOOK,
            () if !self.machine.settings().scaling().schedules.is_empty() => now + IDLE_LOOK,
            // It holds for as long as it says, and for ever where it does not.
            () => Timestamp::MAX,
        };
        self.look.next = decision.until.map_or(latest, |until| latest.min(until.max(now + TICK)));
        self.look.before = Some((now, counters));
        let errors = self.judge_requests(now);
        if self.move_cap(&seen.load, errors) {
            self.publish(self.machine.snapshot(), now);
        }
        let fewer = decision.total() < self.machine.desired();
        // Who has not been proven again counts as one that is only starting, and would be the first
        // to go: what served before a restart is not given up before it could serve again.
        if decision.total() != self.machine.desired() && !(fewer && self.is_recovering()) {
            let leases = |id: &InstanceId| (*id, self.way.pool.leases_of(*id));
            let load = self.machine.instances().keys().map(leases).collect();
            // Those with the fewest requests go first.
            self.tell_machine(deployment::Event::Load(load));
            self.tell_machine(deployment::Event::Desired(decision.total()));
        }
        self.put_to_sleep(&decision, now);
        self.look.decision = Some(decision);
    }

    /// Says who may be frozen: those of a revision that is kept warm, and of the one that serves
    /// where fewer need to be awake than are.
    fn put_to_sleep(&mut self, decision: &Decision, now: Timestamp) {
        let warm: Vec<_> = self.warm_and_awake().filter(|id| self.is_idle(*id, now)).collect();
        for instance in warm {
            self.tell_machine(deployment::Event::BecameIdle(instance));
        }
        if !self.shared.capabilities.standby || self.awake() <= decision.active as usize {
            return;
        }
        let live = self.machine.live();
        let ready = |id: &InstanceId| self.phase(*id) == Some(Phase::Ready);
        let first = self.way.pool.victim(live).filter(|id| ready(id) && self.is_idle(*id, now));
        // Where the first one cannot be frozen, another may.
        let others = match self.look.wakeful.is_empty() {
            true => None,
            false => self.machine.instances().iter().find_map(|(id, one)| {
                let is_one = Some(one.revision) == live && ready(id) && self.is_idle(*id, now);
                is_one.then_some(*id)
            }),
        };
        if let Some(victim) = first.or(others) {
            self.tell_machine(deployment::Event::BecameIdle(victim));
        }
    }

    /// Whether it has no request, and was not found to be one that cannot be frozen a moment ago.
    fn is_idle(&self, instance: InstanceId, now: Timestamp) -> bool {
        self.way.pool.leases_of(instance) == 0 && self.look.may_freeze(instance, now)
    }

    /// Instances of a revision that neither serves nor is to serve, and that are not asleep.
    fn warm_and_awake(&self) -> impl Iterator<Item = InstanceId> {
        let standby = self.shared.capabilities.standby && self.machine.stage().is_none();
        let serving = [self.machine.live(), self.machine.green()];
        let warm = move |one: &Instance| {
            standby && one.phase == Phase::Ready && !serving.contains(&Some(one.revision))
        };
        self.machine.instances().iter().filter(move |(_, one)| warm(one)).map(|(id, _)| *id)
    }

    /// How many instances of the revision that serves are ready and not asleep.
    fn awake(&self) -> usize {
        let live = self.machine.live();
        let ready = |one: &&Instance| one.phase == Phase::Ready && Some(one.revision) == live;
        self.machine.instances().values().filter(ready).count()
    }

    /// Whether there are instances of before a restart that are still to be found and proven.
    fn is_recovering(&mut self) -> bool {
        let instances = self.machine.instances();
        self.look.adopted.retain(|id| {
            let phase = instances.get(id).map(|one| one.phase);
            matches!(phase, Some(Phase::Adopting | Phase::Proving | Phase::Waking { .. }))
        });
        !self.look.adopted.is_empty()
    }

    fn observe(&mut self, counters: &QueueCounters, now: Timestamp) -> Observation {
        let settings = self.machine.settings();
        let mut seen = Observation::default();
        seen.load = load(counters, self.look.before.as_ref(), now);
        seen.load.concurrency = self.look.present.take_mean();
        seen.load.named = (self.shared.numbers)(&self.name, now);
        seen.cap = self.look.results.cap(settings.scaling());
        // Of two sides the one that is to serve counts: both would count the load twice.
        let side = self.machine.live().or_else(|| self.machine.green());
        let of_side = self.machine.instances().values().filter(|one| Some(one.revision) == side);
        seen.instances = of_side.filter_map(observed).collect();
        seen.started = std::mem::take(&mut self.look.started);
        let attainable = self.machine.snapshot().attainable;
        seen.exhausted = attainable == Attainable::Nothing(Why::BackendExhausted);
        seen
    }

    /// The last decision of the policy, for people.
    pub(super) fn decision(&self) -> Option<String> {
        self.look.decision.as_ref().map(ToString::to_string)
    }
}

/// None where policy and limits contradict themselves: then nothing is decided, and said so.
fn engine(
    policy: Box<dyn Policy + Send>,
    limits: Limits,
) -> Option<Engine<Box<dyn Policy + Send>>> {
    let made = Engine::new(policy.within(limits));
    made.inspect_err(|error| tracing::error!(%error, "a service is not scaled")).ok()
}

fn observed(one: &Instance) -> Option<Observed> {
    let phase = match one.phase {
        Phase::Starting { .. } | Phase::Proving | Phase::Adopting | Phase::Waking { .. } => {
            runner_scaler::Phase::Starting
        }
        Phase::Ready | Phase::Unwell => runner_scaler::Phase::Ready,
        Phase::Freezing { .. } | Phase::Standby => runner_scaler::Phase::Standby,
        Phase::Draining => runner_scaler::Phase::Draining,
        Phase::Running | Phase::Stopping { .. } => return None,
    };
    Some(Observed { phase, since: one.since.0 })
}

/// What was counted since the look before.
fn load(
    now_is: &QueueCounters,
    before: Option<&(Timestamp, QueueCounters)>,
    now: Timestamp,
) -> Load {
    let mut load = Load::now(now_is.in_flight, u64::from(now_is.waiting));
    load.service_time = now_is.hold_time;
    let Some((at, before)) = before else { return load };
    load.span = now.since(*at);
    load.arrivals = now_is.arrivals().saturating_sub(before.arrivals());
    load.refused = now_is.refused_in_all().saturating_sub(before.refused_in_all());
    load.completed = now_is.releases().saturating_sub(before.releases());
    let waits = now_is.waits().count().saturating_sub(before.waits().count());
    if let Ok(waits) = u32::try_from(waits)
        && waits > 0
    {
        load.queue_wait = Some((now_is.waits().sum.saturating_sub(before.waits().sum)) / waits);
    }
    load
}

/// How often the queue looks at its pace and its ramps while it has requests.
const TICK: Duration = Duration::from_millis(100);
/// The golden ratio in parts of 2^32.
const GOLDEN: u32 = 0x9e37_79b9;
/// How often the policy is asked. A request that begins to wait asks it at once.
const LOOK: Duration = Duration::from_secs(1);
/// How soon what could not be frozen is tried again, at first; up to about ten minutes.
const FREEZE_AGAIN: Duration = Duration::from_secs(10);
/// How long nothing came before a service is at rest: longer than the minute over which policies
/// average.
const QUIET: Duration = Duration::from_secs(75);
/// How often a service at rest is looked at of which the embedding program has numbers to tell: no
/// request says when they change.
const NAMED_LOOK: Duration = Duration::from_secs(5);
/// How often a service at rest is looked at whose bounds depend on the time of day.
const IDLE_LOOK: Duration = Duration::from_secs(30);
