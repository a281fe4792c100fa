//! A service at rest is looked at by nobody, until something happens to it. What ten thousand of
//! them cost is measured by the bench `platform`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use runner_core::spec::{ServiceSettings, ServiceSpec};
use runner_platform::{Platform, testing::Memory};
use runner_scaler::{Asked, DefaultPolicy, Look, Policy};
use tower::ServiceExt as _;

/// The default policy, and how often it was asked over all services.
struct Counted(DefaultPolicy, Arc<AtomicU64>);

impl Policy for Counted {
    fn ask(&mut self, look: &Look<'_>, asked: &mut Asked<'_>) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.ask(look, asked);
    }
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

async fn get(platform: &Platform, service: usize) -> StatusCode {
    let request = Request::get("/").header("host", format!("s-{service}.localhost"));
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = platform.service().oneshot(request).await;
    response.status()
}

#[tokio::test(start_paused = true)]
async fn a_service_at_rest_is_looked_at_when_something_happens_to_it() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = || asked.load(Ordering::Relaxed);
    let world = Memory::new(1);
    let counting = Arc::clone(&asked);
    let builder = world.builder().policy(move |_: &ServiceSettings| {
        Counted(DefaultPolicy::default(), Arc::clone(&counting))
    });
    let (platform, driver) = builder.build().expect("built");
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    tokio::spawn(driver.run());
    // At zero, in standby, and awake.
    for (service, (minimum, active)) in [(0, 0), (1, 0), (1, 1)].into_iter().enumerate() {
        let spec = ServiceSpec::command(["./hello"]).between(minimum, 2).with(|raw| {
            raw.scaling.minimum_active = Some(active);
            raw.scaling.zero_after = (minimum == 0).then(|| "1m".into());
        });
        let created = platform.create(format!("s-{service}"), spec).await.expect("accepted");
        created.finished().await.expect("deployed");
    }
    pass(Duration::from_secs(600)).await;
    let before = count();
    pass(Duration::from_secs(4 * 3_600)).await;
    assert_eq!(count(), before, "nobody looks");

    for service in 0..3 {
        let before = count();
        assert_eq!(get(&platform, service).await, 200, "{service}");
        pass(Duration::from_secs(2)).await;
        assert!(count() > before, "a request comes to {service}, and it is looked at");
    }
    pass(Duration::from_secs(3_600)).await;
    let before = count();
    pass(Duration::from_secs(3_600)).await;
    assert_eq!(count(), before, "they are at rest again");
    let instances = async |name| platform.describe(name).await.expect("there").instances.len();
    assert_eq!((instances("s-0").await, instances("s-1").await, instances("s-2").await), (0, 1, 1));

    // One whose bounds depend on the time of day is looked at now and then.
    let scheduled = platform.change("s-0", |spec| {
        spec.with(|raw| {
            let mut schedule = runner_core::spec::raw::Schedule::default();
            schedule.maximum = Some(3);
            raw.scaling.schedules.push(schedule);
        })
    });
    scheduled.await.expect("accepted").finished().await.expect("done");
    let before = count();
    pass(Duration::from_secs(600)).await;
    assert!((15..=30).contains(&(count() - before)), "{}", count() - before);
}
