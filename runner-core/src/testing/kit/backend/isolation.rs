//! Clause 5: others' instances are reported, never touched.

use super::{
    observe::hints,
    stage::{Actor, Stage},
};
use crate::{
    backend::{ForeignInstance, Hint},
    error::ErrorKind,
    testing::kit::{
        Act,
        run::{Clause, Miss, OrFail, Verdict, ensure, ensure_refused, fail, skip},
    },
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("another platform's instance is foreign and not one's own", foreign),
        Clause::new("one id of two platforms is two instances", two_of_one_id),
        Clause::new("a stop leaves another platform's instance of the same id", stop_is_ones_own),
        Clause::new("a watch does not speak of another platform's ends", watch_is_ones_own),
        Clause::new("a reap removes what another platform left", reaps),
        Clause::new("a reap does not remove one's own", reaps_only_foreign),
    ]
}

fn both(stage: &Stage) -> Result<(Actor, Actor), Miss> {
    if stage.ground.room == Some(1) {
        return skip("the engine has room for one instance, and this needs two");
    }
    Ok((stage.actor_of(1)?, stage.actor_of(2)?))
}

async fn foreign(stage: Stage) -> Verdict {
    let (mine, other) = both(&stage)?;
    let id = mine.serve().await?;
    let listing = other.list().await?;
    ensure(listing.instances.is_empty(), || {
        format!("a platform without instances is told of {:?}", listing.instances)
    })?;
    let told = listing.foreign.iter().any(|found| found.platform == Some(mine.fence.platform));
    ensure(told, || format!("{id} of another platform is not among {:?}", listing.foreign))?;
    let own = mine.list().await?;
    let own_as_foreign = own.foreign.iter().any(|f| f.platform == Some(mine.fence.platform));
    ensure(!own_as_foreign, || "one's own instance is listed as foreign".to_owned())
}

async fn two_of_one_id(stage: Stage) -> Verdict {
    let (mine, other) = both(&stage)?;
    let id = stage.fresh();
    let first = mine.start(id, &Act::Serve).await?;
    let second = other.start(id, &Act::Serve).await?;
    ensure(first.address.is_none() || first.address != second.address, || {
        format!("both are at {:?}", first.address)
    })?;
    mine.ensure_one(id).await?;
    other.ensure_one(id).await
}

async fn stop_is_ones_own(stage: Stage) -> Verdict {
    let (mine, other) = both(&stage)?;
    let id = stage.fresh();
    mine.start(id, &Act::Serve).await?;
    other.start(id, &Act::Serve).await?;
    mine.stop(id).await?;
    other.ensure_one(id).await?;
    // Nor is the id stopped for the other: it never was.
    let fresh = stage.fresh();
    mine.stop(fresh).await?;
    other.start(fresh, &Act::Serve).await.map(drop)
}

async fn watch_is_ones_own(stage: Stage) -> Verdict {
    let (mine, other) = both(&stage)?;
    let id = other.serve().await?;
    let mut watch = mine.backend.watch(mine.fence);
    hints(&stage, &mut watch, stage.ground.settle, |_| false).await;
    other.stop(id).await?;
    let others = |hint: &Hint| matches!(hint, Hint::Ended(ended, _) if *ended == id);
    let heard = hints(&stage, &mut watch, stage.ground.settle, others).await;
    ensure(!heard, || format!("it says that {id} ended, which is another platform's"))
}

async fn reaps(stage: Stage) -> Verdict {
    let (mine, other) = both(&stage)?;
    needs_reap(&mine)?;
    let id = mine.serve().await?;
    let found = seen_by(&other, &mine).await?;
    other.backend.reap(other.fence, found.clone()).await.or_fail("a reap")?;
    mine.ensure_gone(id, "after it was reaped").await?;
    other.backend.reap(other.fence, found).await.or_fail("a repeated reap")
}

async fn reaps_only_foreign(stage: Stage) -> Verdict {
    let (mine, other) = both(&stage)?;
    needs_reap(&mine)?;
    let id = mine.serve().await?;
    let found = seen_by(&other, &mine).await?;
    let refusal = mine.backend.reap(mine.fence, found).await;
    mine.ensure_running(id, "after a reap of one's own").await?;
    ensure_refused(refusal, ErrorKind::Invalid, "a reap of one's own")
}

fn needs_reap(actor: &Actor) -> Verdict {
    match actor.backend.capabilities().reap {
        true => Ok(()),
        false => skip("the capability `reap` is not declared"),
    }
}

/// What one platform sees of the only instance of another.
async fn seen_by(viewer: &Actor, owner: &Actor) -> Result<ForeignInstance, Miss> {
    let foreign = viewer.list().await?.foreign;
    let found = foreign.into_iter().find(|found| found.platform == Some(owner.fence.platform));
    match found {
        Some(found) => Ok(found),
        None => fail("the other platform's instance is not listed as foreign"),
    }
}
