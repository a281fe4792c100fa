//! Time that moves only when everybody waits.
//!
//! A [`TestClock`] knows what is due and when. [`TestClock::run`] polls a future, and what it
//! spawned, until all of them wait; then it steps to the next thing that is due, and so on: an
//! hour passes in the time that it takes to compute. Nothing sleeps, no thread is started, and
//! the order of events is the same each time: by due time, then by who asked first.
//!
//! ```
//! use runner_core::testing::clock::TestClock;
//! use std::time::Duration;
//!
//! let clock = TestClock::new();
//! let hour = Duration::from_secs(3600);
//! let slept = clock.run(async {
//!     let other = clock.spawn({
//!         let clock = clock.clone();
//!         async move { clock.sleep(2 * hour).await }
//!     });
//!     clock.sleep(hour).await;
//!     other.await;
//!     clock.now()
//! });
//! assert_eq!(slept, clock.start() + 2 * hour);
//! ```
//!
//! # What it is not
//!
//! Not a runtime: a future that waits for a thread, a socket or another runtime's timer looks
//! like one that waits for nothing, and `run` panics and says so. Futures that wait for this
//! clock may run on another executor, as long as somebody calls [`TestClock::advance`], or the
//! clock [follows](TestClock::following) that executor's own.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use super::shared::Shared;
use crate::{BoxFuture, time::Timestamp};

/// A cheap handle of virtual time; see the [module page](self).
#[derive(Clone)]
pub struct TestClock {
    start: Timestamp,
    state: Shared<State>,
    /// Whose time it is, where it is not its own.
    pacer: Option<Arc<dyn Pacer>>,
}

/// Another clock, such as that of a runtime whose time is paused.
pub trait Pacer: Send + Sync + 'static {
    /// How much time has passed by it.
    fn elapsed(&self) -> Duration;

    /// Ready once so much has passed.
    fn reaches(&self, elapsed: Duration) -> BoxFuture<'static, ()>;
}

struct State {
    now: Timestamp,
    /// Breaks ties between what is due at one time: who asked first.
    sequence: u64,
    due: BTreeMap<(Timestamp, u64), Waker>,
    spawned: Vec<BoxFuture<'static, ()>>,
    running: bool,
}

impl TestClock {
    /// A clock that stands at a time in the year 2026: a real date, so that code which subtracts
    /// from it or prints it meets what it will meet outside.
    pub fn new() -> Self {
        Self::starting_at(Timestamp::from_secs(1_777_507_200))
    }

    /// A clock that stands at a time of the caller's.
    pub fn starting_at(start: Timestamp) -> Self {
        let (due, spawned) = (BTreeMap::new(), Vec::new());
        let state = State { now: start, sequence: 0, due, spawned, running: false };
        Self { start, state: Shared::new(state), pacer: None }
    }

    /// A clock that goes by another one: what waits for it waits for that one, and it is brought up
    /// to that one whenever anybody looks.
    pub fn following(pacer: impl Pacer) -> Self {
        Self { pacer: Some(Arc::new(pacer)), ..Self::new() }
    }

    /// Where it stood at first.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        if let Some(pacer) = &self.pacer {
            self.advance_to(self.start + pacer.elapsed());
        }
        self.state.with(|state| state.now)
    }

    /// When the next thing that somebody waits for is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.state.with(|state| state.due.first_key_value().map(|((at, _), _)| *at))
    }

    /// How many wait for this clock.
    pub fn waiting(&self) -> usize {
        self.state.with(|state| state.due.len())
    }

    /// A future that is ready once `span` has passed.
    pub fn sleep(&self, span: Duration) -> Sleep {
        self.sleep_until(self.now() + span)
    }

    /// A future that is ready at `at`.
    pub fn sleep_until(&self, at: Timestamp) -> Sleep {
        Sleep { clock: self.clone(), at, ticket: None, followed: None }
    }

    /// Lets `span` pass and wakes, in their order, all that were due in it.
    ///
    /// They are polled only after this returns: what they ask for in turn is due from then on.
    pub fn advance(&self, span: Duration) {
        self.advance_to(self.now() + span);
    }

    fn advance_to(&self, target: Timestamp) {
        while self.step(target).is_some() {}
        self.state.with(|state| state.now = state.now.max(target));
    }

    /// Steps to the next thing that is due and wakes who waits for it. Nothing when nobody waits.
    pub fn advance_to_next(&self) -> Option<Timestamp> {
        self.step(Timestamp::MAX)
    }

    /// The same for what is due by `latest`. Looked at and taken in one: of two threads that bring
    /// it up to the present, the second would take what is due in an hour.
    fn step(&self, latest: Timestamp) -> Option<Timestamp> {
        let (now, waker) = self.state.with(|state| {
            let first = state.due.first_entry().filter(|first| first.key().0 <= latest)?;
            let ((at, _), waker) = first.remove_entry();
            state.now = state.now.max(at);
            Some((state.now, waker))
        })?;
        // Outside the lock: a waker may poll at once, on whatever executor it belongs to.
        waker.wake();
        Some(now)
    }

    /// Adds a task to the run that is under way, or to the next one.
    ///
    /// Dropping the [`Task`] lets it go on. It is dropped when the run ends.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let slot = Shared::new(Slot { value: None, waiter: None });
        let filled = slot.clone();
        let task = Box::pin(async move {
            let value = future.await;
            let waiter = filled.with(|slot| {
                slot.value = Some(value);
                slot.waiter.take()
            });
            waiter.into_iter().for_each(Waker::wake);
        });
        self.state.with(|state| state.spawned.push(task));
        Task { slot }
    }

    /// Runs a future to its end, and what it spawns beside it, in virtual time.
    ///
    /// Tasks that still run when the future ends are dropped, as a runtime does that shuts down.
    ///
    /// # Panics
    ///
    /// When all tasks wait and nothing is due (they wait for each other, or for something outside
    /// this clock); when tasks wake each other forever without time passing; when it is called
    /// from within a run.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let _running = Running::enter(self);
        let mut main = pin!(future);
        let ready = Shared::new(VecDeque::new());
        let main_waker = task_waker(MAIN, &ready);
        main_waker.wake_by_ref();
        let mut tasks: BTreeMap<usize, (BoxFuture<'static, ()>, Waker)> = BTreeMap::new();
        let mut next_task = MAIN + 1;
        let mut polls_at_this_time = 0;
        loop {
            for task in self.state.with(|state| std::mem::take(&mut state.spawned)) {
                let waker = task_waker(next_task, &ready);
                waker.wake_by_ref();
                tasks.insert(next_task, (task, waker));
                next_task += 1;
            }
            let Some(flag) = ready.with(VecDeque::pop_front) else {
                polls_at_this_time = 0;
                assert!(
                    self.advance_to_next().is_some(),
                    "deadlock at {}: the future and {} tasks wait, and nothing is due on this \
                     clock; they wait for each other or for something outside it",
                    self.now(),
                    tasks.len()
                );
                continue;
            };
            polls_at_this_time += 1;
            assert!(
                polls_at_this_time < POLLS_WITHOUT_TIME,
                "no progress at {}: tasks woke each other {POLLS_WITHOUT_TIME} times without \
                 waiting for time to pass",
                self.now()
            );
            flag.queued.store(false, Ordering::Relaxed);
            if flag.task == MAIN {
                let polled = main.as_mut().poll(&mut Context::from_waker(&main_waker));
                if let Poll::Ready(output) = polled {
                    return output;
                }
            } else if let Some((task, waker)) = tasks.get_mut(&flag.task)
                && task.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
            {
                tasks.remove(&flag.task);
            }
        }
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.with(|state| {
            let due: Vec<_> = state.due.keys().map(|(at, _)| at).collect();
            f.debug_struct("TestClock").field("now", &state.now).field("due", &due).finish()
        })
    }
}

/// Ready at its time; made by [`TestClock::sleep`]. Dropping it leaves nothing due.
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep {
    clock: TestClock,
    at: Timestamp,
    ticket: Option<u64>,
    /// The same on the clock that is followed.
    followed: Option<BoxFuture<'static, ()>>,
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (at, held) = (self.at, self.ticket);
        if let Some(pacer) = self.clock.pacer.clone() {
            let due = at.since(self.clock.start);
            let reached = self.followed.get_or_insert_with(|| pacer.reaches(due)).as_mut();
            if reached.poll(context).is_ready() {
                self.followed = Some(Box::pin(std::future::ready(())));
                self.clock.advance_to(at);
            }
        }
        let ticket = self.clock.state.with(|state| {
            if state.now >= at {
                return None;
            }
            let ticket = held.unwrap_or_else(|| {
                state.sequence += 1;
                state.sequence
            });
            state.due.insert((at, ticket), context.waker().clone());
            Some(ticket)
        });
        match ticket {
            None => Poll::Ready(()),
            Some(_) => {
                self.ticket = ticket;
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let at = self.at;
            self.clock.state.with(|state| state.due.remove(&(at, ticket)));
        }
    }
}

/// What a spawned task returns, once it does; made by [`TestClock::spawn`].
#[derive(Debug)]
pub struct Task<T> {
    slot: Shared<Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    waiter: Option<Waker>,
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.slot.with(|slot| match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waiter = Some(context.waker().clone());
                Poll::Pending
            }
        })
    }
}

/// Marks the clock as running, and drops what is left when the run ends, by a panic too.
struct Running<'a>(&'a TestClock);

impl<'a> Running<'a> {
    fn enter(clock: &'a TestClock) -> Self {
        let was_running = clock.state.with(|state| std::mem::replace(&mut state.running, true));
        assert!(!was_running, "this clock runs already: await inside the run instead");
        Self(clock)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let left = self.0.state.with(|state| {
            state.running = false;
            std::mem::take(&mut state.spawned)
        });
        // Outside the lock: tasks hold sleeps, which take it when they are dropped.
        drop(left);
    }
}

struct Flag {
    task: usize,
    queued: AtomicBool,
    ready: Shared<VecDeque<Arc<Self>>>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.with(|ready| ready.push_back(Arc::clone(&self)));
        }
    }
}

fn task_waker(task: usize, ready: &Shared<VecDeque<Arc<Flag>>>) -> Waker {
    Arc::new(Flag { task, queued: AtomicBool::new(false), ready: ready.clone() }).into()
}

/// The future that `run` was given, among the tasks it spawns.
const MAIN: usize = 0;

/// Ten times what the largest simulation needs within one instant, and a second of computing.
const POLLS_WITHOUT_TIME: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_due_happens_in_order_and_ties_go_to_who_asked_first() {
        let clock = TestClock::new();
        let order = Shared::new(Vec::new());
        clock.run(async {
            let tasks: Vec<_> = [(3, "late"), (1, "first"), (1, "second"), (2, "middle")]
                .into_iter()
                .map(|(seconds, name)| {
                    let (clock, order) = (clock.clone(), order.clone());
                    clock.clone().spawn(async move {
                        clock.sleep(SECOND * seconds).await;
                        order.with(|order| order.push((name, clock.now().since(clock.start()))));
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
        });
        let expected =
            [("first", SECOND), ("second", SECOND), ("middle", SECOND * 2), ("late", SECOND * 3)];
        assert_eq!(order.with(|order| order.clone()), expected);
    }

    struct Other(TestClock);

    impl Pacer for Other {
        fn elapsed(&self) -> Duration {
            self.0.now().since(self.0.start())
        }

        fn reaches(&self, elapsed: Duration) -> BoxFuture<'static, ()> {
            Box::pin(self.0.sleep_until(self.0.start() + elapsed))
        }
    }

    #[test]
    fn a_clock_that_follows_another_one_wakes_by_it_and_says_its_time() {
        let other = TestClock::new();
        let clock = TestClock::following(Other(other.clone()));
        other.run(async {
            other.sleep(SECOND).await;
            assert_eq!(clock.now(), clock.start() + SECOND, "it is brought up when one looks");
            clock.sleep(SECOND * 2).await;
            assert_eq!(other.now(), other.start() + SECOND * 3, "who waits for it waits for both");
        });
        assert_eq!((clock.waiting(), other.waiting()), (0, 0));
    }

    /// One that stands.
    struct Still(Duration);

    impl Pacer for Still {
        fn elapsed(&self) -> Duration {
            self.0
        }

        fn reaches(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn two_threads_that_bring_it_up_to_another_do_not_take_it_further() {
        for _ in 0..2_000 {
            let clock = TestClock::following(Still(SECOND));
            let due = [1_u32, 2, 3, 4, 5, 6, 7, 3_600_000];
            let mut sleeps = due.map(|due| Box::pin(clock.sleep_until(clock.start + MS * due)));
            for sleep in &mut sleeps {
                assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            let both = std::sync::Barrier::new(2);
            let look = || {
                both.wait();
                clock.now()
            };
            let seen = std::thread::scope(|scope| {
                let threads = [scope.spawn(look), scope.spawn(look)];
                threads.map(|thread| thread.join().expect("no panic"))
            });
            assert_eq!(seen, [clock.start + SECOND; 2]);
        }
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn a_future_that_nothing_can_wake_is_named_a_deadlock() {
        TestClock::new().run(std::future::pending::<()>());
    }

    #[test]
    #[should_panic(expected = "runs already")]
    fn a_run_within_a_run_is_refused() {
        let clock = TestClock::new();
        clock.run(async { clock.run(async {}) });
    }

    #[test]
    fn a_dropped_sleep_is_not_due() {
        let clock = TestClock::new();
        clock.run(async {
            let mut sleep = Box::pin(clock.sleep(SECOND));
            std::future::poll_fn(|context| {
                assert!(sleep.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            assert_eq!(clock.waiting(), 1);
            drop(sleep);
        });
        assert_eq!((clock.waiting(), clock.next_due()), (0, None));
    }

    #[test]
    fn advancing_wakes_what_was_due_and_nothing_else() {
        let clock = TestClock::new();
        let mut near = pin!(clock.sleep(SECOND));
        let mut far = pin!(clock.sleep(SECOND * 3));
        let mut context = Context::from_waker(Waker::noop());
        assert!(near.as_mut().poll(&mut context).is_pending());
        assert!(far.as_mut().poll(&mut context).is_pending());
        clock.advance(SECOND * 2);
        assert_eq!(clock.now(), clock.start() + SECOND * 2);
        assert!(near.as_mut().poll(&mut context).is_ready());
        assert!(far.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.advance_to_next(), Some(clock.start() + SECOND * 3));
        assert_eq!(clock.advance_to_next(), None);
    }

    #[test]
    fn tasks_that_still_run_are_dropped_with_the_run() {
        let clock = TestClock::new();
        let canary = Arc::new(());
        clock.run(async {
            let held = Arc::clone(&canary);
            let _detached = clock.spawn({
                let clock = clock.clone();
                async move {
                    clock.sleep(SECOND * 60).await;
                    drop(held);
                }
            });
            clock.sleep(SECOND).await;
        });
        assert_eq!((Arc::strong_count(&canary), clock.waiting()), (1, 0));
    }
}
