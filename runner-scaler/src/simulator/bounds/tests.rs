use super::*;

const S: u64 = SECOND;

/// Every way to cut the points into groups.
fn by_brute_force(points: &[u64], minimum: u64, patience: u64) -> u64 {
    let Some((&last, _)) = points.split_last() else { return 0 };
    (0..points.len())
        .map(|first| {
            let length = (last - points[first]).saturating_sub(patience).max(minimum);
            by_brute_force(&points[..first], minimum, patience) + length
        })
        .min()
        .unwrap_or(0)
}

#[test]
fn a_cover_is_the_cheapest_there_is() {
    for seed in 0..300 {
        let mut at = 0;
        let points: Vec<u64> = (0..seed % 11)
            .map(|n| {
                at += crate::simulator::mixed(seed, n) % (90 * S);
                at
            })
            .collect();
        let (minimum, patience) = (60 * S, (seed % 4) * 5 * S);
        let (ours, all) =
            (cover(&points, minimum, patience), by_brute_force(&points, minimum, patience));
        assert_eq!(ours, all, "{points:?} {patience}");
    }
}

#[test]
fn a_level_is_kept_over_short_gaps_and_frozen_over_long_ones() {
    let counts: Vec<u32> =
        (0..1_000).map(|second| u32::from(matches!(second, 0..5 | 8..20 | 500..505))).collect();
    let trace = Trace::of_counts(counts.iter().copied()).expect("requests");
    let scenario = Scenario::default();
    let level = Level::new(1, &counts, &trace, &scenario);
    assert_eq!(level.clusters(), [(0, 20 * S, false), (500 * S, 505 * S, false)]);
    // Beyond the minimum eight minutes of memory are dearer than a start.
    let level = Level::new(2, &counts.iter().map(|n| n * 2).collect::<Vec<_>>(), &trace, &scenario);
    assert_eq!(level.clusters(), [(0, 20 * S, true), (500 * S, 505 * S, true)]);
}
