//! The data path of one service: its rules around its queue, and forwarding behind that.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use runner_core::id::InstanceId;
use runner_proxy::{
    exchange::{ClientConnection, FromInside, RequestId, ServedBy},
    pool::{Pool, PoolFuture, PoolQueue},
    queue::ResponseBody,
    router::Sticky as Cookie,
};
use tokio::time::Instant;
use tower_layer::Layer as _;
use tower_service::Service;

use super::{
    Reach,
    answer::{self, Reader},
    hops::{self, MAX_HOPS},
    limited::{Limited, LimitedBody, PathError},
    rules::{Rulebook, Rules, TurnedAway},
};
use runner_proxy::forward::Forward;

/// The data path of one service: who may come in, its queue, its limits, and forwarding.
#[derive(Clone)]
pub struct ServicePath {
    queue: PoolQueue<Limited>,
    book: Arc<Rulebook>,
    /// For other services of the platform: networks are about clients from outside.
    inside: bool,
    /// Through how many services a request may come, where the platform has an inner door.
    max_hops: Option<u32>,
}

/// What a service's data path is made from; cloned wherever it is needed.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) pool: Pool,
    pub(crate) forward: Forward<Reach>,
    pub(crate) book: Arc<Rulebook>,
    pub(crate) max_hops: Option<u32>,
}

impl Way {
    /// For clients from outside.
    pub(crate) fn path(&self) -> ServicePath {
        let limited = Limited::new(self.forward.clone(), Arc::clone(&self.book));
        let queue = self.pool.layer().layer(limited);
        let (book, max_hops) = (Arc::clone(&self.book), self.max_hops);
        ServicePath { queue, book, inside: false, max_hops }
    }

    /// For services that reach each other by name.
    pub(crate) fn path_inside(&self) -> ServicePath {
        ServicePath { inside: true, ..self.path() }
    }
}

impl fmt::Debug for ServicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServicePath").field("service", &self.book.name).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for ServicePath
where
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<PathBody>;
    type Error = Infallible;
    type Future = PathFuture<B>;

    /// Always ready: what readiness would take, an idle clone would keep from others.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> PathFuture<B> {
        let rules = self.book.rules();
        let (mut parts, body) = request.into_parts();
        let hops = self.hops(&mut parts.headers);
        let logged = rules.access_log.then(|| Box::new(Logged::begin(&self.book, &parts, hops)));
        let why = match hops > self.max_hops.unwrap_or(MAX_HOPS) {
            true => Some(TurnedAway::TooManyHops),
            false => rules.turns_away(&parts, body.size_hint().lower(), self.inside),
        };
        if let Some(why) = why {
            let reason = match why {
                TurnedAway::TooManyHops => answer::TOO_MANY_HOPS,
                TurnedAway::AddressNotAllowed => answer::ADDRESS_NOT_ALLOWED,
                TurnedAway::FamilyNotServed => answer::FAMILY_NOT_SERVED,
                TurnedAway::BodyTooLarge => answer::BODY_TOO_LARGE,
                TurnedAway::HeadTooLarge => answer::HEAD_TOO_LARGE,
            };
            let reader = Reader::of(&parts.method, &parts.headers, &parts.extensions);
            let response = Some(Box::new(reader.answer(reason)));
            return PathFuture { on: On::TurnedAway(response), rules, session: None, logged };
        }
        if self.inside {
            hops::write_hops(&mut parts.headers, hops);
            parts.extensions.insert(FromInside);
        }
        if rules.cuts_traces {
            for name in &TRACE {
                parts.headers.remove(name);
            }
        }
        let session = rules.session(&parts.headers).map(|(cookie, came_for)| {
            let client = parts.extensions.get::<ClientConnection>();
            let secure = client.is_some_and(|client| client.secure);
            Box::new(Session { cookie, came_for, secure })
        });
        let queued = self.queue.call(Request::from_parts(parts, body));
        // After it was counted: whoever looks either sees it or is told.
        self.book.nudge.note_request();
        PathFuture { on: On::Queued(queued), rules, session, logged }
    }
}

impl ServicePath {
    /// Through how many services a request has come when this one has it: none, if it is from
    /// outside, whatever it says.
    fn hops(&self, headers: &mut HeaderMap) -> u32 {
        match (self.inside, self.max_hops) {
            (true, _) => hops::hops_of(headers).saturating_add(1),
            (false, Some(_)) => {
                hops::remove_hops(headers);
                0
            }
            // Nobody reads it.
            (false, None) => 0,
        }
    }
}

/// A session that an answer may move to another instance.
struct Session {
    cookie: Cookie,
    came_for: Option<InstanceId>,
    secure: bool,
}

/// The response to come. Dropping it gives up the place in the queue, or the slot.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct PathFuture<B: Body<Data = Bytes> + Send + 'static> {
    #[pin]
    on: On<B>,
    rules: Arc<Rules>,
    session: Option<Box<Session>>,
    logged: Option<Box<Logged>>,
}

#[pin_project(project = OnProjection)]
enum On<B: Body<Data = Bytes> + Send + 'static> {
    Queued(#[pin] PoolFuture<Limited, B>),
    TurnedAway(Option<Box<Response<Bytes>>>),
}

impl<B: Body<Data = Bytes> + Send + 'static> Future for PathFuture<B> {
    type Output = Result<Response<PathBody>, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.on.project() {
            OnProjection::Queued(queued) => {
                let Ok(response) = ready!(queued.poll(context));
                response.map(|body| PathBody(Whose::Service(body)))
            }
            OnProjection::TurnedAway(response) => {
                let response = response.take().expect("a response comes once");
                response.map(|text| PathBody(Whose::Ours(LimitedBody::own(text))))
            }
        };
        if let Some(session) = this.session {
            session.cookie.sign(&mut response, session.came_for, session.secure);
        }
        // Of an instance's own 504 the instance has decided.
        if response.status() == StatusCode::GATEWAY_TIMEOUT
            && response.extensions().get::<ServedBy>().is_none()
        {
            *response.status_mut() = this.rules.too_slow();
        }
        if let Some(logged) = this.logged {
            logged.end(&response);
        }
        Poll::Ready(Ok(response))
    }
}

impl<B: Body<Data = Bytes> + Send + 'static> fmt::Debug for PathFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathFuture").finish_non_exhaustive()
    }
}

/// One request of a service whose settings want each written down.
struct Logged {
    service: String,
    peer: Option<String>,
    method: String,
    /// Without its query, which may hold secrets.
    path: String,
    /// What it is called: the same along a chain of calls.
    request: Option<HeaderValue>,
    /// Through how many services it came; none from outside.
    hops: u32,
    began: Instant,
    is_written: bool,
}

impl Logged {
    fn begin(book: &Rulebook, parts: &http::request::Parts, hops: u32) -> Self {
        let peer = parts.extensions.get::<ClientConnection>().and_then(|client| client.peer);
        Self {
            service: book.name.to_string(),
            peer: peer.map(|peer| peer.to_string()),
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            request: parts.extensions.get::<RequestId>().map(|RequestId(id)| id.clone()),
            hops,
            began: Instant::now(),
            is_written: false,
        }
    }

    fn end(&mut self, response: &Response<PathBody>) {
        let by = response.extensions().get::<ServedBy>().map(|by| by.instance);
        let reason = response.headers().get("x-refusal-reason");
        let reason = reason.and_then(|reason| reason.to_str().ok());
        self.write(response.status().as_u16(), reason, by);
    }

    fn write(&mut self, status: u16, reason: Option<&str>, by: Option<InstanceId>) {
        self.is_written = true;
        let Self { service, peer, method, path, request, hops, began, .. } = self;
        tracing::info!(
            target: ACCESS_LOG,
            %service,
            peer = peer.as_deref(),
            %method,
            %path,
            request = request.as_ref().and_then(|id| id.to_str().ok()),
            hops = Some(*hops).filter(|hops| *hops > 0),
            status,
            reason,
            instance = by.map(tracing::field::display),
            after_ms = began.elapsed().as_secs_f64() * 1e3,
            "{method} {path} {status}"
        );
    }
}

/// A request whose answer nobody waits for any more, in the queue or at an instance, is one too.
impl Drop for Logged {
    fn drop(&mut self) {
        if !self.is_written {
            self.write(LEFT, Some("left"), None);
        }
    }
}

/// The body of a response of a platform.
#[pin_project]
#[derive(Debug)]
pub struct PathBody(#[pin] Whose);

#[pin_project(project = WhoseProjection)]
#[derive(Debug)]
enum Whose {
    Service(#[pin] ResponseBody<LimitedBody>),
    Ours(#[pin] LimitedBody),
}

impl Body for PathBody {
    type Data = Bytes;
    type Error = PathError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PathError>>> {
        match self.project().0.project() {
            WhoseProjection::Service(body) => body.poll_frame(context),
            WhoseProjection::Ours(body) => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Whose::Service(body) => body.is_end_stream(),
            Whose::Ours(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Whose::Service(body) => body.size_hint(),
            Whose::Ours(body) => body.size_hint(),
        }
    }
}

/// The status of a request whose client went before its answer began: nobody is told it, and logs
/// have it since nginx wrote the first.
const LEFT: u16 = 499;

/// The target of the log that `observability.access_log` turns on: one event of level INFO for
/// each request of the service, when its answer begins, or with the status 499 and the reason
/// `left` when nobody waits for it any more: its client has gone, or was cut off by its server. A
/// request that came by the inner door has `hops`: one for a call of an instance, two for a call
/// that was made to answer one, and so on.
pub const ACCESS_LOG: &str = "runner_platform::access";

/// The fields that carry a trace: of the W3C, and of those before it.
static TRACE: [HeaderName; 8] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    HeaderName::from_static("b3"),
    HeaderName::from_static("x-b3-traceid"),
    HeaderName::from_static("x-b3-spanid"),
    HeaderName::from_static("x-b3-sampled"),
    HeaderName::from_static("x-amzn-trace-id"),
];
