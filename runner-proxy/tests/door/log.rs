//! The access log, and what a service that panics does to others.

use std::{collections::BTreeMap, fmt, sync::mpsc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use runner_core::id::{RevisionNumber, ServiceId};
use runner_proxy::{
    exchange::{QueueTime, ServedBy},
    front_door::{ACCESS_LOG, Limits, RequestBody},
};
use tower::service_fn;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

use super::{bed::text, memory::open};

type Line = BTreeMap<&'static str, String>;

/// Hears one target from one level on.
struct Listens(mpsc::Sender<Line>, Level);

impl<S: Subscriber> Layer<S> for Listens {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == ACCESS_LOG && *metadata.level() <= self.1
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Fields(Line::new());
        event.record(&mut line);
        let _ = self.0.send(line.0);
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

/// What is logged, by a runtime whose thread listens.
fn logged(level: Level, asked: &'static str) -> Vec<Line> {
    let (tell, told) = mpsc::channel();
    let subscriber = tracing_subscriber::registry().with(Listens(tell, level));
    tracing::subscriber::with_default(subscriber, || {
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
    });
    told.try_iter().collect()
}

#[test]
fn each_request_is_one_event_with_all_that_is_known_of_it() {
    let lines = logged(
        Level::DEBUG,
        "POST /a/b?secret=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
    );
    let [line] = &lines[..] else { panic!("{lines:?}") };
    for (field, value) in [
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
    let left = logged(Level::DEBUG, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(left[0]["status"], "499");
    assert_eq!(left[0]["ended"], "left");
}

#[test]
fn at_info_nothing_is_logged_and_nothing_is_kept_for_it() {
    let lines = logged(Level::INFO, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(lines.is_empty(), "{lines:?}");
}

#[tokio::test]
async fn a_service_that_panics_ends_its_connection_and_no_other() {
    let service = service_fn(async |request: Request<RequestBody>| {
        assert!(request.uri().path() != "/panic", "this is what the test is about");
        Ok::<Response<_>, std::convert::Infallible>(text("fine"))
    });
    let door = open(service, Limits::default(), |door| door);
    let mut other = door.client(1024);
    assert_eq!(door.ask("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await, "");
    other.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    other.hear_until("fine").await;
    let handle = door.handle.clone();
    super::bed::until("it is counted", || handle.counters().panicked == 1).await;
}
