//! What does an event cost the service machine, with 25 instances?
//!
//! An event is one that changes something: it moves an instance from phase to phase, so that sides
//! are counted, targets compared and a snapshot built. The budget is 5 microseconds.

use std::time::{Duration, Instant};

use runner_core::{
    address::Address,
    deployment::{Effect as FleetEffect, Event as FleetEvent, Timer as FleetTimer},
    id::{InstanceId, OperationId, ServiceId},
    service::{Effect, Event, Resolution, Service, Timer},
    source::ResolvedSource,
    spec::ServiceSpec,
    time::Timestamp,
};

use crate::admission::Measure;

/// All questions by name.
pub const QUESTIONS: [(&str, Measure); 3] = [
    ("event_of_25/unwell_and_ready", unwell_and_ready),
    ("event_of_25/hint_and_list_failed", hint_and_list_failed),
    ("record_of_25", record),
];

const INSTANCES: u32 = 25;

/// A service that runs 25 instances.
fn running() -> (Service, Vec<InstanceId>) {
    let now = Timestamp::EPOCH;
    let spec = ServiceSpec::command(["./app"]).between(INSTANCES, INSTANCES).check("app");
    let spec = spec.expect("a sound specification").value;
    let operation = OperationId::from_random(1);
    let (mut service, _) = Service::create(ServiceId::from_random(1), operation, &spec, false, now);
    let revision = runner_core::id::RevisionNumber::FIRST;
    let found = Ok(std::sync::Arc::new(Resolution::of(ResolvedSource::Command)));
    let effects = service.handle(Event::Resolved(revision, found), now);
    let started: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Fleet(FleetEffect::Start { instance, .. }) => Some(*instance),
            _ => None,
        })
        .collect();
    for id in &started {
        let address = Address::Tcp(([127, 0, 0, 1], 8000 + id.number as u16).into());
        let _ = service.handle(FleetEvent::Started(*id, Some(address)).into(), now);
        let _ = service.handle(FleetEvent::BecameReady(*id).into(), now);
    }
    let _ = service.handle(Event::Due(Timer::Fleet(FleetTimer::Stage)), now);
    assert_eq!(service.live(), Some(revision), "it is promoted");
    (service, started)
}

/// Verdicts, each of which takes an instance out of the traffic or back in. The replacement that
/// the first one starts stays in `Stopping`, so the fleet is rebuilt every so often.
fn unwell_and_ready(operations: u64) -> Duration {
    let (fresh, ids) = running();
    let mut spent = Duration::ZERO;
    let mut left = operations;
    while left > 0 {
        let mut service = fresh.clone();
        let batch = left.min(8);
        let start = Instant::now();
        for at in 0..batch {
            let id = ids[(at / 2) as usize];
            let event = match at % 2 {
                0 => FleetEvent::BecameUnwell(id),
                _ => FleetEvent::BecameReady(id),
            };
            std::hint::black_box(service.handle(event.into(), Timestamp::EPOCH));
        }
        spent += start.elapsed();
        left -= batch;
    }
    spent
}

/// Events that change nothing at any instance.
fn hint_and_list_failed(operations: u64) -> Duration {
    let (mut service, _) = running();
    let mut asked = 0;
    let start = Instant::now();
    for at in 0..operations {
        let event = match at % 2 {
            0 => FleetEvent::Changed,
            _ => FleetEvent::ListFailed { asked },
        };
        for effect in service.handle(event.into(), Timestamp::EPOCH) {
            if let Effect::Fleet(FleetEffect::List(number)) = effect {
                asked = number;
            }
        }
    }
    start.elapsed()
}

/// What a commit needs of the machine.
fn record(operations: u64) -> Duration {
    let (service, _) = running();
    let start = Instant::now();
    for _ in 0..operations {
        std::hint::black_box(service.record());
    }
    start.elapsed()
}
