//! Commands run beside an instance, in its surroundings: as its user, with its environment, in its
//! directory, under its limits.
//!
//! A command is no part of the instance and not its child. It leads a session of its own, so that
//! all of it can be ended without a hair of the instance, and is a guest in its group, so that it
//! is frozen, counted and in the end swept with it. What it writes goes to files, as an instance's
//! does: it may write more than anybody wants to read.
//!
//! Nobody waits for a command but who asked for it. So it does not outlive the last handle, and one
//! that an earlier program left running is ended when its instance is adopted.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use runner_core::{
    Error,
    backend::{CommandOutput, Exit, ExitStatus, Fence, PortRequest, StartRequest},
    error::{ErrorKind, Retry},
    id::InstanceId,
    source::ResolvedSource,
    time::Timestamp,
};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};

use super::{
    super::{
        group::Group,
        proc,
        program::Program,
        record::{Folder, Key},
        spawn,
        tail::Tail,
    },
    Reply, SHORTLY, Waited, Worker, answer,
    end::{LAST_LINES, kill_at_once, status_of},
    instance::{Command, CommandStage, Given, Instance, Phase},
    start::{explain, unwritable},
};

impl Command {
    pub(super) fn due(&self) -> Timestamp {
        match self.stage {
            CommandStage::Runs { until } => until,
            CommandStage::Killed => Timestamp::MAX,
            CommandStage::Swept { again, .. } => again,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Ends all of it and waits for that, unless it is frozen where it cannot even die.
    pub(super) fn end_at_once(self, is_frozen: bool) {
        self.group.signal(Signal::KILL);
        if is_frozen {
            return;
        }
        let pidfd = std::os::fd::AsFd::as_fd(&self.pidfd);
        // A kill cannot be refused, so this does not take long. Looked at and left, so that what it
        // had started meanwhile is still known by its number.
        let _ = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        self.group.signal(Signal::KILL);
        self.group.reap_orphans();
        let _ = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

impl Worker {
    pub(super) fn handle_run(
        &mut self,
        fence: Fence,
        instance: InstanceId,
        words: Vec<String>,
        limit: Duration,
        reply: Reply<CommandOutput>,
    ) {
        match self.begin_command(fence, instance, words, limit) {
            Ok(command) => command.reply = Some(reply),
            Err(error) => answer(reply, Err(error)),
        }
    }

    fn begin_command(
        &mut self,
        fence: Fence,
        id: InstanceId,
        words: Vec<String>,
        limit: Duration,
    ) -> Result<&mut Command, Error> {
        let (now, key) = (self.clock.now(), Key { platform: fence.platform, instance: id });
        let instance = self.living(fence, id)?;
        check_ready(instance)?;
        let request = surroundings(instance, words)?;
        instance.commands_begun += 1;
        let number = instance.commands_begun;
        let (port, cgroup) = (instance.record.port, instance.group.cgroup.clone());
        let folder = instance.folder.command(number);
        let program = Program::of(&request, &self.settings.base)?;
        let shown = request.command.first().cloned().unwrap_or_default();
        let born = fs::create_dir(folder.path())
            .map_err(|error| unwritable(&folder, error))
            .and_then(|()| self.plan(&folder, &request, program, port, cgroup.as_ref()))
            .and_then(|plan| spawn::spawn(plan).map_err(|error| explain(&folder, &shown, error)));
        let born = match born {
            Ok(born) => born,
            Err(error) => {
                self.trash.throw(folder.path());
                return Err(error);
            }
        };
        let group = Group::led_by(born.pid, folder.path());
        let watched = Tail::open(&folder)
            .and_then(|tail| Ok((tail, self.listen(Waited::Command(key, number), &born.pidfd)?)));
        let (tail, token) = match watched {
            Ok(watched) => watched,
            Err(error) => {
                kill_at_once(&group, &born.pidfd);
                self.trash.throw(folder.path());
                return Err(unwritable(&folder, error));
            }
        };
        let instance = self.living(fence, id)?;
        instance.group.guests.push(born.pid);
        Ok(instance.commands.entry(number).or_insert(Command {
            folder,
            group,
            pidfd: born.pidfd,
            token,
            tail,
            stage: CommandStage::Runs { until: now + limit },
            limit,
            is_over_time: false,
            reply: None,
        }))
    }

    /// The kernel says that the first process of a command has ended.
    pub(super) fn handle_command_ended(&mut self, key: Key, number: u64) {
        let now = self.clock.now();
        let instance = self.living.get_mut(&key);
        let Some(command) = instance.and_then(|it| it.commands.get_mut(&number)) else { return };
        // Looked at and left, as with an instance: its number stays its own.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let pidfd = std::os::fd::AsFd::as_fd(&command.pidfd);
        let Ok(Some(status)) = waitid(WaitId::PidFd(pidfd), look) else { return };
        let _ = rustix::event::epoll::delete(&self.epoll, &command.pidfd);
        self.tokens.remove(&command.token);
        command.stage = CommandStage::Swept { status: status_of(&status), again: now };
        self.handle_commands_due(key);
    }

    pub(super) fn handle_commands_due(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(instance) = self.living.get_mut(&key) else { return };
        let cannot_die = instance.record.frozen;
        let mut over = Vec::new();
        for (number, command) in &mut instance.commands {
            match command.stage {
                CommandStage::Runs { until } if until <= now => {
                    command.group.signal(Signal::KILL);
                    (command.stage, command.is_over_time) = (CommandStage::Killed, true);
                    // It ends with the thaw, and who asked has a limit.
                    if let Some(reply) = command.reply.take_if(|_| cannot_die) {
                        answer(reply, Err(over_time(command)));
                    }
                }
                CommandStage::Swept { again, status } if again <= now => {
                    command.group.signal(Signal::KILL);
                    match command.group.members().is_empty() {
                        true => over.push(*number),
                        false => {
                            command.stage = CommandStage::Swept { status, again: now + SHORTLY };
                        }
                    }
                }
                CommandStage::Runs { .. } | CommandStage::Killed | CommandStage::Swept { .. } => {}
            }
        }
        for number in over {
            self.finish_command(key, number);
        }
    }

    fn finish_command(&mut self, key: Key, number: u64) {
        let (now, bound) = (self.clock.now(), self.settings.output_bound);
        let Some(instance) = self.living.get_mut(&key) else { return };
        let Some(mut command) = instance.commands.remove(&number) else { return };
        instance.group.guests.retain(|guest| *guest != command.group.leader);
        command.group.reap_orphans();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _ = waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(&command.pidfd)), options);
        command.tail.finish(now, bound);
        let lives = instance.lives();
        self.trash.throw(command.folder.path());
        let Some(reply) = command.reply.take() else { return };
        let status = match command.stage {
            CommandStage::Swept { status, .. } => status,
            CommandStage::Runs { .. } | CommandStage::Killed => ExitStatus::Unknown,
        };
        let result = match (command.is_over_time, lives, status) {
            (true, ..) => Err(over_time(&command)),
            (false, false, ExitStatus::Signal(_)) => {
                Err(Error::not_found("the instance ended while the command ran in it"))
            }
            (false, ..) => {
                let last_lines = command.tail.ring.last(LAST_LINES);
                Ok(CommandOutput { exit: Exit { status, last_lines } })
            }
        };
        answer(reply, result);
    }

    /// Ends what an earlier program had run beside an instance. Each left its number before it
    /// became a program, and is it still where it is at home in the command's own folder.
    pub(super) fn clear_commands(&mut self, instance: &Folder) {
        for folder in instance.commands() {
            self.clear_half_started(&folder);
        }
    }
}

fn check_ready(instance: &Instance) -> Result<(), Error> {
    let conflict = |message: &'static str| Err(Error::new(ErrorKind::Conflict, message));
    if instance.phase != Phase::Runs {
        return conflict("it is being stopped, and nothing is begun in it any more");
    }
    // What joins a frozen group is frozen on its way, and this thread would wait for it.
    if instance.record.frozen || instance.freezing.is_some() {
        return conflict("it is frozen, and nothing can run in it; thaw it first");
    }
    if instance.commands.len() >= MOST_COMMANDS {
        let message = format!("{MOST_COMMANDS} commands run in it already; wait for one of them");
        let retry = Retry::After(Duration::from_secs(1));
        return Err(Error::exhausted(message).with_retry(retry));
    }
    Ok(())
}

/// What the instance was started with, about another command.
fn surroundings(instance: &Instance, words: Vec<String>) -> Result<StartRequest, Error> {
    let given = match &instance.given {
        Some(given) => given.clone(),
        // Adopted: this program was never told, and the kernel still knows.
        None => {
            let environment = proc::environment(instance.record.pid).map_err(|error| {
                let message = "an earlier program started it, and its environment cannot be read";
                Error::new(ErrorKind::Denied, message).caused_by(error)
            })?;
            Given { environment, secrets: BTreeMap::new() }
        }
    };
    let own = || instance.folder.work();
    Ok(StartRequest {
        instance: instance.record.instance,
        source: ResolvedSource::Command,
        command: words,
        environment: given.environment,
        secrets: given.secrets,
        port: PortRequest::None,
        limits: instance.record.limits,
        directory: Some(instance.record.directory.clone().unwrap_or_else(own)),
    })
}

fn over_time(command: &Command) -> Error {
    let limit = command.limit;
    let message = match command.tail.ring.last(1).first() {
        Some(line) => format!("the command was ended after {limit:?}: {line}"),
        None => format!("the command was ended after {limit:?}; it wrote nothing"),
    };
    Error::new(ErrorKind::TimedOut, message)
}

/// Of one instance at once: a probe or two and a person, and no more when one of them hangs.
const MOST_COMMANDS: usize = 8;
