//! `cargo bench -p runner-benches --bench health`
#![expect(clippy::print_stdout, reason = "what criterion has no word for is printed")]

use std::time::Duration;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use runner_benches::health::{QUESTIONS, bytes_each, fleet, ready_delay, ready_delays};

fn questions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("health");
    for (name, measure) in QUESTIONS {
        group.bench_function(name, |bencher| bencher.iter_custom(measure));
    }
    group.finish();
}

/// Starts take a fifth of a second each, of which criterion sees only the delay.
fn delay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("health");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(10)).measurement_time(Duration::from_millis(200));
    group.bench_function("ready_delay", |bencher| bencher.iter_custom(ready_delay));
    group.finish();
    if !is_named("ready_delay") {
        return;
    }
    let mut delays = ready_delays(if is_smoke() { 5 } else { 200 });
    delays.sort();
    let at = |part: usize| delays[(delays.len() * part).div_ceil(100).max(1) - 1];
    println!(
        "health/ready_delay of {} starts: p50 {:?}, p95 {:?}, most {:?}",
        delays.len(),
        at(50),
        at(95),
        at(100)
    );
}

fn watching(_: &mut Criterion) {
    if !is_named("fleet") {
        return;
    }
    let (instances, span) = if is_smoke() { (500, 6) } else { (10_000, 30) };
    println!("health/fleet: {} bytes for each of {instances} instances", bytes_each(instances));
    let report = fleet(instances, Duration::from_secs(span));
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / report.counters.answered.max(1) as f64;
    println!(
        "health/fleet: {} probes in {:?}; starts late: p50 < {:?}, p99.9 < {:?}, all < {:?}; \
         {:.1} us of CPU for each probe, both ends; {:.1} us of it for the connection alone",
        report.counters.answered,
        report.span,
        report.lateness.quantile(0.5),
        report.lateness.quantile(0.999),
        report.lateness.quantile(1.0),
        each(report.cpu),
        each(report.floor),
    );
}

/// Whether this part was asked for: by its name, or since nothing was named.
fn is_named(part: &str) -> bool {
    let mut filters = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let first = filters.next();
    first.is_none_or(|filter| "health/".to_owned() + part == filter || part.contains(&filter))
}

/// Whether `cargo test` runs this, to see that it works.
fn is_smoke() -> bool {
    std::env::args().any(|argument| argument == "--test")
        || !std::env::args().any(|a| a == "--bench")
}

criterion_group!(benches, questions, delay, watching);
criterion_main!(benches);
