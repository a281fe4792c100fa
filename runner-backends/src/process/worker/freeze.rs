//! Standby: no CPU, all memory kept.
//!
//! By the control group where there is one with a freezer, which nobody inside can notice;
//! otherwise by SIGSTOP to all of it, which its own handler for SIGCONT sees. Which of them was
//! used follows from the record, so that a later program thaws what this one froze.

use std::time::Duration;

use runner_core::{
    Error,
    backend::{Fence, Hint},
    error::ErrorKind,
    id::InstanceId,
};
use rustix::process::Signal;

use super::{
    super::{group::Group, proc::Stat, record::Key},
    Reply, SHORTLY, Worker, answer,
    instance::{Freezing, Phase},
};

impl Worker {
    pub(super) fn handle_freeze(&mut self, fence: Fence, instance: InstanceId, reply: Reply<()>) {
        let now = self.clock.now();
        let key = Key { platform: fence.platform, instance };
        if let Err(error) = self.living(fence, instance) {
            return answer(reply, Err(error));
        }
        let Some(instance) = self.living.get_mut(&key) else { return };
        if instance.phase != Phase::Runs {
            let message = "it is being stopped, and what is frozen cannot end";
            return answer(reply, Err(Error::new(ErrorKind::Conflict, message)));
        }
        if instance.record.frozen {
            return answer(reply, Ok(()));
        }
        if let Some(freezing) = &mut instance.freezing {
            return freezing.replies.push(reply);
        }
        // On disk before it is so: a program that comes after this one may thaw what was never
        // frozen, and must not leave frozen what it takes for running.
        instance.record.frozen = true;
        let (folder, record) = (&instance.folder, &instance.record);
        let written = self.disk.make_room(|| folder.write(record));
        instance.record.frozen = false;
        if let Err(error) = written {
            let message = "that it is frozen cannot be recorded";
            return answer(reply, Err(Error::new(ErrorKind::Denied, message).caused_by(error)));
        }
        suspend(&instance.group);
        let deadline = now + LONGEST;
        instance.freezing = Some(Freezing {
            replies: vec![reply],
            deadline,
            again: now,
            released: false,
            leave: SHORTLY,
        });
        self.handle_freeze_due(key);
    }

    /// Looks whether the kernel has finished.
    pub(super) fn handle_freeze_due(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(instance) = self.living.get_mut(&key) else { return };
        let Some(freezing) = instance.freezing.take_if(|freezing| freezing.again <= now) else {
            return;
        };
        let result = match is_suspended(&instance.group) {
            true => Ok(()),
            false if freezing.deadline > now => {
                let released = !freezing.released && waits_for_a_stopped_child(&instance.group);
                let mut leave = freezing.leave;
                let again = match released {
                    true => {
                        release(&instance.group);
                        leave = (leave * 2).min(LONGEST_LEAVE);
                        now + freezing.leave
                    }
                    // What it forked meanwhile has not been told.
                    false => {
                        suspend(&instance.group);
                        now + SHORTLY
                    }
                };
                instance.freezing = Some(Freezing { again, released, leave, ..freezing });
                return;
            }
            false => {
                let members = instance.group.members();
                let going = members.iter().filter(|member| !member.is_stopped());
                let going: Vec<_> = going
                    .map(|it| format!("{} (pid {}) is {}", it.name, it.pid, it.state))
                    .collect();
                release(&instance.group);
                let going = going.join(", ");
                let message = format!("it was not frozen after {LONGEST:?} and runs on: {going}");
                Err(Error::new(ErrorKind::TimedOut, message))
            }
        };
        instance.record.frozen = result.is_ok();
        if result.is_err() {
            // It was written as frozen: the next program thaws it, which changes nothing.
            let (folder, record) = (&instance.folder, &instance.record);
            let _ = self.disk.make_room(|| folder.write(record));
        }
        for reply in freezing.replies {
            answer(reply, result.clone());
        }
        self.hint(key.platform, &Hint::Changed);
    }

    pub(super) fn thaw(&mut self, fence: Fence, instance: InstanceId) -> Result<(), Error> {
        let key = Key { platform: fence.platform, instance };
        let now = self.clock.now();
        self.living(fence, instance)?;
        let Some(instance) = self.living.get_mut(&key) else { return Ok(()) };
        if let Some(freezing) = instance.freezing.take() {
            for reply in freezing.replies {
                let message = "it was thawed before it was frozen";
                answer(reply, Err(Error::new(ErrorKind::Conflict, message)));
            }
        } else if !instance.record.frozen {
            return Ok(());
        }
        release(&instance.group);
        instance.record.frozen = false;
        if instance.record.port.is_some() {
            instance.proof.again = now;
        }
        let (folder, record) = (&instance.folder, &instance.record);
        let written = self.disk.make_room(|| folder.write(record));
        self.hint(key.platform, &Hint::Changed);
        written.map_err(|error| {
            Error::new(ErrorKind::Denied, "it runs, and that it does cannot be recorded")
                .caused_by(error)
        })
    }
}

fn suspend(group: &Group) {
    match freezer(group) {
        // What cannot be written shows as not frozen.
        Some(cgroup) => drop(cgroup.set_frozen(true)),
        None => group.signal(Signal::STOP),
    }
}

/// Lets all of it run again.
pub(super) fn release(group: &Group) {
    match freezer(group) {
        Some(cgroup) => drop(cgroup.set_frozen(false)),
        None => group.signal(Signal::CONT),
    }
}

pub(super) fn is_suspended(group: &Group) -> bool {
    match freezer(group) {
        Some(cgroup) => cgroup.is_frozen(),
        None => group.members().iter().all(Stat::is_stopped),
    }
}

/// Whether some of it cannot stop because what is stopped has to go on first: between `vfork` and
/// `exec` a parent waits, deaf to signals, for a child that the signal has reached already. Both
/// are let go for a moment, in which the child gets to its `exec`.
fn waits_for_a_stopped_child(group: &Group) -> bool {
    if freezer(group).is_some() {
        return false;
    }
    let members = group.members();
    let (stopped, going): (Vec<&Stat>, Vec<&Stat>) =
        members.iter().partition(|member| member.is_stopped());
    !stopped.is_empty() && !going.is_empty() && going.iter().all(|member| member.is_deaf())
}

fn freezer(group: &Group) -> Option<&super::super::cgroup::Group> {
    group.cgroup.as_ref().filter(|cgroup| cgroup.can_freeze())
}

/// Some turns of the scheduler, also where many processes share a core.
const LONGEST_LEAVE: Duration = Duration::from_millis(100);

/// A process in the middle of a disk's answer is frozen after it, and one without CPU once it gets
/// some; longer is not to be waited for.
const LONGEST: Duration = Duration::from_secs(5);
