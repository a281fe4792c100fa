//! What is declared is there; what is not, refuses by name.

use std::{future::poll_fn, time::Duration};

use super::stage::{Actor, GRACE, Seen, Stage};
use crate::{
    Error,
    backend::{Capabilities, Condition, ForeignInstance},
    error::ErrorKind,
    id::InstanceId,
    testing::kit::{
        Act,
        run::{Clause, Miss, OrFail, Verdict, ensure, ensure_refused, fail, skip, within},
    },
    time::Timestamp,
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("capabilities do not change", constant),
        Clause::new("what is not declared refuses as unsupported", undeclared),
        Clause::new("questions about what is not there are answered with not found", not_there),
        Clause::new("a frozen instance is listed as frozen, a thawed one as running", freezes),
        Clause::new("freezing and thawing may be repeated", freezes_again),
        Clause::new("a frozen instance can be stopped", stops_frozen),
        Clause::new("a command that was run is told as it ended", runs_command),
        Clause::new("a command that takes too long is refused as timed out", limits_command),
        Clause::new("what an instance writes can be read", logs),
        Clause::new("what was written before is not read again", logs_since),
        Clause::new("usage is measured, and CPU time does not fall", usage),
        Clause::new("the ports on which an instance listens are seen", ports),
        Clause::new("capacity is told", capacity),
        Clause::new("room that is used up refuses as exhausted until it is free again", room),
    ]
}

async fn constant(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let first = actor.backend.capabilities();
    actor.serve().await?;
    let later = actor.backend.capabilities();
    ensure(first == later, || format!("they were {first:?} and are {later:?}"))
}

async fn undeclared(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let has = actor.backend.capabilities();
    let id = actor.serve().await?;
    let unsupported = ErrorKind::Unsupported;
    for (name, declared, answer) in questions(&actor, id, has).await {
        if !declared {
            ensure_refused(answer, unsupported, name)?;
        }
    }
    if !has.reap {
        let foreign = ForeignInstance { platform: None, engine_name: "conformance".to_owned() };
        ensure_refused(actor.backend.reap(actor.fence, foreign).await, unsupported, "reap")?;
    }
    if !has.capacity {
        ensure_refused(actor.backend.capacity(actor.fence).await, unsupported, "capacity")?;
    }
    Ok(())
}

async fn not_there(stage: Stage) -> Verdict {
    let actor = stage.actor()?;
    let has = actor.backend.capabilities();
    let mut asked = false;
    for (name, declared, answer) in questions(&actor, stage.fresh(), has).await {
        if declared {
            asked = true;
            ensure_refused(answer, ErrorKind::NotFound, name)?;
        }
    }
    if asked { Ok(()) } else { skip("no capability is declared that asks about an instance") }
}

/// All that can be asked about one instance, whether it is declared, and the answer. What is
/// declared is asked only about instances that are not there, so that nothing changes.
async fn questions(
    actor: &Actor,
    id: InstanceId,
    has: Capabilities,
) -> Vec<(&'static str, bool, Result<(), Error>)> {
    let Actor { backend, fence, .. } = actor;
    let command = vec!["conformance".to_owned()];
    let limit = Duration::from_secs(1);
    vec![
        ("freeze", has.standby, backend.freeze(*fence, id).await),
        ("thaw", has.standby, backend.thaw(*fence, id).await),
        (
            "run_command",
            has.run_command,
            backend.run_command(*fence, id, command, limit).await.map(drop),
        ),
        ("logs", has.logs, backend.logs(*fence, id, Timestamp::EPOCH).await.map(drop)),
        ("usage", has.usage, backend.usage(*fence, id).await.map(drop)),
        (
            "listening_ports",
            has.listening_ports,
            backend.listening_ports(*fence, id).await.map(drop),
        ),
    ]
}

async fn with(
    stage: &Stage,
    capability: &str,
    declared: fn(&Capabilities) -> bool,
    act: &Act,
) -> Result<(Actor, InstanceId), Miss> {
    let actor = stage.actor()?;
    if !declared(&actor.backend.capabilities()) {
        return skip(format!("the capability `{capability}` is not declared"));
    }
    let id = stage.fresh();
    actor.start(id, act).await?;
    stage.settle().await;
    Ok((actor, id))
}

async fn freezes(stage: Stage) -> Verdict {
    let (actor, id) = with(&stage, "standby", |has| has.standby, &Act::Serve).await?;
    actor.backend.freeze(actor.fence, id).await.or_fail("a freeze")?;
    let condition = actor.condition(id).await?;
    ensure(condition == Some(Condition::Frozen), || {
        format!("after the freeze a list says of it {}", Seen(&condition))
    })?;
    actor.backend.thaw(actor.fence, id).await.or_fail("a thaw")?;
    actor.ensure_running(id, "after the thaw").await
}

async fn freezes_again(stage: Stage) -> Verdict {
    let (actor, id) = with(&stage, "standby", |has| has.standby, &Act::Serve).await?;
    let (backend, fence) = (&actor.backend, actor.fence);
    backend.thaw(fence, id).await.or_fail("a thaw of what runs")?;
    backend.freeze(fence, id).await.or_fail("a freeze")?;
    backend.freeze(fence, id).await.or_fail("a repeated freeze")?;
    backend.thaw(fence, id).await.or_fail("a thaw")?;
    backend.thaw(fence, id).await.or_fail("a repeated thaw")
}

async fn stops_frozen(stage: Stage) -> Verdict {
    let (actor, id) = with(&stage, "standby", |has| has.standby, &Act::Serve).await?;
    actor.backend.freeze(actor.fence, id).await.or_fail("a freeze")?;
    let asked = stage.clock().now();
    actor.stop(id).await?;
    actor.ensure_gone(id, "after the stop").await?;
    let took = stage.clock().now().since(asked);
    ensure(took < GRACE, || {
        format!("it took {took:?}, all of its grace: what is frozen has to be thawed to hear it")
    })
}

async fn runs_command(stage: Stage) -> Verdict {
    let (actor, id) = with(&stage, "run_command", |has| has.run_command, &Act::Serve).await?;
    let Some((command, ends)) = stage.ground.command.clone() else {
        return skip("no command was given");
    };
    let limit = stage.ground.patience;
    let output = actor.backend.run_command(actor.fence, id, command, limit).await;
    let status = output.or_fail("the command")?.exit.status;
    ensure(status == ends, || format!("it ends with {ends:?} and is told as {status:?}"))?;
    actor.ensure_running(id, "after the command").await
}

async fn limits_command(stage: Stage) -> Verdict {
    let (actor, id) = with(&stage, "run_command", |has| has.run_command, &Act::Serve).await?;
    let Some(command) = stage.ground.endless_command.clone() else {
        return skip("no endless command was given");
    };
    let limit = Duration::from_millis(200);
    let answer = actor.backend.run_command(actor.fence, id, command, limit);
    match within(stage.clock(), stage.ground.patience, answer).await {
        Some(answer) => ensure_refused(answer, ErrorKind::TimedOut, "a command over its limit"),
        None => fail(format!("it has a limit of {limit:?} and went on for much longer")),
    }
}

async fn logs(stage: Stage) -> Verdict {
    let (actor, id) = with(&stage, "logs", |has| has.logs, &Act::Print(LINE)).await?;
    match reads_line(&stage, &actor, id, Timestamp::EPOCH, stage.ground.patience).await? {
        true => Ok(()),
        false => fail(format!("the line `{LINE}` was not read in {:?}", stage.ground.patience)),
    }
}

async fn logs_since(stage: Stage) -> Verdict {
    let (actor, id) = with(&stage, "logs", |has| has.logs, &Act::Print(LINE)).await?;
    // Only once it was read is it certain that it lies in the past.
    if !reads_line(&stage, &actor, id, Timestamp::EPOCH, stage.ground.patience).await? {
        return skip("no line was read, so none could be read again");
    }
    stage.settle().await;
    let since = stage.clock().now();
    match reads_line(&stage, &actor, id, since, stage.ground.settle).await? {
        false => Ok(()),
        true => fail("a line that was written before the time asked for is read"),
    }
}

async fn reads_line(
    stage: &Stage,
    actor: &Actor,
    id: InstanceId,
    since: Timestamp,
    patience: Duration,
) -> Result<bool, Miss> {
    let mut stream =
        actor.backend.logs(actor.fence, id, since).await.or_fail("a reading of logs")?;
    let read = async {
        while let Some(line) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
            if line.text == LINE {
                return true;
            }
        }
        false
    };
    Ok(within(stage.clock(), patience, read).await.unwrap_or(false))
}

async fn usage(stage: Stage) -> Verdict {
    let (actor, id) = with(&stage, "usage", |has| has.usage, &Act::Serve).await?;
    let first = actor.backend.usage(actor.fence, id).await.or_fail("a measurement")?;
    stage.settle().await;
    let second = actor.backend.usage(actor.fence, id).await.or_fail("a measurement")?;
    ensure(first.memory_bytes > 0, || "a running program is said to hold no memory".to_owned())?;
    ensure(second.cpu >= first.cpu, || {
        format!("its CPU time was {:?} and is {:?}", first.cpu, second.cpu)
    })
}

async fn ports(stage: Stage) -> Verdict {
    let (actor, id) =
        with(&stage, "listening_ports", |has| has.listening_ports, &Act::Serve).await?;
    let deadline = stage.clock().now() + stage.ground.patience;
    loop {
        let ports = actor.backend.listening_ports(actor.fence, id).await.or_fail("a look")?;
        if !ports.is_empty() {
            return Ok(());
        }
        ensure(stage.clock().now() < deadline, || "it serves, and no port is seen".to_owned())?;
        stage.clock().sleep(Duration::from_millis(20)).await;
    }
}

async fn capacity(stage: Stage) -> Verdict {
    let (actor, _) = with(&stage, "capacity", |has| has.capacity, &Act::Serve).await?;
    let host = actor.backend.capacity(actor.fence).await.or_fail("a question for capacity")?;
    ensure(host.cpu_millis > 0 && host.memory_bytes > 0, || {
        format!("an instance runs on a host that has nothing: {host:?}")
    })
}

async fn room(stage: Stage) -> Verdict {
    let Some(room) = stage.ground.room else { return skip("no bound was given") };
    let actor = stage.actor()?;
    let mut ids = Vec::new();
    for _ in 0..room {
        ids.push(actor.serve().await?);
    }
    let id = stage.fresh();
    let one_more = actor.backend.start(actor.fence, actor.request(id, &Act::Serve)?).await;
    ensure_refused(one_more, ErrorKind::Exhausted, "one instance more than fits")?;
    actor.ensure_gone(id, "after it was refused").await?;
    for id in ids.into_iter().take(1) {
        actor.stop(id).await?;
    }
    actor.serve().await.map(drop)
}

const LINE: &str = "conformance: one line";
