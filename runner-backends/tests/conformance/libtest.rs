//! As much of libtest's command line as `cargo test` and people use.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

/// A test and what it has to show.
pub(crate) type Test = (&'static str, fn() -> String);

/// Runs those tests that the command line asks for, one after another.
#[expect(clippy::print_stdout, reason = "what libtest prints")]
pub(crate) fn main(tests: &[Test]) -> ExitCode {
    let options = Options::of(std::env::args().skip(1));
    let asked: Vec<_> = tests.iter().filter(|(name, _)| options.asks_for(name)).collect();
    if options.list {
        for (name, _) in &asked {
            println!("{name}: test");
        }
        if !options.terse {
            println!("\n{} tests, 0 benchmarks", asked.len());
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", asked.len());
    let mut failed = Vec::new();
    for (name, test) in &asked {
        match catch_unwind(AssertUnwindSafe(test)) {
            Ok(shows) => {
                if options.show {
                    println!("{shows}");
                }
                println!("test {name} ... ok");
            }
            // The panic has printed why.
            Err(_) => {
                failed.push(name);
                println!("test {name} ... FAILED");
            }
        }
    }
    let (result, passed) = match failed.is_empty() {
        true => ("ok", asked.len()),
        false => ("FAILED", asked.len() - failed.len()),
    };
    let filtered = tests.len() - asked.len();
    println!(
        "\ntest result: {result}. {passed} passed; {} failed; 0 ignored; 0 measured; \
         {filtered} filtered out\n",
        failed.len()
    );
    // What libtest itself returns.
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

#[derive(Default)]
struct Options {
    list: bool,
    show: bool,
    terse: bool,
    exact: bool,
    ignored: bool,
    filters: Vec<String>,
    skips: Vec<String>,
}

impl Options {
    fn of(words: impl Iterator<Item = String>) -> Self {
        let mut options = Self::default();
        let mut words = words;
        while let Some(word) = words.next() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value)),
                _ => (word.clone(), None),
            };
            let value = value.map(str::to_owned);
            match flag.as_str() {
                "--list" => options.list = true,
                "--nocapture" | "--no-capture" | "--show-output" => options.show = true,
                "--exact" => options.exact = true,
                "--ignored" => options.ignored = true,
                "--skip" => options.skips.extend(value.or_else(|| words.next())),
                "--format" => {
                    options.terse = value.or_else(|| words.next()).as_deref() == Some("terse");
                }
                "--test-threads" | "--color" | "--logfile" | "--shuffle-seed" | "-Z"
                    if value.is_none() =>
                {
                    words.next();
                }
                _ if flag.starts_with('-') => {}
                _ => options.filters.push(word),
            }
        }
        options
    }

    fn asks_for(&self, name: &str) -> bool {
        let fits = |text: &String| match self.exact {
            true => name == text,
            false => name.contains(text.as_str()),
        };
        let wanted = self.filters.is_empty() || self.filters.iter().any(fits);
        // Of the tests here none is ignored.
        wanted && !self.skips.iter().any(fits) && !self.ignored
    }
}
