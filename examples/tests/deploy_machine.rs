//! `deploy_machine`, as it is called.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> (Output, String) {
    let program = env!("CARGO_BIN_EXE_deploy_machine");
    let output = Command::new(program).args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

#[test]
fn it_tells_the_story_of_a_deployment_to_its_end() {
    let (output, said) = run(&[]);
    assert!(output.status.success(), "{said}");
    let stages = [
        "Deployment of revision 2 started",
        "Successfully routed incoming traffic to the new revision",
        "Going back to the old revision",
        "Failed(Cause { code: ErrorShare",
    ];
    let mut rest = said.as_str();
    for stage in stages {
        let at = rest.find(stage).unwrap_or_else(|| panic!("`{stage}` is not told then: {said}"));
        rest = &rest[at..];
    }
}

#[test]
fn without_a_guard_it_shows_the_way_to_disaster() {
    for (guard, broken) in [
        ("drain-before-stop", "nothing is stopped before"),
        ("probe-before-trust", "traffic points only at instances that are ready"),
        ("stop-after-failed-start", "no instance is orphaned"),
        ("replace-the-lost", "nothing that may be relied on leads to rest"),
    ] {
        let (output, said) = run(&["--break", guard]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{errors}");
        assert!(said.contains("  1. ") && said.contains(broken), "{said}{errors}");
    }
}

#[test]
fn what_it_does_not_know_it_refuses_with_the_usage() {
    let (output, said) = run(&["--faster"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(format!("{said}{errors}").contains("usage: deploy_machine"), "{said}{errors}");
}

#[test]
fn it_says_how_it_is_called() {
    let (output, said) = run(&["--help"]);
    assert!(output.status.success());
    assert_eq!(said, "usage: deploy_machine [--break GUARD]\n");
}
