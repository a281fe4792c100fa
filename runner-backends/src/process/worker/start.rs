//! Starting: everything is found and made before the fork, and removed again when it fails.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    process::Command,
    time::Duration,
};

use runner_core::{
    Error,
    backend::{Fence, Hint, PortRequest, StartRequest, Started},
    error::ErrorKind,
    time::Timestamp,
};
use rustix::event::epoll;

use super::{
    super::{
        cgroup::Group as Cgroup,
        group::Group,
        proc::{self, Stat},
        program::Program,
        record::{Folder, Key, Record, command_hash},
        spawn::{self, Plan},
        tail::Tail,
    },
    Call, Reply, Waited, Worker, answer,
    instance::{Given, Instance, Phase, Proof},
};

/// What holds an instance.
struct Confined {
    group: Option<Cgroup>,
    warnings: Vec<String>,
    held_memory: Option<u64>,
}

impl Worker {
    pub(super) fn handle_start(
        &mut self,
        fence: Fence,
        request: Box<StartRequest>,
        reply: Reply<Started>,
    ) {
        match self.start(fence, &request) {
            Ok(Some(started)) => answer(reply, Ok(started)),
            Ok(None) => self.postponed.push(Call::Start { fence, request, reply }),
            Err(error) => answer(reply, Err(error)),
        }
    }

    /// Nothing where another program works on the same instance at this moment.
    fn start(&mut self, fence: Fence, request: &StartRequest) -> Result<Option<Started>, Error> {
        self.admit_for(fence, request.instance)?;
        let key = Key { platform: fence.platform, instance: request.instance };
        if self.past.is_stopped(key) {
            return Err(over(key, "was stopped"));
        }
        if let Some(instance) = self.living.get(&key) {
            let is_same = instance.record.command_hash == command_hash(&request.command);
            return match is_same && instance.lives() {
                true => Ok(Some(instance.record.started())),
                false if is_same => Err(over(key, "has ended")),
                false => Err(over(key, "was started with another command")),
            };
        }
        if let Some(ended) = self.past.get(key) {
            return Ok(Some(ended.started.clone()));
        }
        self.check_room()?;
        let program = Program::of(request, &self.settings.base)?;
        self.disk.prepare();
        let folder = self.settings.directory.folder(key);
        fs::create_dir_all(folder.path()).map_err(|error| unwritable(&folder, error))?;
        let Some(lock) = folder.lock().map_err(|error| unwritable(&folder, error))? else {
            return Ok(None);
        };
        if folder.birth().exists() {
            // Somebody was faster between the look and the lock: it is found at the next try.
            return Ok(None);
        }
        let started = self.start_in(&folder, fence, request, program);
        drop(lock);
        match started {
            Ok(Some(instance)) => {
                let started = instance.record.started();
                self.living.insert(key, instance);
                self.hint(key.platform, &Hint::Changed);
                Ok(Some(started))
            }
            Ok(None) => {
                self.trash.throw(folder.path());
                Ok(None)
            }
            Err(error) => {
                self.trash.throw(folder.path());
                Err(error)
            }
        }
    }

    fn check_room(&self) -> Result<(), Error> {
        let living = self.living.len();
        if living >= self.settings.max_instances as usize {
            return Err(Error::exhausted(format!(
                "{living} instances run, and no more may; stop one, or allow this backend more"
            )));
        }
        Ok(())
    }

    /// Memory that instances may have by limits that are held, frozen ones included: what is frozen
    /// keeps its memory.
    pub(super) fn given_memory(&self) -> u64 {
        self.living.values().filter_map(|it| it.record.held_memory).fold(0, u64::saturating_add)
    }

    /// Nothing where another backend looks at the last free port at this moment.
    fn start_in(
        &mut self,
        folder: &Folder,
        fence: Fence,
        request: &StartRequest,
        program: Program,
    ) -> Result<Option<Instance>, Error> {
        let now = self.clock.now();
        let port = match request.port {
            PortRequest::None => None,
            PortRequest::Declared(_) => match self.ports.claim(folder.path(), now)? {
                Some(port) => Some(port),
                None => return Ok(None),
            },
        };
        let Confined { group: cgroup, warnings, held_memory } = match self.confine(fence, request) {
            Ok(confined) => confined,
            Err(error) => return Err(self.undo(folder, port, None, error)),
        };
        let fits = fits(held_memory, self.given_memory(), proc::total_memory());
        if let Err(error) = fits {
            return Err(self.undo(folder, port, cgroup, error));
        }
        let directory = program.directory.clone();
        let born = self
            .make_work(folder)
            .and_then(|()| self.plan(folder, request, program, port, cgroup.as_ref()))
            .and_then(|plan| {
                spawn::spawn(plan).map_err(|error| explain(folder, &request.command[0], error))
            });
        let born = match born {
            Ok(born) => born,
            Err(error) => return Err(self.undo(folder, port, cgroup, error)),
        };
        let pid = born.pid.as_raw_pid();
        let group = Group { cgroup: cgroup.clone(), ..Group::led_by(born.pid, folder.path()) };
        let record = Record {
            platform: fence.platform,
            epoch: fence.epoch,
            instance: request.instance,
            pid,
            // It may have ended, but it has not been waited for.
            start_time: Stat::of(pid).map_or(0, |stat| stat.start),
            boot_id: self.settings.boot_id.clone(),
            port,
            command_hash: command_hash(&request.command),
            cgroup: cgroup.as_ref().map(|_| cgroup_name(fence, request)),
            limits: request.limits,
            held_memory,
            warnings,
            started_at: now,
            directory,
            frozen: false,
            ended: None,
        };
        if let Some(port) = port {
            self.ports.hand_over(port, folder.path(), pid, record.start_time);
        }
        let kept = folder
            .write(&record)
            .and_then(|()| Tail::open(folder))
            .and_then(|tail| Ok((tail, self.listen(Waited::Instance(record.key()), &born.pidfd)?)));
        match kept {
            Ok((tail, token)) => {
                let again = if port.is_some() { now } else { Timestamp::MAX };
                Ok(Some(Instance {
                    folder: folder.clone(),
                    record,
                    group,
                    pidfd: Some(born.pidfd),
                    token,
                    tail,
                    phase: Phase::Runs,
                    reason: None,
                    stops: Vec::new(),
                    reaps: Vec::new(),
                    freezing: None,
                    proof: Proof { waiting: Vec::new(), again },
                    given: Some(Given {
                        environment: request.environment.clone(),
                        secrets: request.secrets.clone(),
                    }),
                    commands: BTreeMap::new(),
                    commands_begun: 0,
                    cpu: Duration::ZERO,
                }))
            }
            Err(error) => {
                super::end::kill_at_once(&group, &born.pidfd);
                Err(self.undo(folder, port, cgroup, unwritable(folder, error)))
            }
        }
    }

    /// Asks the kernel to tell when a process has ended.
    pub(super) fn listen(
        &mut self,
        waited: Waited,
        pidfd: &std::os::fd::OwnedFd,
    ) -> std::io::Result<u64> {
        let token = self.next_token;
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.epoll, pidfd, data, epoll::EventFlags::IN)?;
        self.next_token += 1;
        self.tokens.insert(token, waited);
        Ok(token)
    }

    /// The control group of an instance, and one warning about limits that cannot be had.
    fn confine(&self, fence: Fence, request: &StartRequest) -> Result<Confined, Error> {
        let limits = &request.limits;
        let mut missing = Vec::new();
        let (group, held_memory) = match self.make_group(fence, request) {
            Ok((group, failed)) => {
                missing.extend(failed);
                let held = group.memory_limit();
                (Some(group), limits.memory_bytes.filter(|_| held.is_some()))
            }
            Err(why) => {
                missing.extend(self.asked(request).map(|what| format!("{what}: {why}")));
                (None, None)
            }
        };
        if limits.disk_bytes.is_some() {
            missing.push("disk limit: local processes have none".to_owned());
        }
        if missing.is_empty() {
            return Ok(Confined { group, warnings: Vec::new(), held_memory });
        }
        let warning = format!("not held: {}", missing.join("; "));
        match self.settings.require_limits {
            false => {
                // Said here, since nothing is refused for it later.
                let uncounted = match limits.memory_bytes.is_some() && held_memory.is_none() {
                    true => "; nor is its memory counted against the machine's",
                    false => "",
                };
                Ok(Confined { group, warnings: vec![warning + uncounted], held_memory })
            }
            true => {
                if let Some(group) = group {
                    group.remove();
                }
                let message = format!("limits are required of this backend; {warning}");
                Err(Error::new(ErrorKind::Denied, message))
            }
        }
    }

    /// What could not be had is told in words.
    fn make_group(
        &self,
        fence: Fence,
        request: &StartRequest,
    ) -> Result<(Cgroup, Vec<String>), String> {
        let hierarchy = self.settings.cgroup.as_ref().map_err(Clone::clone)?;
        let (group, mut missing) = hierarchy
            .make(&cgroup_name(fence, request), &request.limits)
            .map_err(|error| format!("no control group could be made: {error}"))?;
        let bounded = group.limit_processes(self.settings.max_processes);
        if let (Err(error), true) = (bounded, self.settings.is_processes_asked) {
            missing.push(format!("bound on processes: {error}"));
        }
        Ok((group, missing))
    }

    /// The limits that were asked for and that a control group would hold.
    fn asked(&self, request: &StartRequest) -> Option<String> {
        let limits = &request.limits;
        let limits = match (limits.cpu_millis, limits.memory_bytes) {
            (Some(_), Some(_)) => Some("CPU and memory limits"),
            (Some(_), None) => Some("CPU limit"),
            (None, Some(_)) => Some("memory limit"),
            (None, None) => None,
        };
        let processes = self.settings.is_processes_asked.then_some("bound on processes");
        let all: Vec<_> = limits.into_iter().chain(processes).collect();
        (!all.is_empty()).then(|| all.join(" and "))
    }

    /// The directory of its own, which belongs to whoever it runs as.
    fn make_work(&self, folder: &Folder) -> Result<(), Error> {
        let make = || {
            fs::create_dir(folder.work())?;
            let Some((uid, gid)) = self.settings.user else { return Ok(()) };
            std::os::unix::fs::chown(folder.work(), Some(uid.as_raw()), Some(gid.as_raw()))
        };
        make().map_err(|error| unwritable(folder, error))
    }

    /// All that a program needs whose traces are kept in `folder`.
    pub(super) fn plan(
        &self,
        folder: &Folder,
        request: &StartRequest,
        program: Program,
        port: Option<u16>,
        cgroup: Option<&Cgroup>,
    ) -> Result<Plan, Error> {
        let settings = &*self.settings;
        let make = || {
            let [stdout, stderr] = Tail::create(folder)?;
            let birth = File::create(folder.birth())?;
            let doors = cgroup.map(Cgroup::doors).transpose()?.unwrap_or_default();
            Ok((stdout, stderr, birth, doors))
        };
        let (stdout, stderr, birth, cgroups) = make().map_err(|error| unwritable(folder, error))?;
        let mut command = Command::new(program.path);
        command.args(program.arguments).env_clear().envs(&request.environment);
        command.envs(request.secrets.iter().map(|(name, value)| (name, value.expose())));
        // Last: where it listens is not the spec's to say.
        command.env_remove("PORT").envs(port.map(|port| ("PORT", port.to_string())));
        command.current_dir(program.directory.unwrap_or_else(|| folder.work()));
        Ok(Plan {
            command,
            stdout,
            stderr,
            birth,
            cgroups,
            user: settings.user,
            umask: settings.umask,
            open_files: settings.max_open_files,
        })
    }

    /// Takes back what a start had taken before it failed.
    fn undo(
        &mut self,
        folder: &Folder,
        port: Option<u16>,
        cgroup: Option<Cgroup>,
        error: Error,
    ) -> Error {
        if let Some(port) = port {
            self.ports.release(port, folder.path(), self.clock.now());
        }
        if let Some(group) = cgroup {
            group.remove();
        }
        error
    }
}

/// Whether the machine has that much memory left to promise. A limit that nothing holds promises
/// nothing. One beyond what the machine has is as much as the machine has: so the first instance
/// always fits.
fn fits(wanted: Option<u64>, given: u64, total: u64) -> Result<(), Error> {
    let Some(wanted) = wanted else { return Ok(()) };
    match given == 0 || given.saturating_add(wanted) <= total {
        true => Ok(()),
        false => Err(Error::exhausted(format!(
            "it may use {} of memory, and of this machine's {} other instances may use {}; stop \
             one, or lower the limit",
            size(wanted),
            size(total),
            size(given),
        ))),
    }
}

/// As people say it.
fn size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    match bytes {
        GIB.. => {
            let tenths = u128::from(bytes) * 10 / u128::from(GIB);
            match tenths % 10 {
                0 => format!("{} GiB", tenths / 10),
                rest => format!("{}.{rest} GiB", tenths / 10),
            }
        }
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn cgroup_name(fence: Fence, request: &StartRequest) -> String {
    format!("{}-{}", fence.platform, request.instance)
}

fn over(key: Key, why: &str) -> Error {
    let message = format!("instance {} {why}; start another id", key.instance);
    Error::new(ErrorKind::Conflict, message)
}

pub(super) fn unwritable(folder: &Folder, error: std::io::Error) -> Error {
    if is_out_of_files(&error) {
        return out_of_files(error);
    }
    let shown = folder.path().display();
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    let (kind, why) = match full {
        true => (ErrorKind::Exhausted, "the disk is full"),
        false => (ErrorKind::Denied, "what an instance needs there cannot be written"),
    };
    Error::new(kind, format!("nothing was started in {shown}: {why}")).caused_by(error)
}

fn is_out_of_files(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn out_of_files(error: std::io::Error) -> Error {
    let message = "this program has as many files open as it may; let it have more (`ulimit -n`), \
                   or run fewer instances";
    Error::exhausted(message).caused_by(error)
}

/// Why a child did not become the program.
pub(super) fn explain(folder: &Folder, program: &str, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::StorageFull {
        // It had no room for its number, nor for the name of that step.
        return unwritable(folder, error);
    }
    if is_out_of_files(&error) {
        return out_of_files(error);
    }
    let birth = fs::read_to_string(folder.birth()).unwrap_or_default();
    let has_tried = birth.starts_with(|c: char| c.is_ascii_digit());
    let (kind, message) = match (birth.is_empty(), has_tried, error.kind()) {
        (true, ..) => {
            (ErrorKind::Exhausted, "no process could be made; the machine may have too many".into())
        }
        // The program was there: so it is something that it needs.
        (_, true, std::io::ErrorKind::NotFound) => (
            ErrorKind::NotFound,
            format!("`{program}` is there, and the interpreter it names is not"),
        ),
        (_, true, _) => (ErrorKind::Denied, format!("`{program}` cannot be run")),
        (_, false, _) => {
            (ErrorKind::Denied, format!("the process for `{program}` could not {birth}"))
        }
    };
    Error::new(kind, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn memory_that_is_held_is_promised_once() {
        assert!(fits(Some(2 * GIB), 6 * GIB, 8 * GIB).is_ok());
        let refusal = fits(Some(2 * GIB), 6 * GIB + GIB / 2, 8 * GIB - 1).expect_err("too much");
        assert_eq!(refusal.kind(), ErrorKind::Exhausted);
        assert_eq!(
            refusal.to_string(),
            "it may use 2 GiB of memory, and of this machine's 7.9 GiB other instances may use \
             6.5 GiB; stop one, or lower the limit"
        );
        assert!(fits(None, 100 * GIB, 8 * GIB).is_ok(), "what is not held is not counted");
        assert!(fits(Some(2 * GIB), 0, 2 * GIB - 1).is_ok(), "a machine of that size runs one");
        assert!(fits(Some(2 * GIB), 1, 2 * GIB).is_err());
    }

    #[test]
    fn amounts_are_told_as_people_say_them() {
        for (bytes, says) in [
            (512 << 20, "512 MiB"),
            (GIB, "1 GiB"),
            (GIB + GIB / 2, "1.5 GiB"),
            (25_276_502_016, "23.5 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(size(bytes), says);
        }
    }
}
