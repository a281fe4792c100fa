//! The way from futures to the backend's thread.

use std::{
    fmt,
    os::fd::OwnedFd,
    pin::Pin,
    sync::{Arc, LockResult, MutexGuard, mpsc},
    task::{Context, Poll},
    thread::JoinHandle,
};

use futures_core::Stream;
use runner_core::{Error, backend::Hint};
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;

use super::{
    config::Settings,
    worker::{Call, Reply, Worker},
};

/// What all clones of a backend share. Dropping it ends the thread.
pub(super) struct Handle {
    settings: Arc<Settings>,
    #[expect(clippy::disallowed_types, reason = "guards whether the thread was begun, for a look")]
    thread: std::sync::Mutex<Option<Thread>>,
}

struct Thread {
    calls: mpsc::Sender<Call>,
    /// Written to, it wakes the thread.
    bell: Arc<OwnedFd>,
    joins: JoinHandle<()>,
}

impl Handle {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), thread: Default::default() }
    }

    /// Sends a call when first polled, and answers what the thread does.
    pub(super) async fn ask<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.begun()?.send(call(Reply(reply)));
        let ended = || Err(Error::bug("the thread of the process backend has ended"));
        answer.await.unwrap_or_else(|_| ended())
    }

    /// Sends a call that is not answered.
    pub(super) fn send(&self, call: Call) {
        if let Ok(thread) = self.begun() {
            thread.send(call);
        }
    }

    /// The thread, begun now if it was not.
    fn begun(&self) -> Result<Sender, Error> {
        let mut thread = self.lock();
        if thread.is_none() {
            *thread = Some(Thread::begin(&self.settings)?);
        }
        let Some(Thread { calls, bell, .. }) = &*thread else {
            return Err(Error::bug("a thread was begun and is not there"));
        };
        Ok(Sender { calls: calls.clone(), bell: Arc::clone(bell) })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Thread>> {
        let locked: LockResult<_> = self.thread.lock();
        locked.expect("nobody panics while holding it")
    }
}

impl Thread {
    fn begin(settings: &Arc<Settings>) -> Result<Self, Error> {
        let cannot = |error: std::io::Error| {
            Error::unavailable("the process backend cannot begin its thread").caused_by(error)
        };
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = Arc::new(eventfd(0, flags).map_err(|error| cannot(error.into()))?);
        let (calls, called) = mpsc::channel();
        let mut worker = Worker::new(Arc::clone(settings), called, Arc::clone(&bell))
            .map_err(|error| cannot(error.into()))?;
        let builder = std::thread::Builder::new().name("runner-process".to_owned());
        let joins = builder.spawn(move || worker.run()).map_err(cannot)?;
        Ok(Self { calls, bell, joins })
    }
}

struct Sender {
    calls: mpsc::Sender<Call>,
    bell: Arc<OwnedFd>,
}

impl Sender {
    fn send(&self, call: Call) {
        // A thread that has ended answers nothing, which whoever waits is told as a bug.
        if self.calls.send(call).is_ok() {
            ring(&self.bell);
        }
    }
}

fn ring(bell: &OwnedFd) {
    // It fails only when it has been rung 2^64 times and nobody came.
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

impl Drop for Handle {
    fn drop(&mut self) {
        let Some(Thread { calls, bell, joins }) = self.lock().take() else { return };
        // The thread ends when no call can come any more.
        drop(calls);
        ring(&bell);
        // It panicked if this fails, and has said so.
        let _ = joins.join();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Hints as a stream.
pub(super) struct Hints(pub(super) tokio::sync::mpsc::Receiver<Hint>);

impl Stream for Hints {
    type Item = Hint;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Hint>> {
        self.0.poll_recv(context)
    }
}
