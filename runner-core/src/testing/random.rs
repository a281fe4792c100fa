//! Dice that fall the same way each time.

/// A small generator (splitmix64) whose whole state is its seed.
///
/// Good enough to choose faults and orders, and worth nothing where an adversary guesses. It is
/// our own because a replay from a printed seed must not depend on another crate's release.
///
/// ```
/// use runner_core::testing::random::SplitMix64;
///
/// let mut dice = SplitMix64::new(7);
/// let rolls: Vec<u64> = (0..3).map(|_| dice.below(6)).collect();
/// let mut again = SplitMix64::new(7);
/// assert!(rolls.iter().all(|roll| *roll < 6 && *roll == again.below(6)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Dice from a seed; every seed is as good as any.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Sixty-four bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A hundred and twenty-eight bits, enough for an id.
    pub const fn next_u128(&mut self) -> u128 {
        ((self.next_u64() as u128) << 64) | self.next_u64() as u128
    }

    /// A number below `bound`; zero when `bound` is zero.
    ///
    /// The remainder favours small numbers by less than one in 2^32 for bounds that tests use.
    pub const fn below(&mut self, bound: u64) -> u64 {
        match bound {
            0 => 0,
            _ => self.next_u64() % bound,
        }
    }

    /// Whether something happens that happens `per_mille` times in a thousand.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64_as_published() {
        let mut dice = SplitMix64::new(1_234_567);
        assert_eq!(dice.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(dice.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn chances_are_what_they_say() {
        let mut dice = SplitMix64::new(1);
        let hits = (0..100_000).filter(|_| dice.chance(250)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| !dice.chance(0)) && (0..1000).all(|_| dice.chance(1000)));
        assert_eq!(dice.below(0), 0);
    }
}
