//! Control groups of the machine, where this user may make one.
//!
//! They ran on both versions: on 1, with 2 beside it without controllers, and on 2 alone, where a
//! group may be made at the root and its controllers be passed on.

use std::{fs, path::PathBuf};

use runner_core::{
    backend::{Condition, ContainerBackend, ExitStatus, Limits},
    error::ErrorKind,
};

use super::bed::{Bed, id, shell};

/// A group of this test's own below each controller, removed after it.
struct Groups(Vec<PathBuf>);

impl Groups {
    fn new(name: &str) -> Option<Self> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let folders = match root.join("cgroup.controllers").exists() {
            true => {
                // Where it is not done already.
                let _ = fs::write(root.join("cgroup.subtree_control"), "+cpu +memory +pids");
                vec![root]
            }
            false => {
                ["cpu", "cpuacct", "memory", "freezer", "pids"].map(|it| root.join(it)).to_vec()
            }
        };
        let groups = Self(folders.into_iter().map(|folder| folder.join(name)).collect());
        let made = groups.0.iter().all(|folder| fs::create_dir(folder).is_ok());
        made.then_some(groups)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for folder in &self.0 {
            for child in fs::read_dir(folder).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(child.path());
            }
            let _ = fs::remove_dir(folder);
        }
    }
}

#[tokio::test]
async fn limits_hold_running_out_of_memory_is_told_and_the_groups_are_removed() {
    let name = format!("runner-test-{}", std::process::id());
    let Some(groups) = Groups::new(&name) else {
        println!("skipped: this user may not make control groups here");
        return;
    };
    let bed = Bed::with("confined", 10, move |builder| builder.cgroup(&name).require_limits());
    let mut limits = Limits::default();
    (limits.cpu_millis, limits.memory_bytes) = (Some(500), Some(32 << 20));
    let mut greedy = shell(id(1), "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived");
    greedy.limits = limits;
    let started = bed.backend.start(bed.fence, greedy).await.expect("a start");
    assert_eq!(started.warnings, [""; 0]);
    let exit = bed.ends(id(1)).await;
    assert_eq!(exit.status, ExitStatus::OutOfMemory, "{exit:?}");

    let mut busy = shell(id(2), "echo up; while :; do :; done");
    busy.limits = limits;
    bed.backend.start(bed.fence, busy).await.expect("a start");
    bed.wait_for(id(2), "up").await;
    bed.backend.freeze(bed.fence, id(2)).await.expect("a freeze");
    assert_eq!(bed.condition(id(2)).await, Some(Condition::Frozen));
    let before = bed.backend.usage(bed.fence, id(2)).await.expect("usage");
    assert!(before.memory_bytes > 0 && !before.cpu.is_zero(), "{before:?}");
    bed.backend.thaw(bed.fence, id(2)).await.expect("a thaw");
    bed.backend.freeze(bed.fence, id(2)).await.expect("a freeze");
    bed.stop(id(2)).await;

    // What leaves its session is held all the same.
    bed.start(id(3), "setsid sleep 1000 & echo up; wait").await;
    bed.wait_for(id(3), "up").await;
    bed.stop(id(3)).await;
    for folder in &groups.0 {
        let left = fs::read_dir(folder).expect("there").flatten();
        let left: Vec<_> = left.filter(|entry| entry.path().is_dir()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn what_forks_without_end_is_bounded_and_memory_that_is_held_is_promised_once() {
    let name = format!("runner-bound-{}", std::process::id());
    let Some(_groups) = Groups::new(&name) else {
        println!("skipped: this user may not make control groups here");
        return;
    };
    let bed = Bed::with("bounded", 10, move |builder| {
        builder.cgroup(&name).require_limits().max_processes(20)
    });
    let forks = "i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i + 1)); done; echo survived";
    bed.start(id(1), forks).await;
    let exit = bed.ends(id(1)).await;
    assert!(exit.last_lines.iter().all(|line| line != "survived"), "{exit:?}");

    let left = || async { bed.backend.capacity(bed.fence).await.expect("told").instances_left };
    let room = left().await.expect("it is known");
    assert!(room > 0, "a machine with nothing on it has room");
    let mut large = shell(id(2), "sleep 1000");
    large.limits.memory_bytes = Some(1 << 50);
    bed.backend.start(bed.fence, large).await.expect("the first fits, whatever it says");
    assert_eq!(left().await, Some(0));
    let mut small = shell(id(3), "sleep 1000");
    small.limits.memory_bytes = Some(64 << 20);
    let refusal = bed.backend.start(bed.fence, small.clone()).await.expect_err("all is promised");
    assert_eq!(refusal.kind(), ErrorKind::Exhausted);
    assert!(refusal.to_string().starts_with("it may use 64 MiB of memory, and"), "{refusal}");
    assert!(!bed.folder(id(3)).exists());
    bed.start(id(4), "sleep 1000").await;
    bed.stop(id(2)).await;
    bed.backend.start(bed.fence, small).await.expect("there is room again");
    for number in [3, 4] {
        bed.stop(id(number)).await;
    }
}

/// Beside version 1, which has the controllers, version 2 still holds together and freezes.
#[tokio::test]
async fn a_group_of_version_2_without_controllers_holds_and_freezes_and_says_what_it_cannot() {
    let name = format!("runner-bare-{}", std::process::id());
    let folder = PathBuf::from("/sys/fs/cgroup/unified").join(&name);
    if fs::create_dir(&folder).is_err() {
        println!("skipped: there is no version 2 beside version 1 in which a group may be made");
        return;
    }
    let _groups = Groups(vec![folder.clone()]);
    let bed = Bed::with("bare", 10, move |builder| builder.cgroup(&name));
    let mut request = shell(id(1), "setsid sleep 1000 & echo up; while :; do :; done");
    request.limits.memory_bytes = Some(64 << 20);
    let started = bed.backend.start(bed.fence, request).await.expect("a start");
    assert_eq!(
        started.warnings,
        ["not held: memory limit: its controller is not mounted or may not be written; \
          nor is its memory counted against the machine's"]
    );
    bed.wait_for(id(1), "up").await;
    bed.backend.freeze(bed.fence, id(1)).await.expect("a freeze");
    let before = bed.backend.usage(bed.fence, id(1)).await.expect("usage");
    let events = fs::read_dir(&folder).expect("there").flatten();
    let events = events.map(|entry| entry.path().join("cgroup.events"));
    let events: Vec<_> = events.filter_map(|path| fs::read_to_string(path).ok()).collect();
    assert_eq!(events, ["populated 1\nfrozen 1\n"], "by the kernel's own word");
    let after = bed.backend.usage(bed.fence, id(1)).await.expect("usage");
    assert!(before.cpu == after.cpu && !after.cpu.is_zero(), "{before:?} {after:?}");
    let words = vec!["true".to_owned()];
    let refusal = bed.backend.run_command(bed.fence, id(1), words, std::time::Duration::MAX).await;
    refusal.expect_err("what joined it would be frozen on its way");
    bed.stop(id(1)).await;
    let left = fs::read_dir(&folder).expect("there").flatten();
    assert_eq!(left.filter(|entry| entry.path().is_dir()).count(), 0);
}
