//! The backend's thread: it starts, watches and ends all instances, one thing at a time.
//!
//! One thread and no locks: what is known about instances is changed nowhere else. It waits for
//! three things at once, a call, the end of an instance's first process, and the time of what is
//! due next. Nothing that it does takes long: what has to be waited for is a phase of an instance
//! with a time at which to look again.

mod adopt;
mod ask;
mod command;
mod end;
mod freeze;
mod instance;
mod past;
mod prove;
mod start;

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
    time::Duration,
};

use runner_core::{
    Error,
    address::Address,
    backend::{
        CommandOutput, Exit, Fence, Hint, HostCapacity, InstanceUsage, Listing, StartRequest,
        Started,
    },
    error::ErrorKind,
    id::{Epoch, InstanceId, PlatformId},
    time::Timestamp,
};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use tokio::sync::{mpsc as hints, oneshot};

use self::{instance::Instance, past::Past};
use super::{
    clock::Clock,
    config::Settings,
    disk::{Disk, Room},
    output::Ring,
    ports::Ports,
    record::Key,
    tail::Look,
    trash::Trash,
};

/// Where an answer goes; nobody may wait for it any more.
pub(super) struct Reply<T>(pub(super) oneshot::Sender<Result<T, Error>>);

/// What can be asked of the thread.
pub(super) enum Call {
    Start {
        fence: Fence,
        request: Box<StartRequest>,
        reply: Reply<Started>,
    },
    Stop {
        fence: Fence,
        instance: InstanceId,
        grace: Duration,
        reply: Reply<Exit>,
    },
    List {
        fence: Fence,
        reply: Reply<Listing>,
    },
    Watch {
        fence: Fence,
        hints: hints::Sender<Hint>,
    },
    Freeze {
        fence: Fence,
        instance: InstanceId,
        reply: Reply<()>,
    },
    Thaw {
        fence: Fence,
        instance: InstanceId,
        reply: Reply<()>,
    },
    Logs {
        fence: Fence,
        instance: InstanceId,
        reply: Reply<Ring>,
    },
    Usage {
        fence: Fence,
        instance: InstanceId,
        reply: Reply<InstanceUsage>,
    },
    Ports {
        fence: Fence,
        instance: InstanceId,
        reply: Reply<Vec<u16>>,
    },
    Capacity {
        fence: Fence,
        reply: Reply<HostCapacity>,
    },
    Reap {
        fence: Fence,
        name: String,
        reply: Reply<()>,
    },
    Run {
        fence: Fence,
        instance: InstanceId,
        words: Vec<String>,
        limit: Duration,
        reply: Reply<CommandOutput>,
    },
    Proven {
        fence: Fence,
        instance: InstanceId,
        within: Duration,
        reply: Reply<Address>,
    },
}

/// Whose end an event of the kernel is about.
#[derive(Clone, Copy, Debug)]
enum Waited {
    /// The first process of an instance.
    Instance(Key),
    /// That of a command beside it.
    Command(Key, u64),
}

/// The state of the thread.
pub(super) struct Worker {
    settings: Arc<Settings>,
    calls: mpsc::Receiver<Call>,
    bell: Arc<OwnedFd>,
    epoll: OwnedFd,
    clock: Clock,
    ports: Ports,
    trash: Trash,
    disk: Disk,
    living: BTreeMap<Key, Instance>,
    past: Past,
    /// The newest epoch of each platform that called.
    epochs: BTreeMap<PlatformId, Epoch>,
    watches: Vec<(Fence, hints::Sender<Hint>)>,
    tokens: BTreeMap<u64, Waited>,
    next_token: u64,
    /// Starts of instances that another program works on at this moment.
    postponed: Vec<Call>,
    next_look: Timestamp,
}

impl Worker {
    pub(super) fn new(
        settings: Arc<Settings>,
        calls: mpsc::Receiver<Call>,
        bell: Arc<OwnedFd>,
    ) -> Result<Self, rustix::io::Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        let ports = Ports::new(
            settings.port_claims.clone(),
            &settings.directory.0,
            settings.ports.clone(),
            settings.port_rest,
            settings.boot_id.clone(),
        );
        Ok(Self {
            ports,
            trash: Trash::new(settings.directory.trash()),
            disk: Disk::new(settings.directory.reserve(), settings.disk_reserve),
            settings,
            calls,
            bell,
            epoll,
            clock: Clock::new(),
            living: BTreeMap::new(),
            past: Past::default(),
            epochs: BTreeMap::new(),
            watches: Vec::new(),
            tokens: BTreeMap::new(),
            next_token: BELL + 1,
            postponed: Vec::new(),
            next_look: Timestamp::EPOCH,
        })
    }

    /// Works until no call can come any more. Instances go on without it.
    pub(super) fn run(&mut self) {
        loop {
            let due = self.due().until(self.clock.now());
            self.hear(due);
            loop {
                match self.calls.try_recv() {
                    Ok(call) => {
                        // An end that came before the call is known to its answer.
                        self.hear(Duration::ZERO);
                        self.handle_call(call);
                    }
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return self.leave(),
                }
            }
            for call in std::mem::take(&mut self.postponed) {
                self.handle_call(call);
            }
            self.handle_due();
        }
    }

    /// Waits for the kernel, at most so long.
    fn hear(&mut self, most: Duration) {
        let mut events = Vec::with_capacity(64);
        // A duration beyond what the kernel counts is cut to an hour, and looked at again.
        let timeout = Timespec::try_from(most.min(Duration::from_secs(3600))).ok();
        // `epoll` itself waits in whole milliseconds, which is long beside a look for a socket.
        let mut descriptors = [PollFd::new(&self.epoll, PollFlags::IN)];
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(0) | Err(_) => return, // nothing, or a signal: what there is is there at the next call
            Ok(_) => {}
        }
        let buffer = rustix::buffer::spare_capacity(&mut events);
        if epoll::wait(&self.epoll, buffer, Some(&Timespec::default())).is_err() {
            return;
        }
        for event in events {
            match event.data.u64() {
                BELL => {
                    let _ = rustix::io::read(&self.bell, &mut [0; 8]);
                }
                token => match self.tokens.get(&token) {
                    Some(Waited::Instance(key)) => self.handle_leader_ended(*key),
                    Some(Waited::Command(key, number)) => self.handle_command_ended(*key, *number),
                    None => {}
                },
            }
        }
    }

    /// When there is something to do that nobody announces.
    fn due(&self) -> Timestamp {
        let now = self.clock.now();
        let mut due = Timestamp::MAX;
        if !self.trash.is_empty() {
            due = now;
        }
        if !self.postponed.is_empty() {
            due = due.min(now + SHORTLY);
        }
        if !self.living.is_empty() {
            due = due.min(self.next_look);
        }
        self.living.values().map(Instance::due).fold(due, Timestamp::min)
    }

    fn handle_due(&mut self) {
        let now = self.clock.now();
        self.trash.empty(TRASH_AT_ONCE);
        let due: Vec<Key> = self
            .living
            .iter()
            .filter(|(_, instance)| instance.due() <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            self.handle_end_due(key);
            self.handle_commands_due(key);
            self.handle_freeze_due(key);
            self.handle_proof_due(key);
        }
        if now >= self.next_look {
            self.look_at_outputs(now);
        }
    }

    /// The last handle is dropped.
    fn leave(&mut self) {
        for instance in self.living.values_mut() {
            for (_, command) in std::mem::take(&mut instance.commands) {
                self.trash.throw(command.path());
                command.end_at_once(instance.record.frozen);
            }
        }
        while !self.trash.is_empty() {
            self.trash.empty(TRASH_AT_ONCE);
        }
        if self.living.is_empty() {
            self.disk.give_back();
        }
    }

    fn look_at_outputs(&mut self, now: Timestamp) {
        let room = self.disk.look(now);
        let bound = match room {
            Room::Enough | Room::Again(_) => self.settings.output_bound,
            // As little as is worth a look.
            Room::Little | Room::Full => LEAST_BOUND,
        };
        let mut more = false;
        for instance in self.living.values_mut() {
            more |= instance.tail.look(now, bound) == Look::More;
            for command in instance.commands.values_mut() {
                more |= command.tail.look(now, bound) == Look::More;
            }
            match room {
                Room::Full => instance.tail.ring.note(now, DISK_IS_FULL.to_owned()),
                Room::Again(since) => {
                    let note =
                        format!("the disk was full from {since} to {now}: lines are missing");
                    instance.tail.ring.note(now, note);
                }
                Room::Enough | Room::Little => {}
            }
        }
        self.next_look = if more { now } else { now + LOOK_EVERY };
    }

    fn handle_call(&mut self, call: Call) {
        match call {
            Call::Start { fence, request, reply } => self.handle_start(fence, request, reply),
            Call::Stop { fence, instance, grace, reply } => {
                self.handle_stop(fence, instance, grace, reply);
            }
            Call::List { fence, reply } => answer(reply, self.list(fence)),
            Call::Watch { fence, hints } => self.watch(fence, hints),
            Call::Freeze { fence, instance, reply } => self.handle_freeze(fence, instance, reply),
            Call::Thaw { fence, instance, reply } => answer(reply, self.thaw(fence, instance)),
            Call::Logs { fence, instance, reply } => answer(reply, self.logs(fence, instance)),
            Call::Usage { fence, instance, reply } => answer(reply, self.usage(fence, instance)),
            Call::Ports { fence, instance, reply } => {
                answer(reply, self.listening_ports(fence, instance));
            }
            Call::Capacity { fence, reply } => answer(reply, self.capacity(fence)),
            Call::Reap { fence, name, reply } => self.handle_reap(fence, &name, reply),
            Call::Run { fence, instance, words, limit, reply } => {
                self.handle_run(fence, instance, words, limit, reply);
            }
            Call::Proven { fence, instance, within, reply } => {
                self.handle_proven(fence, instance, within, reply);
            }
        }
    }

    /// Refuses an older epoch than the newest seen, by this program or another, and at the first
    /// call of each learns what of this platform is there.
    ///
    /// Which epoch is the newest is asked anew each time: another program may say so. What is there
    /// is not, since a look at all folders would be most of what a call costs; whoever has to know
    /// looks [again](Self::find_instances), or [at one](Self::admit_for).
    fn admit(&mut self, fence: Fence) -> Result<(), Error> {
        let unreadable = |error: std::io::Error| {
            let directory = self.settings.directory.0.display();
            Error::new(ErrorKind::Denied, format!("what is kept in {directory} cannot be used"))
                .caused_by(error)
        };
        let stored = self.settings.directory.epoch(fence.platform).map_err(unreadable)?;
        let newest = stored.max(self.epochs.get(&fence.platform).copied());
        if newest.is_some_and(|newest| fence.epoch < newest) {
            return Err(Error::fenced(
                "a newer epoch of this platform has been seen; this one is over",
            ));
        }
        if stored != Some(fence.epoch) {
            let directory = &self.settings.directory;
            self.disk.make_room(|| directory.remember_epoch(fence)).map_err(unreadable)?;
        }
        let known = self.epochs.insert(fence.platform, fence.epoch);
        self.watches.retain(|(watcher, hints)| {
            let is_old = watcher.platform == fence.platform && watcher.epoch < fence.epoch;
            !is_old && !hints.is_closed()
        });
        if known != Some(fence.epoch) {
            self.find_instances(fence.platform);
        }
        Ok(())
    }

    /// The same for a call about one instance, which another handle may have started since.
    fn admit_for(&mut self, fence: Fence, instance: InstanceId) -> Result<(), Error> {
        self.admit(fence)?;
        self.find_instance(Key { platform: fence.platform, instance });
        Ok(())
    }

    fn watch(&mut self, fence: Fence, hints: hints::Sender<Hint>) {
        // Refused, its sender is dropped, which ends the stream.
        if self.admit(fence).is_ok() {
            self.watches.push((fence, hints));
        }
    }

    fn hint(&mut self, platform: PlatformId, hint: &Hint) {
        let of_platform = self.watches.iter().filter(|(fence, _)| fence.platform == platform);
        for (_, hints) in of_platform {
            // Full or closed: a hint may be lost.
            let _ = hints.try_send(hint.clone());
        }
    }

    /// An instance that lives.
    fn living(&mut self, fence: Fence, instance: InstanceId) -> Result<&mut Instance, Error> {
        self.admit_for(fence, instance)?;
        let key = Key { platform: fence.platform, instance };
        let living = self.living.get_mut(&key).filter(|instance| instance.lives());
        living.ok_or_else(|| not_here(instance))
    }
}

fn not_here(instance: InstanceId) -> Error {
    Error::not_found(format!("no instance {instance} lives here; list what is there"))
}

fn answer<T>(reply: Reply<T>, result: Result<T, Error>) {
    // Nobody waits any more: what was done stays done.
    let _ = reply.0.send(result);
}

/// The event that is no instance's.
const BELL: u64 = 0;

/// How often outputs are looked at: soon enough to be followed by eye, seldom enough to cost
/// nothing.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How soon to look again at what the kernel does by itself and does not announce.
const SHORTLY: Duration = Duration::from_millis(1);

/// What is kept of each output while there is little room.
const LEAST_BOUND: u64 = 64 << 10;

const DISK_IS_FULL: &str = "the disk is full: what is written from now on may be missing";

/// Entries removed between two other things: some milliseconds' worth.
const TRASH_AT_ONCE: usize = 512;
