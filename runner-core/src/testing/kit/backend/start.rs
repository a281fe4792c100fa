//! Clause 1 and 6: the id is the idempotency key, and dropping a future undoes nothing.

use std::collections::BTreeSet;

use super::stage::{GRACE, Seen, Stage};
use crate::{
    error::ErrorKind,
    secret::Secret,
    testing::kit::{
        Act,
        run::{
            Clause, Miss, OrFail, POLLS, Verdict, all, chain, drop_after, ensure, ensure_refused,
            fail,
        },
    },
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("a started instance is listed with its epoch and address", is_listed),
        Clause::new("a start that is repeated starts nothing twice", repeated),
        Clause::new("starts of one id at once start one instance", at_once),
        Clause::new("an id that was stopped stays stopped", stays_stopped),
        Clause::new("a start does not bring back what ended by itself", ended_stays_ended),
        Clause::new("a start that fails leaves nothing", fails_whole),
        Clause::new("many starts at once are all there, each at its own address", many),
        Clause::new("a start that was dropped leaves nothing once its id was stopped", dropped),
        Clause::new("a secret is in no answer and in no error", secrets_stay_secret),
    ]
}

async fn is_listed(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = stage.fresh();
    let started = actor.start(id, &Act::Serve).await?;
    actor.ensure_running(id, "after its start").await?;
    let listing = actor.list().await?;
    let Some(listed) = listing.instances.into_iter().find(|listed| listed.instance == id) else {
        return fail("the second list does not hold it");
    };
    ensure(listed.epoch == actor.fence.epoch, || {
        format!("epoch {} started it, the list says {}", actor.fence.epoch, listed.epoch)
    })?;
    ensure(listed.address == started.address, || {
        format!("it was started at {:?}, the list says {:?}", started.address, listed.address)
    })
}

async fn repeated(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = stage.fresh();
    let first = actor.start(id, &Act::Serve).await?;
    let second = actor.start(id, &Act::Serve).await?;
    ensure(first.address == second.address, || {
        format!("the first answered {:?}, the second {:?}", first.address, second.address)
    })?;
    actor.ensure_one(id).await
}

async fn at_once(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = stage.fresh();
    let request = actor.request(id, &Act::Serve)?;
    let starts = (0..4).map(|_| actor.backend.start(actor.fence, request.clone())).collect();
    let mut addresses = BTreeSet::new();
    for answer in all(starts).await {
        addresses.insert(answer.or_fail("one of four starts")?.address);
    }
    ensure(addresses.len() == 1, || format!("they answered {addresses:?}"))?;
    actor.ensure_one(id).await
}

async fn stays_stopped(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = actor.serve().await?;
    actor.stop(id).await?;
    let again = actor.backend.start(actor.fence, actor.request(id, &Act::Serve)?).await;
    ensure_refused(again, ErrorKind::Conflict, "a start after the stop")?;
    stage.settle().await;
    actor.ensure_gone(id, "after the refused start").await
}

async fn ended_stays_ended(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = stage.fresh();
    actor.start(id, &Act::Exit(0)).await?;
    actor.wait_until_ended(id).await?;
    // Both answers are good: that of the first start, and that it is over.
    let again = actor.backend.start(actor.fence, actor.request(id, &Act::Serve)?).await;
    if let Err(error) = &again
        && error.kind() != ErrorKind::Conflict
    {
        again.or_fail("a repeated start")?;
    }
    actor.ensure_gone(id, "after the repeated start").await
}

async fn fails_whole(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let id = stage.fresh();
    let request = actor.request(id, &Act::Missing)?;
    let answer = actor.backend.start(actor.fence, request).await;
    ensure(answer.is_err(), || format!("a program that is not there is answered {answer:?}"))?;
    stage.settle().await;
    actor.ensure_gone(id, "after the failed start").await
}

async fn many(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let count = stage.ground.room.unwrap_or(MANY).min(MANY);
    let ids: Vec<_> = (0..count).map(|_| stage.fresh()).collect();
    let requests: Result<Vec<_>, Miss> =
        ids.iter().map(|id| actor.request(*id, &Act::Serve)).collect();
    let starts = requests?.into_iter().map(|r| actor.backend.start(actor.fence, r)).collect();
    let mut addresses = BTreeSet::new();
    for answer in all(starts).await {
        if let Some(address) = answer.or_fail("one of many starts")?.address {
            ensure(addresses.insert(address.clone()), || format!("two are at {address}"))?;
        }
    }
    let listed: BTreeSet<_> =
        actor.list().await?.instances.into_iter().map(|listed| listed.instance).collect();
    let missing = ids.iter().filter(|id| !listed.contains(id)).count();
    ensure(missing == 0, || format!("{missing} of {count} are not in the list after it"))?;
    let stops = ids.iter().map(|id| actor.backend.stop(actor.fence, *id, GRACE));
    for answer in all(stops.collect()).await {
        answer.or_fail("one of many stops")?;
    }
    Ok(())
}

async fn dropped(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    for polls in POLLS {
        let id = stage.fresh();
        let request = actor.request(id, &Act::Serve)?;
        drop_after(stage.clock(), polls, actor.backend.start(actor.fence, request)).await;
        actor.stop(id).await?;
        stage.settle().await;
        let when = format!("when it was dropped after {polls} polls and then stopped");
        actor.ensure_gone(id, &when).await?;
    }
    Ok(())
}

async fn secrets_stay_secret(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let mut texts = Vec::new();
    for act in [Act::Serve, Act::Missing] {
        let id = stage.fresh();
        let Ok(mut request) = actor.request(id, &act) else { continue };
        request.secrets.insert("CONFORMANCE_SECRET".to_owned(), Secret::new(CANARY));
        // The second meets an id that is stopped: one more error to look into.
        for _ in 0..2 {
            match actor.backend.start(actor.fence, request.clone()).await {
                Ok(started) => texts.push(format!("{started:?}")),
                Err(error) => texts.extend(chain(&error).into_iter().chain([format!("{error:?}")])),
            }
            texts.push(format!("{:?}", actor.list().await?));
            texts.push(format!("{}", Seen(&actor.condition(id).await?)));
            texts.push(format!("{:?}", actor.stop(id).await?));
        }
    }
    match texts.iter().find(|text| text.contains(CANARY)) {
        None => Ok(()),
        Some(text) => fail(format!("the value is in: {}", text.replace(CANARY, "(the value)"))),
    }
}

/// At once: more than a host has cores, fewer than the smallest port range has ports.
const MANY: usize = 16;

const CANARY: &str = "canary-5b1f0f9e2c";
