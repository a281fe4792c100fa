//! How long a wait will be: three supplies, added up over time.
//!
//! A request that waits is served by a slot that comes free, by a slot of an instance that is
//! starting, or by one that can still be made to start. [`Supply`] adds the three up over time and
//! says when the n-th of those who wait is served. Where one of them is not known yet (nothing was
//! released so far, nothing was started so far) the answer is "unknown", which refuses nobody:
//! refusing on a guess is what the service did whose users this is for.

use std::time::Duration;

use super::{Attainable, Expected, Snapshot, Why, pace::Pace};
use crate::time::Timestamp;

/// When a place in the queue will be served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Forecast {
    /// After this long.
    After(Duration),
    /// There is no slot and none can be made to come.
    Never(Why),
    /// Slots are there or coming, but how fast was not learned yet.
    Unknown,
}

/// All that will serve those who wait.
pub(super) struct Supply {
    now: Timestamp,
    /// How often a slot comes free in a second, if that was learned.
    rate: Option<f64>,
    /// How much requests differ in how long they hold their slots, in means.
    spread: f64,
    /// How many releases the rate is the mean of.
    witnesses: f64,
    /// What part of the slots those who come without being told leave free.
    spare: f64,
    /// Slots that are there; all are taken, or nobody would wait.
    present: f64,
    /// Slots by the second they come, the soonest first. What is overdue comes any moment.
    coming: Vec<(f64, f64)>,
    /// Some slots come at a time that was not learned yet.
    unknown: bool,
    why: Option<Why>,
}

impl Supply {
    pub(super) fn new(snapshot: &Snapshot, slots: u64, pace: &Pace, now: Timestamp) -> Self {
        let (rate, spread, present) = (pace.rate(), pace.spread(), slots as f64);
        let (witnesses, spare) = (pace.witnesses(), pace.spare());
        let (coming, unknown, why) = (Vec::new(), false, None);
        let mut supply =
            Self { now, rate, spread, witnesses, spare, present, coming, unknown, why };
        for &Expected { slots, at } in &snapshot.expected {
            supply.add(u64::from(slots), at.map(|at| at.until(now)));
        }
        match snapshot.attainable {
            Attainable::Slots { count, after } => supply.add(u64::from(count), after),
            Attainable::Nothing(why) => supply.why = Some(why),
        }
        supply.coming.sort_by(|a, b| a.0.total_cmp(&b.0));
        supply
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Why no more slots can be made to come, where that is so.
    pub(super) fn why(&self) -> Option<Why> {
        self.why
    }

    /// Why nothing is coming beyond the present slots; nothing if something is.
    pub(super) fn coming(&self) -> Option<Why> {
        match self.coming.is_empty() && !self.unknown {
            true => Some(self.why.unwrap_or(Why::Fixed)),
            false => None,
        }
    }

    /// When the `place`-th of those who wait (counted from 1) is served.
    ///
    /// Between two arrivals of slots the number served grows in a straight line, so the answer is
    /// on the first of these lines that reaches `place`.
    pub(super) fn serves(&self, place: u64) -> Forecast {
        self.serves_all(place as f64)
    }

    /// The same, and unlikely to be later. Two things may make it so: some of the requests before
    /// it take longer than the mean says, and the mean is of so many witnesses and no more. Never
    /// for more than twice as many: of the first few in a line nobody can tell.
    pub(super) fn surely_serves(&self, place: u64) -> Forecast {
        let place = place as f64;
        let deviation = self.spread * (place + place * place / self.witnesses.max(1.0)).sqrt();
        self.serves_all(place + (PRUDENCE * deviation).min(place))
    }

    fn serves_all(&self, place: f64) -> Forecast {
        if self.present == 0.0 && self.coming.is_empty() {
            return match (self.unknown, self.why) {
                (false, Some(why)) => Forecast::Never(why),
                (false, None) | (true, _) => Forecast::Unknown,
            };
        }
        let rate = self.rate.unwrap_or(0.0);
        let (mut at, mut served, mut slots) = (0.0, 0.0, self.present);
        for &(arrives, count) in &self.coming {
            let grown = served + slots * rate * (arrives - at);
            if grown >= place {
                break;
            }
            // A slot that comes is free: it serves one at once, and then at its pace.
            served = grown + count;
            slots += count;
            at = arrives;
            if served >= place {
                return after(at);
            }
        }
        match slots * rate {
            pace if pace > 0.0 => after(at + (place - served) / pace),
            _ => Forecast::Unknown,
        }
    }

    fn add(&mut self, slots: u64, after: Option<Duration>) {
        match after {
            _ if slots == 0 => {}
            Some(after) => self.coming.push((after.as_secs_f64(), slots as f64)),
            None => self.unknown = true,
        }
    }

    /// Whether `wait` fits: a forecast beyond the budget refuses only when no supply of unknown
    /// time could still make it.
    pub(super) fn fits(&self, forecast: Forecast, budget: Duration) -> bool {
        match forecast {
            Forecast::After(wait) => wait <= budget || self.unknown,
            Forecast::Never(_) => false,
            Forecast::Unknown => true,
        }
    }

    /// Whether no slot is there.
    pub(super) fn is_at_zero(&self) -> bool {
        self.present == 0.0
    }

    /// How many of those who were told to come back are served in a second, beside those who come
    /// in any case; nothing if not learned.
    pub(super) fn pace_of_returns(&self) -> Option<f64> {
        self.rate.map(|rate| rate * self.present * self.spare).filter(|pace| *pace > 0.0)
    }

    /// How long it takes until a wait has shrunk by this much, while others come as usual.
    pub(super) fn shrinks_by(&self, wait: Duration) -> Duration {
        wait.div_f64(self.spare)
    }
}

/// So many standard deviations a newcomer's wait is to fit by: who is let in and waits in vain is
/// worse off than who is refused and comes back. With fewer some expire wherever times differ much,
/// with more some are refused who had a tenth of their time to spare.
const PRUDENCE: f64 = 1.6;

fn after(seconds: f64) -> Forecast {
    // Beyond what a Duration holds nobody waits either.
    Duration::try_from_secs_f64(seconds).map_or(Forecast::Unknown, Forecast::After)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn supply(slots: u64, rate: Option<f64>, expected: &[Expected], more: Attainable) -> Supply {
        let snapshot =
            Snapshot { expected: expected.to_vec(), attainable: more, ..Snapshot::default() };
        let mut pace = Pace::default();
        if let Some(rate) = rate {
            pace.handle_sample(Duration::from_secs_f64(1.0 / rate));
        }
        Supply::new(&snapshot, slots, &pace, Timestamp::EPOCH)
    }

    const FIXED: Attainable = Attainable::Nothing(Why::Fixed);

    #[test]
    fn present_slots_serve_at_their_pace() {
        let four = supply(4, Some(2.0), &[], FIXED);
        assert_eq!(four.serves(8), Forecast::After(secs(1)));
        assert_eq!(four.serves(80), Forecast::After(secs(10)));
    }

    #[test]
    fn a_starting_instance_serves_as_many_as_it_has_slots_the_moment_it_is_there() {
        let at = |at| Expected { slots: 10, at };
        let starting = supply(0, Some(1.0), &[at(Some(Timestamp::from_secs(3)))], FIXED);
        assert_eq!(starting.serves(1), Forecast::After(secs(3)));
        assert_eq!(starting.serves(10), Forecast::After(secs(3)));
        assert_eq!(starting.serves(20), Forecast::After(secs(4)));
    }

    #[test]
    fn what_can_still_be_started_counts() {
        let more = Attainable::Slots { count: 6, after: Some(secs(5)) };
        let both = supply(1, Some(1.0), &[], more);
        // Five come free by then, six are new.
        assert_eq!(both.serves(5), Forecast::After(secs(5)));
        assert_eq!(both.serves(11), Forecast::After(secs(5)));
        assert_eq!(both.serves(18), Forecast::After(secs(6)));
    }

    #[test]
    fn nothing_learned_refuses_nobody_and_nothing_there_refuses_all() {
        let unlearned = supply(1, None, &[], FIXED);
        assert!(unlearned.fits(unlearned.serves(1_000), secs(1)));
        let first_start = supply(0, None, &[Expected { slots: 1, at: None }], FIXED);
        assert!(first_start.fits(first_start.serves(1_000), secs(1)));
        let nothing = supply(0, Some(1.0), &[], Attainable::Nothing(Why::CrashLoop));
        assert_eq!(nothing.serves(1), Forecast::Never(Why::CrashLoop));
        assert!(!nothing.fits(nothing.serves(1), secs(1_000)));
    }

    #[test]
    fn a_supply_of_unknown_time_may_still_make_it() {
        let more = Attainable::Slots { count: 100, after: None };
        let slow = supply(1, Some(0.1), &[], more);
        assert_eq!(slow.serves(2), Forecast::After(secs(20)));
        assert!(slow.fits(slow.serves(2), secs(1)));
    }

    #[test]
    fn a_newcomer_is_to_fit_though_those_before_it_take_longer_than_the_mean() {
        let mut pace = Pace::default();
        for _ in 0..50 {
            // A mean of one, and a standard deviation of one.
            pace.handle_sample(Duration::ZERO);
            pace.handle_sample(secs(2));
        }
        let supply = Supply::new(&Snapshot::default(), 1, &pace, Timestamp::EPOCH);
        let seconds = |forecast| match forecast {
            Forecast::After(wait) => wait.as_secs_f64(),
            Forecast::Never(_) | Forecast::Unknown => panic!("it is known: {forecast:?}"),
        };
        assert!((seconds(supply.serves(100)) - 100.0).abs() < 1e-6);
        // A hundred that vary, by a mean that is of a hundred.
        let surely = 100.0 + PRUDENCE * (100.0_f64 + 100.0).sqrt();
        assert!((seconds(supply.surely_serves(100)) - surely).abs() < 1e-6);
        assert!((seconds(supply.surely_serves(1)) - 2.0).abs() < 1e-6, "never more than twice");
    }

    proptest! {
        /// Against a count of what each slot has served by the time it says.
        #[test]
        fn by_the_time_it_says_that_many_were_served(
            slots in 0..50_u64,
            rate in 0.1..100.0_f64,
            expected in prop::collection::vec((1..50_u32, 0..100_u64), 0..6),
            place in 1..2_000_u64,
        ) {
            let expected: Vec<_> = expected.iter().map(|&(slots, at)| {
                Expected { slots, at: Some(Timestamp::from_secs(at)) }
            }).collect();
            let supply = supply(slots, Some(rate), &expected, FIXED);
            let served_by = |seconds: f64| {
                let fresh: f64 = expected.iter().map(|e| {
                    let at = e.at.expect("known").since(Timestamp::EPOCH).as_secs_f64();
                    let there = if at <= seconds { 1.0 + (seconds - at) * rate } else { 0.0 };
                    f64::from(e.slots) * there
                }).sum();
                slots as f64 * rate * seconds + fresh
            };
            match supply.serves(place) {
                Forecast::After(wait) => {
                    let wait = wait.as_secs_f64();
                    prop_assert!(served_by(wait + 1e-6) >= place as f64 - 1e-3);
                    prop_assert!(wait < 1e-3 || served_by(wait - 1e-3) <= place as f64 + 1e-3);
                }
                other => prop_assert!(slots == 0 && expected.is_empty(), "{other:?}"),
            }
        }
    }
}
