//! The kit for journals, over the in-memory one and over saboteurs of it.

mod saboteur;

use std::sync::Arc;

use runner_core::{
    Error,
    id::PlatformId,
    journal::Journal,
    testing::{
        clock::TestClock,
        journal::{Crash, MemoryStorage},
        kit::{JournalKit, Outcome, Report},
        random::SplitMix64,
    },
};

use self::saboteur::{Flaw, Sabotage};

/// The kit with all that it can be given, over the in-memory journal with one flaw, or none.
fn examine(flaw: Option<Flaw>, seed: u64) -> Report {
    let clock = TestClock::new();
    let storage = MemoryStorage::new(&clock, PlatformId::from_random(1));
    let sabotage = Arc::new(Sabotage::new(storage.clone(), flaw));
    let (crashing, failing) = (Arc::clone(&sabotage), storage);
    let kit = JournalKit::new("memory", clock.clone(), move || sabotage.open())
        .holder("the kit")
        .crash(move || crashing.crash(seed))
        .fail(move |fails| {
            let error = Error::exhausted("no space is left on the disk; make some");
            failing.set_broken(fails.then_some(error));
        })
        // The log is read anew at each of a hundred openings; the usual size is run once below.
        .large_record(150_000);
    clock.run(kit.run())
}

#[test]
fn the_in_memory_journal_passes_however_it_crashes() {
    for seed in 0..10 {
        let report = examine(None, seed);
        report.assert();
        assert!(report.skipped().is_empty(), "{report}");
    }
}

#[test]
fn what_was_not_given_is_skipped_and_said() {
    let clock = TestClock::new();
    let storage = MemoryStorage::new(&clock, PlatformId::from_random(1));
    let kit = JournalKit::new("memory", clock.clone(), move || {
        storage.open("the kit").map(|journal| Arc::new(journal) as Arc<dyn Journal>)
    });
    let report = clock.run(kit.run());
    report.assert();
    let crash = report.outcome("what was answered survives a crash").expect("a check");
    assert_eq!(*crash, Outcome::Skipped("no crash was given".to_owned()));
    assert_eq!(report.skipped().len(), 6, "{report}");
}

#[test]
fn each_check_fails_on_a_journal_that_breaks_its_clause_and_no_other() {
    let mut wrong = Vec::new();
    for flaw in Flaw::ALL {
        let report = examine(Some(*flaw), 3);
        if report.failed() != flaw.breaks() {
            wrong.push(format!("{flaw:?} should fail {:?}: {report}", flaw.breaks()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_is_a_saboteur_for_every_check() {
    let broken: Vec<_> = Flaw::ALL.iter().flat_map(|flaw| flaw.breaks()).collect();
    let never: Vec<_> =
        JournalKit::checks().into_iter().filter(|name| !broken.contains(name)).collect();
    assert!(never.is_empty(), "nothing shows that these can fail: {never:#?}");
}

/// The crash that a seed stands for: each kind is met.
fn crash(dice: &mut SplitMix64) -> Crash {
    match dice.below(4) {
        0 => Crash::LosesUnsynced,
        1 => Crash::KeepsUnsynced,
        _ => Crash::Torn { seed: dice.next_u64() },
    }
}
