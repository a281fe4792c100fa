//! `cargo run --release -p runner-benches --bin goodput`
//!
//! Goodput from half to ten times capacity, and whether refusals were right: see
//! [`runner_benches::goodput`] for what is run and what counts. Ends with a code other than 0 when
//! a bound is missed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

use std::{
    env,
    fs::{self, File},
    io,
    path::PathBuf,
    process::ExitCode,
    slice,
};

use runner_benches::goodput::{
    clients::Clock,
    curve::{self, Curve, Extent, Spike, Worst},
    svg,
};

const HELP: &str = "\
What is still served when far more comes than can be, and whether refusals are right.

Usage: goodput [--short] [--svg FILE] [--help]

  --short     fewer curves and loads, in half a minute on a free core
  --svg FILE  where the curves are drawn; target/goodput.svg if not said

Open loop, 500 slots of a quarter of a second: a capacity of 2,000 requests a second. Curves and
what an oracle judges are run on paused time; refusal latency and goodput once more in real time.
The last line is JSON, the worst of all runs:

  peak_over_capacity     goodput at its peak over capacity                    at least 0.97
  goodput_at_10x         requests a second served at ten times capacity
  ratio                  that goodput over the peak                           at least 0.98
  refusal_p99_ms         a refusal, from when the request was sent, real time at most 5
  refused_though_it_fit  part of the refused who had a tenth of their         at most 0.02
                         budget left, had they stood in line
  admitted_then_expired  part of those let in who were not served in time     at most 0.005
  retry_after_hit        part of those who came back as told and were served  at least 0.95

Ends with 1 when one of these bounds is missed, or when those who come back make a second spike.
Where the machine had other work (requests sent more than 5 ms late at p99), real time is shown and
not judged; refusal_p99_ms is null if it was so throughout. What misses a bound in real time is run
once more, and that counts.";

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
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
    // Better said now than in some minutes.
    if let Err(error) = File::options().create(true).append(true).open(&call.svg) {
        return unwritable(&call, &error);
    }
    let mut curves = curve::paused(call.extent, |name| eprintln!("paused time: {name}"));
    let spikes = curve::spikes(call.extent, |name| eprintln!("a crowd comes and goes: {name}"));
    let real = || curve::real(call.extent, |name| eprintln!("real time: {name}"));
    let mut in_real_time = real();
    // A machine with other work may be late where that is not seen: it gets one more chance.
    if in_real_time.iter().any(|curve| !Worst::of(slice::from_ref(curve), &[]).missed().is_empty())
    {
        println!("a bound was missed in real time: once more");
        in_real_time = real();
    }
    curves.extend(in_real_time);
    if let Err(error) = fs::write(&call.svg, svg::draw(&curves)) {
        return unwritable(&call, &error);
    }
    for curve in &curves {
        print_curve(curve);
    }
    print_spikes(&spikes);
    println!("\ndrawn in {}", call.svg.display());
    for curve in curves.iter().filter(|curve| curve.was_disturbed()) {
        println!("not judged: {} in real time, since the machine had other work", curve.name);
    }
    let worst = Worst::of(&curves, &spikes);
    if worst.refusal_p99.is_none() {
        println!("not judged: refusal_p99_ms, since the machine had other work throughout");
    }
    let missed = worst.missed();
    for bound in &missed {
        println!("missed: {bound}");
    }
    println!("{}", json(&worst));
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn unwritable(call: &Call, error: &io::Error) -> ExitCode {
    eprintln!("cannot write {}: {error}; say where with --svg", call.svg.display());
    ExitCode::from(2)
}

struct Call {
    extent: Extent,
    svg: PathBuf,
}

impl Call {
    /// Nothing where help is asked for.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut call = Self { extent: Extent::Long, svg: "target/goodput.svg".into() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--short" => call.extent = Extent::Short,
                "--svg" => call.svg = arguments.next().ok_or("`--svg` wants a file")?.into(),
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("`{other}` is nothing this program takes")),
            }
        }
        Ok(Some(call))
    }
}

fn print_curve(curve: &Curve) {
    let clock = match curve.clock {
        Clock::Paused => "paused time",
        Clock::Real => "real time",
    };
    println!("\n{} ({clock})", curve.name);
    println!(
        "   load  goodput  /capacity   fitted  strictly  expired  settling: fitted  expired  \
         refusal p99  sent late p99"
    );
    for point in &curve.points {
        let verdict = &point.verdict;
        let percent = |part: f64| format!("{:.2} %", part * 100.0);
        println!(
            "  {:5.2}  {:7.0}  {:9.4}  {:>7}  {:>8}  {:>7}  {:>16}  {:>7}  {:8.2} ms  {:10.2} ms",
            point.load,
            point.goodput,
            point.over_capacity,
            percent(verdict.refused_though_it_fit()),
            percent(verdict.fitted_strictly as f64 / verdict.refused.max(1) as f64),
            percent(verdict.admitted_then_expired()),
            percent(point.settling.refused_though_it_fit()),
            percent(point.settling.admitted_then_expired()),
            point.refusal_p99.as_secs_f64() * 1e3,
            point.lateness_p99.as_secs_f64() * 1e3,
        );
    }
}

fn print_spikes(spikes: &[Spike]) {
    println!("\nten times capacity for two seconds, refused clients come back as told");
    for spike in spikes {
        println!(
            "  {:38}  {:6} came back, {:6.2} % served; at most {:.2} of capacity at once",
            spike.name,
            spike.returned,
            spike.hit * 100.0,
            spike.busiest
        );
    }
}

fn json(worst: &Worst) -> serde_json::Value {
    let rounded = |part: f64| (part * 1e4).round() / 1e4;
    serde_json::json!({
        "peak_over_capacity": rounded(worst.peak_over_capacity),
        "goodput_at_10x": worst.goodput_at_10x.round(),
        "ratio": rounded(worst.ratio),
        "refusal_p99_ms": worst.refusal_p99.map(|p99| rounded(p99.as_secs_f64() * 1e3)),
        "refused_though_it_fit": rounded(worst.refused_though_it_fit),
        "admitted_then_expired": rounded(worst.admitted_then_expired),
        "retry_after_hit": rounded(worst.retry_after_hit),
    })
}
