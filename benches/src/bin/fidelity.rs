//! `cargo run --release -p runner-benches --bin fidelity`
//!
//! The same trace on real processes and in the simulator: see [`runner_benches::fidelity`] for what
//! is run and what counts. Ends with 1 when the two do not agree, and with 3 when nothing could be
//! judged.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

use std::{env, process::ExitCode};

use runner_benches::fidelity::{Measures, Real, real, simulated, trace};
use runner_examples::{sample_app, words::span};
use serde_json::{Map, Value, json};

const HELP: &str = "\
Whether the simulator tells the truth: one trace on real processes and in it.

Usage: fidelity [--short] [--minutes N] [--runs N] [--seed N] [--help]

  --short      one run of a minute, which may be apart by twice as much
  --minutes N  how long the trace is (5)
  --runs N     how many runs are judged; the median of each measure counts (3)
  --seed N     of which trace (1)

The last line is JSON: requests; for each of refused, wait_p99_ms, cold_starts and instance_seconds
what was real and what was simulated; agree. They agree within a tenth of the real one or, where
that is more, one request of a thousand, 20 ms, one start and five instance-seconds. One run of a
minute is a fifth of the requests and no median: chance alone moves its slowest hundredth by more.

A run is judged only if its requests were sent on time (within 5 ms at p99, none more than 100 ms
late): otherwise the machine had other work, and the real side was another trace. Such a run is made
again, as often as there are runs. Where none was on time, agree is null.

Ends with 1 when one of the four does not agree, or a request was neither served nor refused, and
with 3 when no run was on time.";

struct Call {
    minutes: usize,
    runs: usize,
    seed: u64,
    /// How many times as far apart they may be.
    slack: f64,
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
        Ok(Some(true)) => ExitCode::SUCCESS,
        Ok(Some(false)) => ExitCode::FAILURE,
        Ok(None) => ExitCode::from(NOT_JUDGED),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

impl Call {
    /// Nothing where help is asked for.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut call = Self { minutes: 5, runs: 3, seed: 1, slack: 1.0 };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value =
                    arguments.next().ok_or_else(|| format!("`{argument}` wants a number"))?;
                value.parse::<usize>().map_err(|_| format!("`{value}` is no number"))
            };
            match argument.as_str() {
                "--short" => (call.minutes, call.runs, call.slack) = (1, 1, 2.0),
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

/// Whether both sides agree; nothing where no run was on time.
async fn compare(call: &Call) -> Result<Option<bool>, String> {
    let counts = trace(call.minutes * 60, call.seed);
    let requests: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    println!("{requests} requests in {} s, seed {}", counts.len(), call.seed);
    let (mut on_time, mut late) = (Vec::new(), Vec::new());
    let mut lost = 0;
    for run in 1..=2 * call.runs {
        let real = real(&counts).await?;
        let simulated = simulated(&counts, &real);
        print_run(run, &real, &simulated);
        lost += real.lost;
        let judged = if real.was_disturbed() { &mut late } else { &mut on_time };
        judged.push((real.measures, simulated));
        if on_time.len() == call.runs {
            break;
        }
    }
    let (is_judged, missed) = (!on_time.is_empty(), late.len());
    let (reals, simulations): (Vec<_>, Vec<_>) =
        if is_judged { on_time } else { late }.into_iter().unzip();
    let (real, simulated) = (Measures::median(&reals), Measures::median(&simulations));
    let agree = match is_judged {
        true => {
            println!(
                "\n{} of {} runs were on time, and are judged",
                reals.len(),
                reals.len() + missed
            );
            Some(print_verdict(requests, &real, &simulated, call.slack))
        }
        false => {
            println!("\nnot judged: no run was on time, since the machine had other work");
            None
        }
    };
    println!("{}", json(requests, &real, &simulated, agree));
    // What was lost is lost on whatever machine.
    Ok(if lost > 0 { Some(false) } else { agree })
}

fn print_run(run: usize, real: &Real, simulated: &Measures) {
    let (service, start) = (span(real.service), span(real.start));
    println!(
        "\nrun {run}: a request takes {service}, a start {start}; sent late by {} at p99, {} at most{}",
        span(real.lateness.p99),
        span(real.lateness.most),
        if real.was_disturbed() { "; NOT JUDGED, the machine had other work" } else { "" },
    );
    println!("  real       {}, {} lost", real.measures, real.lost);
    println!("  simulated  {simulated}");
}

/// Says how far they are apart, and whether that is little enough.
fn print_verdict(requests: u64, real: &Measures, simulated: &Measures, slack: f64) -> bool {
    let mut is_close = true;
    println!();
    let tolerances = real.tolerance(requests);
    for (at, name) in Measures::NAMES.into_iter().enumerate() {
        let (real, simulated, tolerance) =
            (real.all()[at], simulated.all()[at], slack * tolerances[at]);
        let apart = (real - simulated).abs();
        let word = if apart <= tolerance { "agree" } else { "MISSED" };
        is_close &= apart <= tolerance;
        println!(
            "{word:<6} {name:<17} real {real:>9.1}  simulated {simulated:>9.1}  apart {apart:>7.1} of {tolerance:.1}"
        );
    }
    is_close
}

fn json(requests: u64, real: &Measures, simulated: &Measures, agree: Option<bool>) -> Value {
    let mut json = Map::from_iter([("requests".to_owned(), json!(requests))]);
    for (at, name) in Measures::NAMES.into_iter().enumerate() {
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        let (real, simulated) = (rounded(real.all()[at]), rounded(simulated.all()[at]));
        json.insert(name.to_owned(), json!({ "real": real, "simulated": simulated }));
    }
    json.insert("agree".to_owned(), json!(agree));
    Value::Object(json)
}

/// Neither a success nor a failure.
const NOT_JUDGED: u8 = 3;
