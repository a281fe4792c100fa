//! Waits, counted in buckets of one part in 64: exact enough for a quantile, of one size for any
//! trace.

/// Counts by how long.
#[derive(Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    zero: u64,
    all: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; 64 * PARTS], zero: 0, all: 0 }
    }

    #[inline]
    pub(super) fn record_zero(&mut self) {
        self.zero += 1;
        self.all += 1;
    }

    pub(super) fn record(&mut self, nanos: u64) {
        if nanos == 0 {
            return self.record_zero();
        }
        self.all += 1;
        self.counts[bucket(nanos)] += 1;
    }

    /// Nanoseconds that at least this part did not exceed.
    pub(super) fn quantile(&self, part: f64) -> u64 {
        let wanted = ((self.all as f64) * part).ceil() as u64;
        if wanted <= self.zero {
            return 0;
        }
        let mut seen = self.zero;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(bucket);
            }
        }
        0
    }
}

fn bucket(nanos: u64) -> usize {
    let octave = nanos.ilog2() as usize;
    let part = match octave.checked_sub(PART_BITS) {
        Some(shift) => (nanos >> shift) as usize & (PARTS - 1),
        None => (nanos << (PART_BITS - octave)) as usize & (PARTS - 1),
    };
    octave * PARTS + part
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let (octave, part) = (bucket / PARTS, (bucket % PARTS) as u128);
    let next = (PARTS as u128 + part + 1) << octave;
    u64::try_from((next - 1) >> PART_BITS).unwrap_or(u64::MAX)
}

const PART_BITS: usize = 6;
const PARTS: usize = 1 << PART_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_64th_too_long() {
        for exact in [1, 7, 63, 64, 65, 1_000, 200_000_000, 9_999_999_999_u64] {
            let mut waits = Histogram::new();
            waits.record(exact);
            let told = waits.quantile(1.0);
            assert!(told >= exact && told <= exact + exact / 64, "{exact}: {told}");
        }
    }

    #[test]
    fn those_who_did_not_wait_count() {
        let mut waits = Histogram::new();
        (0..99).for_each(|_| waits.record_zero());
        waits.record(1_000_000);
        assert_eq!((waits.quantile(0.5), waits.quantile(0.99)), (0, 0));
        assert!(waits.quantile(0.999) >= 1_000_000);
    }
}
