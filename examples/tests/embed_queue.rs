//! `embed_queue`, as it is called.

use std::process::Command;

#[test]
fn it_serves_what_fits_holds_what_can_wait_and_refuses_the_rest_with_a_reason() {
    let output = Command::new(env!("CARGO_BIN_EXE_embed_queue")).output().expect("it runs");
    let said = String::from_utf8(output.stdout).expect("it prints text");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("20 requests at once:\n  20 x 200 served"), "{said}");
    assert!(said.contains("x 429 too many requests: the wait would be"), "{said}");
    assert!(said.contains("refused as would_wait_too_long"), "{said}");
    let code = include_str!("../src/bin/embed_queue.rs");
    let lines = code.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//"));
    assert!(lines.count() <= 40, "the layer is meant to be embedded in a page of code");
}

#[test]
fn it_says_how_it_is_called_and_what_is_wrong() {
    for (argument, code, said) in [
        (
            "--help",
            0,
            "embed_queue: the overflow queue in an axum program\n\nusage: embed_queue [--help]\n",
        ),
        ("--hlep", 2, "embed_queue: `--hlep` is no flag; see --help\n"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_embed_queue")).arg(argument).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{argument}");
        assert_eq!(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()), said);
    }
}
