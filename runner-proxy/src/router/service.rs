//! The router as a tower service.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::{Routes, host, host_of, path};
use crate::{
    answer::{Answers, Asked, DoorFault},
    exchange::RequestId,
    told::MaybeOwn,
};

#[expect(clippy::disallowed_types, reason = "guards one pointer; nothing is awaited under it")]
type Newest<S> = std::sync::Mutex<Arc<Routes<S>>>;

/// A service that leads each request to the service of its host and path.
///
/// It stands inside a [`FrontDoor`](crate::front_door::FrontDoor), or inside any other server: the
/// whole path behind it is a plain tower service.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use runner_proxy::router::{Router, Routes};
/// use tower::{ServiceExt, service_fn};
///
/// let hello = service_fn(async |_: Request<()>| {
///     Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from("hello"))))
/// });
/// let mut routes = Routes::new();
/// routes.add(&"example.com/greet".parse()?, "hello", hello)?;
/// let router = Router::new(routes);
///
/// let request = Request::get("/greet/you").header("host", "Example.COM:8080").body(())?;
/// let found = router.clone().oneshot(request).await?;
/// assert_eq!(found.into_body().collect().await?.to_bytes(), "hello");
/// let request = Request::get("/elsewhere").header("host", "example.com").body(())?;
/// assert_eq!(router.oneshot(request).await?.status(), 404);
/// # Ok(())
/// # }
/// ```
pub struct Router<S> {
    published: Arc<Published<S>>,
    /// What was newest when this was last called: looking takes no lock.
    routes: Arc<Routes<S>>,
    version: u64,
    answers: Answers,
}

/// Publishes routes; cloning it gives another handle to the same router.
pub struct RouterHandle<S> {
    published: Arc<Published<S>>,
}

struct Published<S> {
    version: AtomicU64,
    newest: Newest<S>,
}

impl<S> Router<S> {
    /// A router with its first routes.
    pub fn new(routes: Routes<S>) -> Self {
        Self::with_answers(routes, Answers::default())
    }

    /// The same, with what it answers itself decided by the program.
    pub fn with_answers(routes: Routes<S>, answers: Answers) -> Self {
        let routes = Arc::new(routes);
        let newest = Newest::new(Arc::clone(&routes));
        let published = Published { version: AtomicU64::new(0), newest };
        Self { published: Arc::new(published), routes, version: 0, answers }
    }

    /// Publishes to this router and all its clones.
    pub fn handle(&self) -> RouterHandle<S> {
        RouterHandle { published: Arc::clone(&self.published) }
    }

    fn refresh(&mut self) {
        let version = self.published.version.load(Ordering::Acquire);
        if version != self.version {
            // Read before the routes, so that it is never newer than they are.
            self.version = version;
            self.routes = self.published.newest();
        }
    }

    fn find<B>(&self, request: &Request<B>) -> Result<&S, DoorFault> {
        let uri = request.uri();
        let host = match host_of(uri, request.headers())? {
            Some(host) => Some(host::normalised(host).ok_or(DoorFault::BadHost)?),
            None => None,
        };
        let path = path::normalised(uri.path()).ok_or(DoorFault::BadPath)?;
        self.routes.find(host.as_deref(), &path).ok_or(DoorFault::NoRoute)
    }
}

impl<S> RouterHandle<S> {
    /// Puts routes in the place of those before, at once and as a whole. Requests that were led
    /// by the old ones go on.
    pub fn publish(&self, routes: Routes<S>) {
        let mut newest = self.published.lock();
        let before = std::mem::replace(&mut *newest, Arc::new(routes));
        self.published.version.fetch_add(1, Ordering::Release);
        drop(newest);
        // Outside of the lock: the drop of services is the code of others.
        drop(before);
    }

    /// Changes the newest routes, with no other change in between.
    ///
    /// # Errors
    ///
    /// That of the change; then nothing is published.
    pub fn edit<E>(&self, change: impl FnOnce(&mut Routes<S>) -> Result<(), E>) -> Result<(), E>
    where
        S: Clone,
    {
        let mut newest = self.published.lock();
        let mut routes = Routes::clone(&newest);
        change(&mut routes)?;
        let before = std::mem::replace(&mut *newest, Arc::new(routes));
        self.published.version.fetch_add(1, Ordering::Release);
        drop(newest);
        drop(before);
        Ok(())
    }

    /// The newest routes.
    pub fn routes(&self) -> Arc<Routes<S>> {
        self.published.newest()
    }
}

impl<S> Published<S> {
    fn newest(&self) -> Arc<Routes<S>> {
        Arc::clone(&self.lock())
    }

    /// A change that panicked left the routes before it in place.
    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Routes<S>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, B, R> Service<Request<B>> for Router<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body,
    R::Data: From<Bytes>,
{
    type Response = Response<MaybeOwn<R>>;
    type Error = S::Error;
    type Future = RouterFuture<S, B>;

    /// Always ready: which service is meant is known only when it is called.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> RouterFuture<S, B> {
        self.refresh();
        match self.find(&request) {
            Ok(service) => RouterFuture(On::lead(service.clone(), request)),
            Err(fault) => {
                let id = request.extensions().get::<RequestId>().cloned();
                let asked = Asked::of(request.method(), request.headers(), id);
                RouterFuture(On::Fault(Some(Box::new(self.answers.answer(&asked, fault)))))
            }
        }
    }
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Self {
            published: Arc::clone(&self.published),
            routes: Arc::clone(&self.routes),
            version: self.version,
            answers: self.answers.clone(),
        }
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("routes", &self.routes).finish_non_exhaustive()
    }
}

impl<S> Clone for RouterHandle<S> {
    fn clone(&self) -> Self {
        Self { published: Arc::clone(&self.published) }
    }
}

impl<S> fmt::Debug for RouterHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterHandle").field("routes", &self.routes()).finish()
    }
}

/// The response to come. Dropping it drops the service's.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct RouterFuture<S: Service<Request<B>>, B>(#[pin] On<S, B>);

/// Readying => Calling. A request begins in any.
#[pin_project(project = OnProjection)]
enum On<S: Service<Request<B>>, B> {
    Calling(#[pin] S::Future),
    /// The service is not ready yet. Boxed, since most always are.
    Readying(Box<(S, Option<Request<B>>)>),
    Fault(Option<Box<Response<Bytes>>>),
    Failed(Option<S::Error>),
}

impl<S: Service<Request<B>>, B> On<S, B> {
    #[inline]
    fn lead(mut service: S, request: Request<B>) -> Self {
        // One that is not ready is asked again, with a waker, when this is polled.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Self::Calling(service.call(request)),
            Poll::Ready(Err(error)) => Self::Failed(Some(error)),
            Poll::Pending => Self::Readying(Box::new((service, Some(request)))),
        }
    }
}

impl<S, B, R> Future for RouterFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<MaybeOwn<R>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut on = self.project().0;
        loop {
            match on.as_mut().project() {
                OnProjection::Calling(response) => {
                    return response.poll(cx).map_ok(|r| r.map(MaybeOwn::service));
                }
                OnProjection::Readying(readying) => {
                    let (service, request) = &mut **readying;
                    ready!(service.poll_ready(cx))?;
                    let request = request.take().expect("it is called once");
                    let response = service.call(request);
                    on.set(On::Calling(response));
                }
                OnProjection::Fault(response) => {
                    let response = response.take().expect("a response comes once");
                    return Poll::Ready(Ok(response.map(MaybeOwn::ours)));
                }
                OnProjection::Failed(error) => {
                    return Poll::Ready(Err(error.take().expect("an error comes once")));
                }
            }
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for RouterFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterFuture").finish_non_exhaustive()
    }
}
