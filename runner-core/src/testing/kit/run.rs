//! What all kits share: running checks one after another, waiting, dropping futures midway.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use super::{Check, KitClock, Outcome, Report};
use crate::{BoxFuture, Error, error::ErrorKind, time::Timestamp};

/// How a check ends.
pub(super) type Verdict = Result<(), Miss>;

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Miss {
    Failed(String),
    Skipped(String),
}

/// Ends a check as failed.
pub(super) fn fail<T>(why: impl Into<String>) -> Result<T, Miss> {
    Err(Miss::Failed(why.into()))
}

/// Ends a check as not asked.
pub(super) fn skip<T>(why: impl Into<String>) -> Result<T, Miss> {
    Err(Miss::Skipped(why.into()))
}

/// Ends a check as failed unless this is so.
pub(super) fn ensure(so: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    match so {
        true => Ok(()),
        false => Err(Miss::Failed(otherwise())),
    }
}

/// Ends a check as failed unless this is a refusal of that kind.
pub(super) fn ensure_refused<T: fmt::Debug>(
    answer: Result<T, Error>,
    kind: ErrorKind,
    what: &str,
) -> Verdict {
    match answer {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => {
            fail(format!("{what} is refused as {:?} instead of {kind:?}: {error}", error.kind()))
        }
        Ok(answer) => fail(format!("{what} is answered {answer:?} instead of refused as {kind:?}")),
    }
}

/// Errors where the contract promises an answer.
pub(super) trait OrFail<T> {
    fn or_fail(self, what: &str) -> Result<T, Miss>;
}

impl<T> OrFail<T> for Result<T, Error> {
    fn or_fail(self, what: &str) -> Result<T, Miss> {
        self.map_err(|error| {
            let causes = chain(&error).join(": ");
            Miss::Failed(format!("{what} fails ({:?}): {causes}", error.kind()))
        })
    }
}

/// The messages of an error and of all beneath it.
pub(super) fn chain(error: &Error) -> Vec<String> {
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source()).map(ToString::to_string).collect()
}

/// One check before it ran.
pub(super) struct Clause<S> {
    pub(super) name: &'static str,
    pub(super) check: Box<dyn Fn(S) -> BoxFuture<'static, Verdict> + Send + Sync>,
}

impl<S: 'static> Clause<S> {
    pub(super) fn new<F>(name: &'static str, check: fn(S) -> F) -> Self
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        Self { name, check: Box::new(move |stage| Box::pin(check(stage))) }
    }
}

/// Runs a check, and fails it when it takes longer than its limit.
pub(super) async fn run_check<S>(
    clock: &dyn KitClock,
    clause: &Clause<S>,
    stage: S,
    limit: Duration,
) -> Check {
    let began = clock.now();
    let outcome = match within(clock, limit, (clause.check)(stage)).await {
        Some(Ok(())) => Outcome::Passed,
        Some(Err(Miss::Failed(why))) => Outcome::Failed(why),
        Some(Err(Miss::Skipped(why))) => Outcome::Skipped(why),
        None => Outcome::Failed(format!("it was not over after {limit:?}: something hangs")),
    };
    Check { name: clause.name, outcome, took: clock.now().since(began) }
}

pub(super) fn report(
    subject: &str,
    clock: &Arc<dyn KitClock>,
    began: Timestamp,
    checks: Vec<Check>,
) -> Report {
    let took = clock.now().since(began);
    Report { subject: subject.to_owned(), checks, timings: Vec::new(), took }
}

/// What a future answers, or nothing when it takes longer.
pub(super) async fn within<F: Future>(
    clock: &dyn KitClock,
    limit: Duration,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut over = clock.sleep(limit);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        over.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Runs futures at once, in this task, and answers in their order.
pub(super) async fn all<T>(futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|context| {
        let mut waits = false;
        for (future, output) in &mut running {
            let Some(pending) = future else { continue };
            match pending.as_mut().poll(context) {
                Poll::Ready(done) => (*future, *output) = (None, Some(done)),
                Poll::Pending => waits = true,
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

/// Polls a future so often, then drops it; what it answered if it was ready before.
///
/// With zero polls it is dropped as it was made. Each poll waits for the future's own waker, or a
/// little while where it is not woken: its last await may be the one that never comes.
pub(super) async fn drop_after<T>(
    clock: &dyn KitClock,
    polls: usize,
    mut future: BoxFuture<'_, T>,
) -> Option<T> {
    if polls == 0 {
        return None;
    }
    let mut left = polls;
    let polled = poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        left -= 1;
        if left == 0 { Poll::Ready(None) } else { Poll::Pending }
    });
    within(clock, Duration::from_millis(500), polled).await.flatten()
}

/// How often a future is polled before it is dropped: a fake's calls have two awaits, an adapter
/// over HTTP rarely more than these before its request is out.
pub(super) const POLLS: std::ops::RangeInclusive<usize> = 0..=5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::clock::TestClock;

    #[test]
    fn all_run_at_once_and_answer_in_their_order() {
        let clock = TestClock::new();
        let answers = clock.run(async {
            let futures = [3u64, 1, 2].map(|seconds| -> BoxFuture<'_, u64> {
                let sleep = clock.sleep(Duration::from_secs(seconds));
                Box::pin(async move {
                    sleep.await;
                    seconds
                })
            });
            all(futures.into()).await
        });
        assert_eq!(answers, [3, 1, 2]);
        assert_eq!(clock.now().since(clock.start()), Duration::from_secs(3));
    }

    #[test]
    fn a_check_that_hangs_fails_by_its_limit() {
        let clock = TestClock::new();
        let hangs = Clause::new("hangs", |()| std::future::pending::<Verdict>());
        let limit = Duration::from_secs(9);
        let check = clock.run(run_check(&clock, &hangs, (), limit));
        assert!(matches!(&check.outcome, Outcome::Failed(why) if why.contains("9s")), "{check:?}");
        assert_eq!(check.took, limit);
    }

    #[test]
    fn a_future_is_polled_as_often_as_was_said() {
        let clock = TestClock::new();
        for (polls, begun) in [(0, 0), (1, 1), (2, 2)] {
            let mut count = 0;
            clock.run(drop_after(
                &clock,
                polls,
                Box::pin(poll_fn(|context| {
                    count += 1;
                    context.waker().wake_by_ref();
                    Poll::<()>::Pending
                })),
            ));
            assert_eq!(count, begun);
        }
    }
}
