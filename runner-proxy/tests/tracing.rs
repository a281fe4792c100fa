//! What is recorded on the span of a request.

use std::{convert::Infallible, fmt, sync::mpsc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use runner_proxy::OverflowQueueLayer;
use tower::{Layer as _, ServiceExt, service_fn};
use tracing::{
    Instrument, Subscriber,
    field::{Empty, Field, Visit},
    span::{Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*};

/// Sends on what is recorded on any span.
struct Recorded(mpsc::Sender<(&'static str, String)>);

impl<S: Subscriber> Layer<S> for Recorded {
    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut Page(&self.0));
    }
}

struct Page<'a>(&'a mpsc::Sender<(&'static str, String)>);

impl Visit for Page<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = self.0.send((field.name(), format!("{value:?}")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_and_a_refusal_are_recorded_and_a_request_at_once_records_nothing() {
    let (sender, recorded) = mpsc::channel();
    let _guard = tracing_subscriber::registry().with(Recorded(sender)).set_default();
    let queue = OverflowQueueLayer::builder().concurrency(1).max_waiting(1).build();
    let service = queue.expect("a valid cap").layer(service_fn(|_: Request<()>| async {
        #[expect(clippy::disallowed_methods, reason = "the work, in paused time")]
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    }));
    let ask = || {
        let span = tracing::info_span!("request", queue.wait_ms = Empty, queue.refused = Empty);
        service.clone().oneshot(Request::new(())).instrument(span)
    };
    let answers = join_all([ask(), ask(), ask()]).await;
    let statuses = answers.into_iter().map(|answer| answer.expect("it cannot fail").status());
    assert!(statuses.eq([200, 200, 429]));
    let expected = [("queue.refused", "\"queue_full\""), ("queue.wait_ms", "200.0")];
    let recorded: Vec<_> = recorded.try_iter().collect();
    assert!(
        recorded.iter().map(|(name, value)| (*name, value.as_str())).eq(expected),
        "{recorded:?}"
    );
}
