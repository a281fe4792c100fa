//! The monitor: asks a changing fleet on time and tells what it found. The shell over
//! [`FleetHealth`].
//!
//! [`Monitor::new`] returns a handle, to say what to watch, and the monitor, whose
//! [`run`](Monitor::run) is a future that the embedding program runs. Nothing is asked before it
//! runs.
//!
//! # Guarantees
//!
//! - **A hung probe delays nobody.** Attempts run beside each other, up to a bound; of that bound
//!   those whose last attempt waited in vain get half at most.
//! - **A pause ejects nobody.** When this program was stopped, the host slept, or somebody set the
//!   clock, the bad answers of attempts that were under way are asked again. The clock of the
//!   monitor is the monotonic one, so that setting the other moves no deadline.
//! - **After [`MonitorHandle::freeze`] or [`remove`](MonitorHandle::remove) has returned** no
//!   attempt is started at that instance and no answer of it counts; one that is under way is
//!   dropped within the same turn of the runtime.
//! - **Memory** is bounded by the instances watched, also while nobody runs the monitor.
//!
//! # Cancel safety
//!
//! Dropping the future of [`run`](Monitor::run) drops all attempts that are under way. What was
//! told before stays told; handles still answer with the last verdicts.
//!
//! # What it is not
//!
//! It does not act on a verdict, and it does not find instances: both are its caller's.

mod clock;
mod counters;
mod state;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use runner_core::{address::Address, id::InstanceId, time::Timestamp};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep_until, timeout},
};

use self::{
    clock::{Clock, Reading, SLACK},
    state::{Room, Start, State},
};
use crate::{
    Plan,
    passive::{Outcomes, PassiveSettings},
    probe::{Seen, Waiting, words_of},
    verdict::{Answer, Ask, Change, FleetEvent, FleetHealth, Verdict},
};

pub use counters::{Lateness, MonitorCounters};

/// How a monitor works.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MonitorSettings {
    /// When requests that go badly eject an instance.
    pub passive: PassiveSettings,
    /// Decides the jitter. Two monitors of one fleet should have different ones.
    pub seed: u64,
    /// How many attempts may be under way at once. Default: 512, half of the file descriptors
    /// that a process has unless it asked for more. An attempt that finds no room waits for it,
    /// and being late counts against nobody.
    pub at_once: usize,
    /// Whether tokio's time is all the time there is, as in tests and simulations that pause it.
    /// Otherwise the host's clock is looked at too: it alone shows that the host slept. Beside a
    /// paused clock it would show pauses that are none. Default: no.
    pub simulated_time: bool,
}

/// Asks; see the [module page](self).
#[derive(Debug)]
#[must_use = "nothing is asked until it runs"]
pub struct Monitor {
    shared: Arc<Shared>,
}

/// Says what a [`Monitor`] watches, and reads what it found. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MonitorHandle {
    shared: Arc<Shared>,
}

/// What a monitor tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A verdict changed.
    Changed {
        /// Which, and why.
        change: Change,
        /// When.
        at: Timestamp,
    },
    /// An instance that should be replaced may be replaced now: while nobody is well this is said
    /// of one at a time.
    Replace {
        /// Which.
        instance: InstanceId,
    },
}

#[derive(Debug)]
struct Shared {
    #[expect(
        clippy::disallowed_types,
        reason = "guards the machine and its schedule; nothing is awaited under it"
    )]
    state: std::sync::Mutex<State>,
    changed: Notify,
    clock: Clock,
    at_once: usize,
    running: AtomicUsize,
    running_suspects: AtomicUsize,
}

/// How an attempt ended.
struct Finished {
    instance: InstanceId,
    answer: Answer,
    /// How many losses had been noticed when it began.
    losses: u64,
}

/// What woke the monitor.
enum Woken {
    Attempt(Option<Finished>),
    Handle,
    Time,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self { passive: PassiveSettings::default(), seed: 0, at_once: 512, simulated_time: false }
    }
}

impl MonitorSettings {
    /// Decides the jitter.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many attempts may be under way at once; at least two.
    #[must_use]
    pub const fn at_once(mut self, attempts: usize) -> Self {
        self.at_once = attempts;
        self
    }

    /// Whether tokio's time is all the time there is.
    #[must_use]
    pub const fn simulated_time(mut self, simulated: bool) -> Self {
        self.simulated_time = simulated;
        self
    }

    /// When requests that go badly eject an instance.
    #[must_use]
    pub const fn passive(mut self, passive: PassiveSettings) -> Self {
        self.passive = passive;
        self
    }
}

impl Monitor {
    /// A monitor that watches nothing yet, and the handle to say what. The clock starts now.
    pub fn new(settings: MonitorSettings) -> (MonitorHandle, Self) {
        let clock = if settings.simulated_time { Clock::simulated() } else { Clock::start() };
        Self::with_clock(settings, clock)
    }

    fn with_clock(settings: MonitorSettings, clock: Clock) -> (MonitorHandle, Self) {
        let state = State::new(FleetHealth::new(settings.passive, settings.seed));
        let shared = Arc::new(Shared {
            state: state.into(),
            changed: Notify::new(),
            clock,
            // One half is for those that wait in vain, and neither half may be nothing.
            at_once: settings.at_once.max(2),
            running: AtomicUsize::new(0),
            running_suspects: AtomicUsize::new(0),
        });
        (MonitorHandle { shared: Arc::clone(&shared) }, Self { shared })
    }

    /// Asks until it is dropped, and calls `tell` for whatever changes, in the order in which it
    /// changed. `tell` has to return soon: nothing is started while it runs.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its timer enabled.
    pub async fn run(self, mut tell: impl FnMut(Notice) + Send) -> Infallible {
        let Self { shared } = self;
        let mut attempts = JoinSet::new();
        let mut last = shared.clock.read();
        loop {
            let next = shared.start_due(&mut attempts);
            let notices = shared.with(|state, _| state.take_notices());
            notices.into_iter().for_each(&mut tell);
            let woken = shared.wait(&mut attempts, next).await;
            let reading = shared.clock.read();
            shared.notice_loss(&last, &reading, next);
            last = reading;
            match woken {
                Woken::Attempt(Some(Finished { instance, mut answer, losses })) => {
                    shared.with(|state, now| {
                        // Its timer may have run out before anybody looked at its answer.
                        answer.disturbed = losses != state.counters.losses;
                        state.answer(instance, answer, now);
                    });
                }
                Woken::Time => shared.with(|state, now| {
                    if state.fleet.next_due().is_some_and(|due| due <= now) {
                        state.handle(FleetEvent::Tick, now);
                    }
                }),
                Woken::Attempt(None) | Woken::Handle => {}
            }
        }
    }
}

impl MonitorHandle {
    /// Watches an instance from now on, as one that starts now. One that is watched already goes
    /// on as it is.
    pub fn add(&self, instance: InstanceId, address: Address, plan: Arc<Plan>) {
        self.change(|state, now| state.add(instance, address, plan, now));
    }

    /// Watches an instance no longer.
    pub fn remove(&self, instance: InstanceId) {
        self.change(|state, now| state.remove(instance, now));
    }

    /// Asks an instance nothing until it is thawed: to be called before it is frozen.
    pub fn freeze(&self, instance: InstanceId) {
        self.change(|state, now| state.freeze(instance, now));
    }

    /// Asks it again, at once. It has the verdict it froze with until it answers, and its first
    /// answer, if bad, takes it out.
    pub fn thaw(&self, instance: InstanceId) {
        self.change(|state, now| state.handle(FleetEvent::Thaw { instance }, now));
    }

    /// Says how requests to an instance went since this was last said.
    pub fn report(&self, instance: InstanceId, outcomes: Outcomes) {
        self.change(|state, now| state.handle(FleetEvent::Reported { instance, outcomes }, now));
    }

    /// What an instance is held to be; nothing when it is not watched.
    pub fn verdict(&self, instance: InstanceId) -> Option<Verdict> {
        self.shared.with(|state, _| state.fleet.verdict(instance))
    }

    /// What the last attempt at an instance saw: why one that does not become ready does not.
    pub fn last_seen(&self, instance: InstanceId) -> Option<Seen> {
        self.shared.with(|state, _| state.seen(instance))
    }

    /// All instances that are watched and what they are held to be.
    pub fn verdicts(&self) -> Vec<(InstanceId, Verdict)> {
        self.shared.with(|state, _| state.fleet.verdicts().collect())
    }

    /// What was counted so far.
    pub fn counters(&self) -> MonitorCounters {
        self.shared.with(|state, _| state.counters)
    }

    /// How late attempts were started so far.
    pub fn lateness(&self) -> Lateness {
        self.shared.with(|state, _| state.lateness)
    }

    fn change(&self, change: impl FnOnce(&mut State, Timestamp)) {
        self.shared.with(change);
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn with<T>(&self, with: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        // Under the lock only the machine runs, which panics where it has a bug and nowhere else.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that the machine never sees time go back.
        let now = self.clock.read().now;
        with(&mut state, now)
    }

    /// Starts what is due and says when something is due next.
    fn start_due(self: &Arc<Self>, attempts: &mut JoinSet<Finished>) -> Option<Timestamp> {
        self.with(|state, now| {
            while let Some(start) = state.next_start(self.room(), now) {
                let (instance, ask) = (start.instance, start.ask);
                let permit = Permit::take(self, start.is_suspect);
                let task = attempts.spawn(attempt(start, permit));
                state.started(instance, &ask, task);
            }
            let next = state.next_due(self.room());
            // While attempts are under way nothing may be due for long: without a beat nobody
            // could tell a stop from a wait.
            let is_asking = self.running.load(Ordering::Relaxed) > 0;
            next.into_iter().chain(is_asking.then_some(now + BEAT)).min()
        })
    }

    fn room(&self) -> Room {
        Room {
            all: self.at_once.saturating_sub(self.running.load(Ordering::Relaxed)),
            suspects: (self.at_once / 2)
                .saturating_sub(self.running_suspects.load(Ordering::Relaxed)),
        }
    }

    async fn wait(&self, attempts: &mut JoinSet<Finished>, next: Option<Timestamp>) -> Woken {
        let mut timer = pin!(next.map(|at| sleep_until(self.clock.instant(at))));
        let mut changed = pin!(self.changed.notified());
        poll_fn(|context| {
            // Answers first: they free room, and there is an end to them.
            if let Poll::Ready(Some(ended)) = attempts.poll_join_next(context) {
                return Poll::Ready(Woken::Attempt(ended.ok()));
            }
            if changed.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woken::Handle);
            }
            match timer.as_mut().as_pin_mut() {
                Some(timer) => timer.poll(context).map(|()| Woken::Time),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Finds out whether the monitor was kept from running, and tells the machine.
    fn notice_loss(&self, last: &Reading, reading: &Reading, planned: Option<Timestamp>) {
        let late = |planned: Timestamp| reading.now.since(planned.max(last.now));
        let late = planned.map_or(Duration::ZERO, late);
        if late > SLACK || reading.is_jump_since(last) {
            self.with(|state, now| {
                state.counters.losses += 1;
                state.handle(FleetEvent::Lost(late), now);
            });
        }
    }
}

/// Room that an attempt takes, given back however it ends.
struct Permit {
    shared: Arc<Shared>,
    is_suspect: bool,
}

impl Permit {
    fn take(shared: &Arc<Shared>, is_suspect: bool) -> Self {
        shared.running.fetch_add(1, Ordering::Relaxed);
        shared.running_suspects.fetch_add(usize::from(is_suspect), Ordering::Relaxed);
        Self { shared: Arc::clone(shared), is_suspect }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Ordering::Relaxed);
        self.shared.running_suspects.fetch_sub(usize::from(self.is_suspect), Ordering::Relaxed);
    }
}

async fn attempt(start: Start, permit: Permit) -> Finished {
    let Start { instance, ask, probe, target, losses, .. } = start;
    let begun = permit.shared.clock.read().now;
    let attempt = without_panic(async || probe.attempt(&target).await);
    let seen = timeout(ask.limit + OWN_TIME_OUT, attempt)
        .await
        .unwrap_or(Seen::TimedOut { limit: ask.limit, waiting_for: Waiting::Probe });
    let Ask { question, ticket, .. } = ask;
    // Whether it was disturbed is seen by the monitor, which reads both clocks at every turn.
    let answer = Answer { question, ticket, begun, seen, disturbed: false };
    Finished { instance, answer, losses }
}

/// A probe of the embedding program's that panics has not seen anything good; it must not take
/// the monitor with it.
async fn without_panic(ask: impl AsyncFnOnce() -> Seen) -> Seen {
    let mut asking = Box::pin(ask());
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| asking.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            let words = words.unwrap_or_else(|| "without words".to_owned());
            Poll::Ready(Seen::NotAsked(words_of(&format!("the probe panicked: {words}"))))
        })
    })
    .await
}

/// To within this it is known how long the program did not run. Two wake-ups in a second are not
/// to be measured.
const BEAT: Duration = Duration::from_millis(500);
/// Probes keep their own time and say for what they waited; this is for those that do not.
const OWN_TIME_OUT: Duration = Duration::from_millis(50);
