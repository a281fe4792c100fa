//! Fairness among those who wait, measured: seeded simulations over the ledger, with requests
//! that take time, tenants that keep to their share and tenants that do not.
//!
//! `ADMISSION_FAIRNESS_SECONDS` sets the simulated time of each run. Unset it is 200 s in a debug
//! build and 5,000 s in a release build.

mod support;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use runner_core::{
    admission::{
        Ask, FairKey, Lease, Ledger, Outcome, Priority, QueueSettings, Reason, Ticket, TurnedAway,
    },
    time::Timestamp,
};
use support::{Desk, START, instance, secs, snapshot};

/// Who sends what.
#[derive(Clone, Copy, Debug)]
struct Tenant {
    /// Requests in a second, on average.
    rate: f64,
    spacing: Spacing,
    priority: Priority,
}

/// How a tenant's requests follow each other.
#[derive(Clone, Copy, Debug)]
enum Spacing {
    /// One in each period, at any moment of it: over no stretch more than one above the rate.
    Even,
    /// Each at random, so that it keeps to its rate over long stretches only.
    Random,
}

impl Tenant {
    fn even(rate: f64) -> Self {
        Self { rate, spacing: Spacing::Even, priority: Priority::Normal }
    }

    fn random(rate: f64) -> Self {
        Self { spacing: Spacing::Random, ..Self::even(rate) }
    }
}

/// What became of one tenant's requests.
#[derive(Clone, Debug, Default)]
struct Fate {
    /// Waits of those who were served, none for those served at once.
    waits: Vec<Duration>,
    refused: BTreeMap<Reason, u64>,
}

impl Fate {
    fn p99(&mut self) -> Duration {
        self.waits.sort_unstable();
        self.waits[(self.waits.len() - 1) * 99 / 100]
    }

    fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

#[derive(Debug)]
enum Event {
    Arrives(usize),
    Ends(Lease),
    Expires(Ticket),
}

struct Simulation {
    ledger: Ledger<usize>,
    now: Timestamp,
    events: BTreeMap<(Timestamp, u64), Event>,
    born: u64,
    /// How long requests take, and when each tenant sends: apart, so that two runs of one seed
    /// differ in nothing but what is compared.
    service: Random,
    arrivals: Vec<(Random, f64)>,
    hold: Duration,
    tenants: Vec<Tenant>,
    fates: Vec<Fate>,
    /// Those who wait, by a number that the ledger keeps for each.
    waiting: BTreeMap<usize, (usize, Ticket, Timestamp)>,
}

impl Simulation {
    fn new(
        settings: QueueSettings,
        slots: u32,
        hold: Duration,
        tenants: &[Tenant],
        seed: u64,
    ) -> Self {
        let ledger = Ledger::new(settings, snapshot([instance(1, slots)]), START);
        let mut simulation = Self {
            ledger,
            now: START,
            events: BTreeMap::new(),
            born: 0,
            service: Random(seed),
            arrivals: (1..).map(|n| (Random(seed << 16 | n), 0.0)).take(tenants.len()).collect(),
            hold,
            tenants: tenants.to_vec(),
            fates: vec![Fate::default(); tenants.len()],
            waiting: BTreeMap::new(),
        };
        (0..tenants.len()).for_each(|tenant| simulation.plan_next(tenant));
        simulation
    }

    /// Runs, counting what comes after the first tenth, by which the queue has filled.
    fn run(mut self, time: Duration) -> Vec<Fate> {
        let (end, settled) = (START + time, START + time / 10);
        let mut counts = false;
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > end {
                break;
            }
            if at > settled && !std::mem::replace(&mut counts, true) {
                self.fates.fill(Fate::default());
            }
            self.now = at;
            match event {
                Event::Arrives(tenant) => self.arrive(tenant),
                Event::Ends(lease) => {
                    let woken = self.ledger.release(lease).woken;
                    woken.into_iter().for_each(|who| self.collect(who));
                }
                Event::Expires(ticket) => {
                    if let Some((refusal, who)) = self.ledger.expire(ticket, self.now) {
                        let (tenant, ..) = self.waiting.remove(&who).expect("it waits");
                        *self.fates[tenant].refused.entry(refusal.reason).or_default() += 1;
                    }
                }
            }
        }
        self.fates
    }

    fn arrive(&mut self, tenant: usize) {
        self.plan_next(tenant);
        let priority = self.tenants[tenant].priority;
        let ask = Ask::with_priority(priority).on_behalf_of(FairKey(tenant as u64));
        if let Some(lease) = self.ledger.admit(&ask) {
            self.fates[tenant].waits.push(Duration::ZERO);
            return self.serve(lease);
        }
        let who = self.born as usize;
        match self.ledger.enqueue(&ask, who, self.now) {
            Ok(queued) => {
                self.waiting.insert(who, (tenant, queued.ticket, self.now));
                self.plan(queued.deadline, Event::Expires(queued.ticket));
                queued.displaced.into_iter().for_each(|loser| self.collect(loser));
            }
            Err(TurnedAway { refusal, .. }) => {
                *self.fates[tenant].refused.entry(refusal.reason).or_default() += 1;
            }
        }
    }

    fn plan_next(&mut self, tenant: usize) {
        let Tenant { rate, spacing, .. } = self.tenants[tenant];
        let (random, periods) = &mut self.arrivals[tenant];
        let at = match spacing {
            Spacing::Even => {
                *periods += 1.0;
                *periods - random.unit()
            }
            Spacing::Random => {
                *periods -= (1.0 - random.unit()).ln();
                *periods
            }
        };
        self.plan(START + Duration::from_secs_f64(at / rate), Event::Arrives(tenant));
    }

    fn collect(&mut self, who: usize) {
        let (tenant, ticket, since) = self.waiting.remove(&who).expect("it waited");
        match self.ledger.collect(ticket, self.now) {
            Outcome::Granted(lease) => {
                self.fates[tenant].waits.push(self.now.since(since));
                self.serve(lease);
            }
            Outcome::Refused(refusal) => {
                *self.fates[tenant].refused.entry(refusal.reason).or_default() += 1;
            }
            Outcome::Waiting => panic!("{who} was woken for nothing"),
        }
    }

    /// Half of the time always, the rest at random: neither a clock nor without memory.
    fn serve(&mut self, lease: Lease) {
        let factor = 0.5 - 0.5 * (1.0 - self.service.unit()).ln();
        let held = self.hold.mul_f64(factor);
        if lease.is_sampled() {
            self.ledger.learn(held);
        }
        self.plan(self.now + held, Event::Ends(lease));
    }

    fn plan(&mut self, at: Timestamp, event: Event) {
        self.born += 1;
        self.events.insert((at, self.born), event);
    }
}

/// `SplitMix64`: small, seeded, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn run_time() -> Duration {
    let set = std::env::var("ADMISSION_FAIRNESS_SECONDS").ok().and_then(|text| text.parse().ok());
    secs(set.unwrap_or(if cfg!(debug_assertions) { 200 } else { 5_000 }))
}

/// How many runs of each case.
const SEEDS: u64 = if cfg!(debug_assertions) { 1 } else { 3 };

const SLOTS: u32 = 8;
const HOLD: Duration = Duration::from_millis(100);
/// Requests in a second that the slots serve.
const CAPACITY: f64 = 80.0;
/// How long it takes from one slot coming free to the next.
const HAND_OVER: Duration = HOLD.checked_div(SLOTS).expect("there are slots");

// === the tenant at a hundred times its share ===

#[test]
fn a_tenant_at_a_hundred_times_its_share_hardly_moves_the_waits_of_the_others() {
    println!("{} s simulated, {SLOTS} slots of {HOLD:?}", run_time().as_secs());
    for count in [2, 10, 40] {
        for seed in 1..=SEEDS {
            let fair = vec![Tenant::even(CAPACITY / f64::from(count)); count as usize];
            let mut greedy = fair.clone();
            greedy[0].rate *= 100.0;
            let (before, refused_before) = p99_of_others(&fair, seed);
            let (after, refused_after) = p99_of_others(&greedy, seed);
            println!(
                "{count} tenants, seed {seed}: p99 wait {before:.1?} when all keep to their \
                 share, {after:.1?} beside one at a hundred times"
            );
            let bound = before.mul_f64(1.1) + HAND_OVER;
            assert!(after <= bound, "{count} tenants, seed {seed}: {after:?} is above {bound:?}");
            assert_eq!(
                (refused_before, refused_after),
                (0, 0),
                "nobody who keeps to it is refused"
            );
        }
    }
}

/// The p99 wait of all tenants but the first, and how many of their requests were refused.
fn p99_of_others(tenants: &[Tenant], seed: u64) -> (Duration, u64) {
    let mut all = Fate::default();
    let mut refused = 0;
    for stretch in 0..(run_time().as_secs() / STRETCH.as_secs()).max(1) {
        let settings = QueueSettings::new(400, secs(10));
        let seed = seed + 1_000 * stretch;
        let fates = Simulation::new(settings, SLOTS, HOLD, tenants, seed).run(STRETCH);
        all.waits.extend(fates[1..].iter().flat_map(|fate| &fate.waits));
        refused += fates[1..].iter().map(Fate::refusals).sum::<u64>();
    }
    (all.p99(), refused)
}

/// A service that is asked for just what it can do has a queue that wanders: its length grows with
/// the root of the time, whoever keeps to what. So a long run is many of these, each from an empty
/// queue, and long enough for the queue to be there nearly always.
const STRETCH: Duration = secs(200);

#[test]
fn one_far_below_its_share_waits_for_about_a_round_beside_any_flood() {
    // It sends at random, at half its share; nine others send a hundred times theirs.
    let mut tenants = vec![Tenant::random(CAPACITY * 10.0); 10];
    tenants[0].rate = CAPACITY / 20.0;
    let settings = QueueSettings::new(400, secs(10));
    let mut fates = Simulation::new(settings, SLOTS, HOLD, &tenants, 1).run(run_time() / 10);
    let p99 = fates[0].p99();
    println!("p99 wait {p99:.1?}, a round of ten is {:?}", HAND_OVER * 10);
    assert!(p99 <= HAND_OVER * 10 * 6, "{p99:?}");
    assert_eq!(fates[0].refusals(), 0);
}

// === weights and classes ===

#[test]
fn keys_that_come_later_start_where_the_others_are() {
    let mut desk = Desk::new(QueueSettings::new(100, secs(60)), snapshot([instance(1, 1)]));
    let mut lease = desk.admitted(&Ask::default());
    let asks = |key| Ask::default().on_behalf_of(FairKey(key));
    let mut tickets: Vec<_> = (0..5).map(|_| desk.waits(&asks(1))).collect();
    let mut served = Vec::new();
    for turn in 0..7 {
        if turn == 3 {
            tickets.extend((0..2).map(|_| desk.waits(&asks(2))));
        }
        let [next] = desk.release(lease)[..] else { panic!("one is served") };
        let at = tickets.iter().position(|(who, _)| *who == next).expect("it waits");
        served.push(at);
        lease = desk.granted(tickets[at].1);
    }
    // The second key is owed nothing for the three turns before it came.
    assert_eq!(served, [0, 1, 2, 5, 3, 6, 4]);
    let _ = desk.release(lease);
}

#[test]
fn keys_that_all_want_more_are_served_by_their_weights() {
    let weights = [1, 2, 3, 10];
    let mut settings = QueueSettings::new(400, secs(60));
    settings.key_weights = (0..).map(FairKey).zip(weights).collect();
    let tenants = vec![Tenant::random(CAPACITY * 2.0); weights.len()];
    let fates = Simulation::new(settings, SLOTS, HOLD, &tenants, 1).run(run_time() / 2);
    let served: Vec<_> = fates.iter().map(|fate| fate.waits.len() as f64).collect();
    let (all, weight): (f64, u32) = (served.iter().sum(), weights.iter().sum());
    for (served, weight_of) in served.iter().zip(weights) {
        let share = served / all * f64::from(weight);
        println!("weight {weight_of}: served {share:.3}");
        assert!((share / f64::from(weight_of) - 1.0).abs() < 0.02, "{share} of {weight_of}");
    }
}

#[test]
fn a_flood_of_a_lower_class_is_not_noticed_in_a_higher_one() {
    let critical = Tenant { priority: Priority::Critical, ..Tenant::random(CAPACITY / 4.0) };
    let flood = Tenant { priority: Priority::Low, ..Tenant::random(CAPACITY * 10.0) };
    let settings = QueueSettings::new(100, secs(10));
    let mut fates =
        Simulation::new(settings, SLOTS, HOLD, &[critical, flood], 1).run(run_time() / 10);
    let p99 = fates[0].p99();
    println!("p99 wait of the higher class {p99:.1?}, hand-over {HAND_OVER:?}");
    assert!(p99 <= HAND_OVER * 6, "{p99:?}");
    assert_eq!(fates[0].refusals(), 0);
    assert!(!fates[1].waits.is_empty(), "what the higher class leaves the lower one gets");
    assert!(fates[1].refused[&Reason::QueueFull] > 0);
}

// === a full queue ===

#[test]
fn in_a_full_queue_a_key_below_its_share_takes_the_newest_place_of_the_key_furthest_above() {
    let ask = |key| Ask::default().on_behalf_of(FairKey(key));
    let mut desk = Desk::new(QueueSettings::new(9, secs(60)), snapshot([instance(1, 1)]));
    let mut leases = desk.fill();
    let mut heavy: VecDeque<_> = (0..6).map(|_| desk.waits(&ask(1))).collect();
    let middle: Vec<_> = (0..3).map(|_| desk.waits(&ask(2))).collect();
    let own: Vec<_> = (0..3)
        .map(|_| {
            let queued = desk.enqueue(&ask(3)).expect("below its third of the nine");
            let (loser, ticket) = heavy.pop_back().expect("six");
            assert_eq!(queued.displaced, Some(loser), "the newest of the heaviest");
            let refusal = desk.dismissed(ticket);
            assert_eq!((refusal.reason, refusal.reason.status()), (Reason::QueueFull, 429));
            queued.ticket
        })
        .collect();
    // All have a third now, so nobody is above its share.
    for key in 1..=3 {
        assert_eq!(desk.refused(&ask(key)).reason, Reason::QueueFull);
    }
    // A fourth is owed a quarter of nine, which is two.
    for _ in 0..2 {
        let queued = desk.enqueue(&ask(4)).expect("below its share");
        let loser = queued.displaced.expect("somebody is above a quarter");
        assert!(heavy.iter().chain(&middle).any(|(request, _)| *request == loser) || loser >= 9);
    }
    assert_eq!(desk.refused(&ask(4)).reason, Reason::QueueFull);
    assert_eq!(desk.ledger.waiting(), 9);
    let _ = (desk.release(leases.remove(0)), own);
}

#[test]
fn in_a_full_queue_a_higher_class_takes_a_place_of_the_last() {
    let mut desk = Desk::new(QueueSettings::new(3, secs(60)), snapshot([instance(1, 1)]));
    let _leases = desk.fill();
    let _normal = desk.waits(&Ask::default());
    let older = desk.waits(&Ask::with_priority(Priority::Low));
    let newer = desk.waits(&Ask::with_priority(Priority::Low));
    for (asked, loser) in [(Priority::Critical, newer), (Priority::Normal, older)] {
        let queued = desk.enqueue(&Ask::with_priority(asked)).expect("it comes first");
        assert_eq!(queued.displaced, Some(loser.0));
        assert_eq!(desk.dismissed(loser.1).reason, Reason::QueueFull);
    }
    assert_eq!(desk.refused(&Ask::with_priority(Priority::Low)).reason, Reason::QueueFull);
}

#[test]
fn in_a_full_queue_who_came_back_keeps_its_place_and_others_are_looked_for() {
    let mut desk = Desk::new(QueueSettings::new(2, secs(60)), snapshot([instance(1, 1)]));
    let _leases = desk.fill();
    let mut returned = Ask::with_priority(Priority::Low);
    returned.returned = Some(START);
    let (_, kept) = desk.waits(&returned);
    let (loser, _) = desk.waits(&Ask::default());
    let queued = desk.enqueue(&Ask::with_priority(Priority::High)).expect("it comes first");
    assert_eq!(queued.displaced, Some(loser));
    desk.still_waits(kept);
}

#[test]
fn weights_of_keys_count_for_places_as_well() {
    let ask = |key| Ask::default().on_behalf_of(FairKey(key));
    let mut settings = QueueSettings::new(4, secs(60));
    settings.key_weights = BTreeMap::from([(FairKey(2), 3)]);
    let mut desk = Desk::new(settings, snapshot([instance(1, 1)]));
    let _leases = desk.fill();
    let mut light: Vec<_> = (0..4).map(|_| desk.waits(&ask(1))).collect();
    for _ in 0..3 {
        let queued = desk.enqueue(&ask(2)).expect("three of four are its share");
        let (loser, ticket) = light.pop().expect("four");
        assert_eq!(queued.displaced, Some(loser));
        let _ = desk.dismissed(ticket);
    }
    assert_eq!(desk.refused(&ask(2)).reason, Reason::QueueFull);
}
