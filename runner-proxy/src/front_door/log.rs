//! The access log: one event per request.

use std::time::Duration;

use http::{Extensions, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use tokio::time::Instant;

use crate::{
    answer::DoorFault,
    exchange::{ClientConnection, QueueTime, RequestId, ServedBy},
};

/// The target of the access log: one event of level DEBUG for each request, when it has ended.
///
/// Where nobody listens to it a request costs one look at a static. The fields are `request_id`,
/// `peer`, `protocol`, `method`, `path` (without its query, which may hold secrets), `status`,
/// `reason`, `duration_ms`, `queue_ms`, `upstream_ms`, `bytes_in`, `bytes_out`, `service`,
/// `instance`, `revision`, `attempts` and `ended`: `whole`, `broken` (the answer failed on its way)
/// or `left` (the client did not take all of it, or went before it began; the status is 499 then,
/// and nobody was sent it).
///
/// An upgraded connection is one line as well, about the request that opened it: it is written when
/// the 101 (over HTTP/2, the 200) was handed over, so `duration_ms` is how long that took, and what
/// goes through the tunnel after it is in neither count of bytes. How many tunnels there were is
/// what [`DoorCounters::upgraded`](super::DoorCounters::upgraded) says.
pub const ACCESS_LOG: &str = "runner_proxy::access";

/// One request, as far as it is known.
pub(super) struct Entry {
    began: Instant,
    id: RequestId,
    client: ClientConnection,
    version: Version,
    method: Method,
    uri: Uri,
    queue: QueueTime,
    answered_after: Option<Duration>,
    status: Option<StatusCode>,
    reason: Option<String>,
    by: Option<ServedBy>,
    sent: u64,
    ended: &'static str,
}

impl Entry {
    #[inline]
    pub(super) fn begin<B>(
        request: &Request<B>,
        id: &RequestId,
        client: &ClientConnection,
    ) -> Option<Box<Self>> {
        tracing::enabled!(target: ACCESS_LOG, tracing::Level::DEBUG)
            .then(|| Self::of(request, id, *client))
    }

    #[cold]
    fn of<B>(request: &Request<B>, id: &RequestId, client: ClientConnection) -> Box<Self> {
        Box::new(Self {
            began: Instant::now(),
            id: id.clone(),
            client,
            version: request.version(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            queue: QueueTime::default(),
            answered_after: None,
            status: None,
            reason: None,
            by: None,
            sent: 0,
            ended: "left",
        })
    }

    /// Asks the queue to write down how long the request waits.
    pub(super) fn prepare(&self, extensions: &mut Extensions) {
        extensions.insert(self.queue.clone());
    }

    pub(super) fn answered<R>(&mut self, response: &Response<R>, fault: Option<DoorFault>) {
        self.answered_after = Some(self.began.elapsed());
        self.status = Some(response.status());
        let given = response.headers().get("x-refusal-reason").map(HeaderValue::to_str);
        let given = given.and_then(Result::ok);
        self.reason = fault.map(DoorFault::code).or(given).map(str::to_owned);
        self.by = response.extensions().get::<ServedBy>().copied();
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    pub(super) fn whole(&mut self) {
        self.ended = "whole";
    }

    pub(super) fn broke(&mut self) {
        self.ended = "broken";
    }

    pub(super) fn end(self, received: u64) {
        let took = self.began.elapsed();
        let queued = self.queue.get().unwrap_or_default();
        let upstream = self.by.and(self.answered_after).map(|after| after.saturating_sub(queued));
        tracing::debug!(
            target: ACCESS_LOG,
            request_id = self.id.0.to_str().unwrap_or(""),
            peer = self.client.peer.map(tracing::field::display),
            protocol = ?self.version,
            method = %self.method,
            path = self.uri.path(),
            status = self.status.map_or(499, |status| status.as_u16()),
            reason = self.reason,
            duration_ms = millis(took),
            queue_ms = millis(queued),
            upstream_ms = upstream.map(millis),
            bytes_in = received,
            bytes_out = self.sent,
            service = self.by.map(|by| tracing::field::display(by.instance.service)),
            instance = self.by.map(|by| by.instance.number),
            revision = self.by.map(|by| by.revision.number()),
            attempts = self.by.map(|by| by.attempts),
            ended = self.ended,
        );
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
