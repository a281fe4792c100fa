//! The explorer, shown on a lock service that clients, network and crashes all try to break.
//!
//! `cargo test --release -p runner-core --test explorer -- --nocapture` prints how many states
//! were searched in what time, and the counterexamples.

#[path = "explorer/lock.rs"]
mod lock;

use std::time::{Duration, Instant};

use lock::{Action, Guard, Message, Scope};
use runner_core::testing::explorer::{Bound, Cause, Explorer, Failure, Rest, Walker};

const SMALL: Scope = Scope { clients: 2, wants: 2, repeats: 1, crashes: 1, without: None };

/// Millions of states in release; without it what a plain `cargo test` has time for.
const LARGE: Scope = match cfg!(debug_assertions) {
    true => SMALL,
    false => Scope { repeats: 2, crashes: 2, ..SMALL },
};

const EVERYTHING: [&str; 10] = [
    "Want",
    "AskAgain",
    "Finish",
    "Hear",
    "HearTwice",
    "Receive",
    "Remind",
    "Crash",
    "Store",
    "Give",
];

#[test]
fn the_lock_service_is_right_in_every_state_and_always_comes_to_rest() {
    let explorer = Explorer::new(&LARGE)
        .named("lock service")
        .max_states(30_000_000)
        .forbid_deadlock()
        .must_occur(EVERYTHING)
        .liveness(Rest::Reachable);
    let (alone, time) = timed(|| explorer.explore());
    let alone = alone.expect("every property holds");
    println!("1 thread:  {}", alone.in_time(time));

    let explorer = explorer.threads(2);
    let (together, time) = timed(|| explorer.explore());
    let together = together.expect("every property holds");
    println!("2 threads: {}", together.in_time(time));
    assert_eq!(together, alone);
}

#[test]
fn without_the_check_of_a_release_a_repeated_one_gives_the_lock_away() {
    let failure = broken_without(Guard::ReleaseOfThisGrant);
    println!("{failure}\n");
    assert_eq!(failure.cause(), &Cause::State("the lock has one holder at a time".into()));
    let path = failure.path().expect("there is a state to blame");
    assert_eq!(path.steps.len(), 12);
    let actions: Vec<_> = path.actions().copied().collect();
    assert!(actions.contains(&Action::HearTwice(Message::Release(0, 1))), "{failure}");

    let text = failure.to_string();
    for line in [
        "broken in a state: the lock has one holder at a time",
        "the way there, 12 steps:",
        "   1. Want(0)",
        "        world.clients.0.asking: false -> true",
        "        world.to_server: + Ask(0)",
        "        effect Give(0, 1)",
        "        machine.holder: None -> Some((0, 1))",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn an_effect_that_comes_too_early_is_caught_before_it_reaches_the_world() {
    let failure = broken_without(Guard::StoreBeforeGiving);
    println!("{failure}\n");
    assert_eq!(
        failure.cause(),
        &Cause::Effect("a grant is on disk before anybody hears of it".into())
    );
    let path = failure.path().expect("there is an effect to blame");
    assert_eq!(path.steps.len(), 2);
    assert_eq!(path.steps[1].effects, ["Give(0, 1)"]);
}

#[test]
fn a_holder_that_never_heard_of_its_grant_is_found_by_liveness_alone() {
    let scope = Scope { without: Some(Guard::RemindTheHolder), ..SMALL };
    Explorer::new(&scope).explore().expect("nothing is wrong in any state");
    let failure = broken_without(Guard::RemindTheHolder);
    println!("{failure}\n");
    assert_eq!(failure.cause(), &Cause::NoRest);
    let path = failure.path().expect("there is a state to blame");
    let expected = [Action::Want(0), Action::Hear(Message::Ask(0)), Action::Crash];
    assert!(path.actions().eq(&expected), "{failure}");
    // It may ask for as long as it likes.
    assert_eq!(path.open, ["AskAgain(0) (Good)", "Want(1) (Chance)"]);
}

#[test]
fn rest_is_near_when_every_answer_is_good() {
    let farthest = |scope: &Scope| {
        let report =
            Explorer::new(scope).liveness(Rest::Within(64)).explore().expect("rest is near");
        report.farthest_from_rest.expect("it was judged")
    };
    let needed = farthest(&SMALL);
    let tight = Explorer::new(&SMALL).liveness(Rest::Within(needed - 1));
    let failure = tight.explore().expect_err("one step too few");
    let cause = Cause::RestTooFar { steps: needed, within: needed - 1 };
    assert_eq!(failure.cause(), &cause);
}

#[test]
fn a_search_that_is_cut_off_proves_nothing_unless_that_is_what_was_asked() {
    let explorer = Explorer::new(&SMALL).max_states(1000);
    let failure = explorer.explore().expect_err("there are more states");
    assert_eq!(failure.cause(), &Cause::CutOff(Bound::States(1000)));
    assert_eq!(failure.report().map(|report| report.distinct), Some(1000));
    assert!(failure.to_string().starts_with("cut off at 1,000 states"), "{failure}");

    let report = explorer.what_fits().explore().expect("that is what was asked");
    assert_eq!(report.cut_off, Some(Bound::States(1000)));
}

#[test]
fn a_crash_that_can_never_happen_is_told() {
    let scope = Scope { crashes: 0, ..SMALL };
    let failure =
        Explorer::new(&scope).must_occur(EVERYTHING).explore().expect_err("nothing crashes");
    assert_eq!(failure.cause(), &Cause::NeverOccurred(vec!["Crash".to_owned()]));
}

#[test]
fn walks_find_what_the_search_finds_and_say_how_to_walk_there_again() {
    let scope = Scope { without: Some(Guard::ReleaseOfThisGrant), ..SMALL };
    let failure = Walker::new(&scope).steps(1_000_000).walk().expect_err("a guard is missing");
    println!("{failure}");
    let seed = failure.seed().expect("walks have seeds");
    let again =
        Walker::new(&scope).seed(seed).length(1000).steps(1000).walk().expect_err("the same walk");
    assert_eq!(again.cause(), failure.cause());
    assert!(
        again
            .path()
            .zip(failure.path())
            .is_some_and(|(one, other)| one.actions().eq(other.actions()))
    );
    let steps = failure.path().map_or(0, |path| path.steps.len());
    assert!((12..=18).contains(&steps), "shrunk to {steps} steps");
}

#[test]
fn walks_through_a_scope_too_large_to_search_find_nothing_wrong() {
    let scope = Scope { clients: 4, wants: 3, repeats: 4, crashes: 3, without: None };
    let steps = match cfg!(debug_assertions) {
        true => 100_000,
        false => 10_000_000,
    };
    let walker = Walker::new(&scope).named("4 clients").seed(7).length(200);
    let (walked, time) = timed(|| walker.steps(steps).walk());
    let walked = walked.expect("every property holds");
    println!("{walked}, {:.1} s", time.as_secs_f64());
    assert_eq!(walked.steps, steps);
    for kind in EVERYTHING {
        assert!(
            walked.actions.contains_key(kind) || walked.effects.contains_key(kind),
            "{kind} never occurred"
        );
    }
}

fn broken_without(guard: Guard) -> Failure<Scope> {
    let scope = Scope { without: Some(guard), ..SMALL };
    Explorer::new(&scope)
        .named(format!("without {guard:?}"))
        .liveness(Rest::Reachable)
        .explore()
        .expect_err("a guard is missing")
}

#[expect(
    clippy::disallowed_methods,
    reason = "what it prints is a speed, and nothing depends on it"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
