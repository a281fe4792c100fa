//! Stopping: asked, waited for, ended, with all it started.

use std::time::Duration;

use super::stage::{GRACE, Stage};
use crate::{
    backend::{Exit, ExitStatus},
    testing::kit::{
        Act,
        run::{Clause, OrFail, POLLS, Verdict, all, drop_after, ensure},
    },
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("a stop ends the instance before it answers", ends),
        Clause::new("a stop does not wait longer than the instance takes", is_prompt),
        Clause::new("a stop kills what ignores it, and not before its grace", kills),
        Clause::new("a stop that is repeated is answered", repeated),
        Clause::new("a stop of what never was is answered", never_was),
        Clause::new("stops of one id at once are all answered", at_once),
        Clause::new("a stop that was dropped can be repeated", dropped),
        Clause::new("how an instance ended is told as it was, or as unknown", tells_how),
    ]
}

async fn ends(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = actor.serve().await?;
    stage.settle().await;
    actor.stop(id).await?;
    actor.ensure_gone(id, "right after the answer").await
}

async fn is_prompt(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = actor.serve().await?;
    stage.settle().await;
    let asked = stage.clock().now();
    let grace = stage.ground.patience * 2;
    actor.backend.stop(actor.fence, id, grace).await.or_fail("a stop")?;
    let took = stage.clock().now().since(asked);
    ensure(took < stage.ground.patience, || {
        format!("it took {took:?} of a grace of {grace:?} over a program that ends when asked")
    })
}

async fn kills(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let grace = Duration::from_millis(300);
    let mut leave = stage.ground.settle;
    loop {
        let id = stage.fresh();
        actor.start(id, &Act::IgnoreStop).await?;
        stage.clock().sleep(leave).await;
        let asked = stage.clock().now();
        let exit = actor.backend.stop(actor.fence, id, grace).await.or_fail("a stop")?;
        let took = stage.clock().now().since(asked);
        actor.ensure_gone(id, "after the kill").await?;
        // What was only asked had not come to ignoring it, which on a busy machine takes any time.
        if took < grace && !was_killed(&exit) && leave < stage.ground.patience {
            leave *= 4;
            continue;
        }
        ensure(took >= grace, || format!("it was killed after {took:?} of a grace of {grace:?}"))?;
        return ensure(took < grace + stage.ground.patience, || format!("the kill took {took:?}"));
    }
}

/// By a signal, or as a shell tells of one.
fn was_killed(exit: &Exit) -> bool {
    matches!(exit.status, ExitStatus::Signal(9) | ExitStatus::Code(137))
}

async fn repeated(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = actor.serve().await?;
    actor.stop(id).await?;
    actor.backend.stop(actor.fence, id, GRACE).await.or_fail("a second stop").map(drop)
}

async fn never_was(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let exit = actor.stop(stage.fresh()).await?;
    ensure(exit == Exit::unknown(), || format!("it is said to have ended: {exit:?}"))
}

async fn at_once(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = actor.serve().await?;
    let stops = (0..4).map(|_| actor.backend.stop(actor.fence, id, GRACE)).collect();
    for answer in all(stops).await {
        answer.or_fail("one of four stops")?;
    }
    Ok(())
}

async fn dropped(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    for polls in POLLS {
        let id = actor.serve().await?;
        drop_after(stage.clock(), polls, actor.backend.stop(actor.fence, id, GRACE)).await;
        actor.backend.stop(actor.fence, id, GRACE).await.or_fail("the repeated stop")?;
        let when = format!("after a stop dropped at {polls} polls and another");
        actor.ensure_gone(id, &when).await?;
    }
    Ok(())
}

async fn tells_how(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = stage.fresh();
    actor.start(id, &Act::Exit(7)).await?;
    let listed = actor.wait_until_ended(id).await?;
    let stopped = actor.stop(id).await?;
    for (who, exit) in
        listed.map(|exit| ("the list", exit)).into_iter().chain([("the stop", stopped)])
    {
        let true_or_unknown = matches!(exit.status, ExitStatus::Code(7) | ExitStatus::Unknown);
        ensure(true_or_unknown, || format!("it ended with code 7, {who} says {:?}", exit.status))?;
    }
    Ok(())
}
