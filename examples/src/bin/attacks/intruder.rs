//! What an instance tries on what is around it.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
};

use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};

/// Tries something, as the query of a request says it: `read=/etc/hostname`. Answers whether it
/// could, and what it found.
pub(crate) fn attempt(what: &str) -> Value {
    let (verb, of) = what.split_once('=').unwrap_or((what, ""));
    let could = |found: Result<String, String>| match found {
        Ok(found) => json!({ "could": true, "found": found }),
        Err(why) => json!({ "could": false, "found": why }),
    };
    let said = |error: std::io::Error| error.to_string();
    let process = |file: &str| Path::new("/proc").join(of).join(file);
    could(match verb {
        "read" => {
            fs::read(of).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(said)
        }
        "list" => fs::read_dir(of).map_err(said).map(|entries| {
            let names =
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.collect::<Vec<_>>().join(" ")
        }),
        // Opened and not written to: that it could is enough.
        "write" => File::options().write(true).open(of).map(|_| String::new()).map_err(said),
        "make" => {
            let path = Path::new(of).join("made-by-an-intruder");
            let made = File::create(&path).map(|_| String::new()).map_err(said);
            let _ = fs::remove_file(path);
            made
        }
        "environment" => fs::read(process("environ"))
            .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', "\n"))
            .map_err(said),
        // The right to look into its memory is the right to hold and change it.
        "memory" => File::open(process("mem")).map(|_| String::new()).map_err(said),
        "files" => fs::read_dir(process("fd")).map_err(said).map(|entries| {
            let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
            targets
                .map(|target| target.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join("\n")
        }),
        "signal" => match of.parse().ok().and_then(Pid::from_raw) {
            Some(pid) => {
                test_kill_process(pid).map(|()| String::new()).map_err(|error| error.to_string())
            }
            None => Err("no process".into()),
        },
        "status" => fs::read_to_string(process("status")).map_err(said),
        "connect" => {
            let port = of.parse().unwrap_or(0);
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(|_| String::new()).map_err(said)
        }
        "listen" => {
            let port = of.parse().unwrap_or(0);
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|_| String::new()).map_err(said)
        }
        "socket" => UnixStream::connect(of).map(|_| String::new()).map_err(said),
        "sockets" => fs::read_to_string("/proc/net/unix").map_err(said).map(|all| {
            let bound = all.lines().filter_map(|line| line.split_whitespace().nth(7));
            bound.filter(|path| path.contains(of)).collect::<Vec<_>>().join("\n")
        }),
        _ => Err(format!("`{verb}` is nothing it tries")),
    })
}
