//! A deployment driven by an embedder's own events, printing its story.
//!
//! `cargo run --release -p runner-examples --bin deploy_machine`; with `--break GUARD` it shows the
//! shortest way to disaster without that guard.

use std::{collections::VecDeque, io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use runner_core::{
    deployment::{Deployment, Effect, Event, Plan, Policy, Side, Window},
    id::{RevisionNumber, ServiceId},
    spec::ServiceSpec,
    time::Timestamp,
};

#[path = "deploy_machine/disaster.rs"]
mod disaster;

const USAGE: &str = "usage: deploy_machine [--break GUARD]";

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut story = Vec::new();
    let code = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => tell(&mut story),
        ["--help" | "-h"] => {
            let _ = writeln!(story, "{USAGE}");
            Ok(())
        }
        ["--break", guard] => disaster::show(guard, &mut story),
        _ => Err(USAGE.to_owned()),
    };
    let _ = std::io::stdout().lock().write_all(&story);
    match code {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            let _ = writeln!(std::io::stderr().lock(), "{refusal}");
            ExitCode::from(if story.is_empty() { 2 } else { 1 })
        }
    }
}

/// Green is started, proven and given the requests, then answers badly.
fn tell(story: &mut Vec<u8>) -> Result<(), String> {
    let spec = ServiceSpec::command(["./hello"]).between(2, 4).check("hello");
    let spec = spec.map_err(|faults| faults.to_string())?.value;
    let service = ServiceId::from_random(7);
    let side = |number| Side::new(RevisionNumber::new(number), spec.revision());
    let address = |number| runner_core::address::Address::Memory(format!("{number}").into());
    let plan = Plan {
        service,
        policy: Arc::new(Policy::new(spec.settings(), false)),
        blue: Some((side(1), (1..=2).map(|n| (service.instance(n), address(n))).collect())),
        green: side(2),
        desired: 2,
        next_instance: 3,
    };
    // What would be calls, probes and a clock, here answers each effect in its turn.
    let (mut now, mut measured) = (Timestamp::EPOCH, false);
    let (mut deployment, effects) = Deployment::begin(plan, now);
    let mut effects = VecDeque::from(effects);
    while deployment.outcome().is_none() || !effects.is_empty() {
        now += Duration::from_secs(1);
        let event = match effects.pop_front() {
            Some(Effect::Start { instance, .. }) => {
                Event::Started(instance, Some(address(instance.number)))
            }
            Some(Effect::Probe(instance)) => Event::BecameReady(instance),
            Some(Effect::Drain { instance, asked }) => Event::Drained { instance, asked },
            Some(Effect::Stop { instance }) => Event::Stopped(instance),
            Some(Effect::Note(notice)) => {
                let _ = writeln!(story, "{now}  {notice}");
                continue;
            }
            Some(_) => continue,
            None if !std::mem::replace(&mut measured, true) => Event::Measured {
                green: Window::new(500, 50, Duration::from_millis(20)),
                blue: Some(Window::new(500, 0, Duration::from_millis(20))),
            },
            None => return Err("it waits for something that nobody answers".to_owned()),
        };
        let _ = writeln!(story, "{now}  > {event:?}");
        effects.extend(deployment.handle(event, now));
    }
    let _ = writeln!(story, "{now}  {:?}", deployment.outcome());
    Ok(())
}
