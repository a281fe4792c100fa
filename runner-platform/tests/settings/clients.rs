//! Who may come in, what a request may take, where it goes, and what is written down of it.

use std::{
    collections::BTreeSet,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use runner_core::spec::{Cidr, raw};
use runner_platform::testing::{Memory, SAW_TRACE};
use runner_proxy::{exchange::RequestId, forward::Trust};
use tower::ServiceExt as _;

use crate::{
    access_log,
    support::{Answer, Ask, Bed, SECOND, hello, in_order, pass, read, spawn},
};

#[tokio::test(start_paused = true)]
pub(crate) async fn only_networks_that_are_named_come_in() {
    let bed = Bed::new(hello().cap(10)).await;
    let running = bed.send(Ask::taking(3_000).from("203.0.113.9")).await;
    bed.change(|raw| raw.routing.allow = Some(vec!["192.0.2.0/24".into()])).await;
    let stranger = bed.get(Ask::taking(0).from("203.0.113.9")).await;
    assert_eq!(
        (stranger.status, stranger.reason()),
        (StatusCode::FORBIDDEN, "address_not_allowed")
    );
    assert!(stranger.body.contains("not open to the network"), "{}", stranger.body);
    assert_eq!(bed.get(Ask::taking(0).from("192.0.2.7")).await.status, 200);
    assert_eq!(bed.get(Ask::taking(0).from("::ffff:192.0.2.7")).await.status, 200);
    assert_eq!(bed.get(Ask::taking(0)).await.status, 403, "nobody knows who that is");
    let by_name = bed.platform.service_of("hello").await.expect("there");
    let Ok(inside) = by_name.oneshot(Ask::taking(0).request(http_body_util::Full::default())).await;
    assert_eq!(inside.status(), 200, "services reach each other");
    in_order(vec![("running", running)]).await;
    bed.change(|raw| raw.routing.allow = None).await;
    assert_eq!(bed.get(Ask::taking(0).from("203.0.113.9")).await.status, 200);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_family_of_addresses_is_served_or_not() {
    let bed = Bed::new(hello().cap(10)).await;
    let by = async |address: &str| bed.get(Ask::taking(0).from(address)).await.status.as_u16();
    assert_eq!((by("192.0.2.7").await, by("2001:db8::1").await, by("::1").await), (200, 403, 200));
    bed.change(|raw| raw.routing.address_family = Some("dual_stack".into())).await;
    assert_eq!((by("192.0.2.7").await, by("2001:db8::1").await), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn who_is_too_late_for_a_route_has_its_others_and_that_one_when_it_is_given_back() {
    let bed = Bed::new(hello().cap(10)).await;
    bed.platform
        .create("other", hello().cap(10))
        .await
        .expect("accepted")
        .finished()
        .await
        .expect("deployed");
    let shop = |raw: &mut raw::Service| {
        let mut route = raw::Route::default();
        route.host = Some("shop.example".into());
        raw.routing.routes.push(route);
    };
    // Both were told that it is free.
    let (one, two) = tokio::join!(
        bed.platform.change("hello", |spec| spec.with(shop)),
        bed.platform.change("other", |spec| spec.with(shop)),
    );
    let _ = (one.expect("accepted"), two.expect("accepted"));
    let lacks = async |name: &str| bed.platform.describe(name).await.expect("there").unrouted;
    let (late, first) = match lacks("hello").await.is_empty() {
        true => ("other", "hello"),
        false => ("hello", "other"),
    };
    assert!(lacks(first).await.is_empty());
    let words = lacks(late).await;
    assert!(words.len() == 1 && words[0].contains(&format!("taken by {first}")), "{words:?}");
    let at = async |host: &str| bed.get(Ask::taking(0).host(host)).await.status.as_u16();
    assert_eq!(at(&format!("{late}.localhost")).await, 200, "its own host leads to it");
    let back = bed.platform.change(first, |spec| spec.with(|raw| raw.routing.routes.clear())).await;
    let _ = back.expect("accepted");
    pass(SECOND).await;
    assert!(lacks(late).await.is_empty());
    assert_eq!(at("shop.example").await, 200);
    let gone = bed.platform.delete(late).await.expect("accepted");
    gone.finished().await.expect("deleted");
    assert_eq!(at("shop.example").await, 404);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn it_is_found_by_its_routes_and_domains() {
    let bed = Bed::new(hello().cap(10)).await;
    let at = async |host: &str, path: &str| {
        bed.get(Ask::taking(0).host(host).path(path)).await.status.as_u16()
    };
    assert_eq!((at("hello.localhost", "/").await, at("shop.example", "/a").await), (200, 404));
    let running = bed.send(Ask::taking(3_000)).await;
    bed.change(|raw| {
        let mut route = raw::Route::default();
        (route.host, route.path) = (Some("shop.example".into()), Some("/a".into()));
        raw.routing.routes.push(route);
        let mut domain = raw::Domain::default();
        (domain.name, domain.www) = (Some("own.example".into()), Some(true));
        raw.routing.domains.push(domain);
    })
    .await;
    assert_eq!((at("shop.example", "/a/b").await, at("shop.example", "/b").await), (200, 404));
    assert_eq!((at("own.example", "/").await, at("www.own.example", "/").await), (200, 200));
    bed.change(|raw| raw.routing.domains[0].www = Some(false)).await;
    assert_eq!((at("own.example", "/").await, at("www.own.example", "/").await), (200, 404));
    in_order(vec![("running", running)]).await;
    bed.change(|raw| {
        raw.routing.domains.clear();
        raw.routing.published = Some(false);
    })
    .await;
    assert_eq!((at("hello.localhost", "/").await, at("shop.example", "/a").await), (404, 404));
}

/// A body that comes in pieces, each after a pause.
struct Slow {
    pieces: usize,
    size: usize,
    every: Duration,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Slow {
    fn new(pieces: usize, size: usize, every: Duration) -> Self {
        Self { pieces, size, every, sleep: None }
    }
}

impl Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.pieces == 0 {
            return Poll::Ready(None);
        }
        let every = self.every;
        #[expect(clippy::disallowed_methods, reason = "time is paused: a body that is late")]
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
        std::task::ready!(sleep.as_mut().poll(context));
        (self.sleep, self.pieces) = (None, self.pieces - 1);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.size])))))
    }
}

async fn post(bed: &Bed, body: Slow) -> Answer {
    let request = Ask::taking(0).request(body);
    let Ok(response) = bed.platform.service().oneshot(request).await;
    read(response).await
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_body_may_be_so_large() {
    let bed = Bed::new(hello().cap(10)).await;
    let mut ask = Ask::taking(0);
    ask.body = Bytes::from(vec![b'x'; 3_000]);
    assert_eq!(bed.get(ask.clone()).await.status, 200);
    let running = spawn({
        let (path, request) = (bed.platform.service(), Slow::new(4, 1_000, SECOND));
        async move {
            let Ok(response) = path.oneshot(Ask::taking(0).request(request)).await;
            read(response).await.status
        }
    });
    pass(2 * SECOND).await;
    bed.change(|raw| raw.limits.body_size = Some("2 KB".into())).await;
    let announced = bed.get(ask).await;
    assert_eq!((announced.status.as_u16(), announced.reason()), (413, "body_too_large"));
    let counted = post(&bed, Slow::new(4, 1_000, Duration::from_millis(1))).await;
    assert_eq!((counted.status.as_u16(), counted.reason()), (413, "body_too_large"));
    assert_eq!(post(&bed, Slow::new(2, 1_000, Duration::from_millis(1))).await.status, 200);
    assert_eq!(running.await.expect("no panic"), 200, "it came before");
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_body_may_take_so_long() {
    let bed = Bed::new(hello().cap(10)).await;
    let slow = || Slow::new(10, 10, SECOND);
    assert_eq!(post(&bed, slow()).await.status, 200);
    bed.change(|raw| raw.limits.body = Some("5s".into())).await;
    let late = post(&bed, slow()).await;
    assert_eq!((late.status.as_u16(), late.reason()), (408, "body_too_slow"));
    assert_eq!(post(&bed, Slow::new(4, 10, SECOND)).await.status, 200);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn both_sides_may_be_silent_for_so_long() {
    let bed = Bed::new(hello().cap(10)).await;
    let running = bed.send(Ask::taking(20_000)).await;
    bed.change(|raw| raw.limits.idle = Some("5s".into())).await;
    let silent = bed.get(Ask::taking(8_000)).await;
    assert_eq!((silent.status.as_u16(), silent.reason()), (504, "idle_too_long"));
    assert_eq!(bed.get(Ask::taking(4_000)).await.status, 200);
    assert_eq!(post(&bed, Slow::new(4, 10, 4 * SECOND)).await.status, 200, "it moves");
    in_order(vec![("running", running)]).await;
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_request_may_take_so_long_in_all() {
    let bed = Bed::new(hello().cap(10)).await;
    assert_eq!(bed.get(Ask::taking(100_000)).await.status, 200);
    let running = bed.send(Ask::taking(30_000)).await;
    bed.change(|raw| {
        (raw.limits.total, raw.limits.header) = (Some("10s".into()), None);
        (raw.overflow.max_wait, raw.overflow.hold_while_starting) = (None, None);
    })
    .await;
    let began = bed.world.now();
    let late = bed.get(Ask::taking(60_000)).await;
    assert_eq!((late.status.as_u16(), late.reason()), (504, "total_timed_out"));
    assert!(bed.world.now().since(began) < 11 * SECOND);
    in_order(vec![("running", running)]).await;
    bed.change(|raw| raw.limits.total = Some("none".into())).await;
    assert_eq!(bed.get(Ask::taking(600_000)).await.status, 200);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_head_may_be_so_large() {
    let bed = Bed::new(hello().cap(10)).await;
    let long = || Ask::taking(0).field("x-long", &"x".repeat(3_000));
    let many = || (0..30).fold(Ask::taking(0), |ask, n| ask.field(&format!("x-{n}"), "y"));
    assert_eq!(bed.get(long()).await.status, 200);
    assert_eq!(bed.get(many()).await.status, 200);
    bed.change(|raw| raw.limits.header_size = Some("2 KB".into())).await;
    let refused = bed.get(long()).await;
    assert_eq!((refused.status.as_u16(), refused.reason()), (431, "head_too_large"));
    assert_eq!(bed.get(many()).await.status, 200);
    bed.change(|raw| raw.limits.header_count = Some(20)).await;
    assert_eq!(bed.get(many()).await.status, 431);
    assert_eq!(bed.get(Ask::taking(0)).await.status, 200);
}

/// Which instances served so many requests of one client, one after the other, beside others.
async fn servers(bed: &Bed, ask: impl Fn() -> Ask) -> BTreeSet<String> {
    let mut by = BTreeSet::new();
    for _ in 0..12 {
        // Others, so that the least loaded is now one and now the other.
        let other = bed.send(Ask::taking(7)).await;
        by.insert(bed.get(ask()).await.body);
        in_order(vec![("other", other)]).await;
    }
    by
}

#[tokio::test(start_paused = true)]
pub(crate) async fn clients_find_their_instance_again() {
    let spec = hello().cap(10).between(3, 3).with(|raw| raw.scaling.minimum_active = Some(3));
    let bed = Bed::new(spec).await;
    bed.until("three", |seen| seen.ready() == 3).await;
    let by_header = || Ask::taking(5).field("x-session", "one");
    assert!(servers(&bed, by_header).await.len() > 1, "by load");
    bed.change(|raw| {
        (raw.sticky.by, raw.sticky.name) = (Some("header".into()), Some("x-session".into()));
    })
    .await;
    assert_eq!(servers(&bed, by_header).await.len(), 1);
    let mut all = BTreeSet::new();
    for client in 0..30 {
        all.extend([bed.get(Ask::taking(0).field("x-session", &client.to_string())).await.body]);
    }
    assert_eq!(all.len(), 3, "clients are shared out");
    bed.change(|raw| (raw.sticky.by, raw.sticky.name) = (Some("client_ip".into()), None)).await;
    assert_eq!(servers(&bed, || Ask::taking(5).from("192.0.2.7")).await.len(), 1);

    bed.change(|raw| {
        raw.sticky.by = Some("cookie".into());
        raw.sticky.name = Some("who".into());
        raw.sticky.lifetime = Some("10m".into());
    })
    .await;
    let first = bed.get(Ask::taking(0)).await;
    let cookie = first.headers["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.starts_with("who=") && cookie.contains("Max-Age=600"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair").to_owned();
    let by_cookie = || Ask::taking(5).field("cookie", &pair);
    assert_eq!(servers(&bed, by_cookie).await, BTreeSet::from([first.body]));
    let again = bed.get(by_cookie()).await;
    assert!(!again.headers.contains_key("set-cookie"), "it has it");
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_strict_session_waits_for_its_instance() {
    let spec = hello().cap(1).between(2, 2).with(|raw| {
        raw.scaling.minimum_active = Some(2);
        (raw.sticky.by, raw.sticky.name) = (Some("header".into()), Some("x-session".into()));
    });
    let bed = Bed::new(spec).await;
    bed.until("two", |seen| seen.ready() == 2).await;
    let ask = || Ask::taking(1_000).field("x-session", "one");
    let both = async || {
        let first = bed.send(ask()).await;
        let second = bed.get(ask()).await.body;
        (first.await.expect("no panic").body, second)
    };
    let (first, second) = both().await;
    assert_ne!(first, second, "a preference yields to a free slot");
    bed.change(|raw| raw.sticky.strict = Some(true)).await;
    let (first, second) = both().await;
    assert_eq!(first, second);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn requests_are_written_down_where_settings_want_it() {
    let bed = Bed::new(hello().cap(10)).await;
    bed.get(Ask::taking(0).path("/a?secret=1")).await;
    assert_eq!(access_log::taken(), Vec::<String>::new());
    bed.change(|raw| raw.observability.access_log = Some(true)).await;
    bed.get(Ask::taking(0).path("/a?secret=1").from("192.0.2.7")).await;
    let written = access_log::taken();
    let [line] = written.as_slice() else { panic!("{written:?}") };
    for part in ["service=hello", "path=/a ", "status=200", "192.0.2.7:1", "instance="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("secret"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_the_answer_is_written_down_as_such() {
    let bed = Bed::new(hello().cap(1)).await;
    bed.change(|raw| raw.observability.access_log = Some(true)).await;
    let (served, waiting) = (bed.send(Ask::taking(9_000)).await, bed.send(Ask::taking(1)).await);
    pass(SECOND).await;
    waiting.abort();
    let _ = waiting.await;
    let left = access_log::taken();
    let [line] = left.as_slice() else { panic!("{left:?}") };
    for part in ["service=hello", "status=499", "reason=\"left\"", "after_ms=1"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // At an instance already, and still without an answer.
    served.abort();
    let _ = served.await;
    let left = access_log::taken();
    assert!(left.len() == 1 && left[0].contains("status=499"), "{left:?}");
    bed.get(Ask::taking(0)).await;
    let answered = access_log::taken();
    assert!(answered.len() == 1 && answered[0].contains("status=200"), "once each: {answered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_an_instance_is_written_down_with_its_place_in_the_chain() {
    let bed = Bed::new(hello().cap(10)).await;
    bed.change(|raw| raw.observability.access_log = Some(true)).await;
    let written = async |hops: Option<&str>| {
        let mut ask = Ask::taking(0);
        if let Some(hops) = hops {
            ask = ask.field("x-runner-hops", hops);
        }
        let mut request = ask.request(http_body_util::Full::default());
        request.extensions_mut().insert(RequestId("chain-7".parse().expect("a value")));
        let by_name = bed.platform.service_of("hello").await.expect("there");
        let Ok(_) = by_name.oneshot(request).await;
        access_log::taken().pop().expect("a line")
    };
    for (said, hops) in [(None, "hops=1 "), (Some("2"), "hops=3 ")] {
        let line = written(said).await;
        assert!(line.contains(hops) && line.contains("request=\"chain-7\""), "{line}");
    }
    assert!(written(Some("16")).await.contains("reason=\"too_many_hops\""));
    bed.get(Ask::taking(0).field("x-runner-hops", "2")).await;
    let outside = access_log::taken().pop().expect("a line");
    assert!(!outside.contains("hops="), "a stranger has no place in it: {outside}");
}

#[tokio::test(start_paused = true)]
pub(crate) async fn traces_are_passed_on_or_cut_off() {
    let world = Memory::new(1);
    let all: Cidr = "192.0.2.0/24".parse().expect("a range");
    let builder = world.builder().trust(Trust::networks([all]));
    let bed = Bed::on(world, builder, hello().cap(10)).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let saw = async |peer: &str| {
        let ask = Ask::taking(0).from(peer).field("traceparent", trace);
        bed.get(ask).await.headers.contains_key(SAW_TRACE)
    };
    assert_eq!((saw("192.0.2.7").await, saw("203.0.113.9").await), (true, false));
    bed.change(|raw| raw.observability.tracing = Some("off".into())).await;
    assert!(!saw("192.0.2.7").await);
}

#[tokio::test(start_paused = true)]
pub(crate) async fn tags_are_shown() {
    let bed = Bed::new(hello()).await;
    bed.change(|raw| _ = raw.tags.insert("team".into(), "greetings".into())).await;
    assert_eq!(bed.see().await.spec.settings().tags()["team"], "greetings");
}
