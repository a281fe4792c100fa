//! `cargo bench -p runner-benches --bench scaler`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runner_benches::scaler::QUESTIONS;

fn scaler(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scaler");
    group.throughput(Throughput::Elements(1));
    for (name, measure) in QUESTIONS {
        group.bench_function(name, |bencher| bencher.iter_custom(measure));
    }
    group.finish();
}

criterion_group!(benches, scaler);
criterion_main!(benches);
