//! What is in effect where nothing is said.

use std::time::Duration;

use super::checked;
use crate::spec::*;

#[test]
fn where_app_runner_has_a_default_it_is_ours() {
    let spec = checked("").value;
    let (revision, settings) = (spec.revision(), spec.settings());
    let scaling = settings.scaling();
    assert_eq!(scaling.cap.upper().number(), 100);
    assert_eq!((scaling.minimum.number(), scaling.maximum.number()), (1, 25));
    let probe = &revision.health().readiness;
    assert_eq!(probe.check, ProbeCheck::Tcp);
    assert_eq!(probe.interval, Duration::from_secs(5));
    assert_eq!(probe.timeout, Duration::from_secs(2));
    assert_eq!((probe.healthy.number(), probe.unhealthy.number()), (1, 5));
    assert_eq!(revision.health().start_allowance, Duration::from_secs(300));
    assert_eq!(revision.port().number(), 8080);
    assert_eq!(settings.limits().total, Some(Duration::from_secs(120)));
    let instance = revision.instance();
    assert_eq!(instance.cpu.to_string(), "1 vCPU");
    assert_eq!(instance.memory.to_string(), "2 GB");
    assert_eq!(instance.disk.to_string(), "3 GB");
    assert_eq!(settings.overflow().status.full, 429);
    assert_eq!(settings.deployment().strategy, Strategy::AllAtOnce);
    assert_eq!(settings.deployment().concurrent_edits, ConcurrentEdits::Refuse);
    assert!(settings.routing().published);
    let http = checked("[health.readiness]\nprotocol = 'http'").value;
    match &http.revision().health().readiness.check {
        ProbeCheck::Http(http) => {
            assert_eq!((http.path.as_str(), http.method.as_str()), ("/", "GET"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_keep_the_rules_and_earn_no_warning() {
    assert_eq!(checked("").warnings, []);
    let settings = ServiceSettings::check(raw::Settings::default()).expect("defaults hold");
    assert_eq!(settings.value, ServiceSettings::default());
}

#[test]
fn defaults_that_follow_from_other_fields_never_contradict_them() {
    for (lines, expected) in [
        ("[scaling]\ncap = 10\nmaximum = 4", "overflow.max_waiting=derived"),
        ("[scaling]\nminimum = 0", "scaling.minimum_active=0"),
        ("[scaling]\nminimum = 3", "scaling.minimum_active=1"),
        ("[limits]\ntotal = '4s'", "overflow.max_wait=1s"),
        ("[limits]\ntotal = '4s'", "overflow.hold_while_starting=2s"),
        ("[limits]\ntotal = '4s'", "limits.header=4s"),
        ("[limits]\ntotal = '4s'", "deployment.drain=4s"),
        ("[limits]\ntotal = 'none'", "deployment.drain=2m"),
        ("[overflow]\nmax_wait = '90s'", "overflow.hold_while_starting=1m 30s"),
    ] {
        let checked = checked(lines);
        assert_eq!(checked.warnings, [], "{lines}");
        let fields = checked.value.fields();
        let found = fields.iter().map(|field| format!("{}={}", field.path, field.value));
        assert!(
            found.clone().any(|field| field == expected),
            "{lines}: {:?}",
            found.collect::<Vec<_>>()
        );
    }
}

#[test]
fn as_many_may_wait_as_the_service_could_take() {
    let waiting = |lines| checked(lines).value.settings().overflow().max_waiting.count().number();
    assert_eq!(waiting("[scaling]\ncap = 10\nmaximum = 4"), 30);
    assert_eq!(waiting("[scaling]\ncap = 10\nmaximum = 1"), 10);
    assert_eq!(waiting("[scaling]\ncap = { minimum = 2, maximum = 50 }\nmaximum = 3"), 100);
    let schedule = "[[scaling.schedules]]\nmaximum = 11";
    assert_eq!(waiting(&format!("[scaling]\ncap = 10\nmaximum = 4\n{schedule}")), 100);
}
