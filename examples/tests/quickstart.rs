//! `quickstart`, as it is called: with nothing, anywhere, by anybody.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use support::{Scratch, TURN, interrupt};

#[test]
fn it_tells_the_whole_story_and_leaves_nothing() {
    let _turn = TURN.blocking_lock();
    let scratch = Scratch::new("story");
    // Its port is somebody else's.
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = busy.local_addr().expect("bound").port().to_string();
    let output = quickstart(&scratch, &["--port", &port]).output().expect("it runs");
    let said = String::from_utf8(output.stdout).expect("it prints text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    for expected in [
        &*format!("Port {port} is busy; port "),
        "40 sent: 40 answered, 0 refused, 0 lost",
        "secret `shop/database` is not in the environment",
        "cannot listen on port",
        " of them lost.",
        "first deployment ",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in:\n{said}");
    }
    assert!(!said.contains('\x1b'), "no colours:\n{said}");
    let last = said.lines().last().expect("a last line");
    let numbers: serde_json::Value = serde_json::from_str(last).expect(last);
    let keys: Vec<_> = numbers.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "requests",
        "lost",
        "refused_in_burst",
        "scaled_to",
        "app_start_ms",
        "deploy_ms",
        "switch_ms",
        "failed_deploy_detect_ms",
        "rollback_ms",
        "wake_ms",
        "states_ok",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    for (key, value) in [("lost", 0), ("refused_in_burst", 0), ("scaled_to", 4)] {
        assert_eq!(numbers[key], value, "{key}");
    }
    assert_eq!(numbers["states_ok"], true);
    assert!(numbers["requests"].as_u64() > Some(200), "{last}");
    nothing_is_left(&scratch);
}

#[test]
fn ctrl_c_ends_it_wherever_it_is_and_leaves_nothing() {
    let _turn = TURN.blocking_lock();
    for at in ["2. a first deployment", "   40 sent", "5. a new version"] {
        let scratch = Scratch::new("interrupted");
        let mut child = quickstart(&scratch, &["--port", "0"]).spawn().expect("it runs");
        read_to(&mut child, at);
        interrupt(&child);
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{at}");
        nothing_is_left(&scratch);
    }
}

#[test]
fn where_it_fails_its_last_line_says_what_it_came_to() {
    let scratch = Scratch::new("fails");
    let mut command = quickstart(&scratch, &["--port", "0"]);
    let output = command.env("TMPDIR", scratch.0.join("nowhere")).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.starts_with("quickstart: a temporary directory cannot be made"), "{errors}");
    let said = String::from_utf8(output.stdout).expect("it prints text");
    let last = said.lines().last().expect("a last line");
    let numbers: serde_json::Value = serde_json::from_str(last).expect(last);
    assert_eq!((&numbers["requests"], &numbers["states_ok"]), (&0.into(), &false.into()));
}

#[test]
fn what_it_does_not_understand_it_says() {
    let output = quickstart(&Scratch::new("flags"), &["--sevre"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "quickstart: `--sevre` is no flag; see --help\n");
}

/// Reads what it says, up to a line that begins so.
fn read_to(child: &mut Child, beginning: &str) {
    let said = child.stdout.take().expect("it is read");
    let mut lines = BufReader::new(said).lines();
    let found = lines.any(|line| line.expect("text").starts_with(beginning));
    assert!(found, "it never said `{beginning}`");
    // The rest is read too, so that it can go on saying.
    #[expect(clippy::disallowed_methods, reason = "it ends with the program that it reads from")]
    std::thread::spawn(move || lines.count());
}

/// In an empty directory, with next to no environment.
fn quickstart(scratch: &Scratch, arguments: &[&str]) -> Command {
    let work = scratch.0.join("work");
    fs::create_dir_all(&work).expect("made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    command
        .args(arguments)
        .current_dir(work)
        .env_clear()
        .envs([("NO_COLOR", "1"), ("TERM", "dumb")])
        .env("TMPDIR", scratch.temp())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn nothing_is_left(scratch: &Scratch) {
    scratch.nothing_is_left();
    let work: Vec<_> = fs::read_dir(scratch.0.join("work")).expect("there").collect();
    assert!(work.is_empty(), "in the working directory: {work:?}");
}
