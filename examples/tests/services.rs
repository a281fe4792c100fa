//! Services that call each other, as processes: published ones others that are not, by
//! `$RUNNER_SERVICES`.

#[path = "platform/server.rs"]
#[expect(dead_code, reason = "what other tests of the binary need")]
mod server;
mod support;

use std::{fmt::Write as _, net::SocketAddr};

use runner_examples::sample_app::SampleApp;

use server::{PLATFORM, Server, ask, platform, write};
use support::Scratch;

/// A file of services of the sample app: name, and what else is to be said of it.
fn services(all: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, more) in all {
        let command = SampleApp::new(name).command_of(PLATFORM);
        let _ = write!(
            text,
            "[services.{name}]\nsource = {{ command = {command:?} }}\n\
             deployment = {{ bake = \"0s\" }}\n{more}\n"
        );
    }
    text
}

const HIDDEN: &str = "routing = { published = false }";

#[test]
fn they_call_each_other_by_name_and_those_outside_do_not() {
    let scratch = Scratch::new("services");
    let own = "environment = { RUNNER_SERVICES = \"http://127.0.0.1:1\" }";
    let all = [("front", ""), ("middle", HIDDEN), ("last", HIDDEN), ("stubborn", own)];
    write(&scratch, &services(&all));
    let mut server =
        Server::start(platform(&scratch, &["--inner", "127.0.0.1:0", "services.toml"]));
    let line = server.line("services reach each other at ");
    let door = line.split_once("http://").and_then(|(_, rest)| rest.split_once(": curl "));
    let door: SocketAddr = door.expect(&line).0.parse().expect("an address");
    assert!(door.ip().is_loopback(), "{line}");
    for (name, _) in all {
        server.read_to(&[&format!("{name}: The operation completed")]);
    }
    let outside =
        |host: &str, path: &str| ask(server.address.parse().expect("an address"), host, path);
    let chain = outside("front", "/call?to=middle/call?to=last.internal");
    assert_eq!(chain, "200 front > 200 middle > 200 last");
    assert!(outside("front", "/call?to=nobody").starts_with("200 front > 404 "));
    assert!(outside("middle", "/").starts_with("404 "), "it is not published");
    assert!(outside("stubborn", "/call?to=last").starts_with("200 stubborn > nobody: "));
    let mut circle = "/call?to=front".repeat(30);
    circle.push('/');
    let ended = outside("front", &circle);
    assert!(ended.contains("508 ") && ended.contains("too_many_hops"), "{ended}");
    assert_eq!(server.end(), Some(0));
    scratch.nothing_is_left();
}
