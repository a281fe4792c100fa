//! What a [`Forward`](super::Forward) is made from.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use runner_core::spec::Protocol;

use super::{
    connect::{Connect, Network},
    fault::Fault,
    idle::Keep,
    trust::Trust,
};

/// How long each part of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeLimits {
    /// Opening a connection, a handshake included. Default: 5 seconds. An instance is near, so
    /// this is not about the way there but about one that is too busy to accept.
    pub connect: Duration,
    /// From sending a request to one instance until its response begins. Default: none beside the
    /// total: only who knows the service knows how long it thinks.
    pub head: Option<Duration>,
    /// From the moment that the request came to the queue until its response has ended, over its
    /// wait, all tries and the waits between them. Default: 120 seconds, as in App Runner. Where a
    /// client says in `grpc-timeout` that it waits less, that is the limit of its request.
    pub total: Option<Duration>,
    /// How long an upgraded connection may be silent in both directions; the total does not apply
    /// to it. Default: 300 seconds, longer than the pings of usual libraries are apart.
    pub upgraded_idle: Option<Duration>,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: None,
            total: Some(Duration::from_secs(120)),
            upgraded_idle: Some(Duration::from_secs(300)),
        }
    }
}

/// A request that no instance answered, for whoever writes the answer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// What happened.
    pub fault: Fault,
    /// What the request is called; nothing if it was turned away before it had a name.
    pub request_id: Option<&'a str>,
}

/// What a [`Forward`](super::Forward) is made from.
#[must_use = "nothing is made until `build` is called"]
pub struct ForwardBuilder<C = Network> {
    pub(super) connect: C,
    pub(super) limits: TimeLimits,
    pub(super) settings: Settings,
    pub(super) keep: Keep,
    pub(super) protocol: Protocol,
    pub(super) replay_percent: u32,
}

pub(super) struct Settings {
    pub(super) trust: Trust,
    pub(super) allows_connect: bool,
    pub(super) answer: Option<Arc<AnswerFn>>,
}

pub(super) type AnswerFn = dyn Fn(&Failure<'_>) -> Response<Bytes> + Send + Sync;

impl<C: Connect> ForwardBuilder<C> {
    pub(super) fn new(connect: C) -> Self {
        let limits = TimeLimits::default();
        let trust = Trust::nobody();
        let settings = Settings { trust, allows_connect: false, answer: None };
        let (keep, protocol) = (Keep::default(), Protocol::Http1);
        Self { connect, limits, settings, keep, protocol, replay_percent: 20 }
    }

    /// How long each part of a request may take; see [`Forward::set_limits`](super::Forward::set_limits) for later.
    pub fn limits(mut self, limits: TimeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How many idle connections are kept, and for how long.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Whose word is taken for where a request came from. Default: nobody's.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.settings.trust = trust;
        self
    }

    /// What is spoken to instances of revisions of which nothing else is
    /// [said](super::Forward::speak). Default: HTTP/1.1.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// How many of a hundred requests may be sent again, in the long run. Default: 20, which
    /// carries over one of five instances that dies; 0 sends none again but those that an instance
    /// closed an idle connection under.
    pub fn replay_percent(mut self, percent: u32) -> Self {
        self.replay_percent = percent;
        self
    }

    /// Whether `CONNECT` is passed to the instance, which then is a proxy itself. Default: it is
    /// answered with 405.
    pub fn allow_connect(mut self, allow: bool) -> Self {
        self.settings.allows_connect = allow;
        self
    }

    /// Answers in a way of your own where no instance did. Default: the form that refusals of the
    /// queue have.
    pub fn answer_with(
        mut self,
        answer: impl Fn(&Failure<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.settings.answer = Some(Arc::new(answer));
        self
    }
}

impl<C: fmt::Debug> fmt::Debug for ForwardBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardBuilder")
            .field("connect", &self.connect)
            .field("limits", &self.limits)
            .field("trust", &self.settings.trust)
            .field("keep", &self.keep)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
