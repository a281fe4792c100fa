//! `cargo bench -p runner-benches --bench machine`

use criterion::{Criterion, criterion_group, criterion_main};
use runner_benches::machine::QUESTIONS;

fn machine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    for (name, measure) in QUESTIONS {
        group.bench_function(name, |bencher| bencher.iter_custom(measure));
    }
    group.finish();
}

criterion_group!(benches, machine);
criterion_main!(benches);
