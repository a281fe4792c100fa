//! Ending: asked, waited for, killed, swept, and every trace removed.

use std::{os::fd::OwnedFd, time::Duration};

use runner_core::{
    Error,
    backend::{Condition, Exit, ExitStatus, Fence, Hint, ListedInstance},
    id::InstanceId,
    time::Timestamp,
};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::{
    super::{
        group::Group,
        record::{self, Key},
        spawn::exit_of_stranger,
    },
    Reply, SHORTLY, Worker, answer,
    instance::{Instance, Phase},
    past::Ended,
};

impl Worker {
    pub(super) fn handle_stop(
        &mut self,
        fence: Fence,
        instance: InstanceId,
        grace: Duration,
        reply: Reply<Exit>,
    ) {
        if let Err(error) = self.admit_for(fence, instance) {
            return answer(reply, Err(error));
        }
        let key = Key { platform: fence.platform, instance };
        self.past.mark_stopped(key);
        if self.living.contains_key(&key) {
            self.ask_to_end(key, grace);
            if let Some(instance) = self.living.get_mut(&key) {
                instance.stops.push(reply);
            }
            return;
        }
        let exit = self.past.get_mut(key).map(|ended| {
            ended.by_itself = false;
            ended.exit.clone()
        });
        self.trash.throw(self.settings.directory.folder(key).path());
        answer(reply, Ok(exit.unwrap_or_else(Exit::unknown)));
    }

    fn ask_to_end(&mut self, key: Key, grace: Duration) {
        let now = self.clock.now();
        let Some(instance) = self.living.get_mut(&key) else { return };
        let soonest = now + grace;
        match instance.phase {
            // In this order, so that what was frozen hears it before it does anything else.
            Phase::Runs => {
                instance.group.signal(Signal::TERM);
                thaw(instance);
                instance.phase = Phase::Asked { kill_at: soonest };
            }
            // Whoever asks again with a shorter grace is in more of a hurry.
            Phase::Asked { kill_at } => {
                instance.phase = Phase::Asked { kill_at: kill_at.min(soonest) };
            }
            Phase::Killed | Phase::Swept { .. } => {}
        }
    }

    /// Kills it, with a reason that is told as its last line.
    pub(super) fn kill(&mut self, key: Key, reason: Option<String>) {
        let Some(instance) = self.living.get_mut(&key) else { return };
        if instance.lives() {
            instance.reason = reason.or_else(|| instance.reason.take());
            kill(instance);
        }
    }

    /// The kernel says that the first process of an instance has ended.
    pub(super) fn handle_leader_ended(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(instance) = self.living.get_mut(&key) else { return };
        let Some(pidfd) = &instance.pidfd else { return };
        // Looked at and left: while it is a zombie nobody else can be given its number.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = match waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(pidfd)), look) {
            Ok(Some(status)) => status_of(&status),
            Ok(None) => return,
            // Not our child: adopted, and its parent has waited for it.
            Err(_) => {
                instance.group.is_led = false;
                exit_of_stranger(pidfd).map_or(ExitStatus::Unknown, status_of_wait)
            }
        };
        let _ = rustix::event::epoll::delete(&self.epoll, pidfd);
        self.tokens.remove(&instance.token);
        thaw(instance);
        instance.phase = Phase::Swept { status, again: now };
        self.handle_end_due(key);
    }

    /// What is due on the way to its end.
    pub(super) fn handle_end_due(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(instance) = self.living.get_mut(&key) else { return };
        match instance.phase {
            Phase::Asked { kill_at } if kill_at <= now => kill(instance),
            Phase::Swept { status, again } if again <= now => {
                instance.group.signal(Signal::KILL);
                if instance.commands.is_empty() && instance.group.members().is_empty() {
                    instance.group.reap_orphans();
                    self.finish(key, status);
                } else {
                    instance.phase = Phase::Swept { status, again: now + SHORTLY };
                }
            }
            Phase::Runs | Phase::Asked { .. } | Phase::Killed | Phase::Swept { .. } => {}
        }
    }

    /// Nothing of it runs any more: removes what it had and tells everybody.
    fn finish(&mut self, key: Key, status: ExitStatus) {
        let now = self.clock.now();
        let Some(mut instance) = self.living.remove(&key) else { return };
        if let Some(pidfd) = &instance.pidfd {
            // Not our child: its parent does this.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(pidfd)), options);
        }
        let exit = self.exit_of(&mut instance, status, now);
        if let Some(group) = &instance.group.cgroup {
            group.remove();
        }
        if let Some(port) = instance.record.port {
            self.ports.release(port, instance.folder.path(), now);
        }
        let is_asked = self.past.is_stopped(key) || !instance.reaps.is_empty();
        if is_asked {
            self.trash.throw(instance.folder.path());
        } else {
            self.trash.throw(&instance.folder.work());
            (instance.record.frozen, instance.record.ended) =
                (false, Some(record::Ended { at: now, exit: exit.clone() }));
            // Where this fails the next program finds that it has ended, and not how.
            let _ = self.disk.make_room(|| instance.folder.write(&instance.record));
        }
        // Most instances leave little: that much is gone before anybody is told.
        self.trash.empty(super::TRASH_AT_ONCE);
        self.remember(key, &instance, &exit, !is_asked);
        for reply in instance.stops {
            answer(reply, Ok(exit.clone()));
        }
        for reply in instance.reaps {
            answer(reply, Ok(()));
        }
        for (_, reply) in instance.proof.waiting {
            answer(reply, Err(super::prove::ended_before(&exit)));
        }
        for reply in instance.freezing.into_iter().flat_map(|freezing| freezing.replies) {
            answer(reply, Err(Error::not_found("it ended while it was being frozen")));
        }
        self.hint(key.platform, &Hint::Ended(key.instance, exit));
    }

    fn exit_of(&self, instance: &mut Instance, status: ExitStatus, now: Timestamp) -> Exit {
        let ran_out = instance.group.cgroup.as_ref().is_some_and(|it| it.ran_out_of_memory());
        let status = match (status, ran_out) {
            (ExitStatus::Signal(9) | ExitStatus::Unknown, true) => ExitStatus::OutOfMemory,
            (status, _) => status,
        };
        instance.tail.finish(now, self.settings.output_bound);
        let mut last_lines = instance.tail.ring.last(LAST_LINES);
        last_lines.extend(instance.reason.take());
        Exit { status, last_lines }
    }

    /// Keeps an end for those who ask about it.
    pub(super) fn remember(&mut self, key: Key, instance: &Instance, exit: &Exit, listed: bool) {
        let record = &instance.record;
        let ended = Ended {
            listed: ListedInstance {
                instance: key.instance,
                epoch: record.epoch,
                address: record.address(),
                condition: Condition::Ended(exit.clone()),
            },
            exit: exit.clone(),
            started: record.started(),
            ring: instance.tail.ring.clone(),
            by_itself: listed,
        };
        ended.ring.shrink();
        if let Some(forgotten) = self.past.insert(key, ended) {
            self.trash.throw(self.settings.directory.folder(forgotten).path());
        }
    }
}

/// Kills all of it; frozen by a control group of version 1 it could not even die.
fn kill(instance: &mut Instance) {
    instance.group.signal(Signal::KILL);
    thaw(instance);
    instance.phase = Phase::Killed;
}

/// It goes to its end from here, so its record is left as it is: a program that is killed before
/// that is followed by one that [looks](Worker::seen_frozen).
fn thaw(instance: &mut Instance) {
    if std::mem::take(&mut instance.record.frozen) || instance.freezing.is_some() {
        super::freeze::release(&instance.group);
    }
}

/// Ends a process that nothing is known about yet, and waits for it: it was just made.
pub(super) fn kill_at_once(group: &Group, pidfd: &OwnedFd) {
    group.signal(Signal::KILL);
    // A kill cannot be refused, so this does not take long.
    let _ = waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(pidfd)), WaitIdOptions::EXITED);
}

pub(super) fn status_of(status: &WaitIdStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Unknown,
    }
}

/// As `wait` encodes it.
fn status_of_wait(status: i32) -> ExitStatus {
    match (status & 0x7f, (status >> 8) & 0xff) {
        (0, code) => ExitStatus::Code(code),
        (signal, _) => ExitStatus::Signal(signal),
    }
}

/// What fits in the reason of a failed deployment.
pub(super) const LAST_LINES: usize = 10;
