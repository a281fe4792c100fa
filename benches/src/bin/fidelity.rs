//! `cargo run --release -p runner-benches --bin fidelity`
//!
//! The same trace on real processes and in the simulator: see [`runner_benches::fidelity`] for what
//! is run and what counts. Ends with 1 when the two do not agree.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

use std::{env, process::ExitCode};

use runner_benches::fidelity::{Measures, Real, real, simulated, trace};
use runner_examples::{sample_app, words::span};
use serde_json::{Map, Value, json};

const HELP: &str = "\
Whether the simulator tells the truth: one trace on real processes and in it.

Usage: fidelity [--short] [--minutes N] [--runs N] [--seed N] [--help]

  --short      one run of a minute, and one more where that is not good
  --minutes N  how long the trace is (5)
  --runs N     how often it is run; the median of each measure counts (3)
  --seed N     of which trace (1)

The last line is JSON: requests and, for each of refused, wait_p99_ms, cold_starts and
instance_seconds, what was real and what was simulated. They agree within a tenth of the real one or,
where that is more, one request of a thousand, 20 ms, one start and five instance-seconds.

A run in which a request was sent later than waits may differ, 20 ms, is not judged: the machine had
other work. Ends with 1 when they do not agree, or a request was neither served nor refused.";

struct Call {
    minutes: usize,
    runs: usize,
    /// How often all of it is tried.
    attempts: usize,
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    sample_app::run_if_asked();
    let call = match Call::parse(env::args().skip(1)) {
        Ok(Some(call)) => call,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            eprintln!("{fault}; see --help");
            return ExitCode::from(2);
        }
    };
    match compare(&call).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

impl Call {
    /// Nothing where help is asked for.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut call = Self { minutes: 5, runs: 3, attempts: 1, seed: 1 };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value =
                    arguments.next().ok_or_else(|| format!("`{argument}` wants a number"))?;
                value.parse::<usize>().map_err(|_| format!("`{value}` is no number"))
            };
            match argument.as_str() {
                "--short" => (call.minutes, call.runs, call.attempts) = (1, 1, 2),
                "--minutes" => call.minutes = number()?.max(1),
                "--runs" => call.runs = number()?.max(1),
                "--seed" => call.seed = number()? as u64,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("`{other}` is nothing this program takes")),
            }
        }
        Ok(Some(call))
    }
}

async fn compare(call: &Call) -> Result<bool, String> {
    let counts = trace(call.minutes * 60, call.seed);
    let requests: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    println!("{requests} requests in {} s, seed {}", counts.len(), call.seed);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let runs = all_runs(call, &counts).await?;
        let verdict = Verdict::of(&runs);
        let judged: Vec<&Run> = match verdict {
            Verdict::NotJudged => runs.iter().collect(),
            _ => runs.iter().filter(|run| !run.real.was_disturbed()).collect(),
        };
        let real =
            Measures::median(&judged.iter().map(|run| run.real.measures).collect::<Vec<_>>());
        let simulated = judged.iter().map(|run| run.simulated).collect::<Vec<_>>();
        let (is_close, json) = agree(requests, &real, &Measures::median(&simulated));
        let is_good = match verdict {
            Verdict::Lost => false,
            Verdict::Judged if is_close => true,
            Verdict::Judged | Verdict::NotJudged if attempt < call.attempts => {
                println!("once more");
                continue;
            }
            Verdict::Judged => false,
            Verdict::NotJudged => {
                println!("not judged: the machine had other work, and requests were sent late");
                true
            }
        };
        println!("{json}");
        return Ok(is_good);
    }
}

/// A run on both sides.
struct Run {
    real: Real,
    simulated: Measures,
}

async fn all_runs(call: &Call, counts: &[u32]) -> Result<Vec<Run>, String> {
    let mut runs = Vec::new();
    for number in 1..=call.runs {
        let real = real(counts).await?;
        let simulated = simulated(counts, &real);
        print_run(number, &real, &simulated);
        runs.push(Run { real, simulated });
    }
    Ok(runs)
}

/// What can be said of some runs.
#[derive(Clone, Copy)]
enum Verdict {
    /// A request came to nothing, which no other work of the machine explains.
    Lost,
    /// By the median of those that nothing disturbed.
    Judged,
    /// There is none of those.
    NotJudged,
}

impl Verdict {
    fn of(runs: &[Run]) -> Self {
        if runs.iter().any(|run| run.real.lost > 0) {
            Self::Lost
        } else if runs.iter().all(|run| run.real.was_disturbed()) {
            Self::NotJudged
        } else {
            Self::Judged
        }
    }
}

fn print_run(run: usize, real: &Real, simulated: &Measures) {
    let (service, start) = (span(real.service), span(real.start));
    println!(
        "\nrun {run}: a request takes {service}, a start {start}; the latest was sent {} late",
        span(real.latest)
    );
    println!("  real       {}, {} lost", real.measures, real.lost);
    println!("  simulated  {simulated}");
}

/// Says how far they are apart, and answers whether that is little enough.
fn agree(requests: u64, real: &Measures, simulated: &Measures) -> (bool, Value) {
    let mut json = Map::from_iter([("requests".to_owned(), json!(requests))]);
    let mut is_close = true;
    println!();
    let tolerances = real.tolerance(requests);
    for (at, name) in Measures::NAMES.into_iter().enumerate() {
        let (real, simulated, tolerance) = (real.all()[at], simulated.all()[at], tolerances[at]);
        let apart = (real - simulated).abs();
        let word = if apart <= tolerance { "agree" } else { "MISSED" };
        is_close &= apart <= tolerance;
        println!(
            "{word:<6} {name:<17} real {real:>9.1}  simulated {simulated:>9.1}  apart {apart:>7.1} of {tolerance:.1}"
        );
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        json.insert(
            name.to_owned(),
            json!({ "real": rounded(real), "simulated": rounded(simulated) }),
        );
    }
    (is_close, Value::Object(json))
}
