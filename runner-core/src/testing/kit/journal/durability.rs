//! What holds when the power goes or writes fail.

use super::{Stage, checks::whole, commit, found};
use crate::{
    journal::Batch,
    testing::kit::run::{Clause, OrFail, POLLS, Verdict, all, drop_after, ensure, skip},
    time::Timestamp,
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("what was answered survives a crash", answered_survives),
        Clause::new("a crash leaves all of a batch or nothing", batch_is_whole),
        Clause::new("a batch is never there without those answered before it", in_order),
        Clause::new("the epoch rises over a crash, too", epoch_survives),
        Clause::new("a commit that failed leaves what was, and reads go on", failed_leaves),
        Clause::new("a commit after one that failed is as good as any", recovers),
    ]
}

async fn answered_survives(stage: Stage) -> Verdict {
    let mut journal = stage.open().await?;
    for round in 0..ROUNDS {
        let batch = stage.put(round, round.to_string()).note(stage.note(round, 1));
        commit(&journal, batch).await?;
        journal = stage.crash(journal).await?;
        for which in 0..=round {
            let seen = found(&journal, stage.key(which)).await?;
            ensure(seen == Some(stage.record(which, which.to_string())), || {
                format!("commit {which} was answered; after crash {round} there is {seen:?}")
            })?;
            let entries = journal.history(stage.service(which), 9).await.or_fail("history")?;
            ensure(entries.len() == 1, || format!("of its entry there is {entries:?}"))?;
        }
    }
    Ok(())
}

async fn batch_is_whole(stage: Stage) -> Verdict {
    let mut journal = stage.open().await?;
    for round in 0..ROUNDS {
        for polls in POLLS {
            let one = (round * 100 + polls as u64) * 2;
            // Large enough that no disk writes it in one piece.
            let batch = stage.put(one, vec![1; 10_000]).put(stage.record(one + 1, vec![2; 10_000]));
            drop_after(stage.clock(), polls, journal.commit(batch)).await;
            journal = stage.crash(journal).await?;
            let when = format!("after a crash at {polls} polls of its commit");
            whole(&journal, &stage, one, one + 1, &when).await?;
        }
    }
    Ok(())
}

/// Several are under way when the power goes; each one that is there has all that were answered
/// before it began.
async fn in_order(stage: Stage) -> Verdict {
    let mut journal = stage.open().await?;
    for round in 0..ROUNDS {
        let first = round * 100;
        commit(&journal, stage.put(first, "answered")).await?;
        let polls = usize::try_from(round % 3).unwrap_or(0) + 1;
        let under_way = (1..=3).map(|n| -> crate::BoxFuture<'_, ()> {
            let commit = journal.commit(stage.put(first + n, "under way"));
            Box::pin(async { drop(drop_after(stage.clock(), polls, commit).await) })
        });
        all(under_way.collect()).await;
        journal = stage.crash(journal).await?;
        let answered = found(&journal, stage.key(first)).await?.is_some();
        for n in 1..=3 {
            let there = found(&journal, stage.key(first + n)).await?.is_some();
            ensure(answered || !there, || {
                "a commit that was under way is there, and one answered before it is not".to_owned()
            })?;
        }
    }
    Ok(())
}

async fn epoch_survives(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    let before = journal.opened();
    // Nothing is committed: the opening itself has to be durable.
    let after = stage.crash(journal).await?.opened();
    ensure(after.epoch > before.epoch, || {
        format!("epoch {} was told, and after the crash again {}", before.epoch, after.epoch)
    })?;
    ensure(after.platform == before.platform, || {
        format!("it belonged to {} and now to {}", before.platform, after.platform)
    })
}

async fn failed_leaves(stage: Stage) -> Verdict {
    let Some(fail) = stage.ground.fail.clone() else { return skip("no way to fail was given") };
    let journal = stage.open().await?;
    commit(&journal, stage.put(0, "before")).await?;
    fail(true);
    let answer = journal.commit(stage.put(0, "after").put(stage.record(1, "after"))).await;
    ensure(answer.is_err(), || "all writes fail, and a commit is answered".to_owned())?;
    let seen = found(&journal, stage.key(0)).await?;
    ensure(seen == Some(stage.record(0, "before")), || {
        format!("a commit failed, and in place of what was there is {seen:?}")
    })?;
    let other = found(&journal, stage.key(1)).await?;
    ensure(other.is_none(), || format!("a commit failed, and yet there is {other:?}"))
}

async fn recovers(stage: Stage) -> Verdict {
    let Some(fail) = stage.ground.fail.clone() else { return skip("no way to fail was given") };
    let journal = stage.open().await?;
    fail(true);
    let failed = journal.commit(stage.put(0, "failed")).await;
    ensure(failed.is_err(), || "all writes fail, and a commit is answered".to_owned())?;
    fail(false);
    let batch = Batch::new(Timestamp::from_secs(2)).put(stage.record(1, "good"));
    commit(&journal, batch).await?;
    drop(journal);
    let seen = found(&stage.open().await?, stage.key(1)).await?;
    ensure(seen == Some(stage.record(1, "good")), || {
        format!("it was committed after space was made, and opened again there is {seen:?}")
    })
}

/// Crashes differ: enough of them that one tears what can be torn.
const ROUNDS: u64 = 5;
