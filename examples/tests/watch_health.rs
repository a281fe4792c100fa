//! `watch_health`, as it is called.
#![cfg(unix)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    os::fd::OwnedFd,
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::{
    net::{AddressFamily, SocketType, bind, getsockname, socket},
    process::{Pid, Signal, kill_process},
};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watch_health"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (status.code(), text(stdout), text(stderr))
}

/// A running watcher and its lines.
struct Watcher {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watcher {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).spawn().expect("it runs");
        let stdout: ChildStdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = mpsc::channel();
        #[expect(clippy::disallowed_methods, reason = "the pipe has to be read beside the test")]
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(100)).expect("it prints a line")
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill_process(id.expect("not zero"), signal).expect("it lives");
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves `200` to everybody after `takes`, or closes without an answer while it is torn.
fn serve(listener: &TcpListener, takes: Duration, torn: &Arc<AtomicBool>) -> mpsc::Receiver<()> {
    let (listener, torn) = (listener.try_clone().expect("a socket"), Arc::clone(torn));
    let (asked, requests) = mpsc::channel();
    #[expect(clippy::disallowed_methods, reason = "the app that is watched")]
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut head = BufReader::new(&stream);
            let mut line = String::new();
            while head.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let _ = asked.send(());
            #[expect(clippy::disallowed_methods, reason = "the app takes its time")]
            thread::sleep(takes);
            if torn.load(Ordering::Relaxed) {
                continue;
            }
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    requests
}

/// A port at which nobody listens, nor will: it is bound as long as this is held.
fn nobody() -> (OwnedFd, u16) {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = getsockname(&socket).expect("bound");
    let address = SocketAddrV4::try_from(address).expect("of that family");
    (socket, address.port())
}

#[test]
fn changes_are_printed_with_their_reason_and_ctrl_c_ends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    serve(&listener, Duration::ZERO, &Arc::default());
    let well = format!("http://{}/health", listener.local_addr().expect("an address"));
    let (_bound, port) = nobody();
    let nobody = format!("tcp://127.0.0.1:{port}");
    // The one that is well has all of it, the other waits for its end.
    let mut watcher = Watcher::start(&["--allowance", "8s", "--interval", "200ms", &well, &nobody]);
    assert_eq!(watcher.line(), "watching 2 addresses, every 200ms");
    let line = watcher.line();
    let ready = format!("  {well}  starting -> ready: readiness passed once: it answered 200");
    assert!(line.ends_with(&ready) && line.contains('T') && line.contains('Z'), "{line}");
    let line = watcher.line();
    let never = format!(
        "  {nobody}  starting -> never ready: readiness did not pass within 8s; at last: the \
         connection was refused: nothing listens there"
    );
    assert!(line.ends_with(&never), "{line}");
    watcher.signal(Signal::INT);
    assert_eq!(watcher.line(), format!("{well} is ready"));
    assert_eq!(watcher.line(), format!("{nobody} is never ready"));
    assert_eq!(watcher.child.wait().expect("it ends").code(), Some(0));
}

/// Eight seconds are beyond every time-out and threshold here; `STOPPED_SECONDS=60` makes it a
/// minute. Time-outs are long, so that none comes but from the stop.
#[test]
fn a_watcher_that_was_stopped_ejects_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let torn = Arc::new(AtomicBool::new(false));
    // Long enough to be stopped meanwhile.
    let takes = Duration::from_millis(500);
    let requests = serve(&listener, takes, &torn);
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let seconds = std::env::var("STOPPED_SECONDS").ok().and_then(|text| text.parse().ok());
    let stopped = Duration::from_secs(seconds.unwrap_or(8));
    let watcher = Watcher::start(&["--interval", "20ms", "--timeout", "6s", "--fall", "1", &url]);
    assert!(watcher.line().starts_with("watching 1 address,"));
    assert!(watcher.line().contains("starting -> ready"));
    requests.try_iter().for_each(drop);
    requests.recv_timeout(Duration::from_secs(100)).expect("the next attempt is under way");
    watcher.signal(Signal::STOP);
    torn.store(true, Ordering::Relaxed);
    #[expect(clippy::disallowed_methods, reason = "the stop is what is tested")]
    thread::sleep(stopped);
    torn.store(false, Ordering::Relaxed);
    watcher.signal(Signal::CONT);
    let after = watcher.lines.recv_timeout(Duration::from_secs(1));
    assert_eq!(after, Err(mpsc::RecvTimeoutError::Timeout), "no verdict changed");
    torn.store(true, Ordering::Relaxed);
    assert!(watcher.line().contains("ready -> unready: readiness failed once"), "it is awake");
}

#[test]
fn wrong_calls_are_refused_with_what_is_right() {
    for (arguments, right) in [
        (&[][..], "name at least one address"),
        (&["localhost:80"], "write http://host:port/path, tcp://host:port or grpc://host:port"),
        (&["ftp://localhost:21"], "write http://host:port/path"),
        (&["https://localhost"], "probes speak no TLS"),
        (&["tcp://localhost"], "name the port"),
        (&["tcp://localhost:0"], "write 1 to 65535"),
        (&["tcp://localhost:1/path"], "a port has no path"),
        (&["tcp://localhost:70000"], "is not found"),
        (&["--colour", "tcp://localhost:1"], "unknown flag --colour"),
        (&["--interval"], "--interval needs a value"),
        (&["--interval", "5", "tcp://localhost:1"], "such as 500ms or 5s"),
        (&["--fall", "0", "tcp://localhost:1"], "write a number from 1 to 1000"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains(right), "{arguments:?}: {stderr}");
        assert!(stderr.contains("usage: watch_health"), "{stderr}");
    }
    let (code, stdout, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("usage: watch_health"));
}
