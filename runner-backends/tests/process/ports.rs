//! Ports are given out once on a machine, whatever backends there are.

use std::{collections::BTreeSet, path::Path};

use futures_util::future::join_all;
use runner_backends::process::Process;
use runner_core::{
    backend::ContainerBackend,
    error::{ErrorKind, Retry},
    id::InstanceId,
};

use super::bed::{GRACE, Scratch, fence, given_ports, id, is_root, shell, unshared};

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

const ASKED: &str = "RUNNER_TEST_ANOTHER_USER";

#[tokio::test]
async fn whoever_runs_a_backend_sees_the_claims_of_all_others() {
    if !is_root() {
        println!("skipped: only root may become somebody else");
        return;
    }
    let scratch = Scratch::new("machine-users");
    let ports = scratch.ports(2);
    let one = open(&scratch, "one", 1);
    start(&one, id(1)).await.expect("a start");
    // The program may lie where only its owner looks.
    let script = "cp \"$1\" \"$2/program\" && mkdir \"$2/home\" && chmod 755 \"$2\" && \
        chown 65534:65534 \"$2/home\" && program=$2/program && shift 2 && \
        exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$program\" \"$@\"";
    unshared(&["-m"], script, "ports::as_another_user", (ASKED, &scratch));
    stop(&one, id(1)).await;
    if !scratch.path().join("home/state").exists() {
        return; // it was skipped, and has said why
    }
    let second = Process::builder(scratch.path().join("two")).ports(*ports.end()..=*ports.end());
    let second = second.port_claims(scratch.path().join("claims")).build().expect("a backend");
    let refusal = start(&second, id(2)).await.expect_err("it was the other user's").to_string();
    assert!(refusal.contains("1 rest, the first for"), "{refusal}");
}

/// Not a test of its own: what the other user does.
#[tokio::test]
async fn as_another_user() {
    let Ok(scratch) = std::env::var(ASKED) else { return };
    let (scratch, first) = (Path::new(&scratch), *given_ports().start());
    let open = |ports| {
        let builder = Process::builder(scratch.join("home/state")).ports(ports);
        builder.port_claims(scratch.join("claims")).build().expect("a backend")
    };
    let refusal = start(&open(first..=first), id(1)).await.expect_err("it is root's").to_string();
    assert!(refusal.contains("1 are instances'"), "{refusal}");
    let both = open(first..=first + 1);
    let address = start(&both, id(2)).await.expect("the other is free");
    assert!(address.ends_with(&(first + 1).to_string()), "{address}");
    both.stop(fence(1), id(2), GRACE).await.expect("a stop");
    assert!(!scratch.join("home/state/ports").exists(), "its claims are where all others see them");
}
