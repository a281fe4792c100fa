//! One instance.

use std::{sync::Arc, time::Duration};

use runner_core::{spec::Attempts, time::Timestamp};

use super::{
    Answer, Ask, Cause, Question, Tally, Turn, Verdict,
    schedule::{self, dice},
};
use crate::{
    probe::Seen,
    settings::{Cadence, HealthSettings},
};

/// The health of one instance, by what it is asked. See the [rules](super).
#[derive(Clone, Debug)]
pub struct InstanceHealth {
    settings: Arc<HealthSettings>,
    /// Of the jitter: the fleet's seed and the instance's number.
    seed: (u64, u64),
    tickets: u64,
    stage: Stage,
}

/// What happens to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever drives it has to know each")]
pub enum InstanceEvent {
    /// A question was answered.
    Answered(Answer),
    /// It is about to be frozen.
    Freeze,
    /// It was thawed.
    Thaw,
    /// Something else made it suspect: readiness is asked at once.
    Suspected,
    /// This long this program did not run, and could not ask.
    Lost(Duration),
}

/// What is to be done about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "to ignore one is a bug")]
#[must_use = "an effect that nobody carries out leaves the instance unasked"]
pub enum InstanceEffect {
    /// Ask it something.
    Ask(Ask),
    /// Its verdict changed.
    Turned {
        /// What it is now.
        to: Verdict,
        /// Why.
        cause: Cause,
    },
}

#[derive(Clone, Debug)]
enum Stage {
    Starting(Starting),
    Serving(Serving),
    Frozen { held: Box<Self>, since: Timestamp },
    NeverReady,
}

#[derive(Clone, Debug)]
struct Starting {
    since: Timestamp,
    deadline: Timestamp,
    question: Question,
    asked: Asked,
}

#[derive(Clone, Debug)]
struct Serving {
    readiness: Asked,
    liveness: Option<Asked>,
    /// When readiness last went out.
    went_out: Timestamp,
    /// When it came back from having been out, if it did.
    came_back: Option<Timestamp>,
    /// How often in a row it failed soon after it came back.
    flaps: u32,
    /// Before this it does not come back.
    held_until: Timestamp,
    /// It woke, and nothing good was seen since.
    is_awoken: bool,
}

/// A question that is being asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    tally: Tally,
    ticket: u64,
    /// How many bad answers in a row were not counted.
    voids: u8,
}

impl InstanceHealth {
    /// An instance that was started at `now`, or found: it is trusted once it has passed.
    pub fn begin(
        settings: Arc<HealthSettings>,
        seed: (u64, u64),
        now: Timestamp,
    ) -> (Self, Vec<InstanceEffect>) {
        let question = match settings.startup {
            Some(_) => Question::Startup,
            None => Question::Readiness,
        };
        let starting = Starting {
            since: now,
            deadline: now + settings.start_allowance,
            question,
            asked: Asked::new(false),
        };
        let mut health = Self { settings, seed, tickets: 0, stage: Stage::NeverReady };
        let mut effects = Vec::new();
        let first = now + health.cadence(question).delay;
        health.stage = health.ask_starting(starting, first, now, &mut effects);
        (health, effects)
    }

    /// What it is held to be.
    pub fn verdict(&self) -> Verdict {
        match &self.stage {
            Stage::Starting(_) => Verdict::Starting,
            Stage::Serving(serving) => serving.verdict(),
            Stage::Frozen { .. } => Verdict::Frozen,
            Stage::NeverReady => Verdict::NeverReady,
        }
    }

    /// Whether it is ready and its last answers were good.
    pub fn is_well(&self) -> bool {
        let Stage::Serving(serving) = &self.stage else { return false };
        serving.verdict() == Verdict::Ready
            && serving.readiness.tally.bad_run() == 0
            && serving.liveness.is_none_or(|liveness| liveness.tally.bad_run() == 0)
    }

    /// Whether it should be replaced.
    pub fn wants_replacement(&self) -> bool {
        match self.verdict() {
            Verdict::Failed | Verdict::NeverReady => true,
            Verdict::Unready => self.settings.replace_unready,
            Verdict::Starting | Verdict::Ready | Verdict::Ejected | Verdict::Frozen => false,
        }
    }

    /// How long it may take to start.
    pub fn start_allowance(&self) -> Duration {
        self.settings.start_allowance
    }

    /// Takes an event and says what is to be done.
    pub fn handle(&mut self, event: InstanceEvent, now: Timestamp) -> Vec<InstanceEffect> {
        let before = self.verdict();
        let mut effects = Vec::new();
        let stage = std::mem::replace(&mut self.stage, Stage::NeverReady);
        let (stage, cause) = match (stage, event) {
            // Starting => (Starting | Serving | NeverReady)
            (Stage::Starting(starting), InstanceEvent::Answered(answer)) => {
                self.starting_answered(starting, answer, now, &mut effects)
            }
            // Starting => Starting: what was lost is given back.
            (Stage::Starting(mut starting), InstanceEvent::Lost(span)) => {
                starting.since += span;
                starting.deadline += span;
                (Stage::Starting(starting), None)
            }
            // Serving => Serving
            (Stage::Serving(serving), InstanceEvent::Answered(answer)) => {
                self.serving_answered(serving, answer, now, &mut effects)
            }
            (Stage::Serving(mut serving), InstanceEvent::Suspected) => {
                serving.readiness.ticket = self.ask(Question::Readiness, now, &mut effects);
                (Stage::Serving(serving), None)
            }
            // Starting, Serving => Frozen: no ticket is valid until it thaws.
            (held @ (Stage::Starting(_) | Stage::Serving(_)), InstanceEvent::Freeze) => {
                (Stage::Frozen { held: Box::new(held), since: now }, Some(Cause::Frozen))
            }
            // Frozen => (Starting | Serving), as it was.
            (Stage::Frozen { held, since }, InstanceEvent::Thaw) => {
                (self.thaw(*held, now.since(since), now, &mut effects), Some(Cause::Woken))
            }
            // A stale answer, a repeated order, or nothing to be done about it.
            (stage, _) => (stage, None),
        };
        self.stage = stage;
        let to = self.verdict();
        if let Some(cause) = cause.filter(|_| to != before) {
            effects.push(InstanceEffect::Turned { to, cause });
        }
        effects
    }

    fn starting_answered(
        &mut self,
        mut starting: Starting,
        answer: Answer,
        now: Timestamp,
        effects: &mut Vec<InstanceEffect>,
    ) -> (Stage, Option<Cause>) {
        let (question, is_good) = (starting.question, answer.seen.is_good());
        if !starting.asked.is_answered_by(question, &answer) {
            return (Stage::Starting(starting), None);
        }
        if starting.asked.is_void(&answer) {
            return (self.ask_starting(starting, now, now, effects), None);
        }
        let cadence = self.cadence(question);
        let turn = starting.asked.tally.handle_answer(is_good, cadence.rise, cadence.fall);
        let times = starting.asked.tally.good_run();
        let Answer { seen, begun, .. } = answer;
        match (turn, question) {
            (Turn::In, Question::Startup) => {
                starting.question = Question::Readiness;
                starting.asked = Asked::new(false);
                let first = starting.since + self.settings.readiness.delay;
                (self.ask_starting(starting, first.max(now), now, effects), None)
            }
            (Turn::In, _) => {
                let serving = self.first_ready(starting.since, now, effects);
                (Stage::Serving(serving), Some(Cause::Passed { question, times, seen }))
            }
            _ if now >= starting.deadline => {
                let allowance = self.settings.start_allowance;
                let cause = Cause::StartedTooSlowly { allowance, question, seen };
                (Stage::NeverReady, Some(cause))
            }
            _ => {
                let elapsed = now.since(starting.since);
                let span = schedule::starting(elapsed, cadence.interval, is_good);
                (self.ask_starting(starting, (begun + span).max(now), now, effects), None)
            }
        }
    }

    /// Asks an instance that starts, the last time when its allowance ends.
    fn ask_starting(
        &mut self,
        mut starting: Starting,
        at: Timestamp,
        now: Timestamp,
        effects: &mut Vec<InstanceEffect>,
    ) -> Stage {
        let cadence = self.cadence(starting.question);
        let at = at.min(starting.deadline.max(now));
        let left = starting.deadline.since(at).max(LAST_CHANCE);
        let ask = self.next_ask(starting.question, at, cadence.timeout.min(left));
        starting.asked.ticket = ask.ticket;
        effects.push(InstanceEffect::Ask(ask));
        Stage::Starting(starting)
    }

    fn first_ready(
        &mut self,
        since: Timestamp,
        now: Timestamp,
        effects: &mut Vec<InstanceEffect>,
    ) -> Serving {
        let mut readiness = Asked::new(true);
        let interval = self.settings.readiness.interval;
        let at = now + self.steady(interval);
        readiness.ticket = self.ask(Question::Readiness, at, effects);
        let liveness = self.settings.liveness.map(|cadence| {
            let at = (since + cadence.delay).max(now + self.steady(cadence.interval));
            let ticket = self.ask(Question::Liveness, at, effects);
            Asked { ticket, ..Asked::new(true) }
        });
        Serving {
            readiness,
            liveness,
            went_out: now,
            came_back: None,
            flaps: 0,
            held_until: now,
            is_awoken: false,
        }
    }

    fn serving_answered(
        &mut self,
        mut serving: Serving,
        answer: Answer,
        now: Timestamp,
        effects: &mut Vec<InstanceEffect>,
    ) -> (Stage, Option<Cause>) {
        let question = answer.question;
        let asked = match question {
            Question::Startup => None,
            Question::Readiness => Some(&mut serving.readiness),
            Question::Liveness => serving.liveness.as_mut(),
        };
        let Some(asked) = asked.filter(|asked| asked.is_answered_by(question, &answer)) else {
            return (Stage::Serving(serving), None);
        };
        if asked.is_void(&answer) {
            asked.ticket = self.ask(question, now, effects);
            return (Stage::Serving(serving), None);
        }
        let Answer { seen, begun, .. } = answer;
        let cadence = self.cadence(question);
        let (at, cause) = match question {
            Question::Liveness => {
                let turn = asked.tally.handle_answer(seen.is_good(), cadence.rise, cadence.fall);
                let interval = cadence.while_in(seen.is_good());
                (begun + self.steady(interval), asked.cause(question, turn, seen))
            }
            _ => {
                let cause = serving.readiness_answered(cadence, seen, now);
                (self.next_readiness(&serving, begun, now), cause)
            }
        };
        let ticket = self.ask(question, at.max(now), effects);
        match question {
            Question::Liveness => {
                serving.liveness.iter_mut().for_each(|asked| asked.ticket = ticket);
            }
            _ => serving.readiness.ticket = ticket,
        }
        (Stage::Serving(serving), cause)
    }

    fn next_readiness(&self, serving: &Serving, begun: Timestamp, now: Timestamp) -> Timestamp {
        let cadence = self.settings.readiness;
        let (interval, tally) = (cadence.interval, serving.readiness.tally);
        if tally.is_in() {
            return begun + self.steady(cadence.while_in(tally.bad_run() == 0));
        }
        let elapsed = now.since(serving.went_out);
        match now < serving.held_until {
            // Nothing can come of it sooner.
            true => serving.held_until.min(begun + interval),
            false => begun + schedule::out(elapsed, interval, tally.good_run() > 0),
        }
    }

    fn thaw(
        &mut self,
        held: Stage,
        frozen: Duration,
        now: Timestamp,
        effects: &mut Vec<InstanceEffect>,
    ) -> Stage {
        match held {
            Stage::Starting(mut starting) => {
                starting.since += frozen;
                starting.deadline += frozen;
                self.ask_starting(starting, now, now, effects)
            }
            Stage::Serving(mut serving) => {
                let is_in = serving.readiness.tally.is_in();
                let ticket = self.ask(Question::Readiness, now, effects);
                serving.readiness = Asked { ticket, ..Asked::new(is_in) };
                serving.is_awoken = is_in;
                serving.liveness = serving.liveness.map(|asked| {
                    let ticket = self.ask(Question::Liveness, now, effects);
                    Asked { ticket, ..Asked::new(asked.tally.is_in()) }
                });
                Stage::Serving(serving)
            }
            other => other,
        }
    }

    fn ask(&mut self, question: Question, at: Timestamp, effects: &mut Vec<InstanceEffect>) -> u64 {
        let ask = self.next_ask(question, at, self.cadence(question).timeout);
        effects.push(InstanceEffect::Ask(ask));
        ask.ticket
    }

    fn next_ask(&mut self, question: Question, at: Timestamp, limit: Duration) -> Ask {
        self.tickets += 1;
        Ask { question, ticket: self.tickets, at, limit }
    }

    fn cadence(&self, question: Question) -> Cadence {
        let settings = &self.settings;
        match question {
            Question::Startup => settings.startup.unwrap_or(settings.readiness),
            Question::Readiness => settings.readiness,
            Question::Liveness => settings.liveness.unwrap_or(settings.readiness),
        }
    }

    fn steady(&self, interval: Duration) -> Duration {
        schedule::steady(interval, dice(self.seed.0, self.seed.1, self.tickets))
    }
}

impl Serving {
    fn verdict(&self) -> Verdict {
        let lives = self.liveness.is_none_or(|liveness| liveness.tally.is_in());
        match (lives, self.readiness.tally.is_in()) {
            (false, _) => Verdict::Failed,
            (true, false) => Verdict::Unready,
            (true, true) => Verdict::Ready,
        }
    }

    fn readiness_answered(
        &mut self,
        cadence: Cadence,
        seen: Seen,
        now: Timestamp,
    ) -> Option<Cause> {
        let was_awoken = self.is_awoken;
        self.is_awoken &= !seen.is_good();
        let fall = if was_awoken { Attempts::MIN } else { cadence.fall };
        let tally = &mut self.readiness.tally;
        tally.count(seen.is_good());
        if !tally.is_in() && now < self.held_until {
            return None;
        }
        let turn = tally.turn(cadence.rise, fall);
        match turn {
            Turn::In => self.came_back = Some(now),
            Turn::Out => {
                let soon = |back| now.since(back) < schedule::SETTLED;
                let has_flapped = self.came_back.is_some_and(soon);
                self.flaps = if has_flapped { self.flaps.saturating_add(1) } else { 0 };
                self.held_until = now + schedule::hold(self.flaps, cadence.interval);
                self.went_out = now;
                self.is_awoken = false;
                if was_awoken {
                    return Some(Cause::FailedAfterWaking { seen });
                }
            }
            Turn::None => {}
        }
        self.readiness.cause(Question::Readiness, turn, seen)
    }
}

impl Asked {
    const fn new(is_in: bool) -> Self {
        Self { tally: Tally::new(is_in), ticket: 0, voids: 0 }
    }

    fn is_answered_by(&self, question: Question, answer: &Answer) -> bool {
        answer.question == question && answer.ticket == self.ticket
    }

    /// Whether an answer is not to be counted, because the fault may be this program's.
    ///
    /// Not without end: on a host so busy that every attempt is disturbed, an instance that hangs
    /// must be found out all the same.
    fn is_void(&mut self, answer: &Answer) -> bool {
        let is_void = answer.disturbed && !answer.seen.is_good() && self.voids < MOST_VOIDS;
        self.voids = if is_void { self.voids + 1 } else { 0 };
        is_void
    }

    fn cause(&self, question: Question, turn: Turn, seen: Seen) -> Option<Cause> {
        match turn {
            Turn::In => Some(Cause::Passed { question, times: self.tally.good_run(), seen }),
            Turn::Out => Some(Cause::Failed { question, times: self.tally.bad_run(), seen }),
            Turn::None => None,
        }
    }
}

/// What the last attempt before the start allowance ends is given at least.
const LAST_CHANCE: Duration = Duration::from_millis(100);
const MOST_VOIDS: u8 = 2;
