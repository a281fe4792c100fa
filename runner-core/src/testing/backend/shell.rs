//! The trait over the engine: futures that wait for the clock and decide nothing.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream;

use super::{Answer, Call, Engine, InstanceView, Reply, Ticket, WatchId, Watched};
use crate::{
    BoxFuture, BoxStream, Error,
    address::Address,
    backend::{
        Capabilities, CommandOutput, ContainerBackend, Exit, Fence, ForeignInstance, Hint,
        HostCapacity, InstanceUsage, Listing, LogLine, StartRequest, Started,
    },
    id::{InstanceId, PlatformId},
    testing::{
        clock::{Sleep, TestClock},
        shared::Shared,
    },
    time::Timestamp,
};

/// An [`Engine`] behind a cheap handle, in the time of a clock.
///
/// It is what outlives the platform. Several platforms may have backends over one.
#[derive(Clone)]
pub struct SharedEngine {
    clock: TestClock,
    state: Shared<State>,
}

struct State {
    engine: Engine,
    /// Who waits for something to happen, by a number of their own.
    waiting: BTreeMap<u64, Waker>,
    waiters: u64,
}

impl SharedEngine {
    /// An engine in the time of a clock.
    pub fn new(clock: &TestClock, engine: Engine) -> Self {
        let state = State { engine, waiting: BTreeMap::new(), waiters: 0 };
        Self { clock: clock.clone(), state: Shared::new(state) }
    }

    /// A new backend over it: the platform's connection for one of its lives.
    pub fn open(&self) -> MemoryBackend {
        let capabilities = self.with(|engine, _| engine.capabilities());
        MemoryBackend { engine: self.clone(), capabilities, on_start: None }
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// Looks at the engine, or does something to it, at the present time; then all who wait look
    /// again.
    pub fn with<R>(&self, f: impl FnOnce(&mut Engine, Timestamp) -> R) -> R {
        let now = self.clock.now();
        let (result, wakers) = self.state.with(|state| {
            state.engine.advance(now);
            let result = f(&mut state.engine, now);
            (result, std::mem::take(&mut state.waiting))
        });
        wakers.into_values().for_each(Waker::wake);
        result
    }

    /// The same for what changes nothing that anybody waits for: they look again where time brought
    /// something, or will sooner than they know. Of thousands that wait, not each for each call.
    fn quietly<R>(&self, f: impl FnOnce(&mut Engine, Timestamp) -> R) -> R {
        let now = self.clock.now();
        let (result, wakers) = self.state.with(|state| {
            let (before, due) = (state.engine.happened_so_far(), state.engine.next_due());
            state.engine.advance(now);
            let result = f(&mut state.engine, now);
            let far = Timestamp::MAX;
            let sooner = state.engine.next_due().unwrap_or(far) < due.unwrap_or(far);
            let woken = sooner || state.engine.happened_so_far() != before;
            (result, if woken { std::mem::take(&mut state.waiting) } else { BTreeMap::new() })
        });
        wakers.into_values().for_each(Waker::wake);
        result
    }

    /// One instance as it truly is now.
    pub fn view(&self, platform: PlatformId, instance: InstanceId) -> Option<InstanceView> {
        self.quietly(|engine, _| engine.view(platform, instance))
    }

    /// Those instances of all platforms that have not ended.
    pub fn living(&self) -> Vec<InstanceView> {
        self.quietly(|engine, _| engine.views().filter(InstanceView::is_living).collect())
    }

    /// Sends a request, or a probe, to an address.
    pub fn ask(&self, address: &Address) -> Reply {
        self.quietly(|engine, now| engine.ask(address, now))
    }

    /// Ends an instance that nothing else ends.
    pub fn release(&self, platform: PlatformId, instance: InstanceId) {
        self.with(|engine, now| engine.release(platform, instance, now));
    }

    /// Looks for something at the present time without waking anybody unless something happened;
    /// where it is not there yet, `waiter` is woken when to look again.
    fn look<R>(
        &self,
        waiter: &mut Waiter,
        context: &Context<'_>,
        mut find: impl FnMut(&mut Engine) -> Option<R>,
    ) -> Poll<R> {
        loop {
            let now = self.clock.now();
            let (found, due, others) = self.state.with(|state| {
                let happened = state.engine.advance(now) > 0;
                let others =
                    if happened { std::mem::take(&mut state.waiting) } else { BTreeMap::new() };
                let found = find(&mut state.engine);
                if found.is_none() {
                    state.waiting.insert(waiter.number, context.waker().clone());
                }
                (found, state.engine.next_due(), others)
            });
            others.into_values().for_each(Waker::wake);
            if let Some(found) = found {
                return Poll::Ready(found);
            }
            if waiter.due != due {
                waiter.due = due;
                waiter.sleep = due.map(|at| Box::pin(self.clock.sleep_until(at)));
            }
            let Some(sleep) = &mut waiter.sleep else { return Poll::Pending };
            let mut context = Context::from_waker(context.waker());
            match sleep.as_mut().poll(&mut context) {
                Poll::Pending => return Poll::Pending,
                // Time has moved between the look and the sleep: look again.
                Poll::Ready(()) => (waiter.sleep, waiter.due) = (None, None),
            }
        }
    }

    fn waiter(&self) -> Waiter {
        let number = self.state.with(|state| {
            state.waiters += 1;
            state.waiters
        });
        Waiter { engine: self.clone(), number, due: None, sleep: None }
    }
}

impl fmt::Debug for SharedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.with(|state| state.engine.fmt(f))
    }
}

/// An in-memory backend; see the [module page](super).
///
/// Dropping a future of it leaves what was asked for to happen. Dropping the backend leaves all
/// instances as they are.
#[derive(Clone, Debug)]
pub struct MemoryBackend {
    engine: SharedEngine,
    capabilities: Capabilities,
    on_start: Option<OnStart>,
}

/// Who is told of each start.
#[derive(Clone)]
struct OnStart(Arc<Tell>);

type Tell = dyn Fn(InstanceId, &Address) + Send + Sync;

impl fmt::Debug for OnStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnStart")
    }
}

impl MemoryBackend {
    /// A backend over an engine of its own in which nothing goes wrong.
    pub fn new(clock: &TestClock) -> Self {
        SharedEngine::new(clock, Engine::new()).open()
    }

    /// The same, telling whoever answers requests which instance was started, and where it takes
    /// them.
    #[must_use]
    pub fn on_start(mut self, tell: impl Fn(InstanceId, &Address) + Send + Sync + 'static) -> Self {
        self.on_start = Some(OnStart(Arc::new(tell)));
        self
    }

    /// The engine beneath it.
    pub fn engine(&self) -> &SharedEngine {
        &self.engine
    }

    /// Delivers when it is first polled, as a real connection sends; the answer as it comes.
    fn call<'a, T: Send + 'a>(
        &'a self,
        fence: Fence,
        call: Call,
        expect: fn(Answer) -> Option<T>,
    ) -> BoxFuture<'a, Result<T, Error>> {
        Box::pin(async move {
            let ticket = self.engine.quietly(|engine, now| engine.deliver(fence, call, now));
            let answer = Answered { waiter: self.engine.waiter(), ticket }.await?;
            expect(answer).ok_or_else(|| Error::bug("the engine answered what was not asked"))
        })
    }

    fn do_it(&self, fence: Fence, call: Call) -> BoxFuture<'_, Result<(), Error>> {
        self.call(fence, call, |answer| (answer == Answer::Done).then_some(()))
    }
}

impl ContainerBackend for MemoryBackend {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn start(&self, fence: Fence, request: StartRequest) -> BoxFuture<'_, Result<Started, Error>> {
        let instance = request.instance;
        let started = self.call(fence, Call::Start(request), |answer| match answer {
            Answer::Started(started) => Some(started),
            _ => None,
        });
        Box::pin(async move {
            let started = started.await?;
            if let (Some(OnStart(tell)), Some(address)) = (&self.on_start, &started.address) {
                tell(instance, address);
            }
            Ok(started)
        })
    }

    fn stop(
        &self,
        fence: Fence,
        instance: InstanceId,
        grace: Duration,
    ) -> BoxFuture<'_, Result<Exit, Error>> {
        self.call(fence, Call::Stop { instance, grace }, |answer| match answer {
            Answer::Stopped(exit) => Some(exit),
            _ => None,
        })
    }

    fn list(&self, fence: Fence) -> BoxFuture<'_, Result<Listing, Error>> {
        self.call(fence, Call::List, |answer| match answer {
            Answer::Listed(listing) => Some(listing),
            _ => None,
        })
    }

    fn watch(&self, fence: Fence) -> BoxStream<'_, Hint> {
        let watch = self.engine.with(|engine, now| engine.watch(fence, now));
        Box::pin(Hints { waiter: self.engine.waiter(), watch })
    }

    fn freeze(&self, fence: Fence, instance: InstanceId) -> BoxFuture<'_, Result<(), Error>> {
        self.do_it(fence, Call::Freeze(instance))
    }

    fn thaw(&self, fence: Fence, instance: InstanceId) -> BoxFuture<'_, Result<(), Error>> {
        self.do_it(fence, Call::Thaw(instance))
    }

    fn run_command(
        &self,
        fence: Fence,
        instance: InstanceId,
        command: Vec<String>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<CommandOutput, Error>> {
        let call = Call::RunCommand { instance, command, limit };
        self.call(fence, call, |answer| match answer {
            Answer::Ran(output) => Some(output),
            _ => None,
        })
    }

    fn logs(
        &self,
        fence: Fence,
        instance: InstanceId,
        since: Timestamp,
    ) -> BoxFuture<'_, Result<BoxStream<'_, LogLine>, Error>> {
        Box::pin(async move {
            self.do_it(fence, Call::Logs { instance, since }).await?;
            let waiter = self.engine.waiter();
            let lines = Lines { waiter, platform: fence.platform, instance, since, read: 0 };
            Ok(Box::pin(lines) as BoxStream<'_, LogLine>)
        })
    }

    fn usage(
        &self,
        fence: Fence,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<InstanceUsage, Error>> {
        self.call(fence, Call::Usage(instance), |answer| match answer {
            Answer::Used(usage) => Some(usage),
            _ => None,
        })
    }

    fn listening_ports(
        &self,
        fence: Fence,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<Vec<u16>, Error>> {
        self.call(fence, Call::ListeningPorts(instance), |answer| match answer {
            Answer::Ports(ports) => Some(ports),
            _ => None,
        })
    }

    fn capacity(&self, fence: Fence) -> BoxFuture<'_, Result<HostCapacity, Error>> {
        self.call(fence, Call::Capacity, |answer| match answer {
            Answer::Capacity(capacity) => Some(capacity),
            _ => None,
        })
    }

    fn reap(&self, fence: Fence, foreign: ForeignInstance) -> BoxFuture<'_, Result<(), Error>> {
        self.do_it(fence, Call::Reap(foreign))
    }
}

/// One who waits for the engine; dropped, it is waited for no more.
struct Waiter {
    engine: SharedEngine,
    number: u64,
    due: Option<Timestamp>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Waiter {
    fn poll<R>(
        &mut self,
        context: &Context<'_>,
        find: impl FnMut(&mut Engine) -> Option<R>,
    ) -> Poll<R> {
        let engine = self.engine.clone();
        engine.look(self, context, find)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.engine.state.with(|state| state.waiting.remove(&self.number));
    }
}

struct Answered {
    waiter: Waiter,
    ticket: Ticket,
}

impl Future for Answered {
    type Output = Result<Answer, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = self.ticket;
        self.waiter.poll(context, |engine| engine.take_answer(ticket))
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        let ticket = self.ticket;
        self.waiter.engine.state.with(|state| state.engine.abandon(ticket));
    }
}

struct Hints {
    waiter: Waiter,
    watch: WatchId,
}

impl Stream for Hints {
    type Item = Hint;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Hint>> {
        let watch = self.watch;
        self.waiter.poll(context, |engine| match engine.next_hint(watch) {
            Watched::Hint(hint) => Some(Some(hint)),
            Watched::Ended => Some(None),
            Watched::Nothing => None,
        })
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        let watch = self.watch;
        self.waiter.engine.state.with(|state| state.engine.unwatch(watch));
    }
}

struct Lines {
    waiter: Waiter,
    platform: PlatformId,
    instance: InstanceId,
    since: Timestamp,
    read: usize,
}

impl Stream for Lines {
    type Item = LogLine;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LogLine>> {
        let (platform, instance, since, read) =
            (self.platform, self.instance, self.since, self.read);
        let polled = self.waiter.poll(context, |engine| {
            let next = engine.lines(platform, instance, since, read).into_iter().next();
            match next {
                Some(line) => Some(Some(line)),
                None => match engine.view(platform, instance) {
                    Some(view) if view.is_living() => None,
                    // It ended and all of it is read, or it was forgotten meanwhile.
                    _ => Some(None),
                },
            }
        });
        if let Poll::Ready(Some(_)) = polled {
            self.read += 1;
        }
        polled
    }
}
