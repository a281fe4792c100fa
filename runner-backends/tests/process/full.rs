//! A disk that is truly full: a small one, mounted where only this test sees it.

use std::{fs, path::Path, time::Duration};

use futures_util::StreamExt;
use runner_backends::process::Process;
use runner_core::{
    backend::{ContainerBackend, Fence, LogLine, OutputStream},
    error::ErrorKind,
    id::InstanceId,
    time::Timestamp,
};

use super::bed::{GRACE, Scratch, builder, fence, folder, given_ports, id, shell, unshared};

const ASKED: &str = "RUNNER_TEST_FULL";

/// When it is told to it fills the disk, tells outside of it that its own writes failed and did not
/// wait, and makes room when it is told to.
const FILLS: &str = "
    while [ ! -e $OUTSIDE/fill ]; do sleep 0.02; done
    head -c 5000 /dev/zero | tr '\\0' x; echo
    if dd if=/dev/zero of=filler bs=4k; then exit 1; fi
    if head -c 100000 /dev/zero | tr '\\0' y; then exit 2; fi
    echo failed > $OUTSIDE/filled
    while [ ! -e $OUTSIDE/go ]; do sleep 0.02; done
    rm filler; echo; echo again; exec sleep 1000";

#[test]
fn a_full_disk_fails_the_app_s_own_writes_and_not_the_backend_s() {
    let scratch = Scratch::new("full");
    let script = "mkdir \"$2/disk\" && mount -t tmpfs -o size=8m none \"$2/disk\" && \
                  program=$1 && shift 2 && exec \"$program\" \"$@\"";
    unshared(&["-m"], script, "full::while_the_disk_is_full", (ASKED, &scratch));
}

/// Not a test of its own: the part that has the small disk.
#[tokio::test]
async fn while_the_disk_is_full() {
    let Ok(outside) = std::env::var(ASKED) else { return };
    let outside = Path::new(&outside);
    for (reserve, go) in [(1 << 20, "with"), (0, "without")] {
        fs::create_dir(outside.join(go)).expect("not the small disk");
        fill(&outside.join("disk"), &outside.join(go), reserve).await;
    }
}

async fn fill(disk: &Path, outside: &Path, reserve: u64) {
    let builder = builder(disk, given_ports());
    let builder = builder.port_rest(Duration::ZERO).disk_reserve(reserve);
    let backend = builder.output_bound(128 << 10).build().expect("a backend");
    backend.start(fence(1), shell(id(2), "exec sleep 1000")).await.expect("a start");
    // The reserve is taken at the first look, before there is anybody to fill the disk.
    let is_held = || fs::metadata(disk.join("state/reserve")).is_ok_and(|it| it.len() == reserve);
    while reserve > 0 && !is_held() {
        backend.list(fence(1)).await.expect("a list");
    }
    let mut request = shell(id(1), FILLS);
    request.environment.insert("OUTSIDE".to_owned(), outside.to_str().expect("text").to_owned());
    backend.start(fence(1), request).await.expect("a start");
    // Not before: without a reserve, its own start would find no room to be recorded in.
    fs::write(outside.join("fill"), "").expect("not the small disk");

    // Both are told of it: what is missing may be either's.
    if reserve > 0 {
        for number in [1, 2] {
            note(
                &backend,
                fence(1),
                id(number),
                "the disk is full: what is written from now on may",
            )
            .await;
        }
    }
    while !outside.join("filled").exists() {
        let living = backend.usage(fence(1), id(1)).await;
        living.expect("its writes failed, none of them waited, and it lives");
    }
    // What has died is replaced all the same, in place of the reserve; where there is none, it is
    // refused with its cause.
    let started = backend.start(fence(1), shell(id(3), "exec sleep 1000")).await;
    match reserve {
        0 => {
            let refusal = started.expect_err("no room");
            assert_eq!(refusal.kind(), ErrorKind::Exhausted, "{refusal}");
            assert!(refusal.to_string().ends_with(": the disk is full"), "{refusal}");
        }
        _ => {
            started.expect("it is given a piece of the reserve");
            backend.stop(fence(1), id(3), GRACE).await.expect("a stop");
        }
    }
    assert!(!folder(disk, id(3)).exists(), "nothing half-started is left, and nothing ended");

    let frozen = backend.freeze(fence(1), id(2)).await;
    match reserve {
        0 => {
            let refusal = frozen.expect_err("there is no room to record it");
            assert_eq!(refusal.to_string(), "that it is frozen cannot be recorded");
        }
        _ => {
            frozen.expect("it is recorded in place of the reserve");
            let left = fs::metadata(disk.join("state/reserve")).expect("the rest").len();
            assert!(left < reserve && left >= reserve - (256 << 10), "{left} of {reserve}");
            backend.thaw(fence(1), id(2)).await.expect("so is this");
        }
    }

    // A program that begins on a full disk may do what needs no room.
    let fence = fence(2);
    backend.list(fence).await.expect("its epoch is written in the place of the one before");
    backend.usage(fence, id(1)).await.expect("it is known");
    assert_eq!(
        backend.usage(super::bed::fence(1), id(1)).await.expect_err("it is over").kind(),
        ErrorKind::Fenced
    );

    fs::write(outside.join("go"), "").expect("not the small disk");
    let again = note(&backend, fence, id(1), "again").await;
    assert_eq!(again.stream, OutputStream::Stdout);
    if reserve > 0 {
        for number in [1, 2] {
            let gap = note(&backend, fence, id(number), "the disk was full from ").await;
            assert_eq!(gap.stream, OutputStream::Backend);
            assert!(gap.text.ends_with(": lines are missing"), "{}", gap.text);
        }
    }
    for number in [1, 2] {
        backend.stop(fence, id(number), GRACE).await.expect("a stop");
    }
    drop(backend);
    assert!(!disk.join("state/reserve").exists(), "nobody needs it any more");
    fs::remove_dir_all(disk.join("state")).expect("removed");
}

/// Waits for a line that begins so.
async fn note(backend: &Process, fence: Fence, instance: InstanceId, begins: &str) -> LogLine {
    let lines = backend.logs(fence, instance, Timestamp::EPOCH).await.expect("logs");
    let mut fitting = lines.filter(|line| std::future::ready(line.text.starts_with(begins)));
    // It comes or it does not: so long is for a machine that has much else to do.
    let found = tokio::time::timeout(Duration::from_secs(30), fitting.next()).await;
    found.expect("it comes").expect("before the end")
}
