//! How soon is an instance noticed that became ready, and what does watching cost?
//!
//! Real sockets on the loopback interface, the monitor as anybody runs it. `ready_delay` is
//! measured from the app's own stamp, taken right after its port listens, to the notice.

#![expect(
    clippy::disallowed_methods,
    reason = "a measurement reads real clocks and runs the apps that it measures against"
)]

use std::{
    convert::Infallible,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use runner_core::{
    address::Address,
    id::{InstanceId, ServiceId},
    time::Timestamp,
};
use runner_health::{
    Cadence, HealthSettings, Monitor, MonitorSettings, Notice, Plan,
    monitor::{Lateness, MonitorCounters},
    passive::PassiveSettings,
    probe::{HttpProbe, Probe, Seen, Target, TcpProbe},
    verdict::{Answer, FleetEffect, FleetEvent, FleetHealth, Question, Verdict},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::oneshot,
};

use crate::{
    admission::Measure,
    own::{cpu_time, resident},
};

/// All questions by name, the floor beside them.
pub const QUESTIONS: [(&str, Measure); 4] = [
    ("verdict/answer", answer),
    ("probe/tcp", |n| attempts(n, &TcpProbe::new())),
    ("probe/http", |n| attempts(n, &HttpProbe::get("/").expect("a path"))),
    ("floor/connect", connects),
];

/// The sum of the delays of so many starts, for criterion.
pub fn ready_delay(starts: u64) -> Duration {
    ready_delays(starts).into_iter().sum()
}

/// How long after its port listened each of so many apps was called ready. They start in 50 to
/// 300 ms, one after the other, and are asked with App Runner's settings over TCP.
pub fn ready_delays(starts: u64) -> Vec<Duration> {
    let runtime = runtime(2);
    let (told, notices) = mpsc::channel();
    let (handle, monitor) = Monitor::new(MonitorSettings::default());
    let running = runtime.spawn(monitor.run(move |notice| {
        // The stamp is taken where the embedding program is told.
        let _ = told.send((notice, Instant::now()));
    }));
    let plan = Arc::new(Plan::new(Cadence::default(), TcpProbe::new()));
    let delays = (0..starts).map(|number| {
        let instance = instance(number + 1);
        // Spread evenly over the range, in no order that an interval could fall in step with.
        let start_up = Duration::from_millis(50 + number * 97 % 251);
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = port.local_addr().expect("an address");
        drop(port);
        let (stamp, stamped) = mpsc::channel();
        let app = thread::spawn(move || {
            thread::sleep(start_up);
            let listener = std::net::TcpListener::bind(address).expect("its port is free");
            let _ = stamp.send(Instant::now());
            listener
        });
        handle.add(instance, address.into(), Arc::clone(&plan));
        let noticed = loop {
            match notices.recv().expect("the monitor runs") {
                (Notice::Changed { change, .. }, at)
                    if change.instance == instance && change.to == Verdict::Ready =>
                {
                    break at;
                }
                _ => {}
            }
        };
        let listened = stamped.recv().expect("it listened");
        handle.remove(instance);
        drop(app.join().expect("it ended"));
        noticed.saturating_duration_since(listened)
    });
    let delays = delays.collect();
    running.abort();
    delays
}

/// What watching a fleet was like.
#[derive(Clone, Copy, Debug)]
pub struct FleetReport {
    /// Over how long.
    pub span: Duration,
    /// What the monitor counted meanwhile.
    pub counters: MonitorCounters,
    /// How late attempts were started since the beginning, the first of all included.
    pub lateness: Lateness,
    /// CPU time of the process, the answering side included.
    pub cpu: Duration,
    /// The part of it that the same connections take without a monitor.
    pub floor: Duration,
}

/// Watches so many instances over TCP, every 5 seconds, and says what it took. All of them are
/// addresses of this host behind one listener, so that ports are not what is measured.
pub fn fleet(instances: u64, span: Duration) -> FleetReport {
    let runtime = runtime(2);
    let port =
        runtime.block_on(serve(Ipv4Addr::UNSPECIFIED, |stream| async { drop(stream) })).port();
    let addresses: Vec<Address> = (0..instances).map(|number| local(number, port).into()).collect();
    let (handle, monitor) = Monitor::new(MonitorSettings::default().seed(7).at_once(AT_ONCE));
    let running = runtime.spawn(monitor.run(|_| {}));
    let plan = Arc::new(Plan::new(Cadence::default(), TcpProbe::new()));
    for (number, address) in (1..).zip(addresses) {
        handle.add(instance(number), address, Arc::clone(&plan));
    }
    // Until all are ready: what is measured is the steady state.
    while handle.verdicts().iter().any(|(_, verdict)| *verdict != Verdict::Ready) {
        thread::sleep(Duration::from_millis(50));
    }
    let (before, cpu) = (handle.counters(), cpu_time());
    let late_before = handle.lateness();
    thread::sleep(span);
    let (mut counters, cpu) = (handle.counters(), cpu_time() - cpu);
    let lateness = handle.lateness().since(&late_before);
    running.abort();
    for (now, then) in [
        (&mut counters.started, before.started),
        (&mut counters.answered, before.answered),
        (&mut counters.good, before.good),
        (&mut counters.disturbed, before.disturbed),
        (&mut counters.losses, before.losses),
    ] {
        *now -= then;
    }
    let floor = runtime.block_on(async {
        let cpu = cpu_time();
        for number in 0..FLOOR_SAMPLE {
            let stream =
                TcpStream::connect(local(number % instances, port)).await.expect("it listens");
            stream.set_zero_linger().expect("a socket");
        }
        cpu_time() - cpu
    });
    let floor = floor.mul_f64(counters.answered as f64 / FLOOR_SAMPLE as f64);
    FleetReport { span, counters, lateness, cpu, floor }
}

/// How much memory a monitor of so many instances holds for each: what the process has more than
/// before, as the kernel counts it.
pub fn bytes_each(instances: u64) -> u64 {
    let before = resident();
    let (handle, monitor) = Monitor::new(MonitorSettings::default());
    let plan = Arc::new(Plan::new(Cadence::default(), TcpProbe::new()));
    for number in 1..=instances {
        handle.add(instance(number), local(number, 1).into(), Arc::clone(&plan));
    }
    let held = resident().saturating_sub(before);
    drop((handle, monitor));
    held / instances
}

/// One answer in a fleet of ten thousand, through the machine alone.
fn answer(operations: u64) -> Duration {
    let now = Timestamp::from_secs(1_777_507_200);
    let mut fleet = FleetHealth::new(PassiveSettings::default(), 7);
    let settings = Arc::new(HealthSettings::default());
    let mut tickets = Vec::new();
    let ticket = |effects: &[FleetEffect]| {
        let ask = effects.iter().find_map(|effect| match effect {
            FleetEffect::Ask { ask, .. } => Some(ask.ticket),
            FleetEffect::Changed(_) | FleetEffect::Replace { .. } => None,
        });
        ask.expect("it is asked")
    };
    for number in 0..FLEET {
        let settings = Arc::clone(&settings);
        let added = FleetEvent::Added { instance: instance(number), settings };
        tickets.push(ticket(&fleet.handle(added, now)));
    }
    let start = Instant::now();
    for number in (0..operations).map(|operation| operation * 7919 % FLEET) {
        let slot = &mut tickets[number as usize];
        let answer = Answer {
            question: Question::Readiness,
            ticket: *slot,
            begun: now,
            seen: Seen::Accepted,
            disturbed: false,
        };
        let answered = FleetEvent::Answered { instance: instance(number), answer };
        *slot = ticket(&fleet.handle(answered, now));
    }
    start.elapsed()
}

/// One attempt after the other against an app that answers at once.
fn attempts(operations: u64, probe: &impl Probe) -> Duration {
    runtime(1).block_on(async {
        let address = serve(Ipv4Addr::UNSPECIFIED, answer_http).await;
        let start = Instant::now();
        for number in 0..operations {
            let to = local(number % FLEET, address.port()).into();
            let seen = probe.attempt(&Target::new(instance(1), to, Duration::from_secs(2))).await;
            assert!(seen.is_good(), "{seen}");
        }
        start.elapsed()
    })
}

/// The same connections without a probe.
fn connects(operations: u64) -> Duration {
    runtime(1).block_on(async {
        let address = serve(Ipv4Addr::UNSPECIFIED, answer_http).await;
        let start = Instant::now();
        for number in 0..operations {
            let to = local(number % FLEET, address.port());
            let stream = TcpStream::connect(to).await.expect("it listens");
            stream.set_zero_linger().expect("a socket");
        }
        start.elapsed()
    })
}

async fn answer_http(mut stream: TcpStream) {
    let mut head = [0; 1024];
    if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
}

async fn serve<F>(on: Ipv4Addr, each: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((on, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (up, is_up) = oneshot::channel::<Infallible>();
    tokio::spawn(async move {
        drop(up);
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(each(stream));
            }
        }
    });
    let _ = is_up.await;
    address
}

fn instance(number: u64) -> InstanceId {
    ServiceId::from_random(7).instance(number)
}

/// One of many addresses that all are this host.
fn local(number: u64, port: u16) -> SocketAddr {
    let [.., high, low] = (number + 1).to_be_bytes();
    (Ipv4Addr::new(127, 1, high, low), port).into()
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().expect("a runtime")
}

const FLEET: u64 = 10_000;
/// Both ends of each connection are in this process, which may have 1024 files open.
const AT_ONCE: usize = 256;
const FLOOR_SAMPLE: u64 = 20_000;
