//! Proof that an instance's port is its own.
//!
//! From its start until it was proven, an instance's port is looked at, often at first and then
//! less so. When somebody else answers there the instance is ended: it can never listen, and
//! whoever asked its address would be talking to a stranger.

use std::time::Duration;

use runner_core::{
    Error,
    address::Address,
    backend::{Exit, Fence},
    error::ErrorKind,
    id::InstanceId,
    time::Timestamp,
};

use super::{
    super::{
        group::Group,
        record::Key,
        sockets::{self, Owner},
    },
    Reply, Worker, answer,
    instance::Instance,
    not_here,
};

impl Worker {
    pub(super) fn handle_proven(
        &mut self,
        fence: Fence,
        instance: InstanceId,
        within: Duration,
        reply: Reply<Address>,
    ) {
        let now = self.clock.now();
        let key = Key { platform: fence.platform, instance };
        if let Err(error) = self.admit_for(fence, instance) {
            return answer(reply, Err(error));
        }
        let Some(found) = self.living.get_mut(&key) else {
            let ended = self.past.get(key).map(|ended| ended_before(&ended.exit));
            return answer(reply, Err(ended.unwrap_or_else(|| not_here(instance))));
        };
        if found.record.port.is_none() {
            let message = format!("instance {instance} takes no requests, so it has no port");
            return answer(reply, Err(Error::invalid(message)));
        }
        // One that is being swept is answered with its end, in a moment.
        found.proof.waiting.push((now + within, reply));
        found.proof.again = now;
        self.handle_proof_due(key);
    }

    pub(super) fn handle_proof_due(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(instance) = self.living.get_mut(&key) else { return };
        let Some(port) = instance.record.port else { return };
        if instance.proof_due() > now {
            return;
        }
        match owner(port, &instance.group) {
            Owner::Theirs => {
                instance.proof.again = Timestamp::MAX;
                if let Some(address) = instance.record.address() {
                    for (_, reply) in std::mem::take(&mut instance.proof.waiting) {
                        answer(reply, Ok(address.clone()));
                    }
                }
            }
            Owner::Nobody => {
                let age = now.since(instance.record.started_at);
                instance.proof.again = now + (age / 16).clamp(SOONEST, LATEST);
                give_up(instance, port, now);
            }
            Owner::Other(holder) => {
                let reason = format!("port {port} is held by {holder}");
                for (_, reply) in std::mem::take(&mut instance.proof.waiting) {
                    answer(reply, Err(Error::new(ErrorKind::Conflict, reason.clone())));
                }
                self.kill(key, Some(reason));
            }
        }
    }
}

/// Looks at the first process alone where that is enough, which it nearly always is.
fn owner(port: u16, group: &Group) -> Owner {
    match sockets::owner(port, &[group.leader.as_raw_pid()]) {
        Owner::Other(_) => sockets::owner(port, &group.pids()),
        known => known,
    }
}

/// Answers those whose time is over.
fn give_up(instance: &mut Instance, port: u16, now: Timestamp) {
    let waiting = std::mem::take(&mut instance.proof.waiting);
    let (over, waiting): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|(deadline, _)| *deadline <= now);
    instance.proof.waiting = waiting;
    if over.is_empty() {
        return;
    }
    let others: Vec<_> =
        sockets::ports(&instance.group.pids()).iter().map(ToString::to_string).collect();
    let message = match others.as_slice() {
        [] => format!("nothing listens on {port}, nor on any other port"),
        [one] => format!("nothing on {port}, but {one} listens"),
        more => format!("nothing on {port}, but {} listen", more.join(", ")),
    };
    let message = format!("{message}; the program should listen on the port in `PORT`");
    for (_, reply) in over {
        answer(reply, Err(Error::new(ErrorKind::TimedOut, message.clone())));
    }
}

/// Why an instance that has ended was never proven.
pub(super) fn ended_before(exit: &Exit) -> Error {
    let last = exit.last_lines.last().map_or("it wrote nothing", String::as_str);
    Error::unavailable(format!("it ended {}: {last}", exit.status))
        .with_retry(runner_core::error::Retry::Never)
}

/// While it starts: short beside any start, and a look costs some ten microseconds.
const SOONEST: Duration = Duration::from_micros(200);

/// For what takes long to start.
const LATEST: Duration = Duration::from_millis(250);
