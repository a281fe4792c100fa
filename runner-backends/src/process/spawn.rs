//! Between fork and exec, and the calls that only exist as unsafe ones: all such code of the crate.
//!
//! A forked child of a program with many threads has one thread and whatever locks the others held
//! at that moment, for ever. So nothing here allocates, formats or takes a lock after the fork:
//! everything is prepared before it, and what runs after it are plain system calls.

#![expect(unsafe_code, reason = "`pre_exec`, and the calls for which no safe form exists")]

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, Stdio},
};

use rustix::{
    fs::Mode,
    process::{Gid, Pid, PidfdFlags, Resource, Rlimit, Uid},
};

/// All that a child needs on its way to becoming an instance.
pub(super) struct Plan {
    /// The program by its full path, with arguments, environment and directory.
    pub(super) command: Command,
    pub(super) stdout: File,
    pub(super) stderr: File,
    /// Where the child writes its own process id, or the step that failed.
    pub(super) birth: File,
    /// `cgroup.procs` of the groups that it joins.
    pub(super) cgroups: Vec<File>,
    pub(super) user: Option<(Uid, Gid)>,
    pub(super) umask: Mode,
    pub(super) open_files: Option<u64>,
}

/// A child that has become an instance.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

/// Forks and answers once the child has become the program, or why it has not.
///
/// When it has not, `birth` names the step that failed; where it holds a number, all were taken and
/// the program itself could not be run.
pub(super) fn spawn(plan: Plan) -> io::Result<Born> {
    spawn_and_hold(plan, |pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
}

fn spawn_and_hold(
    plan: Plan,
    hold: impl FnOnce(Pid) -> Result<OwnedFd, rustix::io::Errno>,
) -> io::Result<Born> {
    let Plan { mut command, stdout, stderr, birth, cgroups, user, umask, open_files } = plan;
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let prepare = move || {
        let step = |name: &'static [u8], result: Result<(), rustix::io::Errno>| {
            result.map_err(|error| {
                let _ = rustix::io::write(&birth, name);
                io::Error::from(error)
            })
        };
        // Before the user is changed, which may no longer write there.
        for group in &cgroups {
            step(b"join its control group", rustix::io::write(group, b"0").map(drop))?;
        }
        step(b"lead a session of its own", rustix::process::setsid().map(drop))?;
        reset_signals();
        if let Some((uid, gid)) = user {
            step(b"give up its groups", rustix::thread::set_thread_groups(&[]))?;
            step(b"change its group", rustix::thread::set_thread_res_gid(gid, gid, gid))?;
            step(b"change its user", rustix::thread::set_thread_res_uid(uid, uid, uid))?;
        }
        rustix::process::umask(umask);
        let no_core = Rlimit { current: Some(0), maximum: Some(0) };
        step(b"forbid core dumps", rustix::process::setrlimit(Resource::Core, no_core))?;
        if let Some(most) = open_files {
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            step(b"limit its open files", rustix::process::setrlimit(Resource::Nofile, limit))?;
        }
        step(b"forbid new privileges", rustix::thread::set_no_new_privs(true))?;
        step(b"close what it should not have", close_the_rest())?;
        let mut digits = [0; 12];
        let digits = decimal(rustix::process::getpid().as_raw_pid(), &mut digits);
        step(b"leave its number", rustix::io::write(&birth, digits).map(drop))
    };
    // SAFETY: `prepare` runs after the fork in the child. It calls system calls without locks or
    // allocation, through rustix and libc, and touches only what it owns: descriptors that were
    // opened before, and values on its stack. An `io::Error` of an error number allocates nothing.
    unsafe { command.pre_exec(prepare) };
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    // The child cannot have been reaped, so the number is still its own.
    match hold(pid) {
        Ok(pidfd) => Ok(Born { pid, pidfd }),
        Err(error) => {
            // Another thread may have opened the last file that this program may. The child runs
            // already, and nobody would ever be told of it: all of its group ends here.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            let _ = child.wait();
            Err(error.into())
        }
    }
}

/// A program that was told to ignore signals would pass that on: an instance hears all of them.
fn reset_signals() {
    for number in 1..=64 {
        // SAFETY: `signal` with SIG_DFL installs no handler and is safe to call after a fork. It
        // fails for numbers that cannot be set, which leaves those as they are.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Everything above standard error closes when the program begins; not before, since the channel
/// on which a failure is told is among it.
fn close_the_rest() -> Result<(), rustix::io::Errno> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes three integers and changes flags of descriptors of this process only,
    // which after the fork is the child.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    };
    if done == 0 {
        return Ok(());
    }
    // Before Linux 5.11. Rust's own descriptors close by themselves; this is for all others.
    let most = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(1 << 16);
    for number in FIRST as i32..i32::try_from(most).unwrap_or(1 << 16) {
        // SAFETY: setting a flag on a number that is no open descriptor fails and does nothing.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Writes a number without allocating.
fn decimal(number: i32, buffer: &mut [u8; 12]) -> &[u8] {
    let (mut rest, mut at) = (number.unsigned_abs(), buffer.len());
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &buffer[at..];
        }
    }
}

/// How a process ended that is not a child of this one, as `wait` would tell it; nothing where the
/// kernel does not say (before 6.15) or it has not ended.
pub(super) fn exit_of_stranger(pidfd: &OwnedFd) -> Option<i32> {
    /// `struct pidfd_info` in its first form, which all later kernels fill.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, struct pidfd_info)
    const GET_INFO: libc::c_ulong =
        (3 << 30) | ((size_of::<Info>() as libc::c_ulong) << 16) | (0xFF << 8) | 11;
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the request number carries the size of `Info`, the kernel writes at most that many
    // bytes, and `info` lives until the call is over. Any bytes make a valid `Info`.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    (done == 0 && info.mask & EXIT != 0).then_some(info.exit_code)
}

/// The session of a process; 0 for the kernel's own, and nothing where it is not told.
///
/// `rustix` has this too, and takes 0 for impossible.
pub(super) fn session_of(pid: i32) -> Option<i32> {
    // SAFETY: the call takes an integer and touches no memory.
    let session = unsafe { libc::getsid(pid) };
    (session >= 0).then_some(session)
}

/// Its group, likewise.
pub(super) fn group_of(pid: i32) -> Option<i32> {
    // SAFETY: as above.
    let group = unsafe { libc::getpgid(pid) };
    (group >= 0).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{proc, tests::Scratch};

    fn plan(scratch: &Scratch, script: &str) -> Plan {
        let file = |name: &str| File::create(scratch.path().join(name)).expect("a file");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Plan {
            command,
            stdout: file("stdout"),
            stderr: file("stderr"),
            birth: file("birth"),
            cgroups: Vec::new(),
            user: None,
            umask: Mode::empty(),
            open_files: None,
        }
    }

    #[test]
    fn a_child_that_cannot_be_held_is_ended_with_all_it_started() {
        let scratch = Scratch::new("spawn-held");
        let mut born = None;
        let spawned = spawn_and_hold(plan(&scratch, "sleep 1000 & echo up; wait"), |pid| {
            // Not before it has a child of its own.
            while std::fs::read(scratch.path().join("stdout")).expect("a file") != b"up\n" {
                std::thread::yield_now();
            }
            born = Some(pid.as_raw_pid());
            Err(rustix::io::Errno::MFILE)
        });
        let error = spawned.expect_err("it cannot be held");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        let pid = born.expect("it ran");
        assert_eq!(proc::Stat::of(pid), None, "it was waited for");
        while proc::of_sessions(&[pid], &[]).any(|stat| stat.lives()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_kernel_s_own_processes_have_neither_group_nor_session() {
        let own = std::process::id() as i32;
        assert!(session_of(own).is_some_and(|session| session >= 0));
        assert!(group_of(own).is_some_and(|group| group > 0));
        assert_eq!((session_of(i32::MAX), group_of(i32::MAX)), (None, None), "there is none");
        // In a container there may be none of them to be seen.
        let name = std::fs::read_to_string("/proc/2/comm").unwrap_or_default();
        if name.trim() == "kthreadd" {
            assert_eq!((session_of(2), group_of(2)), (Some(0), Some(0)));
        }
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for number in [0, 7, 10, 4_194_304, i32::MAX] {
            assert_eq!(decimal(number, &mut [0; 12]), number.to_string().as_bytes());
        }
    }
}
