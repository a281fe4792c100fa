//! `burst`, as it is called, with bursts that are over sooner.

use std::process::Command;

#[test]
fn here_nobody_is_refused_whom_the_service_could_hold_and_by_the_other_rules_some_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_burst"))
        // Requests hold their slots, and starts take, much longer than a burst takes to be sent.
        .args(["--start-ms", "3000", "--work-ms", "3000", "--bursts", "1"])
        .output()
        .expect("it runs");
    let said = String::from_utf8(output.stdout).expect("it prints text");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let row = |name: &str| -> Vec<u64> {
        let line = said.lines().rfind(|line| line.starts_with(name)).expect(name);
        line[name.len()..].split_whitespace().map(|word| word.parse().expect(line)).collect()
    };
    assert_eq!(row("requests"), [40, 40]);
    assert_eq!(row("lost"), [0, 0]);
    assert_eq!(row("answered")[0], 40, "{said}");
    let refused = row("refused");
    // One instance takes ten, and one may wait: the others are refused.
    assert!(refused[0] == 0 && refused[1] >= 20, "{said}");
}

#[test]
fn what_it_does_not_understand_it_says() {
    let output = Command::new(env!("CARGO_BIN_EXE_burst")).arg("--cap").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "burst: --cap needs a value; see --help\n");
}
