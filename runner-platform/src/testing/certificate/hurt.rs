//! What is done to the platform, its instances and its disk.

use std::time::Duration;

use rustix::process::Signal;

use super::{
    log::Event,
    processes::{self, Found},
    stage::{Stage, count},
    time::now,
};

/// Kills the platform again and again, and restarts it in order now and then.
pub(super) async fn platforms(stage: &Stage) {
    let mut ahead = 0;
    while !stage.is_ending.get() {
        let mut runs = true;
        let rounds = 10 + stage.roll(30);
        for _ in 0..rounds {
            stage.wait_between(400, 600).await;
            runs = stage.look_after_platform();
            if !runs || stage.is_ending.get() {
                break;
            }
        }
        if stage.is_ending.get() && runs {
            return;
        }
        if runs && stage.roll(5) == 0 {
            stage.end_orderly(true).await;
            count(&stage.counts.restarts);
        } else if runs {
            stage.kill_platform();
            count(&stage.counts.platform_kills);
            // Sometimes it is away for longer.
            if stage.roll(4) == 0 {
                stage.wait_between(100, 1_500).await;
            }
        }
        // Somebody has set the clock meanwhile: forward for good, or back.
        let shift = match stage.roll(3) {
            0 => {
                ahead += i64::try_from(stage.roll(600)).unwrap_or(0);
                ahead
            }
            1 => -i64::try_from(stage.roll(86_400)).unwrap_or(0),
            _ => 0,
        };
        if let Err(error) = stage.begin_platform(shift).await {
            stage.write(&Event::Wrong { words: error.to_string(), at: now() });
            return;
        }
    }
}

/// Kills instances and stops them for a while.
///
/// None of a service that has lost two since it was deployed: the third in a row is a crash loop,
/// of which clients are told at once and rightly.
pub(super) async fn instances(stage: &Stage) {
    let run = stage.files.run();
    while !stage.is_ending.get() {
        stage.wait_between(1_000, 4_000).await;
        let mut found = processes::of_run(&run);
        found.retain(|one| {
            let hurt = stage.hurt.borrow();
            one.service().is_some_and(|name| hurt.get(name).is_none_or(|times| *times < MOST_HURT))
        });
        if found.is_empty() {
            continue;
        }
        let one = found.swap_remove(usize::try_from(stage.roll(found.len() as u64)).unwrap_or(0));
        let service = one.service().unwrap_or_default().to_owned();
        *stage.hurt.borrow_mut().entry(service.clone()).or_default() += 1;
        let (process, at) = (one.process, now());
        if stage.roll(10) < 6 {
            if processes::signal(&one, &run, Signal::KILL) {
                count(&stage.counts.killed);
                stage.write(&Event::InstanceKilled { service, process, at });
            }
        } else if processes::signal(&one, &run, Signal::STOP) {
            count(&stage.counts.stopped);
            stage.write(&Event::InstanceStopped { service, process, at });
            stage.wait_between(100, 4_000).await;
            wake(stage, &one, &run);
        }
    }
}

fn wake(stage: &Stage, one: &Found, run: &str) {
    processes::signal(one, run, Signal::CONT);
    stage.write(&Event::InstanceContinued { process: one.process, at: now() });
}

/// Fills the disk, and frees it a little later.
pub(super) async fn disk(stage: &Stage) {
    while !stage.is_ending.get() {
        stage.wait_between(8_000, 20_000).await;
        if stage.is_ending.get() {
            break;
        }
        stage.write(&Event::DiskFull { at: now() });
        count(&stage.counts.filled);
        if stage.disk.fill().is_ok() {
            stage.wait_between(LEAST_FULL, MOST_FULL).await;
        }
        stage.disk.free();
        stage.write(&Event::DiskFreed { at: now() });
    }
}

/// How often a service is hurt before it is deployed again.
const MOST_HURT: u32 = 2;
const LEAST_FULL: u64 = Duration::from_secs(1).as_millis() as u64;
const MOST_FULL: u64 = Duration::from_secs(4).as_millis() as u64;
