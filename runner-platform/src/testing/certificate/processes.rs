//! Instances as processes: found in `/proc` by their command line, hurt by signals.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::roles::{MARK, Role};

/// A process of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) process: u32,
    pub(super) role: Role,
}

impl Found {
    /// Whose instance it is; nothing of what is none.
    pub(super) fn service(&self) -> Option<&str> {
        match &self.role {
            Role::App(app) => Some(&app.service),
            _ => None,
        }
    }

    /// What it was started as, for people.
    pub(super) fn words(&self) -> String {
        self.role.words().join(" ")
    }
}

/// All instances of a test, and what they started.
pub(super) fn of_run(run: &str) -> Vec<Found> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter_map(|process| role_of(process, run).map(|role| Found { process, role }))
        .collect()
}

/// What this process is in this test, if it is of it.
fn role_of(process: u32, run: &str) -> Option<Role> {
    let line = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let line = String::from_utf8(line).ok()?;
    let words: Vec<String> = line.split_terminator('\0').skip(1).map(str::to_owned).collect();
    if words.first().map(String::as_str) != Some(MARK) {
        return None;
    }
    let role = Role::of(&words)?;
    let is_of_it = match &role {
        Role::App(app) => app.run == run,
        Role::Child(of) => of == run,
        _ => false,
    };
    is_of_it.then_some(role)
}

/// Sends a signal to it, if it still is what it was; whether it was sent.
pub(super) fn signal(found: &Found, run: &str, signal: Signal) -> bool {
    let Some(id) = i32::try_from(found.process).ok().and_then(Pid::from_raw) else { return false };
    // Held first and looked at then: the number may be another's by now.
    let Ok(held) = pidfd_open(id, PidfdFlags::empty()) else { return false };
    role_of(found.process, run).as_ref() == Some(&found.role)
        && pidfd_send_signal(held, signal).is_ok()
}

/// Ends all that is left of a test.
pub(super) fn end_all(run: &str) {
    for _ in 0..ROUNDS {
        let left = of_run(run);
        if left.is_empty() {
            return;
        }
        for found in &left {
            signal(found, run, Signal::KILL);
        }
    }
}

/// What starts another as it is ended is ended in the next round.
const ROUNDS: usize = 1_000;
