//! What tests of binaries that start processes share.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{fs, path::PathBuf, process::Child};

use rustix::process::{Pid, Signal, kill_process};

/// A directory of the test's own with another for temporary files in it, removed after it.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("runner-examples-test-{}-{name}", std::process::id());
        let scratch = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(scratch.temp()).expect("made");
        scratch
    }

    pub(crate) fn temp(&self) -> PathBuf {
        self.0.join("temp")
    }

    /// No temporary file, and no process that lives in one of these directories.
    pub(crate) fn nothing_is_left(&self) {
        let left: Vec<_> = fs::read_dir(self.temp()).expect("there").collect();
        assert!(left.is_empty(), "{left:?}");
        for process in fs::read_dir("/proc").expect("Linux").flatten() {
            let home = fs::read_link(process.path().join("cwd")).unwrap_or_default();
            assert!(!home.starts_with(&self.0), "{:?} lives in {home:?}", process.path());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whose turn it is, of tests that load the machine: side by side they would find each other slow.
#[expect(clippy::disallowed_types, reason = "it is a queue of tests, some of which are async")]
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    let id = Pid::from_raw(child.id().try_into().expect("a process id")).expect("not zero");
    kill_process(id, Signal::INT).expect("it lives");
}
