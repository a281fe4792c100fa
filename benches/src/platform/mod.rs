//! How soon does a platform do what it is asked, and what does it cost while it is asked nothing?
//!
//! Times are the 95th percentile of two hundred, and where an app starts its own start is taken
//! off: the middle one of as many bare spawns of the same program in the same run. Everything goes
//! the way of an embedding program: commands by the handle, requests by the whole data path.

mod fleets;
mod journal;
mod processes;

use std::{fmt, time::Duration};

pub use fleets::{Idle, idle_services};

/// One thing that was measured, and what it was meant to be.
#[derive(Clone, Debug)]
pub struct Line {
    question: String,
    measured: String,
    bound: String,
    held: bool,
}

impl Line {
    /// A time that may be so long.
    fn at_most(question: impl Into<String>, measured: Duration, bound: Duration) -> Self {
        Self {
            question: question.into(),
            measured: format!("{:.1} ms", measured.as_secs_f64() * 1e3),
            bound: format!("{} ms", bound.as_millis()),
            held: measured <= bound,
        }
    }

    /// A number that may be so large.
    fn number(
        question: impl Into<String>,
        (measured, bound): (f64, f64),
        unit: &'static str,
    ) -> Self {
        Self {
            question: question.into(),
            measured: format!("{measured:.2} {unit}"),
            bound: format!("{bound} {unit}"),
            held: measured <= bound,
        }
    }

    /// Something to know, without a bound.
    fn stated(question: impl Into<String>, measured: impl Into<String>) -> Self {
        let (question, measured) = (question.into(), measured.into());
        Self { question, measured, bound: "stated".to_owned(), held: true }
    }

    /// Whether its bound holds.
    pub fn held(&self) -> bool {
        self.held
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { question, measured, bound, held } = self;
        let missed = if *held { "" } else { "  MISSED" };
        write!(f, "{question:<58} {measured:>14}   of {bound}{missed}")
    }
}

/// How much of each is done.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "sizes of one program")]
pub struct Size {
    /// How often each is timed.
    pub rounds: usize,
    /// Services that have nothing to do.
    pub idle: usize,
    /// Services of which each has a request a second.
    pub busy: usize,
    /// Operations of which a journal has a record.
    pub operations: u64,
}

impl Size {
    /// As the bounds mean it.
    pub const WHOLE: Self = Self { rounds: 200, idle: 10_000, busy: 1_000, operations: 1_000_000 };
    /// To see that it works.
    pub const SMALL: Self = Self { rounds: 4, idle: 300, busy: 20, operations: 5_000 };
}

/// A question, by the name by which it is asked alone.
pub type Question = fn(Size) -> Vec<Line>;

/// All questions.
pub const QUESTIONS: [(&str, Question); 8] = [
    ("deployment", processes::deployments),
    ("wake", processes::wakes),
    ("rollback", processes::rollbacks),
    ("standby", processes::thaws),
    ("decision", fleets::decisions),
    ("control", fleets::control_calls),
    ("idle", fleets::idle),
    ("journal", journal::million),
];

/// The value that at least this part of the samples do not exceed.
fn quantile(samples: &mut [Duration], part: f64) -> Duration {
    samples.sort_unstable();
    let rank = (samples.len() as f64 * part).ceil() as usize;
    samples[rank.clamp(1, samples.len()) - 1]
}

/// A directory of its own, removed after it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("runner-bench-platform-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}
