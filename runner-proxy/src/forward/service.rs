//! The service, and what the control side tells it.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use runner_core::{
    id::{InstanceId, RevisionNumber},
    spec::Protocol,
};
use tower_service::Service;

use super::{
    body::ForwardBody,
    budget::Budget,
    connect::{Connect, Network},
    connections::Connections,
    counters::ForwardCounters,
    course::{self, BoxCourse},
    instances::Instances,
    outgoing::Outgoing,
    settings::{ForwardBuilder, TimeLimits},
    shared::Shared,
    tasks::Tasks,
};

/// Sends each request to the instance that it was [assigned](crate::pool::Assignment); see the
/// [module page](super).
///
/// Clones share connections and counters.
pub struct Forward<C = Network> {
    shared: Arc<Shared<C>>,
}

impl<C: Connect> Forward<C> {
    /// A service with defaults for everything but how instances are reached.
    ///
    /// ```
    /// use runner_proxy::forward::{Forward, Network};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (forward, connections) = Forward::builder(Network::new()).build();
    /// let connections = tokio::spawn(connections.run());
    /// // Router, server: pool.layer().layer(forward.clone())
    /// drop(forward);
    /// assert!(connections.await.is_ok(), "it ends with the last clone");
    /// # }
    /// ```
    pub fn builder(connect: C) -> ForwardBuilder<C> {
        ForwardBuilder::new(connect)
    }

    /// What is spoken to the instances of a revision that have had no request yet. Say it before
    /// the snapshot that sends the first. It is kept for the 64 revisions that it was said of last.
    pub fn speak(&self, revision: RevisionNumber, protocol: Protocol) {
        self.shared.instances.speak(revision, protocol);
    }

    /// Puts limits in the place of those before, for requests that come from now on.
    pub fn set_limits(&self, limits: TimeLimits) {
        self.shared.set_limits(limits);
    }

    /// Only these instances are there: those of the snapshot that was just applied. The
    /// connections to all others are closed, those in use after their request, and their counters
    /// forgotten.
    pub fn retain(&self, instances: impl IntoIterator<Item = InstanceId>) {
        self.shared.instances.retain(instances.into_iter().collect::<BTreeSet<_>>());
    }

    /// Closes the connections to an instance, those in use after their request: before it is
    /// frozen, or when it was restarted. New requests open new ones.
    pub fn close(&self, instance: InstanceId) {
        self.shared.instances.close(instance);
    }

    /// What was counted so far, and how things stand.
    pub fn counters(&self) -> ForwardCounters {
        self.shared.counters.read(&self.shared.instances)
    }
}

impl<C: Connect> ForwardBuilder<C> {
    /// The service, and the future in which its connections live.
    pub fn build(self) -> (Forward<C>, Connections) {
        let Self { connect, limits, settings, keep, protocol, replay_percent } = self;
        let instances = Arc::new(Instances::new(keep, protocol));
        let (tasks, newcomers) = Tasks::channel();
        let connections = Connections::new(newcomers, &instances);
        let budget = Budget::new(replay_percent);
        let shared = Shared::new(connect, limits, settings, instances, tasks, budget);
        (Forward { shared: Arc::new(shared) }, connections)
    }
}

impl<C, B> Service<Request<B>> for Forward<C>
where
    C: Connect,
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<ForwardBody>;
    type Error = Infallible;
    type Future = ForwardFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ForwardFuture {
        let (parts, body) = request.into_parts();
        ForwardFuture(course::start(&self.shared, parts, Outgoing::new(body)))
    }
}

impl<C> Clone for Forward<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: fmt::Debug> fmt::Debug for Forward<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("connect", &self.shared.connect).finish_non_exhaustive()
    }
}

/// The response to come. Dropping it gives up the request: its connection is closed where the
/// response is still owed on it.
#[must_use = "futures do nothing unless polled"]
pub struct ForwardFuture(BoxCourse);

impl Future for ForwardFuture {
    type Output = Result<Response<ForwardBody>, Infallible>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ForwardFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardFuture").finish_non_exhaustive()
    }
}
