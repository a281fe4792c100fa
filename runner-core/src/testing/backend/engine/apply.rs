//! What each call does once it has reached the engine.

use std::time::Duration;

use super::{
    Answer, Call, Due, Engine, Fault, Instance, KEPT_FOR_STALE, KILLED, Key, Life, REMEMBERED,
    Ticket, What,
};
use crate::{
    Error,
    address::Address,
    backend::{
        CommandOutput, Condition, Exit, ExitStatus, Fence, ForeignInstance, Hint, HostCapacity,
        InstanceUsage, ListedInstance, Listing, PortRequest, StartRequest, Started,
    },
    error::ErrorKind,
    id::InstanceId,
    testing::backend::life::{Ends, OnStop},
    time::Timestamp,
};

/// A call's answer, or that it comes when its instance ends.
enum Outcome {
    Now(Result<Answer, Error>),
    After(Duration, Result<Answer, Error>),
    AtItsEnd(Key),
}

impl Engine {
    pub(super) fn arrive(&mut self, ticket: Ticket) {
        let Some(pending) = self.calls.get(&ticket) else { return };
        let (fence, call, life) = (pending.fence, pending.call.clone(), pending.life.clone());
        let refusal = pending.faults.iter().find_map(|fault| match fault {
            Fault::Refuse(error) => Some(error.clone()),
            _ => None,
        });
        let stale: Duration = pending
            .faults
            .iter()
            .filter_map(|fault| match fault {
                Fault::Stale(by) => Some(*by),
                _ => None,
            })
            .sum();
        let latency = match call {
            Call::Start(_) => self.latency.start,
            _ => self.latency.other,
        };
        let outcome = match (self.check(fence).and_then(|()| self.check_offered(&call)), refusal) {
            (Err(error), _) | (Ok(()), Some(error)) => Outcome::Now(Err(error)),
            (Ok(()), None) => self.apply(fence, call, life, stale),
        };
        match outcome {
            Outcome::Now(answer) => self.answer(ticket, answer, latency),
            Outcome::After(work, answer) => self.answer(ticket, answer, latency + work),
            Outcome::AtItsEnd(key) => {
                if let Some(instance) = self.instances.get_mut(&key) {
                    instance.stops.push(ticket);
                    // Open still: it waits for the end instead of for the agenda.
                    return;
                }
            }
        }
        self.close(ticket);
    }

    /// The instance ends, and all that follows from it.
    pub(super) fn end(&mut self, key: Key, mut exit: Exit) {
        let now = self.now;
        self.changes += 1;
        let Some(instance) = self.instances.get_mut(&key) else { return };
        if exit.last_lines.is_empty() {
            let lines = instance.lines(now).rev().take(LAST_LINES);
            exit.last_lines = lines.map(|line| line.text).collect();
            exit.last_lines.reverse();
        }
        if !instance.become_at(Condition::Ended(exit.clone()), now) {
            return;
        }
        let stops = std::mem::take(&mut instance.stops);
        self.happened(key.platform, What::Ended(key.instance, exit.status));
        for ticket in stops {
            self.answer(ticket, Ok(Answer::Stopped(exit.clone())), self.latency.other);
            self.close(ticket);
        }
        self.hint(key.platform, &Hint::Ended(key.instance, exit));
        self.plan(now + REMEMBERED + KEPT_FOR_STALE, Due::Forgets(key));
    }

    fn answer(&mut self, ticket: Ticket, answer: Result<Answer, Error>, latency: Duration) {
        let Some(pending) = self.calls.get_mut(&ticket) else { return };
        if std::mem::replace(&mut pending.answered, true) {
            return;
        }
        pending.open += 1;
        let (mut late, mut answer) = (latency, answer);
        for fault in &pending.faults {
            match fault {
                Fault::AnswerLate(by) => late += *by,
                Fault::LoseAnswer(error) => answer = Err(error.clone()),
                Fault::Refuse(_)
                | Fault::Late(_)
                | Fault::Twice(_)
                | Fault::Vanish
                | Fault::Stale(_) => {}
            }
        }
        self.plan(self.now + late, Due::Answers(ticket, answer));
    }

    fn apply(&mut self, fence: Fence, call: Call, life: Option<Life>, stale: Duration) -> Outcome {
        let key = |instance: InstanceId| Key { platform: fence.platform, instance };
        Outcome::Now(match call {
            Call::Start(request) => self.start(fence, &request, life).map(Answer::Started),
            Call::Stop { instance, grace } => return self.stop(key(instance), grace),
            Call::List => Ok(Answer::Listed(self.listing(fence, self.now - stale))),
            Call::Freeze(instance) => self.change(key(instance), Condition::Frozen),
            Call::Thaw(instance) => self.change(key(instance), Condition::Running),
            Call::RunCommand { instance, command, limit } => match self.living(key(instance)) {
                Ok(_) => return run(&command, limit),
                Err(error) => Err(error),
            },
            Call::Logs { instance, .. } => self.known(key(instance)).map(|_| Answer::Done),
            Call::Usage(instance) => self.living(key(instance)).map(|instance| {
                let usage = InstanceUsage::new(instance.cpu(self.now), instance.life.memory_bytes);
                Answer::Used(usage)
            }),
            Call::ListeningPorts(instance) => self
                .living(key(instance))
                .map(|instance| Answer::Ports(instance.listens_on(self.now).into_iter().collect())),
            Call::Capacity => Ok(Answer::Capacity(self.host())),
            Call::Reap(foreign) => self.reap(fence, &foreign),
        })
    }

    fn start(
        &mut self,
        fence: Fence,
        request: &StartRequest,
        life: Option<Life>,
    ) -> Result<Started, Error> {
        let key = Key { platform: fence.platform, instance: request.instance };
        if self.stopped.contains(&key) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("instance {} was stopped; start another id", request.instance),
            ));
        }
        if let Some(instance) = self.instances.get(&key) {
            return Ok(instance.started.clone());
        }
        let life = match life {
            Some(life) => life,
            None => Life::of_command(&request.command)?,
        };
        if self.room.is_some_and(|room| self.living_count() >= room) {
            return Err(Error::exhausted(format!(
                "the engine has room for {} instances and all of it is taken; stop one",
                self.living_count()
            )));
        }
        let started = match request.port {
            PortRequest::None => Started::unreachable(),
            PortRequest::Declared(_) => Started::at(Address::Memory(engine_name(key).into())),
        };
        let now = self.now;
        let instance = Instance::new(fence.epoch, started.clone(), life.clone(), request.port, now);
        self.instances.insert(key, instance);
        if let Some(address) = &started.address {
            self.addresses.insert(address.clone(), key);
        }
        self.happened(key.platform, What::Began(key.instance));
        self.hint(key.platform, &Hint::Changed);
        for (age, ..) in &life.writes {
            self.plan(now + *age, Due::Writes);
        }
        match life.ends {
            Some((Ends::After(age), exit)) => self.plan(now + age, Due::Ends(key, exit)),
            Some((Ends::At(at), exit)) => self.plan(at, Due::Ends(key, exit)),
            Some((Ends::AfterRequests(_), _)) | None => {}
        }
        Ok(started)
    }

    fn stop(&mut self, key: Key, grace: Duration) -> Outcome {
        self.stopped.insert(key);
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&key) else {
            return Outcome::Now(Ok(Answer::Stopped(Exit::unknown())));
        };
        if let Some(exit) = instance.exit() {
            return Outcome::Now(Ok(Answer::Stopped(exit.clone())));
        }
        // What is frozen cannot hear that it is asked.
        instance.become_at(Condition::Running, now);
        let first = !std::mem::replace(&mut instance.stopping, true);
        let end = match instance.life.on_stop {
            OnStop::EndsAfter(span) if span <= grace => Some((span, ExitStatus::Code(0))),
            OnStop::EndsAfter(_) | OnStop::Ignores => Some((grace, KILLED)),
            OnStop::HangsFor(span) => Some((grace.saturating_add(span), KILLED)),
            OnStop::HangsUntilReleased => None,
        };
        // A later stop with a shorter grace counts: whoever asks again is in more of a hurry.
        if first {
            self.happened(key.platform, What::AskedToStop(key.instance));
        }
        if let Some((span, status)) = end {
            self.plan(now + span, Due::Ends(key, status.into()));
        }
        Outcome::AtItsEnd(key)
    }

    fn change(&mut self, key: Key, condition: Condition) -> Result<Answer, Error> {
        let now = self.now;
        self.living(key)?;
        let changed =
            self.instances.get_mut(&key).is_some_and(|instance| instance.become_at(condition, now));
        if changed {
            self.hint(key.platform, &Hint::Changed);
        }
        Ok(Answer::Done)
    }

    fn listing(&self, fence: Fence, at: Timestamp) -> Listing {
        let mut listing = Listing::default();
        for (key, instance) in &self.instances {
            let Some(condition) = instance.condition_at(at) else { continue };
            let ended = matches!(condition, Condition::Ended(_));
            if key.platform != fence.platform {
                if !ended {
                    let platform = Some(key.platform);
                    let engine_name = engine_name(*key);
                    listing.foreign.push(ForeignInstance { platform, engine_name });
                }
            } else if instance.ended_at().is_none_or(|ended| !ended_long_ago(ended, at)) {
                listing.instances.push(ListedInstance {
                    instance: key.instance,
                    epoch: instance.epoch,
                    address: instance.started.address.clone(),
                    condition: condition.clone(),
                });
            }
        }
        let unmarked = self.unmarked.iter().cloned();
        listing
            .foreign
            .extend(unmarked.map(|engine_name| ForeignInstance { platform: None, engine_name }));
        listing
    }

    fn reap(&mut self, fence: Fence, foreign: &ForeignInstance) -> Result<Answer, Error> {
        if self.unmarked.remove(&foreign.engine_name) {
            return Ok(Answer::Done);
        }
        let named = |key: &&Key| engine_name(**key) == foreign.engine_name;
        match self.instances.keys().find(named).copied() {
            None => Ok(Answer::Done),
            Some(key) if key.platform == fence.platform => Err(Error::invalid(format!(
                "`{}` is this platform's own; stop it instead",
                foreign.engine_name
            ))),
            Some(key) => {
                self.stopped.insert(key);
                self.end(key, KILLED.into());
                Ok(Answer::Done)
            }
        }
    }

    fn check_offered(&self, call: &Call) -> Result<(), Error> {
        let (offered, what) = match call {
            Call::Start(_) | Call::Stop { .. } | Call::List => return Ok(()),
            Call::Freeze(_) => (self.capabilities.standby, "freeze instances"),
            Call::Thaw(_) => (self.capabilities.standby, "thaw instances"),
            Call::RunCommand { .. } => (self.capabilities.run_command, "run commands in instances"),
            Call::Logs { .. } => (self.capabilities.logs, "read what instances write"),
            Call::Usage(_) => (self.capabilities.usage, "measure instances"),
            Call::ListeningPorts(_) => {
                (self.capabilities.listening_ports, "see on which ports instances listen")
            }
            Call::Capacity => (self.capabilities.capacity, "tell its capacity"),
            Call::Reap(_) => (self.capabilities.reap, "remove instances of other platforms"),
        };
        match offered {
            true => Ok(()),
            false => Err(Error::unsupported(format!(
                "this engine was made without what it takes to {what}; see its capabilities"
            ))),
        }
    }

    fn known(&self, key: Key) -> Result<&Instance, Error> {
        self.instances.get(&key).ok_or_else(|| {
            Error::not_found(format!("there is no instance {}; list what is there", key.instance))
        })
    }

    fn living(&self, key: Key) -> Result<&Instance, Error> {
        let instance = self.known(key)?;
        match instance.exit() {
            None => Ok(instance),
            Some(_) => Err(Error::not_found(format!(
                "instance {} has ended; list what is there",
                key.instance
            ))),
        }
    }

    fn living_count(&self) -> u32 {
        let count = self.instances.values().filter(|instance| instance.exit().is_none()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn host(&self) -> HostCapacity {
        let left = self.room.map(|room| room.saturating_sub(self.living_count()));
        HostCapacity::new(left, HOST_CPU_MILLIS, HOST_MEMORY_BYTES)
    }
}

/// What the engine calls an instance.
fn engine_name(key: Key) -> String {
    format!("{}/{}", key.platform, key.instance)
}

fn ended_long_ago(ended: Timestamp, at: Timestamp) -> bool {
    at.since(ended) > REMEMBERED
}

/// Commands are named like lives: `exit N`, and `sleep MILLISECONDS`.
fn run(command: &[String], limit: Duration) -> Outcome {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let (takes, status) = match words.as_slice() {
        ["exit", code] => {
            (Duration::ZERO, code.parse().map_or(ExitStatus::Unknown, ExitStatus::Code))
        }
        ["sleep", millis] => {
            (Duration::from_millis(millis.parse().unwrap_or(0)), ExitStatus::Code(0))
        }
        _ => (Duration::ZERO, ExitStatus::Code(0)),
    };
    if takes > limit {
        let error = Error::new(
            ErrorKind::TimedOut,
            format!("`{}` was ended after {limit:?}; give it longer", command.join(" ")),
        );
        return Outcome::After(limit, Err(error));
    }
    Outcome::After(takes, Ok(Answer::Ran(CommandOutput { exit: status.into() })))
}

/// How many lines an exit carries: what fits in the reason of a failed deployment.
const LAST_LINES: usize = 10;

/// A host with sixteen cores and 64 GiB, of which nothing depends but what is printed.
const HOST_CPU_MILLIS: u64 = 16_000;
const HOST_MEMORY_BYTES: u64 = 64 << 30;
