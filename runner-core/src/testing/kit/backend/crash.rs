//! Clauses 2 and 4: instances outlive the platform, and an older epoch is refused.

use super::stage::{Actor, GRACE, Seen, Stage};
use crate::{
    backend::Condition,
    error::ErrorKind,
    testing::kit::{
        Act,
        run::{Clause, Miss, OrFail, Verdict, ensure, ensure_refused, skip},
    },
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("instances outlive their platform, with address and epoch", outlive),
        Clause::new("a start that is repeated after a crash starts nothing twice", repeated),
        Clause::new("an adopted instance is stopped like any other", stopped_after),
        Clause::new("a frozen instance stays frozen over a crash", frozen_after),
        Clause::new("an older epoch starts nothing", fenced_start),
        Clause::new("an older epoch stops nothing", fenced_stop),
        Clause::new("an older epoch is told nothing", fenced_list),
    ]
}

async fn outlive(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let born = actor.fence.epoch;
    let mut started = Vec::new();
    for _ in 0..stage.ground.room.unwrap_or(3).min(3) {
        let id = stage.fresh();
        started.push((id, actor.start(id, &Act::Serve).await?.address));
    }
    stage.settle().await;
    let actor = actor.crash()?;
    stage.settle().await;
    let listing = actor.list().await?;
    for (id, address) in started {
        let listed = listing.instances.iter().find(|listed| listed.instance == id);
        let condition = listed.map(|listed| listed.condition.clone());
        ensure(condition == Some(Condition::Running), || {
            format!("after the crash a list says of {id} {}", Seen(&condition))
        })?;
        let (seen_at, seen_epoch) =
            listed.map_or((None, born), |listed| (listed.address.clone(), listed.epoch));
        ensure(seen_at == address, || format!("it was at {address:?} and is at {seen_at:?}"))?;
        ensure(seen_epoch == born, || {
            format!("epoch {born} started it, after the crash the list says {seen_epoch}")
        })?;
    }
    Ok(())
}

async fn repeated(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = stage.fresh();
    let first = actor.start(id, &Act::Serve).await?;
    let actor = actor.crash()?;
    let second = actor.start(id, &Act::Serve).await?;
    ensure(first.address == second.address, || {
        format!("the first answered {:?}, the second {:?}", first.address, second.address)
    })?;
    actor.ensure_one(id).await
}

async fn stopped_after(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = actor.serve().await?;
    stage.settle().await;
    let actor = actor.crash()?;
    actor.stop(id).await?;
    actor.ensure_gone(id, "after the stop").await
}

async fn frozen_after(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    if !actor.backend.capabilities().standby {
        return skip("the capability `standby` is not declared");
    }
    let id = actor.serve().await?;
    stage.settle().await;
    actor.backend.freeze(actor.fence, id).await.or_fail("a freeze")?;
    let actor = actor.crash()?;
    let condition = actor.condition(id).await?;
    ensure(condition == Some(Condition::Frozen), || {
        format!("after the crash a list says of it {}", Seen(&condition))
    })?;
    actor.backend.thaw(actor.fence, id).await.or_fail("a thaw")?;
    actor.ensure_running(id, "after the thaw").await
}

async fn fenced_start(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let (old, actor) = (actor.fence, newer(actor).await?);
    let id = stage.fresh();
    let answer = actor.backend.start(old, actor.request(id, &Act::Serve)?).await;
    stage.settle().await;
    actor.ensure_gone(id, "after a start by an older epoch").await?;
    ensure_refused(answer, ErrorKind::Fenced, "a start by an older epoch")
}

async fn fenced_stop(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = actor.serve().await?;
    let (old, actor) = (actor.fence, newer(actor).await?);
    let answer = actor.backend.stop(old, id, GRACE).await;
    actor.ensure_running(id, "after a stop by an older epoch").await?;
    ensure_refused(answer, ErrorKind::Fenced, "a stop by an older epoch")?;
    if actor.backend.capabilities().standby {
        let answer = actor.backend.freeze(old, id).await;
        ensure_refused(answer, ErrorKind::Fenced, "a freeze by an older epoch")?;
    }
    Ok(())
}

async fn fenced_list(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let (old, actor) = (actor.fence, newer(actor).await?);
    ensure_refused(actor.backend.list(old).await, ErrorKind::Fenced, "a list by an older epoch")
}

/// The platform comes back in its next epoch and is seen to.
async fn newer(actor: Actor) -> Result<Actor, Miss> {
    if !actor.backend.capabilities().fencing {
        return skip("the capability `fencing` is not declared");
    }
    let actor = actor.crash()?;
    actor.list().await?;
    Ok(actor)
}
