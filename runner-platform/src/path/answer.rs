//! What a client is told where the settings of a service turn it away.

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode};
use runner_proxy::{
    exchange::RequestId,
    told::{Form, Grpc, Told},
};

/// What there is to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reason {
    status: StatusCode,
    /// As programs read it.
    code: &'static str,
    /// As people do.
    sentence: &'static str,
    /// As gRPC does.
    grpc: Grpc,
}

pub(super) const ADDRESS_NOT_ALLOWED: Reason = Reason {
    status: StatusCode::FORBIDDEN,
    code: "address_not_allowed",
    sentence: "this service is not open to the network that the request came from",
    grpc: Grpc::PermissionDenied,
};
pub(super) const FAMILY_NOT_SERVED: Reason = Reason {
    status: StatusCode::FORBIDDEN,
    code: "address_family_not_served",
    sentence: "this service is reached over IPv4 alone",
    grpc: Grpc::PermissionDenied,
};
pub(super) const HEAD_TOO_LARGE: Reason = Reason {
    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    code: "head_too_large",
    sentence: "the header fields are larger, or more, than this service takes",
    grpc: Grpc::ResourceExhausted,
};
pub(super) const BODY_TOO_LARGE: Reason = Reason {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    code: "body_too_large",
    sentence: "the body is larger than this service takes",
    grpc: Grpc::ResourceExhausted,
};
pub(super) const TOO_MANY_HOPS: Reason = Reason {
    status: StatusCode::LOOP_DETECTED,
    code: "too_many_hops",
    sentence: "the request came through more services than one may, so it seems to go in a circle",
    grpc: Grpc::Internal,
};
pub(super) const BODY_TOO_SLOW: Reason = Reason {
    status: StatusCode::REQUEST_TIMEOUT,
    code: "body_too_slow",
    sentence: "the body took longer than this service waits",
    grpc: Grpc::DeadlineExceeded,
};
pub(super) const SILENT: Reason = Reason {
    status: StatusCode::GATEWAY_TIMEOUT,
    code: "idle_too_long",
    sentence: "neither side sent anything for too long",
    grpc: Grpc::DeadlineExceeded,
};

/// Who reads the answer, while somebody else has the request.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    id: Option<HeaderValue>,
    form: Form,
}

impl Reader {
    pub(super) fn of(method: &Method, headers: &HeaderMap, extensions: &Extensions) -> Self {
        let id = extensions.get::<RequestId>().map(|RequestId(id)| id.clone());
        Self { id, form: Form::of(method, headers) }
    }

    /// The answer, where this reader is turned away.
    pub(super) fn answer(&self, reason: Reason) -> Response<Bytes> {
        let Reason { status, code, sentence, grpc } = reason;
        let id = self.id.as_ref().and_then(|id| id.to_str().ok());
        Told::new(status, code, format_args!("{sentence}")).grpc(grpc).id(id).response(self.form)
    }
}
