//! `cargo bench -p runner-benches --bench admission`

use criterion::{Criterion, criterion_group, criterion_main};
use runner_benches::admission::QUESTIONS;

fn admission(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admission");
    for (name, measure) in QUESTIONS {
        group.bench_function(name, |bencher| bencher.iter_custom(measure));
    }
    group.finish();
}

criterion_group!(benches, admission);
criterion_main!(benches);
