//! What can be seen of an engine from outside the platform: what probes would find, and a trace.

use std::time::Duration;

use super::{Engine, Key, TRACE_LEN};
use crate::{
    address::Address,
    backend::{Condition, ExitStatus, LogLine},
    error::ErrorKind,
    id::{Epoch, InstanceId, PlatformId},
    testing::backend::{Operation, Ticket, life::Ends},
    time::Timestamp,
};

/// One instance as it truly is, whatever lists say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceView {
    /// Whose it is.
    pub platform: PlatformId,
    /// Which one.
    pub instance: InstanceId,
    /// The epoch that started it.
    pub epoch: Epoch,
    /// What it is doing.
    pub condition: Condition,
    /// When it began.
    pub began: Timestamp,
    /// From when on it listens where it was told to; nothing when it never will.
    pub listens_at: Option<Timestamp>,
    /// Where it listens now, there or elsewhere.
    pub listens_on: Option<u16>,
    /// Whether a probe that reaches it gets a good answer now.
    pub answers_well: bool,
    /// How many requests it has had.
    pub requests: u64,
    /// Its CPU time so far.
    pub cpu: Duration,
}

impl InstanceView {
    /// Whether it listens anywhere now.
    pub fn is_listening(&self) -> bool {
        self.listens_on.is_some()
    }

    /// Whether it has not ended.
    pub fn is_living(&self) -> bool {
        !matches!(self.condition, Condition::Ended(_))
    }
}

/// What a request or a probe to an address finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a simulation has to act on each")]
pub enum Reply {
    /// A good answer.
    Well,
    /// An answer that fails a probe.
    Badly,
    /// Nobody listens there.
    Refused,
    /// It is accepted and never answered: the instance is frozen.
    Silence,
}

/// One line of an engine's trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Happening {
    /// When it happened.
    pub at: Timestamp,
    /// To which platform.
    pub platform: PlatformId,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A call was sent.
    Asked(Ticket, Operation, Option<InstanceId>),
    /// Its answer came, with an error's kind when it was one.
    Answered(Ticket, Option<ErrorKind>),
    /// An instance began.
    Began(InstanceId),
    /// An instance was asked to stop.
    AskedToStop(InstanceId),
    /// An instance ended.
    Ended(InstanceId, ExitStatus),
}

impl Engine {
    /// One instance as it truly is at the time the engine has reached.
    pub fn view(&self, platform: PlatformId, instance: InstanceId) -> Option<InstanceView> {
        self.view_of(Key { platform, instance })
    }

    /// All instances as they truly are, of all platforms, ended ones included.
    pub fn views(&self) -> impl Iterator<Item = InstanceView> {
        self.instances.keys().filter_map(|key| self.view_of(*key))
    }

    /// Sends a request, or a probe, to an address: some lives end with their n-th.
    pub fn ask(&mut self, address: &Address, now: Timestamp) -> Reply {
        self.advance(now);
        let Some(key) = self.addresses.get(address).copied() else { return Reply::Refused };
        let Some(instance) = self.instances.get_mut(&key) else { return Reply::Refused };
        let listens_there = instance.listens_at().is_some_and(|at| at <= now);
        if instance.exit().is_some() || !listens_there {
            return Reply::Refused;
        }
        if *instance.condition() == Condition::Frozen {
            return Reply::Silence;
        }
        instance.requests += 1;
        let well = instance.answers_well(now);
        let last = match &instance.life.ends {
            Some((Ends::AfterRequests(limit), exit)) if instance.requests >= *limit => {
                Some((key, exit.clone()))
            }
            _ => None,
        };
        if let Some((key, exit)) = last {
            self.end(key, exit);
        }
        if well { Reply::Well } else { Reply::Badly }
    }

    /// The lines that an instance has written since a time, the first `skip` of them left out.
    pub fn lines(
        &self,
        platform: PlatformId,
        instance: InstanceId,
        since: Timestamp,
        skip: usize,
    ) -> Vec<LogLine> {
        let known = self.instances.get(&Key { platform, instance });
        let lines = known.into_iter().flat_map(|instance| instance.lines(self.now));
        lines.filter(|line| line.at >= since).skip(skip).collect()
    }

    /// What happened so far, oldest first, bounded to the newest ten thousand.
    pub fn trace(&self) -> impl Iterator<Item = &Happening> {
        self.trace.iter()
    }

    pub(super) fn happened(&mut self, platform: PlatformId, what: What) {
        if self.trace.len() == TRACE_LEN {
            self.trace.pop_front();
        }
        self.trace.push_back(Happening { at: self.now, platform, what });
    }

    fn view_of(&self, key: Key) -> Option<InstanceView> {
        let instance = self.instances.get(&key)?;
        Some(InstanceView {
            platform: key.platform,
            instance: key.instance,
            epoch: instance.epoch,
            condition: instance.condition().clone(),
            began: instance.born(),
            listens_at: instance.listens_at(),
            listens_on: instance.listens_on(self.now),
            answers_well: instance.answers_well(self.now),
            requests: instance.requests,
            cpu: instance.cpu(self.now),
        })
    }
}
