//! The streams of one HTTP/2 connection: tasks that end with it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError, Weak, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use pin_project::pin_project;
use tokio::task::{self, JoinSet};

use super::{
    inside::Inside,
    turn::Stream,
    watch::{CUT, Phase, Verdict, Watch},
};

#[expect(clippy::disallowed_types, reason = "guards the set; nothing is awaited under it")]
type Locked = std::sync::Mutex<Set>;

/// The tasks of a connection's streams. They are aborted when this is dropped, which is when the
/// connection is.
#[derive(Default)]
pub(super) struct Tasks(Arc<Locked>);

/// Runs the streams of a connection, as long as there is one: hyper keeps clones of this in the
/// streams themselves.
#[derive(Clone)]
pub(super) struct Streams {
    set: Weak<Locked>,
    door: Arc<Inside>,
}

#[derive(Default)]
struct Set {
    tasks: JoinSet<()>,
    /// The stream whose service was called, and that hyper is about to run.
    next: Option<Arc<Watch>>,
    /// Streams whose tasks have just answered with a tunnel. hyper is about to run each of these
    /// too, from inside that task: by its id they are told apart, also from `next`.
    tunnels: Vec<(task::Id, Stream)>,
}

impl Tasks {
    pub(super) fn streams(&self, door: &Arc<Inside>) -> Streams {
        Streams { set: Arc::downgrade(&self.0), door: Arc::clone(door) }
    }
}

impl Streams {
    /// Says of which stream the next future is: hyper calls the service and hands over the future
    /// that waits for its answer in one breath.
    pub(super) fn begins(&self, watch: &Arc<Watch>) {
        self.with(|set| set.next = Some(Arc::clone(watch)));
    }

    /// Says that this stream, whose task this is, goes on as a tunnel.
    pub(super) fn tunnels(&self, stream: Stream) {
        if let Some(id) = task::try_id() {
            self.with(|set| set.tunnels.push((id, stream)));
        }
    }

    /// The tunnel that the task which runs now has begun, if that was not taken yet.
    fn take_tunnel(set: &mut Set) -> Option<Stream> {
        let id = task::try_id()?;
        let at = set.tunnels.iter().position(|(of, _)| *of == id)?;
        Some(set.tunnels.swap_remove(at).1)
    }

    /// Nothing where the connection is no more.
    fn with<R>(&self, change: impl FnOnce(&mut Set) -> R) -> Option<R> {
        let set = self.set.upgrade()?;
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        Some(change(&mut set))
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.with(|set| {
            // One that panicked has told its client by a reset.
            while let Some(ended) = set.tasks.try_join_next() {
                self.door.totals.note(ended);
            }
            let streams = self.clone();
            let task = match Self::take_tunnel(set) {
                Some(tunnel) => Task { stream, streams, watch: None, tunnel: Some(tunnel) },
                None => Task { stream, streams, watch: set.next.take(), tunnel: None },
            };
            set.tasks.spawn(task);
        });
    }
}

/// What hyper runs for a stream.
///
/// That of a request ends when it is told to, whatever it waits for: a client that takes nothing,
/// too. That of a tunnel writes what the service says in it, and is told nothing: to end without
/// its other half would tell neither side. It goes with its connection.
#[pin_project]
struct Task<F> {
    #[pin]
    stream: F,
    streams: Streams,
    watch: Option<Arc<Watch>>,
    /// Held for its drop.
    tunnel: Option<Stream>,
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let Some(watch) = this.watch else { return this.stream.poll(cx) };
        if watch.is_ordered(CUT) {
            return Poll::Ready(());
        }
        let flags = &watch.flags;
        // hyper does not ask for the body of an answer before there is room for it at the client,
        // so a body never hears that its client is too slow.
        if flags.blocked.load(Relaxed)
            && watch.has_orders()
            && let Some(verdict @ (Verdict::ReaderTooSlow | Verdict::TookTooLong)) = watch.verdict()
        {
            this.streams.door.totals.ended(verdict);
            return Poll::Ready(());
        }
        let polled = this.stream.poll(cx);
        if polled.is_ready() && watch.phase() == Phase::Tunnel {
            // One that could not be opened, since its client has left meanwhile.
            drop(this.streams.with(Streams::take_tunnel));
        }
        let blocked = polled.is_pending() && flags.answered.load(Relaxed);
        if flags.blocked.load(Relaxed) != blocked {
            flags.blocked.store(blocked, Relaxed);
        }
        polled
    }
}
