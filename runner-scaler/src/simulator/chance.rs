//! Chance that falls the same way each time.
//!
//! Every draw is a function of the seed and of what it is for (the number of a request, of a
//! second, of an instance), not of how many draws came before. So all policies are judged on the
//! same arrivals and the same service times, request by request.

/// A number that looks random, from a seed and what it is for (the finish of splitmix64).
pub(crate) const fn mixed(seed: u64, of: u64) -> u64 {
    let mut z = seed.wrapping_add(of.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Log-normal times by a table of quantiles, so that a draw costs no logarithm.
pub(super) struct LogNormal {
    /// Nanoseconds at each of the quantiles `i / CELLS`; the two ends are worked out exactly.
    table: Vec<f32>,
    log_mean: f64,
    sigma: f64,
    scale: f64,
}

impl LogNormal {
    /// Times with this mean, in nanoseconds, whose deviation is `cv` times it.
    pub(super) fn new(mean: f64, cv: f64) -> Self {
        let sigma = (cv * cv).ln_1p().sqrt();
        let log_mean = mean.max(1.0).ln() - sigma * sigma / 2.0;
        let at = |part: f64| (sigma * normal_quantile(part)).exp();
        let table = (1..CELLS).map(|cell| at(cell as f64 / CELLS as f64) as f32).collect();
        Self { table, log_mean, sigma, scale: log_mean.exp() }
    }

    /// The time that 64 random bits stand for.
    pub(super) fn draw(&self, bits: u64) -> u64 {
        let cell = (bits >> (64 - CELL_BITS)) as usize;
        let part = (bits << CELL_BITS >> 40) as f32 * (1.0 / (1 << 24) as f32);
        if cell == 0 || cell == CELLS - 1 {
            // The tails carry what a mean is made of: no straight line stands for them.
            let part = (bits >> 11) as f64 / (1_u64 << 53) as f64;
            let normal = normal_quantile(part.clamp(1e-12, 1.0 - 1e-12));
            return self.sigma.mul_add(normal, self.log_mean).exp() as u64;
        }
        let (low, high) = (self.table[cell - 1], self.table[cell]);
        (f64::from((high - low).mul_add(part, low)) * self.scale) as u64
    }
}

/// Cells of the table: four thousand, so that it stays in a first-level cache.
const CELL_BITS: u32 = 12;
const CELLS: usize = 1 << CELL_BITS;

/// The quantile of the normal distribution, right to 1e-8 (Acklam's rational approximation).
pub(super) fn normal_quantile(part: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.383_577_518_672_69e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 5] =
        [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0];
    let poly = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| x.mul_add(sum, *term));
    const EDGE: f64 = 0.02425;
    if part < EDGE {
        let q = (-2.0 * part.ln()).sqrt();
        poly(&C, q) / poly(&D, q)
    } else if part > 1.0 - EDGE {
        let q = (-2.0 * (1.0 - part).ln()).sqrt();
        -poly(&C, q) / poly(&D, q)
    } else {
        let q = part - 0.5;
        let r = q * q;
        q * poly(&A, r) / poly(&B, r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_as_tabulated() {
        for (part, expected) in
            [(0.5, 0.0), (0.841_344_746, 1.0), (0.999, 3.090_232), (0.001, -3.090_232)]
        {
            assert!((normal_quantile(part) - expected).abs() < 1e-5, "{part}");
        }
    }

    #[test]
    fn times_have_the_mean_and_the_deviation_asked_for() {
        for cv in [0.2, 1.0] {
            let times = LogNormal::new(2e8, cv);
            let count = 400_000_u64;
            let draws: Vec<f64> = (0..count).map(|n| times.draw(mixed(7, n)) as f64).collect();
            let mean = draws.iter().sum::<f64>() / count as f64;
            let square = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count as f64;
            assert!((mean / 2e8 - 1.0).abs() < 0.01, "{cv}: {mean}");
            assert!(
                (square.sqrt() / mean / cv - 1.0).abs() < 0.05,
                "{cv}: {}",
                square.sqrt() / mean
            );
        }
    }
}
