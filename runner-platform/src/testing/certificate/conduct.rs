//! Conducts a test: sets all up, has it hurt, brings it to rest, and has it judged.

use std::{
    cell::Cell,
    fs, io,
    process::{ExitCode, Stdio},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use super::{
    changes::Changes,
    hurt, judge,
    log::Event,
    own::block_on,
    processes,
    roles::{Plan, Role},
    say::{complain, say},
    services::{KINDS, Kind},
    stage::Stage,
    time::{now, pause},
};

pub(super) fn conduct(plan: &Plan) -> ExitCode {
    block_on(async {
        let mut interrupts = Vec::new();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            interrupts.extend(signal(kind).ok());
        }
        let Ok([mut first, mut second, mut third]) = <[_; 3]>::try_from(interrupts) else {
            return fail_at_once(plan, "signals cannot be listened for");
        };
        let stage = match Stage::new(plan).await {
            Ok(stage) => stage,
            Err(error) => return fail_at_once(plan, &format!("it cannot be set up: {error}")),
        };
        let done = tokio::select! {
            done = perform_and_judge(&stage, plan) => done.map_err(|error| Some(error.to_string())),
            _ = first.recv() => Err(None),
            _ = second.recv() => Err(None),
            _ = third.recv() => Err(None),
        };
        stage.keep_logs.set(!matches!(done, Ok(true) | Err(None)));
        drop(stage);
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(Some(why)) => fail(plan, &why),
            // As a shell has it for a program that was ended by Ctrl-C.
            Err(None) => ExitCode::from(130),
        }
    })
}

/// Before there is anything to judge.
fn fail_at_once(plan: &Plan, why: &str) -> ExitCode {
    say(&judge::nothing());
    fail(plan, why)
}

fn fail(plan: &Plan, why: &str) -> ExitCode {
    complain(&plan.program, why);
    ExitCode::FAILURE
}

/// The whole of it; whether all was well. What could not be brought to its end is judged too, and
/// is not well.
async fn perform_and_judge(stage: &Stage, plan: &Plan) -> io::Result<bool> {
    let performed = perform(stage, plan).await;
    if let Err(error) = &performed {
        stage.write(&Event::Wrong { words: error.to_string(), at: now() });
        // What the load has under way comes to its end, or is lost.
        let _ = fs::remove_file(stage.files.address());
        let _ = stage.wait_for_load().await;
    }
    look_for_panics(stage);
    let mut judge = Role::Judge(stage.files.0.clone(), least_kills(plan)).command();
    let judged = judge.stdin(Stdio::null()).status()?.success();
    performed.map(|()| judged)
}

async fn perform(stage: &Stage, plan: &Plan) -> io::Result<()> {
    stage.begin_platform(0).await?;
    let mut changes: Vec<Changes<'_>> = KINDS.iter().map(|one| Changes::new(stage, one)).collect();
    for service in &mut changes {
        service.create().await?;
    }
    let size = stage.disk.shrink(ROOM)?;
    if size > 0 {
        say(&format!("the disk of journal and logs has {} KiB", size >> 10));
    }
    stage.begin_load()?;
    let until = Instant::now() + Duration::from_secs(plan.seconds);
    let [first, second, third, fourth] = &mut changes[..] else {
        return Err(io::Error::other("there are four services"));
    };
    tokio::join!(
        first.keep_changing(),
        second.keep_changing(),
        third.keep_changing(),
        fourth.keep_changing(),
        hurt::platforms(stage),
        hurt::instances(stage),
        hurt::disk(stage),
        tell(stage, until),
    );
    say("all is brought to rest");
    for kind in &KINDS {
        wait_for_rest(stage, kind).await;
    }
    fs::remove_file(stage.files.address())?;
    stage.wait_for_load().await?;
    stage.end_orderly(false).await;
    for found in processes::of_run(&stage.files.run()) {
        let (process, words) = (found.process, found.words());
        stage.write(&Event::Orphan { process, words, at: now() });
    }
    Ok(())
}

/// At least a hundred in an hour.
fn least_kills(plan: &Plan) -> u32 {
    u32::try_from(plan.seconds * 100 / 3_600).unwrap_or(u32::MAX)
}

/// Until it has ended what it does, and has the processes that it says it has.
async fn wait_for_rest(stage: &Stage, kind: &Kind) {
    let began = stage.uptime();
    loop {
        let seen = stage.see(kind.name).await;
        let mut found = processes::of_run(&stage.files.run());
        found.retain(|one| one.service() == Some(kind.name));
        let words = match seen {
            Some(seen) if !seen.is_busy && seen.instances == found.len() => return,
            Some(seen) => seen.words,
            None => "it does not answer".to_owned(),
        };
        if stage.uptime().saturating_sub(began) > REST {
            let words = format!("{} is not at rest: {words}, {found:?}", kind.name);
            stage.write(&Event::Stuck { number: 0, words, at: now() });
            return;
        }
        pause(LOOK).await;
    }
}

/// A task of the platform that panicked is begun anew, and was wrong all the same.
fn look_for_panics(stage: &Stage) {
    let said = fs::read_to_string(stage.files.platform()).unwrap_or_default();
    for line in said.lines().filter(|line| line.contains("panicked at")) {
        stage.write(&Event::Wrong { words: line.to_owned(), at: now() });
    }
}

/// Says every few seconds how far it is, until it is over.
async fn tell(stage: &Stage, until: Instant) {
    let began = Instant::now();
    let whole = until.saturating_duration_since(began).as_secs();
    while Instant::now() < until {
        pause(TELL.min(until.saturating_duration_since(Instant::now()))).await;
        let counts = fs::read_to_string(stage.files.counts()).unwrap_or_default();
        let last = counts.lines().last().unwrap_or("0 0");
        let (sent, answered) = last.split_once(' ').unwrap_or(("0", "0"));
        let [kills, restarts, killed, stopped, filled] = [
            &stage.counts.platform_kills,
            &stage.counts.restarts,
            &stage.counts.killed,
            &stage.counts.stopped,
            &stage.counts.filled,
        ]
        .map(Cell::get);
        let changes = stage.counts.changes.get();
        say(&format!(
            "{:>4} of {whole} s: {answered} of {sent} requests answered; platform killed \
             {kills}, restarted {restarts}; instances killed {killed}, stopped {stopped}; \
             disk full {filled}; {changes} changes",
            began.elapsed().as_secs()
        ));
    }
    stage.is_ending.set(true);
}

/// What the disk has beside what setting up took.
const ROOM: u64 = 4 << 20;
const LOOK: Duration = Duration::from_millis(50);
const TELL: Duration = Duration::from_secs(5);
/// For how long the platform may take to come to rest.
const REST: Duration = Duration::from_secs(60);
