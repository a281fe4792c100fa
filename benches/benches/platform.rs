//! `cargo bench -p runner-benches --bench platform`, or with the name of one question; `-- --test`
//! asks all of them a few times, to see that they work. Exit code 1 where a bound is missed.
#![expect(clippy::print_stdout, reason = "what was measured is printed")]

use std::process::ExitCode;

use runner_benches::platform::{Idle, QUESTIONS, Size, idle_services};

fn main() -> ExitCode {
    // This program is also what it starts.
    runner_examples::sample_app::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mark, kind, count] = arguments.as_slice()
        && mark == Idle::MARK
        && let (Some(kind), Ok(count)) = (Idle::of(kind), count.parse())
    {
        let (kib, percent) = idle_services(kind, count);
        println!("{kib} {percent}");
        return ExitCode::SUCCESS;
    }
    let is_smoke = arguments.iter().any(|argument| argument == "--test")
        || !arguments.iter().any(|argument| argument == "--bench");
    let size = if is_smoke { Size::SMALL } else { Size::WHOLE };
    let named: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut missed = 0;
    for (name, question) in QUESTIONS {
        if !named.is_empty() && !named.iter().any(|named| name.contains(named.as_str())) {
            continue;
        }
        for line in question(size) {
            println!("{line}");
            missed += usize::from(!line.held());
        }
    }
    match missed {
        0 => ExitCode::SUCCESS,
        // A few rounds on whatever machine say whether it works, not how fast it is.
        _ if is_smoke => ExitCode::SUCCESS,
        _ => {
            println!("{missed} missed");
            ExitCode::FAILURE
        }
    }
}
