//! When to ask next: pure spans.
//!
//! | the instance | is asked again after |
//! |---|---|
//! | starts | a thirtieth of the time it has taken so far, at least 2 ms, at most the interval |
//! | starts, and the last answer was good | the same, at most 100 ms |
//! | is in | the interval, a tenth more or less |
//! | is in, and the last answer was bad | the interval for that, where there is one; the same |
//! | is out | a thirtieth of the time that it is out, at least 100 ms, at most the interval |
//! | is out, and the last answer was good | the same, at most 100 ms |
//!
//! A thirtieth: an instance that took `t` to start is noticed after `t / 30` at most, three
//! hundredths of its start, for some ninety questions over any start of up to a minute.

use std::time::Duration;

/// While it starts.
pub(super) fn starting(elapsed: Duration, interval: Duration, last_is_good: bool) -> Duration {
    let most = if last_is_good { interval.min(CONFIRMING) } else { interval };
    (elapsed / 30).clamp(LEAST_STARTING, most.max(LEAST_STARTING))
}

/// While it is in. `dice` are 64 random bits: instances that started together are not asked
/// together for ever.
pub(super) fn steady(interval: Duration, dice: u64) -> Duration {
    // In thousandths of the interval, from 900 to 1100.
    let thousandths = 900 + ((u128::from(dice) * 201) >> 64) as u32;
    interval * thousandths / 1000
}

/// While it is out: an instance that recovers is wanted, and one that does not is no load.
pub(super) fn out(elapsed: Duration, interval: Duration, last_is_good: bool) -> Duration {
    let most = if last_is_good { interval.min(CONFIRMING) } else { interval };
    (elapsed / 30).clamp(LEAST_OUT.min(most), most)
}

/// Sixty-four bits from a seed and what they are for (splitmix64's finish).
pub(super) fn dice(seed: u64, instance: u64, count: u64) -> u64 {
    let mut z = seed
        .wrapping_add(instance.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(count.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How long an instance that came back and failed again soon has to wait for its next return:
/// nothing the first time, then the interval, doubled each time.
pub(super) fn hold(flaps: u32, interval: Duration) -> Duration {
    match flaps {
        0 => Duration::ZERO,
        _ => interval.saturating_mul(1 << (flaps - 1).min(16)).min(LONGEST_HOLD.max(interval)),
    }
}

/// An app that is up between two questions has not waited longer than this for the first.
const LEAST_STARTING: Duration = Duration::from_millis(2);
/// A threshold of several good answers must not cost several intervals.
const CONFIRMING: Duration = Duration::from_millis(100);
const LEAST_OUT: Duration = Duration::from_millis(100);
/// Whoever has been in for this long has not flapped.
pub(super) const SETTLED: Duration = Duration::from_secs(60);
/// Damping must not become the outage.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_starting_instance_is_asked_every_few_milliseconds_and_then_less_often() {
        for (elapsed, good, expected) in [
            (Duration::ZERO, false, 2 * MS),
            (60 * MS, false, 2 * MS),
            (300 * MS, false, 10 * MS),
            (30 * SECOND, false, SECOND),
            (30 * SECOND, true, 100 * MS),
            (300 * SECOND, false, 5 * SECOND),
        ] {
            assert_eq!(starting(elapsed, 5 * SECOND, good), expected, "{elapsed:?} {good}");
        }
        assert_eq!(starting(SECOND, 10 * MS, false), 10 * MS);
    }

    #[test]
    fn an_instance_that_is_out_is_asked_faster_than_one_that_is_in() {
        assert_eq!(out(Duration::ZERO, 5 * SECOND, false), 100 * MS);
        assert_eq!(out(60 * SECOND, 5 * SECOND, false), 2 * SECOND);
        assert_eq!(out(3600 * SECOND, 5 * SECOND, false), 5 * SECOND);
        assert_eq!(out(3600 * SECOND, 5 * SECOND, true), 100 * MS);
        assert_eq!(out(SECOND, 10 * MS, false), 10 * MS);
    }

    #[test]
    fn holds_double_and_end() {
        let holds: Vec<_> = (0..7).map(|flaps| hold(flaps, 5 * SECOND).as_secs()).collect();
        assert_eq!(holds, [0, 5, 10, 20, 40, 60, 60]);
        assert_eq!(hold(u32::MAX, Duration::MAX), Duration::MAX);
    }

    proptest! {
        #[test]
        fn jitter_is_a_tenth_and_no_more(millis in 10_u64..100_000, dice: u64) {
            let interval = Duration::from_millis(millis);
            let span = steady(interval, dice);
            prop_assert!(span >= interval * 9 / 10 && span <= interval * 11 / 10, "{span:?}");
        }
    }

    #[test]
    fn jitter_spreads_those_that_started_together() {
        let spans = (0..1000).map(|instance| steady(5 * SECOND, dice(1, instance, 0)));
        let slots: std::collections::BTreeSet<_> =
            spans.map(|span| span.as_millis() / 50).collect();
        assert!(slots.len() >= 20, "{slots:?}");
    }
}
