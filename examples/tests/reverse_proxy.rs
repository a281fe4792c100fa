//! `reverse_proxy`, as it is called.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

/// An upstream that answers everything with its name, until its listener is dropped.
fn upstream(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    // Ends with the test's process: it waits for nothing but its next client.
    #[expect(clippy::disallowed_methods, reason = "an upstream has a life of its own")]
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
            // A request without a body ends in an empty line.
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let length = name.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{name}"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).expect("it answers");
    heard
}

#[test]
fn it_balances_between_its_addresses_and_drains_when_it_is_interrupted() {
    let (one, two) = (upstream("one"), upstream("two"));
    let mut proxy = Proxy(
        Command::new(env!("CARGO_BIN_EXE_reverse_proxy"))
            .args(["--listen", "127.0.0.1:0", "--cap", "2", &one.to_string(), &two.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs"),
    );
    let mut said = BufReader::new(proxy.0.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it says where it listens");
    let address = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
    let heard: Vec<_> = (0..8).map(|_| ask(&address)).collect();
    for name in ["one", "two"] {
        let count = heard.iter().filter(|answer| answer.ends_with(name)).count();
        assert_eq!(count, 4, "{name} in {heard:?}");
    }
    let interrupted =
        Command::new("kill").args(["-INT", &proxy.0.id().to_string()]).status().expect("it runs");
    assert!(interrupted.success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("it ends");
    assert!(proxy.0.wait().expect("it ended").success(), "{rest}");
    assert!(rest.contains("drained; cut off: Drained { plain: 0"), "{rest}");
    assert!(rest.contains('8'), "its counters: {rest}");
}

#[test]
fn it_says_how_it_is_called_and_what_is_wrong() {
    let call = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_reverse_proxy")).args(words).output();
        let output = output.expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).expect("it prints text"))
    };
    let (fine, said) = call(&["--help"]);
    assert!(fine && said.contains("--listen") && said.contains("--cap"), "{said}");
    for words in [&["--cap", "many"][..], &["--cap"], &["nowhere"]] {
        let (fine, said) = call(words);
        assert!(!fine && said.starts_with("Error: "), "{said}");
    }
    let code = include_str!("../src/bin/reverse_proxy.rs");
    assert!(code.lines().count() <= 60, "a proxy is a page of code");
}
