//! The binary `platform` and the processes that it starts.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Scratch, interrupt};

pub(crate) const PLATFORM: &str = env!("CARGO_BIN_EXE_platform");

/// One that runs, and where.
pub(crate) struct Server {
    pub(crate) child: Child,
    lines: Receiver<String>,
    /// What it said and no test has asked for yet.
    untaken: Vec<String>,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it runs");
        let lines = lines_of(child.stdout.take().expect("it is read"));
        let Ok(first) = lines.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let mut errors = String::new();
            let _ = child.stderr.take().expect("it is read").read_to_string(&mut errors);
            panic!("it never said how to reach it: {errors}");
        };
        let (_, rest) = first.split_once("http://").expect(&first);
        let address = rest.trim_end_matches('/').to_owned();
        Self { child, lines, untaken: Vec::new(), address }
    }

    /// Reads what it says until there was a line for each of these beginnings, in any order: what
    /// happens to one service waits for no other. Indentation does not count.
    ///
    /// A line is taken once, the oldest first, and what was read past is kept: on a busy machine a
    /// service may be ready before it is said of the next one that it was created.
    pub(crate) fn read_to(&mut self, beginnings: &[&str]) {
        for beginning in beginnings {
            self.line(beginning);
        }
    }

    /// The whole line that begins so.
    pub(crate) fn line(&mut self, beginning: &str) -> String {
        let is_it = |line: &String| line.trim_start().starts_with(beginning);
        let at = self.untaken.iter().position(is_it).unwrap_or_else(|| {
            loop {
                match self.lines.recv_timeout(PATIENCE) {
                    Ok(line) => self.untaken.push(line),
                    Err(why) => {
                        self.say_all_it_knows(why);
                        panic!("it never said {beginning:?}:\n{}", self.untaken.join("\n"));
                    }
                }
                if self.untaken.last().is_some_and(is_it) {
                    break self.untaken.len() - 1;
                }
            }
        });
        self.untaken.remove(at)
    }

    /// One that hangs is asked what it waits for.
    fn say_all_it_knows(&mut self, why: RecvTimeoutError) {
        if why == RecvTimeoutError::Timeout {
            self.signal(Signal::USR1);
            while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
                self.untaken.push(line);
            }
        }
    }

    /// All that it says to its end, and has said since a line was asked for last.
    pub(crate) fn rest(&mut self) -> String {
        self.untaken.drain(..).chain(self.lines.iter()).collect::<Vec<_>>().join("\n")
    }

    /// What it has said that no test has asked for.
    pub(crate) fn so_far(&mut self) -> String {
        self.untaken.extend(self.lines.try_iter());
        self.untaken.join("\n")
    }

    /// The status and the body that this host answers with.
    pub(crate) fn ask(&self, host: &str) -> String {
        ask(self.address.parse().expect("an address"), host, "/")
    }

    /// As the power does, and a kernel that is out of memory.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill_process(id.expect("not zero"), signal).expect("it lives");
    }

    /// Ctrl-C, and its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        interrupt(&self.child);
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    /// A test that failed leaves none running.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            interrupt(&self.child);
            let _ = self.child.wait();
        }
    }
}

/// What it says, line by line, read by a thread: so that a test can give up waiting for it.
fn lines_of(said: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    #[expect(clippy::disallowed_methods, reason = "it ends with the program that it reads from")]
    std::thread::spawn(move || {
        let lines = BufReader::new(said).lines();
        lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

/// The status and the body that a host answers with.
pub(crate) fn ask(address: SocketAddr, host: &str, path: &str) -> String {
    let host = if host.contains(' ') { "localhost".into() } else { format!("{host}.localhost") };
    let mut stream = TcpStream::connect(address).expect("it listens");
    // Longer than a request may wait here, so that it is an answer that a test sees.
    stream.set_read_timeout(Some(Duration::from_secs(150))).expect("a time");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
        .expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("answered");
    let (head, body) = response.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).expect("a status");
    format!("{status} {}", body.trim())
}

/// The binary with these arguments, in the directory of the test, at a free port.
pub(crate) fn platform(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(PLATFORM);
    let (listen, rest) = match arguments.split_first() {
        Some((&"run", rest)) => (&["run", "--listen", "127.0.0.1:0"][..], rest),
        _ => (&["--listen", "127.0.0.1:0"][..], arguments),
    };
    command.args(listen).args(rest);
    at(scratch, command)
}

/// The same at a socket that the test has, as a supervisor does.
pub(crate) fn platform_at(scratch: &Scratch, socket: &TcpListener, arguments: &[&str]) -> Command {
    let mut command = Command::new(PLATFORM);
    let handed = OwnedFd::from(socket.try_clone().expect("a descriptor more"));
    command.args(["--listen", "stdin"]).args(arguments).stdin(handed);
    at(scratch, command)
}

fn at(scratch: &Scratch, mut command: Command) -> Command {
    command
        .current_dir(&scratch.0)
        .env("TMPDIR", scratch.temp())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Puts a file of services in its place, in one step, as editors do.
pub(crate) fn write(scratch: &Scratch, text: &str) {
    fs::write(scratch.0.join("new"), text).expect("written");
    fs::rename(scratch.0.join("new"), scratch.0.join("services.toml")).expect("moved");
}

/// Instances of the sample app that live below a directory: process id, and its command line.
pub(crate) fn instances(home: &Path) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let lives_there =
            fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(home));
        let command = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if lives_there && command.contains("sample-app") {
            found.push((id, command.replace('\0', " ").trim().to_owned()));
        }
    }
    found.sort();
    found
}

/// How long a machine that has much else to do may take to say the next line.
const PATIENCE: Duration = Duration::from_secs(100);
