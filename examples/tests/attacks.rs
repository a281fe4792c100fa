//! `attacks`, group by group: each holds here too, and leaves nothing.

mod support;

use std::process::{Command, Stdio};

use support::{Scratch, TURN};

#[test]
fn what_is_tried_on_requests_comes_to_nothing() {
    holds("places", 81);
}

#[test]
fn no_canary_is_where_it_must_not_be() {
    holds("secrets", 15);
}

#[test]
fn what_it_does_not_understand_it_says() {
    for (arguments, said) in [
        (&["--onyl"][..], "attacks: `--onyl` is no flag; see --help\n"),
        (&["--only", "nothing"], "attacks: `nothing` is no group; see --help\n"),
    ] {
        let output = attacks(&Scratch::new("flags"), arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    }
}

fn holds(group: &str, least: u64) {
    // Both want the same ports.
    let _turn = TURN.blocking_lock();
    let scratch = Scratch::new(group);
    let output = attacks(&scratch, &["--short", "--only", group]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let last = said.lines().last().expect("a last line");
    let numbers: serde_json::Value = serde_json::from_str(last).expect(last);
    let keys: Vec<_> = numbers.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["attempts", "canaries_found", "memory_growth_mib", "wrong"]);
    assert!(numbers["attempts"].as_u64() >= Some(least), "{last}");
    assert_eq!((&numbers["wrong"], &numbers["canaries_found"]), (&0.into(), &0.into()), "{last}");
    scratch.nothing_is_left();
}

fn attacks(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attacks"));
    command.args(arguments).env("TMPDIR", scratch.temp());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
