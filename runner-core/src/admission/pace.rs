//! How fast slots come free, and how surely that is known.

use std::{cmp::Ordering, time::Duration};

use crate::time::Timestamp;

/// How often a slot comes free, learned without reading a clock for each request.
///
/// Two sources, one number. While every slot is taken from one look to the next, the count of
/// releases between the two; and where slots are free, the time that a sampled request held its
/// slot. The first is exact, so while there is one the second is not listened to.
///
/// A queue under overload is filled up to the most hopeful forecast there was for as long as those
/// wait whom it let in, so a forecast that is right on average and wavers is wrong. Three rules
/// against that:
///
/// - A look lasts until as many were released as there are slots. Requests that began together
///   end together; over one turn of all slots that evens out, over any other time it does not.
/// - What is known is a mean over the releases of several turns, not the latest turn.
/// - Two turns in a row that differ by more than chance, and in the same way, are news: then what
///   was known is forgotten. One alone is a turn that took releases from its neighbour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    /// Seconds that a request holds its slot.
    hold: Mean,
    /// The last look, and how many releases there had been.
    look: Option<(Timestamp, u64)>,
    /// Whether a slot was free at any time since then.
    slack: bool,
    /// Which way the last look differed by more than chance, if it did.
    news: Option<Ordering>,
    /// Whether no look has been learned from since a slot was free.
    is_first: bool,
    spread: Spread,
    /// What part of the slots is taken while some are free: what comes before and after a crowd.
    usual: Mean,
}

impl Pace {
    /// Whether anything was learned.
    #[inline]
    pub(super) fn is_learned(&self) -> bool {
        self.hold.witnesses > 0.0
    }

    /// How often one slot comes free in a second.
    pub(super) fn rate(&self) -> Option<f64> {
        self.is_learned().then(|| 1.0 / self.hold.value.max(SHORTEST_HOLD))
    }

    /// Whether so many are surely served by so many slots within half of this time. True before
    /// anything was learned: nobody is refused on a guess.
    #[inline]
    pub(super) fn serves_within(&self, count: u64, slots: u64, time: Duration) -> bool {
        let hold = self.hold.value.max(SHORTEST_HOLD);
        let fits = count as f64 * hold <= slots as f64 * (time.as_secs_f64() * 0.5);
        !time.is_zero() && (fits || !self.is_learned())
    }

    /// How many releases the rate is the mean of, as far as they are remembered.
    pub(super) fn witnesses(&self) -> f64 {
        self.hold.witnesses
    }

    /// How much requests differ in how long they hold their slots: the standard deviation in means.
    pub(super) fn spread(&self) -> f64 {
        self.spread.relative()
    }

    /// A sampled request held its slot for this long.
    pub(super) fn handle_sample(&mut self, held: Duration) {
        let held = held.as_secs_f64();
        // Of a mean of a few nobody knows whether it is one.
        let is_mean = self.hold.witnesses >= LONGEST;
        let most = if is_mean { LONGEST * self.hold.value } else { f64::INFINITY };
        self.spread.learn(held.min(most));
        if self.slack || self.look.is_none() || !self.is_learned() {
            self.hold.learn(held, 1.0, SAMPLE_MEMORY);
        }
    }

    /// This part of the slots was taken when a sampled request ended and nobody waited.
    pub(super) fn handle_load(&mut self, taken: f64) {
        self.usual.learn(taken, 1.0, USUAL_MEMORY);
    }

    /// What part of the slots is left for those who were told to come back. All of them where
    /// nothing was learned: then there was nothing but the crowd.
    pub(super) fn spare(&self) -> f64 {
        match self.usual.witnesses {
            0.0 => 1.0,
            _ => (1.0 - self.usual.value).clamp(LEAST_SPARE, 1.0) * PART_OF_SPARE,
        }
    }

    /// A slot was free.
    #[inline]
    pub(super) fn handle_slack(&mut self) {
        self.slack = true;
    }

    /// Looks at the clock: `releases` so far, `slots` taken throughout unless there was slack.
    #[inline]
    pub(super) fn handle_look(&mut self, now: Timestamp, releases: u64, slots: u64) {
        let Some((then, before)) = self.look else {
            self.look = Some((now, releases));
            self.slack = false;
            return;
        };
        // Before anything else: this is asked for each who begins to wait.
        if !self.slack && now < then + LOOK {
            return;
        }
        let passed = now.since(then);
        let released = releases.saturating_sub(before);
        if self.slack {
            self.look = Some((now, releases));
            self.slack = false;
            self.is_first = true;
        } else if released >= FEWEST_RELEASES.max(slots) {
            let (count, slots) = (released as f64, slots as f64);
            let hold = passed.as_secs_f64() * slots / count;
            let news = differs(self.hold.value, hold, NEWS / count.sqrt());
            if news.is_some() && news == self.news {
                self.hold = Mean::default();
            }
            self.news = news;
            // Before the first there was nothing but samples, of a time when less was going on.
            let turns = if self.is_first { 1.0 } else { LOOK_MEMORY };
            self.hold.learn(hold, count, turns * slots.max(FEWEST_RELEASES as f64));
            self.is_first = false;
            self.look = Some((now, releases));
        }
    }

    /// The number of slots changed: releases before and after do not compare.
    pub(super) fn handle_change(&mut self) {
        self.look = None;
    }
}

/// How `found` differs from `known`, if by more than this part of it.
fn differs(known: f64, found: f64, by: f64) -> Option<Ordering> {
    ((found / known - 1.0).abs() > by).then(|| found.total_cmp(&known))
}

/// A mean of the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mean {
    value: f64,
    /// How many it is the mean of, as far as they are remembered.
    witnesses: f64,
}

impl Mean {
    /// Takes in the mean of `count` more, as one part of `memory` and those.
    fn learn(&mut self, value: f64, count: f64, memory: f64) {
        self.witnesses = self.witnesses.min(memory) + count;
        self.value += (value - self.value) * count / self.witnesses;
    }
}

/// How much one request's time differs from another's: mean and mean square of the sampled ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spread {
    held: Mean,
    square: Mean,
}

impl Spread {
    fn learn(&mut self, held: f64) {
        self.held.learn(held, 1.0, SAMPLE_MEMORY);
        self.square.learn(held * held, 1.0, SAMPLE_MEMORY);
    }

    /// The standard deviation, in means.
    fn relative(&self) -> f64 {
        match self.held.value {
            mean if mean > SHORTEST_HOLD => {
                (self.square.value / (mean * mean) - 1.0).max(0.0).sqrt()
            }
            _ => 0.0,
        }
    }
}

/// A look is taken at most this often, however short requests are.
const LOOK: Duration = Duration::from_millis(100);
/// Fewer releases than this say little, so the look waits for more.
const FEWEST_RELEASES: u64 = 8;
/// So many turns of all slots are remembered: the mean wavers by a sixth of what one turn does.
const LOOK_MEMORY: f64 = 32.0;
/// By no more means than this a request counts as long, once there are as many witnesses. Beyond,
/// it takes its slot from all who are in line and makes no turn of the others waver; and where few
/// are that long, the one that happens to be sampled would say more of the spread than all others
/// together.
const LONGEST: f64 = 16.0;
/// So many sampled requests are remembered: a few that are long say most of a mean and more of a
/// spread, so it takes many to tell.
const SAMPLE_MEMORY: f64 = 255.0;
/// How many sampled requests say what is usual: some thousands have passed meanwhile.
const USUAL_MEMORY: f64 = 63.0;
/// However much comes in any case, so much is left for those who come back, or they never would.
const LEAST_SPARE: f64 = 0.1;
/// Of what is spare not all is given away: a queue that is served exactly as fast as it grows stays
/// as long as it is, and who comes back meets it full.
const PART_OF_SPARE: f64 = 0.9;
/// By so many times its spread a turn differs from what is known only if something has changed.
/// The spread is that of exponential times; twice that spread is still within it.
const NEWS: f64 = 5.0;
/// No request is believed to be shorter, so that a pace is a finite number.
const SHORTEST_HOLD: f64 = 1e-7;

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_pace_is_learned_from_releases_only_while_every_slot_was_taken() {
        let mut pace = Pace::default();
        pace.handle_look(Timestamp::from_millis(0), 0, 10);
        pace.handle_look(Timestamp::from_millis(1_000), 100, 10);
        assert_eq!(pace.rate(), Some(10.0));
        pace.handle_slack();
        pace.handle_look(Timestamp::from_millis(9_000), 101, 10);
        assert_eq!(pace.rate(), Some(10.0), "an idle stretch says nothing");
        pace.handle_look(Timestamp::from_millis(9_050), 200, 10);
        assert_eq!(pace.rate(), Some(10.0), "too short a look");
        pace.handle_look(Timestamp::from_millis(10_000), 301, 10);
        assert!(pace.rate().is_some_and(|rate| rate > 13.0), "{pace:?}");
    }

    #[test]
    fn samples_are_averaged_while_a_slot_is_free_and_not_heard_beside_looks() {
        let mut pace = Pace::default();
        pace.handle_sample(secs(2));
        assert_eq!(pace.rate(), Some(0.5));
        pace.handle_sample(secs(12));
        assert_eq!(pace.rate(), Some(1.0 / 7.0));
        pace.handle_look(Timestamp::from_secs(0), 0, 1_000);
        pace.handle_look(Timestamp::from_secs(1), 1_000, 1_000);
        let counted = pace.rate();
        pace.handle_sample(secs(600));
        assert_eq!(pace.rate(), counted, "a thousand releases know better than one");
        pace.handle_slack();
        pace.handle_sample(secs(600));
        assert_ne!(pace.rate(), counted, "nothing is counted while a slot is free");
    }

    /// Lets `slots` be released at these milliseconds, looks at each millisecond, and says what the
    /// rate was at each from the first turn on.
    fn rates(slots: u64, releases: impl Fn(u64) -> u64, millis: u64) -> Vec<f64> {
        let mut pace = Pace::default();
        let mut released = 0;
        let mut rates = Vec::new();
        for at in 0..millis {
            released += releases(at);
            pace.handle_look(Timestamp::from_millis(at), released, slots);
            rates.extend(pace.rate());
        }
        rates
    }

    #[test]
    fn one_that_is_long_beyond_measure_says_little_of_how_much_they_differ() {
        let mut pace = Pace::default();
        for _ in 0..200 {
            pace.handle_sample(secs(1));
        }
        pace.handle_sample(secs(600));
        // Of all of it they would seem to differ by ten times their mean.
        assert!((0.9..1.1).contains(&pace.spread()), "{}", pace.spread());
    }

    #[test]
    fn requests_that_began_together_and_end_together_are_as_long_as_they_are() {
        // A hundred slots, a second each, all of them begun within a tenth of a second.
        let together = |at: u64| u64::from(at >= 1_000 && at % 1_000 < 100);
        let rates = rates(100, together, 30_000);
        assert!(rates.len() > 28_000);
        // The first turn began a tenth too early, when nobody was there yet.
        for rate in rates {
            assert!((0.9..1.05).contains(&rate), "{rate}");
        }
    }

    #[test]
    fn a_pace_wavers_less_than_the_turns_it_is_the_mean_of() {
        // A hundred slots that come free at random, once a second each: a turn wavers by a tenth.
        let mut dice = crate::testing::random::SplitMix64::new(1);
        let times: Vec<u64> = (0..100_000).map(|_| u64::from(dice.chance(100))).collect();
        let rates = rates(100, |at| times[at as usize], 100_000);
        let off = |rate: &&f64| (**rate - 1.0).abs() > 0.1;
        let part = rates.iter().filter(off).count() as f64 / rates.len() as f64;
        assert!(part < 0.02, "off by more than a tenth for {part} of the time");
    }

    #[test]
    fn a_service_that_doubles_is_known_for_it_within_three_turns() {
        let doubles = |at: u64| match at {
            0..10_000 => u64::from(at.is_multiple_of(10)),
            _ => u64::from(at.is_multiple_of(20)),
        };
        let rates = rates(100, doubles, 16_100);
        assert!(rates[8_000] > 0.95, "{}", rates[8_000]);
        assert!(rates.last().is_some_and(|rate| (0.48..0.55).contains(rate)), "{:?}", rates.last());
    }
}
