//! Clause 3: `list` is the truth and `watch` a hint.

use std::{future::poll_fn, time::Duration};

use super::stage::Stage;
use crate::{
    BoxStream, Error,
    backend::Hint,
    testing::kit::{
        Act,
        run::{Clause, Miss, OrFail, Verdict, all, ensure, fail, within},
    },
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("what ended by itself is not listed as running", ended),
        Clause::new("a list that began after a start was answered holds it", holds_all),
        Clause::new("a watch hints at ends", watch_hints),
        Clause::new("a watch that was lost can be begun anew", watch_anew),
    ]
}

async fn ended(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = stage.fresh();
    actor.start(id, &Act::Exit(3)).await?;
    actor.wait_until_ended(id).await.map(drop)
}

async fn holds_all(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let count = stage.ground.room.unwrap_or(8).min(8);
    let ids: Vec<_> = (0..count).map(|_| stage.fresh()).collect();
    let requests: Result<Vec<_>, Miss> =
        ids.iter().map(|id| actor.request(*id, &Act::Serve)).collect();
    let (backend, fence) = (&actor.backend, actor.fence);
    let rounds =
        requests?.into_iter().map(|request| -> crate::BoxFuture<'_, Result<bool, Error>> {
            Box::pin(async move {
                let id = request.instance;
                backend.start(fence, request).await?;
                let listing = backend.list(fence).await?;
                Ok(listing.instances.iter().any(|listed| listed.instance == id))
            })
        });
    for (id, held) in ids.iter().zip(all(rounds.collect()).await) {
        ensure(held.or_fail("a start and a list")?, || {
            format!("a list asked for after {id} was started does not hold it")
        })?;
    }
    Ok(())
}

/// Hints may be lost, so one of three is enough; none of three is not a hint.
async fn watch_hints(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    for _ in 0..3 {
        let id = actor.serve().await?;
        let mut watch = actor.backend.watch(actor.fence);
        stage.settle().await;
        hints(&stage, &mut watch, Duration::ZERO, |_| false).await;
        actor.stop(id).await?;
        let heard = |hint: &Hint| match hint {
            Hint::Ended(ended, _) => *ended == id,
            Hint::Changed => true,
        };
        if hints(&stage, &mut watch, stage.ground.patience, heard).await {
            return Ok(());
        }
    }
    fail(format!("none of three ends was hinted at within {:?}", stage.ground.patience))
}

async fn watch_anew(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    drop(actor.backend.watch(actor.fence));
    for _ in 0..3 {
        let mut first = actor.backend.watch(actor.fence);
        hints(&stage, &mut first, Duration::ZERO, |_| false).await;
        drop(first);
        let id = actor.serve().await?;
        let mut second = actor.backend.watch(actor.fence);
        hints(&stage, &mut second, Duration::ZERO, |_| false).await;
        actor.stop(id).await?;
        if hints(&stage, &mut second, stage.ground.patience, |_| true).await {
            return Ok(());
        }
    }
    fail("a second watch, after the first was dropped, hints at nothing")
}

/// Reads hints until one is what is looked for, the stream ends, or nothing comes for so long.
pub(super) async fn hints(
    stage: &Stage,
    watch: &mut BoxStream<'_, Hint>,
    patience: Duration,
    looked_for: impl Fn(&Hint) -> bool,
) -> bool {
    let read = async {
        while let Some(hint) = poll_fn(|context| watch.as_mut().poll_next(context)).await {
            if looked_for(&hint) {
                return true;
            }
        }
        false
    };
    within(stage.clock(), patience, read).await.unwrap_or(false)
}
