//! The default policy: as few as meet an objective, at a price.
//!
//! It asks three questions, each with an answer from queueing theory or from the price table:
//!
//! - **How many have to serve?** The offered load (arrivals times service time, in slots) and
//!   above it as much as keeps the predicted wait inside the objective: square-root staffing, the
//!   wait of a queue with many servers in the regime of Halfin and Whitt, widened by how much
//!   burstier than chance the load was seen to be. See [`staffing`](self::staffing).
//! - **How many could have to serve before a start is over?** Standby costs memory alone and wakes
//!   in milliseconds, a start costs seconds of waiting and a minute of processor. So what was
//!   needed at some time in the recent past stays in standby, and when the load grows faster than
//!   starts take, what its growth leads to is begun.
//! - **When is one given up?** An instance that was woken is paid for a minute in any case: it
//!   serves that long. After that it is frozen as soon as it is not needed, since waking it again
//!   costs no more than what it would have cost to keep. Standby is given up when holding it costs
//!   more than starting it anew.
//!
//! Averaging windows alone (as in Knative) answer none of the three, and a rule on concurrency
//! alone (as in App Runner) only the first and without a margin.

mod staffing;

use std::{any::Any, time::Duration};

use runner_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use self::staffing::{Load, Staffing};
use super::{Asked, Look, Policy, just_above, whole};
use crate::{
    decision::{Because, Signal, Wish},
    error::InvalidPolicy,
    observation::Name,
};

/// As few instances as meet an objective, at a price.
#[derive(Clone, Debug)]
pub struct DefaultPolicy {
    objective: Objective,
    prices: Prices,
    idle: Duration,
    remembered: Duration,
    headroom: f64,
    learned: Learned,
    levels: Vec<Level>,
}

/// What is to hold: such a part of all requests wait less than so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a time and a part")]
pub struct Objective {
    /// How long a request may wait.
    pub wait: Duration,
    /// What part of them may not wait longer.
    pub part: f64,
}

/// Such a part of requests wait less than so long, and none is refused.
pub const fn wait_below(wait: Duration, part: f64) -> Objective {
    Objective { wait, part }
}

/// What instances cost, as far as decisions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "two prices and the shortest bill")]
pub struct Prices {
    /// One instance's processor for an hour.
    pub processor_hour: f64,
    /// One instance's memory for an hour.
    pub memory_hour: f64,
    /// For how long the processor is billed at least each time.
    pub minimum: Duration,
}

impl Default for Prices {
    /// App Runner's for one processor and two gigabytes.
    fn default() -> Self {
        Self { processor_hour: 0.064, memory_hour: 0.014, minimum: Duration::from_secs(60) }
    }
}

/// What it has learned about the load.
#[derive(Clone, Copy, Debug, Default)]
struct Learned {
    /// Seconds that a request holds its slot.
    service: Option<f64>,
    /// The second that is being counted: arrivals, and the time they were counted over.
    counting: (f64, f64),
    /// Offered load by the last whole second, over some seconds, and over a minute.
    newest: f64,
    fast: f64,
    slow: f64,
    /// How far the load of a second is off the slow mean, squared, on average.
    scatter: f64,
    seconds: u32,
}

/// What is remembered about the n-th instance.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// Since when it serves, if it does.
    woken: Option<Timestamp>,
    /// When it was last needed to serve.
    needed: Timestamp,
    /// When it was last needed in reserve.
    reserved: Timestamp,
    /// How long it was not needed before it was needed again.
    gap: Duration,
}

impl Default for DefaultPolicy {
    fn default() -> Self {
        Self {
            objective: wait_below(Duration::from_millis(200), 0.999),
            prices: Prices::default(),
            idle: Duration::from_secs(5),
            remembered: Duration::from_secs(600),
            headroom: 0.0,
            learned: Learned::default(),
            levels: Vec::new(),
        }
    }
}

impl DefaultPolicy {
    /// What is to hold. Default: 99.9 % wait less than 200 ms.
    ///
    /// # Errors
    ///
    /// When the part is not from 0.5 to below 1, or the wait is above a minute.
    pub fn objective(mut self, objective: Objective) -> Result<Self, InvalidPolicy> {
        let right = "a part from 0.5 to 0.99999";
        InvalidPolicy::check("the part of the objective", objective.part, 0.5..=0.99999, right)?;
        let wait = objective.wait.as_secs_f64();
        InvalidPolicy::check("the wait of the objective", wait, 0.0..=60.0, "up to a minute")?;
        self.objective = objective;
        Ok(self)
    }

    /// What instances cost. Default: App Runner's prices.
    ///
    /// # Errors
    ///
    /// When a price is negative, or nothing costs anything.
    pub fn prices(mut self, prices: Prices) -> Result<Self, InvalidPolicy> {
        let right = "a price above 0";
        InvalidPolicy::check("the price of a processor", prices.processor_hour, 0.0..=1e6, right)?;
        let priced = f64::MIN_POSITIVE..=1e6;
        InvalidPolicy::check("the price of memory", prices.memory_hour, priced, right)?;
        self.prices = prices;
        Ok(self)
    }

    /// How long one that serves is idle, its paid time being over, before it is frozen.
    /// Default: 5 s.
    #[must_use]
    pub const fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long what was needed once is kept in standby; what comes back is kept for longer than
    /// it stayed away. Default: ten minutes.
    #[must_use]
    pub const fn remembered(mut self, remembered: Duration) -> Self {
        self.remembered = remembered;
        self
    }

    /// How much of the scatter of the load is kept in standby beyond what was needed before.
    /// Default: none, since what was needed before already shows it.
    ///
    /// # Errors
    ///
    /// When it is not from 0 to 10.
    pub fn headroom(mut self, times: f64) -> Result<Self, InvalidPolicy> {
        InvalidPolicy::check("the headroom", times, 0.0..=10.0, "0 to 10")?;
        self.headroom = times;
        Ok(self)
    }
}

impl Policy for DefaultPolicy {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        self.learned.look(look);
        let each = look.seen.slots_each();
        let present = look.seen.load.present() as f64;
        let (steady, reserve) = self.needs(look);
        let needed = steady.max(self.urgent(look));
        let active = self.hold(needed, look.now);
        let reserved = self.remember(reserve.max(steady), look.now);
        let total = reserved.max(active);
        let waiting = look.seen.load.waiting > 0;
        let again = waiting.then(|| look.now + self.objective.wait / LOOKS_PER_WAIT);
        let held = self.held_until(needed, active);
        let kept = self.kept_until(reserve.max(steady), reserved);
        let again = [again, held, kept].into_iter().flatten().min();
        let more_at = self.more_at(active, look);
        let because = Because::new(Signal::Concurrency, present, each).more_at(more_at);
        let wish = Wish::new(Name::fixed("default"), active, because);
        asked.wish(wish.with_standby(total - active).until(again));
    }

    fn learned(&mut self) -> Option<&mut dyn Any> {
        Some(self)
    }

    fn take_over(&mut self, learned: &mut dyn Any) {
        if let Some(before) = learned.downcast_mut::<Self>() {
            (self.learned, self.levels) = (before.learned, std::mem::take(&mut before.levels));
        }
    }
}

impl DefaultPolicy {
    /// How many the load asks for, and how many could be asked for before a start that begins now
    /// is over.
    fn needs(&self, look: &Look<'_>) -> (u32, u32) {
        let (each, most) = (look.seen.slots_each(), look.limits.maximum);
        let learned = &self.learned;
        let Some(service) = learned.service else { return (0, 0) };
        let usual = Load { offered: learned.fast, scatter: 1.0, service };
        let steady = Staffing::new(&usual, self.objective).instances(each, most);
        // Growth by the second is believed only as far as chance does not make it.
        let sure = (learned.newest - 2.0 * (learned.newest * service).sqrt()).max(learned.fast);
        let growth = (learned.fast - learned.slow).max(0.0) / SLOW_SECS;
        let offered = growth.mul_add(look.start_up.as_secs_f64() + 1.0, sure);
        let bursty = Load { offered, scatter: learned.bursts() * self.headroom, service };
        // Beyond what is in reserve waits a start, so nobody at all is to wait for it.
        let nobody = wait_below(Duration::ZERO, self.objective.part);
        (steady, Staffing::new(&bursty, nobody).instances(each, most))
    }

    /// How many those ask for who are here now.
    ///
    /// A queue that is gone before anybody in it has waited too long needs nobody woken. Beyond
    /// that as many are woken as it takes, but started only as many as serve what comes and clear
    /// the queue in an eighth of the time they take to start: whoever waits for a start is late in
    /// any case, and an instance for each of them would stand idle a moment later.
    fn urgent(&self, look: &Look<'_>) -> u32 {
        let each = look.seen.slots_each();
        let present = look.seen.load.present() as f64;
        let Some(service) = self.learned.service else { return whole(present / each) };
        let there = whole(present / self.stretched(each, service));
        let able = look.fleet.present();
        if there <= able {
            return there;
        }
        let wait = self.clearing(look, service);
        let clearing = look.seen.load.waiting as f64 * service / wait;
        let offered = self.learned.newest.max(self.learned.fast);
        whole((offered + clearing) / each).clamp(able, there)
    }

    /// In how many seconds a queue that waits for starts is to be gone once they are over.
    fn clearing(&self, look: &Look<'_>, service: f64) -> f64 {
        (look.start_up / 8).max(self.objective.wait).as_secs_f64().max(service)
    }

    /// How many slots one instance stands for where those who are here now are counted.
    fn stretched(&self, each: f64, service: f64) -> f64 {
        let patience = self.objective.wait.as_secs_f64() * TOLERATED / service;
        each * (1.0 + patience.min(MOST_QUEUED))
    }

    /// How many would have to be here for one more: see [`urgent`](Self::urgent).
    fn more_at(&self, active: u32, look: &Look<'_>) -> f64 {
        let each = look.seen.slots_each();
        let Some(service) = self.learned.service else {
            return just_above(f64::from(active) * each).ceil();
        };
        let there = f64::from(active) * self.stretched(each, service);
        if active < look.fleet.present() {
            return just_above(there).ceil();
        }
        let offered = self.learned.newest.max(self.learned.fast);
        let beyond = (f64::from(active) * each - offered).max(0.0);
        let waiting = beyond * self.clearing(look, service) / service;
        let in_flight = look.seen.load.in_flight as f64;
        just_above(there.max(in_flight + waiting)).ceil()
    }

    /// Keeps what was woken as long as it is paid for or was needed a moment ago.
    fn hold(&mut self, needed: u32, now: Timestamp) -> u32 {
        let needed = needed.min(MOST_LEVELS) as usize;
        if self.levels.len() < needed {
            let new = Level { woken: None, needed: now, reserved: now, gap: Duration::ZERO };
            self.levels.resize(needed, new);
        }
        let mut active = needed;
        for (level, number) in self.levels.iter_mut().zip(1..) {
            if number <= needed {
                level.woken.get_or_insert(now);
                level.needed = now;
                continue;
            }
            let Some(woken) = level.woken else { break };
            let paid = now.since(woken) < self.prices.minimum;
            if paid || now.since(level.needed) < self.idle {
                active = number;
            }
        }
        for level in &mut self.levels[active..] {
            if level.woken.take().is_none() {
                break;
            }
        }
        active as u32
    }

    /// Until when the last of those serves that are not needed, if any does.
    fn held_until(&self, needed: u32, active: u32) -> Option<Timestamp> {
        let level = self.levels.get(active.checked_sub(1)? as usize).filter(|_| active > needed)?;
        Some((level.woken? + self.prices.minimum).max(level.needed + self.idle))
    }

    /// Until when the last of those is in reserve that are not needed there, if any is.
    fn kept_until(&self, needed: u32, kept: u32) -> Option<Timestamp> {
        let level = self.levels.get(kept.checked_sub(1)? as usize).filter(|_| kept > needed)?;
        Some(level.reserved + self.remembered.max(level.gap.mul_f64(BEYOND_GAP)))
    }

    /// Keeps in reserve what was needed not long ago: what came back before, for longer than it
    /// stayed away then.
    fn remember(&mut self, needed: u32, now: Timestamp) -> u32 {
        let needed = needed.min(MOST_LEVELS) as usize;
        if self.levels.len() < needed {
            let new = Level { woken: None, needed: now, reserved: now, gap: Duration::ZERO };
            self.levels.resize(needed, new);
        }
        for level in &mut self.levels[..needed] {
            let gap = now.since(level.reserved);
            if gap > SHORTEST_GAP {
                let longest = self.remembered * LONGEST_MEMORY;
                level.gap = gap.max(level.gap.mul_f64(GAP_DECAY)).min(longest);
            }
            level.reserved = now;
        }
        let kept = self.levels.iter().rposition(|level| {
            let unused = now.since(level.reserved);
            unused < self.remembered || unused < level.gap.mul_f64(BEYOND_GAP)
        });
        kept.map_or(0, |last| last + 1).max(needed) as u32
    }
}

impl Learned {
    fn look(&mut self, look: &Look<'_>) {
        let load = &look.seen.load;
        if let Some(told) = load.service_time.map(|time| time.as_secs_f64()) {
            // A few slow requests among few say little: a look weighs by how many it counted.
            let weight = (load.completed as f64 / SERVICE_COUNT).min(0.5);
            let known = self.service.unwrap_or(told);
            self.service = Some(known + (told - known) * weight);
        }
        let secs = load.span.as_secs_f64();
        self.counting.0 += load.arrivals as f64;
        self.counting.1 += secs;
        if self.counting.1 < SHORTEST_SECOND {
            return;
        }
        let (arrivals, secs) = std::mem::take(&mut self.counting);
        let by_arrivals = self.service.map_or(0.0, |service| arrivals / secs * service);
        self.newest = by_arrivals.max(load.mean_concurrency().min(by_arrivals * 2.0));
        self.seconds = self.seconds.saturating_add(1);
        let off = self.newest - self.slow;
        let weight = |over: f64| (secs / over).max(1.0 / f64::from(self.seconds)).min(1.0);
        self.fast += (self.newest - self.fast) * weight(FAST_SECS);
        self.slow += off * weight(SLOW_SECS);
        if self.seconds > 1 {
            self.scatter += (off * off - self.scatter) * weight(SCATTER_SECS);
        }
    }

    /// How much wider than by chance the load of a second spreads: 1 where arrivals are
    /// independent of each other.
    fn bursts(&self) -> f64 {
        // By chance the requests of a second vary by their own number, each worth its service.
        let chance = self.slow * self.service.unwrap_or(1.0).max(1e-3);
        let bursts = if chance > 0.0 { self.scatter / chance } else { 1.0 };
        bursts.clamp(1.0, MOST_BURSTS).sqrt()
    }
}

/// What part of the longest wait a queue may take to drain before somebody is woken for it: the
/// rest is for waking, and for looking too late.
const TOLERATED: f64 = 0.4;
/// While somebody waits it looks so many times in what a request may wait.
const LOOKS_PER_WAIT: u32 = 4;
/// No queue is let grow beyond so many times what is in flight, however long requests may wait.
const MOST_QUEUED: f64 = 2.0;
/// So many requests make a look half of what is believed about service time.
const SERVICE_COUNT: f64 = 100.0;
/// Looks between two ticks are added up to about a second.
const SHORTEST_SECOND: f64 = 0.9;
/// Long enough that chance averages out, short enough to follow a rising load.
const FAST_SECS: f64 = 5.0;
/// What "usual" is.
const SLOW_SECS: f64 = 60.0;
/// Bursts are rare: how large they are is remembered for longer than what is usual.
const SCATTER_SECS: f64 = 600.0;
/// What is burstier than this is a change and not scatter.
const MOST_BURSTS: f64 = 100.0;
/// A bound for what is remembered by level: above any maximum that is in use.
const MOST_LEVELS: u32 = 10_000;
/// A need that was away for less was not away.
const SHORTEST_GAP: Duration = Duration::from_secs(60);
/// What of a long gap is still believed after a shorter one.
const GAP_DECAY: f64 = 0.7;
/// What comes back is awaited for this much longer than it was away.
const BEYOND_GAP: f64 = 1.1;
/// What comes back is awaited for at most so many times what anything is remembered.
const LONGEST_MEMORY: u32 = 8;
