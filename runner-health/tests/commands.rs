//! Probes by command, against the backend in memory.

use std::{sync::Arc, time::Duration};

use runner_core::{
    address::Address,
    backend::{Capabilities, ContainerBackend, Fence, StartRequest},
    id::{Epoch, InstanceId, PlatformId, ServiceId},
    spec::Command,
    testing::{
        backend::{Engine, SharedEngine},
        clock::TestClock,
    },
};
use runner_health::{
    Error,
    probe::{CommandProbe, Probe, Seen, Target, Waiting},
};

const LIMIT: Duration = Duration::from_secs(2);
const FENCE: Fence = Fence { platform: PlatformId::from_random(1), epoch: Epoch::FIRST };

fn instance() -> InstanceId {
    ServiceId::from_random(7).instance(1)
}

/// What a command's probe sees of an instance that runs.
fn see(words: &[&str], instance_runs: bool) -> Seen {
    let clock = TestClock::new();
    let engine = SharedEngine::new(&clock, Engine::new());
    clock.run(async {
        let backend = Arc::new(engine.open());
        if instance_runs {
            let request = StartRequest::command(instance(), ["./app"]);
            backend.start(FENCE, request).await.expect("it starts");
        }
        let command = Command::new(words.iter().copied()).expect("a command");
        let probe = CommandProbe::new(backend, FENCE, command).expect("it runs commands");
        probe.attempt(&Target::new(instance(), Address::Memory("a".into()), LIMIT)).await
    })
}

#[test]
fn code_0_is_good_and_another_says_which() {
    assert_eq!(see(&["exit", "0"], true), Seen::good("the command ended with code 0"));
    assert_eq!(see(&["exit", "3"], true).to_string(), "the command ended with code 3");
}

#[test]
fn one_that_takes_too_long_or_cannot_be_run_says_so() {
    let seen = see(&["sleep", "5000"], true);
    assert_eq!(seen, Seen::TimedOut { limit: LIMIT, waiting_for: Waiting::Command });
    assert!(see(&["sleep", "1000"], true).is_good());
    assert!(matches!(see(&["exit", "0"], false), Seen::NotAsked(_)), "there is no instance");
}

#[test]
fn a_backend_that_runs_no_commands_is_refused_at_once() {
    let clock = TestClock::new();
    let engine = Engine::new().with_capabilities(Capabilities::default());
    let backend = Arc::new(SharedEngine::new(&clock, engine).open());
    let command = Command::new(["true"]).expect("a command");
    let refusal = CommandProbe::new(backend, FENCE, command).map(drop);
    let Err(Error::Unsupported { problem, .. }) = refusal else { panic!("{refusal:?}") };
    assert!(problem.contains("probe over tcp, http or grpc"), "{problem}");
}
