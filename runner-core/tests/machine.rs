//! The service machine from outside: what users see of it, case by case.

use std::{sync::Arc, time::Duration};

use runner_core::{
    Error,
    address::Address,
    backend::{Condition, Exit, ExitStatus},
    deployment::{
        self, Cause, CauseCode, Effect as Fleet, Found,
        Phase::{Draining, Stopping},
        ProbeSight, Timer as FleetTimer, Window, worse,
    },
    id::{InstanceId, OperationId, RevisionNumber, ServiceId},
    service::{
        Command, Effect, Ending, Event, Record, Refused, Resolution, Service, Status, Timer,
    },
    source::ResolvedSource,
    spec::ServiceSpec,
    time::Timestamp,
};

const NOW: Timestamp = Timestamp::EPOCH;

fn operation(number: u128) -> OperationId {
    OperationId::from_random(number)
}

fn spec() -> ServiceSpec {
    let spec = ServiceSpec::command(["./app"]).between(1, 4).check("app");
    spec.expect("a sound specification").value
}

fn created() -> (Service, Vec<Effect>) {
    Service::create(ServiceId::from_random(1), operation(1), &spec(), false, NOW)
}

fn resolve(service: &mut Service, revision: u64) -> Vec<Effect> {
    let found = Ok(Arc::new(Resolution::of(ResolvedSource::Command)));
    service.handle(Event::Resolved(RevisionNumber::new(revision), found), NOW)
}

fn started(effects: &[Effect]) -> Vec<InstanceId> {
    let started = effects.iter().filter_map(|effect| match effect {
        Effect::Fleet(Fleet::Start { instance, .. }) => Some(*instance),
        _ => None,
    });
    started.collect()
}

fn finished(effects: &[Effect]) -> Option<Ending> {
    effects.iter().find_map(|effect| match effect {
        Effect::Finished(finished) => Some(finished.result.clone()),
        _ => None,
    })
}

fn becomes_ready(service: &mut Service, id: InstanceId) -> Vec<Effect> {
    let address = Address::Memory("app".into());
    let _ = service.handle(deployment::Event::Started(id, Some(address)).into(), NOW);
    service.handle(deployment::Event::BecameReady(id).into(), NOW)
}

fn running() -> Service {
    let (mut service, _) = created();
    for id in started(&resolve(&mut service, 1)) {
        let _ = becomes_ready(&mut service, id);
    }
    let effects = service.handle(Event::Due(Timer::Fleet(FleetTimer::Stage)), NOW);
    assert_eq!(finished(&effects), Some(Ending::Succeeded));
    service
}

#[test]
fn a_service_is_created_proven_and_runs() {
    let service = running();
    assert_eq!(service.status(), Status::Running);
    assert_eq!(service.snapshot().instances.len(), 1);
}

#[test]
fn a_missing_secret_fails_the_operation_by_name_and_the_old_revision_goes_on() {
    let mut service = running();
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let cause = Cause::from_secret("app/database", &Error::not_found("there is none"));
    let revision = RevisionNumber::new(2);
    let effects = service.handle(Event::Resolved(revision, Err(Arc::new(cause))), NOW);
    let Some(Ending::RollbackSucceeded(cause)) = finished(&effects) else {
        panic!("it should have failed: {effects:?}");
    };
    assert_eq!(cause.code, CauseCode::SecretMissing);
    assert!(cause.to_string().contains("`app/database`"), "{cause}");
    assert!(started(&effects).is_empty(), "nothing was started");
    assert_eq!(service.live(), Some(RevisionNumber::FIRST));
    assert_eq!(service.status(), Status::Running);
}

#[test]
fn a_second_change_is_refused_unless_the_settings_say_otherwise() {
    let mut service = running();
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let refused = service.command(operation(3), Command::Pause, NOW);
    assert_eq!(refused, Err(Refused::Busy));
    assert_eq!(service.operation().map(|(id, _)| id), Some(operation(2)));
}

#[test]
fn settings_apply_at_once_in_the_middle_of_a_deployment() {
    let mut service = running();
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let wider = ServiceSpec::command(["./app"]).between(1, 4).cap(7).check("app");
    let settings = Arc::new(wider.expect("sound").value.settings().clone());
    let update = Command::Update { revision: None, settings: Some(settings) };
    let effects = service.command(operation(3), update, NOW).expect("settings go around it");
    assert_eq!(finished(&effects), Some(Ending::Succeeded));
    assert!(service.snapshot().instances.iter().all(|instance| instance.cap == 7));
    assert_eq!(service.operation().map(|(id, _)| id), Some(operation(2)), "which goes on");
}

#[test]
fn a_paused_service_has_no_instance_and_can_be_edited_and_deleted() {
    let mut service = running();
    let _ = service.command(operation(2), Command::Pause, NOW).expect("it is running");
    let id = *service.instances().keys().next().expect("one leaves");
    let _ = service.handle(drained_once(id), NOW);
    let effects = service.handle(deployment::Event::Stopped(id).into(), NOW);
    assert_eq!(finished(&effects), Some(Ending::Succeeded));
    assert_eq!(service.status(), Status::Paused);
    let effects = service.command(operation(3), Command::Delete, NOW).expect("it may go");
    assert!(effects.contains(&Effect::Retire));
    assert_eq!(service.status(), Status::Deleted);
}

#[test]
fn a_record_survives_json_and_nothing_is_trusted_before_it_is_found_and_probed() {
    let service = running();
    let json = serde_json::to_string(&service.record()).expect("a record serialises");
    let record: Record = serde_json::from_str(&json).expect("and comes back");
    assert_eq!(record, service.record());
    let (recovered, effects) = Service::recover(record, NOW);
    assert!(recovered.snapshot().instances.is_empty(), "nothing is trusted yet");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Fleet(Fleet::List(_)))));
}

#[test]
fn every_trouble_of_an_app_runner_user_has_a_code_evidence_and_advice() {
    let exit = |code, line: &str| Exit {
        status: ExitStatus::Code(code),
        last_lines: vec![line.to_owned()],
    };
    let oom = Exit::from(ExitStatus::OutOfMemory);
    let second = Duration::from_secs(1);
    let slow = Window::new(1000, 0, second * 9);
    let usual = Window::new(1000, 0, second);
    let refused = |status: &str| Some(ProbeSight::Refused(status.to_owned()));
    let late = Some(ProbeSight::TimedOut(second * 2));
    let denied = Error::new(runner_core::error::ErrorKind::Denied, "401 from the registry");
    use CauseCode as Code;
    for (case, cause, code, evidence) in [
        (
            "port binding",
            Cause::from_slow_start(8080, Some(vec![3000]), None),
            Code::WrongPort,
            "nothing on 8080, but 3000 listens",
        ),
        (
            "environment",
            Cause::from_exit(exit(1, "KeyError: 'DATABASE_URL'"), false),
            Code::ExitedAtStart,
            "DATABASE_URL",
        ),
        (
            "dependency missing",
            Cause::from_exit(exit(127, "node: not found"), false),
            Code::ProgramNotFound,
            "exit code 127",
        ),
        (
            "runtime configuration",
            Cause::from_start(&Error::unsupported("no runtime `nodejs9`")),
            Code::Unsupported,
            "nodejs9",
        ),
        (
            "slow answers",
            worse(slow, Some(usual)).expect("it is slower"),
            Code::Latency,
            "9000 against 1000",
        ),
        ("memory leak", Cause::from_exit(oom, true), Code::OutOfMemory, "killed for its memory"),
        (
            "database unreachable",
            Cause::from_slow_start(8080, Some(vec![8080]), refused("GET / answered 503")),
            Code::ProbeRefused,
            "503",
        ),
        (
            "scaling settings",
            Cause::from_start(&Error::exhausted("no memory left for 25 instances")),
            Code::Exhausted,
            "25 instances",
        ),
        (
            "egress network",
            Cause::from_start(&Error::unsupported("there is no network `vpc-1`")),
            Code::Unsupported,
            "vpc-1",
        ),
        (
            "firewall",
            Cause::from_slow_start(8080, Some(vec![8080]), late.clone()),
            Code::ProbeTimedOut,
            "no answer within 2s",
        ),
        (
            "time-out",
            Cause::from_slow_start(8080, None, late),
            Code::ProbeTimedOut,
            "no answer within 2s",
        ),
        (
            "failing external API",
            worse(Window::new(1000, 500, second), Some(usual)).expect("it fails"),
            Code::ErrorShare,
            "500 against 0",
        ),
        (
            "build",
            Cause::from_source("app", true, &Error::invalid("npm ERR! missing script")),
            Code::BuildFailed,
            "npm ERR!",
        ),
        (
            "image pull",
            Cause::from_source("ghcr.io/acme/app:1", false, &denied),
            Code::ImageDenied,
            "401",
        ),
        (
            "health check",
            Cause::from_slow_start(8080, Some(vec![8080]), refused("GET /health answered 404")),
            Code::ProbeRefused,
            "404",
        ),
        (
            "resource limit",
            Cause::from_start(&Error::invalid("8 vCPU asked, the host has 2")),
            Code::Unsupported,
            "8 vCPU",
        ),
    ] {
        assert_eq!(cause.code, code, "{case}");
        assert!(cause.to_string().contains(evidence), "{case}: {cause}");
        assert!(cause.to_string().ends_with(code.advice()), "{case}: {cause}");
    }
}

/// A service that runs so many instances, with more of its specification.
fn running_many(
    count: u32,
    standby: bool,
    more: impl FnOnce(&mut runner_core::spec::raw::Service),
) -> (Service, Vec<InstanceId>) {
    let spec = ServiceSpec::command(["./app"]).between(count, count + 1).with(more).check("app");
    let spec = spec.expect("a sound specification").value;
    let id = ServiceId::from_random(1);
    let (mut service, _) = Service::create(id, operation(1), &spec, standby, NOW);
    let mut ids = started(&resolve(&mut service, 1));
    let mut ready = 0;
    while let Some(id) = ids.get(ready).copied() {
        ids.extend(started(&becomes_ready(&mut service, id)));
        ready += 1;
    }
    let _ = service.handle(Event::Due(Timer::Fleet(FleetTimer::Stage)), NOW);
    assert_eq!(service.status(), Status::Running);
    (service, ids)
}

/// The answer to the first time that it was asked.
fn drained_once(instance: InstanceId) -> Event {
    deployment::Event::Drained { instance, asked: 1 }.into()
}

fn drained(effects: &[Effect]) -> Vec<InstanceId> {
    let drained = effects.iter().filter_map(|effect| match effect {
        Effect::Fleet(Fleet::Drain { instance, .. }) => Some(*instance),
        _ => None,
    });
    drained.collect()
}

#[test]
fn scaling_in_takes_the_instance_with_the_fewest_requests_and_then_the_newest() {
    let (mut service, ids) = running_many(3, false, |_| {});
    let loads = [(ids[0], 4), (ids[1], 1), (ids[2], 2)].into();
    assert!(service.handle(deployment::Event::Load(loads).into(), NOW).is_empty());
    let effects = service.handle(deployment::Event::Desired(2).into(), NOW);
    assert_eq!(drained(&effects), [ids[1]]);
    let _ = service.handle(deployment::Event::Load([].into()).into(), NOW);
    let effects = service.handle(deployment::Event::Desired(1).into(), NOW);
    assert_eq!(drained(&effects), [ids[2]]);
}

#[test]
fn a_start_that_took_too_long_fails_with_what_was_found_and_not_with_a_guess() {
    let (mut service, _) = created();
    let id = started(&resolve(&mut service, 1))[0];
    let cause = Cause::from_slow_start(8080, Some(vec![3000]), None).of(id);
    for _ in 0..3 {
        let newest = *service.instances().keys().next_back().expect("one is starting");
        let late = deployment::Event::TooSlow(newest, Arc::new(cause.clone()));
        let _ = service.handle(late.into(), NOW);
        let _ = service.handle(deployment::Event::Stopped(newest).into(), NOW);
        let backoff = Timer::Fleet(FleetTimer::GreenBackoff);
        let _ = service.handle(Event::Due(backoff), NOW);
    }
    assert_eq!(service.status(), Status::CreateFailed);
    assert_eq!(service.trouble().map(|cause| cause.code), Some(CauseCode::WrongPort));
}

#[test]
fn of_what_nobody_knows_that_runs_is_stopped_and_that_ended_is_left_alone() {
    let mut service = running();
    let listed = service.handle(deployment::Event::Changed.into(), NOW);
    let asked = listed.iter().find_map(|effect| match effect {
        Effect::Fleet(Fleet::List(asked)) => Some(*asked),
        _ => None,
    });
    let mut found: std::collections::BTreeMap<_, _> = service
        .instances()
        .keys()
        .map(|id| (*id, Found { condition: Condition::Running, address: None }))
        .collect();
    let (ran, ended) = (service.id().instance(7), service.id().instance(8));
    found.insert(ran, Found { condition: Condition::Running, address: None });
    let condition = Condition::Ended(Exit::unknown());
    found.insert(ended, Found { condition, address: None });
    let listed = deployment::Event::Listed { asked: asked.expect("a list"), found };
    let effects = service.handle(listed.into(), NOW);
    let stopped: Vec<_> = effects.iter().filter_map(stop_of).collect();
    assert_eq!(stopped, [ran]);
    assert!(!service.instances().contains_key(&ended));
    // Neither number is ever used again.
    let more = service.handle(deployment::Event::Desired(2).into(), NOW);
    assert_eq!(started(&more), [service.id().instance(9)]);
}

fn stop_of(effect: &Effect) -> Option<InstanceId> {
    match effect {
        Effect::Fleet(Fleet::Stop { instance }) => Some(*instance),
        _ => None,
    }
}

#[test]
fn what_failed_liveness_leaves_at_once_and_is_replaced_after_the_back_off() {
    let (mut service, ids) = running_many(2, false, |_| {});
    let cause = Arc::new(Cause::new(CauseCode::ProbeTimedOut).of(ids[0]));
    let effects = service.handle(deployment::Event::BecameDead(ids[0], cause).into(), NOW);
    assert_eq!(drained(&effects), [ids[0]]);
    assert!(started(&effects).is_empty(), "failures hold the next start back");
    let effects = service.handle(Event::Due(Timer::Fleet(FleetTimer::BlueBackoff)), NOW);
    assert_eq!(started(&effects).len(), 1);
}

#[test]
fn so_many_failures_as_the_settings_say_turn_a_deployment_back() {
    let (mut service, _) = running_many(1, false, |raw| raw.deployment.failure_limit = Some(1));
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let id = started(&resolve(&mut service, 2))[0];
    let _ = service.handle(deployment::Event::Started(id, None).into(), NOW);
    let exit = Exit::from(ExitStatus::Code(1));
    let effects = service.handle(deployment::Event::Ended(id, exit).into(), NOW);
    assert!(matches!(finished(&effects), Some(Ending::RollbackSucceeded(_))), "{effects:?}");
}

#[test]
fn a_deployment_says_how_long_each_of_its_stages_took() {
    let at = Timestamp::from_secs;
    let (mut service, _) = running_many(1, false, |_| {});
    let _ = service.command(operation(2), Command::Deploy, at(10)).expect("it is running");
    let found = Ok(Arc::new(Resolution::of(ResolvedSource::Command)));
    let effects = service.handle(Event::Resolved(RevisionNumber::new(2), found), at(11));
    let id = started(&effects)[0];
    let address = Address::Memory("app".into());
    let _ = service.handle(deployment::Event::Started(id, Some(address)).into(), at(12));
    let _ = service.handle(deployment::Event::BecameReady(id).into(), at(15));
    let _ = service.handle(Event::Due(Timer::Fleet(FleetTimer::Stage)), at(45));
    let took = |service: &Service| {
        let timings = service.timings().iter();
        timings
            .map(|timing| (timing.stage, timing.took.map(|took| took.as_secs())))
            .collect::<Vec<_>>()
    };
    use deployment::Stage::{Baking, Leaving, Provisioning};
    assert_eq!(
        took(&service),
        [(Provisioning, Some(4)), (Baking, Some(30)), (Leaving, None)],
        "the way out of the old instances is under way"
    );
    let old = *service.instances().keys().next().expect("it leaves");
    let _ = service.handle(drained_once(old), at(46));
    let effects = service.handle(deployment::Event::Stopped(old).into(), at(47));
    assert_eq!(finished(&effects), Some(Ending::Succeeded));
    assert_eq!(took(&service)[2], (Leaving, Some(2)));
}

#[test]
fn requests_are_told_when_a_start_is_expected_once_one_was_seen() {
    let at = Timestamp::from_secs;
    let (mut service, ids) = running_many(1, false, |_| {});
    // The first start took no time at all in this test, and counts for three parts of four.
    let _ = service.handle(deployment::Event::Desired(2).into(), at(100));
    let expected = service.snapshot().expected;
    assert_eq!(expected.iter().map(|one| one.at).collect::<Vec<_>>(), [Some(at(100))]);
    let second = *service.instances().keys().next_back().expect("it is starting");
    let address = Address::Memory("app".into());
    let _ = service.handle(deployment::Event::Started(second, Some(address)).into(), at(101));
    let _ = service.handle(deployment::Event::BecameReady(second).into(), at(108));
    assert_eq!(service.snapshot().expected, []);
    let exit = Exit::from(ExitStatus::Code(1));
    let _ = service.handle(deployment::Event::Ended(ids[0], exit).into(), at(200));
    let _ = service.handle(Event::Due(Timer::Fleet(FleetTimer::BlueBackoff)), at(201));
    let expected = service.snapshot().expected;
    assert_eq!(expected.iter().map(|one| one.at).collect::<Vec<_>>(), [Some(at(203))]);
}

#[test]
fn at_the_maximum_what_sleeps_can_still_be_had() {
    use runner_core::admission::{Attainable, Why};
    let (mut service, ids) = running_many(2, true, |raw| {
        raw.scaling.maximum = Some(2_u32.into());
        raw.scaling.minimum_active = Some(0_u32.into());
    });
    assert_eq!(service.snapshot().attainable, Attainable::Nothing(Why::AtMaximum));
    let _ = service.handle(deployment::Event::BecameIdle(ids[1]).into(), NOW);
    let _ = service.handle(drained_once(ids[1]), NOW);
    let _ = service.handle(deployment::Event::Frozen(ids[1]).into(), NOW);
    let Attainable::Slots { count: 100, .. } = service.snapshot().attainable else {
        panic!("one sleeps: {:?}", service.snapshot());
    };
    let effects = service.handle(deployment::Event::Demand.into(), NOW);
    assert!(effects.contains(&Effect::Fleet(Fleet::Thaw(ids[1]))));
    assert_eq!(service.snapshot().expected.len(), 1, "it is waking");
}

#[test]
fn a_first_deployment_is_promoted_as_soon_as_it_has_passed_unless_it_is_to_bake() {
    let bakes = |spec: ServiceSpec| {
        let (mut service, _) =
            Service::create(ServiceId::from_random(1), operation(1), &spec, false, NOW);
        for id in started(&resolve(&mut service, 1)) {
            let _ = becomes_ready(&mut service, id);
        }
        let stage = Timer::Fleet(FleetTimer::Stage);
        service.timers().into_iter().find(|(timer, _)| *timer == stage).map(|(_, at)| at.since(NOW))
    };
    assert_eq!(bakes(spec()), Some(Duration::ZERO));
    let asked = ServiceSpec::command(["./app"])
        .with(|raw| raw.deployment.first_bake = Some("7s".into()))
        .check("app");
    assert_eq!(bakes(asked.expect("sound").value), Some(Duration::from_secs(7)));
}

#[test]
fn what_supersedes_a_deployment_does_not_wait_for_its_last_requests() {
    let (mut service, _) = running_many(1, false, |raw| {
        raw.deployment.concurrent_edits = Some("supersede".into());
    });
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let green = started(&resolve(&mut service, 2))[0];
    let _ = becomes_ready(&mut service, green);
    let effects = service.command(operation(3), Command::Deploy, NOW).expect("the newest wins");
    assert_eq!(drained(&effects), [green], "it served, and finishes what it has");
    assert!(finished(&effects).is_some(), "the first is over");
    assert_eq!(service.operation().map(|(id, _)| id), Some(operation(3)));
    assert_eq!(started(&resolve(&mut service, 3)).len(), 1, "beside the one that drains");
}

#[test]
fn what_supersedes_a_deployment_waits_for_its_pre_deploy_command() {
    let (mut service, _) = running_many(1, false, |raw| {
        raw.deployment.concurrent_edits = Some("supersede".into());
    });
    let edited = ServiceSpec::command(["./app"]).with(|raw| {
        let mut command = runner_core::spec::raw::PreDeploy::default();
        command.command = vec!["./migrate".to_owned()];
        raw.pre_deploy = Some(command);
    });
    let revision = edited.check("app").expect("sound").value.revision().clone();
    let update = Command::Update { revision: Some(Arc::new(revision)), settings: None };
    let _ = service.command(operation(2), update, NOW).expect("it is running");
    let job = started(&resolve(&mut service, 2))[0];
    let _ = service.handle(deployment::Event::Started(job, None).into(), NOW);
    let effects = service.command(operation(3), Command::Deploy, NOW).expect("the newest wins");
    assert!(finished(&effects).is_none(), "the command is being stopped");
    let effects = service.handle(deployment::Event::Stopped(job).into(), NOW);
    assert!(finished(&effects).is_some());
    assert_eq!(started(&resolve(&mut service, 3)).len(), 1);
}

#[test]
fn that_requests_are_finished_counts_only_for_the_last_time_it_was_asked() {
    let (mut service, ids) = running_many(2, true, |raw| {
        raw.scaling.minimum_active = Some(0_u32.into());
    });
    // It is woken before it froze, is given requests again, and is then given up.
    let _ = service.handle(deployment::Event::BecameIdle(ids[1]).into(), NOW);
    let _ = service.handle(deployment::Event::Demand.into(), NOW);
    let effects = service.handle(deployment::Event::Desired(1).into(), NOW);
    assert_eq!(drained(&effects), [ids[1]]);
    let effects = service.handle(drained_once(ids[1]), NOW);
    assert_eq!(
        service.instances().get(&ids[1]).map(|one| one.phase),
        Some(Draining),
        "{effects:?}"
    );
    let again = deployment::Event::Drained { instance: ids[1], asked: 2 };
    let _ = service.handle(again.into(), NOW);
    let phase = service.instances().get(&ids[1]).map(|one| one.phase);
    assert_eq!(phase, Some(Stopping { asked: true }));
}

#[test]
fn with_a_part_of_green_each_step_moves_what_green_has_instances_for() {
    let (mut service, _) = running_many(4, false, |raw| {
        raw.deployment.surge = Some("25%".into());
        raw.deployment.strategy = Some("stepped".into());
        raw.deployment.steps = vec![50_u32.into(), 100_u32.into()];
    });
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let mut starting = started(&resolve(&mut service, 2));
    assert_eq!(starting.len(), 1, "a quarter of four");
    let stage = || Event::Due(Timer::Fleet(FleetTimer::Stage));
    let mut seen = Vec::new();
    while let Some(id) = starting.pop() {
        let mut effects = becomes_ready(&mut service, id);
        let weights = service.snapshot().weights;
        seen.push(weights.iter().map(|one| one.weight).collect::<Vec<_>>());
        for leaves in drained(&effects) {
            let _ = service.handle(drained_once(leaves), NOW);
            effects.extend(service.handle(deployment::Event::Stopped(leaves).into(), NOW));
        }
        starting.extend(started(&effects));
        if starting.is_empty() {
            starting.extend(started(&service.handle(stage(), NOW)));
        }
    }
    let none: [u32; 0] = [];
    assert_eq!(seen, [[75, 25].as_slice(), &[50, 50], &none, &none]);
    let _ = service.handle(stage(), NOW);
    assert_eq!(service.live(), Some(RevisionNumber::new(2)));
}

#[test]
fn a_roll_back_that_supersedes_ends_when_nothing_is_left_of_what_it_undoes() {
    let (mut service, _) = running_many(1, false, |raw| {
        raw.deployment.concurrent_edits = Some("supersede".into());
    });
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let green = started(&resolve(&mut service, 2))[0];
    let _ = becomes_ready(&mut service, green);
    let back = Command::RollBack(RevisionNumber::FIRST);
    let _ = service.command(operation(3), back, NOW).expect("the newest wins");
    assert_eq!(service.operation().map(|(id, _)| id), Some(operation(3)), "green drains");
    let _ = service.handle(drained_once(green), NOW);
    let effects = service.handle(deployment::Event::Stopped(green).into(), NOW);
    assert_eq!(finished(&effects), Some(Ending::Succeeded));
    assert_eq!(service.status(), Status::Running);
}

/// A service whose requests move only when somebody says so.
fn approved(more: impl FnOnce(&mut runner_core::spec::raw::Service)) -> ServiceSpec {
    let spec = ServiceSpec::command(["./app"]).between(1, 4).with(|raw| {
        raw.deployment.approval = Some(true);
        more(raw);
    });
    spec.check("app").expect("a sound specification").value
}

#[test]
fn a_first_deployment_waits_for_nobody_s_word_since_nothing_serves() {
    let spec = approved(|_| {});
    let (mut service, _) =
        Service::create(ServiceId::from_random(1), operation(1), &spec, false, NOW);
    let id = started(&resolve(&mut service, 1))[0];
    let _ = becomes_ready(&mut service, id);
    assert_eq!(service.stage(), Some(deployment::Stage::Baking));
    let accepting = service.snapshot().instances.iter().filter(|one| one.accepting).count();
    assert_eq!(accepting, 1, "it serves");
}

#[test]
fn in_place_the_old_instances_serve_until_somebody_approves() {
    let in_place = |raw: &mut runner_core::spec::raw::Service| {
        raw.deployment.approval = Some(true);
        raw.deployment.strategy = Some("in_place".into());
    };
    let (mut service, ids) = running_many(1, false, in_place);
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let effects = resolve(&mut service, 2);
    assert_eq!(service.stage(), Some(deployment::Stage::Holding));
    assert!(drained(&effects).is_empty() && started(&effects).is_empty(), "{effects:?}");
    let (mut recovered, _) = Service::recover(service.record(), NOW);
    assert_eq!(recovered.stage(), Some(deployment::Stage::Holding), "after a restart too");
    assert!(recovered.command(operation(3), Command::Approve, NOW).is_ok());
    let effects = service.command(operation(3), Command::Approve, NOW).expect("it waits");
    assert_eq!(drained(&effects), ids);
    let _ = service.handle(drained_once(ids[0]), NOW);
    let effects = service.handle(deployment::Event::Stopped(ids[0]).into(), NOW);
    let green = started(&effects);
    let _ = becomes_ready(&mut service, green[0]);
    assert_eq!(service.stage(), Some(deployment::Stage::Baking), "and is asked once");
}

/// A service with a secret that was paused, and found so after a restart.
fn paused_and_restarted() -> Service {
    let spec = ServiceSpec::command(["./app"]).between(1, 4).secret("PASSWORD", "app/password");
    let spec = spec.check("app").expect("a sound specification").value;
    let (mut service, _) =
        Service::create(ServiceId::from_random(1), operation(1), &spec, false, NOW);
    let id = started(&resolve(&mut service, 1))[0];
    let _ = becomes_ready(&mut service, id);
    let _ = service.handle(Event::Due(Timer::Fleet(FleetTimer::Stage)), NOW);
    let _ = service.command(operation(2), Command::Pause, NOW).expect("it is running");
    let _ = service.handle(drained_once(id), NOW);
    let _ = service.handle(deployment::Event::Stopped(id).into(), NOW);
    assert_eq!(service.status(), Status::Paused);
    let (service, effects) = Service::recover(service.record(), NOW);
    assert!(!asks(&effects), "nothing is started while it is paused: {effects:?}");
    service
}

fn asks(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Resolve(RevisionNumber::FIRST))
}

fn failed(effects: &[Effect]) -> Option<CauseCode> {
    match finished(effects) {
        Some(Ending::Failed(cause)) => Some(cause.code),
        _ => None,
    }
}

#[test]
fn a_resume_whose_secret_is_gone_fails_by_name_and_the_service_is_paused_as_before() {
    let mut service = paused_and_restarted();
    let effects = service.command(operation(3), Command::Resume, NOW).expect("it is paused");
    assert!(asks(&effects), "{effects:?}");
    let gone = Cause::from_secret("app/password", &Error::not_found("there is none"));
    let answer = Event::Resolved(RevisionNumber::FIRST, Err(Arc::new(gone)));
    let effects = service.handle(answer, NOW);
    assert_eq!(failed(&effects), Some(CauseCode::SecretMissing));
    let trouble = service.trouble().expect("it says why").to_string();
    assert!(trouble.contains("`app/password`"), "{trouble}");
    assert_eq!(service.status(), Status::Paused);
    let effects = service.command(operation(4), Command::Resume, NOW).expect("it is paused");
    assert!(asks(&effects), "it is asked anew, in case somebody put it back");
    assert_eq!(started(&resolve(&mut service, 1)).len(), 1);
}

#[test]
fn a_resume_whose_store_never_answers_well_fails_with_that_and_does_not_ask_for_ever() {
    let mut service = paused_and_restarted();
    let _ = service.command(operation(3), Command::Resume, NOW).expect("it is paused");
    let mut asked = 0;
    while service.operation().is_some() {
        asked += 1;
        let down = Arc::new(Cause::new(CauseCode::SecretsUnavailable));
        let _ = service.handle(Event::Resolved(RevisionNumber::FIRST, Err(down)), NOW);
        let _ = service.handle(Event::Due(Timer::ResolveAgain(RevisionNumber::FIRST)), NOW);
        assert!(asked < 100, "it has a limit");
    }
    assert_eq!(service.trouble().map(|cause| cause.code), Some(CauseCode::SecretsUnavailable));
    assert_eq!(service.status(), Status::Paused);
}

#[test]
fn a_resume_can_be_cancelled_and_leads_back_to_being_paused() {
    let mut service = paused_and_restarted();
    let _ = service.command(operation(3), Command::Resume, NOW).expect("it is paused");
    let id = started(&resolve(&mut service, 1))[0];
    let effects = service.command(operation(4), Command::Cancel, NOW).expect("it can be");
    assert_eq!(failed(&effects), Some(CauseCode::Cancelled));
    assert!(effects.contains(&Effect::Fleet(Fleet::Stop { instance: id })), "{effects:?}");
    assert_eq!(service.status(), Status::Paused);
}

#[test]
fn a_resume_has_a_deadline_and_ends_with_what_went_wrong_last() {
    let mut service = paused_and_restarted();
    let _ = service.command(operation(3), Command::Resume, NOW).expect("it is paused");
    let id = started(&resolve(&mut service, 1))[0];
    let full = Arc::new(Cause::from_start(&Error::exhausted("no memory left")).of(id));
    let _ = service.handle(deployment::Event::StartFailed(id, full).into(), NOW);
    let waits = service.waits();
    let wait = waits.iter().find(|wait| wait.name == "instances to come back");
    let until = wait.and_then(|wait| wait.until).expect("it has an end");
    let armed = service.timers().into_iter().find(|(timer, _)| *timer == Timer::Resume);
    assert_eq!(armed, Some((Timer::Resume, until)));
    let effects = service.handle(Event::Due(Timer::Resume), until);
    assert_eq!(failed(&effects), Some(CauseCode::Exhausted));
    assert_eq!(service.status(), Status::Paused);
}

#[test]
fn a_resume_that_failed_too_often_begins_anew_when_it_is_asked_for_again() {
    let mut service = paused_and_restarted();
    let _ = service.command(operation(3), Command::Resume, NOW).expect("it is paused");
    let mut id = started(&resolve(&mut service, 1))[0];
    while service.operation().is_some() {
        let exit = Exit::from(ExitStatus::Code(1));
        let _ = service.handle(deployment::Event::Started(id, None).into(), NOW);
        let _ = service.handle(deployment::Event::Ended(id, exit).into(), NOW);
        let backoff = Event::Due(Timer::Fleet(FleetTimer::BlueBackoff));
        id = started(&service.handle(backoff, NOW)).first().copied().unwrap_or(id);
    }
    assert_eq!(service.status(), Status::Paused);
    let effects = service.command(operation(4), Command::Resume, NOW).expect("it is paused");
    assert_eq!(started(&effects).len(), 1);
    assert_eq!(service.operation().map(|(id, _)| id), Some(operation(4)));
}

#[test]
fn a_deletion_takes_the_place_of_whatever_is_under_way() {
    // A pause that never ends, since an instance cannot be stopped.
    let (mut service, ids) = running_many(1, false, |_| {});
    let _ = service.command(operation(2), Command::Pause, NOW).expect("it is running");
    let _ = service.handle(drained_once(ids[0]), NOW);
    let refused = service.command(operation(3), Command::Cancel, NOW);
    assert_eq!(refused, Err(Refused::InstancesLeave));
    let effects = service.command(operation(3), Command::Delete, NOW).expect("always");
    assert_eq!(failed(&effects), Some(CauseCode::Superseded), "the pause");
    assert_eq!(service.command(operation(4), Command::Delete, NOW), Err(Refused::Busy));
    let effects = service.handle(deployment::Event::Stopped(ids[0]).into(), NOW);
    assert_eq!(finished(&effects), Some(Ending::Succeeded));
    assert!(effects.contains(&Effect::Retire));

    // A deployment, which ends with what is left of it.
    let (mut service, ids) = running_many(1, false, |_| {});
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let green = started(&resolve(&mut service, 2))[0];
    let effects = service.command(operation(3), Command::Delete, NOW).expect("always");
    assert_eq!(failed(&effects), Some(CauseCode::Superseded), "the deployment");
    assert_eq!(drained(&effects), ids);
    let _ = service.handle(deployment::Event::Stopped(green).into(), NOW);
    assert_eq!(service.operation().map(|(id, _)| id), Some(operation(3)), "one is left");
    let _ = service.handle(drained_once(ids[0]), NOW);
    let effects = service.handle(deployment::Event::Stopped(ids[0]).into(), NOW);
    assert_eq!(finished(&effects), Some(Ending::Succeeded));
    assert_eq!(service.status(), Status::Deleted);
}

#[test]
fn what_is_edited_while_paused_is_deployed_on_resume() {
    let mut service = paused_and_restarted();
    let edited = ServiceSpec::command(["./other"]).check("app").expect("sound").value;
    let revision = Some(Arc::new(edited.revision().clone()));
    let update = Command::Update { revision, settings: None };
    let _ = service.command(operation(3), update, NOW).expect("also while paused");
    let effects = resolve(&mut service, 2);
    assert_eq!(finished(&effects), Some(Ending::Succeeded));
    assert_eq!((service.status(), started(&effects).len()), (Status::Paused, 0));
    let _ = service.command(operation(4), Command::Resume, NOW).expect("it is paused");
    let old = started(&resolve(&mut service, 1))[0];
    let effects = becomes_ready(&mut service, old);
    let new = started(&effects);
    assert_eq!(new.len(), 1, "{effects:?}");
    assert_eq!(service.green(), Some(RevisionNumber::new(2)));
}

#[test]
fn a_backend_without_room_is_asked_less_and_less_often_and_again_soon_once_there_was_some() {
    let (mut service, _) = running_many(1, false, |raw| raw.scaling.maximum = Some(4_u32.into()));
    let backoff = |service: &Service| {
        let wanted = Timer::Fleet(FleetTimer::BlueBackoff);
        let armed = service.timers().into_iter().find(|(timer, _)| *timer == wanted);
        armed.map(|(_, at)| at.since(NOW).as_secs())
    };
    let full = |id| {
        let cause = Cause::from_start(&Error::exhausted("no memory left"));
        deployment::Event::StartFailed(id, Arc::new(cause))
    };
    let mut effects = service.handle(deployment::Event::Desired(2).into(), NOW);
    let mut waited = Vec::new();
    for _ in 0..11 {
        let id = started(&effects)[0];
        let _ = service.handle(full(id).into(), NOW);
        let _ = service.handle(deployment::Event::Stopped(id).into(), NOW);
        waited.extend(backoff(&service));
        effects = service.handle(Event::Due(Timer::Fleet(FleetTimer::BlueBackoff)), NOW);
    }
    assert_eq!(waited, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert!(service.trouble().is_none() && service.status() == Status::Running);
    let _ = becomes_ready(&mut service, started(&effects)[0]);
    // Two that are refused at once are one refusal.
    let ids = started(&service.handle(deployment::Event::Desired(4).into(), NOW));
    for id in &ids {
        let _ = service.handle(full(*id).into(), NOW);
    }
    assert_eq!((ids.len(), backoff(&service)), (2, Some(1)));
}

/// A backend with so much room, where everything else goes well at once.
struct Backend {
    room: usize,
    there: std::collections::BTreeSet<InstanceId>,
    owed: std::collections::VecDeque<Effect>,
    /// The fewest that took requests at any time.
    fewest: usize,
}

impl Backend {
    fn new(room: usize, service: &Service) -> Self {
        let there = service.instances().keys().copied().collect();
        Self { room, there, owed: [].into(), fewest: usize::MAX }
    }

    /// Answers what is owed, and lets back-offs run out where nothing is, until that is so.
    fn answer_until(&mut self, service: &mut Service, done: impl Fn(&Service) -> bool) {
        for _ in 0..200 {
            if done(service) {
                return;
            }
            let event = match self.owed.pop_front() {
                Some(Effect::Fleet(Fleet::Start { instance: id, .. })) => {
                    if self.there.len() >= self.room {
                        let full = Cause::from_start(&Error::exhausted("no memory left"));
                        deployment::Event::StartFailed(id, Arc::new(full))
                    } else {
                        self.there.insert(id);
                        deployment::Event::Started(id, Some(Address::Memory("app".into())))
                    }
                }
                Some(Effect::Fleet(Fleet::Probe(id))) => deployment::Event::BecameReady(id),
                Some(Effect::Fleet(Fleet::Drain { instance, asked })) => {
                    deployment::Event::Drained { instance, asked }
                }
                Some(Effect::Fleet(Fleet::Stop { instance: id })) => {
                    self.there.remove(&id);
                    deployment::Event::Stopped(id)
                }
                Some(_) => continue,
                None => {
                    let backoffs = [FleetTimer::BlueBackoff, FleetTimer::GreenBackoff];
                    let armed = service.timers().into_iter().find_map(|(timer, _)| match timer {
                        Timer::Fleet(timer) if backoffs.contains(&timer) => Some(timer),
                        _ => None,
                    });
                    deployment::Event::Due(armed.expect("something is waited for"))
                }
            };
            let effects = service.handle(event.into(), NOW);
            self.owed.extend(effects);
            let accepting = service.snapshot().instances.iter().filter(|one| one.accepting).count();
            self.fewest = self.fewest.min(accepting);
        }
        panic!("it does not end: {:?}", service.waits());
    }
}

fn of_green(service: &Service) -> usize {
    let green = service.green();
    let of_it = |one: &&deployment::Instance| {
        Some(one.revision) == green && one.phase == deployment::Phase::Ready
    };
    service.instances().values().filter(of_it).count()
}

#[test]
fn turning_back_ends_although_there_is_no_room_for_both_sides() {
    let (mut service, _) = running_many(4, false, |raw| raw.deployment.surge = Some("25%".into()));
    let mut backend = Backend::new(5, &service);
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    backend.owed.extend(resolve(&mut service, 2));
    backend.answer_until(&mut service, |service| of_green(service) == 3);
    let bad = Window::new(1000, 1000, Duration::ZERO);
    let worse = deployment::Event::Measured { green: bad, blue: None };
    let effects = service.handle(worse.into(), NOW);
    assert_eq!(service.stage(), Some(deployment::Stage::TurningBack), "{effects:?}");
    backend.owed.extend(effects);
    backend.answer_until(&mut service, |service| service.operation().is_none());
    assert_eq!((service.live(), service.instances().len()), (Some(RevisionNumber::FIRST), 4));
    assert_eq!(backend.fewest, 4, "capacity is not given up for it");
}

#[test]
fn turning_back_ends_although_the_load_has_grown_meanwhile() {
    let (mut service, _) = running_many(2, false, |raw| {
        raw.scaling.maximum = Some(6_u32.into());
    });
    let mut backend = Backend::new(8, &service);
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    backend.owed.extend(resolve(&mut service, 2));
    let baking = |service: &Service| service.stage() == Some(deployment::Stage::Baking);
    backend.answer_until(&mut service, baking);
    backend.owed.extend(service.handle(deployment::Event::Desired(6).into(), NOW));
    backend.answer_until(&mut service, |service| of_green(service) == 6);
    backend.fewest = usize::MAX;
    let cancelled = service.command(operation(3), Command::Cancel, NOW).expect("it bakes");
    backend.owed.extend(cancelled);
    backend.answer_until(&mut service, |service| service.operation().is_none());
    assert_eq!((service.live(), service.instances().len()), (Some(RevisionNumber::FIRST), 6));
    assert_eq!(backend.fewest, 6, "capacity is not given up for it");
}

#[test]
fn on_the_way_back_one_makes_room_where_there_is_no_other() {
    let (mut service, _) = running_many(1, false, |_| {});
    let mut backend = Backend::new(2, &service);
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    backend.owed.extend(resolve(&mut service, 2));
    let baking = |service: &Service| service.stage() == Some(deployment::Stage::Baking);
    backend.answer_until(&mut service, baking);
    // Blue has one, green has one, two are wanted, and there is room for two.
    backend.owed.extend(service.handle(deployment::Event::Desired(2).into(), NOW));
    backend.owed.extend(service.command(operation(3), Command::Cancel, NOW).expect("it bakes"));
    backend.answer_until(&mut service, |service| service.operation().is_none());
    assert_eq!((service.live(), service.instances().len()), (Some(RevisionNumber::FIRST), 2));
}

#[test]
fn turning_back_has_a_deadline_after_which_nobody_waits_for_blue() {
    let (mut service, ids) = running_many(1, false, |_| {});
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let green = started(&resolve(&mut service, 2))[0];
    let _ = becomes_ready(&mut service, green);
    let exit = Exit::from(ExitStatus::Code(1));
    let _ = service.handle(deployment::Event::Ended(ids[0], exit).into(), NOW);
    let effects = service.command(operation(3), Command::Cancel, NOW).expect("it bakes");
    assert!(drained(&effects).is_empty(), "blue cannot serve yet");
    assert_eq!(service.command(operation(4), Command::Cancel, NOW), Err(Refused::TurnsBack));
    let waits = service.waits();
    let wait = waits.iter().find(|wait| wait.name == "old instances to be ready again");
    let until = wait.and_then(|wait| wait.until).expect("it has an end");
    let effects = service.handle(Event::Due(Timer::Fleet(FleetTimer::Stage)), until);
    assert_eq!(drained(&effects), [green]);
    let wait = service.waits().into_iter().find(|wait| wait.name == "new instances to leave");
    assert!(wait.expect("its requests").until.is_some());
    let _ = service.handle(drained_once(green), until);
    let effects = service.handle(deployment::Event::Stopped(green).into(), until);
    assert!(matches!(finished(&effects), Some(Ending::RollbackSucceeded(_))), "{effects:?}");
    let _ = service.handle(Event::Due(Timer::Fleet(FleetTimer::BlueBackoff)), until);
    assert_eq!(service.instances().len(), 1, "and blue comes when it can");
}

#[test]
fn what_cannot_be_cancelled_says_what_can_be_done_instead() {
    let (mut service, _) = running_many(1, false, |_| {});
    let refused = service.command(operation(2), Command::Cancel, NOW);
    assert_eq!(refused, Err(Refused::NothingToCancel));
    let _ = service.command(operation(2), Command::Deploy, NOW).expect("it is running");
    let green = started(&resolve(&mut service, 2))[0];
    let _ = becomes_ready(&mut service, green);
    let _ = service.handle(Event::Due(Timer::Fleet(FleetTimer::Stage)), NOW);
    assert_eq!(service.command(operation(3), Command::Cancel, NOW), Err(Refused::Promoted));
    let waits = service.waits();
    let wait = waits.iter().find(|wait| wait.name == "old instances to leave, replaced");
    assert!(wait.expect("its requests").until.is_some());
}
