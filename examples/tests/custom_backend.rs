//! `custom_backend`, as it is called.

use std::process::Command;

#[test]
fn an_embedders_own_backend_passes_the_kit_in_a_page() {
    let output = Command::new(env!("CARGO_BIN_EXE_custom_backend")).output().expect("it runs");
    let said = String::from_utf8(output.stdout).expect("it prints text");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("conformance of tasks: ") && said.contains(" 0 failed"), "{said}");
    let code = include_str!("../src/bin/custom_backend.rs");
    // What it imports is not what it takes, and what follows is the kit's part.
    let from = code.find("/// The engine").expect("it begins");
    let (backend, _) = code[from..].split_once("struct RealTime;").expect("and ends");
    let lines = backend.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//"));
    assert!(lines.count() <= 80, "a backend of one's own is meant to be a page of code");
}

#[test]
fn it_says_how_it_is_called_and_what_is_wrong() {
    for (argument, code, said) in [
        (
            "--help",
            0,
            "custom_backend: a backend of one's own, held to the contract\n\nusage: custom_backend [--help]\n",
        ),
        ("--hlep", 2, "custom_backend: `--hlep` is no flag; see --help\n"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_custom_backend")).arg(argument).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{argument}");
        assert_eq!(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()), said);
    }
}
