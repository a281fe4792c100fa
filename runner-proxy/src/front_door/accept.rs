//! Accepting connections, as long as there is room and the system has files.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::io::Errno;
use tokio::{task::JoinSet, time::Instant};

use super::{
    clock::Tick,
    connection::{Connection, Served},
    counters::Totals,
    inside::{Inside, Permit},
    listener::Listener,
    watch::{Phase, Watch},
};

/// A listener whose type was forgotten: one call for each connection, none for a request.
pub(super) trait Accepts<S>: Send {
    /// Accepts a connection and spawns its driver.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        door: &Arc<Inside>,
        service: &S,
        tasks: &mut JoinSet<()>,
    ) -> Poll<io::Result<()>>;

    /// How many of its connections are open.
    fn open(&self) -> u32;

    fn name(&self) -> String;
}

pub(super) struct Entrance<L> {
    listener: L,
    open: Arc<AtomicU32>,
}

impl<L> Entrance<L> {
    pub(super) fn new(listener: L) -> Self {
        Self { listener, open: Arc::default() }
    }
}

impl<L: Listener, S: Served> Accepts<S> for Entrance<L> {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        door: &Arc<Inside>,
        service: &S,
        tasks: &mut JoinSet<()>,
    ) -> Poll<io::Result<()>> {
        let (stream, client) = ready!(self.listener.poll_accept(cx))?;
        Totals::count(&door.totals.accepted);
        let watch = Arc::new(Watch::new(Phase::New, door.clock.look()));
        door.registry.add(Arc::clone(&watch));
        let permit = Permit::new(watch, Arc::clone(door), Arc::clone(&self.open));
        tasks.spawn(Connection::new(stream, client, service.clone(), Arc::clone(door), permit));
        Poll::Ready(Ok(()))
    }

    fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    fn name(&self) -> String {
        self.listener.name()
    }
}

/// All listeners of a door, each in its turn.
pub(super) struct Entrances<S> {
    all: Vec<Box<dyn Accepts<S>>>,
    /// Who is asked first.
    turn: usize,
    most: u32,
    most_each: u32,
    was_full: bool,
    pause: Pause,
    said_full: Said,
}

impl<S: Served> Entrances<S> {
    pub(super) fn new(all: Vec<Box<dyn Accepts<S>>>, door: &Inside) -> Self {
        let most = door.limits.most_connections();
        let most_each = door.limits.connections_per_listener.unwrap_or(most).max(1);
        Self {
            all,
            turn: 0,
            most,
            most_each,
            was_full: false,
            pause: Pause::default(),
            said_full: Said::default(),
        }
    }

    pub(super) fn close(&mut self) {
        self.all.clear();
    }

    /// Until when nobody is accepted, after an error.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.pause.until
    }

    pub(super) fn resume(&mut self) {
        self.pause.until = None;
    }

    /// Accepts from the next listener that has somebody. Pending where there is no room; then it
    /// has to be polled again when somebody left.
    pub(super) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        door: &Arc<Inside>,
        service: &S,
        tasks: &mut JoinSet<()>,
    ) -> Poll<()> {
        if self.pause.until.is_some() {
            return Poll::Pending;
        }
        let full = door.totals.open.load(Relaxed) >= u64::from(self.most);
        let mut someone_full = full;
        let count = self.all.len();
        for at in (0..count).map(|step| (self.turn + step) % count) {
            let entrance = &mut self.all[at];
            if full || entrance.open() >= self.most_each {
                someone_full = true;
                continue;
            }
            let Poll::Ready(accepted) = entrance.poll_accept(cx, door, service, tasks) else {
                continue;
            };
            self.turn = at + 1;
            match accepted {
                Ok(()) => self.pause.last = None,
                Err(error) => self.pause.after(&error, door, || entrance.name()),
            }
            return Poll::Ready(());
        }
        if someone_full && !self.was_full {
            Totals::count(&door.totals.full);
            if self.said_full.is_worth_it(door) {
                tracing::warn!(most = self.most, "as many connections are open as may be");
            }
        }
        self.was_full = someone_full;
        Poll::Pending
    }
}

/// How accepting recovers from errors.
#[derive(Default)]
struct Pause {
    until: Option<Instant>,
    /// The last pause; nothing if the last accept went well.
    last: Option<Duration>,
    said: Said,
}

/// When something was last said that may become true many times a second.
#[derive(Default)]
struct Said(Option<Tick>);

impl Said {
    fn is_worth_it(&mut self, door: &Inside) -> bool {
        let now = door.clock.look();
        let again = self.0.is_none_or(|last| now.since(last) >= SAY_AGAIN);
        if again {
            self.0 = Some(now);
        }
        again
    }
}

impl Pause {
    fn after(&mut self, error: &io::Error, door: &Inside, listener: impl Fn() -> String) {
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            // Who came has left again, and the next may be there already.
            return Totals::count(&door.totals.accept_errors);
        }
        let no_files = matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE));
        let totals = &door.totals;
        Totals::count(if no_files { &totals.out_of_files } else { &totals.accept_errors });
        if self.said.is_worth_it(door) {
            let listener = listener();
            if no_files {
                tracing::error!(%error, listener, "no files are left to accept connections with");
            } else {
                tracing::error!(%error, listener, "accepting connections failed");
            }
        }
        let pause = self.last.map_or(PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
        self.last = Some(pause);
        self.until = Some(Instant::now() + pause);
    }
}

/// Accepting anew at once would only fail at once: a file has to be closed first.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SAY_AGAIN: Duration = Duration::from_secs(10);
