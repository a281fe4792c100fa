//! Where ids come from.

use std::sync::atomic::{AtomicU64, Ordering};

/// 128 bits that nobody can guess.
///
/// # Panics
///
/// When the system has no randomness to give, which no system does that has booted.
pub(crate) fn bits() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    u128::from_le_bytes(bytes)
}

/// Ids at random, or from a seed so that a simulation names things the same way each time.
#[derive(Debug)]
pub(crate) enum Ids {
    Random,
    Seeded(AtomicU64),
}

impl Ids {
    pub(crate) fn next(&self) -> u128 {
        match self {
            Self::Random => bits(),
            Self::Seeded(state) => {
                let half = || mix(state.fetch_add(STEP, Ordering::Relaxed));
                (u128::from(half()) << 64) | u128::from(half())
            }
        }
    }
}

/// `SplitMix64`: each state gives another number.
const fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
