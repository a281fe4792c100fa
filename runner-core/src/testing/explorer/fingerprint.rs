//! 128 bits that stand for a state.
//!
//! # Why these rounds
//!
//! A fingerprint must be the same in every run and process (paths are replayed, results are
//! compared), must be cheap on the many small writes of a derived `Hash`, and must spread: nobody
//! attacks it. So there is no key and no cryptography, and std's hasher does not serve: it gives
//! 64 bits, and their values may change with a release of the compiler.
//!
//! Each word goes in by one Feistel round over two 64-bit halves: `x = a ^ word`, then
//! `(a, b) = (b ^ fold(x * K1), x * K2)`, where `fold` is the exclusive or of both halves of the
//! full 128-bit product. What that gives:
//!
//! - For a given word the round is a permutation of the 128 bits (`K2` is odd, and a Feistel
//!   round is undone whatever `fold` does), so nothing is lost on a long state: two prefixes
//!   that differ stay different under equal suffixes. A pair of independent 64-bit lanes that
//!   fold loses that, and lanes that do not fold have differences in high bits that cancel with
//!   certainty.
//! - Two states that differ in one word, or in two neighbouring ones, never collide: to cancel,
//!   the second would have to undo both halves at once, and it reaches only one. Three or more
//!   have to meet a particular 128-bit difference that depends on all that went in before.
//! - The end mixes the number of words in and runs four more rounds, so that every output bit
//!   depends on every input bit.
//!
//! Over `n` distinct states the chance of any collision is then that of a random function, at
//! most `n * n / 2^129`: for thirty million states about one in 10^24.

use std::hash::{Hash, Hasher};

/// Hashes the essence of a state into 128 bits; written to by
/// [`Model::essence`](super::Model::essence).
///
/// An ordinary [`Hasher`], so that `value.hash(fingerprint)` is all it takes.
#[derive(Clone, Debug)]
pub struct Fingerprinter {
    a: u64,
    b: u64,
    words: u64,
}

impl Fingerprinter {
    pub(super) fn new() -> Self {
        Self { a: SEED_A, b: SEED_B, words: 0 }
    }

    /// Writes things whose order does not matter, such as instances that are interchangeable.
    ///
    /// The sum of their fingerprints goes in, and how many they are, so nothing is sorted and
    /// nothing allocated. What refers to one of the things by its name must be part of the thing
    /// here: two starting instances, one with a call open, are not two alike and a call.
    ///
    /// ```
    /// use std::hash::Hasher;
    /// use runner_core::testing::explorer::{Fingerprinter, Model};
    /// # use runner_core::testing::explorer::Violation;
    /// # use std::hash::Hash;
    ///
    /// struct Bag;
    /// impl Model for Bag {
    ///     type Machine = ();
    ///     type World = Vec<u8>;
    ///     type Action = u8;
    ///     type Effect = ();
    /// #   fn initial(&self) -> ((), Vec<u8>) { ((), vec![]) }
    /// #   fn step(&self, _: &mut (), bag: &mut Vec<u8>, put: &u8, _: &mut Vec<()>) { bag.push(*put) }
    /// #   fn perform(&self, _: &mut Vec<u8>, (): ()) {}
    /// #   fn check(&self, _: &(), _: &Vec<u8>) -> Result<(), Violation> { Ok(()) }
    ///     fn actions(&self, _: &(), bag: &Vec<u8>, actions: &mut Vec<u8>) {
    ///         if bag.len() < 2 {
    ///             actions.extend([1, 2, 3]);
    ///         }
    ///     }
    ///     fn essence(&self, _: &(), bag: &Vec<u8>, fingerprint: &mut Fingerprinter) {
    ///         fingerprint.write_unordered(bag);
    ///     }
    ///     // ...
    /// }
    ///
    /// let report = runner_core::testing::explorer::Explorer::new(&Bag).explore()?;
    /// assert_eq!(report.distinct, 1 + 3 + 6, "pairs count once, whichever came first");
    /// # Ok::<(), runner_core::testing::explorer::Failure<Bag>>(())
    /// ```
    pub fn write_unordered<T: Hash>(&mut self, items: impl IntoIterator<Item = T>) {
        let mut sum = 0_u128;
        let mut count = 0_u64;
        for item in items {
            let mut fingerprint = Self::new();
            item.hash(&mut fingerprint);
            sum = sum.wrapping_add(fingerprint.fingerprint());
            count += 1;
        }
        self.round(count);
        self.write_u128(sum);
    }

    /// The 128 bits for all that was written.
    pub(super) fn fingerprint(&self) -> u128 {
        let mut end = self.clone();
        end.round(self.words);
        end.round(K1);
        end.round(K2);
        end.round(SEED_A);
        (u128::from(end.a) << 64) | u128::from(end.b)
    }

    #[inline]
    fn round(&mut self, word: u64) {
        let x = self.a ^ word;
        let product = u128::from(x) * u128::from(K1);
        // Both halves of the product: the low one misses high input bits, the high one low ones.
        let folded = (product as u64) ^ ((product >> 64) as u64);
        self.a = self.b ^ folded;
        self.b = x.wrapping_mul(K2);
        self.words += 1;
    }
}

/// Every integer is a word, of the same value on every platform.
impl Hasher for Fingerprinter {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.round(u64::from_le_bytes(word));
        }
        // `[1]` and `[1, 0]` fill the same word.
        self.round(bytes.len() as u64);
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.round(u64::from(number));
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.round(u64::from(number));
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.round(u64::from(number));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.round(number);
    }

    #[inline]
    fn write_u128(&mut self, number: u128) {
        self.round(number as u64);
        self.round((number >> 64) as u64);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.round(number as u64);
    }

    fn finish(&self) -> u64 {
        (self.fingerprint() >> 64) as u64
    }
}

// Digits of pi, odd where the product must be a permutation: numbers with nothing up their sleeve.
const SEED_A: u64 = 0x243f_6a88_85a3_08d3;
const SEED_B: u64 = 0x1319_8a2e_0370_7344;
const K1: u64 = 0xa409_3822_299f_31d1;
const K2: u64 = 0x082e_fa98_ec4e_6c89;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn of(value: impl Hash) -> u128 {
        let mut fingerprint = Fingerprinter::new();
        value.hash(&mut fingerprint);
        fingerprint.fingerprint()
    }

    #[test]
    fn the_same_value_has_the_same_fingerprint_in_every_process() {
        assert_eq!(of((1_u8, "blue")), 324_846_886_397_962_070_711_076_265_475_681_998_138);
    }

    #[test]
    fn small_structured_states_neither_collide_nor_crowd() {
        let mut seen = BTreeSet::new();
        let mut buckets = [0_u32; 1024];
        for a in 0..64_u8 {
            for b in 0..64_u32 {
                for c in 0..64_u64 {
                    let print = of((a, b, c, Some(a), [b; 2]));
                    seen.insert(print);
                    buckets[(print >> 118) as usize] += 1;
                }
            }
        }
        assert_eq!(seen.len(), 64 * 64 * 64);
        // 256 on average; six standard deviations to each side.
        assert!(buckets.iter().all(|&n| (160..352).contains(&n)), "{buckets:?}");
    }

    #[test]
    fn each_input_bit_moves_about_half_of_the_output_bits() {
        for word in 0..4 {
            for bit in 0..64 {
                let moved: u32 = (0..64_u64)
                    .map(|n| {
                        let words = [n, n * n, 7, n << 32];
                        let mut other = words;
                        other[word] ^= 1 << bit;
                        (of(words) ^ of(other)).count_ones()
                    })
                    .sum();
                // 64 trials of 128 bits: 4096 expected, deviation 45.
                assert!((3780..4412).contains(&moved), "{word} {bit}: {moved}");
            }
        }
    }

    proptest! {
        #[test]
        fn two_neighbouring_words_never_cancel(
            before: Vec<u64>, one: [u64; 2], other: [u64; 2], after: Vec<u64>,
        ) {
            let print = |middle: [u64; 2]| {
                let mut fingerprint = Fingerprinter::new();
                before.iter().chain(&middle).chain(&after).for_each(|&w| fingerprint.round(w));
                fingerprint.fingerprint()
            };
            prop_assert_eq!(print(one) == print(other), one == other);
        }

        #[test]
        fn the_order_of_unordered_things_does_not_matter_but_their_number_does(
            mut items in prop::collection::vec(0..4_u8, 1..6),
        ) {
            let bag = |items: &[u8]| {
                let mut fingerprint = Fingerprinter::new();
                fingerprint.write_unordered(items);
                fingerprint.fingerprint()
            };
            let forward = bag(&items);
            items.reverse();
            prop_assert_eq!(bag(&items), forward);
            items.push(items[0]);
            prop_assert_ne!(bag(&items), forward);
        }
    }
}
