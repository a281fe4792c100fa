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
    // Every example here is also the sample app; a program of one's own is not.
    let code = code.replace("runner_examples::sample_app::run_if_asked();", "");
    let lines = code.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//"));
    assert!(lines.count() <= 40, "the layer is meant to be embedded in a page of code");
}
