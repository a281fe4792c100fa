//! The trace: steps, a crowd, and quiet that is long enough to scale in.

use runner_core::testing::random::SplitMix64;

/// How many requests come in each second, of so many seconds: of the same seed always the same.
///
/// A quarter is little load, a quarter some, then a crowd beyond all that there can be comes for a
/// thirtieth, then there is some load again, and the last third is quiet. Each second is off by a
/// tenth at most.
pub fn trace(seconds: usize, seed: u64) -> Vec<u32> {
    let mut dice = SplitMix64::new(seed);
    (0..seconds)
        .map(|second| {
            let rate = match second as f64 / seconds as f64 {
                part if part < 0.25 => 20,
                part if part < 0.50 => 90,
                part if part < 0.50 + 1.0 / 30.0 => 300,
                part if part < 0.67 => 60,
                _ => 10,
            };
            let off = rate / 10;
            rate - off + dice.below(2 * u64::from(off) + 1) as u32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_trace() {
        let counts = trace(300, 1);
        assert_eq!((counts.len(), &counts), (300, &trace(300, 1)));
        assert_ne!(counts, trace(300, 2));
        assert!(counts[..75].iter().all(|count| (18..=22).contains(count)));
        assert_eq!(counts.iter().filter(|count| **count > 200).count(), 10);
        assert!(counts[210..].iter().all(|count| (9..=11).contains(count)));
    }
}
