//! What is counted.

use std::time::Duration;

use runner_core::admission::Reason;
use tower::layer::Layer;

use crate::support::{Script, Stage};
use crate::{built, call, queue, taken};

#[tokio::test(start_paused = true)]
async fn counters_add_up_whatever_becomes_of_a_request() {
    let stage = Stage::default();
    let layer = queue(2).max_waiting(3).max_wait(Duration::from_secs(1)).build().expect("valid");
    let mut service = layer.layer(stage.worker());
    let mut arrived = 0;
    let mut arrive = || {
        arrived += 1;
        call(&mut service, "/")
    };
    let mut at_once = arrive();
    let _held = arrive();
    let mut given = arrive();
    let left = arrive();
    let mut late = arrive();
    let mut full = arrive();
    let check = |expected: u64| {
        let counters = layer.counters();
        assert_eq!(counters.arrivals(), expected, "{counters:?}");
        let done = counters.admitted() + counters.refused_in_all() + counters.left();
        assert_eq!(counters.arrivals(), done + u64::from(counters.waiting));
        assert_eq!(counters.admitted() - counters.releases(), counters.in_flight);
    };
    check(6);
    assert_eq!(full.done().status(), 429);
    given.pends();
    drop(left);
    check(6);
    stage.answer(0, Ok(Script::of(&[])));
    drop(at_once.done());
    check(6);
    // It was given a slot and leaves before it has looked.
    drop(given);
    check(6);
    late.pends();
    check(6);
    let counters = layer.counters();
    assert_eq!((counters.admitted(), counters.left(), counters.queued()), (4, 1, 3));
    assert_eq!((counters.refused(Reason::QueueFull), counters.demands()), (1, 1));
    assert_eq!(counters.waits().count(), 1, "of those who took the slot they waited for");
}

#[tokio::test(start_paused = true)]
async fn counts_of_the_fast_path_are_kept_over_cap_changes_and_queues() {
    let stage = Stage::prompt();
    let layer = built(2);
    let mut service = layer.layer(stage.worker());
    for round in 1..=50_u64 {
        drop(call(&mut service, "/").done());
        if round % 7 == 0 {
            layer.set_concurrency(2).expect("valid");
        }
        let counters = layer.counters();
        assert_eq!(
            (counters.admitted(), counters.releases(), counters.in_flight),
            (round, round, 0)
        );
    }
}

#[cfg(feature = "metrics")]
mod published {
    use std::{
        cell::RefCell,
        collections::BTreeMap,
        sync::Arc,
        sync::atomic::{AtomicU64, Ordering},
    };

    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::*;

    /// Keeps what it is told by name and labels.
    #[derive(Default)]
    struct Book(RefCell<BTreeMap<String, Arc<AtomicU64>>>);

    impl Book {
        fn cell(&self, key: &Key) -> Arc<AtomicU64> {
            let labels: Vec<_> =
                key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
            let name = format!("{}{{{}}}", key.name(), labels.join(","));
            Arc::clone(self.0.borrow_mut().entry(name).or_default())
        }

        fn count(&self, name: &str) -> Option<u64> {
            self.0.borrow().get(name).map(|cell| cell.load(Ordering::Relaxed))
        }
    }

    impl Recorder for Book {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.cell(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.cell(key))
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_counters_reach_the_recorder_of_the_program() {
        let stage = Stage::prompt();
        let (layer, mut service, _holder) = taken(queue(1).max_waiting(0), &stage);
        drop(call(&mut service, "/").done());
        let book = Book::default();
        metrics::with_local_recorder(&book, || layer.counters().publish("front"));
        let gauge = |name| book.count(name).map(f64::from_bits);
        assert_eq!(book.count("runner_queue_arrivals_total{queue=front}"), Some(2));
        assert_eq!(book.count("runner_queue_admitted_total{queue=front}"), Some(1));
        let full = "runner_queue_refused_total{queue=front,reason=queue_full}";
        assert_eq!(book.count(full), Some(1));
        assert_eq!(gauge("runner_queue_in_flight{queue=front}"), Some(1.0));
        assert_eq!(gauge("runner_queue_slots{queue=front}"), Some(1.0));
        for reason in Reason::ALL {
            let name =
                format!("runner_queue_refused_total{{queue=front,reason={}}}", reason.code());
            assert!(book.count(&name).is_some(), "{name}");
        }
    }
}
