//! What this process has used, as the kernel counts it.

use std::time::Duration;

/// CPU time of this process so far, as the kernel counts it, in hundredths of a second.
pub(crate) fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a process has one");
    // The name may hold spaces; what follows its closing parenthesis does not.
    let (_, fields) = stat.rsplit_once(')').expect("its name");
    let ticks = |at: usize| fields.split_whitespace().nth(at).and_then(|t| t.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system).expect("its times");
    Duration::from_millis(ticks * 10)
}

/// Memory of this process that is really there, in bytes.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process has one");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}
