//! What the kernel says about processes, read from `/proc`.
//!
//! Nothing here is cached: a process id means something only for the moment in which it was read,
//! and together with the [start time](Stat::start) for as long as the machine runs.

use std::{collections::BTreeMap, fs, io, path::Path};

use rustix::process::Pid;

use super::spawn::{group_of, session_of};

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: i32,
    pub(super) name: String,
    pub(super) state: char,
    pub(super) group: i32,
    pub(super) session: i32,
    /// CPU time of its own and of the children that it waited for, in ticks.
    pub(super) ticks: u64,
    /// When it started, in ticks since the machine did.
    pub(super) start: u64,
}

impl Stat {
    /// The process with this id, if there is one.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name is in parentheses and may hold anything, parentheses and spaces included.
        let (head, rest) = text.rsplit_once(") ")?;
        let (pid, name) = head.split_once(" (")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        // Times of waited-for children are signed in the kernel's listing, and never negative.
        let ticks = (11..15).map(number).sum::<Option<u64>>()?;
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            ticks,
            start: number(19)?,
        })
    }

    /// Whether it still is something that can run: neither a zombie nor on its way out.
    pub(super) fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Whether it is stopped by a signal.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Whether it waits for something and no signal reaches it until that has come.
    pub(super) fn is_deaf(&self) -> bool {
        self.state == 'D'
    }

    pub(super) fn id(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }
}

/// All processes that can be seen.
pub(super) fn all() -> impl Iterator<Item = Stat> {
    ids().filter_map(Stat::of)
}

/// Those in the sessions or groups that these lead, and those that are asked for beside them.
///
/// The kernel is asked for two numbers of each other process, not for its whole line of `stat`,
/// whose making is most of what a look at all processes costs.
pub(super) fn of_sessions(leaders: &[i32], beside: &[i32]) -> impl Iterator<Item = Stat> {
    let is_in = move |pid: i32| {
        // What is not to be told, its line has to say; what is gone has none.
        let leads = |led: Option<i32>| led.is_none_or(|led| leaders.contains(&led));
        beside.contains(&pid) || leads(session_of(pid)) || leads(group_of(pid))
    };
    let found = ids().filter(move |pid| is_in(*pid)).filter_map(Stat::of);
    found.filter(move |stat| {
        let leads = |leader| leaders.contains(leader);
        leads(&stat.session) || leads(&stat.group) || beside.contains(&stat.pid)
    })
}

fn ids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Which start of the machine this is: process ids of another one mean nothing.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Whether a process writes to, or stands in, a folder: what an instance and its children inherit
/// and hardly ever give up, and what nobody else has.
pub(super) fn is_at_home(pid: i32, folder: &Path) -> bool {
    ["fd/1", "fd/2", "cwd"].iter().any(|link| {
        fs::read_link(format!("/proc/{pid}/{link}")).is_ok_and(|target| target.starts_with(folder))
    })
}

/// What the program that a process runs was given as its environment; it may have written over it
/// since.
pub(super) fn environment(pid: i32) -> io::Result<BTreeMap<String, String>> {
    let bytes = fs::read(format!("/proc/{pid}/environ"))?;
    let texts = bytes.split(|byte| *byte == 0).filter_map(|text| str::from_utf8(text).ok());
    let pairs = texts.filter_map(|text| text.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Memory that a process holds, in bytes.
pub(super) fn memory(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Memory of the machine, in bytes.
pub(super) fn total_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_what_separates_the_fields() {
        let text = "42 (a) R (b) S 1 7 8 0 -1 4194560 0 0 0 0 1 2 3 4 20 0 1 0 999 0 0";
        let stat = Stat::parse(text).expect("it is a line of stat");
        assert_eq!((stat.pid, stat.name.as_str(), stat.state), (42, "a) R (b", 'S'));
        assert_eq!((stat.group, stat.session, stat.ticks, stat.start), (7, 8, 10, 999));
    }

    #[test]
    fn what_is_cut_short_is_no_process() {
        for text in ["", "42 (a", "42 (a) S 1 7", "x (a) S 1 7 8 0 0 0 0 0 0 0 1 2 3 4 0 0 0 0 9"] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn one_sees_oneself() {
        let own = Stat::of(std::process::id() as i32).expect("this process");
        assert!(own.lives() && !own.is_stopped() && memory(own.pid) > 0);
        assert!(all().any(|stat| stat.pid == own.pid && stat.start == own.start));
        assert!(total_memory() > 0);
        assert!(is_at_home(own.pid, &std::env::current_dir().expect("one")));
        assert!(!is_at_home(own.pid, Path::new("/nowhere")));
    }
}
