//! The parameters of the default policy that meet an objective at least cost on one trace, and
//! how they do on another.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use runner_examples::scaling::{
    Arguments, Progress, SCENARIO_HELP, finish, policy, read_trace, scenario_flag,
};
use runner_scaler::{
    Bounded, DefaultPolicy, InvalidPolicy, PolicyExt as _,
    simulator::{Report, Scenario, Simulation, Table, Trace},
    tune::{Parameter, Tuned, Tuner},
};

const HELP: &str = "\
The parameters of the default policy that meet an objective at least cost on one trace, and how
they do on another.

usage: tune --trace FILE.csv [--check OTHER.csv] [--objective \"p99.9<200ms\"] [flags]

  --trace FILE          the trace to search on
  --check FILE          the trace to check on
  --tries N             how many points are tried (40)
";

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    finish("tune", &format!("{HELP}{SCENARIO_HELP}"), run())
}

fn run() -> Result<Option<String>, String> {
    let (mut trace, mut check, mut tries) = (None, None, 40_u32);
    let mut scenario = Scenario::default();
    let mut arguments = Arguments::of_process();
    while let Some(flag) = arguments.flag() {
        match flag.as_str() {
            "--help" | "-h" => return Ok(None),
            "--trace" => trace = Some(arguments.value(&flag)?),
            "--check" => check = Some(arguments.value(&flag)?),
            "--tries" => tries = arguments.number(&flag)?,
            other if scenario_flag(&mut scenario, other, &mut arguments)? => {}
            other => return Err(format!("unknown flag {other}")),
        }
    }
    let trace = trace.ok_or("--trace is missing")?;
    let seen = read_trace(&trace)?;
    let unseen = check.as_deref().map(read_trace).transpose()?;
    let tuned = search(&seen, &scenario, tries)?;
    let mut output = format!("{scenario}\n\nafter {} tries\n", tuned.tries);
    // Writing to a string cannot fail.
    for (parameter, value) in parameters().iter().zip(&tuned.values) {
        let _ = writeln!(output, "  {:12} {value:.3}", parameter.name);
    }
    let beside = |trace: &Trace, tuned: Report| -> Result<Vec<Report>, String> {
        let simulation = Simulation::new(trace, &scenario).map_err(|fault| fault.to_string())?;
        let default = simulation.run("default", policy("default", &scenario)?);
        Ok(vec![tuned, default.map_err(|fault| fault.to_string())?])
    };
    let reports = beside(&seen, tuned.report.clone())?;
    let _ = write!(output, "\non {trace}\n{}", Table(&reports));
    if let (Some(name), Some(unseen)) = (check, &unseen) {
        let simulation = Simulation::new(unseen, &scenario).map_err(|fault| fault.to_string())?;
        let report = Tuner::check(&tuned, &simulation, |values| made(values, &scenario));
        let reports = beside(unseen, report.map_err(|fault| fault.to_string())?)?;
        let _ = write!(output, "\non {name}\n{}", Table(&reports));
    }
    Ok(Some(output))
}

fn parameters() -> [Parameter; 3] {
    [
        Parameter::by_ratio("idle s", 1.0, 120.0),
        Parameter::by_ratio("remembered s", 60.0, 7_200.0),
        Parameter::linear("headroom", 0.0, 1.0),
    ]
}

fn made(values: &[f64], scenario: &Scenario) -> Result<Bounded<DefaultPolicy>, InvalidPolicy> {
    let [idle, remembered, headroom] = values else {
        return Err(InvalidPolicy::Empty { what: "the list of values" });
    };
    let policy = DefaultPolicy::default()
        .objective(scenario.objective)?
        .prices(scenario.prices.prices())?
        .idle(Duration::from_secs_f64(*idle))
        .remembered(Duration::from_secs_f64(*remembered))
        .headroom(*headroom)?;
    Ok(policy.within(scenario.limits()).skipping_useless_starts())
}

fn search(trace: &Trace, scenario: &Scenario, tries: u32) -> Result<Tuned, String> {
    let simulation = Simulation::new(trace, scenario).map_err(|fault| fault.to_string())?;
    let tuner = Tuner::new(parameters(), tries).map_err(|fault| fault.to_string())?;
    let mut progress = Progress::new("tries", tries as usize);
    let make = |values: &[f64]| made(values, scenario);
    tuner
        .search(&simulation, make, &mut |tried| progress.tell(tried as usize))
        .map_err(|fault| fault.to_string())
}
