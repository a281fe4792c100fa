//! What a backend is told when it is made.

use std::{
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use runner_core::{Error, error::ErrorKind};
use rustix::{
    fs::Mode,
    process::{Gid, Uid, geteuid},
};

use super::{Process, cgroup::Hierarchy, proc, record::Directory};

/// Makes a [`Process`] backend; from [`Process::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until `build`"]
pub struct ProcessBuilder {
    directory: PathBuf,
    ports: RangeInclusive<u16>,
    port_rest: Duration,
    port_claims: PathBuf,
    user: Option<(u32, u32)>,
    cgroup: Option<PathBuf>,
    require_limits: bool,
    max_instances: u32,
    max_open_files: Option<u64>,
    max_processes: Option<u32>,
    output_bound: u64,
    disk_reserve: u64,
    umask: u32,
}

/// What was told, checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) directory: Directory,
    /// Where relative programs are, unless a request says otherwise.
    pub(super) base: PathBuf,
    pub(super) boot_id: String,
    pub(super) ports: RangeInclusive<u16>,
    pub(super) port_rest: Duration,
    pub(super) port_claims: PathBuf,
    pub(super) user: Option<(Uid, Gid)>,
    /// The group to put instances in, or why there is none.
    pub(super) cgroup: Result<Hierarchy, String>,
    pub(super) require_limits: bool,
    pub(super) max_instances: u32,
    pub(super) max_open_files: Option<u64>,
    pub(super) max_processes: u32,
    /// Whether somebody asked for that bound, and so is told where it cannot be had.
    pub(super) is_processes_asked: bool,
    pub(super) output_bound: u64,
    pub(super) disk_reserve: u64,
    pub(super) umask: Mode,
}

impl ProcessBuilder {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            ports: 20_000..=24_999,
            port_rest: Duration::from_secs(60),
            port_claims: "/tmp/runner-ports".into(),
            user: None,
            cgroup: None,
            require_limits: false,
            max_instances: 1000,
            max_open_files: None,
            max_processes: None,
            output_bound: 4 << 20,
            disk_reserve: 16 << 20,
            umask: 0o027,
        }
    }

    /// Where instances listen: 20000 to 24999 unless it is said, which leaves room for ports that
    /// rest and for other backends of the machine. It has to lie outside of the ephemeral range,
    /// whose ports are taken by anybody's outgoing connections.
    pub fn ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.ports = ports;
        self
    }

    /// How long a port is given to nobody after its instance has ended: a minute unless it is
    /// said, which is how long clients go on knowing an address.
    pub fn port_rest(mut self, rest: Duration) -> Self {
        self.port_rest = rest;
        self
    }

    /// Where all backends of this machine tell each other which ports they have given out, whoever
    /// runs them: `/tmp/runner-ports` unless it is said. It is made where it is missing, for
    /// everybody to write to, as `/tmp` is. Where it cannot be used (nothing may be written there,
    /// a link, everybody may remove anything in it) what is given out is kept in the backend's own
    /// directory, and a port that another backend gave out is passed over only once somebody
    /// listens on it.
    pub fn port_claims(mut self, directory: impl Into<PathBuf>) -> Self {
        self.port_claims = directory.into();
        self
    }

    /// As whom instances run. It is never best effort: where it cannot be done, nothing starts.
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// The control group below which each instance gets one of its own, as a path below the mount
    /// of the hierarchy (`/runner`, `/user.slice/runner.service/apps`). It has to be there, may be
    /// written and, on version 2, has no processes of its own. Without one, limits are warned of.
    pub fn cgroup(mut self, path: impl Into<PathBuf>) -> Self {
        self.cgroup = Some(path.into());
        self
    }

    /// A start fails when a limit that it asks for cannot be had, instead of warning of it.
    pub fn require_limits(mut self) -> Self {
        self.require_limits = true;
        self
    }

    /// How many instances there may be at once, of all platforms that use this handle: a thousand
    /// unless it is said, since each takes a port.
    pub fn max_instances(mut self, most: u32) -> Self {
        self.max_instances = most;
        self
    }

    /// How many files an instance may have open; as many as this program unless it is said.
    pub fn max_open_files(mut self, most: u64) -> Self {
        self.max_open_files = Some(most);
        self
    }

    /// How many processes and threads an instance may have, its commands included: 4096 unless it
    /// is said, far above what programs need and far below what a machine has, so that one that
    /// forks without end harms itself alone. It is held by the [control group](Self::cgroup); where
    /// none can hold it there is a warning if it was said, or a refusal where limits are
    /// [required](Self::require_limits).
    ///
    /// The limit that processes have by themselves (`RLIMIT_NPROC`) is no stand-in: it counts all
    /// processes of a user, so instances would take them from each other, and root has none.
    pub fn max_processes(mut self, most: u32) -> Self {
        self.max_processes = Some(most);
        self
    }

    /// How much of each of an instance's outputs lies on the disk, in bytes: 4 MiB unless it is
    /// said, at least 64 KiB. What is written between two looks comes on top.
    pub fn output_bound(mut self, bytes: u64) -> Self {
        self.output_bound = bytes;
        self
    }

    /// Disk space that is set aside, in bytes: 16 MiB unless it is said. When the disk has no
    /// more than this left, outputs are freed as soon as they are read; when it is full, what has
    /// to be recorded is written in place of the reserve.
    pub fn disk_reserve(mut self, bytes: u64) -> Self {
        self.disk_reserve = bytes;
        self
    }

    /// Which permissions files that instances make do not get: `0o027` unless it is said.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = mask;
        self
    }

    /// The backend. Nothing is started, and no thread.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made or written, the range of ports is empty or overlaps the
    /// ephemeral one, or instances should run as somebody that this program may not become.
    pub fn build(self) -> Result<Process, Error> {
        check_ports(&self.ports)?;
        let user = self.user.map(check_user).transpose()?;
        let (base, directory) = make_directory(&self.directory)?;
        let cgroup = match &self.cgroup {
            None => Err("no control group was named for this backend".to_owned()),
            Some(path) => {
                let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
                Hierarchy::find(path, &mounts)
            }
        };
        let boot_id = proc::boot_id().map_err(|error| {
            Error::unavailable("/proc is not mounted; processes cannot be told apart without it")
                .caused_by(error)
        })?;
        Ok(Process::of(Settings {
            directory: Directory(directory),
            base,
            boot_id,
            ports: self.ports,
            port_rest: self.port_rest,
            port_claims: self.port_claims,
            user,
            cgroup,
            require_limits: self.require_limits,
            max_instances: self.max_instances,
            max_open_files: self.max_open_files,
            max_processes: self.max_processes.unwrap_or(MOST_PROCESSES),
            is_processes_asked: self.max_processes.is_some(),
            output_bound: self.output_bound.max(64 << 10),
            disk_reserve: self.disk_reserve,
            umask: Mode::from_raw_mode(self.umask),
        }))
    }
}

fn check_ports(ports: &RangeInclusive<u16>) -> Result<(), Error> {
    let (from, to) = (*ports.start(), *ports.end());
    if from == 0 || from > to {
        return Err(Error::invalid(format!("there is no port from {from} to {to}")));
    }
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_ascii_whitespace().filter_map(|bound| bound.parse::<u16>().ok());
    if let (Some(first), Some(last)) = (bounds.next(), bounds.next())
        && from <= last
        && first <= to
    {
        return Err(Error::invalid(format!(
            "ports {from} to {to} overlap {first} to {last}, which outgoing connections of this \
             machine take at random; choose a range outside of it"
        )));
    }
    Ok(())
}

fn check_user((uid, gid): (u32, u32)) -> Result<(Uid, Gid), Error> {
    // The kernel takes these for "as it is", which here would be this program's own user.
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Error::invalid(format!("{} is nobody's number; name another user", u32::MAX)));
    }
    let own = geteuid();
    match own.is_root() || own.as_raw() == uid && rustix::process::getegid().as_raw() == gid {
        true => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        false => Err(Error::new(
            ErrorKind::Denied,
            format!(
                "instances should run as user {uid} and group {gid}, and user {} may not become \
                 another; run as root, or name no user",
                own.as_raw()
            ),
        )),
    }
}

/// Where relative paths begin, and the directory, which is there and may be written.
fn make_directory(given: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let denied = |error: io::Error| {
        let shown = given.display();
        Error::new(
            ErrorKind::Denied,
            format!("the directory {shown} cannot be written; name one that this user may write"),
        )
        .caused_by(error)
    };
    let base = std::env::current_dir().map_err(denied)?;
    fs::create_dir_all(given).map_err(denied)?;
    let directory = given.canonicalize().map_err(denied)?;
    // A directory may be there and still be read-only.
    let probe = directory.join(format!("probe-{}", std::process::id()));
    fs::write(&probe, "").and_then(|()| fs::remove_file(&probe)).map_err(denied)?;
    Ok((base, directory))
}

/// As Kubernetes is usually told for a pod.
const MOST_PROCESSES: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::Scratch;

    #[test]
    fn ports_that_anybody_may_take_are_refused_with_the_range_to_avoid() {
        let scratch = Scratch::new("config-ports");
        let refusal = |ports| {
            let built = Process::builder(scratch.path()).ports(ports).build();
            built.expect_err("it is no good range").to_string()
        };
        let ephemeral = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let text = ephemeral.expect("Linux");
        let first: u16 = text.split_whitespace().next().expect("two").parse().expect("a port");
        assert!(refusal(first - 1..=first).contains("choose a range outside"));
        assert!(refusal(0..=10).contains("no port from 0 to 10"));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_refused_by_name() {
        let scratch = Scratch::new("config-directory");
        let file = scratch.path().join("file");
        fs::write(&file, "").expect("written");
        for directory in [file.join("below"), file, "/proc/nowhere".into()] {
            let error = Process::new(&directory).expect_err("it cannot be a directory");
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert!(error.to_string().contains(&directory.display().to_string()), "{error}");
        }
    }
}
