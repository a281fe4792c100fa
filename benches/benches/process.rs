//! `cargo bench -p runner-benches --bench process`

use criterion::Criterion;
use runner_benches::process::QUESTIONS;

fn main() {
    // This program is also what it starts.
    runner_examples::sample_app::run_if_asked();
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("process");
    for (name, measure) in QUESTIONS {
        group.bench_function(name, |bencher| bencher.iter_custom(measure));
    }
    group.finish();
    criterion.final_summary();
}
