//! The access log.
//!
//! A binary of its own, since what a place in the code knows of its subscriber is one thing for a
//! whole process: the one here is there before any door, and hears each thread for itself.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests spawn, wait, and fail where they unwrap"
)]

#[path = "door/bed.rs"]
mod bed;
#[path = "door/memory.rs"]
mod memory;

use std::{cell::RefCell, collections::BTreeMap, fmt, sync::Once, time::Duration};

use bytes::Bytes;
use http::Request;
use runner_core::id::{RevisionNumber, ServiceId};
use runner_proxy::{
    exchange::{QueueTime, ServedBy},
    front_door::{ACCESS_LOG, Limits, RequestBody},
};
use tower::service_fn;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    subscriber::Interest,
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

use self::{bed::text, memory::open};

type Line = BTreeMap<&'static str, String>;

thread_local! {
    /// From which level on this thread listens, and what it heard.
    static HEARD: RefCell<(Level, Vec<Line>)> = const { RefCell::new((Level::ERROR, Vec::new())) };
}

/// Hears one target, each thread from its own level on.
struct Listens;

impl<S: Subscriber> Layer<S> for Listens {
    /// What one thread wants is not what another does, so nobody may remember it.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let level = HEARD.with_borrow(|(level, _)| *level);
        metadata.target() == ACCESS_LOG && *metadata.level() <= level
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Fields(Line::new());
        event.record(&mut line);
        HEARD.with_borrow_mut(|(_, lines)| lines.push(line.0));
    }
}

struct Fields(Line);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// What is logged by a runtime on this thread.
fn logged(level: Level, asked: &'static str) -> Vec<Line> {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Listens);
        tracing::subscriber::set_global_default(subscriber).expect("it is the first");
    });
    HEARD.set((level, Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let service = service_fn(async |request: Request<RequestBody>| {
            if request.uri().path() == "/slow" {
                std::future::pending::<()>().await;
            }
            if let Some(time) = request.extensions().get::<QueueTime>() {
                time.set(Duration::from_millis(40));
            }
            let mut response = text(Bytes::from("hello"));
            response.extensions_mut().insert(ServedBy {
                instance: ServiceId::from_random(7).instance(3),
                revision: RevisionNumber::new(2),
                attempts: 1,
            });
            Ok::<_, std::convert::Infallible>(response)
        });
        let door = open(service, Limits::default(), |door| door);
        if asked.contains("/slow") {
            let mut client = door.client(1024);
            client.say(asked).await;
            while door.handle.counters().requests.http11 == 0 {
                tokio::task::yield_now().await;
            }
            drop(client);
            while door.handle.counters().open > 0 {
                tokio::task::yield_now().await;
            }
        } else {
            door.ask(asked).await;
        }
    });
    // What still runs ends here, and is written down too.
    drop(runtime);
    HEARD.with_borrow_mut(|(_, lines)| std::mem::take(lines))
}

#[test]
fn each_request_is_one_event_with_all_that_is_known_of_it() {
    let lines = logged(
        Level::DEBUG,
        "POST /a/b?secret=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
    );
    let [line] = &lines[..] else { panic!("{lines:?}") };
    for (field, value) in [
        ("peer", "192.0.2.7:4711"),
        ("method", "POST"),
        ("path", "/a/b"),
        ("protocol", "HTTP/1.1"),
        ("status", "200"),
        ("bytes_out", "5"),
        ("queue_ms", "40.0"),
        ("instance", "3"),
        ("revision", "2"),
        ("attempts", "1"),
        ("ended", "whole"),
    ] {
        assert_eq!(line.get(field).map(String::as_str), Some(value), "{field} in {line:?}");
    }
    assert!(line["request_id"].ends_with("-0000000000000000"), "{line:?}");
    assert!(!line.contains_key("reason"), "{line:?}");
    assert!(!format!("{line:?}").contains("secret"));
}

#[test]
fn a_refusal_has_its_reason_and_a_client_that_left_is_said_to_have() {
    let refused = logged(Level::DEBUG, "GET / HTTP/1.1\r\n\r\n");
    assert_eq!(refused[0]["reason"], "bad_host");
    assert_eq!(refused[0]["status"], "400");
    assert_eq!(refused[0]["peer"], "192.0.2.7:4711", "whoever is refused is somebody");
    let left = logged(Level::DEBUG, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(left[0]["status"], "499");
    assert_eq!(left[0]["ended"], "left");
}

#[test]
fn at_info_nothing_is_logged_and_nothing_is_kept_for_it() {
    let lines = logged(Level::INFO, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(lines.is_empty(), "{lines:?}");
}
