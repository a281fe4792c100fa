//! A web app to run instances of, which can also fail in every way that matters.
//!
//! Each binary of this package is also the app: it begins with [`run_if_asked`], so that it can
//! start itself again as an instance and nothing else need be built. [`SampleApp`] says how the app
//! should behave and gives the command that starts it.
//!
//! ```
//! use runner_examples::sample_app::{Failure, SampleApp};
//! use std::time::Duration;
//!
//! let app = SampleApp::new("blue").work(Duration::from_millis(20)).fails(Failure::Answers500);
//! let command = app.command();
//! assert_eq!(command[1..], ["sample-app", "blue", "start=0ms", "work=20ms", "fails=500"]);
//! ```
//!
//! | path | answer |
//! |---|---|
//! | `/`, and any other | the version, after the work that a request takes; `?work=50ms` overrides it |
//! | `/stream?count=5&every=100ms` | so many lines, one at a time |
//! | `/call?to=NAME/PATH` | what another service answers there, found by `$RUNNER_SERVICES` |
//! | `/ws` | a WebSocket that sends back what it gets |

mod call;
mod server;
mod trouble;

use std::{str::FromStr, time::Duration};

/// How the app behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it is started by its `command`"]
pub struct SampleApp {
    version: String,
    start: Duration,
    work: Duration,
    failure: Option<Failure>,
}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Runs and listens nowhere.
    NeverListens,
    /// Listens on this port whatever it was told.
    ListensOn(u16),
    /// Answers every request with 500.
    Answers500,
    /// Ends with code 1 after so many requests.
    DiesAfter(u32),
    /// Goes on when it is asked to end.
    IgnoresTerm,
    /// Takes so many more bytes every 10 ms and never gives them back.
    Leaks(u64),
    /// Writes lines to its standard output as fast as it can.
    FloodsItsLog,
}

impl SampleApp {
    /// An app that answers with this version, a word, at once.
    pub fn new(version: &str) -> Self {
        let (start, work) = (Duration::ZERO, Duration::ZERO);
        Self { version: version.to_owned(), start, work, failure: None }
    }

    /// How long it takes until it listens.
    pub fn start_delay(mut self, span: Duration) -> Self {
        self.start = span;
        self
    }

    /// How long it takes over a request.
    pub fn work(mut self, span: Duration) -> Self {
        self.work = span;
        self
    }

    /// How it fails.
    pub fn fails(mut self, failure: Failure) -> Self {
        self.failure = Some(failure);
        self
    }

    /// The command that makes the running program this app.
    ///
    /// # Panics
    ///
    /// When the program's own path cannot be known, or is no text.
    pub fn command(&self) -> Vec<String> {
        let own = std::env::current_exe().expect("a program on Linux knows its path");
        self.command_of(own.to_str().expect("its path is text"))
    }

    /// The command that makes another program this app, which begins with [`run_if_asked`].
    pub fn command_of(&self, program: &str) -> Vec<String> {
        let Self { version, start, work, failure } = self;
        let (start, work) = (start.as_millis(), work.as_millis());
        let mut words =
            vec![program.to_owned(), MARK.to_owned(), version.clone(), format!("start={start}ms")];
        words.push(format!("work={work}ms"));
        words.extend(failure.map(|failure| format!("fails={}", failure.word())));
        words
    }

    fn parse(words: &[String]) -> Option<Self> {
        let [version, settings @ ..] = words else { return None };
        settings.iter().try_fold(Self::new(version), |app, setting| {
            Some(match setting.split_once('=')? {
                ("start", span) => app.start_delay(millis(span)?),
                ("work", span) => app.work(millis(span)?),
                ("fails", how) => app.fails(how.parse().ok()?),
                _ => return None,
            })
        })
    }
}

impl Failure {
    fn word(self) -> String {
        match self {
            Self::NeverListens => "never-listens".to_owned(),
            Self::ListensOn(port) => format!("listens-on:{port}"),
            Self::Answers500 => "500".to_owned(),
            Self::DiesAfter(requests) => format!("dies-after:{requests}"),
            Self::IgnoresTerm => "ignores-term".to_owned(),
            Self::Leaks(bytes) => format!("leaks:{bytes}"),
            Self::FloodsItsLog => "floods".to_owned(),
        }
    }
}

impl FromStr for Failure {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (word, value) = text.split_once(':').unwrap_or((text, ""));
        Ok(match word {
            "never-listens" => Self::NeverListens,
            "listens-on" => Self::ListensOn(value.parse().map_err(drop)?),
            "500" => Self::Answers500,
            "dies-after" => Self::DiesAfter(value.parse().map_err(drop)?),
            "ignores-term" => Self::IgnoresTerm,
            "leaks" => Self::Leaks(value.parse().map_err(drop)?),
            "floods" => Self::FloodsItsLog,
            _ => return Err(()),
        })
    }
}

/// Is the app and does not return, if that is what this process was started as.
///
/// The first line of every `main` here. It works inside a runtime and outside of one.
///
/// # Panics
///
/// When the command line is not one that [`SampleApp::command`] gives.
#[expect(clippy::disallowed_methods, reason = "it stands before everything that has a destructor")]
pub fn run_if_asked() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((MARK, settings)) = words.split_first().map(|(mark, rest)| (mark.as_str(), rest))
    else {
        return;
    };
    let app = SampleApp::parse(settings).expect("a command line of the sample app");
    // A thread of its own: `main` may already be inside a runtime, which cannot hold another.
    let code = std::thread::spawn(move || server::run(&app)).join();
    std::process::exit(code.unwrap_or(101));
}

fn millis(text: &str) -> Option<Duration> {
    text.strip_suffix("ms")?.parse().ok().map(Duration::from_millis)
}

/// What comes before the settings on the command line.
const MARK: &str = "sample-app";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_reads_as_it_was_written() {
        for failure in [
            Failure::NeverListens,
            Failure::ListensOn(3000),
            Failure::Answers500,
            Failure::DiesAfter(3),
            Failure::IgnoresTerm,
            Failure::Leaks(1 << 20),
            Failure::FloodsItsLog,
        ] {
            let app = SampleApp::new("v1").start_delay(Duration::from_millis(5)).fails(failure);
            let words = app.command();
            assert_eq!(words[1], MARK);
            assert_eq!(SampleApp::parse(&words[2..]), Some(app), "{words:?}");
        }
        assert_eq!(SampleApp::parse(&["v1".to_owned(), "works=1ms".to_owned()]), None);
    }
}
