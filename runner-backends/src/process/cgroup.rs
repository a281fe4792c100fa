//! Control groups: limits, usage, freezing, and holding together what leaves its session.
//!
//! Both versions of the kernel's interface are spoken, also where version 1 has the controllers and
//! version 2 is mounted beside it without any. Which group may be used is named by whoever makes
//! the backend and never guessed: below it each instance gets one of its own. On version 1 a
//! controller that is not mounted, or whose group may not be written, is missing alone; a group of
//! version 2 without controllers still holds together, counts CPU time and freezes.
//!
//! Both were run on real kernels: version 1, and version 2 without controllers beside it, on 6.18;
//! version 2 with all of them on 6.1, where the tests of this module ran at the root of its tree.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use runner_core::backend::Limits;

/// The group that was given to the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// One folder with all controllers.
    V2(PathBuf),
    /// One folder per controller.
    V1(Folders),
}

/// A group's folder of each controller of version 1, as far as there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Folders {
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    memory: Option<PathBuf>,
    freezer: Option<PathBuf>,
    pids: Option<PathBuf>,
}

/// The group of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group(Hierarchy);

impl Hierarchy {
    /// Finds a named group in what is mounted (`/proc/self/mountinfo`), or says why it cannot be
    /// used.
    pub(super) fn find(name: &Path, mounts: &str) -> Result<Self, String> {
        let name = name.strip_prefix("/").unwrap_or(name);
        // A group of version 2 that only holds together: better than none.
        let mut bare = None;
        let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
        for mount in mounts.iter().filter(|mount| mount.kind == "cgroup2") {
            let folder = Path::new(mount.at).join(name);
            let controllers = controllers(&folder);
            // Bounding processes alone is not what a group is named for.
            if controllers.iter().any(|controller| *controller != "pids") {
                return Self::delegated(folder, &controllers);
            }
            bare = Some(folder).filter(|folder| is_writable(folder)).or(bare);
        }
        let of = |controller: &str| {
            let has = |mount: &&Mount<'_>| {
                mount.kind == "cgroup" && mount.options.split(',').any(|one| one == controller)
            };
            let folder = Path::new(mounts.iter().find(has)?.at).join(name);
            is_writable(&folder).then_some(folder)
        };
        let folders = Folders {
            cpu: of("cpu"),
            cpuacct: of("cpuacct"),
            memory: of("memory"),
            freezer: of("freezer"),
            pids: of("pids"),
        };
        match (folders == Folders::default(), bare) {
            (false, _) => Ok(Self::V1(folders)),
            (true, Some(folder)) => Ok(Self::V2(folder)),
            (true, None) => Err(format!(
                "no control group `{}` may be written here; make one and give it to this user",
                name.display()
            )),
        }
    }

    fn delegated(folder: PathBuf, controllers: &[&str]) -> Result<Self, String> {
        let shown = folder.display().to_string();
        if !is_writable(&folder) {
            return Err(format!("the control group {shown} may not be written by this user"));
        }
        // Instances' groups have what is switched on here. A group that has processes of its own
        // cannot do that, which is the usual mistake.
        let all = controllers.iter().map(|one| format!("+{one}")).collect::<Vec<_>>().join(" ");
        fs::write(folder.join("cgroup.subtree_control"), all).map_err(|error| {
            format!(
                "the control group {shown} cannot pass on its controllers ({error}); name one \
                 that is delegated and has no processes of its own"
            )
        })?;
        Ok(Self::V2(folder))
    }

    fn child(&self, name: &str) -> Self {
        match self {
            Self::V2(folder) => Self::V2(folder.join(name)),
            Self::V1(folders) => {
                let of = |folder: &Option<PathBuf>| folder.as_ref().map(|path| path.join(name));
                Self::V1(Folders {
                    cpu: of(&folders.cpu),
                    cpuacct: of(&folders.cpuacct),
                    memory: of(&folders.memory),
                    freezer: of(&folders.freezer),
                    pids: of(&folders.pids),
                })
            }
        }
    }

    /// The group of an instance that was made before.
    pub(super) fn open(&self, name: &str) -> Group {
        Group(self.child(name))
    }

    /// Whether it can hold the memory of an instance.
    pub(super) fn holds_memory(&self) -> bool {
        match self {
            Self::V2(folder) => controllers(folder).contains(&"memory"),
            Self::V1(folders) => folders.memory.is_some(),
        }
    }

    /// Makes the group of an instance and sets its limits; what could not be had is told in words.
    pub(super) fn make(&self, name: &str, limits: &Limits) -> io::Result<(Group, Vec<String>)> {
        let group = self.open(name);
        for folder in group.folders() {
            match fs::create_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    group.remove();
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok((group.clone(), group.limit(limits)))
    }
}

impl Group {
    fn limit(&self, limits: &Limits) -> Vec<String> {
        let mut missing = Vec::new();
        let mut set = |what: &str, done: io::Result<()>| {
            if let Err(error) = done {
                missing.push(format!("{what} limit: {error}"));
            }
        };
        if let Some(millis) = limits.cpu_millis {
            let quota = u64::from(millis) * PERIOD_MICROS / 1000;
            set(
                "CPU",
                match &self.0 {
                    Hierarchy::V2(folder) => {
                        passed_on(folder, "cpu.max", &format!("{quota} {PERIOD_MICROS}"))
                    }
                    Hierarchy::V1(folders) => in_folder(folders.cpu.as_ref(), |folder| {
                        fs::write(folder.join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())?;
                        fs::write(folder.join("cpu.cfs_quota_us"), quota.to_string())
                    }),
                },
            );
        }
        if let Some(bytes) = limits.memory_bytes {
            set(
                "memory",
                match &self.0 {
                    Hierarchy::V2(folder) => {
                        // Swapping beyond the limit would make the end slower. There may be none.
                        let _ = fs::write(folder.join("memory.swap.max"), "0");
                        passed_on(folder, "memory.max", &bytes.to_string())
                    }
                    Hierarchy::V1(folders) => in_folder(folders.memory.as_ref(), |folder| {
                        fs::write(folder.join("memory.limit_in_bytes"), bytes.to_string())
                    }),
                },
            );
        }
        missing
    }

    /// How many processes and threads there may be in it.
    pub(super) fn limit_processes(&self, most: u32) -> io::Result<()> {
        let most = most.to_string();
        match &self.0 {
            Hierarchy::V2(folder) => passed_on(folder, "pids.max", &most),
            Hierarchy::V1(folders) => {
                in_folder(folders.pids.as_ref(), |folder| fs::write(folder.join("pids.max"), &most))
            }
        }
    }

    fn folders(&self) -> Vec<&PathBuf> {
        match &self.0 {
            Hierarchy::V2(folder) => vec![folder],
            Hierarchy::V1(Folders { cpu, cpuacct, memory, freezer, pids }) => {
                // Controllers that are mounted together share a folder.
                let mut all: Vec<_> =
                    [cpu, cpuacct, memory, freezer, pids].into_iter().flatten().collect();
                all.dedup();
                all
            }
        }
    }

    /// What a process writes `0` to in order to join.
    pub(super) fn doors(&self) -> io::Result<Vec<File>> {
        let open = |folder: &PathBuf| File::options().write(true).open(folder.join("cgroup.procs"));
        self.folders().into_iter().map(open).collect()
    }

    /// The processes in it, whatever sessions they made.
    pub(super) fn pids(&self) -> Vec<i32> {
        let lists = self.folders().into_iter();
        let texts = lists.filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok());
        let mut pids: Vec<i32> = texts
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether the kernel ended one of them because the memory limit was reached.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let (folder, file) = match &self.0 {
            Hierarchy::V2(folder) => (Some(folder), "memory.events"),
            Hierarchy::V1(folders) => (folders.memory.as_ref(), "memory.oom_control"),
        };
        let kills = folder.and_then(|folder| field(&folder.join(file), "oom_kill"));
        kills.is_some_and(|kills| kills > 0)
    }

    /// CPU time since it was made, as far as it is counted.
    pub(super) fn cpu(&self) -> Option<Duration> {
        match &self.0 {
            Hierarchy::V2(folder) => {
                field(&folder.join("cpu.stat"), "usage_usec").map(Duration::from_micros)
            }
            Hierarchy::V1(folders) => {
                number(&folders.cpuacct.as_ref()?.join("cpuacct.usage")).map(Duration::from_nanos)
            }
        }
    }

    /// Memory that it holds, as far as it is counted.
    pub(super) fn memory(&self) -> Option<u64> {
        match &self.0 {
            Hierarchy::V2(folder) => number(&folder.join("memory.current")),
            Hierarchy::V1(folders) => {
                number(&folders.memory.as_ref()?.join("memory.usage_in_bytes"))
            }
        }
    }

    /// How much memory it may hold, if there is a bound.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        match &self.0 {
            Hierarchy::V2(folder) => number(&folder.join("memory.max")),
            Hierarchy::V1(folders) => {
                let limit = number(&folders.memory.as_ref()?.join("memory.limit_in_bytes"))?;
                // What has no bound is told as the largest multiple of a page.
                Some(limit).filter(|limit| *limit < 1 << 60)
            }
        }
    }

    pub(super) fn can_freeze(&self) -> bool {
        match &self.0 {
            Hierarchy::V2(folder) => folder.join("cgroup.freeze").exists(),
            Hierarchy::V1(folders) => folders.freezer.is_some(),
        }
    }

    /// Begins to freeze or thaw it; [`is_frozen`](Self::is_frozen) says when that is done.
    pub(super) fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        match &self.0 {
            Hierarchy::V2(folder) => {
                fs::write(folder.join("cgroup.freeze"), if frozen { "1" } else { "0" })
            }
            Hierarchy::V1(folders) => in_folder(folders.freezer.as_ref(), |folder| {
                let state = if frozen { "FROZEN" } else { "THAWED" };
                fs::write(folder.join("freezer.state"), state)
            }),
        }
    }

    pub(super) fn is_frozen(&self) -> bool {
        match &self.0 {
            Hierarchy::V2(folder) => field(&folder.join("cgroup.events"), "frozen") == Some(1),
            Hierarchy::V1(folders) => folders.freezer.as_ref().is_some_and(|folder| {
                fs::read_to_string(folder.join("freezer.state"))
                    .is_ok_and(|state| state.trim() == "FROZEN")
            }),
        }
    }

    /// Removes it, which works once it has no process; what is gone is removed.
    pub(super) fn remove(&self) {
        for folder in self.folders() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A line of `/proc/self/mountinfo`.
struct Mount<'a> {
    at: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (head, tail) = line.split_once(" - ")?;
        let at = head.split(' ').nth(4)?;
        let mut tail = tail.split(' ');
        Some(Self { at, kind: tail.next()?, options: tail.nth(1)? })
    }
}

fn is_writable(folder: &Path) -> bool {
    folder.join("cgroup.procs").exists()
        && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Those of the controllers used here that a group of version 2 has.
fn controllers(folder: &Path) -> Vec<&'static str> {
    let text = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    let has = |name: &&str| text.split_whitespace().any(|one| one == *name);
    ["cpu", "memory", "pids"].into_iter().filter(has).collect()
}

/// Sets a limit, for which the kernel has a file where it has the controller: one that is made by
/// writing would mean nothing.
fn passed_on(folder: &Path, file: &str, text: &str) -> io::Result<()> {
    match File::options().write(true).open(folder.join(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => in_folder(None, |_| Ok(())),
        Err(error) => Err(error),
        Ok(mut file) => file.write_all(text.as_bytes()),
    }
}

fn in_folder(folder: Option<&PathBuf>, write: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    match folder {
        Some(folder) => write(folder),
        None => Err(io::Error::other("its controller is not mounted or may not be written")),
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let mut values =
        text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    values.next()
}

/// The kernel's own.
const PERIOD_MICROS: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::Scratch;

    fn limits() -> Limits {
        let mut limits = Limits::default();
        (limits.cpu_millis, limits.memory_bytes) = (Some(500), Some(64 << 20));
        limits
    }

    fn files(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).expect("a folder");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file");
        }
    }

    #[test]
    fn version_2_is_spoken_in_its_words() {
        let scratch = Scratch::new("cgroup-2");
        let root = scratch.path().join("apps");
        files(
            &root,
            &[
                ("cgroup.controllers", "cpu memory pids"),
                ("cgroup.procs", ""),
                ("cgroup.subtree_control", ""),
            ],
        );
        let mounts =
            format!("1 2 0:3 / {} rw - cgroup2 cgroup2 rw,nsdelegate", scratch.path().display());
        let hierarchy = Hierarchy::find(Path::new("/apps"), &mounts).expect("it is delegated");
        // What the kernel makes with the folder.
        files(&root.join("one"), &[("cpu.max", ""), ("memory.max", ""), ("pids.max", "")]);
        assert_eq!(hierarchy, Hierarchy::V2(root.clone()));
        let passed_on = fs::read_to_string(root.join("cgroup.subtree_control")).expect("a file");
        assert_eq!(passed_on, "+cpu +memory +pids");
        assert!(hierarchy.holds_memory());

        let (group, missing) = hierarchy.make("one", &limits()).expect("a folder");
        assert!(missing.is_empty(), "{missing:?}");
        let read = |name: &str| fs::read_to_string(root.join("one").join(name)).expect("written");
        assert_eq!(
            (read("cpu.max"), read("memory.max")),
            ("50000 100000".into(), "67108864".into())
        );
        group.limit_processes(100).expect("written");
        assert_eq!((read("pids.max"), group.memory_limit()), ("100".into(), Some(64 << 20)));
        files(
            &root.join("one"),
            &[
                ("memory.events", "low 0\noom 1\noom_kill 1\n"),
                ("memory.current", "4096\n"),
                ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
                ("cgroup.events", "populated 1\nfrozen 1\n"),
                ("cgroup.freeze", "0"),
                ("cgroup.procs", "12\n7\n"),
            ],
        );
        assert!(group.ran_out_of_memory() && group.is_frozen() && group.can_freeze());
        assert_eq!((group.memory(), group.pids()), (Some(4096), vec![7, 12]));
        assert_eq!(group.cpu(), Some(Duration::from_micros(1500)));
        group.set_frozen(true).expect("written");
        assert_eq!(read("cgroup.freeze"), "1");
    }

    #[test]
    fn version_1_beside_an_empty_version_2_is_found_controller_by_controller() {
        let scratch = Scratch::new("cgroup-1");
        let at = |name: &str| scratch.path().join(name);
        files(&at("memory/apps"), &[("cgroup.procs", "")]);
        files(&at("freezer/apps"), &[("cgroup.procs", "")]);
        files(&at("unified/apps"), &[("cgroup.procs", ""), ("cgroup.controllers", "")]);
        let shown = scratch.path().display();
        let mounts = format!(
            "1 2 0:3 / {shown}/unified rw - cgroup2 cgroup2 rw\n\
             1 2 0:4 / {shown}/memory rw - cgroup cgroup rw,memory\n\
             1 2 0:5 / {shown}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
             1 2 0:6 / {shown}/freezer rw - cgroup cgroup rw,freezer"
        );
        let hierarchy = Hierarchy::find(Path::new("apps"), &mounts).expect("two controllers");
        let (group, missing) = hierarchy.make("one", &limits()).expect("folders");
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].starts_with("CPU limit: its controller"), "{missing:?}");
        let limit = fs::read_to_string(at("memory/apps/one/memory.limit_in_bytes"));
        assert_eq!(limit.expect("written"), "67108864");
        assert!(hierarchy.holds_memory() && group.limit_processes(100).is_err());
        files(&at("memory/apps/one"), &[("memory.oom_control", "under_oom 0\noom_kill 0\n")]);
        assert!(!group.ran_out_of_memory() && group.can_freeze());
        assert_eq!(group.cpu(), None);
        group.set_frozen(true).expect("written");
        files(&at("freezer/apps/one"), &[("freezer.state", "FREEZING\n")]);
        assert!(!group.is_frozen(), "not all of it yet");
    }

    #[test]
    fn a_version_2_that_bounds_processes_alone_is_not_taken_for_one_with_limits() {
        let scratch = Scratch::new("cgroup-pids");
        let at = |name: &str| scratch.path().join(name);
        files(&at("unified/apps"), &[("cgroup.procs", ""), ("cgroup.controllers", "pids")]);
        files(&at("memory/apps"), &[("cgroup.procs", "")]);
        let shown = scratch.path().display();
        let two = format!("1 2 0:3 / {shown}/unified rw - cgroup2 cgroup2 rw");
        let both = format!("{two}\n1 2 0:4 / {shown}/memory rw - cgroup cgroup rw,memory");
        let find = |mounts: &str| Hierarchy::find(Path::new("apps"), mounts).expect("one of them");
        assert!(find(&both).holds_memory() && !find(&two).holds_memory());
    }

    #[test]
    fn a_group_that_is_not_there_is_named() {
        let why = Hierarchy::find(Path::new("/none"), "").expect_err("nothing is mounted");
        assert!(why.contains("no control group `none` may be written here"), "{why}");
    }
}
