//! Calls of code that is not ours: with a limit in time, and a panic is a failure.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use runner_core::{BoxFuture, Error, error::ErrorKind};
use tokio::time::timeout;

/// An answer in its time.
pub(crate) async fn answer_within<'a, T>(
    limit: Duration,
    call: impl FnOnce() -> BoxFuture<'a, Result<T, Error>>,
) -> Result<T, Error> {
    let panicked = || Error::bug("the other side panicked over this call");
    let Ok(mut called) = catch_unwind(AssertUnwindSafe(call)) else { return Err(panicked()) };
    let guarded = poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| called.as_mut().poll(context)));
        polled.unwrap_or_else(|_| std::task::Poll::Ready(Err(panicked())))
    });
    timeout(limit, guarded).await.unwrap_or_else(|_| {
        let limit = runner_core::spec::format_duration(limit);
        Err(Error::new(ErrorKind::TimedOut, format!("there was no answer within {limit}")))
    })
}
