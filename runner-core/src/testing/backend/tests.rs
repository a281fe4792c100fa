use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use futures_core::Stream;
use proptest::prelude::*;

use super::*;
use crate::{
    BoxStream, Error,
    backend::{
        Capabilities, Condition, ContainerBackend, Exit, ExitStatus, Fence, Hint, OutputStream,
        StartRequest,
    },
    error::ErrorKind,
    id::{Epoch, InstanceId, PlatformId, ServiceId},
    testing::{clock::TestClock, random::SplitMix64},
    time::Timestamp,
};

const PLATFORM: PlatformId = PlatformId::from_random(1);
const FENCE: Fence = Fence { platform: PLATFORM, epoch: Epoch::FIRST };
const SECOND: Duration = Duration::from_secs(1);

fn instance(number: u64) -> InstanceId {
    ServiceId::from_random(9).instance(number)
}

fn serve(number: u64) -> StartRequest {
    StartRequest::command(instance(number), ["./serve"])
}

fn engine(faults: Faults) -> (TestClock, SharedEngine) {
    let clock = TestClock::new();
    let engine = SharedEngine::new(&clock, Engine::new().with_faults(faults));
    (clock, engine)
}

async fn next<T>(stream: &mut BoxStream<'_, T>) -> Option<T> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// Polls once and drops: the call was sent and nobody waits for it.
async fn send<T>(mut future: crate::BoxFuture<'_, T>) {
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

#[test]
fn a_scripted_refusal_does_nothing_and_the_next_start_succeeds() {
    let refusal = Fault::Refuse(Error::exhausted("no ports left"));
    let (clock, engine) = engine(Faults::none().call(On::nth(Operation::Start, 1), refusal));
    clock.run(async {
        let backend = engine.open();
        let error = backend.start(FENCE, serve(1)).await.expect_err("as scripted");
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert_eq!(engine.living().len(), 0);
        backend.start(FENCE, serve(1)).await.expect("the script is over");
    });
}

#[test]
fn a_lost_answer_has_had_its_effect() {
    let lost = Fault::LoseAnswer(Error::unavailable("connection reset"));
    let (clock, engine) = engine(Faults::none().call(On::every(Operation::Start), lost));
    clock.run(async {
        engine.open().start(FENCE, serve(1)).await.expect_err("its answer was lost");
    });
    assert_eq!(engine.living().len(), 1);
}

#[test]
fn a_late_start_takes_effect_after_its_future_was_dropped_and_a_stop_before_it_wins() {
    let late = Faults::none().call(On::every(Operation::Start), Fault::Late(SECOND));
    let (clock, engine) = engine(late);
    clock.run(async {
        let backend = engine.open();
        send(backend.start(FENCE, serve(1))).await;
        send(backend.start(FENCE, serve(2))).await;
        assert_eq!(backend.stop(FENCE, instance(2), SECOND).await.expect("stops"), Exit::unknown());
        clock.sleep(SECOND * 2).await;
        let living: Vec<_> = engine.living().iter().map(|view| view.instance).collect();
        assert_eq!(living, [instance(1)], "an id that was stopped stays stopped");
    });
}

#[test]
fn answers_overtake_each_other_on_script() {
    let first_is_late = Fault::AnswerLate(SECOND);
    let (clock, engine) = engine(Faults::none().call(On::nth(Operation::List, 1), first_is_late));
    clock.run(async {
        let (backend, start) = (engine.open(), clock.now());
        let slow = clock.spawn({
            let (backend, clock) = (backend.clone(), clock.clone());
            async move {
                let listing = backend.list(FENCE).await.expect("late");
                (listing, clock.now())
            }
        });
        clock.sleep(Duration::from_millis(1)).await;
        backend.start(FENCE, serve(1)).await.expect("starts");
        assert!(clock.now().since(start) < SECOND);
        let (listing, answered) = slow.await;
        assert!(answered.since(start) >= SECOND);
        assert!(listing.instances.is_empty(), "it tells what was true when it was asked");
    });
}

#[test]
fn a_stale_list_answers_what_was_true_then() {
    let stale = Fault::Stale(SECOND * 10);
    let (clock, engine) = engine(Faults::none().call(On::nth(Operation::List, 2), stale));
    clock.run(async {
        let backend = engine.open();
        backend.start(FENCE, serve(1)).await.expect("starts");
        clock.sleep(SECOND * 11).await;
        backend.start(FENCE, serve(2)).await.expect("starts");
        backend.stop(FENCE, instance(1), SECOND).await.expect("stops");
        let conditions = |listing: crate::backend::Listing| {
            listing
                .instances
                .into_iter()
                .map(|i| (i.instance.number, i.condition))
                .collect::<Vec<_>>()
        };
        let ended = Condition::Ended(ExitStatus::Code(0).into());
        let now = conditions(backend.list(FENCE).await.expect("true"));
        assert_eq!(now, [(1, ended), (2, Condition::Running)]);
        let then = conditions(backend.list(FENCE).await.expect("stale"));
        assert_eq!(then, [(1, Condition::Running)]);
    });
}

#[test]
fn a_call_that_is_delivered_twice_is_answered_once_and_started_once() {
    let twice = Fault::Twice(SECOND);
    let faults = Faults::none()
        .call(On::every(Operation::Start), twice.clone())
        .call(On::every(Operation::Stop), twice);
    let (clock, engine) = engine(faults);
    clock.run(async {
        let backend = engine.open();
        backend.start(FENCE, serve(1)).await.expect("starts");
        // Before the start's second delivery: it must not bring the instance back.
        backend.stop(FENCE, instance(1), SECOND).await.expect("stops");
        clock.sleep(SECOND * 3).await;
    });
    assert_eq!(engine.living(), []);
    let began = engine.with(|engine, _| {
        engine.trace().filter(|line| matches!(line.what, What::Began(_))).count()
    });
    assert_eq!(began, 1);
    let answered = engine.with(|engine, _| {
        engine.trace().filter(|line| matches!(line.what, What::Answered(..))).count()
    });
    assert_eq!(answered, 2, "one start, one stop");
}

#[test]
fn what_is_there_is_in_a_list_of_the_same_instant() {
    let at_once = Latency { start: Duration::ZERO, other: Duration::ZERO };
    let mut engine = Engine::new().with_latency(at_once);
    engine.deliver(FENCE, Call::Start(serve(1)), Timestamp::EPOCH);
    let list = engine.deliver(FENCE, Call::List, Timestamp::EPOCH);
    let Some(Ok(Answer::Listed(listing))) = engine.take_answer(list) else {
        panic!("an engine without latency answers at once");
    };
    assert_eq!(listing.instances.len(), 1);
}

#[test]
fn what_is_frozen_runs_again_to_hear_that_it_should_stop() {
    let slow = Life::serving().on_stop(OnStop::EndsAfter(SECOND));
    let (clock, engine) = engine(Faults::none().life(On::every(Operation::Start), slow));
    clock.run(async {
        let backend = engine.open();
        backend.start(FENCE, serve(1)).await.expect("starts");
        backend.freeze(FENCE, instance(1)).await.expect("freezes");
        send(backend.stop(FENCE, instance(1), SECOND * 5)).await;
        clock.sleep(SECOND / 2).await;
        let view = engine.view(PLATFORM, instance(1)).expect("still there");
        assert_eq!(view.condition, Condition::Running);
    });
}

#[test]
fn a_call_that_vanishes_is_never_answered() {
    let (clock, engine) = engine(Faults::none().call(On::every(Operation::List), Fault::Vanish));
    let answered = clock.spawn({
        let backend = engine.open();
        async move { backend.list(FENCE).await.is_ok() }
    });
    clock.run(clock.sleep(SECOND * 86_400));
    drop(answered);
    assert_eq!(engine.with(|engine, _| engine.trace().count()), 1, "asked, and not answered");
}

#[test]
fn a_stop_hangs_as_long_as_its_life_says() {
    let lives = Faults::none()
        .life(On::nth(Operation::Start, 1), Life::serving().on_stop(OnStop::Ignores))
        .life(On::nth(Operation::Start, 2), Life::serving().on_stop(OnStop::HangsFor(SECOND * 7)))
        .life(On::nth(Operation::Start, 3), Life::serving().on_stop(OnStop::HangsUntilReleased));
    let (clock, engine) = engine(lives);
    clock.run(async {
        let backend = engine.open();
        for number in 1..=3 {
            backend.start(FENCE, serve(number)).await.expect("starts");
        }
        let started = clock.now();
        let exit = backend.stop(FENCE, instance(1), SECOND).await.expect("killed");
        assert_eq!(exit.status, ExitStatus::Signal(9));
        assert_eq!(clock.now().since(started).as_secs(), 1);
        backend.stop(FENCE, instance(2), SECOND).await.expect("killed, and hung");
        assert_eq!(clock.now().since(started).as_secs(), 1 + 1 + 7);

        let hangs = clock.spawn({
            let backend = backend.clone();
            async move { backend.stop(FENCE, instance(3), SECOND).await }
        });
        clock.sleep(SECOND * 3600).await;
        assert_eq!(engine.living().len(), 1, "it hangs still");
        engine.release(PLATFORM, instance(3));
        hangs.await.expect("released");
    });
    assert_eq!(engine.living(), []);
}

#[test]
fn a_short_grace_kills_what_would_have_ended_later() {
    let slow = Life::serving().on_stop(OnStop::EndsAfter(SECOND * 5));
    let (clock, engine) = engine(Faults::none().life(On::every(Operation::Start), slow));
    clock.run(async {
        let backend = engine.open();
        for (number, grace, status) in [
            (1, 4, ExitStatus::Signal(9)),
            (2, 5, ExitStatus::Code(0)),
            (3, 60, ExitStatus::Code(0)),
        ] {
            backend.start(FENCE, serve(number)).await.expect("starts");
            let exit = backend.stop(FENCE, instance(number), SECOND * grace).await.expect("stops");
            assert_eq!(exit.status, status, "{grace}");
        }
    });
}

#[test]
fn what_probes_would_see_is_data() {
    let lives = Faults::none()
        .life(On::nth(Operation::Start, 1), Life::serving().listens_after(SECOND * 2))
        .life(On::nth(Operation::Start, 2), Life::serving().never_listens())
        .life(On::nth(Operation::Start, 3), Life::serving().listens_on(3000))
        .life(On::nth(Operation::Start, 4), Life::serving().answers(Answers::WellAfter(SECOND)))
        .life(
            On::nth(Operation::Start, 5),
            Life::serving().ends_after_requests(2, ExitStatus::Code(3)),
        );
    let (clock, engine) = engine(lives);
    clock.run(async {
        let backend = engine.open();
        let mut addresses = Vec::new();
        for number in 1..=5 {
            let started = backend.start(FENCE, serve(number)).await.expect("starts");
            addresses.push(started.address.expect("it takes requests"));
        }
        let ask = || addresses.iter().map(|address| engine.ask(address)).collect::<Vec<_>>();
        use Reply::{Badly, Refused, Well};
        assert_eq!(ask(), [Refused, Refused, Refused, Badly, Well]);
        let ports = backend.listening_ports(FENCE, instance(3)).await.expect("ports");
        assert_eq!(ports, [3000], "elsewhere");
        clock.sleep(SECOND * 2).await;
        assert_eq!(ask(), [Well, Refused, Refused, Well, Well]);
        assert_eq!(ask()[4], Refused, "it died of its second request");
        let view = engine.view(PLATFORM, instance(5)).expect("remembered");
        assert_eq!(view.condition, Condition::Ended(ExitStatus::Code(3).into()));
        backend.freeze(FENCE, instance(4)).await.expect("freezes");
        assert_eq!(ask()[3], Reply::Silence);
    });
}

#[test]
fn frozen_time_costs_no_cpu() {
    let busy = Life::serving().uses(500, 1 << 20);
    let (clock, engine) = engine(Faults::none().life(On::every(Operation::Start), busy));
    clock.run(async {
        let backend = engine.open();
        backend.start(FENCE, serve(1)).await.expect("starts");
        clock.sleep(SECOND * 10).await;
        backend.freeze(FENCE, instance(1)).await.expect("freezes");
        clock.sleep(SECOND * 100).await;
        let usage = backend.usage(FENCE, instance(1)).await.expect("measured");
        assert_eq!((usage.cpu.as_secs(), usage.memory_bytes), (5, 1 << 20));
    });
}

#[test]
fn hints_are_lost_repeated_late_and_broken_on_script() {
    let faults = Faults::none()
        .hint(1, HintFault::Lose)
        .hint(2, HintFault::Late(SECOND))
        .hint(3, HintFault::Repeat)
        .hint(4, HintFault::Break);
    let (clock, engine) = engine(faults);
    let hints = clock.run(async {
        let backend = engine.open();
        let mut watch = backend.watch(FENCE);
        backend.start(FENCE, serve(1)).await.expect("starts");
        engine.with(|engine, now| {
            engine.kill(PLATFORM, instance(1), ExitStatus::OutOfMemory, now);
        });
        backend.start(FENCE, serve(2)).await.expect("starts");
        engine.release(PLATFORM, instance(2));
        let mut hints = Vec::new();
        while let Some(hint) = next(&mut watch).await {
            hints.push(hint);
        }
        hints
    });
    // The death was sent before the stream broke, and comes too late to be read.
    assert_eq!(hints, [Hint::Changed, Hint::Changed]);
}

#[test]
fn a_slow_watcher_is_told_to_list_instead_of_everything() {
    let (clock, engine) = engine(Faults::none());
    clock.run(async {
        let backend = engine.open();
        let mut watch = backend.watch(FENCE);
        for number in 1..=1025 {
            backend.start(FENCE, serve(number)).await.expect("starts");
        }
        assert_eq!(next(&mut watch).await, Some(Hint::Changed));
        engine.release(PLATFORM, instance(1));
        assert!(matches!(next(&mut watch).await, Some(Hint::Ended(..))), "all else was dropped");
    });
}

#[test]
fn logs_are_read_as_they_are_written_and_end_with_the_instance() {
    let talks = Life::serving()
        .writes(SECOND * 2, OutputStream::Stderr, "second")
        .writes(SECOND, OutputStream::Stdout, "first")
        .ends_after(SECOND * 3, ExitStatus::Code(1));
    let (clock, engine) = engine(Faults::none().life(On::every(Operation::Start), talks));
    clock.run(async {
        let backend = engine.open();
        backend.start(FENCE, serve(1)).await.expect("starts");
        let mut logs = backend.logs(FENCE, instance(1), Timestamp::EPOCH).await.expect("a stream");
        let mut texts = Vec::new();
        while let Some(line) = next(&mut logs).await {
            texts.push(line.text);
        }
        assert_eq!(texts, ["first", "second"]);
        let exit = backend.stop(FENCE, instance(1), SECOND).await.expect("it has ended");
        assert_eq!(exit.last_lines, texts);
    });
}

#[test]
fn room_is_what_has_not_ended() {
    let clock = TestClock::new();
    let engine = SharedEngine::new(&clock, Engine::new().with_room(1));
    clock.run(async {
        let backend = engine.open();
        let left = || async { backend.capacity(FENCE).await.expect("told").instances_left };
        backend.start(FENCE, serve(1)).await.expect("fits");
        assert_eq!(left().await, Some(0));
        let full = backend.start(FENCE, serve(2)).await.expect_err("full");
        assert_eq!(full.kind(), ErrorKind::Exhausted);
        backend.stop(FENCE, instance(1), SECOND).await.expect("stops");
        assert_eq!(left().await, Some(1));
        backend.start(FENCE, serve(2)).await.expect("fits now");
    });
}

#[test]
fn what_is_not_declared_is_refused() {
    let clock = TestClock::new();
    let bare = Engine::new().with_capabilities(Capabilities::default());
    let engine = SharedEngine::new(&clock, bare);
    clock.run(async {
        let backend = engine.open();
        let refusal = backend.capacity(FENCE).await.expect_err("not declared");
        assert_eq!(refusal.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn a_call_that_is_over_is_forgotten_however_it_ended() {
    let (clock, engine) =
        engine(Faults::none().call(On::nth(Operation::Stop, 1), Fault::Twice(SECOND)));
    clock.run(async {
        let backend = engine.open();
        backend.start(FENCE, serve(1)).await.expect("starts");
        send(backend.list(FENCE)).await;
        backend.stop(FENCE, instance(1), SECOND).await.expect("stops");
        clock.sleep(SECOND * 2).await;
        backend.list(FENCE).await.expect("a listing");
    });
    let open = engine.with(|engine, _| engine.calls_in_flight());
    assert_eq!(open, 0);
}

/// A few hundred calls drawn from a seed, driven without futures.
fn trace_of(seed: u64) -> Vec<Happening> {
    let mut dice = SplitMix64::new(seed);
    let mut engine =
        Engine::new().with_room(5).with_faults(Faults::from_seed(seed, FaultMix::default()));
    let mut now = Timestamp::EPOCH;
    let mut tickets = Vec::new();
    for _ in 0..200 {
        now += Duration::from_millis(dice.below(500));
        let instance = instance(dice.below(20));
        let call = match dice.below(4) {
            0 => Call::Start(serve(instance.number)),
            1 => Call::Stop { instance, grace: SECOND },
            2 => Call::Freeze(instance),
            _ => Call::List,
        };
        tickets.push(engine.deliver(FENCE, call, now));
        tickets.retain(|ticket| engine.take_answer(*ticket).is_none());
    }
    engine.trace().cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_seed_gives_the_same_trace(seed: u64) {
        let trace = trace_of(seed);
        prop_assert!(trace.len() > 200);
        prop_assert_eq!(&trace, &trace_of(seed));
        prop_assert_ne!(&trace, &trace_of(seed.wrapping_add(1)));
    }

    #[test]
    fn whatever_goes_wrong_no_instance_begins_twice_or_after_its_stop(seed: u64) {
        let mut began = std::collections::BTreeSet::new();
        let mut stopped = std::collections::BTreeSet::new();
        for line in trace_of(seed) {
            match line.what {
                What::Began(id) => {
                    prop_assert!(began.insert(id), "{id} began twice");
                    prop_assert!(!stopped.contains(&id), "{id} came back");
                }
                What::AskedToStop(id) => { stopped.insert(id); }
                _ => {}
            }
        }
    }
}
