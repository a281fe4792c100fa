//! One instance that is there, and what is under way with it.

use std::{collections::BTreeMap, os::fd::OwnedFd, time::Duration};

use runner_core::{
    address::Address,
    backend::{CommandOutput, Condition, Exit, ExitStatus},
    secret::Secret,
    time::Timestamp,
};

use super::{
    super::{
        group::Group,
        record::{Folder, Record},
        tail::Tail,
    },
    Reply,
};

/// An instance whose traces have not all been removed yet.
pub(super) struct Instance {
    pub(super) folder: Folder,
    pub(super) record: Record,
    pub(super) group: Group,
    /// Its first process; nothing where that was gone when it was found.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) token: u64,
    pub(super) tail: Tail,
    pub(super) phase: Phase,
    /// What the backend has to say about its end.
    pub(super) reason: Option<String>,
    pub(super) stops: Vec<Reply<Exit>>,
    pub(super) reaps: Vec<Reply<()>>,
    pub(super) freezing: Option<Freezing>,
    pub(super) proof: Proof,
    /// What it was given; nothing where an earlier program started it.
    pub(super) given: Option<Given>,
    pub(super) commands: BTreeMap<u64, Command>,
    /// How many there have been, those of earlier programs included.
    pub(super) commands_begun: u64,
    /// CPU time that was told, below which it never falls.
    pub(super) cpu: Duration,
}

/// How far it is towards its end. Each goes to a later one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It runs, or is frozen.
    Runs,
    /// It was asked to end, and is killed at this time.
    Asked { kill_at: Timestamp },
    /// It was killed, and its first process has not ended yet.
    Killed,
    /// Its first process has ended; the rest is killed and looked for again at this time.
    Swept { status: ExitStatus, again: Timestamp },
}

/// A freeze that the kernel has not finished.
pub(super) struct Freezing {
    pub(super) replies: Vec<Reply<()>>,
    pub(super) deadline: Timestamp,
    pub(super) again: Timestamp,
    /// Whether all of it was let go a moment ago, so that what waits for what is stopped goes on.
    pub(super) released: bool,
    /// How long it is let go the next time: on a busy machine what may run does not run at once.
    pub(super) leave: Duration,
}

/// Whether its port is known to be its own.
pub(super) struct Proof {
    pub(super) waiting: Vec<(Timestamp, Reply<Address>)>,
    /// When to look next; never where it takes no requests, or was proven.
    pub(super) again: Timestamp,
}

/// What an instance was given, kept for its commands and nowhere but in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub(super) environment: BTreeMap<String, String>,
    pub(super) secrets: BTreeMap<String, Secret>,
}

/// A command that has not been answered yet.
pub(super) struct Command {
    pub(super) folder: Folder,
    pub(super) group: Group,
    pub(super) pidfd: OwnedFd,
    pub(super) token: u64,
    pub(super) tail: Tail,
    pub(super) stage: CommandStage,
    pub(super) limit: Duration,
    pub(super) is_over_time: bool,
    pub(super) reply: Option<Reply<CommandOutput>>,
}

/// How far it is towards its end. Each goes to a later one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandStage {
    Runs { until: Timestamp },
    Killed,
    Swept { status: ExitStatus, again: Timestamp },
}

impl Instance {
    /// Whether it still is what was started, as far as others are told.
    pub(super) fn lives(&self) -> bool {
        !matches!(self.phase, Phase::Swept { .. })
    }

    pub(super) fn condition(&self) -> Condition {
        match self.record.frozen {
            true => Condition::Frozen,
            false => Condition::Running,
        }
    }

    /// When something is to be done with it that nobody announces.
    pub(super) fn due(&self) -> Timestamp {
        let phase = match self.phase {
            Phase::Runs | Phase::Killed => Timestamp::MAX,
            Phase::Asked { kill_at } => kill_at,
            Phase::Swept { again, .. } => again,
        };
        let freezing = self.freezing.as_ref().map_or(Timestamp::MAX, |freezing| freezing.again);
        let commands = self.commands.values().map(Command::due);
        commands.fold(phase.min(freezing).min(self.proof_due()), Timestamp::min)
    }

    /// When its port is to be looked at.
    pub(super) fn proof_due(&self) -> Timestamp {
        let given_up = self.proof.waiting.iter().map(|(deadline, _)| *deadline).min();
        // What is frozen cannot begin to listen; its thaw looks again.
        match self.phase == Phase::Runs && !self.record.frozen {
            true => self.proof.again.min(given_up.unwrap_or(Timestamp::MAX)),
            false => Timestamp::MAX,
        }
    }
}
