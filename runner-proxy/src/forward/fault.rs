//! What goes wrong between us and an instance, and how the client is told.

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use crate::told::{Form, Grpc, Told};

/// Why a request that was admitted got no response from an instance.
///
/// What the front door and the router find fault with is theirs to say, before an instance is
/// chosen, and theirs to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The instance answered with something that is not HTTP.
    BadResponse,
    /// The instance closed the connection before its response began.
    ClosedEarly,
    /// The body comes in a transfer coding that is not `chunked` alone.
    CodingNotSupported,
    /// The instance could not be connected to.
    ConnectFailed,
    /// `CONNECT` was asked for, and is not allowed here.
    ConnectNotAllowed,
    /// The instance did not take a connection in time.
    ConnectTimedOut,
    /// The instance did not begin to answer in time.
    HeadTimedOut,
    /// The request has no [`Assignment`](crate::pool::Assignment): nothing admitted it.
    NotAssigned,
    /// A tunnel for a protocol was asked for that is not carried here, or not by what the instance
    /// speaks.
    ProtocolNotSupported,
    /// The body of the request broke off.
    RequestBroke,
    /// The proxy is going away.
    Stopping,
    /// All the time that a request may take, by our limits or by what its client says in
    /// `grpc-timeout`, was over before the instance began to answer.
    TotalTimedOut,
    /// Several instances were tried, and none could be connected to.
    Unreachable,
}

impl Fault {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 13] = [
        Self::BadResponse,
        Self::ClosedEarly,
        Self::CodingNotSupported,
        Self::ConnectFailed,
        Self::ConnectNotAllowed,
        Self::ConnectTimedOut,
        Self::HeadTimedOut,
        Self::NotAssigned,
        Self::ProtocolNotSupported,
        Self::RequestBroke,
        Self::Stopping,
        Self::TotalTimedOut,
        Self::Unreachable,
    ];

    /// Its place in [`Fault::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The fault as programs read it: in headers, counters and bodies.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadResponse => "bad_response",
            Self::ClosedEarly => "closed_early",
            Self::CodingNotSupported => "coding_not_supported",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectNotAllowed => "connect_not_allowed",
            Self::ConnectTimedOut => "connect_timed_out",
            Self::HeadTimedOut => "head_timed_out",
            Self::NotAssigned => "not_assigned",
            Self::ProtocolNotSupported => "protocol_not_supported",
            Self::RequestBroke => "request_broke",
            Self::Stopping => "stopping",
            Self::TotalTimedOut => "total_timed_out",
            Self::Unreachable => "no_instance_reachable",
        }
    }

    /// The status it is answered with: 502 where an instance failed, 503 where it is worth coming
    /// back since nothing was done, 504 where it was too slow.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadResponse | Self::ClosedEarly | Self::ConnectFailed => StatusCode::BAD_GATEWAY,
            Self::CodingNotSupported | Self::ProtocolNotSupported => StatusCode::NOT_IMPLEMENTED,
            Self::ConnectNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ConnectTimedOut | Self::HeadTimedOut | Self::TotalTimedOut => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::NotAssigned => StatusCode::INTERNAL_SERVER_ERROR,
            Self::RequestBroke => StatusCode::BAD_REQUEST,
            Self::Stopping | Self::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it is in gRPC: its client tries again by itself what is `UNAVAILABLE`, so that is said
    /// only where the instance certainly did not work on it, or where gRPC's own rule says so.
    const fn grpc(self) -> Grpc {
        match self {
            Self::ConnectTimedOut
            | Self::ConnectFailed
            | Self::ClosedEarly
            | Self::Stopping
            | Self::Unreachable => Grpc::Unavailable,
            Self::HeadTimedOut | Self::TotalTimedOut => Grpc::DeadlineExceeded,
            Self::RequestBroke => Grpc::Cancelled,
            Self::CodingNotSupported | Self::ConnectNotAllowed | Self::ProtocolNotSupported => {
                Grpc::Unimplemented
            }
            Self::BadResponse | Self::NotAssigned => Grpc::Internal,
        }
    }

    /// When it is worth coming back: where nothing was done, and a second is enough for an
    /// instance to be replaced in the snapshot.
    const fn retry(self) -> Option<Duration> {
        match self {
            Self::Stopping | Self::Unreachable => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Whether it happened before anything of the request was sent.
    pub(super) const fn is_of_connecting(self) -> bool {
        matches!(self, Self::ConnectFailed | Self::ConnectTimedOut)
    }

    /// What hyper's error means. Its text is for nobody's eyes but ours.
    pub(super) fn of(error: &hyper::Error) -> Self {
        tracing::debug!(target: "runner_proxy::forward", error = error as &dyn Error, "no response");
        if error.is_user() {
            Self::RequestBroke
        } else if error.is_parse() {
            Self::BadResponse
        } else {
            Self::ClosedEarly
        }
    }
}

/// One sentence for people.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadResponse => "the instance answered with something that is not HTTP",
            Self::ClosedEarly => "the instance closed the connection before it answered",
            Self::CodingNotSupported => "of the transfer codings only chunked is understood",
            Self::ConnectFailed => "the instance could not be connected to",
            Self::ConnectNotAllowed => "tunnels are not made here",
            Self::ConnectTimedOut => "the instance did not take a connection in time",
            Self::HeadTimedOut => "the instance did not begin to answer in time",
            Self::NotAssigned => "the request was given to no instance",
            Self::ProtocolNotSupported => "the protocol of the tunnel is not carried here",
            Self::RequestBroke => "the body of the request broke off",
            Self::Stopping => "the proxy is going away",
            Self::TotalTimedOut => "the request took longer than it may",
            Self::Unreachable => "no instance could be connected to",
        })
    }
}

/// The answer to a request that no instance answered.
pub(super) fn answer(fault: Fault, form: Form, id: Option<&HeaderValue>) -> Response<Bytes> {
    Told {
        status: fault.status(),
        code: fault.code(),
        sentence: format_args!("{fault}"),
        grpc: fault.grpc(),
        retry: fault.retry(),
        id: id.and_then(|id| id.to_str().ok()),
    }
    .response(form)
}

/// A body that broke off, of a request or of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardError(Broken);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Request,
    Response,
    TimedOut,
}

impl ForwardError {
    pub(super) const fn request_broke() -> Self {
        Self(Broken::Request)
    }

    pub(super) const fn response_broke() -> Self {
        Self(Broken::Response)
    }

    pub(super) const fn timed_out() -> Self {
        Self(Broken::TimedOut)
    }

    /// Whether the time was over that the request may take.
    pub const fn is_timeout(&self) -> bool {
        matches!(self.0, Broken::TimedOut)
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Broken::Request => "the body of the request broke off",
            Broken::Response => "the instance broke off its response",
            Broken::TimedOut => "the request took longer than it may",
        })
    }
}

impl Error for ForwardError {}
