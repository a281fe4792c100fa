//! What an instance does with its life, as a plain value.

use std::time::Duration;

use crate::{
    Error,
    backend::{Exit, ExitStatus, OutputStream},
    time::Timestamp,
};

/// How one instance of the in-memory engine behaves, from its start to its end.
///
/// All times count from its start unless said otherwise. Freezing does not stop them: a fake whose
/// deaths move when it is frozen would hide the races that they are for.
///
/// ```
/// use runner_core::testing::backend::{Answers, Life, OnStop};
/// use std::time::Duration;
///
/// let slow_and_sick = Life::serving()
///     .listens_after(Duration::from_secs(3))
///     .answers(Answers::Badly)
///     .on_stop(OnStop::Ignores);
/// assert_ne!(slow_and_sick, Life::serving());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub(super) listens: Option<Duration>,
    pub(super) port: Option<u16>,
    pub(super) answers: Answers,
    pub(super) ends: Option<(Ends, Exit)>,
    pub(super) on_stop: OnStop,
    pub(super) writes: Vec<(Duration, OutputStream, String)>,
    pub(super) cpu_millis: u32,
    pub(super) memory_bytes: u64,
}

/// What probes and requests find where an instance listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a simulation has to answer each")]
pub enum Answers {
    /// Good answers.
    Well,
    /// Answers that fail a probe.
    Badly,
    /// Good answers from this age on.
    WellAfter(Duration),
    /// Good answers up to this age.
    BadlyAfter(Duration),
}

/// What an instance does when it is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an engine has to act on each")]
pub enum OnStop {
    /// It ends with code 0 after this long, or is killed when the grace is over before.
    EndsAfter(Duration),
    /// It goes on until it is killed at the end of the grace.
    Ignores,
    /// Even killing takes this much longer than the grace, as with a disk that does not answer.
    HangsFor(Duration),
    /// Nothing ends it until [`Engine::release`](super::Engine::release).
    HangsUntilReleased,
}

/// When an instance ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    After(Duration),
    At(Timestamp),
    AfterRequests(u64),
}

impl Life {
    /// Listens at once where it was told to, answers well, lives until it is stopped, and then
    /// ends at once.
    pub fn serving() -> Self {
        Self {
            listens: Some(Duration::ZERO),
            port: None,
            answers: Answers::Well,
            ends: None,
            on_stop: OnStop::EndsAfter(Duration::ZERO),
            writes: Vec::new(),
            cpu_millis: 100,
            memory_bytes: 64 << 20,
        }
    }

    /// Writes nothing, listens nowhere and ends by itself.
    pub fn ending(after: Duration, exit: impl Into<Exit>) -> Self {
        Self::serving().never_listens().ends_after(after, exit)
    }

    /// The life that a command stands for, so that a test names it where a real one would name a
    /// program: `exit N`, `ignore-stop`, `print LINE`, `listen-after MILLISECONDS`. Whatever else
    /// is a program that serves.
    ///
    /// # Errors
    ///
    /// `missing` is the program that is not there.
    pub fn of_command(command: &[String]) -> Result<Self, Error> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            ["missing", ..] => {
                return Err(Error::not_found(
                    "there is no program `missing`; give the command one that is there",
                ));
            }
            ["exit", code] if code.parse::<i32>().is_ok() => {
                let code = code.parse().map_or(ExitStatus::Unknown, ExitStatus::Code);
                Self::ending(Duration::from_millis(20), code)
            }
            ["listen-after", age] if age.parse::<u64>().is_ok() => {
                Self::serving().listens_after(Duration::from_millis(age.parse().unwrap_or(0)))
            }
            ["ignore-stop"] => Self::serving().on_stop(OnStop::Ignores),
            ["print", line] => Self::serving().writes(Duration::ZERO, OutputStream::Stdout, *line),
            _ => Self::serving(),
        })
    }

    /// It listens only from this age on.
    #[must_use]
    pub fn listens_after(mut self, age: Duration) -> Self {
        self.listens = Some(age);
        self
    }

    /// It never listens: started, and never ready.
    #[must_use]
    pub fn never_listens(mut self) -> Self {
        self.listens = None;
        self
    }

    /// It listens on a port of its own liking and not where it was told to.
    #[must_use]
    pub fn listens_on(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// What it answers where it listens.
    #[must_use]
    pub fn answers(mut self, answers: Answers) -> Self {
        self.answers = answers;
        self
    }

    /// It ends by itself at this age.
    #[must_use]
    pub fn ends_after(mut self, age: Duration, exit: impl Into<Exit>) -> Self {
        self.ends = Some((Ends::After(age), exit.into()));
        self
    }

    /// It ends by itself at this time, or at once when it starts later.
    #[must_use]
    pub fn ends_at(mut self, at: Timestamp, exit: impl Into<Exit>) -> Self {
        self.ends = Some((Ends::At(at), exit.into()));
        self
    }

    /// It ends by itself with its `requests`-th request.
    #[must_use]
    pub fn ends_after_requests(mut self, requests: u64, exit: impl Into<Exit>) -> Self {
        self.ends = Some((Ends::AfterRequests(requests), exit.into()));
        self
    }

    /// What it does when it is asked to stop.
    #[must_use]
    pub fn on_stop(mut self, on_stop: OnStop) -> Self {
        self.on_stop = on_stop;
        self
    }

    /// It writes a line at this age.
    #[must_use]
    pub fn writes(mut self, age: Duration, stream: OutputStream, line: impl Into<String>) -> Self {
        self.writes.push((age, stream, line.into()));
        // Readers go through them by time; lines of one age keep their order.
        self.writes.sort_by_key(|(age, ..)| *age);
        self
    }

    /// What it uses while it is not frozen: CPU in thousandths of a core, memory in bytes.
    #[must_use]
    pub fn uses(mut self, cpu_millis: u32, memory_bytes: u64) -> Self {
        (self.cpu_millis, self.memory_bytes) = (cpu_millis, memory_bytes);
        self
    }
}

impl Answers {
    /// Whether an instance of this age answers well.
    pub(super) fn well_at(self, age: Duration) -> bool {
        match self {
            Self::Well => true,
            Self::Badly => false,
            Self::WellAfter(from) => age >= from,
            Self::BadlyAfter(from) => age < from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_change_exactly_at_their_age() {
        let (just_before, at) = (Duration::from_nanos(999), Duration::from_micros(1));
        assert!(!Answers::WellAfter(at).well_at(just_before) && Answers::WellAfter(at).well_at(at));
        assert!(
            Answers::BadlyAfter(at).well_at(just_before) && !Answers::BadlyAfter(at).well_at(at)
        );
    }

    #[test]
    fn a_command_names_a_life() {
        let life = |words: &[&str]| {
            Life::of_command(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert!(life(&["missing"]).is_err());
        assert_eq!(life(&["./hello", "--fast"]).expect("serves"), Life::serving());
        let late = life(&["listen-after", "70"]).expect("serves");
        assert_eq!(late.listens, Some(Duration::from_millis(70)));
        let exits = life(&["exit", "7"]).expect("ends");
        assert_eq!(exits.ends.map(|(_, exit)| exit.status), Some(ExitStatus::Code(7)));
    }
}
