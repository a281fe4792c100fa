//! A policy of one's own, and how it does beside ours on traffic that is made up here.

use std::process::ExitCode;

use runner_examples::scaling::{Arguments, finish, policy};
use runner_scaler::{
    Asked, Because, Look, Name, Policy, PolicyExt as _, Signal, Wish,
    simulator::{Scenario, Simulation, Table, Trace},
};

const HELP: &str = "\
A policy of one's own, and how it does beside ours on traffic that is made up here.

usage: custom_policy
";

/// One instance more than was ever needed in the last ten looks.
#[derive(Clone, Debug, Default)]
struct OneSpare {
    needed: [u32; 10],
    look: usize,
}

impl Policy for OneSpare {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        let (present, each) = (look.seen.load.present() as f64, look.seen.slots_each());
        self.needed[self.look % 10] = (present / each).ceil() as u32;
        self.look += 1;
        let most = self.needed.into_iter().max().unwrap_or(0);
        let because =
            Because::new(Signal::Concurrency, present, each).more_at(f64::from(most) * each + 1.0);
        asked.wish(Wish::new(Name::fixed("one spare"), most + 1, because));
    }
}

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    finish("custom_policy", HELP, run())
}

fn run() -> Result<Option<String>, String> {
    match Arguments::of_process().flag().as_deref() {
        None => {}
        Some("--help" | "-h") => return Ok(None),
        Some(other) => return Err(format!("unknown flag {other}")),
    }
    // An hour whose load rises and falls twice, with a crowd in it.
    let load = |second: u32| {
        let wave = (f64::from(second) / 1_800.0 * std::f64::consts::TAU).sin();
        let crowd = if (2_000..2_120).contains(&second) { 150.0 } else { 0.0 };
        (80.0 + 60.0 * wave + crowd) as u32
    };
    let trace = Trace::of_counts((0..3_600).map(load)).map_err(|fault| fault.to_string())?;
    let scenario = Scenario::default();
    let simulate = || -> Result<_, Box<dyn std::error::Error>> {
        let simulation = Simulation::new(&trace, &scenario)?;
        let theirs = OneSpare::default().within(scenario.limits());
        let mut reports = vec![simulation.run("one spare", theirs)?];
        for name in ["default", "apprunner", "knative"] {
            reports.push(simulation.run(name, policy(name, &scenario)?)?);
        }
        reports.push(simulation.clairvoyant(&mut |_| {}));
        Ok(reports)
    };
    let reports = simulate().map_err(|fault| fault.to_string())?;
    Ok(Some(format!("{scenario}\n\n{}", Table(&reports))))
}
