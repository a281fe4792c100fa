//! The service machine, explored: every state of small scopes, and random walks through large ones.
//!
//! `cargo test --release -p runner-core --test explore -- --nocapture` prints each scope with its
//! allowances, states, depth, seconds and speed. Without `--release` the scopes are smaller, and
//! say so. `GUARD=drain-before-stop cargo test ... left_out -- --nocapture` shows the shortest way
//! to disaster without a guard; `SCOPE="in place" cargo test ... every_other_way` explores those of
//! one name alone.
//!
//! # Scopes
//!
//! A: blue serves, a deployment was just ordered, scale 0 to 3. B: the same at scale 0 to 2, and a
//! second deployment, a cancel or a roll-back comes on top. What may go wrong on a path (2 faults,
//! 1 crash, 1 repeated and 1 overtaking answer, a second command) is too much for one scope, so
//! it is spread: every two of them are together in at least one scope. Those without a second
//! command are of A alone, since at scale 0 to 3 they hold all that B would. In all of them the
//! wish for instances changes on a path as well, to anything, as often as the printed table says:
//! once or twice.
//!
//! What A and B leave out has scopes of its own below: the other ways, the creation, pause and
//! resume (with what a resume needs gone for as long as it takes), and a backend that is full for
//! good.
//!
//! # What is left out, and why that hides nothing
//!
//! - What hashes as nothing (times, evidence, numbers): its type says so, field by field.
//! - A state from which less can go wrong than from one just like it: the explorer's allowances.
//! - Orders of instances that are alike: `choices.rs` tries each where the machine chooses.

#[path = "explore/mod.rs"]
mod explored;

use std::time::{Duration, Instant};

use explored::{A, Allowances, B, Order, Scope, Way, disaster_without, explorer};
use runner_core::testing::{explorer::Walker, machine::Guard};

const NONE: Allowances = Allowances::NONE;

/// Every two of what may go wrong, together in at least one.
fn allowances() -> [Allowances; 7] {
    let faults = if cfg!(debug_assertions) { 1 } else { 2 };
    [
        Allowances { commands: 1, repeats: 1, reorders: 1, ..NONE },
        Allowances { commands: 1, faults, scales: 1, ..NONE },
        Allowances { commands: 1, crashes: 1, ..NONE },
        Allowances { faults, repeats: 1, scales: 1, ..NONE },
        Allowances { faults, reorders: 1, scales: 1, ..NONE },
        Allowances { crashes: 1, repeats: 1, reorders: 1, scales: 1, ..NONE },
        Allowances { faults, crashes: 1, scales: 1, ..NONE },
    ]
}

/// What A and B leave out: the other ways, standby, the creation, and records that lag.
fn besides() -> Vec<Scope> {
    let small = Scope { allowed: Allowances { scales: 1, ..NONE }, ..B };
    let with = |name, way, change: &dyn Fn(&mut Allowances)| {
        let mut scope = Scope { name, way, ..small.clone() };
        change(&mut scope.allowed);
        scope
    };
    let faults = if cfg!(debug_assertions) { 1 } else { 2 };
    let fault = |allowed: &mut Allowances| (allowed.faults, allowed.commands) = (faults, 1);
    let one_fault = |allowed: &mut Allowances| (allowed.faults, allowed.commands) = (1, 1);
    let crash = |allowed: &mut Allowances| (allowed.crashes, allowed.commands) = (1, 1);
    vec![
        with("partial surge", Way::Partial, &fault),
        with("partial surge", Way::Partial, &crash),
        with("in steps", Way::Stepped, &fault),
        with("in steps", Way::Stepped, &crash),
        with("in steps, partial surge", Way::SteppedPartial, &fault),
        with("in steps, partial surge", Way::SteppedPartial, &crash),
        with("in place", Way::InPlace, &fault),
        with("in place", Way::InPlace, &crash),
        with("in place, approval", Way::InPlaceApproved, &fault),
        with("in place, approval", Way::InPlaceApproved, &crash),
        with("command, approval, warm", Way::Careful, &fault),
        with("command, approval, warm", Way::Careful, &crash),
        Scope { name: "creation", begun: &[], ..with("", Way::AtOnce, &fault) },
        Scope { name: "creation", begun: &[], ..with("", Way::AtOnce, &crash) },
        Scope { name: "creation, careful", begun: &[], ..with("", Way::Careful, &crash) },
        Scope { name: "lagging records", lag: true, ..with("", Way::AtOnce, &crash) },
        Scope {
            name: "standby",
            standby: true,
            first: 2,
            ..with("", Way::AtOnce, &|allowed| {
                (allowed.faults, allowed.crashes, allowed.idles) = (1, 1, 1);
                allowed.scales = 0;
            })
        },
        Scope {
            name: "standby",
            standby: true,
            first: 2,
            ..with("", Way::AtOnce, &|allowed| (allowed.repeats, allowed.idles) = (1, 1))
        },
        Scope {
            name: "pause, resume, delete, edit",
            commands: EVERYTHING,
            ..with("", Way::AtOnce, &|allowed| allowed.commands = 2)
        },
        Scope {
            name: "pause",
            begun: &[Order::Pause],
            commands: &[Order::Resume, Order::Delete],
            ..with("", Way::AtOnce, &|allowed| {
                (allowed.faults, allowed.crashes, allowed.commands) = (1, 1, 1);
                allowed.scales = 0;
            })
        },
        Scope {
            name: "resume",
            begun: &[Order::Pause, Order::Resume],
            commands: EVERYTHING,
            ..with("", Way::AtOnce, &fault)
        },
        Scope {
            name: "resume",
            begun: &[Order::Pause, Order::Resume],
            commands: &[Order::Cancel, Order::Delete],
            ..with("", Way::AtOnce, &|allowed| {
                (allowed.faults, allowed.crashes, allowed.commands) = (1, 1, 1);
            })
        },
        Scope { name: "room for 2", room: Some(2), ..with("", Way::AtOnce, &one_fault) },
        Scope { name: "room for 3", room: Some(3), ..with("", Way::AtOnce, &one_fault) },
        Scope {
            name: "room for 3, partial surge",
            room: Some(3),
            first: 2,
            ..with("", Way::Partial, &one_fault)
        },
    ]
}

const EVERYTHING: &[Order] = &[
    Order::Deploy,
    Order::Cancel,
    Order::RollBack,
    Order::Pause,
    Order::Resume,
    Order::Delete,
    Order::Edit,
];

#[test]
fn every_state_of_scope_a_is_sound_and_comes_to_rest() {
    for allowed in allowances() {
        println!("{}", explore(&Scope { allowed, ..A }));
    }
}

#[test]
fn every_state_of_scope_b_is_sound_and_comes_to_rest() {
    for allowed in allowances().into_iter().filter(|allowed| allowed.commands > 0) {
        println!("{}", explore(&Scope { allowed, ..B }));
    }
}

#[test]
fn every_other_way_is_sound_and_comes_to_rest() {
    // SCOPE names those of one name alone.
    let named = std::env::var("SCOPE").ok();
    for scope in besides() {
        if named.as_ref().is_none_or(|name| name == scope.name) {
            println!("{}", explore(&scope));
        }
    }
}

#[test]
fn walks_with_everything_at_once_find_nothing() {
    let steps = match cfg!(debug_assertions) {
        true => 100_000,
        false => 10_000_000,
    };
    let ways = [
        Way::AtOnce,
        Way::Partial,
        Way::Stepped,
        Way::SteppedPartial,
        Way::InPlace,
        Way::InPlaceApproved,
        Way::Careful,
    ];
    for (seed, way) in (1_u64..).zip(ways) {
        let allowed = Allowances {
            repeats: 3,
            reorders: 3,
            faults: 6,
            crashes: 2,
            commands: 6,
            idles: 4,
            scales: 6,
        };
        let scope =
            Scope { way, allowed, commands: EVERYTHING, standby: true, begun: &[], lag: true, ..A };
        let steps = steps / ways.len() as u64;
        let walker = Walker::new(&scope).named(format!("{way:?}")).seed(seed << 32).length(400);
        let (walked, time, busy) = timed(|| walker.steps(steps).walk());
        match walked {
            Ok(walked) => println!(
                "{walked}, {:.1} s, {:.1} s of processor",
                time.as_secs_f64(),
                busy.as_secs_f64()
            ),
            Err(failure) => panic!("{failure}"),
        }
    }
}

/// Some of the guards by themselves; `.ci/guards` leaves out every one.
#[test]
fn each_guard_left_out_leads_to_disaster() {
    let named = std::env::var("GUARD").ok();
    let guards = match &named {
        Some(name) => {
            vec![Guard::named(name).unwrap_or_else(|| panic!("no guard is named {name}"))]
        }
        None if cfg!(debug_assertions) => vec![Guard::DrainBeforeStop, Guard::ProbeBeforeTrust],
        None => Guard::ALL.to_vec(),
    };
    let mut useless = Vec::new();
    for guard in guards {
        match disaster_without(guard) {
            Some((scope, failure)) if named.is_some() => {
                println!("without {}, scope {scope}: {failure}", guard.name());
            }
            Some((scope, failure)) => {
                let steps = failure.path().map_or(0, |path| path.steps.len());
                println!("{:32} {scope}: {}, {steps} steps", guard.name(), failure.cause());
            }
            None => useless.push(guard.name()),
        }
    }
    assert!(useless.is_empty(), "nothing breaks without {useless:?}");
}

fn explore(scope: &Scope) -> String {
    forget_peak_memory();
    let (report, time, busy) = timed(|| explorer(scope).explore());
    match report {
        Ok(report) => format!(
            "{}, {:.1} s of processor, {:.2} GB at most",
            report.in_time(time),
            busy.as_secs_f64(),
            peak_memory()
        ),
        Err(failure) => panic!("{failure}"),
    }
}

/// What it came to, with the time on the clock and the time on the processors: beside other work
/// only the second says how much work it was.
#[expect(
    clippy::disallowed_methods,
    reason = "what it prints is a speed, and nothing depends on it"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration, Duration) {
    let (start, busy) = (Instant::now(), processor_time());
    let result = work();
    (result, start.elapsed(), processor_time().saturating_sub(busy))
}

/// The most memory that this process had since it was forgotten last, in gigabytes; zero where
/// nobody says.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or_default() * 1024.0 / 1e9
}

/// Where that is not allowed the peak is that of everything so far.
fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// What this process has used of all processors; zero where nobody says.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; user and system time are the twelfth and
    // thirteenth fields behind it, in hundredths of a second.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
