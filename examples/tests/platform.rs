//! `platform`, as it is called: a file of services, and one's own program.

#[path = "platform/restarts.rs"]
mod restarts;
#[path = "platform/server.rs"]
mod server;
mod support;

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use runner_examples::sample_app::{Failure, SampleApp};
use server::{PLATFORM, Server, platform};
use support::{Scratch, interrupt};

#[test]
fn a_file_is_served_and_followed_as_it_changes() {
    let scratch = Scratch::new("file");
    write(&scratch, &[("shop", "v1", 10), ("api", "a1", 10)]);
    let mut server = Server::start(platform(&scratch, &["services.toml"]));
    server.read_to(&["shop: created", "api: created"]);
    assert_eq!(server.ask("api"), "200 a1", "its first request waits for its first instance");
    // Both, or the end of the first operation would be read as that of the deployment below.
    server.read_to(&["api: The operation completed", "shop: The operation completed"]);

    write(&scratch, &[("shop", "v2", 20)]);
    server.read_to(&[
        "shop:   scaling.cap  10 -> 20",
        "shop: by a deployment:",
        "api: deleted",
        "api: The operation completed",
        "shop: The operation completed",
    ]);
    assert_eq!(server.ask("shop"), "200 v2");

    fs::write(scratch.0.join("services.toml"), "prot = 1").expect("written");
    server.read_to(&["services.toml:1:1: prot: is no field here; did you mean `port`?"]);
    assert_eq!(server.ask("shop"), "200 v2");
    assert!(server.ask("api").starts_with("404 "), "it was deleted");

    interrupt(&server.child);
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
    scratch.nothing_is_left();
}

#[test]
fn ones_own_program_is_served_in_its_own_directory() {
    let scratch = Scratch::new("program");
    let command = SampleApp::new("mine").command_of("./app");
    std::os::unix::fs::symlink(PLATFORM, scratch.0.join("app")).expect("linked");
    let mut arguments = vec!["run", "--cap", "10", "--max", "4", "--"];
    arguments.extend(command.iter().map(String::as_str));
    let mut server = Server::start(platform(&scratch, &arguments));
    server.read_to(&["app: The operation completed", "app/1 | mine listens on port"]);
    assert_eq!(server.ask("any host"), "200 mine");
    interrupt(&server.child);
    let rest = server.rest();
    assert!(rest.contains("app/1 | it was asked to end, and has"), "its last words: {rest}");
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
    scratch.nothing_is_left();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what it does not wait for is real time")]
fn a_second_ctrl_c_does_not_wait_for_what_does_not_end() {
    let scratch = Scratch::new("stubborn");
    let command = SampleApp::new("mine").fails(Failure::IgnoresTerm).command_of(PLATFORM);
    // Politely it would take all of an hour.
    let text = format!(
        "name = \"app\"\nsource = {{ command = {command:?} }}\n\
         instance = {{ memory = \"64 MB\", stop_grace = \"1h\" }}\n\
         deployment = {{ bake = \"0s\" }}\n"
    );
    server::write(&scratch, &text);
    let mut server = Server::start(platform(&scratch, &["--grace", "1h", "services.toml"]));
    server.read_to(&["app: The operation completed"]);
    let began = Instant::now();
    interrupt(&server.child);
    server.read_to(&["Ending: "]);
    interrupt(&server.child);
    server.read_to(&["Ending at once."]);
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(600), "{:?}", began.elapsed());
    scratch.nothing_is_left();
}

#[test]
fn a_program_that_cannot_be_served_ends_it_with_the_cause() {
    let scratch = Scratch::new("absent");
    let command = platform(&scratch, &["run", "--", "cat", "there-is-no-such-file"]);
    // If it goes on instead it is interrupted, and what it said tells why it did.
    let mut patience = Command::new("timeout");
    patience.args(["--signal=INT", "60"]).arg(command.get_program()).args(command.get_args());
    patience.current_dir(&scratch.0).env("TMPDIR", scratch.temp());
    let output = patience.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let errors = String::from_utf8_lossy(&output.stderr);
    let cause = "platform: app: it failed: the process ended before it was ready; exit code 1";
    assert!(errors.starts_with(cause) && errors.contains("there-is-no-such-file"), "{errors}");
    scratch.nothing_is_left();
}

#[test]
fn what_it_does_not_understand_it_says() {
    for (arguments, said) in [
        (&[][..], "it takes a file of services, or `run -- COMMAND`"),
        (&["run"][..], "there is no command; write it behind `--`"),
        (&["run", "--cap", "many", "--"][..], "--cap: `many` is no number that fits"),
        (
            &["--listen", "8080", "a.toml"][..],
            "`8080` is no address; write one such as 127.0.0.1:8080",
        ),
        (&["a.toml", "b.toml"][..], "there is a file already, and `b.toml` is another"),
        (
            &["run", "--leave", "--", "a"][..],
            "--leave needs --state: what goes on has to be found again",
        ),
        (
            &["--grace", "10", "a.toml"][..],
            "--grace: `10` is no span; write one such as 500ms or 10s",
        ),
        (&["--lisen"][..], "`--lisen` is no flag"),
    ] {
        let output = Command::new(PLATFORM).args(arguments).output().expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(errors, format!("platform: {said}; see --help\n"));
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
}

/// Writes a file of services of the sample app: name, version and cap.
fn write(scratch: &Scratch, services: &[(&str, &str, u32)]) {
    let text: String = services
        .iter()
        .map(|(name, version, cap)| {
            let command = SampleApp::new(version).command_of(PLATFORM);
            format!(
                "[services.{name}]\nsource = {{ command = {command:?} }}\n\
                 instance = {{ memory = \"64 MB\" }}\nscaling = {{ cap = {cap} }}\ndeployment = {{ bake = \"0s\" }}\n"
            )
        })
        .collect();
    server::write(scratch, &text);
}
