//! `cargo run --release -p runner-benches --bin proxy`
//!
//! Processor time of a proxied request, ours beside its peers, in interleaved rounds; then its
//! instructions. See [`runner_benches::proxy`] for what is compared.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]
#![expect(clippy::disallowed_methods, reason = "a round is as long as it was told to be")]

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use runner_benches::proxy::{
    CONNECTIONS, Peer, asked_otherwise,
    load::{beside_instance, closed},
    machine::{self, Counted, Taken},
    median,
};
use serde_json::{Value, json};

const HELP: &str = "\
What a proxied request costs in processor time, against a plain relay of bytes, a bare hyper proxy,
nginx and HAProxy (null where they are not installed).

Usage: proxy [--help]

64 keep-alive connections, answers of 20 bytes, the proxy alone on one core and everything else on
another, nine interleaved rounds, medians. Instructions are callgrind's, in user space, per request
(null without valgrind). Prints a line for each peer, then one line of JSON: microseconds in `ours`,
`relay`, `bare_hyper`, `nginx`, `haproxy`, `ours_user`, `ours_sys`; instructions in
`ours_instructions` and `bare_hyper_instructions`.

Progress goes to stderr. Takes about two minutes.";

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    if let Some(code) = asked_otherwise(HELP) {
        return code;
    }
    machine::pin(machine::LOAD);
    let mut samples: BTreeMap<Peer, Vec<Taken>> = BTreeMap::new();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for peer in Peer::ALL {
            samples.entry(peer).or_default().extend(sample(peer));
        }
    }
    eprintln!("instructions");
    let counted = ["ours", "bare_hyper"].map(instructions_per_request);
    report(&samples, counted);
    ExitCode::SUCCESS
}

/// Processor time of one request in one stretch.
fn sample(peer: Peer) -> Option<Taken> {
    beside_instance(false, async |upstream| {
        let running = peer.start(upstream)?;
        during(running.address, WARM_UP).await;
        let before = running.taken();
        let count = during(running.address, STRETCH).await as f64;
        let after = running.taken();
        Some(Taken {
            total: (after.total - before.total) / count,
            user: (after.user - before.user) / count,
            system: (after.system - before.system) / count,
        })
    })
}

async fn during(to: std::net::SocketAddr, time: Duration) -> u64 {
    let end = Instant::now() + time;
    closed(to, CONNECTIONS, |_| Instant::now() >= end).await
}

/// Two runs of different length, so that starting and ending cancel out.
fn instructions_per_request(name: &str) -> Option<f64> {
    let run = |requests: u64| {
        beside_instance(false, async |upstream| {
            let counted = Counted::start(name, upstream, &requests.to_string())?;
            closed(counted.address(), CONNECTIONS / 2, |count| count >= requests).await;
            counted.finish()
        })
    };
    // Each connection has one more under way when the count is reached, in both runs alike.
    Some((run(LONG)? - run(SHORT)?) / (LONG - SHORT) as f64)
}

fn report(samples: &BTreeMap<Peer, Vec<Taken>>, counted: [Option<f64>; 2]) {
    let of = |peer: Peer, part: fn(&Taken) -> f64| {
        let taken: Vec<f64> = samples[&peer].iter().map(part).collect();
        (!taken.is_empty()).then(|| median(taken))
    };
    println!("microseconds of processor time per request, medians of {ROUNDS} rounds");
    for peer in Peer::ALL {
        let parts = [of(peer, |t| t.total), of(peer, |t| t.user), of(peer, |t| t.system)];
        match parts {
            [Some(total), Some(user), Some(system)] => {
                println!(
                    "  {:12} {total:6.2}   user {user:5.2}   system {system:5.2}",
                    peer.name()
                );
            }
            _ => println!("  {:12} not installed", peer.name()),
        }
    }
    println!("instructions in user space per request");
    for (name, count) in ["ours", "bare_hyper"].into_iter().zip(counted) {
        match count {
            Some(count) => println!("  {name:12} {count:6.0}"),
            None => println!("  {name:12} not counted"),
        }
    }
    let rounded = |number: Option<f64>| match number {
        Some(number) => json!((number * 100.0).round() / 100.0),
        None => Value::Null,
    };
    let mut line = serde_json::Map::new();
    for peer in Peer::ALL {
        line.insert(peer.name().to_owned(), rounded(of(peer, |taken| taken.total)));
    }
    line.insert("ours_user".to_owned(), rounded(of(Peer::Ours, |taken| taken.user)));
    line.insert("ours_sys".to_owned(), rounded(of(Peer::Ours, |taken| taken.system)));
    line.insert("ours_instructions".to_owned(), rounded(counted[0]));
    line.insert("bare_hyper_instructions".to_owned(), rounded(counted[1]));
    println!("{}", Value::Object(line));
}

/// Odd, so that the median is one of them.
const ROUNDS: usize = 9;
const WARM_UP: Duration = Duration::from_millis(300);
const STRETCH: Duration = Duration::from_millis(1_000);

/// Requests under callgrind, which runs fifty times slower.
const SHORT: u64 = 2_000;
const LONG: u64 = 8_000;
