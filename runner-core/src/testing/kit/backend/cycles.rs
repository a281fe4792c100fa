//! Again and again, and what is left over after it all.

use super::stage::{GRACE, Stage};
use crate::{
    backend::{Condition, Fence},
    id::Epoch,
    testing::kit::{
        Act, Timing,
        report::{START, STOP},
        run::{Clause, OrFail, Verdict, ensure},
    },
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("instances start and stop again and again", cycles),
        Clause::new("nothing is left over", nothing_left),
    ]
}

async fn cycles(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let clock = stage.clock();
    let began = clock.now();
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    while starts.len() < AT_LEAST
        || (starts.len() < stage.ground.cycles_at_most
            && clock.now().since(began) < stage.ground.cycles_for)
    {
        let cycle = starts.len() + 1;
        let request = actor.request(stage.fresh(), &Act::Serve)?;
        let id = request.instance;
        let before = clock.now();
        actor.backend.start(actor.fence, request).await.or_fail(&format!("start {cycle}"))?;
        let between = clock.now();
        let stop = actor.backend.stop(actor.fence, id, GRACE).await;
        stop.or_fail(&format!("stop {cycle}"))?;
        stage.forget(actor.fence.platform, id);
        starts.push(between.since(before));
        stops.push(clock.now().since(between));
    }
    stage.time(Timing::of(START, starts));
    stage.time(Timing::of(STOP, stops));
    Ok(())
}

/// Over all platforms that any check used.
async fn nothing_left(stage: Stage) -> Verdict {
    let mut left = Vec::new();
    for platform in stage.before.iter().copied() {
        // Newer than any epoch that a check reached.
        let fence = Fence { platform, epoch: Epoch::new(1000) };
        let listing = stage.act_as(fence)?.list().await?;
        let lives = listing
            .instances
            .into_iter()
            .filter(|listed| matches!(listed.condition, Condition::Running | Condition::Frozen));
        left.extend(lives.map(|listed| format!("{} is listed", listed.instance)));
    }
    if let Some(witness) = &stage.ground.witness {
        let seen = witness().await.into_iter();
        let ours = seen.filter(|(platform, _)| stage.before.contains(platform));
        left.extend(ours.map(|(_, id)| format!("{id} runs")));
    }
    ensure(left.is_empty(), || left.join(", "))
}

/// However little time there is: fewer prove nothing about what leaks.
const AT_LEAST: usize = 40;
