//! The ledger against a naive model: the same contract written as plainly as possible, with a
//! list for a queue and a search for every question.
//!
//! Random operations (arrivals, releases, cancellations, time-outs, snapshots, time) are given to
//! both. Whom the ledger serves must be whom the model would serve; which instance it takes is
//! its own choice among those that the model allows.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use runner_core::{
    address::Address,
    admission::{
        Ask, Attainable, Balance, Closed, DemandCause, FairKey, Instance, Lease, Ledger, Outcome,
        Pin, Priority, QueueSettings, Ramp, Reason, Snapshot, Ticket, TurnedAway, Weight, Why,
        Woken,
    },
    id::{InstanceId, RevisionNumber, ServiceId},
    time::Timestamp,
};

/// What identifies a request to ledger and model alike.
type Request = u32;

const MAX_WAIT: Duration = Duration::from_millis(20);
const TURN: u64 = 1 << 20;

#[derive(Clone, Debug)]
struct Seat {
    instance: Instance,
    listed: bool,
    in_flight: u32,
}

#[derive(Clone, Debug)]
struct Waiter {
    request: Request,
    class: Priority,
    key: FairKey,
    returned: bool,
    pin: Pin,
    arrival: u64,
    deadline: Timestamp,
}

/// What was decided about a request that has not been told yet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decided {
    Granted,
    Refused(Reason),
}

struct Model {
    settings: QueueSettings,
    weights: Vec<Weight>,
    closed: Option<Closed>,
    attainable: Attainable,
    seats: BTreeMap<InstanceId, Seat>,
    waiters: Vec<Waiter>,
    decided: BTreeMap<Request, Decided>,
    /// When the next request of a key would start, per class; and how far the class has come.
    starts: BTreeMap<(Priority, FairKey), u64>,
    come: BTreeMap<Priority, u64>,
    arrivals: u64,
    /// What was last demanded for one who was refused, since the last snapshot.
    in_vain: Option<Pin>,
}

impl Model {
    fn cap(&self, id: InstanceId, now: Timestamp) -> u32 {
        let seat = &self.seats[&id];
        let revision = seat.instance.revision;
        let weighed = self.weights.is_empty()
            || self.weights.iter().any(|w| w.revision == revision && w.weight > 0);
        if seat.listed && weighed { seat.instance.effective_cap(now) } else { 0 }
    }

    fn accepting(&self, id: InstanceId, now: Timestamp) -> bool {
        self.seats.contains_key(&id) && self.cap(id, now) > 0
    }

    fn free_for(&self, pin: Pin, now: Timestamp) -> Vec<InstanceId> {
        let fits = |id: &InstanceId| match pin {
            Pin::Any => true,
            Pin::Instance(wanted) => *id == wanted,
            Pin::Revision(wanted) => self.seats[id].instance.revision == wanted,
        };
        (self.seats.keys().copied())
            .filter(|id| fits(id) && self.seats[id].in_flight < self.cap(*id, now))
            .collect()
    }

    fn slots(&self, now: Timestamp) -> u64 {
        self.seats.keys().map(|id| u64::from(self.cap(*id, now))).sum()
    }

    fn start(&self, class: Priority, key: FairKey) -> u64 {
        let come = self.come.get(&class).copied().unwrap_or(0);
        self.starts.get(&(class, key)).copied().unwrap_or(0).max(come)
    }

    /// Who is next among those who may use some free slot.
    fn next(&self, now: Timestamp) -> Option<usize> {
        let able = |w: &Waiter| !self.free_for(w.pin, now).is_empty();
        (0..self.waiters.len()).filter(|&at| able(&self.waiters[at])).min_by_key(|&at| {
            let waiter = &self.waiters[at];
            let start = if waiter.returned { 0 } else { self.start_of_waiting(waiter) };
            (waiter.class, !waiter.returned, start, waiter.arrival)
        })
    }

    /// A key that has somebody waiting keeps its start while the class moves on.
    fn start_of_waiting(&self, waiter: &Waiter) -> u64 {
        self.starts.get(&(waiter.class, waiter.key)).copied().unwrap_or(0)
    }

    fn served(&mut self, at: usize) -> Waiter {
        let waiter = self.waiters.remove(at);
        if !waiter.returned {
            let start = self.start_of_waiting(&waiter);
            let come = self.come.entry(waiter.class).or_default();
            *come = (*come).max(start);
            let weight = self.settings.key_weights.get(&waiter.key).copied().unwrap_or(1);
            self.starts.insert((waiter.class, waiter.key), start + TURN / u64::from(weight));
        }
        self.forget(waiter.class);
        waiter
    }

    fn forget(&mut self, class: Priority) {
        if !self.waiters.iter().any(|w| w.class == class) {
            self.come.remove(&class);
            self.starts.retain(|(of, _), _| *of != class);
        }
    }

    fn remove(&mut self, request: Request) -> Option<Waiter> {
        let at = self.waiters.iter().position(|w| w.request == request)?;
        let waiter = self.waiters.remove(at);
        self.forget(waiter.class);
        Some(waiter)
    }

    /// Whose place a newcomer may take, by the letter of the rule.
    fn displaced_by(&self, class: Priority, key: FairKey) -> Option<Request> {
        let of_class = |c: Priority| self.waiters.iter().filter(move |w| w.class == c);
        let mut lower = Priority::ALL.into_iter().rev().filter(|lower| *lower > class);
        let (victims, newcomer) = match lower.find(|c| of_class(*c).any(|w| !w.returned)) {
            Some(lower) => (lower, None),
            None => (class, Some(key)),
        };
        let weight =
            |key: FairKey| i128::from(self.settings.key_weights.get(&key).copied().unwrap_or(1));
        let waiting = of_class(victims).count() as i128;
        let mut counts: BTreeMap<Option<FairKey>, i128> = BTreeMap::new();
        for waiter in of_class(victims) {
            *counts.entry((!waiter.returned).then_some(waiter.key)).or_default() += 1;
        }
        let weigh = |key: &Option<FairKey>| key.map_or(1, weight);
        let mut all: i128 = counts.keys().map(weigh).sum();
        if let Some(key) = newcomer {
            let own = counts.get(&Some(key)).copied().unwrap_or(0);
            if own == 0 {
                all += weight(key);
            }
            if (own + 1) * all > waiting * weight(key) {
                return None;
            }
        }
        let heaviest = (counts.iter().filter(|(key, _)| key.is_some()))
            .map(|(key, count)| (count * all - waiting * weigh(key), key))
            .max_by_key(|(excess, _)| *excess)?;
        let ties = (counts.iter().filter(|(key, _)| key.is_some()))
            .filter(|(key, count)| *count * all - waiting * weigh(key) == heaviest.0)
            .count();
        // Which of equals it is does not matter; the ledger takes the last by key.
        let key = if ties > 1 {
            counts
                .iter()
                .filter(|(key, n)| key.is_some() && *n * all - waiting * weigh(key) == heaviest.0)
                .map(|(key, _)| *key)
                .max()?
        } else {
            *heaviest.1
        };
        of_class(victims)
            .filter(|w| !w.returned && Some(w.key) == key)
            .max_by_key(|w| w.arrival)
            .map(|w| w.request)
    }
}

/// Ledger and model side by side.
struct Pair {
    ledger: Ledger<Request>,
    model: Model,
    now: Timestamp,
    tickets: BTreeMap<Request, Ticket>,
    leases: Vec<(Request, Lease)>,
    next_request: Request,
}

impl Pair {
    fn new(max_waiting: u32, balance: Balance) -> Self {
        let now = Timestamp::from_secs(1);
        let mut settings = QueueSettings::new(max_waiting, MAX_WAIT);
        settings.balance = balance;
        settings.key_weights = BTreeMap::from([(FairKey(2), 2), (FairKey(3), 3)]);
        let model = Model {
            settings: settings.clone(),
            weights: Vec::new(),
            closed: None,
            attainable: Attainable::default(),
            seats: BTreeMap::new(),
            waiters: Vec::new(),
            decided: BTreeMap::new(),
            starts: BTreeMap::new(),
            come: BTreeMap::new(),
            arrivals: 0,
            in_vain: None,
        };
        let ledger = Ledger::new(settings, Snapshot::default(), now);
        let (tickets, leases) = (BTreeMap::new(), Vec::new());
        Self { ledger, model, now, tickets, leases, next_request: 0 }
    }

    fn arrive(&mut self, ask: Ask) {
        let request = self.next_request;
        self.next_request += 1;
        let mut pin = ask.pin;
        if let Pin::Instance(id) = pin
            && !self.model.accepting(id, self.now)
        {
            pin = Pin::Any;
        }
        let free = self.model.free_for(pin, self.now);
        let open = self.model.closed.is_none();
        match self.ledger.admit(&ask) {
            Some(lease) => {
                assert!(open, "a closed service admitted");
                let id = self.ledger.instance(&lease).id;
                assert!(free.contains(&id), "{id} was not free for {pin:?}");
                if pin == Pin::Any && ask.prefer.is_some_and(|liked| free.contains(&liked)) {
                    assert_eq!(Some(id), ask.prefer, "a free preference was not taken");
                } else if pin == Pin::Any && free.len() > 1 {
                    assert_ne!(Some(id), ask.avoid, "an avoidable instance was not avoided");
                }
                self.granted(request, lease);
            }
            None => {
                assert!(!open || free.is_empty(), "a newcomer found no slot where one is free");
                self.wait(request, ask, pin);
            }
        }
    }

    fn wait(&mut self, request: Request, ask: Ask, pin: Pin) {
        let model = &mut self.model;
        let since = ask.returned.unwrap_or(self.now);
        let budget = ask.budget.unwrap_or(MAX_WAIT).min(MAX_WAIT);
        let left = (since + budget).since(self.now);
        let could = |pin| match pin {
            Pin::Any => model.slots(self.now) > 0,
            Pin::Instance(id) => model.accepting(id, self.now),
            Pin::Revision(revision) => model.seats.iter().any(|(id, seat)| {
                seat.instance.revision == revision && model.cap(*id, self.now) > 0
            }),
        };
        let never = !could(pin)
            && match model.attainable {
                Attainable::Nothing(_) => true,
                Attainable::Slots { .. } => false,
            };
        let paused = matches!(model.attainable, Attainable::Nothing(Why::Paused));
        let at_maximum = matches!(model.attainable, Attainable::Nothing(Why::AtMaximum));
        let full = model.waiters.len() as u32 >= model.settings.max_waiting;
        let displaced = model.displaced_by(ask.priority, ask.key).filter(|_| full);
        let refusal = match model.closed {
            Some(Closed::Draining) => Some(Reason::Draining),
            Some(Closed::Paused) => Some(Reason::Paused),
            None if never && paused => Some(Reason::Paused),
            None if never => Some(Reason::NoCapacityComing),
            None if left.is_zero() && at_maximum => Some(Reason::AtMaximum),
            None if left.is_zero() => Some(Reason::WouldWaitTooLong),
            None if full && displaced.is_none() => Some(Reason::QueueFull),
            None => None,
        };
        let first = model.waiters.is_empty();
        let first_hopeless = !could(pin) && !model.waiters.iter().any(|w| w.pin == pin);
        match (self.ledger.enqueue(&ask, request, self.now), refusal) {
            (Err(TurnedAway { refusal, waiter, demand }), Some(reason)) => {
                assert_eq!((refusal.reason, waiter), (reason, request));
                let could_come =
                    !matches!(reason, Reason::Draining | Reason::Paused | Reason::NoCapacityComing);
                let in_vain = could_come && first_hopeless && model.in_vain != Some(pin);
                assert_eq!(demand.is_some(), in_vain, "once for each snapshot");
                if in_vain {
                    self.model.in_vain = Some(pin);
                }
            }
            (Ok(queued), None) => {
                assert_eq!(queued.displaced, displaced);
                if let Some(loser) = displaced {
                    self.model.remove(loser);
                    self.model.decided.insert(loser, Decided::Refused(Reason::QueueFull));
                }
                let cause = match (first, first_hopeless) {
                    (true, _) => Some(DemandCause::FirstToWait),
                    (false, true) => Some(DemandCause::NobodyCouldServe),
                    (false, false) => None,
                };
                assert_eq!(queued.demand.map(|demand| demand.cause), cause);
                assert_eq!(queued.deadline, since + budget);
                let model = &mut self.model;
                model.arrivals += 1;
                let idle = !model
                    .waiters
                    .iter()
                    .any(|w| !w.returned && (w.class, w.key) == (ask.priority, ask.key));
                if idle && ask.returned.is_none() {
                    let start = model.start(ask.priority, ask.key);
                    model.starts.insert((ask.priority, ask.key), start);
                }
                model.waiters.push(Waiter {
                    request,
                    class: ask.priority,
                    key: ask.key,
                    returned: ask.returned.is_some(),
                    pin,
                    arrival: model.arrivals,
                    deadline: queued.deadline,
                });
                self.tickets.insert(request, queued.ticket);
            }
            (answer, expected) => panic!("{answer:?} where the model says {expected:?}"),
        }
    }

    fn granted(&mut self, request: Request, lease: Lease) {
        let id = self.ledger.instance(&lease).id;
        let cap = self.model.cap(id, self.now);
        let seat = self.model.seats.get_mut(&id).expect("a lease of an instance that exists");
        seat.in_flight += 1;
        assert!(seat.in_flight <= cap, "{id} was granted {} of {cap}", seat.in_flight);
        self.leases.push((request, lease));
    }

    /// Those whom the ledger wakes must be those whom the model serves, in the same order; which
    /// slot each got is read from the ledger when it collects.
    fn woken(&mut self, woken: Woken<Request>) {
        let woken: Vec<Request> = woken.into_iter().collect();
        let granted = woken.iter().filter(|who| !self.model.decided.contains_key(who)).count();
        for request in woken {
            match self.model.decided.get(&request).copied() {
                Some(Decided::Refused(_)) => {}
                Some(Decided::Granted) => panic!("{request} was woken twice"),
                None => {
                    let next = self.model.next(self.now).map(|at| self.model.waiters[at].request);
                    assert_eq!(Some(request), next, "overtaken: {:?}", self.model.waiters);
                    let at = self.model.next(self.now).expect("just seen");
                    let waiter = self.model.served(at);
                    self.model.decided.insert(request, Decided::Granted);
                    // One among several that were served at once would leave a slot of which it
                    // is not known yet whose it is.
                    match granted == 1 && request.is_multiple_of(4) {
                        true => self.leave_grant(&waiter),
                        false => self.collect_grant(&waiter),
                    }
                }
            }
        }
    }

    /// Its client goes after the slot was given to it and before it has looked.
    fn leave_grant(&mut self, waiter: &Waiter) {
        let ticket = self.tickets.remove(&waiter.request).expect("it had a ticket");
        let (payload, released) = self.ledger.cancel(ticket);
        assert_eq!((payload, released.drained), (None, None));
        self.woken(released.woken);
    }

    fn collect_grant(&mut self, waiter: &Waiter) {
        let ticket = self.tickets.remove(&waiter.request).expect("it had a ticket");
        let Outcome::Granted(lease) = self.ledger.collect(ticket, self.now) else {
            panic!("{} was woken for nothing", waiter.request)
        };
        let id = self.ledger.instance(&lease).id;
        assert!(self.model.free_for(waiter.pin, self.now).contains(&id), "{id} {:?}", waiter.pin);
        self.granted(waiter.request, lease);
    }

    fn release(&mut self, at: usize) {
        if self.leases.is_empty() {
            return;
        }
        let (_, lease) = self.leases.swap_remove(at % self.leases.len());
        let id = self.ledger.instance(&lease).id;
        let cap = self.model.cap(id, self.now);
        let seat = self.model.seats.get_mut(&id).expect("a lease of an instance that exists");
        seat.in_flight -= 1;
        let drained = (seat.in_flight == 0 && cap == 0).then_some(id);
        if drained.is_some() && !seat.listed {
            self.model.seats.remove(&id);
        }
        let released = self.ledger.release(lease);
        assert_eq!(released.drained, drained);
        self.woken(released.woken);
    }

    fn leave(&mut self, at: usize) {
        let Some(&request) = self.tickets.keys().nth(at % self.tickets.len().max(1)) else {
            return;
        };
        let ticket = self.tickets.remove(&request).expect("just seen");
        let (payload, released) = self.ledger.cancel(ticket);
        let waited = self.model.remove(request).is_some();
        assert_eq!(payload, waited.then_some(request));
        self.model.decided.remove(&request);
        self.woken(released.woken);
    }

    fn expire_due(&mut self) {
        let due: Vec<Request> = (self.model.waiters.iter())
            .filter(|waiter| waiter.deadline <= self.now)
            .map(|waiter| waiter.request)
            .collect();
        for request in due {
            let ticket = self.tickets.remove(&request).expect("it waits");
            let (refusal, payload) = self.ledger.expire(ticket, self.now).expect("it waits");
            assert_eq!((refusal.reason, payload), (Reason::WaitedTooLong, request));
            self.model.remove(request);
        }
    }

    fn apply(&mut self, snapshot: Snapshot) {
        let model = &mut self.model;
        model.weights.clone_from(&snapshot.weights);
        model.closed = snapshot.closed;
        model.in_vain = None;
        model.attainable = snapshot.attainable;
        for seat in model.seats.values_mut() {
            seat.listed = false;
        }
        for instance in &snapshot.instances {
            let in_flight = model.seats.get(&instance.id).map_or(0, |seat| seat.in_flight);
            let seat = Seat { instance: instance.clone(), listed: true, in_flight };
            model.seats.insert(instance.id, seat);
        }
        model.seats.retain(|_, seat| seat.listed || seat.in_flight > 0);
        for at in 0..model.waiters.len() {
            if let Pin::Instance(id) = model.waiters[at].pin
                && !model.accepting(id, self.now)
            {
                model.waiters[at].pin = Pin::Any;
            }
        }
        let woken = self.ledger.apply(snapshot, self.now);
        self.refuse_the_hopeless(&woken);
        self.woken(woken);
    }

    /// After the free slots were given out, whoever can never be served is refused.
    fn refuse_the_hopeless(&mut self, woken: &Woken<Request>) {
        let _ = woken;
        let model = &self.model;
        let served: u64 = model.waiters.len() as u64;
        let hopeless: Vec<(Request, Reason)> = (model.waiters.iter())
            .filter_map(|w| {
                let could = match w.pin {
                    Pin::Any => model.slots(self.now) > 0,
                    Pin::Instance(id) => model.accepting(id, self.now),
                    Pin::Revision(revision) => model.seats.iter().any(|(id, seat)| {
                        seat.instance.revision == revision && model.cap(*id, self.now) > 0
                    }),
                };
                match (model.closed, model.attainable) {
                    (Some(Closed::Paused), _) => Some((w.request, Reason::Paused)),
                    (_, Attainable::Nothing(Why::Paused)) if !could => {
                        Some((w.request, Reason::Paused))
                    }
                    (_, Attainable::Nothing(_)) if !could => {
                        Some((w.request, Reason::NoCapacityComing))
                    }
                    _ => None,
                }
            })
            .collect();
        assert!(hopeless.len() as u64 <= served);
        for (request, reason) in hopeless {
            self.model.remove(request);
            self.model.decided.insert(request, Decided::Refused(reason));
        }
    }

    /// What holds between any two operations.
    fn check(&mut self) {
        let refused: Vec<(Request, Reason)> = (self.model.decided.iter())
            .filter_map(|(request, decided)| match decided {
                Decided::Refused(reason) => Some((*request, *reason)),
                Decided::Granted => None,
            })
            .collect();
        for (request, reason) in refused {
            self.model.decided.remove(&request);
            let ticket = self.tickets.remove(&request).expect("it had a ticket");
            match self.ledger.collect(ticket, self.now) {
                Outcome::Refused(refusal) => assert_eq!(refusal.reason, reason),
                other => panic!("{request} should be refused: {other:?}"),
            }
        }
        self.model.decided.clear();
        let model = &self.model;
        if model.closed != Some(Closed::Paused) {
            assert_eq!(model.next(self.now), None, "somebody waits while a slot is free");
        }
        assert_eq!(self.ledger.waiting() as usize, model.waiters.len());
        assert!(self.ledger.waiting() <= model.settings.max_waiting);
        assert_eq!(self.ledger.in_flight(), self.leases.len() as u64);
        assert_eq!(self.ledger.slots(), model.slots(self.now));
        for (id, seat) in &model.seats {
            assert_eq!(self.ledger.leases_of(*id), seat.in_flight);
        }
        let tally = self.ledger.tally();
        assert_eq!(tally.admitted - tally.released, self.leases.len() as u64);
        let ended = tally.admitted + tally.left + tally.refused_in_all();
        assert_eq!(ended + u64::from(self.ledger.waiting()), u64::from(self.next_request));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive(Ask),
    Release(usize),
    Leave(usize),
    Apply(Snapshot),
    Pass(u64),
}

fn instance_id(number: u64) -> InstanceId {
    ServiceId::from_random(1).instance(number)
}

fn revision() -> impl Strategy<Value = RevisionNumber> {
    (1..3_u64).prop_map(RevisionNumber::new)
}

fn ask() -> impl Strategy<Value = Ask> {
    let pin = prop_oneof![
        6 => Just(Pin::Any),
        1 => revision().prop_map(Pin::Revision),
        1 => (1..5_u64).prop_map(|n| Pin::Instance(instance_id(n))),
    ];
    let someone = || prop::option::weighted(0.2, (1..5_u64).prop_map(instance_id));
    (
        prop::sample::select(&Priority::ALL[1..]),
        1..4_u64,
        pin,
        someone(),
        someone(),
        prop::option::weighted(0.2, 0..30_u64),
        prop::option::weighted(0.1, 980..1_000_u64),
    )
        .prop_map(|(priority, key, pin, prefer, avoid, budget, returned)| {
            let mut ask = Ask::with_priority(priority).on_behalf_of(FairKey(key)).pinned_to(pin);
            (ask.prefer, ask.avoid) = (prefer, avoid);
            ask.budget = budget.map(Duration::from_millis);
            ask.returned = returned.map(Timestamp::from_millis);
            ask
        })
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let instance = (1..5_u64, revision(), 0..4_u32, any::<bool>(), prop::option::of(0..50_u64));
    let instances = prop::collection::btree_map(1..5_u64, instance, 0..5).prop_map(|seats| {
        let made = seats.into_iter().map(|(number, (_, revision, cap, accepting, ramp))| {
            let address = Address::Memory(format!("i{number}").into());
            let mut instance = Instance::new(instance_id(number), address, revision, cap);
            instance.accepting = accepting;
            instance.ramp = ramp.map(|over| Ramp {
                since: Timestamp::from_millis(990),
                over: Duration::from_millis(over),
            });
            instance
        });
        made.collect::<Vec<_>>()
    });
    let weights = prop_oneof![
        3 => Just(Vec::new()),
        1 => (0..3_u32, 0..3_u32).prop_map(|(one, two)| vec![
            Weight { revision: RevisionNumber::new(1), weight: one },
            Weight { revision: RevisionNumber::new(2), weight: two },
        ]),
    ];
    let closed = prop_oneof![
        8 => Just(None),
        1 => Just(Some(Closed::Draining)),
        1 => Just(Some(Closed::Paused)),
    ];
    let attainable = prop_oneof![
        Just(Attainable::Slots { count: 3, after: None }),
        Just(Attainable::Nothing(Why::AtMaximum)),
        Just(Attainable::Nothing(Why::Paused)),
    ];
    (instances, weights, closed, attainable).prop_map(|(instances, weights, closed, attainable)| {
        let mut snapshot = Snapshot::default();
        snapshot.instances = instances;
        snapshot.weights = weights;
        snapshot.closed = closed;
        snapshot.attainable = attainable;
        snapshot
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => ask().prop_map(Step::Arrive),
        6 => any::<usize>().prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::Leave),
        1 => snapshot().prop_map(Step::Apply),
        3 => (1..2_000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    // Short runs: a hundredth of a second is too little for the ledger to learn a pace from, so
    // the model needs no prediction. What is predicted has tests of its own.
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_ledger_does_what_the_contract_says(
        first in snapshot(),
        steps in prop::collection::vec(step(), 1..80),
        max_waiting in 0..8_u32,
        packed: bool,
    ) {
        let balance = if packed { Balance::Packed } else { Balance::LeastLoaded };
        let mut pair = Pair::new(max_waiting, balance);
        pair.apply(first);
        pair.check();
        for step in steps {
            match step {
                Step::Arrive(ask) => pair.arrive(ask),
                Step::Release(at) => pair.release(at),
                Step::Leave(at) => pair.leave(at),
                Step::Apply(snapshot) => pair.apply(snapshot),
                Step::Pass(micros) => {
                    pair.now += Duration::from_micros(micros);
                    let woken = pair.ledger.tick(pair.now);
                    pair.woken(woken);
                    pair.expire_due();
                }
            }
            pair.check();
        }
        while !pair.leases.is_empty() {
            pair.release(0);
            pair.check();
        }
        prop_assert_eq!(pair.ledger.in_flight(), 0);
    }
}
