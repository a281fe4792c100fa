//! All processes of an instance: found, signalled, and counted until none is left.
//!
//! The first process leads a session, and what it starts stays in it unless it leaves on purpose;
//! a control group, where there is one, holds even those. The number of a session cannot be given
//! to a stranger while any process is in it. Once the leader is gone and was waited for it might
//! have emptied and be somebody else's: from then on a process counts only when it
//! [is at home](proc::is_at_home) in the instance's folder.

use std::path::{Path, PathBuf};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};

use super::{
    cgroup::Group as Cgroup,
    proc::{self, Stat},
};

/// The processes of one instance.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) leader: Pid,
    pub(super) folder: PathBuf,
    pub(super) cgroup: Option<Cgroup>,
    /// Leaders of other sessions that count as its own: commands run beside it.
    pub(super) guests: Vec<Pid>,
    /// The leader lives or is waited for by us: its number is certainly its own.
    pub(super) is_led: bool,
}

impl Group {
    /// That of a process which was just made.
    pub(super) fn led_by(leader: Pid, folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self { leader, folder, cgroup: None, guests: Vec::new(), is_led: true }
    }

    /// Those that live.
    pub(super) fn members(&self) -> Vec<Stat> {
        let confined = self.cgroup.as_ref().map(Cgroup::pids).unwrap_or_default();
        let is_ours = |stat: &Stat| {
            let is_known = self.is_led || proc::is_at_home(stat.pid, &self.folder);
            is_known || confined.contains(&stat.pid)
        };
        let leaders = self.leaders();
        let found = proc::of_sessions(&leaders, &confined);
        found.filter(|stat| stat.lives() && is_ours(stat)).collect()
    }

    pub(super) fn pids(&self) -> Vec<i32> {
        self.members().iter().map(|stat| stat.pid).collect()
    }

    /// Waits for those that have ended and fell to this program, as orphans do to the first process
    /// of a container: nobody else would. By their number alone, since what is waited for has it
    /// until then; the leaders have descriptors of their own.
    pub(super) fn reap_orphans(&self) {
        let leaders = self.leaders();
        let ended = proc::of_sessions(&leaders, &[]).filter(|stat| !stat.lives());
        for orphan in ended.filter(|stat| self.is_led && !leaders.contains(&stat.pid)) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            // It may as well be somebody else's child.
            let _ = orphan.id().map(|pid| waitid(WaitId::Pid(pid), options));
        }
    }

    fn leaders(&self) -> Vec<i32> {
        let leaders = [self.leader].into_iter().chain(self.guests.iter().copied());
        leaders.map(Pid::as_raw_pid).collect()
    }

    /// Signals all of them, whatever groups they made inside the session.
    pub(super) fn signal(&self, signal: Signal) {
        if self.is_led {
            // One call for nearly all: nothing is forked between two of its members.
            let _ = kill_process_group(self.leader, signal);
        }
        let leader = self.leader.as_raw_pid();
        for stat in self.members() {
            if !(self.is_led && stat.group == leader) {
                send(&stat, signal);
            }
        }
    }
}

/// Signals a process if it is still the one that was seen.
fn send(seen: &Stat, signal: Signal) {
    let Some(pid) = seen.id() else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    // In this order: what the descriptor means cannot change after the number was compared.
    if Stat::of(seen.pid).is_some_and(|now| now.start == seen.start) {
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}
