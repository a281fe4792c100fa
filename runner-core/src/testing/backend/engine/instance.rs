//! One instance of the engine: a life, and what became of it so far.

use std::time::Duration;

use crate::{
    backend::{Condition, Exit, LogLine, PortRequest, Started},
    id::Epoch,
    testing::backend::{Life, Ticket},
    time::Timestamp,
};

/// What has happened to an instance is kept as a list of changes, so that a stale list is simply
/// a look at an earlier time.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) epoch: Epoch,
    pub(super) started: Started,
    pub(super) life: Life,
    pub(super) port: PortRequest,
    pub(super) requests: u64,
    /// Being stopped: asking again changes nothing.
    pub(super) stopping: bool,
    /// Stops that wait for its end.
    pub(super) stops: Vec<Ticket>,
    born: Timestamp,
    changes: Vec<(Timestamp, Condition)>,
}

impl Instance {
    pub(super) fn new(
        epoch: Epoch,
        started: Started,
        life: Life,
        port: PortRequest,
        now: Timestamp,
    ) -> Self {
        let changes = vec![(now, Condition::Running)];
        let (requests, stopping, stops) = (0, false, Vec::new());
        Self { epoch, started, life, port, requests, stopping, stops, born: now, changes }
    }

    pub(super) fn born(&self) -> Timestamp {
        self.born
    }

    pub(super) fn age(&self, now: Timestamp) -> Duration {
        now.since(self.born)
    }

    /// What it is doing now.
    pub(super) fn condition(&self) -> &Condition {
        self.changes.last().map_or(&Condition::Running, |(_, condition)| condition)
    }

    /// What it was doing then; nothing before it was born.
    pub(super) fn condition_at(&self, at: Timestamp) -> Option<&Condition> {
        self.changes.iter().rev().find(|(since, _)| *since <= at).map(|(_, condition)| condition)
    }

    pub(super) fn ended_at(&self) -> Option<Timestamp> {
        match self.changes.last() {
            Some((at, Condition::Ended(_))) => Some(*at),
            _ => None,
        }
    }

    pub(super) fn exit(&self) -> Option<&Exit> {
        match self.condition() {
            Condition::Ended(exit) => Some(exit),
            Condition::Running | Condition::Frozen => None,
        }
    }

    /// Makes it do something else; false when it does so already or has ended.
    pub(super) fn become_at(&mut self, condition: Condition, now: Timestamp) -> bool {
        let changes = self.exit().is_none() && *self.condition() != condition;
        if changes {
            self.changes.push((now, condition));
        }
        changes
    }

    /// The port on which it listens now.
    pub(super) fn listens_on(&self, now: Timestamp) -> Option<u16> {
        let PortRequest::Declared(declared) = self.port else { return None };
        let open = self.life.listens.is_some_and(|from| self.age(now) >= from);
        let told = declared.get();
        (open && self.exit().is_none()).then(|| self.life.port.unwrap_or(told))
    }

    /// When it will listen, or began to, where it was told to.
    pub(super) fn listens_at(&self) -> Option<Timestamp> {
        let where_told = matches!(self.port, PortRequest::Declared(port)
            if self.life.port.is_none_or(|own| own == port.get()));
        self.life.listens.filter(|_| where_told).map(|from| self.born + from)
    }

    pub(super) fn answers_well(&self, now: Timestamp) -> bool {
        self.life.answers.well_at(self.age(now))
    }

    /// The lines that it has written by `now`; none after its end.
    pub(super) fn lines(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = LogLine> {
        let until = self.ended_at().map_or(now, |ended| ended.min(now));
        let written = self.life.writes.iter().filter(move |(age, ..)| self.born + *age <= until);
        written.map(|(age, stream, text)| LogLine {
            at: self.born + *age,
            stream: *stream,
            text: text.clone(),
        })
    }

    /// Its CPU time so far: its share of the time in which it ran.
    pub(super) fn cpu(&self, now: Timestamp) -> Duration {
        let ends = self.changes.iter().skip(1).map(|(at, _)| *at).chain([now]);
        let ran: Duration = self
            .changes
            .iter()
            .zip(ends)
            .filter(|((_, condition), _)| *condition == Condition::Running)
            .map(|((from, _), until)| until.since(*from))
            .sum();
        ran * self.life.cpu_millis / 1000
    }
}
