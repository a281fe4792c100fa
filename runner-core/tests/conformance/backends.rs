//! The kit for backends, over the in-memory one and over saboteurs of it.

mod saboteur;

use std::{sync::Arc, time::Duration};

use runner_core::{
    backend::{Capabilities, ContainerBackend, ExitStatus, StartRequest},
    id::InstanceId,
    testing::{
        backend::{Engine, Fault, Faults, HintFault, On, Operation, SharedEngine},
        clock::TestClock,
        kit::{Act, BackendKit, Outcome, Report},
    },
};

use self::saboteur::{Flaw, Saboteur};

fn program(instance: InstanceId, act: &Act) -> Option<StartRequest> {
    let command = match act {
        Act::Serve => vec!["serve".to_owned()],
        Act::Exit(code) => vec!["exit".to_owned(), code.to_string()],
        Act::IgnoreStop => vec!["ignore-stop".to_owned()],
        Act::Print(line) => vec!["print".to_owned(), (*line).to_owned()],
        Act::Missing => vec!["missing".to_owned()],
        _ => return None,
    };
    Some(StartRequest::command(instance, command))
}

/// The kit with all that it can be given, over whatever `wrap` makes of the in-memory backend.
fn examine(
    engine: Engine,
    room: Option<usize>,
    wrap: impl Fn(&SharedEngine) -> Arc<dyn ContainerBackend> + Send + Sync + 'static,
) -> Report {
    let clock = TestClock::new();
    let engine = match room {
        Some(room) => engine.with_room(u32::try_from(room).expect("a small number")),
        None => engine,
    };
    let engine = SharedEngine::new(&clock, engine);
    let seen = engine.clone();
    let mut kit = BackendKit::new("memory", clock.clone(), move || Ok(wrap(&engine)), program)
        .witness(move || {
            let living = seen.living();
            async move {
                living
                    .iter()
                    .map(|view| (view.platform, saboteur::true_id(view.instance)))
                    .collect()
            }
        })
        .command(["exit", "3"], ExitStatus::Code(3))
        .endless_command(["sleep", "60000"])
        .cycles(Duration::from_secs(1), 100);
    if let Some(room) = room {
        kit = kit.room(room);
    }
    clock.run(kit.run())
}

fn plain(engine: &SharedEngine) -> Arc<dyn ContainerBackend> {
    Arc::new(engine.open())
}

#[test]
fn the_in_memory_backend_passes_with_every_capability() {
    let report = examine(Engine::new(), Some(20), plain);
    println!("{report}");
    report.assert();
    assert!(report.skipped().is_empty(), "{report}");
    assert!((40..=100).contains(&report.cycles()), "{}", report.cycles());
}

#[test]
fn the_in_memory_backend_passes_with_no_capability_and_says_what_was_skipped() {
    let report = examine(Engine::new().with_capabilities(Capabilities::default()), None, plain);
    report.assert();
    let frozen = report.outcome("freezing and thawing may be repeated").expect("a check");
    assert_eq!(*frozen, Outcome::Skipped("the capability `standby` is not declared".to_owned()));
    assert!(report.skipped().len() > 10, "{report}");
}

#[test]
fn the_in_memory_backend_passes_with_room_for_one() {
    examine(Engine::new(), Some(1), plain).assert();
}

#[test]
fn it_passes_when_every_call_is_delivered_twice_and_late_and_hints_are_doubled() {
    let short = Duration::from_millis(30);
    let operations = [Operation::Start, Operation::Stop, Operation::List, Operation::Freeze];
    let faults = operations.into_iter().fold(Faults::none(), |faults, operation| {
        faults
            .call(On::every(operation), Fault::Late(short))
            .call(On::every(operation), Fault::Twice(short))
            .call(On::every(operation), Fault::AnswerLate(short))
    });
    let faults = (1..2000).fold(faults, |faults, nth| faults.hint(nth, HintFault::Repeat));
    examine(Engine::new().with_faults(faults), Some(20), plain).assert();
}

#[test]
fn it_fails_when_lists_are_stale() {
    let stale = Fault::Stale(Duration::from_secs(1));
    let faults = Faults::none().call(On::every(Operation::List), stale);
    let report = examine(Engine::new().with_faults(faults), Some(20), plain);
    assert!(report.failed().contains(&"a list that began after a start was answered holds it"));
}

#[test]
fn however_little_time_there_is_forty_cycles_are_run() {
    let clock = TestClock::new();
    let engine = SharedEngine::new(&clock, Engine::new());
    let kit = BackendKit::new("memory", clock.clone(), move || Ok(plain(&engine)), program)
        .cycles(Duration::ZERO, 1);
    assert_eq!(clock.run(kit.run()).cycles(), 40);
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let run = || examine(Engine::new(), Some(20), plain).to_string();
    assert_eq!(run(), run());
}

#[test]
fn each_check_fails_on_a_backend_that_breaks_its_clause_and_no_other() {
    let mut wrong = Vec::new();
    for flaw in Flaw::ALL {
        let report =
            examine(flaw.engine(), Some(20), move |engine| Arc::new(Saboteur::new(engine, *flaw)));
        if report.failed() != flaw.breaks() {
            wrong.push(format!(
                "{flaw:?} should fail {:?} and fails {:#?}",
                flaw.breaks(),
                failures(&report)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_is_a_saboteur_for_every_check() {
    let broken: Vec<_> = Flaw::ALL.iter().flat_map(|flaw| flaw.breaks()).collect();
    let never: Vec<_> =
        BackendKit::checks().into_iter().filter(|name| !broken.contains(name)).collect();
    assert!(never.is_empty(), "nothing shows that these can fail: {never:#?}");
}

/// The failed checks with what they say.
fn failures(report: &Report) -> Vec<(&str, &Outcome)> {
    let failed = report.checks().iter().filter(|check| matches!(check.outcome, Outcome::Failed(_)));
    failed.map(|check| (check.name, &check.outcome)).collect()
}
