//! The programs that the kit starts: this one, called again, with std alone.

use std::{io::Write, net::TcpListener, process::ExitCode};

use runner_core::testing::kit::Act;

/// The words that make `own` do this.
pub(crate) fn command(own: &str, act: &Act) -> Option<Vec<String>> {
    let words: Vec<String> = match act {
        Act::Serve => vec!["serve".to_owned()],
        Act::Exit(code) => vec!["exit".to_owned(), code.to_string()],
        Act::Print(line) => vec!["print".to_owned(), (*line).to_owned()],
        // A shell can ignore a signal, and what it becomes goes on ignoring it; std cannot.
        Act::IgnoreStop => {
            // It comes to that late, as anything may on a busy machine.
            let script = "sleep 0.3; trap '' TERM; exec \"$0\" conformance-app serve";
            return Some(vec!["sh".into(), "-c".into(), script.into(), own.into()]);
        }
        _ => return None,
    };
    Some([own.to_owned(), MARK.to_owned()].into_iter().chain(words).collect())
}

/// Is the program, if that is what this process was started as.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [MARK, "serve"] => serve(),
        [MARK, "exit", code] => {
            return Some(code.parse::<u8>().map_or(ExitCode::FAILURE, ExitCode::from));
        }
        [MARK, "print", line] => {
            let _ = writeln!(std::io::stdout(), "{line}");
            serve();
        }
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

/// Listens until it is ended: it does not handle being asked, so that ends it.
fn serve() {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0_u16);
    let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) else { return };
    listener.incoming().for_each(drop);
}

const MARK: &str = "conformance-app";
