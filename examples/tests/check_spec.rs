//! `check_spec`, as it is called.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

/// What it printed to either side, and its exit code.
struct Ran {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).expect("it prints text"),
            stderr: String::from_utf8(output.stderr).expect("it prints text"),
            code: output.status.code(),
        }
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_check_spec"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
    command
}

fn run(arguments: &[&str]) -> Ran {
    command(arguments).output().expect("it runs").into()
}

fn run_with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends").into()
}

#[test]
fn five_faults_are_five_messages_with_their_places() {
    let ran = run(&["specs/five-faults.toml"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(
        ran.stdout,
        r#"specs/five-faults.toml:6:8: fault: port: "eighty" is a text
   |
 6 | port = "eighty"
   |        ^ write a whole number of 0 or more

specs/five-faults.toml:12:10: fault: instance.memory: "2 gigs" has no unit of data
    |
 12 | memory = "2 gigs"
    |          ^ write a number and a unit, such as 512 MB or 2 GB, up to 1024 TB

specs/five-faults.toml:15:7: fault: scaling.cap: 0 is out of range
    |
 15 | cap = 0
    |       ^ write 1 to 100000, or "auto"

specs/five-faults.toml:16:1: fault: scaling.mimimum: is no field here
    |
 16 | mimimum = 2
    | ^ did you mean `minimum`?

specs/five-faults.toml:19:12: fault: overflow.max_wait: 3m leaves nothing of limits.total (3m) for the answer
    |
 19 | max_wait = "3m"
    |            ^ write less than 3m, or raise the total

specs/five-faults.toml: 5 faults
"#
    );
}

#[test]
fn without_a_file_the_sample_is_shown_as_it_is_understood() {
    let ran = run(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let line = |start: &str| {
        let found = ran.stdout.lines().find(|line| line.trim_start().starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} in\n{}", ran.stdout)).to_owned()
    };
    assert_eq!(line("examples/specs/hello.toml"), "examples/specs/hello.toml: no faults");
    assert!(line("scaling.cap ").ends_with(" 10"), "written");
    assert!(line("scaling.scale_in_delay ").ends_with(" 2m  (default)"));
    assert!(line("create the service").ends_with("hello"));
    assert!(line("deploy its first revision").contains("fields"));
}

#[test]
fn a_file_without_faults_says_so_and_nothing_else() {
    let ran = run(&["specs/hello.toml"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.stdout, "specs/hello.toml: no faults\n");
}

#[test]
fn warnings_are_shown_and_are_no_faults() {
    let text = "name = 'a'\nsource = { command = ['a'] }\noverflow.max_waiting = 10\n";
    let ran = run_with_input(&["-"], text.as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("standard input:3:24: warning: overflow.max_waiting: 10 is below")
    );
    assert!(ran.stdout.ends_with("standard input: no faults, 1 warning\n"), "{}", ran.stdout);
}

#[test]
fn two_files_are_the_plan_from_one_to_the_other() {
    let old = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/specs/hello.toml"));
    let new = old
        .expect("the sample")
        .replace("maximum = 4", "maximum = 8")
        .replace("port = 3000", "port = 3001");
    let ran = run_with_input(&["specs/hello.toml", "-"], new.as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        ran.stdout,
        "specs/hello.toml: no faults
standard input: no faults

at once, without new instances:
  scaling.maximum  4 -> 8
by a deployment:
  port  3000 -> 3001
"
    );
    let ran = run(&["specs/hello.toml", "specs/hello.toml"]);
    assert!(ran.stdout.ends_with("\nno change\n"), "{}", ran.stdout);
}

#[test]
fn there_is_no_plan_to_or_from_a_file_with_faults() {
    let ran = run(&["specs/hello.toml", "specs/five-faults.toml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.ends_with("specs/five-faults.toml: 5 faults\n"));
}

#[test]
fn programs_are_told_the_same() {
    let ran = run(&["--json", "specs/five-faults.toml"]);
    assert_eq!(ran.code, Some(1));
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let findings = report["files"][0]["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 5);
    assert_eq!(findings[0]["path"], "port");
    assert_eq!(findings[0]["place"]["line"], 6);
    assert_eq!(findings[0]["severity"], "fault");
    // What is printed of a good file is itself a file.
    let ran = run(&["--json", "specs/hello.toml"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let again = run_with_input(&["-"], report["files"][0]["spec"].to_string().as_bytes());
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "standard input: no faults\n"));
}

#[test]
fn wrong_calls_are_refused_with_the_usage() {
    for arguments in [&["--colour"][..], &["a", "b", "c"], &["-", "-"]] {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}");
        assert!(ran.stderr.contains("usage: check_spec"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
    let ran = run(&["--help"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains("usage: check_spec"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ran = run(&["specs/nowhere.toml"]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(ran.stderr, "check_spec: there is no file specs/nowhere.toml\n");
}

#[test]
fn a_file_that_is_no_text_is_a_fault_and_no_crash() {
    let ran = run_with_input(&["-"], b"name = \"\xff\"\n\x1b[31m");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("not UTF-8"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "nothing reaches the terminal that could steer it");
}
