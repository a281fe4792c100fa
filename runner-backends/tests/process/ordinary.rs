//! As an ordinary user in a container: no control groups, nobody else's processes, and this program
//! is the first of them, to which all orphans fall.

use std::{fs, path::Path, time::Duration};

use runner_backends::process::Process;
use runner_core::{
    backend::{Condition, ContainerBackend, ExitStatus, Limits},
    error::ErrorKind,
};

use super::bed::{GRACE, Scratch, builder, fence, given_ports, id, shell, unshared};

const ASKED: &str = "RUNNER_TEST_ORDINARY";

#[test]
fn an_ordinary_user_in_a_container_needs_no_rights_and_gets_one_warning() {
    let scratch = Scratch::new("ordinary");
    // The program may lie where only its owner looks. Nothing is kept of root's.
    let script = "cp \"$1\" \"$2/program\" && mkdir \"$2/home\" && chmod 755 \"$2\" && \
        chown 65534:65534 \"$2/home\" && mount -t tmpfs -o mode=755 none /sys/fs/cgroup && \
        program=$2/program && shift 2 && \
        exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
            --bounding-set=-all --no-new-privs \"$program\" \"$@\"";
    let flags = ["-m", "-p", "-f", "--mount-proc", "--kill-child"];
    unshared(&flags, script, "ordinary::as_an_ordinary_user", (ASKED, &scratch));
}

/// Not a test of its own: the part that has no rights.
#[tokio::test]
async fn as_an_ordinary_user() {
    let Ok(scratch) = std::env::var(ASKED) else { return };
    assert_eq!(rustix::process::geteuid().as_raw(), 65_534);
    assert_eq!(std::process::id(), 1, "orphans fall to it");
    let home = Path::new(&scratch).join("home");
    let open = || builder(&home, given_ports()).port_rest(Duration::ZERO);

    let backend = open().cgroup("/apps").build().expect("limits are best effort");
    let mut request = shell(id(1), "sleep 1000");
    let mut limits = Limits::default();
    (limits.cpu_millis, limits.memory_bytes) = (Some(500), Some(64 << 20));
    request.limits = limits;
    let started = backend.start(fence(1), request).await.expect("it needs no rights");
    assert_eq!(
        started.warnings,
        ["not held: CPU and memory limits: no control group `apps` may be written here; make one \
          and give it to this user; nor is its memory counted against the machine's"]
    );
    let plain = backend.start(fence(1), shell(id(2), "sleep 1000")).await.expect("a start");
    assert!(plain.warnings.is_empty(), "who asks for nothing misses nothing: {plain:?}");

    backend.freeze(fence(1), id(2)).await.expect("a freeze");
    let listing = backend.list(fence(1)).await.expect("a list");
    let conditions: Vec<_> = listing.instances.iter().map(|it| it.condition.clone()).collect();
    assert_eq!(conditions, [Condition::Running, Condition::Frozen]);
    backend.thaw(fence(1), id(2)).await.expect("a thaw");
    let words = ["sh", "-c", "id -u; exit 3"].map(str::to_owned).to_vec();
    let output = backend.run_command(fence(1), id(1), words, GRACE).await.expect("it ends");
    assert_eq!(output.exit.status, ExitStatus::Code(3));
    assert_eq!(output.exit.last_lines, ["65534"]);

    // Three that are orphaned on the way: one ends before its instance, one ignores being asked.
    let orphans = "(sleep 0 & sleep 1000 &); (trap '' TERM; sleep 1000 &); echo up; exec sleep 999";
    backend.start(fence(1), shell(id(3), orphans)).await.expect("a start");
    for number in 1..=3 {
        backend.stop(fence(1), id(number), GRACE).await.expect("a stop");
    }
    assert_eq!(others(), Vec::<String>::new(), "neither orphan nor zombie is left");
    drop(backend);

    let refusal = open().user(0, 0).build().expect_err("it may not become root");
    assert_eq!(refusal.kind(), ErrorKind::Denied);
    assert_eq!(
        refusal.to_string(),
        "instances should run as user 0 and group 0, and user 65534 may not become another; \
         run as root, or name no user"
    );
    let strict = open().cgroup("/apps").require_limits().build().expect("not yet asked for");
    let mut request = shell(id(4), "sleep 1000");
    request.limits = limits;
    let refusal = strict.start(fence(1), request).await.expect_err("they are required");
    assert_eq!(
        refusal.to_string(),
        "limits are required of this backend; not held: CPU and memory limits: no control group \
         `apps` may be written here; make one and give it to this user"
    );
    let denied = Process::new("/root/state").expect_err("it is root's");
    assert_eq!(
        denied.to_string(),
        "the directory /root/state cannot be written; name one that this user may write"
    );
}

/// All processes that can be seen but this one: here those are all there are.
fn others() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let others = numbers.filter(|name| name.parse::<u32>().is_ok_and(|pid| pid != 1));
    others
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .map(|stat| stat.split(" ").take(3).collect::<Vec<_>>().join(" "))
        .collect()
}
