//! Bad input: each its own clear error, and nothing half-started left.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use runner_core::{
    backend::{ContainerBackend, Limits, StartRequest},
    error::{ErrorKind, Retry},
};

use super::bed::{Bed, fence, id, shell};

async fn refusal(bed: &Bed, request: StartRequest) -> runner_core::Error {
    let instance = request.instance;
    let error = bed.backend.start(bed.fence, request).await.expect_err("it cannot start");
    assert!(!bed.folder(instance).exists(), "nothing is left of it: {error}");
    assert_eq!(bed.condition(instance).await, None);
    error
}

#[tokio::test]
async fn what_cannot_be_run_is_told_and_takes_nothing() {
    let bed = Bed::new("refused", 1);
    let script = bed.scratch.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").expect("written");
    let named = script.to_str().expect("text");
    let error = refusal(&bed, StartRequest::command(id(1), [named])).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let says = format!("{named} is not executable; give it the permission to be run");
    assert_eq!(error.to_string(), says);
    let missing = refusal(&bed, StartRequest::command(id(2), ["/no/such/program"])).await;
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(missing.to_string(), "there is no program /no/such/program");
    // The one port that there is was given to none of them, so none has to rest.
    bed.start(id(3), "sleep 1000").await;
    bed.stop(id(3)).await;
}

#[tokio::test]
async fn a_missing_interpreter_is_not_a_missing_program() {
    let bed = Bed::new("interpreter", 1);
    let script = bed.scratch.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("set");
    let error = refusal(&bed, StartRequest::command(id(1), [script.to_str().expect("text")])).await;
    let says = format!("`{}` is there, and the interpreter it names is not", script.display());
    assert_eq!(error.to_string(), says);
}

#[tokio::test]
async fn a_limit_that_cannot_be_had_is_one_warning_or_a_refusal() {
    let mut limits = Limits::default();
    (limits.cpu_millis, limits.memory_bytes, limits.disk_bytes) =
        (Some(500), Some(64 << 20), Some(1 << 30));
    let mut request = shell(id(1), "sleep 1000");
    request.limits = limits;
    let bed = Bed::with("limits", 2, |builder| builder.port_rest(std::time::Duration::ZERO));
    let started = bed.backend.start(bed.fence, request.clone()).await.expect("best effort");
    assert_eq!(
        started.warnings,
        ["not held: CPU and memory limits: no control group was named for this backend; \
         disk limit: local processes have none; nor is its memory counted against the machine's"]
    );
    let again = bed.backend.start(bed.fence, request.clone()).await.expect("repeated");
    assert_eq!(again, started);
    bed.stop(id(1)).await;
    let strict = Bed::with("limits-strict", 1, |builder| builder.require_limits());
    let error = refusal(&strict, request.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(
        error.to_string(),
        "limits are required of this backend; not held: CPU and memory limits: no control group \
         was named for this backend; disk limit: local processes have none"
    );
    // Nothing holds them to it, so the machine is not spent by what they say.
    request.limits.memory_bytes = Some(1 << 50);
    for number in [2, 3] {
        request.instance = id(number);
        bed.backend.start(bed.fence, request.clone()).await.expect("a start");
        bed.stop(id(number)).await;
    }
}

#[tokio::test]
async fn a_bound_on_processes_that_was_asked_for_and_cannot_be_had_is_told() {
    let bed = Bed::with("processes", 1, |builder| builder.max_processes(100));
    let started = bed.backend.start(bed.fence, shell(id(1), "sleep 1000")).await;
    assert_eq!(
        started.expect("best effort").warnings,
        ["not held: bound on processes: no control group was named for this backend"]
    );
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn a_port_range_that_is_used_up_says_by_whom_and_for_how_long() {
    let bed = Bed::new("used-up", 3);
    let ports = bed.scratch.ports(3);
    let (first, last) = (*ports.start(), *ports.end());
    let _held = TcpListener::bind(("127.0.0.1", first)).expect("it is this test's");
    bed.start(id(1), "sleep 1000").await;
    bed.start(id(2), "sleep 1000").await;
    bed.stop(id(2)).await;
    let error = refusal(&bed, shell(id(3), "sleep 1000")).await;
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(matches!(error.retry(), Retry::After(rest) if rest.as_secs() <= 60), "{error:?}");
    let text = error.to_string();
    let none = format!("no port from {first} to {last} is free");
    let held = format!("port {first} is held by pid {}", std::process::id());
    for part in [none.as_str(), "1 are instances'", "1 rest, the first", &held] {
        assert!(text.contains(part), "{text}");
    }
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn an_id_means_one_command() {
    let bed = Bed::new("one-command", 2);
    bed.start(id(1), "sleep 1000").await;
    let other = bed.backend.start(bed.fence, shell(id(1), "sleep 2000")).await;
    assert_eq!(other.expect_err("it is another").kind(), ErrorKind::Conflict);
    let newer = bed.backend.list(fence(2)).await.expect("a newer epoch");
    assert_eq!(newer.instances.len(), 1);
    let old = bed.backend.list(bed.fence).await.expect_err("it is over");
    assert_eq!(old.kind(), ErrorKind::Fenced);
    bed.backend.stop(fence(2), id(1), super::bed::GRACE).await.expect("a stop");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_later_is_told_and_takes_nothing() {
    let bed = Bed::new("unwritable", 1);
    bed.start(id(1), "sleep 1000").await;
    bed.stop(id(1)).await;
    // Not even root makes a folder below a file.
    let platform = bed.folder(id(2)).parent().expect("the platform's").to_owned();
    fs::remove_dir_all(&platform).expect("its epoch alone is there");
    fs::write(&platform, "").expect("written");
    let error = bed.backend.start(bed.fence, shell(id(2), "true")).await.expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::Denied);
    let state = bed.scratch.path().join("state");
    assert_eq!(error.to_string(), format!("what is kept in {} cannot be used", state.display()));
    fs::remove_file(&platform).expect("removed");
    fs::create_dir(&platform).expect("made");
    fs::write(bed.folder(id(3)), "").expect("written");
    let error = bed.backend.start(bed.fence, shell(id(3), "true")).await.expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::Denied);
    let shown = bed.folder(id(3)).display().to_string();
    let says = format!(
        "nothing was started in {shown}: what an instance needs there cannot be \
                        written"
    );
    assert_eq!(error.to_string(), says);
}

#[test]
fn a_user_that_is_nobody_is_refused_before_anything_runs_as_this_program_s_own() {
    let scratch = super::bed::Scratch::new("nobody");
    for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
        let built = runner_backends::process::Process::builder(scratch.path()).user(uid, gid);
        let error = built.build().expect_err("the kernel would take it for no change");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), "4294967295 is nobody's number; name another user");
    }
}
