//! What a client is told when the door or the router answers in the place of a service.
//!
//! A [`DoorFault`] is why; [`Answers`] makes the response from it, in the form that the client
//! reads, or in that of the embedding program. What a service answers passes through untouched.
//! The error of a service never reaches a client: it becomes [`DoorFault::ServiceFailed`] and is
//! written to the log.
//!
//! # Who says no
//!
//! Three do, at three places on a request's way, each in its own words and with counters of its
//! own, since what is to be done about them differs:
//!
//! | who | says | about |
//! |---|---|---|
//! | door and router | [`DoorFault`] | the request itself, before anybody could work on it |
//! | queue | [`Reason`](runner_core::admission::Reason) | how busy the service is |
//! | forwarding | `forward::Fault` | the instance that the request was given to |
//!
//! To a client they look alike: the form is the same, and a code is never used for two things.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::{
    exchange::RequestId,
    told::{Form, Grpc, Told, is_grpc},
};

/// Why a request was answered before, or in the place of, a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DoorFault {
    /// No host, more than one, or one that is none.
    BadHost,
    /// A path that means one thing here and may mean another behind.
    BadPath,
    /// The client asked for a tunnel to somewhere else.
    ConnectNotAllowed,
    /// No service has this host and path.
    NoRoute,
    /// The body came too slowly.
    BodyTooSlow,
    /// The body is larger than it may be.
    BodyTooLarge,
    /// The target is longer than it may be.
    UriTooLong,
    /// The fields of the head are larger, or more, than they may be.
    HeadTooLarge,
    /// The service failed and said nothing that could be passed on.
    ServiceFailed,
    /// The request took longer, as a whole, than one may.
    TookTooLong,
}

impl DoorFault {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 10] = [
        Self::BadHost,
        Self::BadPath,
        Self::ConnectNotAllowed,
        Self::NoRoute,
        Self::BodyTooSlow,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::HeadTooLarge,
        Self::ServiceFailed,
        Self::TookTooLong,
    ];

    /// Its place in [`DoorFault::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason as programs read it: in `x-refusal-reason`, in bodies and in the log.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadHost => "bad_host",
            Self::BadPath => "bad_path",
            Self::ConnectNotAllowed => "connect_not_allowed",
            Self::NoRoute => "no_route",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyTooLarge => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::ServiceFailed => "service_failed",
            Self::TookTooLong => "took_too_long",
        }
    }

    /// The status that it is answered with.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadHost | Self::BadPath => StatusCode::BAD_REQUEST,
            Self::ConnectNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ServiceFailed => StatusCode::BAD_GATEWAY,
            Self::TookTooLong => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Whether the connection cannot go on after it: what is left of the request was not read.
    pub(crate) const fn ends_connection(self) -> bool {
        !matches!(self, Self::NoRoute | Self::ServiceFailed)
    }

    /// What it is in gRPC.
    const fn grpc(self) -> Grpc {
        match self {
            Self::BadHost | Self::BadPath | Self::UriTooLong => Grpc::InvalidArgument,
            Self::BodyTooSlow | Self::TookTooLong => Grpc::DeadlineExceeded,
            Self::BodyTooLarge | Self::HeadTooLarge => Grpc::ResourceExhausted,
            Self::ConnectNotAllowed | Self::NoRoute => Grpc::Unimplemented,
            Self::ServiceFailed => Grpc::Unavailable,
        }
    }
}

/// One sentence for people, without a full stop.
impl fmt::Display for DoorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadHost => "the request does not name one host",
            Self::BadPath => "the path can be read in more than one way",
            Self::ConnectNotAllowed => "tunnels are not made here",
            Self::NoRoute => "there is no service with this host and path",
            Self::BodyTooSlow => "the body came too slowly",
            Self::BodyTooLarge => "the body is larger than it may be",
            Self::UriTooLong => "the target is longer than it may be",
            Self::HeadTooLarge => "the header fields are larger, or more, than they may be",
            Self::ServiceFailed => "the service failed to answer",
            Self::TookTooLong => "the request took longer than it may",
        })
    }
}

/// What of a request an answer depends on. It is kept while a service has the request itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// What the request is called, if it was given a name.
    pub id: Option<RequestId>,
    /// What the client accepts.
    pub accept: Option<HeaderValue>,
    /// Whether it reads status and reason as gRPC does, from the trailers of a 200.
    pub grpc: bool,
}

impl Asked {
    pub(crate) fn of(method: &Method, headers: &HeaderMap, id: Option<RequestId>) -> Self {
        let accept = headers.get(http::header::ACCEPT).cloned();
        Self { id, accept, grpc: is_grpc(method, headers) }
    }

    fn form(&self) -> Form {
        match self.grpc {
            true => Form::Grpc,
            false => Form::accepted(self.accept.as_ref()),
        }
    }
}

/// Makes responses from faults: [`fault_response`], or a closure of the embedding program.
#[derive(Clone)]
pub struct Answers(Arc<AnswerFn>);

type AnswerFn = dyn Fn(&Asked, DoorFault) -> Response<Bytes> + Send + Sync;

impl Answers {
    /// Answers of one's own. The door adds `connection: close` where the connection cannot go on.
    pub fn with(
        answer: impl Fn(&Asked, DoorFault) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }

    pub(crate) fn answer(&self, asked: &Asked, fault: DoorFault) -> Response<Bytes> {
        (self.0)(asked, fault)
    }
}

impl Default for Answers {
    fn default() -> Self {
        Self::with(fault_response)
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

/// The default answer: the fault's status, its code in `x-refusal-reason`, the request's id in
/// `x-request-id`, and both with one sentence in a short body: JSON or HTML where the client
/// prefers it, plain text otherwise. gRPC gets its own form.
///
/// ```
/// use http::{Request, StatusCode};
/// use runner_proxy::answer::{Answers, DoorFault};
///
/// let apologetic = Answers::with(|asked, fault| {
///     let mut response = runner_proxy::answer::fault_response(asked, fault);
///     response.headers_mut().insert("x-sorry", http::HeaderValue::from_static("yes"));
///     response
/// });
/// # let _ = apologetic;
/// assert_eq!(DoorFault::NoRoute.status(), StatusCode::NOT_FOUND);
/// ```
pub fn fault_response(asked: &Asked, fault: DoorFault) -> Response<Bytes> {
    Told {
        status: fault.status(),
        code: fault.code(),
        sentence: format_args!("{fault}"),
        grpc: fault.grpc(),
        retry: None,
        id: asked.id.as_ref().and_then(|RequestId(id)| id.to_str().ok()),
    }
    .response(asked.form())
}

#[cfg(test)]
mod tests;
