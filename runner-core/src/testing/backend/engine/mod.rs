//! The engine as a plain value.

mod apply;
mod hints;
mod instance;
mod views;

pub use hints::{WatchId, Watched};
pub use views::{Happening, InstanceView, Reply, What};

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use self::{hints::Watches, instance::Instance};
use super::{Answer, Call, Fault, Faults, HintFault, Life, Operation, Ticket};
use crate::{
    Error,
    address::Address,
    backend::{Capabilities, Exit, Fence, Hint},
    id::{Epoch, InstanceId, PlatformId},
    time::Timestamp,
};

/// Runs instances that exist only as values, in whatever time its caller says it is.
///
/// A call is [delivered](Self::deliver) with the time and answered later: the caller asks when
/// something is [due](Self::next_due), [advances](Self::advance) to it, and
/// [takes](Self::take_answer) what is there. The same calls at the same times give the same
/// answers and the same [trace](Self::trace).
///
/// ```
/// use runner_core::{
///     backend::{Fence, StartRequest},
///     id::{Epoch, PlatformId, ServiceId},
///     testing::backend::{Answer, Call, Engine},
///     time::Timestamp,
/// };
///
/// let fence = Fence { platform: PlatformId::from_random(1), epoch: Epoch::FIRST };
/// let instance = ServiceId::from_random(2).instance(1);
/// let mut engine = Engine::new();
///
/// let start = Call::Start(StartRequest::command(instance, ["./hello"]));
/// let ticket = engine.deliver(fence, start, Timestamp::EPOCH);
/// assert!(engine.take_answer(ticket).is_none(), "an engine takes its time");
///
/// let due = engine.next_due().expect("the answer");
/// engine.advance(due);
/// assert!(matches!(engine.take_answer(ticket), Some(Ok(Answer::Started(_)))));
/// assert!(engine.view(fence.platform, instance).expect("there").is_listening());
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    capabilities: Capabilities,
    latency: Latency,
    room: Option<u32>,
    faults: Faults,

    now: Timestamp,
    /// Rises with all that happens.
    changes: u64,
    sequence: u64,
    agenda: BTreeMap<(Timestamp, u64), Due>,
    calls: BTreeMap<Ticket, Pending>,
    /// How often each operation was asked, over all and per instance: what a script counts.
    asked: BTreeMap<(Operation, Option<InstanceId>), u64>,

    /// The newest epoch seen of each platform.
    epochs: BTreeMap<PlatformId, Epoch>,
    instances: BTreeMap<Key, Instance>,
    /// Where each of them takes requests.
    addresses: BTreeMap<Address, Key>,
    /// Ids that were stopped and stay so, whether or not they were ever started.
    stopped: BTreeSet<Key>,
    /// Things in the engine that bear no mark of any platform.
    unmarked: BTreeSet<String>,
    watches: Watches,
    trace: VecDeque<Happening>,
}

/// How long an engine takes over what is asked of it when nothing goes wrong.
///
/// Never nothing by default: answers that come within the call would hide every race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "two times that a test chooses by name")]
pub struct Latency {
    /// From an instance's beginning to the answer that it was started.
    pub start: Duration,
    /// From any other effect to its answer.
    pub other: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self { start: Duration::from_millis(5), other: Duration::from_millis(1) }
    }
}

/// The same id may be used by two platforms: neither knows of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    platform: PlatformId,
    instance: InstanceId,
}

#[derive(Clone, Debug)]
enum Due {
    /// A call reaches the engine, for the first or a second time.
    Arrives(Ticket),
    /// A call's answer reaches who asked.
    Answers(Ticket, Result<Answer, Error>),
    /// An instance ends, unless it has ended before.
    Ends(Key, Exit),
    /// A hint reaches who watches.
    Hints(WatchId, Hint),
    /// An instance writes a line: nothing changes but what may be read.
    Writes,
    /// An ended instance is remembered no longer.
    Forgets(Key),
}

#[derive(Clone, Debug)]
struct Pending {
    fence: Fence,
    call: Call,
    faults: Vec<Fault>,
    life: Option<Life>,
    /// The first arrival's answer is the one that counts.
    answered: bool,
    answer: Option<Result<Answer, Error>>,
    abandoned: bool,
    /// How much about it is on the agenda, or waits for its instance's end: none, and it is over.
    open: u32,
}

impl Engine {
    /// An engine that can do all, has room for all, and in which nothing goes wrong.
    pub fn new() -> Self {
        let capabilities = Capabilities {
            standby: true,
            run_command: true,
            logs: true,
            usage: true,
            listening_ports: true,
            capacity: true,
            reap: true,
            fencing: true,
            connecting_proves_nothing: false,
        };
        Self {
            capabilities,
            latency: Latency::default(),
            room: None,
            faults: Faults::none(),
            now: Timestamp::EPOCH,
            changes: 0,
            sequence: 0,
            agenda: BTreeMap::new(),
            calls: BTreeMap::new(),
            asked: BTreeMap::new(),
            epochs: BTreeMap::new(),
            instances: BTreeMap::new(),
            addresses: BTreeMap::new(),
            stopped: BTreeSet::new(),
            unmarked: BTreeSet::new(),
            watches: Watches::default(),
            trace: VecDeque::new(),
        }
    }

    /// The same with a script of what goes wrong.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The same with other capabilities; what is not declared is refused.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The same with room for so many instances that have not ended.
    #[must_use]
    pub fn with_room(mut self, instances: u32) -> Self {
        self.room = Some(instances);
        self
    }

    /// The same with other latencies.
    #[must_use]
    pub fn with_latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Takes a call; the ticket fetches its answer.
    pub fn deliver(&mut self, fence: Fence, call: Call, now: Timestamp) -> Ticket {
        self.advance(now);
        let operation = call.operation();
        let overall = self.count(operation, None);
        let own = call.instance().map_or(0, |instance| self.count(operation, Some(instance)));
        let faults: Vec<Fault> = self.faults.of_call(&call, overall, own).cloned().collect();
        let life = self.faults.life_of(&call, overall, own).cloned();

        self.sequence += 1;
        let ticket = Ticket(self.sequence);
        self.happened(fence.platform, What::Asked(ticket, operation, call.instance()));
        let mut late = Duration::ZERO;
        let mut again = None;
        let mut vanishes = false;
        for fault in &faults {
            match fault {
                Fault::Late(by) => late += *by,
                Fault::Twice(after) => again = Some(*after),
                Fault::Vanish => vanishes = true,
                Fault::Refuse(_)
                | Fault::AnswerLate(_)
                | Fault::LoseAnswer(_)
                | Fault::Stale(_) => {}
            }
        }
        let pending = Pending {
            fence,
            call,
            faults,
            life,
            answered: false,
            answer: None,
            abandoned: false,
            open: u32::from(!vanishes) + u32::from(!vanishes && again.is_some()),
        };
        self.calls.insert(ticket, pending);
        if !vanishes {
            self.plan(now + late, Due::Arrives(ticket));
            if let Some(after) = again {
                self.plan(now + late + after, Due::Arrives(ticket));
            }
        }
        self.advance(now);
        ticket
    }

    /// When the next thing happens by itself.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets everything happen that is due by `now`, in its order, and says how much that was.
    pub fn advance(&mut self, now: Timestamp) -> usize {
        let mut happened = 0;
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= now
        {
            let ((at, _), due) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(due);
            happened += 1;
        }
        self.now = self.now.max(now);
        happened
    }

    /// The answer of a call, once it has come; only once.
    pub fn take_answer(&mut self, ticket: Ticket) -> Option<Result<Answer, Error>> {
        let answer = self.calls.get_mut(&ticket)?.answer.take()?;
        self.abandon(ticket);
        Some(answer)
    }

    /// Nobody waits for this answer any more. What was asked for happens all the same.
    pub fn abandon(&mut self, ticket: Ticket) {
        if let Some(pending) = self.calls.get_mut(&ticket) {
            pending.abandoned = true;
        }
        self.forget_if_over(ticket);
    }

    /// How many calls are not over: they wait, or may still do something.
    pub fn calls_in_flight(&self) -> usize {
        self.calls.len()
    }

    /// Begins a watch. That of an older epoch ends before its first hint.
    pub fn watch(&mut self, fence: Fence, now: Timestamp) -> WatchId {
        self.advance(now);
        let refused = self.check(fence).is_err();
        self.watches.open(fence.platform, refused)
    }

    /// The next hint of a watch.
    pub fn next_hint(&mut self, watch: WatchId) -> Watched {
        self.watches.next(watch)
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, watch: WatchId) {
        self.watches.close(watch);
    }

    /// Puts another script in the place of the one there is. Counting goes on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Makes room for so many instances that have not ended; those above it stay.
    pub fn set_room(&mut self, instances: Option<u32>) {
        self.room = instances;
    }

    /// Ends an instance now, as a kill from outside would, one that hangs too.
    pub fn release(&mut self, platform: PlatformId, instance: InstanceId, now: Timestamp) {
        self.kill(platform, instance, KILLED, now);
    }

    /// Ends an instance now in a way of the caller's.
    pub fn kill(
        &mut self,
        platform: PlatformId,
        instance: InstanceId,
        exit: impl Into<Exit>,
        now: Timestamp,
    ) {
        self.advance(now);
        self.end(Key { platform, instance }, exit.into());
    }

    /// Puts something into the engine that bears no mark of any platform.
    pub fn plant_unmarked(&mut self, engine_name: impl Into<String>) {
        self.unmarked.insert(engine_name.into());
    }

    /// How much has happened so far: where it is as it was, nobody has anything new to see.
    pub(in super::super) fn happened_so_far(&self) -> u64 {
        self.changes
    }

    fn happen(&mut self, due: Due) {
        self.changes += 1;
        match due {
            Due::Arrives(ticket) => self.arrive(ticket),
            Due::Answers(ticket, answer) => {
                let Some(pending) = self.calls.get_mut(&ticket) else { return };
                let platform = pending.fence.platform;
                let kind = answer.as_ref().err().map(Error::kind);
                pending.answer = Some(answer);
                self.happened(platform, What::Answered(ticket, kind));
                self.close(ticket);
            }
            Due::Ends(key, exit) => self.end(key, exit),
            Due::Hints(watch, hint) => self.watches.arrive(watch, hint),
            Due::Writes => {}
            Due::Forgets(key) => {
                let forgotten = self.instances.remove(&key);
                if let Some(address) = forgotten.and_then(|instance| instance.started.address) {
                    self.addresses.remove(&address);
                }
            }
        }
    }

    fn plan(&mut self, at: Timestamp, due: Due) {
        self.sequence += 1;
        self.agenda.insert((at.max(self.now), self.sequence), due);
    }

    fn count(&mut self, operation: Operation, instance: Option<InstanceId>) -> u64 {
        let count = self.asked.entry((operation, instance)).or_insert(0);
        *count += 1;
        *count
    }

    /// Refuses the past, and remembers the present.
    fn check(&mut self, fence: Fence) -> Result<(), Error> {
        let newest = self.epochs.entry(fence.platform).or_insert(fence.epoch);
        if self.capabilities.fencing && fence.epoch < *newest {
            return Err(Error::fenced(format!(
                "epoch {} of platform {} is over: epoch {newest} has been seen; end this one",
                fence.epoch, fence.platform
            )));
        }
        *newest = fence.epoch.max(*newest);
        Ok(())
    }

    fn hint(&mut self, platform: PlatformId, hint: &Hint) {
        for (watch, number) in self.watches.send(platform) {
            let now = self.now;
            match self.faults.of_hint(number) {
                None => self.plan(now, Due::Hints(watch, hint.clone())),
                Some(HintFault::Lose) => {}
                Some(HintFault::Repeat) => {
                    self.plan(now, Due::Hints(watch, hint.clone()));
                    self.plan(now, Due::Hints(watch, hint.clone()));
                }
                Some(HintFault::Late(by)) => self.plan(now + by, Due::Hints(watch, hint.clone())),
                Some(HintFault::Break) => self.watches.break_off(watch),
            }
        }
    }

    /// One thing less is open about a call.
    fn close(&mut self, ticket: Ticket) {
        if let Some(pending) = self.calls.get_mut(&ticket) {
            pending.open -= 1;
        }
        self.forget_if_over(ticket);
    }

    fn forget_if_over(&mut self, ticket: Ticket) {
        if self.calls.get(&ticket).is_some_and(|call| call.abandoned && call.open == 0) {
            self.calls.remove(&ticket);
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

/// How an instance ends that is killed.
const KILLED: crate::backend::ExitStatus = crate::backend::ExitStatus::Signal(9);

/// How long an instance that ended stays in lists: an engine that forgets at once would hide
/// that callers must cope with both.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How long it is kept beyond that for lists that are stale.
const KEPT_FOR_STALE: Duration = Duration::from_secs(3600);

/// How many happenings the trace keeps: some minutes of a busy platform.
const TRACE_LEN: usize = 10_000;
