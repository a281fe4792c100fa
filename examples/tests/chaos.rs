//! `chaos`, as it is called. What it finds is the certificate's own to say, on a machine that has
//! time for it; here is checked that it says it, and that it leaves nothing.

mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use support::{Scratch, TURN, interrupt};

const CHAOS: &str = env!("CARGO_BIN_EXE_chaos");

#[test]
fn its_last_line_says_what_it_came_to_and_its_exit_code_whether_that_is_good() {
    let _turn = TURN.blocking_lock();
    let scratch = Scratch::new("chaos");
    let output = chaos(&scratch, &["--minutes", "0.2", "--seed", "1"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    let verdict: serde_json::Value =
        serde_json::from_str(last).unwrap_or_else(|_| panic!("no verdict:\n{said}{errors}"));
    let keys: Vec<_> = verdict.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "requests",
        "wrong",
        "lost_unexplained",
        "lost_explained",
        "instances_killed",
        "platform_kills",
        "deployments",
        "stuck_operations",
        "orphans",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert!(verdict["requests"].as_u64() > Some(0), "{said}");
    // Each of the four services was deployed, or it would not have begun.
    assert!(verdict["deployments"].as_u64() >= Some(4), "{said}");
    // However slow the machine, nobody is answered what is another's.
    assert_eq!(verdict["wrong"], 0, "{said}");
    let bounds = ["wrong", "lost_unexplained", "stuck_operations", "orphans"];
    let is_good = bounds.iter().all(|key| verdict[*key] == 0);
    if output.status.success() {
        assert!(is_good, "{said}");
        scratch.nothing_is_left();
    } else {
        assert_eq!(output.status.code(), Some(1), "{said}{errors}");
        assert!(errors.contains("chaos: the logs are in "), "{errors}");
    }
}

#[test]
fn ctrl_c_ends_it_and_leaves_nothing() {
    let _turn = TURN.blocking_lock();
    let scratch = Scratch::new("chaos-interrupted");
    let mut child = chaos(&scratch, &["--minutes", "10"]).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is read")).lines();
    let is_under_way = |line: String| line.contains(" requests answered; ");
    assert!(lines.any(|line| is_under_way(line.expect("text"))), "it never began");
    interrupt(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    scratch.nothing_is_left();
}

#[test]
fn where_it_cannot_begin_its_last_line_says_that_nobody_was_asked() {
    let scratch = Scratch::new("chaos-nowhere");
    let mut command = chaos(&scratch, &["--minutes", "0.1"]);
    let output = command.env("TMPDIR", scratch.0.join("nowhere")).output().expect("it runs");
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}{errors}");
    assert!(errors.contains("chaos: it cannot be set up: "), "{errors}");
    let last = said.lines().last().expect("a last line");
    let verdict: serde_json::Value = serde_json::from_str(last).expect(last);
    assert_eq!(verdict["requests"], 0);
}

#[test]
fn what_it_does_not_understand_it_says() {
    for (arguments, said) in [
        (&["--minutes"][..], "--minutes needs a number"),
        (&["--minutes", "-1"][..], "`-1` is no time to spend"),
        (&["--seed", "x"][..], "`x` is no seed"),
        (&["--sed"][..], "`--sed` is no flag"),
    ] {
        let output = Command::new(CHAOS).args(arguments).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("chaos: {said}; see --help\n"));
        assert_eq!(output.status.code(), Some(2));
    }
    let help = Command::new(CHAOS).arg("--help").output().expect("it runs");
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--minutes M"));
}

fn chaos(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(CHAOS);
    command.args(arguments).env("TMPDIR", scratch.temp());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
