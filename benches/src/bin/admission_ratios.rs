//! `cargo run --release -p runner-benches --bin admission_ratios`
//!
//! Asks every question of [`runner_benches::admission`] five times, in rounds: all questions once,
//! then all again, so that a machine that is slower for a while is slower for all of them. What
//! counts are ratios of medians; the nanoseconds are this machine's.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

use std::{collections::BTreeMap, env, process::ExitCode};

use runner_benches::admission::{Measure, QUESTIONS};

const HELP: &str = "\
What admission costs a request, as ratios to the cost of tower's own parts.

Usage: admission_ratios [--help]
       admission_ratios --once QUESTION OPERATIONS

Runs all questions in five interleaved rounds. Prints the median of each, then the ratios, then
the ratios once more as one line of JSON:

  uncontended            (queue - bare) / (tower - bare), one caller, a slot always free
  contended              the same with two threads
  pool_16                (pool of sixteen - bare) / (tower - bare), one caller
  handoff                queue / tower, 64 tasks and one slot
  handoff_over_floor_ns  queue - waking alone, in nanoseconds
  shared_queue           tower's shared queue / queue, 64 tasks

Progress goes to stderr. Takes about fifteen seconds.

With --once it asks one question of so many operations and does nothing else: what to run under
a profiler. Instructions per operation are the difference of two runs, over that of their
operations, which leaves out what starting costs.";

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    let arguments: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => report(&Medians::measured()),
        ["--help" | "-h"] => println!("{HELP}"),
        ["--once", question, operations] => {
            let known = QUESTIONS.iter().find(|(name, _)| *name == question);
            let (Some((_, measure)), Ok(operations)) = (known, operations.parse()) else {
                eprintln!("there is no such question, or that is no number; see --help");
                return ExitCode::from(2);
            };
            measure(operations);
        }
        _ => {
            eprintln!("`{}` is nothing this program takes; see --help", words.join(" "));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Nanoseconds per operation by question.
struct Medians(BTreeMap<&'static str, f64>);

impl Medians {
    fn measured() -> Self {
        let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for round in 1..=ROUNDS {
            eprintln!("round {round} of {ROUNDS}");
            for (name, measure) in QUESTIONS {
                all.entry(name).or_default().push(nanos_per_operation(name, measure));
            }
        }
        Self(all.into_iter().map(|(name, samples)| (name, median(samples))).collect())
    }

    fn of(&self, name: &str) -> f64 {
        self.0[name]
    }

    /// What this one costs above the bare service, in units of what tower costs above it.
    fn above_bare(&self, who: &str, when: &str) -> f64 {
        let bare = self.of(&format!("bare/{when}"));
        (self.of(&format!("{who}/{when}")) - bare) / (self.of(&format!("tower/{when}")) - bare)
    }
}

fn report(medians: &Medians) {
    println!("nanoseconds per operation, medians of {ROUNDS} rounds");
    for (name, nanos) in &medians.0 {
        println!("  {name:22} {nanos:8.1}");
    }
    let ours = medians.of("queue/handoff_64");
    let ratios = [
        ("uncontended", medians.above_bare("queue", "uncontended")),
        ("contended", medians.above_bare("queue", "contended_2")),
        ("pool_16", medians.above_bare("pool_16", "uncontended")),
        ("handoff", ours / medians.of("tower/handoff_64")),
        ("handoff_over_floor_ns", ours - medians.of("floor/handoff_64")),
        ("shared_queue", medians.of("tower/shared_queue") / ours),
    ];
    println!("ratios");
    for (name, ratio) in ratios {
        println!("  {name:22} {ratio:8.2}");
    }
    let rounded = ratios.map(|(name, ratio)| (name, (ratio * 100.0).round() / 100.0));
    println!("{}", serde_json::json!(BTreeMap::from(rounded)));
}

fn nanos_per_operation(name: &str, measure: Measure) -> f64 {
    let waits = name.contains("handoff") || name.contains("shared");
    let operations = if waits { 200_000 } else { 1_000_000 };
    measure(operations).as_secs_f64() * 1e9 / operations as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Odd, so that the median is one of them.
const ROUNDS: usize = 5;
