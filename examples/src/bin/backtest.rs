//! What policies would have done to recorded traffic, and what that would have cost.

use std::{fmt::Write as _, process::ExitCode};

use runner_examples::scaling::{
    Arguments, DISTURBANCES, POLICIES, Progress, SCENARIO_HELP, finish, policy, read_trace,
    scenario_flag,
};
use runner_scaler::simulator::{Report, Scenario, Simulation, Table, Trace, svg};
use serde_json::json;

const HELP: &str = "\
What policies would have done to recorded traffic, and what that would have cost.

usage: backtest --trace FILE.csv [flags]

  --trace FILE          `second,requests` on each line, or one time on each; - is standard input
  --policy A,B          which policies: default, apprunner, knative, cloudrun (all)
  --robust              also with slow service, slow starts and a flash crowd
  --svg OUT.svg         draws load, instances and waiting
  --json                one object per policy on a line of its own
  --no-clairvoyant      leaves out the schedule that knows the future
";

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    finish("backtest", &format!("{HELP}{SCENARIO_HELP}"), run())
}

/// What was asked for.
#[derive(Default)]
struct Call {
    trace: Option<String>,
    policies: Vec<String>,
    robust: bool,
    svg: Option<String>,
    json: bool,
    blind: bool,
}

fn run() -> Result<Option<String>, String> {
    let (mut call, mut scenario) = (Call::default(), Scenario::default());
    let mut arguments = Arguments::of_process();
    while let Some(flag) = arguments.flag() {
        match flag.as_str() {
            "--help" | "-h" => return Ok(None),
            "--trace" => call.trace = Some(arguments.value(&flag)?),
            "--policy" => {
                let names = arguments.value(&flag)?;
                call.policies = names.split(',').map(|name| name.trim().to_owned()).collect();
            }
            "--robust" => call.robust = true,
            "--svg" => call.svg = Some(arguments.value(&flag)?),
            "--json" => call.json = true,
            "--no-clairvoyant" => call.blind = true,
            other if scenario_flag(&mut scenario, other, &mut arguments)? => {}
            other => return Err(format!("unknown flag {other}")),
        }
    }
    if call.policies.is_empty() {
        call.policies = POLICIES.iter().map(|name| (*name).to_owned()).collect();
    }
    let name = call.trace.as_deref().ok_or("--trace is missing")?;
    let trace = read_trace(name)?;
    let mut output = String::new();
    for (title, disturbance) in DISTURBANCES {
        let asked = disturbance == scenario.disturbance;
        if asked || call.robust {
            let scenario = with(&scenario, disturbance);
            let reports = compare(&trace, &scenario, &call, title)?;
            show(&trace, &scenario, &reports, &call, &mut output);
            if let Some(file) = call.svg.as_deref().filter(|_| asked) {
                std::fs::write(file, svg(&reports))
                    .map_err(|error| format!("cannot write {file}: {error}"))?;
            }
        }
    }
    Ok(Some(output))
}

fn with(scenario: &Scenario, disturbance: runner_scaler::simulator::Disturbance) -> Scenario {
    let mut scenario = scenario.clone();
    scenario.disturbance = disturbance;
    scenario
}

fn compare(
    trace: &Trace,
    scenario: &Scenario,
    call: &Call,
    title: &str,
) -> Result<Vec<Report>, String> {
    let mut simulation = Simulation::new(trace, scenario).map_err(|fault| fault.to_string())?;
    if call.svg.is_some() {
        simulation = simulation.recording();
    }
    let clairvoyant = (!call.blind).then(|| {
        let mut progress = Progress::new(&format!("{title}: clairvoyant"), trace.seconds());
        simulation.clairvoyant(&mut |second| progress.tell(second))
    });
    let mut reports = Vec::new();
    for name in &call.policies {
        let bounded = policy(name, scenario)?;
        let mut progress = Progress::new(&format!("{title}: {name}"), trace.seconds());
        let report = simulation.run_telling(name, bounded, &mut |second| progress.tell(second));
        let mut report = report.map_err(|fault| fault.to_string())?;
        report.clairvoyant_usd = clairvoyant.as_ref().map(|report| report.cost_usd);
        reports.push(report);
    }
    if !call.json {
        reports.extend(clairvoyant);
    }
    Ok(reports)
}

fn show(trace: &Trace, scenario: &Scenario, reports: &[Report], call: &Call, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match call.json {
        true => reports.iter().try_for_each(|report| {
            let mut line = json!(report);
            if call.robust {
                line["disturbance"] = json!(scenario.disturbance);
            }
            writeln!(out, "{line}")
        }),
        false => writeln!(
            out,
            "{} requests in {} s, at most {} in one\n{scenario}\n\n{}",
            trace.requests(),
            trace.seconds(),
            trace.peak(),
            Table(reports),
        ),
    };
}
