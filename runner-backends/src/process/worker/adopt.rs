//! What an earlier program left: found, proven to be what it was, and held from then on.

use std::{collections::BTreeMap, fs, os::fd::OwnedFd, time::Duration};

use runner_core::{
    Error,
    backend::{ExitStatus, Fence, ForeignInstance},
    id::PlatformId,
    time::Timestamp,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::{
    super::{
        group::Group,
        proc::{self, Stat},
        record::{Folder, Key, Record},
        tail::Tail,
    },
    Reply, Waited, Worker, answer,
    freeze::{is_suspended, release},
    instance::{Instance, Phase, Proof},
};

impl Worker {
    /// Takes all instances of a platform into care that are not yet.
    pub(super) fn find_instances(&mut self, platform: PlatformId) {
        for key in self.settings.directory.instances(platform) {
            self.find_instance(key);
        }
    }

    /// The same for one.
    pub(super) fn find_instance(&mut self, key: Key) {
        let is_known = self.living.contains_key(&key) || self.past.get(key).is_some();
        if !is_known && self.settings.directory.folder(key).path().exists() {
            self.adopt(key);
        }
    }

    fn adopt(&mut self, key: Key) {
        let folder = self.settings.directory.folder(key);
        let recorded = |folder: &Folder| match folder.read() {
            Ok(Some(record)) if record.key() == key => Some(record),
            Ok(_) | Err(_) => None,
        };
        // A record is the last thing that a start writes, so with one there is nothing to wait for.
        // Nor may there be: any process that this program forks holds its locks until it becomes
        // another, and an instance would be missing from a list for as long.
        if let Some(record) = recorded(&folder) {
            return self.adopt_recorded(folder, record);
        }
        // Where it is locked, somebody starts it at this moment and looks after it.
        let Ok(Some(_lock)) = folder.lock() else { return };
        match recorded(&folder) {
            Some(record) => self.adopt_recorded(folder, record),
            // A start that was cut short, or a record that cannot be read: what came of it was
            // never told to anybody, or cannot be told from a stranger.
            None => self.clear_half_started(&folder),
        }
    }

    fn adopt_recorded(&mut self, folder: Folder, record: Record) {
        let (now, key) = (self.clock.now(), record.key());
        let Ok(tail) = Tail::open(&folder) else { return };
        let pidfd = self.find_leader(&record);
        let token = pidfd.as_ref().and_then(|pidfd| self.listen(Waited::Instance(key), pidfd).ok());
        let cgroup = match (&self.settings.cgroup, &record.cgroup) {
            (Ok(hierarchy), Some(name)) => Some(hierarchy.open(name)),
            _ => None,
        };
        // Without a leader its number proves nothing any more; nor does it after a restart.
        let leader = Pid::from_raw(record.pid).unwrap_or(Pid::INIT);
        let group =
            Group { cgroup, is_led: pidfd.is_some(), ..Group::led_by(leader, folder.path()) };
        self.clear_commands(&folder);
        let record = self.seen_frozen(&folder, &group, record);
        let phase = match pidfd.is_some() {
            true => Phase::Runs,
            false => Phase::Swept { status: ExitStatus::Unknown, again: now },
        };
        let again = match record.port {
            Some(_) if pidfd.is_some() && !record.frozen => now,
            _ => Timestamp::MAX,
        };
        // The folder of one that is not gone yet is not used again.
        let commands_begun = folder.last_command();
        let mut instance = Instance {
            folder,
            group,
            pidfd,
            token: token.unwrap_or(u64::MAX),
            tail,
            phase,
            reason: None,
            stops: Vec::new(),
            reaps: Vec::new(),
            freezing: None,
            proof: Proof { waiting: Vec::new(), again },
            given: None,
            commands: BTreeMap::new(),
            commands_begun,
            cpu: Duration::ZERO,
            record,
        };
        if let Some(ended) = instance.record.ended.clone() {
            instance.tail.finish(now, self.settings.output_bound);
            self.remember(key, &instance, &ended.exit, true);
            return;
        }
        if let (Some(port), Some(_)) = (instance.record.port, &instance.pidfd) {
            // Its claim may have been cleared away, or never been where others see it.
            let record = &instance.record;
            let folder = instance.folder.path();
            self.ports.hand_over(port, folder, record.pid, record.start_time);
        }
        if instance.pidfd.is_none() {
            instance.reason = Some("it ended while nobody watched: how is unknown".to_owned());
        }
        self.living.insert(key, instance);
        self.handle_end_due(key);
    }

    /// What is recorded, after the kernel was asked whether it is so.
    ///
    /// Each order of thawing and recording it leaves a moment in which a program may be killed. So
    /// an instance is recorded as frozen before it is and for as long as it may be, which is the
    /// safe way to be wrong, and whoever comes next looks. What is half frozen runs on: nobody was
    /// told that it does not.
    fn seen_frozen(&mut self, folder: &Folder, group: &Group, mut record: Record) -> Record {
        // Without the group that froze it there is nobody to ask, and nothing to thaw it with.
        let can_be_asked = group.cgroup.is_some() || record.cgroup.is_none();
        if record.frozen && group.is_led && can_be_asked && !is_suspended(group) {
            release(group);
            record.frozen = false;
            // Where this fails the next program looks again.
            let _ = self.disk.make_room(|| folder.write(&record));
        }
        record
    }

    /// A descriptor of the first process of an instance, if it is still there: the number, the
    /// time of its start and the machine's have to agree.
    fn find_leader(&self, record: &Record) -> Option<OwnedFd> {
        if record.ended.is_some() || record.boot_id != self.settings.boot_id {
            return None;
        }
        let pidfd = pidfd_open(Pid::from_raw(record.pid)?, PidfdFlags::empty()).ok()?;
        // In this order: the descriptor goes on meaning the process that the number meant.
        let stat = Stat::of(record.pid)?;
        (stat.start == record.start_time).then_some(pidfd)
    }

    /// Ends what a start that was cut short may have made. It left its number before it became the
    /// program, and nobody was told of it.
    pub(super) fn clear_half_started(&mut self, folder: &Folder) {
        let birth = fs::read_to_string(folder.birth()).unwrap_or_default();
        let leader = birth.trim().parse().ok().and_then(Pid::from_raw);
        if let Some(leader) = leader {
            // Not led: the number may be anybody's by now, so each has to be at home here.
            let group = Group { is_led: false, ..Group::led_by(leader, folder.path()) };
            group.signal(Signal::KILL);
        }
        let members = proc::all().filter(|stat| stat.lives());
        if members.into_iter().any(|stat| proc::is_at_home(stat.pid, folder.path())) {
            return; // found again, and looked at again, at the next list
        }
        self.trash.throw(folder.path());
    }

    /// Instances of other platforms in this directory that live.
    pub(super) fn foreign(&self, own: PlatformId) -> Vec<ForeignInstance> {
        let directory = &self.settings.directory;
        let others = directory.platforms().into_iter().filter(|platform| *platform != own);
        let keys = others.flat_map(|platform| directory.instances(platform));
        keys.filter(|key| match directory.folder(*key).read() {
            Ok(Some(record)) => record.ended.is_none() && self.is_there(&record),
            // Half a start is its platform's to clear away; what cannot be read is reported.
            Ok(None) => false,
            Err(_) => true,
        })
        .map(|key| ForeignInstance { platform: Some(key.platform), engine_name: key.name() })
        .collect()
    }

    fn is_there(&self, record: &Record) -> bool {
        record.boot_id == self.settings.boot_id
            && Stat::of(record.pid)
                .is_some_and(|stat| stat.start == record.start_time && stat.lives())
    }

    pub(super) fn handle_reap(&mut self, fence: Fence, name: &str, reply: Reply<()>) {
        if let Err(error) = self.admit(fence) {
            return answer(reply, Err(error));
        }
        // What is no name of ours was never here.
        let Some(key) = Key::parse(name) else { return answer(reply, Ok(())) };
        if key.platform == fence.platform {
            let own = format!("`{name}` is this platform's own; stop it instead");
            return answer(reply, Err(Error::invalid(own)));
        }
        if !self.living.contains_key(&key) && self.settings.directory.folder(key).path().exists() {
            self.adopt(key);
        }
        match self.living.get_mut(&key) {
            Some(instance) => {
                instance.reaps.push(reply);
                self.kill(key, Some("it was removed for another platform".to_owned()));
            }
            None => {
                self.trash.throw(self.settings.directory.folder(key).path());
                answer(reply, Ok(()));
            }
        }
    }
}
