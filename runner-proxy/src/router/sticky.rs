//! Sticky sessions by cookie: who came to an instance comes back to it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use pin_project::pin_project;
use runner_core::{
    admission::{Ask, Pin as Insist},
    id::{InstanceId, ServiceId},
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    exchange::{ClientConnection, ServedBy},
    queue::{RequestHead, ask_by_timeout},
};

/// The two halves of a sticky session: [`ask`](Self::ask) reads the cookie before the queue, and
/// [`layer`](Self::layer) sets it behind.
///
/// A session is a preference: it yields to any free slot, so nobody waits for one instance while
/// another is idle, unless it was made [`strict`](Self::strict). It ends with its instance, and
/// the next answer names another. The cookie holds the number of an instance and nothing about
/// the client; one that was made up is a preference like any other.
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use http::{Request, Response};
/// use runner_core::{
///     admission::{QueueSettings, Snapshot},
///     id::{RevisionNumber, ServiceId},
/// };
/// use runner_proxy::{exchange::ServedBy, pool::Pool, refusal_response, router::Sticky};
/// use tower::{Layer, service_fn};
///
/// let service = ServiceId::from_random(7);
/// let sticky = Sticky::new(service, "session_at")?;
/// let pool = Pool::with(
///     QueueSettings::new(100, Duration::from_secs(10)),
///     Snapshot::default(),
///     { let sticky = sticky.clone(); move |head| sticky.ask(head) },
///     |head, refusal| refusal_response(head, refusal, ""),
/// );
/// # let _ = pool;
/// // `sticky.layer()` goes around the pool's service.
/// # Ok::<(), runner_proxy::router::InvalidCookie>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sticky {
    service: ServiceId,
    name: String,
    strict: bool,
    lifetime: Option<Duration>,
}

impl Sticky {
    /// Sessions of a service, in a cookie of this name.
    ///
    /// # Errors
    ///
    /// The name is none that a cookie may have.
    pub fn new(service: ServiceId, name: &str) -> Result<Self, InvalidCookie> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&b);
        match !name.is_empty() && name.len() <= 64 && name.bytes().all(token) {
            true => Ok(Self { service, name: name.to_owned(), strict: false, lifetime: None }),
            false => Err(InvalidCookie(name.to_owned())),
        }
    }

    /// The same, waited for: a request waits for its instance though another has a free slot.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// The same, kept by clients for so long after an answer set it. Otherwise they keep it until
    /// they are closed.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// What a request asks for: its instance, and no longer a wait than its client has.
    pub fn ask(&self, head: &RequestHead<'_>) -> Ask {
        let mut ask = ask_by_timeout(head);
        match self.instance(head.headers) {
            Some(instance) if self.strict => ask.pin = Insist::Instance(instance),
            instance => ask.prefer = instance,
        }
        ask
    }

    /// The instance that a request's cookie names.
    pub fn instance(&self, headers: &HeaderMap) -> Option<InstanceId> {
        let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
        let mut pairs = fields.flat_map(|field| field.split(';'));
        let number = pairs.find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.name && value.len() <= 16).then_some(value)
        })?;
        Some(self.service.instance(u64::from_str_radix(number, 16).ok()?))
    }

    /// Sets the cookie where an answer came from another instance than the request's names.
    pub fn layer(&self) -> StickyLayer {
        StickyLayer { sticky: self.clone() }
    }

    /// Sets the cookie of an answer that came from another instance than the request's names: what
    /// [`layer`](Self::layer) does, for who has request and answer in hand.
    pub fn sign<B>(&self, response: &mut Response<B>, came_for: Option<InstanceId>, secure: bool) {
        let by = response.extensions().get::<ServedBy>().map(|by| by.instance);
        if let Some(by) = by.filter(|by| Some(*by) != came_for)
            && let Some(cookie) = self.cookie(by.number, secure)
        {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }

    fn cookie(&self, number: u64, secure: bool) -> Option<HeaderValue> {
        let secure = if secure { "; Secure" } else { "" };
        let age = self.lifetime.map(|span| format!("; Max-Age={}", span.as_secs()));
        let age = age.as_deref().unwrap_or_default();
        let cookie =
            format!("{}={number:x}; Path=/{age}; HttpOnly; SameSite=Lax{secure}", self.name);
        HeaderValue::try_from(cookie).ok()
    }
}

/// Makes the answers of a service set the cookie of [`Sticky`].
#[derive(Clone, Debug)]
pub struct StickyLayer {
    sticky: Sticky,
}

impl<S> Layer<S> for StickyLayer {
    type Service = StickyService<S>;

    fn layer(&self, inner: S) -> StickyService<S> {
        StickyService { inner, sticky: self.sticky.clone() }
    }
}

/// A service whose answers set the cookie of [`Sticky`].
#[derive(Clone, Debug)]
pub struct StickyService<S> {
    inner: S,
    sticky: Sticky,
}

impl<S, B, R> Service<Request<B>> for StickyService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = StickyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let came_for = self.sticky.instance(request.headers());
        let secure = request.extensions().get::<ClientConnection>().is_some_and(|by| by.secure);
        let sticky = self.sticky.clone();
        StickyFuture { inner: self.inner.call(request), sticky, came_for, secure }
    }
}

/// The response to come.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct StickyFuture<F> {
    #[pin]
    inner: F,
    sticky: Sticky,
    came_for: Option<InstanceId>,
    secure: bool,
}

impl<F, R, E> Future for StickyFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        this.sticky.sign(&mut response, *this.came_for, *this.secure);
        Poll::Ready(Ok(response))
    }
}

/// A name that no cookie may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCookie(String);

impl fmt::Display for InvalidCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no name of a cookie: letters, digits, `-` and `_` are", self.0)
    }
}

impl std::error::Error for InvalidCookie {}
