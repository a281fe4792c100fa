//! The answer to a refused request, unless the embedding program gives its own.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use runner_core::admission::Refusal;

use super::RequestHead;
use crate::told::{Form, Grpc, Told, given_id};

/// The default answer: the reason's status, `Retry-After` in whole seconds with the exact value in
/// `retry-after-ms`, the reason's code in `x-refusal-reason`, and a short body with the code, a
/// sentence and the request's id, as JSON or HTML where the client accepts it and text where not.
///
/// gRPC gets its own form: status 200 and the refusal in `grpc-status` (`RESOURCE_EXHAUSTED` where
/// others get 429, `UNAVAILABLE` where they get 503), with `grpc-retry-pushback-ms`.
///
/// `request_id` is used where the request has no usable `x-request-id` of its own.
pub fn refusal_response(
    head: &RequestHead<'_>,
    refusal: &Refusal,
    request_id: &str,
) -> Response<Bytes> {
    let reason = refusal.reason;
    let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let (opening, grpc) = match status {
        StatusCode::TOO_MANY_REQUESTS => ("too many requests", Grpc::ResourceExhausted),
        _ => ("service unavailable", Grpc::Unavailable),
    };
    let given = given_id(head.headers).map(HeaderValue::to_str).and_then(Result::ok);
    Told {
        status,
        code: reason.code(),
        sentence: format_args!("{opening}: {refusal}"),
        grpc,
        retry: refusal.retry_after,
        id: Some(given.unwrap_or(request_id)),
    }
    .response(Form::of(head.method, head.headers))
}
