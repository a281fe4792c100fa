//! Layers of one service alone.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// A service as it is, or behind layers of its own: one type for both, so that one [`Routes`] can
/// hold them.
///
/// A plain one costs a branch. A layered one is boxed, and so are its futures and bodies.
///
/// [`Routes`]: super::Routes
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use runner_proxy::{OverflowQueueLayer, router::{Layered, Routes}};
/// use tower::service_fn;
///
/// let hello = |_: Request<()>| async {
///     Ok::<_, std::convert::Infallible>(Response::new(Full::new(bytes::Bytes::from("hello"))))
/// };
/// let mut routes = Routes::new();
/// routes.add(&"a.example".parse()?, "a", Layered::plain(service_fn(hello)))?;
/// let queue = OverflowQueueLayer::builder().concurrency(2).build()?;
/// routes.add(&"b.example".parse()?, "b", Layered::with(&queue, service_fn(hello)))?;
/// assert_eq!(routes.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Layered<S, B>(Kind<S, B>);

enum Kind<S, B> {
    Plain(S),
    Layered(Box<dyn Boxed<B>>),
}

type BoxError = Box<dyn StdError + Send + Sync>;
type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;
type BoxFuture = Pin<Box<dyn Future<Output = Result<Response<BoxBody>, BoxError>> + Send>>;

/// A service whose type was forgotten. Only ever used by one caller at a time.
trait Boxed<B>: Send + Sync {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;
    fn call(&mut self, request: Request<B>) -> BoxFuture;
    fn clone(&self) -> Box<dyn Boxed<B>>;
}

impl<S, B> Layered<S, B> {
    /// The service as it is.
    pub const fn plain(service: S) -> Self {
        Self(Kind::Plain(service))
    }

    /// The service behind a layer; a stack of them is one too.
    pub fn with<L, R>(layer: &L, service: S) -> Self
    where
        L: Layer<S>,
        L::Service: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<B>>>::Future: Send + 'static,
        <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
        R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(Kind::Layered(Box::new(layer.layer(service))))
    }
}

impl<T, B, R> Boxed<B> for T
where
    T: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
    T: Clone + Send + Sync + 'static,
    T::Future: Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(self, cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> BoxFuture {
        let response = Service::call(self, request);
        Box::pin(async move {
            let response = response.await.map_err(Into::into)?;
            Ok(response.map(|body| Box::pin(BoxedErrors(body)) as BoxBody))
        })
    }

    fn clone(&self) -> Box<dyn Boxed<B>> {
        Box::new(Clone::clone(self))
    }
}

impl<S, B, R> Service<Request<B>> for Layered<S, B>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = Response<LayeredBody<R>>;
    type Error = BoxError;
    type Future = LayeredFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Kind::Plain(service) => service.poll_ready(cx).map_err(Into::into),
            Kind::Layered(service) => service.poll_ready(cx),
        }
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> LayeredFuture<S::Future> {
        match &mut self.0 {
            Kind::Plain(service) => LayeredFuture(FutureKind::Plain(service.call(request))),
            Kind::Layered(service) => LayeredFuture(FutureKind::Layered(service.call(request))),
        }
    }
}

impl<S: Clone, B> Clone for Layered<S, B> {
    fn clone(&self) -> Self {
        match &self.0 {
            Kind::Plain(service) => Self(Kind::Plain(service.clone())),
            Kind::Layered(service) => Self(Kind::Layered(Boxed::clone(&**service))),
        }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for Layered<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Plain(service) => f.debug_tuple("Layered::plain").field(service).finish(),
            Kind::Layered(_) => f.debug_tuple("Layered::with").finish_non_exhaustive(),
        }
    }
}

/// The response to come.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct LayeredFuture<F>(#[pin] FutureKind<F>);

#[pin_project(project = FutureProjection)]
enum FutureKind<F> {
    Plain(#[pin] F),
    Layered(BoxFuture),
}

impl<F, R, E> Future for LayeredFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<LayeredBody<R>>, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            FutureProjection::Plain(response) => response
                .poll(cx)
                .map_ok(|response| response.map(|body| LayeredBody(BodyKind::Plain(body))))
                .map_err(Into::into),
            FutureProjection::Layered(response) => response
                .as_mut()
                .poll(cx)
                .map_ok(|response| response.map(|body| LayeredBody(BodyKind::Layered(body)))),
        }
    }
}

impl<F> fmt::Debug for LayeredFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredFuture").finish_non_exhaustive()
    }
}

/// The body of a response of a [`Layered`] service.
#[pin_project]
pub struct LayeredBody<R>(#[pin] BodyKind<R>);

#[pin_project(project = BodyProjection)]
enum BodyKind<R> {
    Plain(#[pin] R),
    Layered(BoxBody),
}

impl<R: Body<Data = Bytes, Error: Into<BoxError>>> Body for LayeredBody<R> {
    type Data = Bytes;
    type Error = BoxError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().0.project() {
            BodyProjection::Plain(body) => body.poll_frame(cx).map_err(Into::into),
            BodyProjection::Layered(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodyKind::Plain(body) => body.is_end_stream(),
            BodyKind::Layered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodyKind::Plain(body) => body.size_hint(),
            BodyKind::Layered(body) => body.size_hint(),
        }
    }
}

impl<R> fmt::Debug for LayeredBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredBody").finish_non_exhaustive()
    }
}

/// A body whose error's type was forgotten.
#[pin_project]
struct BoxedErrors<R>(#[pin] R);

impl<R: Body<Data = Bytes, Error: Into<BoxError>>> Body for BoxedErrors<R> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().0.poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
