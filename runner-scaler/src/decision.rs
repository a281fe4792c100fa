//! What was decided, and why, as data.
//!
//! A decision carries every wish and every clamp that changed one, in the order in which they
//! were applied, and one change that would have made it another. All of it is plain data, in one
//! allocation; text is made when somebody displays it.

use std::time::Duration;

use runner_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    limits::Setting,
    observation::{Fleet, Name, Observation, Reading, sound},
};

/// How many instances there should be, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[must_use = "a decision changes nothing until somebody starts, freezes or stops instances"]
#[non_exhaustive]
pub struct Decision {
    /// When it was made.
    pub at: Timestamp,
    /// How many should serve; those that are starting count.
    pub active: u32,
    /// How many should be frozen beside those.
    pub standby: u32,
    /// Until when it holds if nothing that was seen changes; nothing where that is for ever.
    pub until: Option<Timestamp>,
    /// What was wished and what was clamped, in order.
    pub reasons: Vec<Reason>,
    /// What would have made it another.
    pub otherwise: Option<Otherwise>,
    /// What it was made from, in short.
    pub seen: Seen,
}

/// What a decision was made from, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Seen {
    /// Requests that held a slot.
    pub in_flight: u64,
    /// Requests that waited for one.
    pub waiting: u64,
    /// Requests in a second, if that was told.
    pub arrival_rate: Option<f64>,
    /// How long a request held its slot, if that was told.
    pub service_time: Option<Duration>,
    /// Slots of one instance.
    pub cap: u32,
    /// Instances by phase.
    pub fleet: Fleet,
    /// How long a start takes, as far as was learned.
    pub start_up: Duration,
    /// The backend could not start more.
    pub exhausted: bool,
}

/// One step from what was seen to what was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a decision is made of wishes and clamps alone")]
pub enum Reason {
    /// A rule wished for this; of several the largest counts.
    Asked(Wish),
    /// A clamp changed what was wished.
    Clamped(Clamped),
}

/// What a rule wishes for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Wish {
    /// Which rule.
    pub rule: Name,
    /// How many should serve.
    pub active: u32,
    /// How many should be frozen beside those.
    pub standby: u32,
    /// What it read and what it aims at.
    pub because: Because,
    /// When it will wish for something else even if it reads the same, if it will.
    pub until: Option<Timestamp>,
}

/// What a rule read and what it aims at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Because {
    /// What it reads.
    pub signal: Signal,
    /// What it read.
    pub value: f64,
    /// What it aims at: for one instance where the signal grows with the load.
    pub target: f64,
    /// What the signal would have to say in this observation for at least one instance more.
    pub more_at: Option<f64>,
}

/// What a rule reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Signal {
    /// Requests in a second.
    ArrivalRate,
    /// The time of day and week.
    Clock,
    /// Requests in flight and waiting together.
    Concurrency,
    /// Busy part of the processors.
    Cpu,
    /// Used part of the memory.
    Memory,
    /// A number of the embedding program's.
    Named(Name),
    /// Seconds that requests waited.
    QueueWait,
    /// Seconds that requests held their slot.
    ServiceTime,
    /// Requests that wait.
    Waiting,
}

/// A clamp that changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "which, from what and to what is all there is")]
pub struct Clamped {
    /// Which clamp.
    pub clamp: Clamp,
    /// What was wished up to there.
    pub from: Count,
    /// What it made of that.
    pub to: Count,
}

/// A number of instances that serve and of all, frozen ones included.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[expect(clippy::exhaustive_structs, reason = "a pair of numbers")]
pub struct Count {
    /// Those that serve.
    pub active: u32,
    /// Those and the frozen ones.
    pub total: u32,
}

/// What changes a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Clamp {
    /// The backend cannot start more.
    Exhausted,
    /// Who is in flight keeps its instance.
    InFlight,
    /// The maximum.
    Maximum,
    /// The minimum.
    Minimum,
    /// The least that is never frozen.
    MinimumActive,
    /// There is no standby: what is not needed yet serves or goes.
    NoStandby,
    /// The most that may be added or taken within some time.
    Rate,
    /// Fewer have to be enough for some time before one is given up.
    ScaleInDelay,
    /// An instance has to be idle for some time before it is frozen.
    StandbyAfter,
    /// The most that may be added or taken at once.
    Step,
    /// A start that would be ready only after the backlog is gone is not begun.
    UselessStart,
    /// The last instance stays until nothing came for some time.
    ZeroAfter,
}

/// A change that would have made a decision another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Otherwise {
    /// What would have been different.
    pub change: Change,
    /// What would have been decided, at least or at most, whichever way the change goes.
    pub instead: Count,
}

/// What would have been different.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// The backend could have started more.
    NotExhausted,
    /// A setting.
    Setting(Setting),
    /// What was read.
    Signal {
        /// Of what.
        signal: Signal,
        /// What it would have said.
        value: f64,
    },
}

impl Decision {
    /// Those that serve and those that are frozen.
    pub const fn total(&self) -> u32 {
        self.active + self.standby
    }

    /// Both numbers.
    pub const fn count(&self) -> Count {
        Count { active: self.active, total: self.total() }
    }

    /// What the rules wished.
    pub fn wishes(&self) -> impl Iterator<Item = &Wish> {
        self.reasons.iter().filter_map(|reason| match reason {
            Reason::Asked(wish) => Some(wish),
            Reason::Clamped(_) => None,
        })
    }

    /// What was changed about that.
    pub fn clamps(&self) -> impl Iterator<Item = &Clamped> {
        self.reasons.iter().filter_map(|reason| match reason {
            Reason::Asked(_) => None,
            Reason::Clamped(clamped) => Some(clamped),
        })
    }

    /// The wish that counted: of those for most instances the first.
    pub fn winner(&self) -> Option<&Wish> {
        self.wishes().reduce(|best, wish| if wish.active > best.active { wish } else { best })
    }
}

impl Wish {
    /// A wish of a rule.
    pub const fn new(rule: Name, active: u32, because: Because) -> Self {
        Self { rule, active, standby: 0, because, until: None }
    }

    /// The same with so many frozen ones beside.
    #[must_use]
    pub const fn with_standby(mut self, standby: u32) -> Self {
        self.standby = standby;
        self
    }

    /// The same, until this time.
    #[must_use]
    pub const fn until(mut self, until: Option<Timestamp>) -> Self {
        self.until = until;
        self
    }
}

impl Because {
    /// A reason: what was read, and what is aimed at.
    pub const fn new(signal: Signal, value: f64, target: f64) -> Self {
        Self { signal, value, target, more_at: None }
    }

    /// The same with what it would take for one instance more.
    #[must_use]
    pub const fn more_at(mut self, value: f64) -> Self {
        self.more_at = Some(value);
        self
    }
}

impl Count {
    /// Both numbers, the second at least the first.
    pub const fn new(active: u32, total: u32) -> Self {
        Self { active, total: if total < active { active } else { total } }
    }
}

impl Signal {
    /// What it says, if it was told at all.
    pub fn read(&self, seen: &Observation) -> Option<f64> {
        let load = &seen.load;
        let secs = |span: Option<Duration>| span.map(|span| span.as_secs_f64());
        sound(match self {
            Self::ArrivalRate => load.arrival_rate(),
            Self::Clock => None,
            Self::Concurrency => Some(load.mean_concurrency()),
            Self::Cpu => load.cpu,
            Self::Memory => load.memory,
            Self::Named(name) => {
                load.named.iter().find(|reading| reading.name == *name).map(|reading| reading.value)
            }
            Self::QueueWait => secs(load.queue_wait),
            Self::ServiceTime => secs(load.service_time),
            Self::Waiting => Some(load.waiting as f64),
        })
    }

    /// Makes an observation in which it says something else: how a [`Change`] is tried out.
    pub fn write(&self, seen: &mut Observation, value: f64, now: Timestamp) {
        let load = &mut seen.load;
        let span = |value: f64| Duration::try_from_secs_f64(value).ok();
        match self {
            Self::ArrivalRate => {
                load.arrivals = (value * load.span.as_secs_f64()).ceil() as u64;
            }
            Self::Clock => {}
            Self::Concurrency => {
                load.concurrency = Some(value);
                let whole = value.ceil() as u64;
                load.in_flight = load.in_flight.min(whole);
                load.waiting = whole - load.in_flight;
            }
            Self::Cpu => load.cpu = Some(value),
            Self::Memory => load.memory = Some(value),
            Self::Named(name) => {
                load.named.retain(|reading| reading.name != *name);
                load.named.push(Reading { name: name.clone(), value, at: now });
            }
            Self::QueueWait => load.queue_wait = span(value),
            Self::ServiceTime => load.service_time = span(value),
            Self::Waiting => load.waiting = value.ceil() as u64,
        }
    }

    /// The same on the short form.
    pub(crate) fn write_short(&self, seen: &mut Seen, value: f64) {
        match self {
            Self::ArrivalRate => seen.arrival_rate = Some(value),
            Self::Concurrency => {
                let whole = value.ceil() as u64;
                seen.in_flight = seen.in_flight.min(whole);
                seen.waiting = whole - seen.in_flight;
            }
            Self::ServiceTime => seen.service_time = Duration::try_from_secs_f64(value).ok(),
            Self::Waiting => seen.waiting = value.ceil() as u64,
            Self::Clock | Self::Cpu | Self::Memory | Self::Named(_) | Self::QueueWait => {}
        }
    }
}

impl Seen {
    pub(crate) fn new(seen: &Observation, fleet: Fleet, start_up: Duration) -> Self {
        Self {
            in_flight: seen.load.in_flight,
            waiting: seen.load.waiting,
            arrival_rate: seen.load.arrival_rate(),
            service_time: seen.load.service_time,
            cap: seen.cap.max(1),
            fleet,
            start_up,
            exhausted: seen.exhausted,
        }
    }
}
