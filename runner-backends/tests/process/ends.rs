//! How instances end, and that nothing of them is left.

use std::{net::TcpListener, time::Duration};

use futures_util::StreamExt;
use runner_core::{
    backend::{Condition, ContainerBackend, ExitStatus, Hint},
    error::ErrorKind,
    time::Timestamp,
};

use super::bed::{Bed, id, lives};

/// The number that an instance wrote as its only line.
async fn number(bed: &Bed) -> u32 {
    let logs = bed.backend.logs(bed.fence, id(1), Timestamp::EPOCH).await;
    let line = logs.expect("logs").next().await.expect("a line");
    line.text.parse().expect("a number")
}

#[tokio::test]
async fn what_it_left_running_ends_with_it() {
    let bed = Bed::new("left", 10);
    // In a group of its own, as a shell with job control would.
    bed.start(id(1), "exec 2>/dev/null; set -m; sleep 1000 & echo $!; exit 4").await;
    let child = number(&bed).await;
    let exit = bed.ends(id(1)).await;
    assert_eq!(exit.status, ExitStatus::Code(4));
    assert!(!lives(child), "its child {child} was ended too");
}

#[tokio::test]
async fn a_stop_kills_all_that_ignores_it_and_the_list_forgets_it() {
    let bed = Bed::new("ignores", 10);
    bed.start(id(1), "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000").await;
    let child = number(&bed).await;
    let short = Duration::from_millis(50);
    let exit = bed.backend.stop(bed.fence, id(1), short).await.expect("a stop");
    assert_eq!(exit.status, ExitStatus::Signal(9));
    assert!(!lives(child));
    assert_eq!(bed.condition(id(1)).await, None);
    assert!(!bed.folder(id(1)).exists());
    let again = bed.backend.stop(bed.fence, id(1), short).await.expect("a second stop");
    assert_eq!(again, exit, "it is told as the first was");
}

#[tokio::test]
async fn an_end_is_noticed_at_once_with_its_reason() {
    let bed = Bed::new("noticed", 10);
    let mut hints = bed.backend.watch(bed.fence);
    bed.start(id(1), "echo no database; kill -SEGV $$").await;
    let ended = loop {
        let hint = hints.next().await.expect("the watch goes on");
        if let Hint::Ended(instance, exit) = hint {
            break (instance, exit);
        }
    };
    assert_eq!(ended.0, id(1));
    assert_eq!(ended.1.status, ExitStatus::Signal(11));
    assert_eq!(ended.1.last_lines, ["no database"]);
}

#[tokio::test]
async fn a_stranger_on_its_port_ends_it_and_is_named() {
    let bed = Bed::new("stranger", 10);
    bed.start(id(1), "sleep 1000").await;
    let listing = bed.backend.list(bed.fence).await.expect("a list");
    let address = listing.instances[0].address.clone().expect("an address").to_string();
    let _stranger = TcpListener::bind(&address).expect("the instance does not listen yet");
    let long = Duration::from_secs(20);
    let refusal = bed.backend.proven(bed.fence, id(1), long).await.expect_err("it is ours");
    let port = address.rsplit(':').next().expect("a port");
    let holder = format!("port {port} is held by pid {} (", std::process::id());
    assert!(refusal.to_string().contains(&holder), "{refusal}");
    let exit = bed.ends(id(1)).await;
    assert!(exit.last_lines.last().expect("a reason").starts_with(&holder), "{exit:?}");
}

#[tokio::test]
async fn what_never_listens_is_told_with_the_deadline() {
    let bed = Bed::new("silent", 10);
    bed.start(id(1), "sleep 1000").await;
    let short = Duration::from_millis(30);
    let refusal = bed.backend.proven(bed.fence, id(1), short).await.expect_err("it is silent");
    assert_eq!(refusal.kind(), ErrorKind::TimedOut);
    assert!(refusal.to_string().contains("nor on any other port"), "{refusal}");
    bed.start(id(2), "echo cannot; exit 1").await;
    let refusal = bed.backend.proven(bed.fence, id(2), Duration::from_secs(20)).await;
    let refusal = refusal.expect_err("it ends").to_string();
    assert_eq!(refusal, "it ended with code 1: cannot");
    bed.stop(id(1)).await;
}

/// Its first process has ended, and what remains is being swept: there is a moment for that.
#[tokio::test]
async fn at_every_moment_of_its_end_it_is_told_how_it_ended() {
    let bed = Bed::new("swept", 10);
    let many = "i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i + 1)); done; echo last; exit 4";
    bed.start(id(1), many).await;
    let refusal = loop {
        let refusal = bed.backend.proven(bed.fence, id(1), Duration::ZERO).await;
        let refusal = refusal.expect_err("it never listens");
        if refusal.kind() != ErrorKind::TimedOut {
            break refusal;
        }
    };
    assert_eq!(refusal.to_string(), "it ended with code 4: last");
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn frozen_it_uses_no_cpu_and_hears_that_it_should_end() {
    let bed = Bed::new("frozen", 10);
    bed.start(id(1), "trap 'echo heard; exit 5' TERM; echo up; while :; do :; done").await;
    bed.wait_for(id(1), "up").await;
    bed.backend.freeze(bed.fence, id(1)).await.expect("a freeze");
    let before = bed.backend.usage(bed.fence, id(1)).await.expect("usage");
    assert_eq!(bed.condition(id(1)).await, Some(Condition::Frozen));
    let after = bed.backend.usage(bed.fence, id(1)).await.expect("usage");
    assert_eq!(after.cpu, before.cpu);
    assert!(after.memory_bytes > 0);
    let exit = bed.stop(id(1)).await;
    assert_eq!(exit.status, ExitStatus::Code(5));
    assert_eq!(exit.last_lines, ["up", "heard"]);
}

/// Between `vfork` and `exec` a shell is deaf to the signal that has stopped its child already.
#[tokio::test]
async fn what_was_started_this_moment_can_be_frozen() {
    let bed = Bed::new("frozen-at-once", 40);
    for number in 1..=30 {
        bed.start(id(number), "sleep 1000; true").await;
        bed.backend.freeze(bed.fence, id(number)).await.expect("a freeze");
        bed.stop(id(number)).await;
    }
}

/// What the page says of a program that drops its last handle and lives on.
#[tokio::test]
async fn what_ends_without_a_handle_is_a_zombie_until_the_directory_is_opened_again() {
    let mut bed = Bed::new("zombie", 10);
    bed.start(id(1), "echo $$; while [ ! -e go ]; do sleep 0.01; done; exit 7").await;
    let own = number(&bed).await;
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{own}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    bed.without_handle(|folder| {
        assert!(state().is_some_and(|state| state != 'Z'), "the instance does not notice");
        std::fs::write(folder.join("work/go"), "").expect("its directory is there");
        while state() != Some('Z') {
            assert!(state().is_some(), "nobody has waited for it");
            std::thread::yield_now();
        }
    });
    let exit = bed.ends(id(1)).await;
    assert_eq!(exit.status, ExitStatus::Code(7), "it was kept for whoever comes");
    assert_eq!(state(), None, "and is gone");
    bed.stop(id(1)).await;
}

/// A path that leaves nothing behind is one on which nothing is counted after it.
#[tokio::test]
async fn after_every_way_to_end_neither_orphan_nor_zombie_is_left() {
    let mut bed = Bed::new("counted", 20);
    let mut leaders = Vec::new();
    let keeps = "sleep 1000 & (sleep 1000 &);";
    for (number, script) in [
        (1, format!("{keeps} exit 3")),
        (2, format!("{keeps} kill -9 $$")),
        (3, format!("{keeps} sleep 1000")),
        (4, format!("trap '' TERM; {keeps} sleep 1000")),
        (5, format!("{keeps} sleep 1000")),
        (6, format!("{keeps} sleep 1000")),
    ] {
        bed.start(id(number), &script).await;
        let birth = std::fs::read_to_string(bed.folder(id(number)).join("birth"));
        leaders.push(birth.expect("its number"));
    }
    bed.ends(id(1)).await;
    bed.ends(id(2)).await;
    bed.backend.freeze(bed.fence, id(5)).await.expect("a freeze");
    let missing = runner_core::backend::StartRequest::command(id(7), ["/no/such/program"]);
    bed.backend.start(bed.fence, missing).await.expect_err("it cannot start");
    for number in [1, 2, 3, 5] {
        bed.stop(id(number)).await;
    }
    let short = Duration::from_millis(20);
    bed.backend.stop(bed.fence, id(4), short).await.expect("a stop");
    // The last is adopted before it is stopped.
    bed.reopen();
    bed.stop(id(6)).await;
    assert_eq!(bed.at_home(), Vec::<String>::new(), "who writes to or stands in its folders");
    let stats = leaders.iter().map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")));
    let zombies: Vec<_> = stats.flatten().filter(|stat| stat.contains(") Z ")).collect();
    assert!(zombies.is_empty(), "{zombies:?}");
}
