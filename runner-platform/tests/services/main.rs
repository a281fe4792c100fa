//! Services that reach each other by the inner door, on the in-memory backend in paused time.

mod doors;
mod told;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Version, request::Builder};
use http_body_util::{BodyExt as _, Full};
use runner_core::{
    id::ServiceName,
    spec::{Cidr, ServiceBuilder, ServiceSpec, raw},
};
use runner_platform::{
    DataPath, InnerDoor, Platform, PlatformBuilder,
    testing::{CALLS, ECHOES, Memory, TAKES},
};
use runner_proxy::{exchange::ClientConnection, forward::Trust};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

const ELSEWHERE: &str = "http://127.0.0.1:7070";

fn run(builder: PlatformBuilder) -> Platform {
    let (platform, driver) = builder.build().expect("built");
    spawn(async move {
        let _ = driver.run().await;
    });
    platform
}

/// A platform whose inner door is a server of one's own, and instances that know it.
fn bed(world: &Memory, door: InnerDoor) -> Platform {
    let all: Cidr = "127.0.0.0/8".parse().expect("a range");
    let builder = world.builder().trust(Trust::networks([all]));
    let platform = run(builder.inner_door(door.elsewhere(ELSEWHERE)));
    world.call_by(platform.inner_service().expect("there is a door"));
    platform
}

fn service(cap: u32) -> ServiceBuilder {
    ServiceSpec::command(["./service"]).cap(cap).between(1, 1)
}

/// A service that is not to be found from outside.
fn hidden(cap: u32) -> ServiceBuilder {
    service(cap).with(|raw| raw.routing.published = Some(false))
}

async fn create(platform: &Platform, name: &str, spec: ServiceBuilder) {
    let created = platform.create(name, spec).await.expect("accepted");
    created.finished().await.expect("deployed");
}

fn to(host: &str) -> Builder {
    Request::get("/").header("host", host)
}

async fn ask(path: Option<DataPath>, request: Builder) -> (StatusCode, String) {
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    let Ok(response) = path.expect("there is a door").oneshot(request).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn inside(platform: &Platform, request: Builder) -> (StatusCode, String) {
    ask(platform.inner_service(), request).await
}

async fn outside(platform: &Platform, request: Builder) -> (StatusCode, String) {
    ask(Some(platform.service()), request).await
}

fn from(address: &str) -> ClientConnection {
    let peer = Some((address.parse::<std::net::IpAddr>().expect("an address"), 1).into());
    ClientConnection { peer, secure: false }
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

#[expect(clippy::disallowed_methods, reason = "tests spawn what they test")]
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

fn route(host: &str) -> raw::Route {
    let mut route = raw::Route::default();
    route.host = Some(host.into());
    route
}

#[tokio::test(start_paused = true)]
async fn every_service_is_found_by_its_name_and_by_nothing_else() {
    let world = Memory::new(1);
    let platform = bed(&world, InnerDoor::new());
    assert_eq!(inside(&platform, to("My_Shop")).await.0, 404, "before it is there");
    create(&platform, "My_Shop", hidden(10)).await;
    let found = async |host: &str| inside(&platform, to(host)).await.0.as_u16();
    for host in ["My_Shop", "my_shop", "my-shop:7070", "my-shop.internal", "MY_SHOP.Internal."] {
        assert_eq!(found(host).await, 200, "{host}");
    }
    // As a client asks whose proxy the door is.
    let whole = Request::get("http://my-shop.internal/a").version(Version::HTTP_11);
    assert_eq!(inside(&platform, whole).await.0, 200);

    // Somebody may have a route of that name, and it is no name of theirs inside.
    let other = service(10).with(|raw| {
        raw.routing.routes.extend([
            route("my-shop"),
            route("my-shop.internal"),
            route("a.example"),
        ]);
    });
    create(&platform, "other", other).await;
    let shop = inside(&platform, to("my-shop")).await;
    assert_eq!(shop, inside(&platform, to("my_shop.internal")).await);
    assert_ne!(shop, outside(&platform, to("my-shop")).await);
    assert_eq!(outside(&platform, to("a.example")).await.0, 200);
    for host in ["a.example", "other.localhost", "my-shop.example", "internal", "127.0.0.1:7070"] {
        assert_eq!(found(host).await, 404, "{host}");
    }

    // Settings change routes, and not a name; with its service it goes.
    let change = platform.change("other", |spec| spec.with(|raw| raw.routing.routes.clear()));
    change.await.expect("accepted").finished().await.expect("done");
    assert_eq!(found("other").await, 200);
    platform.delete("other").await.expect("accepted").finished().await.expect("deleted");
    pass(Duration::from_millis(10)).await;
    assert_eq!((found("other").await, found("my-shop").await), (404, 200));
    create(&platform, "other", service(1)).await;
    assert_eq!(found("other").await, 200);
}

#[tokio::test(start_paused = true)]
async fn names_are_there_again_after_a_restart() {
    let world = Memory::new(2);
    let (platform, driver) =
        world.builder().inner_door(InnerDoor::new().elsewhere(ELSEWHERE)).build().expect("built");
    let driver = spawn(driver.run());
    create(&platform, "shop", hidden(10)).await;
    driver.abort();
    let _ = driver.await;
    drop(platform);
    let platform = bed(&world, InnerDoor::new().domain("svc.example"));
    assert_eq!(
        platform.list().await.expect("it runs"),
        ["shop".parse::<ServiceName>().expect("one")]
    );
    assert_eq!(inside(&platform, to("shop.svc.example")).await.0, 200);
    assert_eq!(inside(&platform, to("shop.internal")).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn from_outside_a_hidden_service_is_not_told_from_none() {
    let world = Memory::new(3);
    let platform = bed(&world, InnerDoor::new());
    let spec = hidden(10).between(0, 1).with(|raw| raw.scaling.zero_after = Some("60s".into()));
    create(&platform, "secret", spec).await;
    pass(Duration::from_secs(1_800)).await;
    let seen = platform.describe("secret").await.expect("there");
    assert_eq!(seen.instances.len(), 0, "{:?}", seen.decision);
    let answer = async |host: &str| {
        let began = world.now();
        let request = to(host).body(Full::<Bytes>::default()).expect("a request");
        let Ok(response) = platform.service().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        (parts.status, parts.headers, body, world.now().since(began))
    };
    for host in ["secret.localhost", "secret", "secret.internal"] {
        assert_eq!(answer(host).await, answer("nobody.localhost").await, "{host}");
    }
    pass(Duration::from_secs(60)).await;
    let seen = platform.describe("secret").await.expect("there");
    assert_eq!(seen.instances.len(), 0, "nobody wakes it from there");
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_calls_wakes_who_sleeps() {
    let world = Memory::new(4);
    let platform = bed(&world, InnerDoor::new());
    create(&platform, "front", service(10)).await;
    let zero = hidden(10).between(0, 4).with(|raw| raw.scaling.zero_after = Some("60s".into()));
    create(&platform, "middle", zero).await;
    let asleep = hidden(10).between(2, 4).with(|raw| raw.scaling.minimum_active = Some(0));
    create(&platform, "last", asleep).await;
    pass(Duration::from_secs(1_800)).await;
    let there = async |name: &str| platform.describe(name).await.expect("there");
    assert_eq!(there("middle").await.instances.len(), 0);
    assert_eq!(there("last").await.ready(), 0);

    let began = world.now();
    let (status, text) =
        outside(&platform, to("front.localhost").header(CALLS, "middle,last")).await;
    let woken = world.now().since(began);
    assert_eq!(status, 200);
    let answers: Vec<_> = text.split(" > ").collect();
    assert!(answers.len() == 3 && answers[1..].iter().all(|one| one.starts_with("200 ")), "{text}");
    assert!(woken < Duration::from_millis(200), "{woken:?}");
    assert_eq!(there("middle").await.ready(), 1);
}

#[tokio::test(start_paused = true)]
async fn names_and_traces_go_along_a_chain_and_claims_do_not() {
    let world = Memory::new(5);
    let platform = bed(&world, InnerDoor::new());
    create(&platform, "front", service(10)).await;
    create(&platform, "back", hidden(10)).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    // Of the machine's own proxy, whose word is taken from outside.
    let request = |host: &str| {
        to(host)
            .extension(from("127.0.0.1"))
            .header("x-request-id", "theirs")
            .header("traceparent", trace)
            .header("x-forwarded-for", "203.0.113.9")
            .header("forwarded", "for=203.0.113.9")
            .header(ECHOES, "x-request-id,traceparent,x-runner-hops,x-forwarded-for")
    };
    let named = format!("[theirs] [{trace}]");
    let (_, text) = outside(&platform, request("front.localhost").header(CALLS, "back")).await;
    let [front, back] = text.split(" > ").collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(front.ends_with(&format!("{named} [-] [203.0.113.9, 127.0.0.1]")), "{front}");
    assert!(back.ends_with(&format!("{named} [1] [127.0.0.1]")), "{back}");
    // An instance has the same address, and may not say from where it came.
    let (_, text) = inside(&platform, request("back")).await;
    assert!(text.ends_with(&format!("{named} [1] [127.0.0.1]")), "{text}");
    let cut = platform
        .change("back", |spec| spec.with(|raw| raw.observability.tracing = Some("off".into())));
    cut.await.expect("accepted").finished().await.expect("done");
    let (_, text) = inside(&platform, request("back")).await;
    assert!(text.ends_with("[theirs] [-] [1] [127.0.0.1]"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_circle_ends() {
    let circle = ["hello"; 30].join(",");
    for (most, door) in [(16, InnerDoor::new()), (3, InnerDoor::new().max_hops(3))] {
        let world = Memory::new(6);
        let platform = bed(&world, door);
        create(&platform, "hello", service(100)).await;
        // What a stranger says of it is not believed.
        for said in ["0", "99"] {
            let request =
                to("hello.localhost").header("x-runner-hops", said).header(CALLS, &circle);
            let (status, text) = outside(&platform, request).await;
            assert_eq!(status, 200);
            let answers: Vec<_> = text.split(" > ").collect();
            assert_eq!(
                answers.len(),
                most + 2,
                "the first, so many calls, and the refusal: {text}"
            );
            let end = answers[most + 1];
            assert!(end.starts_with("508 ") && end.contains("too_many_hops"), "{end}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_circle_that_nobody_counts_ends_in_its_own_queue() {
    let world = Memory::new(7);
    let platform = bed(&world, InnerDoor::new());
    create(&platform, "hello", service(1)).await;
    let (status, text) = outside(&platform, to("hello.localhost").header(CALLS, "hello")).await;
    // Its one slot is held by who waits for it.
    assert_eq!(status, 200);
    let refused = ["429 ", "503 "].iter().any(|status| text.contains(&format!(" > {status}")));
    assert!(refused, "{text}");
}

#[tokio::test(start_paused = true)]
async fn there_is_one_queue_whichever_way_one_comes() {
    let world = Memory::new(8);
    let platform = bed(&world, InnerDoor::new());
    create(&platform, "hello", service(1)).await;
    let began = world.now();
    let first = spawn({
        let platform = platform.clone();
        async move { outside(&platform, to("hello.localhost").header(TAKES, "2000")).await.0 }
    });
    pass(Duration::from_millis(5)).await;
    assert_eq!(inside(&platform, to("hello").header(TAKES, "1000")).await.0, 200);
    assert!(world.now().since(began) >= Duration::from_secs(3), "one after the other");
    assert_eq!(first.await.expect("no panic"), 200);

    // Limits are those of the settings, and networks are not asked.
    let change = platform.change("hello", |spec| {
        spec.with(|raw| {
            (raw.limits.total, raw.limits.header) = (Some("1s".into()), None);
            (raw.overflow.max_wait, raw.overflow.hold_while_starting) = (None, None);
            raw.routing.allow = Some(vec!["192.0.2.0/24".into()]);
        })
    });
    change.await.expect("accepted").finished().await.expect("done");
    let stranger = to("hello.localhost").extension(from("127.0.0.1"));
    assert_eq!(outside(&platform, stranger).await.0, 403);
    assert_eq!(inside(&platform, to("hello").extension(from("127.0.0.1"))).await.0, 200);
    assert_eq!(inside(&platform, to("hello").header(TAKES, "5000")).await.0, 504);
}

#[tokio::test(start_paused = true)]
async fn instances_are_not_taken_for_one_client() {
    let world = Memory::new(9);
    let platform = bed(&world, InnerDoor::new());
    let spec = service(10).between(3, 3).with(|raw| {
        raw.scaling.minimum_active = Some(3);
        raw.sticky.by = Some("client_ip".into());
    });
    create(&platform, "hello", spec).await;
    while platform.describe("hello").await.expect("there").ready() < 3 {
        pass(Duration::from_millis(100)).await;
    }
    let by = async |is_inside: bool| {
        let asked: Vec<_> = (0..3)
            .map(|_| {
                let platform = platform.clone();
                let host = if is_inside { "hello" } else { "hello.localhost" };
                let request = to(host).header(TAKES, "1000").extension(from("127.0.0.1"));
                spawn(async move {
                    match is_inside {
                        true => inside(&platform, request).await.1,
                        false => outside(&platform, request).await.1,
                    }
                })
            })
            .collect();
        let mut by = std::collections::BTreeSet::new();
        for one in asked {
            by.insert(one.await.expect("no panic"));
        }
        by.len()
    };
    assert_eq!((by(false).await, by(true).await), (1, 3));
}
