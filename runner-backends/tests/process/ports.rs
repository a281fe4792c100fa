//! Ports are given out once on a machine, whatever backends there are.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use runner_backends::process::Process;
use runner_core::{
    backend::ContainerBackend,
    error::{ErrorKind, Retry},
    id::InstanceId,
};

use super::bed::{GRACE, Scratch, fence, id, shell};

/// One of several backends with directories of their own, which have the same ports.
fn open(scratch: &Scratch, name: &str, ports: u16) -> Process {
    let builder = Process::builder(scratch.path().join(name)).ports(scratch.ports(ports));
    builder.port_claims(scratch.path().join("claims")).build().expect("a backend")
}

async fn start(backend: &Process, instance: InstanceId) -> Result<String, runner_core::Error> {
    // It never listens, so only a claim says that its port is taken.
    let started = backend.start(fence(1), shell(instance, "exec sleep 1000")).await?;
    Ok(started.address.expect("it takes requests").to_string())
}

async fn stop(backend: &Process, instance: InstanceId) {
    backend.stop(fence(2), instance, GRACE).await.expect("a stop");
}

#[tokio::test]
async fn backends_of_one_machine_never_give_out_a_port_twice() {
    let scratch = Scratch::new("machine");
    let (one, two) = (open(&scratch, "one", 8), open(&scratch, "two", 8));
    let starts = (1..=4).flat_map(|number| [start(&one, id(number)), start(&two, id(number))]);
    let addresses: Vec<_> =
        join_all(starts).await.into_iter().map(|it| it.expect("a start")).collect();
    let distinct: BTreeSet<_> = addresses.iter().collect();
    assert_eq!(distinct.len(), 8, "{addresses:?}");
    let refusal = start(&one, id(5)).await.expect_err("all are given out");
    assert_eq!(refusal.kind(), ErrorKind::Exhausted);
    assert!(refusal.to_string().contains("8 are instances'"), "{refusal}");
    let left = one.capacity(fence(1)).await.expect("told").instances_left;
    assert_eq!(left, Some(0), "what it says is what a start does");
    for number in 1..=4 {
        stop(&one, id(number)).await;
        stop(&two, id(number)).await;
    }
}

#[tokio::test]
async fn a_port_stays_claimed_while_its_instance_lives_without_a_platform() {
    let scratch = Scratch::new("machine-killed");
    let one = open(&scratch, "one", 1);
    start(&one, id(1)).await.expect("a start");
    drop(one);
    let two = open(&scratch, "two", 1);
    let refusal = start(&two, id(2)).await.expect_err("its instance lives").to_string();
    assert!(refusal.contains("1 are instances'"), "{refusal}");
    let one = open(&scratch, "one", 1);
    stop(&one, id(1)).await;
    let refusal = start(&two, id(2)).await.expect_err("clients know its last owner");
    assert!(matches!(refusal.retry(), Retry::After(rest) if !rest.is_zero()), "{refusal:?}");
    assert!(refusal.to_string().contains("1 rest, the first for"), "{refusal}");
}
