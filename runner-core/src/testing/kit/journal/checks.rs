//! What holds while nothing goes wrong.

use std::sync::Arc;

use super::{Stage, commit, found};
use crate::{
    error::ErrorKind,
    journal::{Batch, HistoryEntry, Journal, Record, RecordKey},
    testing::kit::run::{
        Clause, Miss, OrFail, POLLS, Verdict, all, drop_after, ensure, ensure_refused,
    },
    time::Timestamp,
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("each opening raises the epoch, of the same platform", epoch_rises),
        Clause::new("a second opener is refused and told who holds it", exclusive),
        Clause::new("what an opening found does not change while it is open", opened_is_constant),
        Clause::new("what was committed is there when it is opened again", survives_closing),
        Clause::new("a record takes the place of the one with its key", replaces),
        Clause::new("a removed record is gone, and removing nothing is no error", removes),
        Clause::new("records come in the order of their keys", ordered),
        Clause::new("of two changes about one key the later wins", later_wins),
        Clause::new("bytes and version come back as they were", exact),
        Clause::new("a large record is kept whole", large),
        Clause::new("many commits at once are all kept", many),
        Clause::new("a commit that was dropped is there as a whole or not at all", dropped),
        Clause::new("the newest time is the floor of the next opening", newest),
        Clause::new("history comes newest first, of its service alone", history),
        Clause::new("history gives no more than it was asked for", history_limit),
    ]
}

async fn epoch_rises(stage: Stage) -> Verdict {
    let first = stage.open().await?.opened();
    let second = stage.open().await?.opened();
    ensure(second.epoch > first.epoch, || {
        format!("it was {} and, opened again, is {}", first.epoch, second.epoch)
    })?;
    ensure(second.platform == first.platform, || {
        format!("it belonged to {} and now to {}", first.platform, second.platform)
    })
}

async fn exclusive(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    let second = (stage.ground.open)().map(drop);
    if let (Err(error), Some(holder)) = (&second, &stage.ground.holder) {
        ensure(error.to_string().contains(holder), || {
            format!("the refusal does not name `{holder}`: {error}")
        })?;
    }
    ensure_refused(second, ErrorKind::Conflict, "a second opening")?;
    commit(&journal, stage.put(0, "still mine")).await
}

async fn opened_is_constant(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    let before = journal.opened();
    let batch = Batch::new(before.newest + LATER).put(stage.record(0, "x"));
    commit(&journal, batch).await?;
    let after = journal.opened();
    ensure(before == after, || format!("it was {before:?} and is {after:?}"))
}

async fn survives_closing(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    let platform = Record { key: RecordKey::Platform, version: 1, bytes: b"all".to_vec() };
    let batch = stage.put(0, "kept").put(platform.clone()).note(stage.note(0, 1));
    commit(&journal, batch).await?;
    drop(journal);
    let journal = stage.open().await?;
    for record in [stage.record(0, "kept"), platform] {
        let seen = found(&journal, record.key).await?;
        ensure(seen.as_ref() == Some(&record), || {
            format!("{record:?} was committed, and after opening again there is {seen:?}")
        })?;
    }
    let entries = journal.history(stage.service(0), 10).await.or_fail("reading history")?;
    ensure(entries == [stage.note(0, 1)], || format!("of one entry there is {entries:?}"))
}

async fn replaces(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    for bytes in ["first", "second"] {
        commit(&journal, stage.put(0, bytes)).await?;
    }
    let seen = found(&journal, stage.key(0)).await?;
    ensure(seen == Some(stage.record(0, "second")), || format!("there is {seen:?}"))
}

async fn removes(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    commit(&journal, stage.put(0, "x")).await?;
    for _ in 0..2 {
        commit(&journal, Batch::new(Timestamp::from_secs(1)).remove(stage.key(0))).await?;
        let seen = found(&journal, stage.key(0)).await?;
        ensure(seen.is_none(), || format!("there still is {seen:?}"))?;
    }
    Ok(())
}

async fn ordered(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    for which in 0..20 {
        commit(&journal, stage.put(which, "x")).await?;
    }
    let platform = Record { key: RecordKey::Platform, version: 1, bytes: Vec::new() };
    commit(&journal, Batch::new(Timestamp::from_secs(1)).put(platform)).await?;
    let records = journal.records().await.or_fail("reading the records")?;
    ensure(records.is_sorted_by(|one, next| one.key < next.key), || {
        let keys: Vec<_> = records.iter().map(|record| record.key).collect();
        format!("they come as {keys:?}")
    })
}

async fn later_wins(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    let batch = stage.put(0, "a").put(stage.record(0, "b"));
    commit(&journal, batch).await?;
    let put_twice = found(&journal, stage.key(0)).await?;
    commit(
        &journal,
        Batch::new(Timestamp::from_secs(1)).remove(stage.key(0)).put(stage.record(0, "c")),
    )
    .await?;
    let put_last = found(&journal, stage.key(0)).await?;
    commit(&journal, stage.put(0, "d").remove(stage.key(0))).await?;
    let removed_last = found(&journal, stage.key(0)).await?;
    let right = put_twice == Some(stage.record(0, "b"))
        && put_last == Some(stage.record(0, "c"))
        && removed_last.is_none();
    ensure(right, || {
        format!("put twice: {put_twice:?}, put last: {put_last:?}, removed last: {removed_last:?}")
    })
}

async fn exact(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    let every_byte: Vec<u8> = (0..=255).collect();
    for (which, version, bytes) in [(0, u32::MAX, every_byte), (1, 0, Vec::new())] {
        let record = Record { version, ..stage.record(which, bytes) };
        commit(&journal, Batch::new(Timestamp::from_secs(1)).put(record.clone())).await?;
        let seen = found(&journal, record.key).await?;
        ensure(seen.as_ref() == Some(&record), || format!("{record:?} came back as {seen:?}"))?;
    }
    Ok(())
}

async fn large(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    let bytes: Vec<u8> = (0..stage.ground.large).map(|n| (n % 251) as u8).collect();
    commit(&journal, stage.put(0, bytes.clone())).await?;
    drop(journal);
    let seen = found(&stage.open().await?, stage.key(0)).await?;
    ensure(seen.as_ref().is_some_and(|record| record.bytes == bytes), || {
        let len = seen.map(|record| record.bytes.len());
        format!("of {} bytes came back {len:?}, or others", bytes.len())
    })
}

async fn many(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    let commits = (0..MANY).map(|which| journal.commit(stage.put(which, which.to_string())));
    for answer in all(commits.collect()).await {
        answer.or_fail("one of many commits")?;
    }
    drop(journal);
    let journal = stage.open().await?;
    let mut lost = Vec::new();
    for which in 0..MANY {
        if found(&journal, stage.key(which)).await? != Some(stage.record(which, which.to_string()))
        {
            lost.push(which);
        }
    }
    ensure(lost.is_empty(), || format!("of {MANY} these are lost: {lost:?}"))
}

async fn dropped(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    for polls in POLLS {
        let (one, other) = (polls as u64 * 2, polls as u64 * 2 + 1);
        let batch = stage.put(one, "x").put(stage.record(other, "y"));
        drop_after(stage.clock(), polls, journal.commit(batch)).await;
        // What is under way is over once another commit was answered and time has passed.
        commit(&journal, stage.put(1000, polls.to_string())).await?;
        stage.clock().sleep(stage.ground.patience / 100).await;
        whole(&journal, &stage, one, other, &format!("dropped after {polls} polls")).await?;
    }
    Ok(())
}

/// Two records that were committed together are both there, or neither.
pub(super) async fn whole(
    journal: &Arc<dyn Journal>,
    stage: &Stage,
    one: u64,
    other: u64,
    when: &str,
) -> Result<bool, Miss> {
    let one = found(journal, stage.key(one)).await?.is_some();
    let other = found(journal, stage.key(other)).await?.is_some();
    ensure(one == other, || format!("{when}, of two records that belong together one is there"))?;
    Ok(one)
}

async fn newest(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    let at = journal.opened().newest + LATER;
    commit(&journal, Batch::new(at).put(stage.record(0, "x"))).await?;
    // One that was made earlier and is committed later lowers nothing.
    commit(&journal, stage.put(0, "y")).await?;
    drop(journal);
    let opened = stage.open().await?.opened();
    ensure(opened.newest >= at, || {
        format!("a batch was made at {at}, and the next opening says {}", opened.newest)
    })
}

async fn history(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    for at in 1..=3 {
        let batch = Batch::new(Timestamp::from_secs(at));
        commit(&journal, batch.note(stage.note(0, at)).note(stage.note(1, at))).await?;
    }
    let read = read_history(&journal, &stage, 10).await?;
    let expected = [3, 2, 1].map(|at| stage.note(0, at));
    ensure(read == expected, || format!("of three entries, newest first, came {read:?}"))
}

async fn history_limit(stage: Stage) -> Verdict {
    let journal = stage.open().await?;
    for at in 1..=5 {
        commit(&journal, Batch::new(Timestamp::from_secs(at)).note(stage.note(0, at))).await?;
    }
    for limit in [0, 2, 5] {
        let read = read_history(&journal, &stage, limit).await?;
        ensure(read.len() == limit, || format!("asked for {limit} of 5, it gives {}", read.len()))?;
    }
    Ok(())
}

async fn read_history(
    journal: &Arc<dyn Journal>,
    stage: &Stage,
    limit: usize,
) -> Result<Vec<HistoryEntry>, Miss> {
    journal.history(stage.service(0), limit).await.or_fail("reading history")
}

/// More than any batch of another check is made at.
const LATER: std::time::Duration = std::time::Duration::from_secs(1000);

/// As many services as may well commit within one sync of a busy platform.
const MANY: u64 = 64;
