//! The scaling examples, as they are called.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

fn run(program: &str, arguments: &[&str]) -> (String, String, Option<i32>) {
    let Output { status, stdout, stderr } =
        Command::new(program).args(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (text(stdout), text(stderr), status.code())
}

const BACKTEST: &str = env!("CARGO_BIN_EXE_backtest");
const CUSTOM: &str = env!("CARGO_BIN_EXE_custom_policy");
const TUNE: &str = env!("CARGO_BIN_EXE_tune");

/// A file of this test alone.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("the directory for this is writable");
    path
}

/// Ten minutes that rise from 5 requests a second to 65.
fn rising(name: &str) -> PathBuf {
    let mut text = "second,requests\n".to_owned();
    for second in 0..600 {
        writeln!(text, "{second},{}", 5 + second / 10).expect("it is a string");
    }
    file(name, &text)
}

#[test]
fn backtest_prints_one_object_per_policy_with_every_name() {
    let trace = rising("json.csv");
    let trace = trace.to_str().expect("a path of text");
    let call = ["--trace", trace, "--service-ms", "200", "--start-ms", "3000", "--cap", "10"];
    let (stdout, stderr, code) = run(BACKTEST, &[&call[..], &["--json"]].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let lines: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let names: Vec<_> = lines.iter().map(|line| line["policy"].as_str().expect("a name")).collect();
    assert_eq!(names, ["default", "apprunner", "knative", "cloudrun"]);
    for line in &lines {
        assert_eq!(line["requests"], 20_700);
        for name in [
            "refused",
            "wait_p50_ms",
            "wait_p99_ms",
            "wait_p999_ms",
            "refused_though_it_fit",
            "admitted_then_expired",
            "cold_starts",
            "active_seconds",
            "standby_seconds",
            "cost_usd",
            "lower_bound_usd",
            "clairvoyant_usd",
        ] {
            assert!(line[name].is_number(), "{name}: {line}");
        }
        let usd = |name: &str| line[name].as_f64().expect("a number");
        assert!(usd("lower_bound_usd") <= usd("cost_usd"), "{line}");
        assert!(usd("lower_bound_usd") <= usd("clairvoyant_usd"), "{line}");
    }
}

#[test]
fn backtest_prints_what_it_assumes_and_draws() {
    let (trace, picture) = (rising("table.csv"), file("picture.svg", ""));
    let (trace, drawn) = (trace.to_str().expect("text"), picture.to_str().expect("text"));
    let (stdout, stderr, code) =
        run(BACKTEST, &["--trace", trace, "--policy", "default,knative", "--svg", drawn]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for word in ["service 200 ms (cv 1)", "start 3.0 s (cv 0.2)", "1 vCPU", "2 GB", "knative"] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
    assert!(!stdout.contains("cloudrun"), "{stdout}");
    assert!(fs::read_to_string(picture).expect("it was drawn").starts_with("<svg"));
}

#[test]
fn what_cannot_be_read_is_refused_with_the_line_and_what_would_be_right() {
    let bad = file("bad.csv", "0,1\n1,-4\n");
    let empty = file("empty.csv", "");
    let (bad, empty) = (bad.to_str().expect("text"), empty.to_str().expect("text"));
    for (arguments, message) in [
        (&["--trace", bad][..], "line 2: -4 is negative"),
        (&["--trace", empty], "there are no requests in it"),
        (&["--trace", "nowhere.csv"], "there is no file nowhere.csv"),
        (&[], "--trace is missing"),
        (&["--trace"], "--trace needs a value"),
        (&["--trace", bad, "--cap", "many"], "--cap: `many` is no number"),
        (&["--frobnicate"], "unknown flag --frobnicate"),
        (&["--objective", "fast"], "`fast` is no objective"),
        (&["--spread", "odd"], "none of random, even, front"),
        (&["--transfer", "3"], "--transfer: `3` is not two numbers"),
        (&["--minimum-bill-ms", "-1"], "--minimum-bill-ms: -1 ms is no time"),
    ] {
        let (stdout, stderr, code) = run(BACKTEST, arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
    }
    let good = rising("good.csv");
    let good = good.to_str().expect("text");
    let refused = run(BACKTEST, &["--trace", good, "--policy", "magic"]).1;
    assert!(refused.contains("there is no policy `magic`"), "{refused}");
    let refused = run(BACKTEST, &["--trace", good, "--minimum", "9", "--maximum", "2"]).1;
    assert!(refused.contains("the minimum of 9 is above the maximum of 2"), "{refused}");
    for (flag, value, message) in [
        ("--max-wait-ms", "1000000000000000000", "the longest wait in seconds is"),
        ("--wake-ms", "1000000000000000000", "the time to wake in seconds is"),
        ("--gb-hour", "nan", "the price of a gigabyte is NaN; write 0 to a billion"),
    ] {
        let (stdout, stderr, code) = run(BACKTEST, &["--trace", good, flag, value]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{flag} {value}");
        assert!(stderr.contains(message), "{flag} {value}: {stderr}");
    }
}

#[test]
fn what_is_paid_for_is_said_and_counted() {
    let trace = rising("priced.csv");
    let trace = trace.to_str().expect("text");
    let call = ["--trace", trace, "--policy", "default", "--no-clairvoyant"];
    let cost = |flags: &[&str]| {
        let (stdout, stderr, code) = run(BACKTEST, &[&call[..], &["--json"], flags].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let line: serde_json::Value = serde_json::from_str(&stdout).expect("one line");
        line["cost_usd"].as_f64().expect("a number")
    };
    // Instances for next to nothing: the policy weighs processors against memory, and wants prices.
    let free = ["--vcpu-hour", "1e-9", "--gb-hour", "1e-9"];
    assert!(cost(&free) < 1e-6);
    for (flags, expected) in [
        (["--requests", "5"], 20_700.0 * 5e-6),
        (["--transfer", "0.001,0.09"], 20.7 * 0.09),
        (["--build", "10,0.005"], 0.05),
    ] {
        let cost = cost(&[&free[..], &flags].concat());
        assert!((cost - expected).abs() < 1e-6, "{flags:?}: {cost}");
    }
    // As many instances as without, each twice as large, at prices that make up for it.
    let usual = cost(&["--vcpu-hour", "0.06", "--gb-hour", "0.008"]);
    let large = ["--vcpu", "2", "--memory-gb", "4", "--vcpu-hour", "0.03", "--gb-hour", "0.004"];
    assert!((cost(&large) - usual).abs() < 1e-9, "{usual}");
    let short = cost(&["--minimum-bill-ms", "1000"]);
    assert!(short <= cost(&[]), "{short}");
    let (stdout, _, _) = run(BACKTEST, &[&call[..], &large, &["--requests", "5"]].concat());
    for word in ["2 vCPU at $0.03/h", "4 GB at $0.004/GB-h", "requests at $5 a million"] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
}

#[test]
fn every_program_says_how_it_is_called() {
    for program in [BACKTEST, CUSTOM, TUNE] {
        let (stdout, stderr, code) = run(program, &["--help"]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(stdout.contains("usage: "), "{stdout}");
    }
}

#[test]
fn a_policy_of_ones_own_stands_beside_ours() {
    let (stdout, stderr, code) = run(CUSTOM, &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for name in ["one spare", "default", "apprunner", "knative", "clairvoyant"] {
        assert!(stdout.contains(name), "{stdout}");
    }
}

#[test]
fn tune_finds_parameters_and_checks_them() {
    let (seen, unseen) = (rising("seen.csv"), rising("unseen.csv"));
    let (seen, unseen) = (seen.to_str().expect("text"), unseen.to_str().expect("text"));
    let call = ["--trace", seen, "--check", unseen, "--objective", "p99<200ms", "--tries", "6"];
    let (stdout, stderr, code) = run(TUNE, &call);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for word in ["after 6 tries", "idle s", "remembered s", "headroom", "on ", "tuned"] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
}
