//! `cargo run --release -p runner-benches --bin latency`
//!
//! How late answers are through each proxy, at the same offered rates for all: parts of what the
//! bare hyper proxy can carry. See [`runner_benches::proxy`] for what is compared.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]
#![expect(clippy::disallowed_methods, reason = "a round is as long as it was told to be")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use runner_benches::proxy::{
    CONNECTIONS, Peer, asked_otherwise,
    load::{beside_instance, closed, open},
    machine, median,
};
use serde_json::{Map, Value, json};

const HELP: &str = "\
How late answers are, in microseconds from the moment at which each request should have been sent:
through our proxy, a bare hyper proxy and HAProxy, and from the instance itself (`direct`).

Usage: latency [--help]

The rates are 50 % and 80 % of what the bare hyper proxy carries at saturation, the same for all;
requests are due at even distances whether or not the answers come. The proxy is alone on one core;
the instance and who asks share another, on which nobody sleeps. Nine interleaved rounds, medians of
each quantile. Prints a table, then one line of JSON: by peer (`null` where it is not installed) and
load (`at_50`, `at_80`) `p50_us`, `p99_us`, `p999_us`.

Progress goes to stderr. Takes about two minutes.";

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    if let Some(code) = asked_otherwise(HELP) {
        return code;
    }
    machine::pin(machine::LOAD);
    let most = median((0..3).map(|_| saturation()).collect());
    eprintln!("the bare hyper proxy carries {most:.0} requests a second");
    let mut samples: BTreeMap<(&str, u32), Vec<[f64; 3]>> = BTreeMap::new();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for (percent, (name, peer)) in LOADS.into_iter().flat_map(|load| PEERS.map(|p| (load, p))) {
            let rate = most * f64::from(percent) / 100.0;
            samples.entry((name, percent)).or_default().extend(sample(peer, rate));
        }
    }
    report(&samples);
    ExitCode::SUCCESS
}

/// Requests a second that the bare hyper proxy answers at most.
fn saturation() -> f64 {
    beside_instance(false, async |upstream| {
        let running = Peer::BareHyper.start(upstream).expect("it is ours");
        let during = async |to: SocketAddr, time: Duration| {
            let end = Instant::now() + time;
            closed(to, CONNECTIONS, |_| Instant::now() >= end).await as f64 / time.as_secs_f64()
        };
        during(running.address, WARM_UP).await;
        during(running.address, STRETCH).await
    })
}

/// p50, p99 and p99.9 of one stretch; nothing if the peer is not installed.
fn sample(peer: Option<Peer>, rate: f64) -> Option<[f64; 3]> {
    beside_instance(true, async |upstream| {
        let running = match peer {
            None => None,
            Some(peer) => Some(peer.start(upstream)?),
        };
        let to = running.as_ref().map_or(upstream, |running| running.address);
        let lateness = open(to, rate, STRETCH, WARM_UP).await;
        Some(QUANTILES.map(|part| lateness.quantile(part)))
    })
}

fn report(samples: &BTreeMap<(&str, u32), Vec<[f64; 3]>>) {
    println!("microseconds, medians of {ROUNDS} rounds; in brackets what is added to `direct`");
    let of = |name, percent| {
        let rounds = &samples[&(name, percent)];
        let at = |part: usize| median(rounds.iter().map(|sample| sample[part]).collect());
        (!rounds.is_empty()).then(|| [0, 1, 2].map(at))
    };
    let mut line = Map::new();
    for (name, _) in PEERS {
        let mut by_load = Map::new();
        for percent in LOADS {
            let (Some(seen), Some(direct)) = (of(name, percent), of("direct", percent)) else {
                continue;
            };
            let [p50, p99, p999] = seen;
            let [a, b, c] = [0, 1, 2].map(|part| seen[part] - direct[part]);
            println!(
                "  {name:12} at {percent} %   p50 {p50:7.0} ({a:+6.0})   p99 {p99:7.0} ({b:+6.0})   \
                 p99.9 {p999:7.0} ({c:+6.0})"
            );
            let [p50, p99, p999] = seen.map(|micros| (micros * 10.0).round() / 10.0);
            let quantiles = json!({ "p50_us": p50, "p99_us": p99, "p999_us": p999 });
            by_load.insert(format!("at_{percent}"), quantiles);
        }
        let value = if by_load.is_empty() { Value::Null } else { Value::Object(by_load) };
        line.insert(name.to_owned(), value);
    }
    println!("{}", Value::Object(line));
}

const PEERS: [(&str, Option<Peer>); 4] = [
    ("ours", Some(Peer::Ours)),
    ("bare_hyper", Some(Peer::BareHyper)),
    ("haproxy", Some(Peer::Haproxy)),
    ("direct", None),
];
const LOADS: [u32; 2] = [50, 80];
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// Odd, so that the median is one of them.
const ROUNDS: usize = 9;
const WARM_UP: Duration = Duration::from_millis(300);
const STRETCH: Duration = Duration::from_millis(1_000);
