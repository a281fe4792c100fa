//! Locks, atomics and timers: the usual ones, or those of the search for interleavings that the
//! build names.

#[cfg(not(any(runner_loom, runner_shuttle)))]
mod chosen {
    #[expect(
        clippy::disallowed_types,
        reason = "the ledger's one short lock; never held across an await"
    )]
    pub(crate) use std::sync::Mutex;
    pub(crate) use std::sync::{
        Arc, MutexGuard, Weak,
        atomic::{AtomicU64, Ordering},
    };
    pub(crate) use tokio::{
        runtime::Id as RuntimeId,
        task::coop::unconstrained,
        time::{Sleep, sleep_until},
    };

    pub(crate) fn downgrade<T>(whole: &Arc<T>) -> Weak<T> {
        Arc::downgrade(whole)
    }

    /// The runtime that whoever asks is polled on, if it is one.
    pub(crate) fn runtime() -> Option<RuntimeId> {
        tokio::runtime::Handle::try_current().ok().map(|handle| handle.id())
    }
}

#[cfg(runner_loom)]
mod chosen {
    pub(crate) use super::search::*;
    pub(crate) use loom::sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };
}

#[cfg(all(runner_shuttle, not(runner_loom)))]
mod chosen {
    pub(crate) use super::search::*;
    pub(crate) use shuttle::sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };
}

pub(crate) use chosen::*;

/// A search has no runtime whose timers could fire. Its timer is over if it was when it was looked
/// at: a wait that ends at once races with whatever else happens, and a long one never ends.
#[cfg(any(runner_loom, runner_shuttle))]
mod search {
    use std::{
        future::Future,
        marker::PhantomData,
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::time::Instant;

    use super::Arc;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct RuntimeId;

    pub(crate) fn runtime() -> Option<RuntimeId> {
        Some(RuntimeId)
    }

    /// Leads to nothing: the timers of a search call no waker, so nobody follows it.
    pub(crate) struct Weak<T>(PhantomData<fn() -> T>);

    pub(crate) fn downgrade<T>(_: &Arc<T>) -> Weak<T> {
        Weak(PhantomData)
    }

    impl<T> Weak<T> {
        pub(crate) fn upgrade(&self) -> Option<Arc<T>> {
            None
        }
    }

    /// A search counts no task's budget.
    pub(crate) fn unconstrained<F>(future: F) -> F {
        future
    }

    #[derive(Debug)]
    pub(crate) struct Sleep(Instant);

    pub(crate) fn sleep_until(deadline: Instant) -> Sleep {
        Sleep(deadline)
    }

    impl Future for Sleep {
        type Output = ();

        #[expect(clippy::disallowed_methods, reason = "this is the shell's timer")]
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if Instant::now() >= self.0 { Poll::Ready(()) } else { Poll::Pending }
        }
    }
}
