//! The shell in paused time, with probes that answer as the test says.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64},
    time::SystemTime,
};

use runner_core::{id::ServiceId, spec::Attempts};
use tokio::time::{Instant, advance};

use super::*;
use crate::{Cadence, probe::from_fn, verdict::Cause};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn id(number: u64) -> InstanceId {
    ServiceId::from_random(7).instance(number)
}

fn address() -> Address {
    Address::Memory("test".into())
}

fn cadence(fall: u32) -> Cadence {
    let fall = Attempts::new(fall).expect("within bounds");
    Cadence::every(5 * SECOND, 2 * SECOND).fall(fall)
}

/// Runs a monitor beside a test and keeps what it tells.
struct Running {
    handle: MonitorHandle,
    told: Arc<Told>,
    /// How often it was woken.
    woken: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Infallible>,
}

#[derive(Default)]
struct Told {
    #[expect(clippy::disallowed_types, reason = "of the test's own; nothing is awaited under it")]
    notices: std::sync::Mutex<Vec<Notice>>,
}

impl Running {
    fn start(settings: MonitorSettings) -> Self {
        Self::with(Monitor::new(settings.simulated_time(true)))
    }

    #[expect(clippy::disallowed_methods, reason = "the test is the embedding program")]
    fn with((handle, monitor): (MonitorHandle, Monitor)) -> Self {
        let told = Arc::new(Told::default());
        let tell = Arc::clone(&told);
        let woken = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&woken);
        let mut run =
            Box::pin(monitor.run(move |notice| tell.notices.lock().expect("sound").push(notice)));
        let task = tokio::spawn(poll_fn(move |context| {
            counted.fetch_add(1, Ordering::Relaxed);
            run.as_mut().poll(context)
        }));
        Self { handle, told, woken, task }
    }

    fn told(&self, instance: InstanceId) -> Vec<(Verdict, Cause)> {
        let notices = self.told.notices.lock().expect("sound");
        let of = |notice: &Notice| match notice {
            Notice::Changed { change, .. } if change.instance == instance => {
                Some((change.to, change.cause.clone()))
            }
            _ => None,
        };
        notices.iter().filter_map(of).collect()
    }

    fn verdicts(&self, instance: InstanceId) -> Vec<Verdict> {
        self.told(instance).into_iter().map(|(verdict, _)| verdict).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets time pass as it does: step by step, whoever is due in turn.
#[expect(clippy::disallowed_methods, reason = "time is paused")]
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

fn good() -> impl crate::probe::Probe {
    from_fn(|_| async { Seen::Accepted })
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_with_their_cause_and_time_and_nothing_is_asked_before_it_runs() {
    let (handle, monitor) = Monitor::new(MonitorSettings::default().simulated_time(true));
    handle.add(id(1), address(), Plan::new(cadence(5), good()).into());
    pass(SECOND).await;
    assert_eq!(handle.counters().started, 0);
    let running = Running::with((handle, monitor));
    pass(MS).await;
    let told = running.told(id(1));
    assert!(matches!(&told[..], [(Verdict::Ready, Cause::Passed { times: 1, .. })]), "{told:?}");
    assert_eq!(running.handle.verdict(id(1)), Some(Verdict::Ready));
    running.handle.remove(id(1));
    let asked = running.handle.counters().started;
    pass(60 * SECOND).await;
    assert_eq!((running.handle.verdict(id(1)), running.handle.counters().started), (None, asked));
}

#[tokio::test(start_paused = true)]
async fn hung_probes_delay_nobody() {
    let running = Running::start(MonitorSettings::default().at_once(8));
    let hangs = from_fn(|_| std::future::pending());
    let hangs = Arc::new(Plan::new(cadence(5), hangs));
    // Twice as many as there is room for.
    for number in 1..=16 {
        running.handle.add(id(number), address(), Arc::clone(&hangs));
    }
    pass(10 * SECOND).await;
    let before = running.handle.counters().good;
    running.handle.add(id(100), address(), Plan::new(cadence(5), good()).into());
    pass(MS).await;
    assert_eq!(running.handle.verdict(id(100)), Some(Verdict::Ready), "at once");
    pass(60 * SECOND).await;
    let answered = running.handle.counters().good - before;
    assert!((11..=15).contains(&answered), "one in five seconds: {answered}");
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_are_under_way_than_may_be() {
    let most = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counted = Arc::clone(&most);
    let slow = from_fn(move |_| {
        let counted = Arc::clone(&counted);
        async move {
            let now = counted.0.fetch_add(1, Ordering::Relaxed) + 1;
            counted.1.fetch_max(now, Ordering::Relaxed);
            pass(300 * MS).await;
            counted.0.fetch_sub(1, Ordering::Relaxed);
            Seen::Accepted
        }
    });
    let (running, slow) =
        (Running::start(MonitorSettings::default().at_once(10)), Plan::new(cadence(5), slow));
    let slow = Arc::new(slow);
    for number in 1..=100 {
        running.handle.add(id(number), address(), Arc::clone(&slow));
    }
    pass(30 * SECOND).await;
    assert_eq!(most.1.load(Ordering::Relaxed), 10);
    let verdicts = running.handle.verdicts();
    assert!(verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Ready), "late is not ill");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_a_bad_answer_and_no_more() {
    let running = Running::start(MonitorSettings::default());
    let panics = Arc::new(AtomicBool::new(false));
    let does = Arc::clone(&panics);
    let probe = from_fn(move |_| {
        let does = Arc::clone(&does);
        async move {
            assert!(!does.load(Ordering::Relaxed), "of the probe's making");
            Seen::Accepted
        }
    });
    running.handle.add(id(1), address(), Plan::new(cadence(1), probe).into());
    pass(SECOND).await;
    panics.store(true, Ordering::Relaxed);
    pass(10 * SECOND).await;
    let told = running.told(id(1));
    let [_, (Verdict::Unready, cause)] = &told[..] else { panic!("{told:?}") };
    assert!(cause.to_string().ends_with("the probe panicked: of the probe's making"), "{cause}");
    panics.store(false, Ordering::Relaxed);
    pass(10 * SECOND).await;
    assert_eq!(running.handle.verdict(id(1)), Some(Verdict::Ready));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_instance_is_not_asked_and_one_that_wakes_is_at_once() {
    let running = Running::start(MonitorSettings::default());
    let (asked, well) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
    let (count, is_well) = (Arc::clone(&asked), Arc::clone(&well));
    let probe = from_fn(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let good = is_well.load(Ordering::Relaxed);
        async move { if good { Seen::Accepted } else { Seen::Refused } }
    });
    running.handle.add(id(1), address(), Plan::new(cadence(5), probe).into());
    pass(20 * SECOND).await;
    running.handle.freeze(id(1));
    pass(MS).await;
    let counts = || (asked.load(Ordering::Relaxed), running.woken.load(Ordering::Relaxed));
    let before = counts();
    pass(3600 * SECOND).await;
    assert_eq!(counts(), before, "neither asked nor looked after");
    well.store(false, Ordering::Relaxed);
    running.handle.thaw(id(1));
    assert_eq!(running.handle.verdict(id(1)), Some(Verdict::Ready), "as it froze");
    pass(MS).await;
    let expected = [Verdict::Ready, Verdict::Frozen, Verdict::Ready, Verdict::Unready];
    assert_eq!(running.verdicts(id(1)), expected);
}

/// Attempts that were under way when nothing ran for a minute end badly: their connections are
/// gone.
#[tokio::test(start_paused = true)]
async fn a_stop_of_a_minute_ejects_nobody() {
    let running = Running::start(MonitorSettings::default());
    let torn = Arc::new(AtomicBool::new(false));
    let (is_torn, asked) = (Arc::clone(&torn), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&asked);
    let probe = from_fn(move |_| {
        let torn = Arc::clone(&is_torn);
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            pass(100 * MS).await;
            if torn.swap(false, Ordering::Relaxed) { Seen::ClosedAtOnce } else { Seen::Accepted }
        }
    });
    // The strictest there is: one bad answer, and who starts has seconds left.
    running.handle.add(id(1), address(), Plan::new(cadence(1), probe).into());
    let hangs = Plan::new(cadence(1), from_fn(|_| std::future::pending()));
    running.handle.add(id(2), address(), hangs.start_allowance(20 * SECOND).into());
    pass(SECOND).await;
    while asked.load(Ordering::Relaxed) == 1 {
        pass(10 * MS).await;
    }
    torn.store(true, Ordering::Relaxed);
    advance(60 * SECOND).await;
    pass(10 * SECOND).await;
    assert_eq!(running.verdicts(id(1)), [Verdict::Ready]);
    assert!(!torn.load(Ordering::Relaxed), "the bad answer was given");
    assert_eq!(running.handle.verdict(id(2)), Some(Verdict::Starting), "the minute is given back");
    pass(12 * SECOND).await;
    assert_eq!(running.verdicts(id(2)), [Verdict::NeverReady], "and no more than that");
    let counters = running.handle.counters();
    assert!(counters.losses >= 1 && counters.disturbed >= 1, "{counters:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_and_a_night_of_sleep_eject_nobody() {
    // The wall runs with tokio's time, and ahead of it as the test says.
    #[expect(clippy::disallowed_methods, reason = "the wall of the test")]
    let start = (Instant::now(), SystemTime::now());
    let ahead = Arc::new(AtomicU64::new(7200));
    let by = Arc::clone(&ahead);
    let wall =
        move || start.1 + start.0.elapsed() + Duration::from_secs(by.load(Ordering::Relaxed));
    let clock = Clock::with_wall(wall);
    let running = Running::with(Monitor::with_clock(MonitorSettings::default(), clock));
    let torn = Arc::new(AtomicBool::new(false));
    let is_torn = Arc::clone(&torn);
    let probe = from_fn(move |_| {
        let torn = Arc::clone(&is_torn);
        async move {
            pass(100 * MS).await;
            if torn.swap(false, Ordering::Relaxed) { Seen::ClosedAtOnce } else { Seen::Accepted }
        }
    });
    running.handle.add(id(1), address(), Plan::new(cadence(1), probe).into());
    pass(SECOND).await;
    // An hour ahead, a night of sleep, an hour back.
    for seconds in [7200 + 3600, 7200 + 3600 + 8 * 3600, 7200 + 8 * 3600] {
        let asked = running.handle.counters().started;
        while running.handle.counters().started == asked {
            pass(10 * MS).await;
        }
        // Set back cuts nothing; only what went ahead may have been sleep.
        torn.store(ahead.swap(seconds, Ordering::Relaxed) < seconds, Ordering::Relaxed);
        pass(20 * SECOND).await;
        assert!(!torn.load(Ordering::Relaxed));
    }
    assert_eq!(running.verdicts(id(1)), [Verdict::Ready]);
    assert_eq!(running.handle.counters().disturbed, 2);
    let lateness = running.handle.lateness();
    assert!(lateness.quantile(1.0) <= 2 * MS, "no deadline moved: {lateness:?}");
}

#[tokio::test(start_paused = true)]
async fn in_simulated_time_a_slow_host_is_no_pause() {
    let running = Running::start(MonitorSettings::default());
    let probe = from_fn(|_| async {
        #[expect(clippy::disallowed_methods, reason = "the host is slow, and time stands still")]
        std::thread::sleep(SLACK + 100 * MS);
        Seen::Refused
    });
    running.handle.add(id(1), address(), Plan::new(cadence(1), probe).into());
    pass(MS).await;
    let counters = running.handle.counters();
    assert_eq!((counters.losses, counters.disturbed), (0, 0), "{counters:?}");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_instances_are_asked_when_they_are_due() {
    let running = Running::start(MonitorSettings::default().seed(1).at_once(4096));
    let plan = Arc::new(Plan::new(cadence(5), good()));
    for number in 1..=10_000 {
        running.handle.add(id(number), address(), Arc::clone(&plan));
    }
    pass(60 * SECOND).await;
    let (counters, lateness) = (running.handle.counters(), running.handle.lateness());
    // Eleven to thirteen each, jitter of a tenth included.
    assert!((110_000..=140_000).contains(&counters.started), "{counters:?}");
    assert_eq!(counters.good, counters.answered);
    assert!(lateness.quantile(0.999) <= 2 * MS, "{lateness:?}");
    let ready = running.handle.verdicts().iter().filter(|(_, v)| *v == Verdict::Ready).count();
    assert_eq!(ready, 10_000);
}

#[tokio::test(start_paused = true)]
async fn what_requests_saw_and_who_may_be_replaced_is_told() {
    let running = Running::start(MonitorSettings::default());
    let plan = Plan::new(cadence(5), good());
    let dies =
        Plan::new(cadence(5), good()).liveness(cadence(1), from_fn(|_| async { Seen::Refused }));
    let (plan, dies) = (Arc::new(plan), Arc::new(dies));
    running.handle.add(id(1), address(), Arc::clone(&plan));
    running.handle.add(id(2), address(), plan);
    running.handle.add(id(3), address(), dies);
    pass(SECOND).await;
    let broken = Outcomes { requests: 9, errors: 9, errors_in_a_row: 9, ..Outcomes::default() };
    running.handle.report(id(1), broken);
    assert_eq!(running.handle.verdict(id(1)), Some(Verdict::Ejected), "from the next request on");
    pass(31 * SECOND).await;
    assert_eq!(running.verdicts(id(1)), [Verdict::Ready, Verdict::Ejected, Verdict::Ready]);
    let notices = running.told.notices.lock().expect("sound").clone();
    let replaced = notices.iter().filter(|notice| matches!(notice, Notice::Replace { .. }));
    assert_eq!(replaced.count(), 1);
}

#[test]
fn while_nobody_reads_what_is_told_stays_bounded_and_true() {
    let (handle, _monitor) = Monitor::new(MonitorSettings::default());
    handle.add(id(1), address(), Plan::new(cadence(5), good()).into());
    for _ in 0..10_000 {
        handle.freeze(id(1));
        handle.thaw(id(1));
    }
    let notices = handle.shared.with(|state, _| state.take_notices());
    assert!(notices.len() <= 4 * 257, "{}", notices.len());
    let mut last = BTreeMap::from([(id(1), Verdict::Starting)]);
    for notice in notices {
        let Notice::Changed { change, .. } = notice else { panic!("nobody is replaced") };
        assert_eq!(last.insert(change.instance, change.to), Some(change.from));
    }
    assert_eq!(last.get(&id(1)), Some(&Verdict::Starting));
}
