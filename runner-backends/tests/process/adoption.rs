//! The program is killed, and another comes: instances are found, strangers are left alone.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::StreamExt;
use runner_backends::process::Process;
use runner_core::{
    backend::{Condition, ContainerBackend, ExitStatus},
    time::Timestamp,
};

use super::bed::{Bed, GRACE, Scratch, builder, fence, folder, given_ports, id, lives, shell};

const ASKED: &str = "RUNNER_TEST_PLATFORM";

fn open(scratch: &Scratch) -> Process {
    open_with(scratch.path(), scratch.ports(20))
}

fn open_with(scratch: &Path, ports: std::ops::RangeInclusive<u16>) -> Process {
    builder(scratch, ports).build().expect("a backend")
}

const WAITS: &str = "echo before; while [ ! -e go ]; do sleep 0.02; done; echo after; exit 7";

/// Not a test of its own: the program that the next one kills.
#[tokio::test]
async fn the_platform_that_is_killed() {
    let Ok(scratch) = std::env::var(ASKED) else { return };
    let backend = open_with(Path::new(&scratch), given_ports());
    for (number, script) in [(1, "sleep 1000"), (2, "sleep 1000"), (3, WAITS)] {
        backend.start(fence(1), shell(id(number), script)).await.expect("a start");
    }
    backend.freeze(fence(1), id(2)).await.expect("a freeze");
    let mut logs = backend.logs(fence(1), id(3), Timestamp::EPOCH).await.expect("logs");
    assert_eq!(logs.next().await.expect("a line").text, "before");
    println!("ready to be killed");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn instances_are_found_again_after_the_program_was_killed() {
    let scratch = Scratch::new("killed");
    let mut platform = Command::new(std::env::current_exe().expect("this test"));
    platform.args(["--exact", "adoption::the_platform_that_is_killed", "--nocapture"]);
    scratch.given_to(&mut platform, ASKED);
    let mut platform = platform.stdout(Stdio::piped()).spawn().expect("it starts");
    let out = BufReader::new(platform.stdout.take().expect("piped"));
    let is_ready = out.lines().any(|line| line.is_ok_and(|line| line.contains("ready to be")));
    platform.kill().expect("SIGKILL");
    platform.wait().expect("waited for");
    assert!(is_ready);

    let backend = open(&scratch);
    let listing = backend.list(fence(2)).await.expect("a list");
    let conditions: Vec<_> = listing.instances.iter().map(|it| it.condition.clone()).collect();
    assert_eq!(conditions, [Condition::Running, Condition::Frozen, Condition::Running]);
    assert!(listing.instances.iter().all(|it| it.epoch == fence(1).epoch && it.address.is_some()));
    let again = backend.start(fence(2), shell(id(1), "sleep 1000")).await.expect("repeated");
    assert_eq!(again.address, listing.instances[0].address);

    // What was read before is told once, with a time of then; what comes after follows.
    let mut logs = backend.logs(fence(2), id(3), Timestamp::EPOCH).await.expect("logs");
    let before = logs.next().await.expect("a line");
    fs::write(folder(scratch.path(), id(3)).join("work/go"), "").expect("its directory is there");
    let after = logs.next().await.expect("another line");
    assert_eq!((before.text.as_str(), after.text.as_str()), ("before", "after"));
    assert!(before.at < after.at);
    while logs.next().await.is_some() {}
    let exit = backend.stop(fence(2), id(3), GRACE).await.expect("a stop");
    println!("the end of an adopted instance is told as {:?}", exit.status);
    assert!(matches!(exit.status, ExitStatus::Code(7) | ExitStatus::Unknown), "{exit:?}");

    for number in [1, 2] {
        backend.stop(fence(2), id(number), GRACE).await.expect("a stop");
        assert!(!folder(scratch.path(), id(number)).exists());
    }
}

#[tokio::test]
async fn what_was_thawed_and_not_yet_recorded_so_is_found_running() {
    let mut bed = Bed::new("half-thawed", 2);
    for number in [1, 2] {
        bed.start(id(number), "sleep 1000").await;
        bed.backend.freeze(bed.fence, id(number)).await.expect("a freeze");
    }
    // As far as a program comes that is killed in the middle of a thaw.
    let birth = fs::read_to_string(bed.folder(id(1)).join("birth")).expect("its number");
    let leader = rustix::process::Pid::from_raw(birth.parse().expect("a number"));
    bed.without_handle(|_| {
        let leader = leader.expect("not zero");
        rustix::process::kill_process_group(leader, rustix::process::Signal::CONT).expect("sent");
    });
    assert_eq!(bed.condition(id(1)).await, Some(Condition::Running));
    assert_eq!(bed.condition(id(2)).await, Some(Condition::Frozen), "it was left alone");
    for (number, is_frozen) in [(1, false), (2, true)] {
        let text = fs::read(bed.folder(id(number)).join("record.json")).expect("a record");
        let record: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(record["frozen"], is_frozen, "{number}");
        bed.stop(id(number)).await;
    }
}

#[tokio::test]
async fn what_another_handle_started_is_found_whoever_is_asked() {
    let scratch = Scratch::new("handles");
    let (one, two) = (open(&scratch), open(&scratch));
    for backend in [&one, &two] {
        assert_eq!(backend.list(fence(1)).await.expect("a list").instances.len(), 0);
    }
    for number in [1, 2, 3] {
        one.start(fence(1), shell(id(number), "sleep 1000")).await.expect("a start");
    }
    // Each by its own way, without a list before it.
    two.usage(fence(1), id(1)).await.expect("it lives");
    two.stop(fence(1), id(2), GRACE).await.expect("a stop");
    let again = two.start(fence(1), shell(id(3), "sleep 2000")).await;
    assert!(
        again.expect_err("it was started with another command").to_string().contains("command")
    );
    one.start(fence(1), shell(id(4), "sleep 1000")).await.expect("a start");
    let listing = two.list(fence(1)).await.expect("a list");
    let listed: Vec<_> = listing.instances.iter().map(|it| it.instance).collect();
    assert_eq!(listed, [id(1), id(3), id(4)]);
    for number in [1, 3, 4] {
        two.stop(fence(1), id(number), GRACE).await.expect("a stop");
    }
}

/// Changes one field of what is recorded about an instance.
fn forge(folder: &Path, field: &str, value: serde_json::Value) {
    let path = folder.join("record.json");
    let text = fs::read(&path).expect("a record");
    let mut record: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    record[field] = value;
    fs::write(path, record.to_string()).expect("written");
}

/// A child of this test that no backend started, ended with it on every path.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_process_that_only_has_the_number_is_left_alone() {
    let scratch = Scratch::new("number");
    let mut command = Command::new("sleep");
    let command = command.arg("1000").process_group(0).stdout(Stdio::null());
    let stranger = Stranger(command.spawn().expect("it starts"));
    {
        let backend = open(&scratch);
        backend.start(fence(1), shell(id(1), "sleep 1000")).await.expect("a start");
    }
    let folder = folder(scratch.path(), id(1));
    let birth = fs::read_to_string(folder.join("birth")).expect("its number");
    // The true one ends, and its number is the stranger's by now.
    let own = rustix::process::Pid::from_raw(birth.parse().expect("a number"));
    let own = own.expect("not zero");
    rustix::process::kill_process_group(own, rustix::process::Signal::KILL).expect("killed");
    rustix::process::waitpid(Some(own), rustix::process::WaitOptions::empty()).expect("waited");
    forge(&folder, "pid", stranger.0.id().into());
    // Times are counted in hundredths of a second, and both may be of the same.
    forge(&folder, "start_time", 1.into());
    let backend = open(&scratch);
    let listing = backend.list(fence(2)).await.expect("a list");
    let Condition::Ended(exit) = &listing.instances[0].condition else { panic!("{listing:?}") };
    assert_eq!(exit.status, ExitStatus::Unknown);
    assert!(exit.last_lines[0].contains("nobody watched"), "{exit:?}");
    backend.stop(fence(2), id(1), GRACE).await.expect("a stop");
    assert!(lives(stranger.0.id()), "it was never ours");
}

#[tokio::test]
async fn a_record_of_another_start_of_the_machine_means_no_process() {
    let scratch = Scratch::new("boot");
    let bed_folder = folder(scratch.path(), id(1));
    let pid = {
        let backend = open(&scratch);
        backend.start(fence(1), shell(id(1), "sleep 1000")).await.expect("a start");
        fs::read_to_string(bed_folder.join("birth")).expect("its number").parse::<u32>()
    };
    forge(&bed_folder, "boot_id", "another".into());
    let backend = open(&scratch);
    let listing = backend.list(fence(2)).await.expect("a list");
    // In truth it does live and is at home in its folder, so it is swept like any other remains.
    assert!(matches!(listing.instances[0].condition, Condition::Ended(_) | Condition::Running));
    backend.stop(fence(2), id(1), GRACE).await.expect("a stop");
    assert!(!lives(pid.expect("a number")) && !bed_folder.exists());
}

/// Between fork and exec a child of anybody's in this program holds all its locks.
#[tokio::test]
async fn an_instance_is_found_also_while_its_lock_is_held() {
    let mut bed = Bed::new("held-lock", 2);
    bed.start(id(1), "sleep 1000").await;
    let lock = fs::File::open(bed.folder(id(1)).join("lock")).expect("it is there");
    lock.lock().expect("nobody else holds it for long");
    bed.reopen();
    assert_eq!(bed.condition(id(1)).await, Some(Condition::Running));
    drop(lock);
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn half_a_start_is_cleared_away() {
    let bed = Bed::new("half", 10);
    let folder = bed.folder(id(1));
    fs::create_dir_all(folder.join("work")).expect("made");
    let output = fs::File::create(folder.join("stdout")).expect("made");
    // What a start is at the moment between exec and its record.
    let mut command = Command::new("sleep");
    let command = command.arg("1000").stdout(output).current_dir(folder.join("work"));
    let mut half = command.process_group(0).spawn().expect("it starts");
    fs::write(folder.join("birth"), half.id().to_string()).expect("written");
    assert_eq!(bed.condition(id(1)).await, None);
    let status = half.wait().expect("it was killed");
    assert!(!status.success());
    bed.start(id(1), "sleep 1000").await;
    assert_eq!(bed.condition(id(1)).await, Some(Condition::Running));
    bed.backend.stop(bed.fence, id(1), Duration::ZERO).await.expect("a stop");
}
