//! What does a proxied request cost, and how late is it?
//!
//! Five proxies before the same instance: a plain relay of bytes, the floor; hyper's server with
//! hyper-util's client and nothing else; ours, with queue, balance and counters; and nginx and
//! HAProxy where they are installed. Each is a process of its own on one core, one at a time; the
//! instance and whoever asks it share another core.

pub mod load;
pub mod machine;
pub mod peers;

use std::{env, net::SocketAddr, process::ExitCode};

use machine::Running;

/// What the program of a measurement was started for: to measure, or one of the two things that it
/// does besides.
///
/// `serve <name> <upstream>` is how it starts itself, once for each proxy of ours. Nothing is left
/// to do where there is a code.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it speaks for a program")]
pub fn asked_otherwise(help: &str) -> Option<ExitCode> {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["serve", name, upstream] => {
            peers::serve(name, upstream.parse().expect("an address"));
            Some(ExitCode::SUCCESS)
        }
        ["--help" | "-h"] => {
            println!("{help}");
            Some(ExitCode::SUCCESS)
        }
        ref others => {
            eprintln!("`{}` is nothing this program takes; see --help", others.join(" "));
            Some(ExitCode::from(2))
        }
    }
}

/// A proxy that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "every report has a line for each")]
pub enum Peer {
    /// Bytes both ways, without a look at them.
    Relay,
    /// hyper's server and hyper-util's client.
    BareHyper,
    /// Ours.
    Ours,
    /// nginx, one worker.
    Nginx,
    /// HAProxy, one thread.
    Haproxy,
}

impl Peer {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 5] =
        [Self::Relay, Self::BareHyper, Self::Ours, Self::Nginx, Self::Haproxy];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::BareHyper => "bare_hyper",
            Self::Ours => "ours",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Starts it before `upstream`; nothing if it is not installed.
    pub fn start(self, upstream: SocketAddr) -> Option<Running> {
        match self {
            Self::Nginx => Running::nginx(upstream),
            Self::Haproxy => Running::haproxy(upstream),
            own => Some(Running::own(own.name(), upstream, &[])),
        }
    }
}

/// The middle one of an odd number of samples.
///
/// # Panics
///
/// When there is none.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// As many as are kept open by each who asks.
pub const CONNECTIONS: usize = 64;
