//! What is true, whatever the machine believes; and what may still go wrong.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use runner_core::{
    deployment::{Fleet, Instance, Phase},
    id::{InstanceId, OperationId, RevisionNumber},
    service::{Kind, Record, Service},
    testing::explorer::Fingerprinter,
};

use super::{
    model::End,
    ordered::{Map, Revisions},
};

/// What is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct World {
    /// Every instance that is, was or may become, until nothing refers to it any more.
    pub(crate) things: Map<InstanceId, Thing>,
    /// The list that is under way, and what there was when it was asked for.
    pub(crate) list: Option<(u64, Vec<InstanceId>)>,
    /// Whether something ended and nobody has been told to look.
    pub(crate) unnoticed: bool,
    pub(crate) resolving: Revisions,
    /// Revisions that had as many instances proven at once as they need.
    pub(crate) passed: Revisions,
    /// Revisions that were promoted once.
    pub(crate) promoted: Revisions,
    /// Revisions whose deployment was superseded, while anything of them is left.
    pub(crate) superseded: Revisions,
    /// Durable effects that wait for a commit, those about instances aside.
    pub(crate) waiting: Vec<Waiting>,
    /// What was committed last, where that is not the state as it is.
    pub(crate) disk: Option<Disk>,
    /// Whether anything was ever committed.
    pub(crate) born: bool,
    /// Operations that were accepted and are not over.
    pub(crate) open: Map<OperationId, Kind>,
    /// The highest number that was ever started.
    pub(crate) highest: u64,
    pub(crate) left: Allowances,
    /// An answer that was given and will be given once more.
    pub(crate) echo: Option<Echo>,
    pub(crate) commands: u8,
    pub(crate) retired: bool,
    /// What a resume needs cannot be had, for as long as that resume takes.
    pub(crate) gone: bool,
    /// The way back took longer than it may, and nobody waits for blue any more. The machine knows
    /// too, so that it tells no states apart.
    pub(crate) outlasted: bool,
    /// Whether the machine was just told that there is no room. Said anew in every step.
    pub(crate) refused: bool,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Allowances {
    pub(crate) repeats: u8,
    pub(crate) reorders: u8,
    pub(crate) faults: u8,
    pub(crate) crashes: u8,
    pub(crate) commands: u8,
    pub(crate) idles: u8,
    /// How often the wish for instances may change.
    pub(crate) scales: u8,
}

impl Allowances {
    /// Nothing goes wrong, and the wish for instances changes.
    pub(crate) const NONE: Self = Self {
        repeats: 0,
        reorders: 0,
        faults: 0,
        crashes: 0,
        commands: 0,
        idles: 0,
        scales: if cfg!(debug_assertions) { 1 } else { 2 },
    };
}

/// One instance, as it truly is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) revision: RevisionNumber,
    pub(crate) is: Is,
    pub(crate) job: bool,
    /// A durable effect about it waits for a commit.
    pub(crate) start_waits: bool,
    pub(crate) stop_waits: bool,
    /// Calls that are under way.
    pub(crate) start_called: bool,
    pub(crate) stop_called: bool,
    pub(crate) freeze_called: bool,
    pub(crate) thaw_called: bool,
    pub(crate) probed: bool,
    /// Its probes passed, last time anybody told this run of the machine.
    pub(crate) proven: bool,
    /// Somebody wants to know when its requests are finished.
    pub(crate) drains: bool,
    /// Under which number, the last time.
    pub(crate) asked: u64,
    /// It may have requests.
    pub(crate) leased: bool,
    /// Newcomers are sent to it.
    pub(crate) accepting: bool,
    /// This run of the machine has heard that it exists.
    pub(crate) known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Is {
    /// Not started yet.
    Nothing,
    Running,
    Frozen,
    /// It ended, and is remembered.
    Ended {
        well: bool,
    },
    /// It died without leaving a trace.
    Died,
    /// It was stopped; its number is used up.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Promote(RevisionNumber),
    Accepted(OperationId, Kind),
    Finished(OperationId, End),
    Retire,
}

impl Waiting {
    /// Which operation it is decides nothing, but whether it is under way.
    fn essence(self, role: impl Fn(OperationId) -> u8, hasher: &mut impl Hasher) {
        match self {
            Self::Promote(revision) => (0_u8, revision).hash(hasher),
            Self::Accepted(operation, kind) => {
                (1_u8, role(operation), kind).hash(hasher);
            }
            Self::Finished(operation, ending) => {
                (2_u8, role(operation), ending).hash(hasher);
            }
            Self::Retire => hasher.write_u8(3),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Echo {
    Started(InstanceId),
    Stopped(InstanceId),
    Passed(InstanceId),
    Drained(InstanceId, u64),
    Listed(u64),
}

impl Echo {
    pub(crate) fn about(self) -> Option<InstanceId> {
        match self {
            Self::Started(id) | Self::Stopped(id) | Self::Passed(id) | Self::Drained(id, _) => {
                Some(id)
            }
            Self::Listed(_) => None,
        }
    }

    fn kind(self) -> u8 {
        match self {
            Self::Started(_) => 1,
            Self::Stopped(_) => 2,
            Self::Passed(_) => 3,
            Self::Drained(..) => 4,
            Self::Listed(_) => 5,
        }
    }
}

/// What was committed last.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The service as it was then, of which the record is one view.
    pub(crate) service: Arc<Service>,
    record: Arc<Record>,
    /// What the record says of each instance.
    pub(crate) parts: Arc<Map<InstanceId, Part>>,
}

/// What a record says of an instance, as far as that tells two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Starting,
    There,
    Leaving,
}

impl Disk {
    pub(crate) fn new(service: Service) -> Self {
        Self {
            record: Arc::new(service.record()),
            parts: Arc::new(parts(&service)),
            service: Arc::new(service),
        }
    }
}

impl PartialEq for Disk {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record
    }
}

impl Eq for Disk {}

/// What the record of a service says of each of its instances.
pub(crate) fn parts(service: &Service) -> Map<InstanceId, Part> {
    let part = |phase| match phase {
        Phase::Starting { .. } => Part::Starting,
        Phase::Draining | Phase::Stopping { .. } => Part::Leaving,
        _ => Part::There,
    };
    service.instances().iter().map(|(id, one)| (*id, part(one.phase))).collect()
}

impl Thing {
    pub(crate) fn new(revision: RevisionNumber, job: bool) -> Self {
        Self {
            revision,
            is: Is::Nothing,
            job,
            start_waits: false,
            stop_waits: false,
            start_called: false,
            stop_called: false,
            freeze_called: false,
            thaw_called: false,
            probed: false,
            proven: false,
            drains: false,
            asked: 0,
            leased: false,
            accepting: false,
            known: false,
        }
    }

    pub(crate) fn exists(&self) -> bool {
        matches!(self.is, Is::Running | Is::Frozen)
    }

    pub(crate) fn is_referred_to(&self) -> bool {
        self.start_waits
            || self.stop_waits
            || self.start_called
            || self.stop_called
            || self.freeze_called
            || self.thaw_called
            || self.exists()
    }

    pub(crate) fn calls(&self) -> u32 {
        let called = [
            self.start_called,
            self.stop_called,
            self.freeze_called,
            self.thaw_called,
            self.drains,
        ];
        called.into_iter().map(u32::from).sum()
    }

    fn bits(&self) -> u64 {
        let is = match self.is {
            Is::Nothing => 0,
            Is::Running => 1,
            Is::Frozen => 2,
            Is::Ended { well: true } => 3,
            Is::Ended { well: false } => 4,
            Is::Stopped => 5,
            Is::Died => 6,
        };
        let flags = [
            self.job,
            self.start_waits,
            self.stop_waits,
            self.start_called,
            self.stop_called,
            self.freeze_called,
            self.thaw_called,
            self.probed,
            self.proven,
            self.drains,
            self.leased,
            self.accepting,
            self.known,
        ];
        flags
            .into_iter()
            .fold(is | (self.revision.number() << 8), |bits, flag| (bits << 1) | u64::from(flag))
    }
}

/// A thing and what the machine believes of it: what makes it one of its own.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    bits: u64,
    believed: Option<&'a Instance>,
}

impl Hash for Pair<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.bits);
        if let Some(one) = self.believed {
            one.hash(state);
        }
    }
}

impl World {
    /// What makes one instance one of its own.
    pub(crate) fn pair<'a>(
        &self,
        id: InstanceId,
        thing: &Thing,
        believed: Option<&'a Instance>,
    ) -> Pair<'a> {
        let on_disk = self.disk.as_ref().and_then(|disk| disk.parts.get(&id));
        let on_disk = on_disk.map_or(0, |part| *part as u64 + 1);
        // What a stale list would say that a fresh one does not.
        let stale = self.left.reorders > 0
            && self.list.as_ref().is_some_and(|(_, seen)| seen.contains(&id) != thing.exists());
        let echoed = match self.echo {
            // Of the numbers nothing decides but whether it answers the last question.
            Some(Echo::Drained(about, asked)) if about == id && asked != thing.asked => 6,
            Some(echo) if echo.about() == Some(id) => echo.kind(),
            _ => 0,
        };
        let own = u64::from(believed.is_some())
            | on_disk << 1
            | u64::from(stale) << 3
            | u64::from(echoed) << 4;
        Pair { bits: thing.bits() << 8 | own, believed }
    }

    /// What makes this state of the world one of its own, given which instances the machine has,
    /// and what each operation is to it. What may still happen is told apart, as the allowance.
    ///
    /// Instances are interchangeable: where the machine takes one of several that are alike to it,
    /// every choice is explored. Where an order is part of the state (which one is woken first),
    /// the states are told apart by it.
    pub(crate) fn essence(
        &self,
        believed: &Fleet,
        role: impl Fn(OperationId) -> u8,
        ordered: bool,
        hasher: &mut Fingerprinter,
    ) {
        let pairs = self.things.iter().map(|(id, thing)| self.pair(*id, thing, believed.get(id)));
        hasher.write_unordered(pairs.clone());
        if ordered {
            let staying =
                |pair: &Pair<'_>| pair.believed.is_some_and(|one| !one.phase.is_leaving());
            pairs.filter(staying).for_each(|pair| pair.hash(hasher));
        }
        let echo = self.echo.filter(|echo| echo.about().is_none()).map(Echo::kind);
        (self.list.is_some(), self.unnoticed, echo, self.retired, self.born).hash(hasher);
        self.gone.hash(hasher);
        self.resolving.hash(hasher);
        self.passed.hash(hasher);
        self.promoted.hash(hasher);
        self.superseded.hash(hasher);
        for waiting in &self.waiting {
            waiting.essence(&role, hasher);
        }
        for (id, kind) in self.open.iter() {
            (role(*id), kind).hash(hasher);
        }
        (self.waiting.len(), self.open.len()).hash(hasher);
        if let Some(disk) = &self.disk {
            disk.record.hash(hasher);
        }
    }

    /// Revisions that were never promoted, of which something is there.
    pub(crate) fn left_behind(&self) -> Revisions {
        let mut left = Revisions::default();
        let there = self.things.values().filter(|thing| thing.is_referred_to());
        there.filter(|thing| !self.promoted.contains(thing.revision)).for_each(|thing| {
            left.insert(thing.revision);
        });
        left
    }

    /// What is asked for and not answered: calls to the backend, and drains.
    pub(crate) fn calls(&self) -> u32 {
        self.things.values().map(Thing::calls).sum::<u32>() + u32::from(self.list.is_some())
    }

    /// Whether the backend has no room for another.
    pub(crate) fn is_full(&self, room: Option<usize>) -> bool {
        let there = || self.things.values().filter(|thing| thing.exists()).count();
        room.is_some_and(|room| there() >= room)
    }

    /// Whether durable effects wait for a commit.
    pub(crate) fn owes_commit(&self) -> bool {
        !self.waiting.is_empty()
            || self.things.values().any(|thing| thing.start_waits || thing.stop_waits)
    }
}

/// All of it, so that the trait is there; the model hashes its essence.
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.things.keys().for_each(|id| id.number.hash(state));
        self.left.hash(state);
    }
}
