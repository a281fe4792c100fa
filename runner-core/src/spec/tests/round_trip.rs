//! What is stored reads back as what it was.

use std::time::Duration;

use proptest::prelude::*;

use super::samples::samples;
use crate::spec::{RevisionSpec, ServiceBuilder, ServiceSettings, ServiceSpec, raw};

fn survives(spec: &ServiceSpec) {
    let written = raw::Service::from(spec);
    let again = ServiceSpec::check(written.clone()).expect("what passed passes again");
    assert_eq!(&again.value, spec);
    assert_eq!(raw::Service::from(&again.value), written);
    let json = serde_json::to_string(spec).expect("it serialises");
    assert_eq!(&serde_json::from_str::<ServiceSpec>(&json).expect("and back"), spec);
}

#[test]
fn samples_of_everything_survive() {
    for sample in samples() {
        survives(&sample);
    }
}

#[test]
fn parts_read_back_alone() {
    for sample in samples() {
        let json = serde_json::to_string(sample.revision()).expect("it serialises");
        let revision: RevisionSpec = serde_json::from_str(&json).expect("and back");
        assert_eq!(&revision, sample.revision());
        let json = serde_json::to_string(sample.settings()).expect("it serialises");
        let settings: ServiceSettings = serde_json::from_str(&json).expect("and back");
        assert_eq!(&settings, sample.settings());
    }
}

#[test]
fn what_was_stored_keeps_its_meaning_whatever_the_defaults_become() {
    let written = raw::Service::from(&samples()[3]);
    for field in ["scaling.maximum", "limits.total", "health.readiness.interval", "port"] {
        assert!(written.fields().iter().any(|one| one.path.to_string() == field), "{field}");
    }
}

#[test]
fn an_older_program_reads_past_what_it_does_not_know() {
    let mut json = serde_json::to_value(&samples()[0]).expect("it serialises");
    json["scaling"]["not_yet_known"] = true.into();
    assert_eq!(serde_json::from_value::<ServiceSpec>(json).expect("it reads"), samples()[0]);
}

proptest! {
    #[test]
    fn whatever_passes_survives(
        cap in 1..300_u32,
        auto in any::<bool>(),
        minimum in 0..30_u32,
        maximum in 1..30_u32,
        wait in 0..150_000_u64,
        total in proptest::option::of(1..300_000_u64),
        waiting in proptest::option::of(0..5_000_u32),
        port in any::<u16>(),
        millis in 1..5_000_u32,
        megabytes in 1..100_000_u32,
        value in ".{0,12}",
    ) {
        let builder = ServiceBuilder::command(["./hello", &value])
            .between(minimum, maximum)
            .max_wait(Duration::from_millis(wait))
            .port(port)
            .environment("VALUE", value.clone())
            .secret("SECRET", value)
            .with(|raw| {
                raw.limits.total = Some(total.map_or_else(|| "none".into(), |total| Duration::from_millis(total).into()));
                raw.overflow.max_waiting = waiting.map(Into::into);
                raw.instance.cpu = Some(format!("{millis}m").into());
                raw.instance.memory = Some(format!("{megabytes} MB").into());
            });
        let builder = if auto { builder.auto_cap(1, cap) } else { builder.cap(cap) };
        // What does not pass has said why, in at least one line.
        match builder.check("hello") {
            Ok(checked) => survives(&checked.value),
            Err(faults) => prop_assert!(faults.faults().next().is_some()),
        }
    }
}
