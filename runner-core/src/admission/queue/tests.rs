//! Whom the queue serves, where the order is plain enough to write down. That it is right in
//! general is checked against a naive model in `tests/admission_model.rs`.

use proptest::prelude::*;

use super::*;

type Names = Queue<&'static str, ()>;

fn settings() -> QueueSettings {
    QueueSettings::new(100, Duration::from_secs(1))
}

fn someone(payload: &'static str, key: u64, pin: Pin) -> Newcomer<&'static str> {
    let (since, budget) = (Timestamp::EPOCH, Duration::from_secs(1));
    let (priority, key) = (Priority::Normal, FairKey(key));
    Newcomer { payload, priority, key, pin, since, budget, returned: false }
}

/// All who wait, as they are served.
fn drain(queue: &mut Names) -> Vec<&'static str> {
    std::iter::from_fn(|| {
        let (next, ()) = queue.next(|_| Some(()))?;
        Some(queue.serve(next, ()))
    })
    .collect()
}

fn instance(number: u64) -> Pin {
    Pin::Instance(crate::id::ServiceId::from_random(1).instance(number))
}

#[test]
fn keys_take_turns_and_each_is_served_in_its_order() {
    let mut queue = Names::new();
    for (name, key) in [("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("b2", 2)] {
        queue.push(someone(name, key, Pin::Any), &settings());
    }
    assert_eq!(drain(&mut queue), ["a1", "b1", "a2", "b2", "a3"]);
}

#[test]
fn who_is_unpinned_joins_the_others_by_its_arrival() {
    let mut queue = Names::new();
    let first = instance(1);
    for (name, pin) in [("1", Pin::Any), ("2", first), ("3", Pin::Any), ("4", first)] {
        queue.push(someone(name, 1, pin), &settings());
    }
    queue.unpin(first);
    assert!(!queue.waits_in(first));
    assert_eq!(drain(&mut queue), ["1", "2", "3", "4"]);
}

#[test]
fn nothing_is_kept_of_a_lane_that_everybody_left() {
    let mut queue = Names::new();
    for number in 0..10 {
        let ticket = queue.push(someone("x", 1, instance(number)), &settings());
        assert_eq!(queue.leave(ticket), Some("x"));
    }
    assert_eq!(queue.lanes().count(), 0);
    assert!(!format!("{:?}", queue.keys).contains("Instance"), "{queue:?}");
}

#[test]
fn a_ticket_is_spent_once_and_is_not_mistaken_for_the_next_at_its_place() {
    let mut queue = Names::new();
    let spent = queue.push(someone("1", 1, Pin::Any), &settings());
    assert!(queue.dismiss(spent, ()).is_some());
    assert!(queue.leave(spent).is_none(), "it waits no more");
    assert!(queue.collect(spent).is_some());
    assert!(queue.collect(spent).is_none());
    let next = queue.push(someone("2", 1, Pin::Any), &settings());
    assert_eq!(next.index, spent.index, "the place is used again");
    assert!(queue.waiter(spent).is_none());
    assert!(queue.payload_mut(spent).is_none());
    assert_eq!(queue.leave(next), Some("2"));
}

proptest! {
    /// The fraction of turns a key gets while both wait is its weight's, to within one turn.
    #[test]
    fn keys_that_both_wait_are_served_by_weight(one in 1..50_u32, two in 1..50_u32) {
        let mut settings = settings();
        settings.key_weights.extend([(FairKey(1), one), (FairKey(2), two)]);
        let mut queue = Names::new();
        for _ in 0..200 {
            queue.push(someone("one", 1, Pin::Any), &settings);
            queue.push(someone("two", 2, Pin::Any), &settings);
        }
        let served = (0..100).filter(|_| {
            let (next, ()) = queue.next(|_| Some(())).expect("somebody waits");
            queue.serve(next, ()) == "one"
        });
        let share = f64::from(one) / f64::from(one + two) * 100.0;
        let served = served.count() as f64;
        prop_assert!((served - share).abs() <= 1.5, "{served} of 100, owed {share}");
    }
}
