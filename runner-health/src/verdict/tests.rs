//! The rules, by table, exhaustively and by property.

use std::collections::BTreeMap;

use proptest::prelude::*;
use runner_core::{id::ServiceId, spec::Attempts};

use super::*;
use crate::{Cadence, HealthSettings, passive::PassiveSettings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn attempts(number: u32) -> Attempts {
    Attempts::new(number).expect("within bounds")
}

fn cadence(rise: u32, fall: u32) -> Cadence {
    Cadence::every(5 * SECOND, 2 * SECOND).rise(attempts(rise)).fall(attempts(fall))
}

fn id(number: u64) -> InstanceId {
    ServiceId::from_random(7).instance(number)
}

/// One instance and what it was last asked.
#[derive(Clone)]
struct One {
    health: InstanceHealth,
    asks: [Option<Ask>; 3],
    now: Timestamp,
    causes: Vec<Cause>,
}

impl One {
    fn new(settings: HealthSettings) -> Self {
        let now = Timestamp::from_secs(1_777_507_200);
        let (health, effects) = InstanceHealth::begin(settings.into(), (1, 1), now);
        let mut one = Self { health, asks: [None; 3], now, causes: Vec::new() };
        one.take(effects);
        one
    }

    fn ready(settings: HealthSettings) -> Self {
        let mut one = Self::new(settings);
        while one.verdict() == Verdict::Starting {
            one.answer(one.first(), true);
        }
        assert_eq!(one.verdict(), Verdict::Ready);
        one
    }

    fn verdict(&self) -> Verdict {
        self.health.verdict()
    }

    fn first(&self) -> Question {
        let asks = self.asks.iter().flatten();
        asks.min_by_key(|ask| (ask.at, ask.question)).expect("something is asked").question
    }

    fn ask(&self, question: Question) -> Ask {
        self.asks[question as usize].expect("it is asked")
    }

    fn take(&mut self, effects: Vec<InstanceEffect>) {
        for effect in effects {
            match effect {
                InstanceEffect::Ask(ask) => {
                    assert!(ask.at >= self.now, "nothing is asked in the past");
                    self.asks[ask.question as usize] = Some(ask);
                }
                InstanceEffect::Turned { to, cause } => {
                    assert_eq!(to, self.health.verdict());
                    self.causes.push(cause);
                }
            }
        }
    }

    fn handle(&mut self, event: InstanceEvent) {
        let effects = self.health.handle(event, self.now);
        self.take(effects);
    }

    /// Lets the question come up and be answered at once.
    fn answer(&mut self, question: Question, good: bool) {
        self.now = self.now.max(self.ask(question).at);
        self.answer_now(question, good, false);
    }

    fn answer_now(&mut self, question: Question, good: bool, disturbed: bool) {
        let Some(ask) = self.asks[question as usize] else { return };
        let seen = if good { Seen::Accepted } else { Seen::Refused };
        let (ticket, begun) = (ask.ticket, self.now);
        let answer = Answer { question, ticket, begun, seen, disturbed };
        self.handle(InstanceEvent::Answered(answer));
    }

    /// How long until a question is asked.
    fn wait(&self, question: Question) -> Duration {
        self.ask(question).at.since(self.now)
    }
}

#[test]
fn a_start_is_asked_every_few_milliseconds_and_then_less_often() {
    let mut one = One::new(HealthSettings::new(cadence(1, 5)));
    let (start, mut asked) = (one.now, 0);
    assert_eq!(one.wait(Question::Readiness), Duration::ZERO, "at once");
    while one.now.since(start) < 60 * SECOND {
        one.answer(Question::Readiness, false);
        let elapsed = one.now.since(start);
        let most = (elapsed / 30).max(2 * MS).min(5 * SECOND);
        assert!(one.wait(Question::Readiness) <= most, "{elapsed:?}");
        asked += 1;
    }
    assert!((60..=400).contains(&asked), "{asked} questions in a minute");
    one.answer(Question::Readiness, true);
    assert_eq!(one.verdict(), Verdict::Ready);
}

#[test]
fn good_answers_that_a_threshold_needs_come_soon_after_each_other() {
    let mut one = One::new(HealthSettings::new(cadence(3, 5)));
    let start = one.now;
    while one.now.since(start) < 60 * SECOND {
        one.answer(Question::Readiness, false);
    }
    for _ in 0..2 {
        one.answer(Question::Readiness, true);
        assert_eq!(one.verdict(), Verdict::Starting);
        assert!(one.wait(Question::Readiness) <= 100 * MS);
    }
    one.answer(Question::Readiness, true);
    assert_eq!(one.verdict(), Verdict::Ready);
    let wait = one.wait(Question::Readiness);
    assert!((4500 * MS..=5500 * MS).contains(&wait), "then the interval: {wait:?}");
}

#[test]
fn a_start_beyond_its_allowance_is_over_and_says_what_was_seen() {
    let settings = HealthSettings::new(cadence(1, 5)).start_allowance(10 * SECOND);
    let mut one = One::new(settings);
    let start = one.now;
    while one.verdict() == Verdict::Starting {
        assert!(one.ask(Question::Readiness).at <= start + 10 * SECOND);
        one.answer(Question::Readiness, false);
    }
    assert_eq!((one.verdict(), one.now), (Verdict::NeverReady, start + 10 * SECOND));
    let cause = one.causes.pop().expect("a cause").to_string();
    assert_eq!(
        cause,
        "readiness did not pass within 10s; at last: the connection was refused: nothing listens \
         there"
    );
    one.answer_now(Question::Readiness, true, false);
    assert_eq!(one.verdict(), Verdict::NeverReady, "for good");
}

#[test]
fn the_last_chance_of_a_start_ends_with_its_allowance() {
    let settings = HealthSettings::new(cadence(1, 5)).start_allowance(SECOND);
    let mut one = One::new(settings);
    let start = one.now;
    while one.verdict() == Verdict::Starting {
        let Ask { at, limit, .. } = one.ask(Question::Readiness);
        assert!(at + limit <= start + SECOND + 100 * MS, "{at:?} {limit:?}");
        // It hangs for as long as it may.
        let begun = at;
        one.now = at + limit;
        let seen = Seen::TimedOut { limit, waiting_for: crate::probe::Waiting::Answer };
        let ticket = one.ask(Question::Readiness).ticket;
        let question = Question::Readiness;
        let answer = Answer { question, ticket, begun, seen, disturbed: false };
        one.handle(InstanceEvent::Answered(answer));
    }
    assert!(one.now.since(start) <= 1100 * MS);
}

#[test]
fn startup_comes_before_readiness_and_liveness_after_it() {
    let settings = HealthSettings::new(cadence(1, 2))
        .startup(cadence(2, 5))
        .liveness(cadence(1, 3).delay(60 * SECOND));
    let mut one = One::new(settings);
    let start = one.now;
    for _ in 0..2 {
        assert_eq!(one.asks.map(|ask| ask.is_some()), [true, false, false]);
        one.answer(Question::Startup, true);
    }
    assert_eq!(one.asks.map(|ask| ask.is_some()), [true, true, false]);
    assert_eq!(one.verdict(), Verdict::Starting, "startup alone does not serve");
    assert_eq!(one.wait(Question::Readiness), Duration::ZERO);
    one.answer(Question::Readiness, true);
    assert_eq!(one.verdict(), Verdict::Ready);
    assert_eq!(one.ask(Question::Liveness).at, start + 60 * SECOND);
    for _ in 0..3 {
        assert_eq!(one.verdict(), Verdict::Ready);
        one.answer(Question::Liveness, false);
    }
    assert_eq!(one.verdict(), Verdict::Failed);
    assert!(one.health.wants_replacement());
    one.answer(Question::Liveness, true);
    assert_eq!(one.verdict(), Verdict::Ready, "it recovered before it was replaced");
}

#[test]
fn at_app_runners_defaults_a_fault_is_noticed_after_25_seconds_and_not_before() {
    let mut one = One::ready(HealthSettings::default());
    one.answer(Question::Readiness, true);
    let last_good = one.now;
    while one.verdict() == Verdict::Ready {
        one.answer(Question::Readiness, false);
    }
    let span = one.now.since(last_good);
    assert!((22 * SECOND..=28 * SECOND).contains(&span), "{span:?}");
    assert!(one.wait(Question::Readiness) <= 100 * MS, "faster while it is out");
    one.answer(Question::Readiness, true);
    assert_eq!(one.verdict(), Verdict::Ready, "the first good answer counts");
}

#[test]
fn while_answers_are_bad_it_is_asked_faster_where_that_was_asked_for() {
    let (usual, fast) = (cadence(1, 3), cadence(1, 3).failing(500 * MS));
    for (cadence, expected) in [
        (usual, 5 * SECOND),
        (fast, 500 * MS),
        (usual.failing(60 * SECOND), 5 * SECOND),
        (usual.failing(Duration::ZERO), Cadence::LEAST_INTERVAL),
    ] {
        for question in [Question::Readiness, Question::Liveness] {
            let about = |span| expected * 9 / 10 <= span && span <= expected * 11 / 10;
            let settings = HealthSettings::new(cadence).liveness(cadence);
            let mut one = One::ready(settings);
            one.answer(question, false);
            assert!(
                about(one.wait(question)),
                "{cadence:?}, {question:?}: {:?}",
                one.wait(question)
            );
            one.answer(question, false);
            assert!(
                about(one.wait(question)),
                "{cadence:?}, {question:?}: {:?}",
                one.wait(question)
            );
            one.answer(question, true);
            let wait = one.wait(question);
            assert!((4500 * MS..=5500 * MS).contains(&wait), "and then as before: {wait:?}");
            let began = one.now;
            for _ in 0..3 {
                assert_eq!(one.verdict(), Verdict::Ready, "as many bad ones as ever");
                one.answer(question, false);
            }
            assert_ne!(one.verdict(), Verdict::Ready);
            let most = 6 * SECOND + 2 * expected * 11 / 10;
            assert!(one.now.since(began) <= most, "{cadence:?}: {:?}", one.now.since(began));
        }
    }
}

#[test]
fn one_that_fails_again_soon_after_it_came_back_waits_longer_each_time() {
    let mut one = One::ready(HealthSettings::new(cadence(1, 1)));
    let mut outages = Vec::new();
    for _ in 0..7 {
        one.answer(Question::Readiness, false);
        let out = one.now;
        while one.verdict() == Verdict::Unready {
            one.answer(Question::Readiness, true);
        }
        outages.push(one.now.since(out).as_millis());
    }
    assert_eq!(outages, [100, 5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
    for _ in 0..15 {
        one.answer(Question::Readiness, true);
    }
    one.answer(Question::Readiness, false);
    let out = one.now;
    one.answer(Question::Readiness, true);
    assert_eq!(one.verdict(), Verdict::Ready, "it had been in for a minute");
    assert_eq!(one.now.since(out), 100 * MS);
}

#[test]
fn waking_is_publishing_at_once_asking_at_once_and_one_failure() {
    let mut one = One::ready(HealthSettings::new(cadence(1, 5)));
    one.handle(InstanceEvent::Freeze);
    assert_eq!(one.verdict(), Verdict::Frozen);
    let stale = one.ask(Question::Readiness).ticket;
    one.answer(Question::Readiness, false);
    assert_eq!(one.verdict(), Verdict::Frozen, "what was under way does not count");
    one.now += 3600 * SECOND;
    one.handle(InstanceEvent::Thaw);
    assert_eq!((one.verdict(), one.causes.last()), (Verdict::Ready, Some(&Cause::Woken)));
    assert_eq!(one.wait(Question::Readiness), Duration::ZERO);
    assert_ne!(one.ask(Question::Readiness).ticket, stale);
    let mut other = one.clone();
    one.answer(Question::Readiness, false);
    assert_eq!(one.verdict(), Verdict::Unready);
    assert!(matches!(one.causes.last(), Some(Cause::FailedAfterWaking { .. })));
    other.answer(Question::Readiness, true);
    other.answer(Question::Readiness, false);
    assert_eq!(other.verdict(), Verdict::Ready, "after a good answer the threshold is back");
}

#[test]
fn what_was_lost_is_given_back_to_a_start() {
    let settings = HealthSettings::new(cadence(1, 5)).start_allowance(10 * SECOND);
    let mut one = One::new(settings);
    one.now += 60 * SECOND;
    one.handle(InstanceEvent::Lost(60 * SECOND));
    one.answer(Question::Readiness, false);
    assert_eq!(one.verdict(), Verdict::Starting);
    one.now += 3600 * SECOND;
    one.handle(InstanceEvent::Freeze);
    one.now += 3600 * SECOND;
    one.handle(InstanceEvent::Thaw);
    one.answer(Question::Readiness, false);
    assert_eq!(one.verdict(), Verdict::NeverReady, "time that passes awake counts");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Good,
    Bad,
    /// Bad, while this program was stopped.
    Disturbed,
    LivenessGood,
    LivenessBad,
    Freeze,
    Thaw,
}

const KINDS: [Kind; 7] = [
    Kind::Good,
    Kind::Bad,
    Kind::Disturbed,
    Kind::LivenessGood,
    Kind::LivenessBad,
    Kind::Freeze,
    Kind::Thaw,
];

/// What counts of a history, for one question.
#[derive(Clone, Copy, PartialEq)]
enum Item {
    Good,
    Bad,
    Woke,
}

/// The rules from the whole history at once: an instance that became ready, `rise` 2, `fall` 3
/// for readiness and 1 and 2 for liveness.
fn plainly(history: &[Kind]) -> Verdict {
    let last_turn = history.iter().rposition(|kind| matches!(kind, Kind::Freeze | Kind::Thaw));
    if last_turn.is_some_and(|at| history[at] == Kind::Freeze) {
        return Verdict::Frozen;
    }
    let readiness = [Kind::Good, Kind::Bad, Kind::Disturbed];
    let liveness = [Kind::LivenessGood, Kind::LivenessBad];
    let lives = is_in(&counted(history, &liveness), 1, 2, false);
    match (lives, is_in(&counted(history, &readiness), 2, 3, true)) {
        (false, _) => Verdict::Failed,
        (_, true) => Verdict::Ready,
        (_, false) => Verdict::Unready,
    }
}

/// Answers to a question that was asked: none while frozen, a disturbed one only as the third in
/// a row.
fn counted(history: &[Kind], of: &[Kind]) -> Vec<Item> {
    let (mut items, mut frozen, mut disturbed) = (Vec::new(), false, 0);
    for kind in history {
        match kind {
            Kind::Freeze => frozen = true,
            Kind::Thaw if frozen => {
                (frozen, disturbed) = (false, 0);
                items.push(Item::Woke);
            }
            kind if frozen || !of.contains(kind) => {}
            Kind::Disturbed if disturbed < 2 => disturbed += 1,
            Kind::Good | Kind::LivenessGood => {
                disturbed = 0;
                items.push(Item::Good);
            }
            _ => {
                disturbed = 0;
                items.push(Item::Bad);
            }
        }
    }
    items
}

/// The latest of: `rise` good ones in a row, `fall` bad ones in a row, a bad one right after
/// waking.
fn is_in(items: &[Item], rise: usize, fall: usize, minds_waking: bool) -> bool {
    let decided = (1..=items.len()).rev().find_map(|end| {
        let ends_with = |tail: &[Item]| items[..end].ends_with(tail);
        if ends_with(&vec![Item::Good; rise]) {
            return Some(true);
        }
        let woke_badly = minds_waking && ends_with(&[Item::Woke, Item::Bad]);
        (woke_badly || ends_with(&vec![Item::Bad; fall])).then_some(false)
    });
    decided.unwrap_or(true)
}

fn step(one: &mut One, kind: Kind) {
    // Longer than damping looks back, which has tests of its own.
    one.now += 61 * SECOND;
    match kind {
        Kind::Good => one.answer_now(Question::Readiness, true, false),
        Kind::Bad => one.answer_now(Question::Readiness, false, false),
        Kind::Disturbed => one.answer_now(Question::Readiness, false, true),
        Kind::LivenessGood => one.answer_now(Question::Liveness, true, false),
        Kind::LivenessBad => one.answer_now(Question::Liveness, false, false),
        Kind::Freeze => one.handle(InstanceEvent::Freeze),
        Kind::Thaw => one.handle(InstanceEvent::Thaw),
    }
}

/// Every history of some kinds up to a length, each checked against the rules said plainly.
fn every_history(kinds: &[Kind], length: usize) -> usize {
    fn extend(one: &One, history: &mut Vec<Kind>, kinds: &[Kind], length: usize) -> usize {
        assert_eq!(one.verdict(), plainly(history), "{history:?}");
        if history.len() == length {
            return 1;
        }
        let mut histories = 1;
        for kind in kinds {
            let mut next = one.clone();
            next.causes.clear();
            step(&mut next, *kind);
            assert_eq!(next.causes.len(), usize::from(next.verdict() != one.verdict()));
            history.push(*kind);
            histories += extend(&next, history, kinds, length);
            history.pop();
        }
        histories
    }
    let liveness = cadence(1, 2);
    let one = One::ready(HealthSettings::new(cadence(2, 3)).liveness(liveness));
    extend(&one, &mut Vec::new(), kinds, length)
}

#[test]
fn every_history_of_two_outcomes_to_length_twelve_comes_out_as_the_rules_say() {
    assert_eq!(every_history(&[Kind::Good, Kind::Bad], 12), (1 << 13) - 1);
}

#[test]
fn every_history_of_all_kinds_to_length_seven_comes_out_as_the_rules_say() {
    assert_eq!(every_history(&KINDS, 7), (7_usize.pow(8) - 1) / 6);
}

/// A fleet, what its instances were last asked, and what was told.
struct Fleet {
    health: FleetHealth,
    asks: BTreeMap<(InstanceId, Question), Ask>,
    told: BTreeMap<InstanceId, Verdict>,
    causes: Vec<(InstanceId, Cause)>,
    replaced: Vec<InstanceId>,
    settings: std::sync::Arc<HealthSettings>,
    now: Timestamp,
}

impl Fleet {
    fn new(settings: HealthSettings) -> Self {
        Self {
            health: FleetHealth::new(PassiveSettings::default(), 7),
            asks: BTreeMap::new(),
            told: BTreeMap::new(),
            causes: Vec::new(),
            replaced: Vec::new(),
            settings: settings.into(),
            now: Timestamp::from_secs(1_777_507_200),
        }
    }

    fn with_ready(settings: HealthSettings, instances: u64) -> Self {
        let mut fleet = Self::new(settings);
        for number in 1..=instances {
            fleet.add(number);
            fleet.answer(number, Question::Readiness, true);
            assert_eq!(fleet.told[&id(number)], Verdict::Ready);
        }
        fleet
    }

    fn add(&mut self, number: u64) {
        let settings = std::sync::Arc::clone(&self.settings);
        self.handle(FleetEvent::Added { instance: id(number), settings });
        self.told.entry(id(number)).or_insert(Verdict::Starting);
    }

    fn remove(&mut self, number: u64) {
        self.handle(FleetEvent::Removed { instance: id(number) });
        self.told.remove(&id(number));
        self.asks.retain(|(instance, _), _| *instance != id(number));
    }

    fn answer(&mut self, number: u64, question: Question, good: bool) {
        let Some(ask) = self.asks.get(&(id(number), question)) else { return };
        let seen = if good { Seen::Accepted } else { Seen::Refused };
        let (ticket, begun) = (ask.ticket, self.now);
        let answer = Answer { question, ticket, begun, seen, disturbed: false };
        self.handle(FleetEvent::Answered { instance: id(number), answer });
    }

    fn errors(&mut self, number: u64, run: u64) {
        let outcomes = Outcomes {
            requests: run + 1,
            errors: run,
            errors_in_a_row: run,
            ..Outcomes::default()
        };
        self.handle(FleetEvent::Reported { instance: id(number), outcomes });
    }

    fn handle(&mut self, event: FleetEvent) {
        for effect in self.health.handle(event, self.now) {
            match effect {
                FleetEffect::Ask { instance, ask } => {
                    assert!(ask.at >= self.now);
                    self.asks.insert((instance, ask.question), ask);
                }
                FleetEffect::Changed(change) => {
                    let told = self.told.insert(change.instance, change.to);
                    assert_eq!(told, Some(change.from), "a change begins where the last ended");
                    self.causes.push((change.instance, change.cause));
                }
                FleetEffect::Replace { instance } => self.replaced.push(instance),
            }
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.told.values().filter(|told| **told == verdict).count()
    }
}

#[test]
fn an_instance_whose_requests_fail_is_ejected_asked_at_once_and_taken_back() {
    let mut fleet = Fleet::with_ready(HealthSettings::default(), 3);
    fleet.errors(1, 5);
    assert_eq!(fleet.told[&id(1)], Verdict::Ejected);
    assert_eq!(fleet.asks[&(id(1), Question::Readiness)].at, fleet.now);
    fleet.answer(1, Question::Readiness, true);
    assert_eq!(fleet.told[&id(1)], Verdict::Ejected, "a good probe is no good request");
    let start = fleet.now;
    while fleet.told[&id(1)] == Verdict::Ejected {
        fleet.now = fleet.health.next_due().expect("it ends");
        fleet.handle(FleetEvent::Tick);
    }
    assert_eq!((fleet.told[&id(1)], fleet.now.since(start)), (Verdict::Ready, 30 * SECOND));
}

#[test]
fn failing_open_takes_back_the_ejected_and_not_those_that_failed_a_question() {
    let mut fleet = Fleet::with_ready(HealthSettings::new(cadence(1, 1)), 4);
    fleet.errors(1, 5);
    fleet.errors(2, 5);
    assert_eq!((fleet.count(Verdict::Ejected), fleet.count(Verdict::Ready)), (2, 2));
    fleet.answer(3, Question::Readiness, false);
    assert_eq!(fleet.told[&id(3)], Verdict::Unready);
    assert_eq!(fleet.told[&id(1)], Verdict::Ready, "three are left, of which one may be out");
    assert_eq!(fleet.causes.last(), Some(&(id(1), Cause::FailedOpen)));
    fleet.answer(4, Question::Readiness, false);
    assert_eq!(fleet.count(Verdict::Ejected), 1);
    fleet.answer(1, Question::Readiness, false);
    assert_eq!(fleet.told[&id(2)], Verdict::Ready, "the last of all");
    assert_eq!(fleet.count(Verdict::Unready), 3, "who failed a question stays out");
}

#[test]
fn one_that_fails_liveness_among_others_that_are_well_is_replaced_at_once() {
    let settings = HealthSettings::new(cadence(1, 1)).liveness(cadence(1, 1));
    let mut fleet = Fleet::with_ready(settings, 3);
    fleet.answer(1, Question::Liveness, false);
    fleet.answer(2, Question::Liveness, false);
    assert_eq!(fleet.replaced, [id(1), id(2)]);
}

#[test]
fn when_all_fail_at_once_one_is_replaced_at_a_time_until_one_has_passed() {
    let settings = HealthSettings::new(cadence(1, 3)).replacing_unready(true);
    let mut fleet = Fleet::with_ready(settings, 4);
    for _ in 0..3 {
        for number in 1..=4 {
            fleet.answer(number, Question::Readiness, false);
        }
    }
    assert_eq!(fleet.count(Verdict::Unready), 4);
    assert_eq!(fleet.replaced, [id(1)], "one, since the fault may lie elsewhere");
    fleet.add(5);
    assert_eq!(fleet.replaced.len(), 1, "while it is tried");
    fleet.remove(1);
    fleet.now += 301 * SECOND;
    fleet.answer(5, Question::Readiness, false);
    assert_eq!(fleet.told[&id(5)], Verdict::NeverReady);
    assert_eq!(fleet.replaced, [id(1), id(2)], "it failed too: the next one");
    fleet.add(6);
    fleet.answer(6, Question::Readiness, true);
    assert_eq!(fleet.replaced, [id(1), id(2), id(3), id(4), id(5)], "it passed: all the rest");
}

#[test]
fn a_replacement_that_is_gone_without_having_passed_has_failed() {
    let settings = HealthSettings::new(cadence(1, 2)).replacing_unready(true);
    let mut fleet = Fleet::with_ready(settings, 2);
    for _ in 0..2 {
        (1..=2).for_each(|number| fleet.answer(number, Question::Readiness, false));
    }
    fleet.add(3);
    assert_eq!(fleet.replaced, [id(1)]);
    fleet.remove(3);
    assert_eq!(fleet.replaced, [id(1), id(2)]);
}

#[test]
fn whoever_recovered_and_fails_again_may_be_replaced_again() {
    let settings = HealthSettings::new(cadence(1, 1)).replacing_unready(true);
    let mut fleet = Fleet::with_ready(settings, 2);
    fleet.answer(1, Question::Readiness, false);
    fleet.answer(1, Question::Readiness, true);
    assert_eq!(fleet.told[&id(1)], Verdict::Ready);
    fleet.answer(1, Question::Readiness, false);
    assert_eq!(fleet.replaced, [id(1), id(1)]);
}

#[test]
fn whoever_recovers_before_its_turn_is_not_replaced() {
    let settings = HealthSettings::new(cadence(1, 2)).replacing_unready(true);
    let mut fleet = Fleet::with_ready(settings, 3);
    for _ in 0..2 {
        (1..=3).for_each(|number| fleet.answer(number, Question::Readiness, false));
    }
    assert_eq!(fleet.replaced, [id(1)]);
    fleet.answer(2, Question::Readiness, true);
    fleet.answer(3, Question::Readiness, true);
    assert_eq!(fleet.replaced, [id(1), id(3)], "3 was still out when 2 was well again");
    assert_eq!(fleet.told[&id(2)], Verdict::Ready);
}

#[test]
fn a_replacement_that_never_comes_holds_the_others_no_longer_than_two_starts() {
    let settings = HealthSettings::new(cadence(1, 2)).replacing_unready(true);
    let mut fleet = Fleet::with_ready(settings, 2);
    for _ in 0..2 {
        (1..=2).for_each(|number| fleet.answer(number, Question::Readiness, false));
    }
    assert_eq!(fleet.replaced, [id(1)]);
    let due = fleet.health.next_due().expect("it is looked at again");
    assert_eq!(due, fleet.now + 600 * SECOND);
    fleet.now = due;
    fleet.handle(FleetEvent::Tick);
    assert_eq!(fleet.replaced, [id(1), id(2)]);
}

#[derive(Clone, Debug)]
enum Happening {
    Add(u64),
    Remove(u64),
    Answer(u64, Question, bool),
    Errors(u64, u64),
    Freeze(u64),
    Thaw(u64),
    Pass(u64),
    Lose(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let number = || 1..=6_u64;
    prop_oneof![
        2 => number().prop_map(Happening::Add),
        1 => number().prop_map(Happening::Remove),
        8 => (number(), prop_oneof![Just(Question::Readiness), Just(Question::Liveness)], any::<bool>())
            .prop_map(|(number, question, good)| Happening::Answer(number, question, good)),
        4 => (number(), 1..8_u64).prop_map(|(number, run)| Happening::Errors(number, run)),
        1 => number().prop_map(Happening::Freeze),
        1 => number().prop_map(Happening::Thaw),
        2 => (0..40_u64).prop_map(Happening::Pass),
        1 => (0..400_u64).prop_map(Happening::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_bounds_of_ejecting_and_replacing_hold(
        happenings in proptest::collection::vec(happening(), 1..120),
    ) {
        let settings = HealthSettings::new(cadence(1, 2)).liveness(cadence(1, 2));
        let mut fleet = Fleet::new(settings.replacing_unready(true));
        for happening in happenings {
            let grants = fleet.replaced.len();
            match happening {
                Happening::Add(number) => fleet.add(number),
                Happening::Remove(number) => fleet.remove(number),
                Happening::Answer(number, question, good) => fleet.answer(number, question, good),
                Happening::Errors(number, run) => fleet.errors(number, run),
                Happening::Freeze(number) => fleet.handle(FleetEvent::Freeze { instance: id(number) }),
                Happening::Thaw(number) => fleet.handle(FleetEvent::Thaw { instance: id(number) }),
                Happening::Pass(seconds) => {
                    fleet.now += Duration::from_secs(seconds);
                    fleet.handle(FleetEvent::Tick);
                }
                Happening::Lose(seconds) => fleet.handle(FleetEvent::Lost(Duration::from_secs(seconds))),
            }
            // What was told is what is.
            let told: Vec<_> = fleet.told.iter().map(|(id, verdict)| (*id, *verdict)).collect();
            let is: Vec<_> = fleet.health.verdicts().collect();
            prop_assert_eq!(told, is);
            // Never more out than the share, and never all.
            let (ejected, ready) = (fleet.count(Verdict::Ejected), fleet.count(Verdict::Ready));
            prop_assert!(ejected * 2 <= ejected + ready, "{ejected} of {}", ejected + ready);
            prop_assert!(ejected == 0 || ready > 0);
            // While nobody is well one at a time.
            if ready + ejected == 0 {
                prop_assert!(fleet.replaced.len() <= grants + 1);
            }
            // Failing open takes back nobody that failed a question.
            for (instance, cause) in fleet.causes.drain(..) {
                if cause == Cause::FailedOpen {
                    prop_assert_eq!(fleet.told.get(&instance), Some(&Verdict::Ready));
                }
            }
        }
    }
}
