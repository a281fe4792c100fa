//! Fields that are not the client's to say: what stands for whom, and where.

use http::{HeaderName, header};

/// Whether a field says where a request came from, or what it is called with an underline. Programs
/// behind CGI and its heirs cannot tell an underline from a hyphen, so neither do we.
pub(super) fn is_claim(name: &str) -> bool {
    let is_spelt = |start: &str, wanted: &str| {
        start.len() == wanted.len()
            && start.bytes().zip(wanted.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    let is_forwarded = || name.get(..12).is_some_and(|start| is_spelt(start, "x-forwarded-"));
    match name.len() {
        9 => name == "forwarded" || is_spelt(name, "x-real-ip"),
        // The one with hyphens has a way of its own: it is replaced, not removed.
        12 => name != "x-request-id" && is_spelt(name, "x-request-id") || is_forwarded(),
        _ => is_forwarded(),
    }
}

/// Whether a field has no place behind a body: programs may take it for one of the head, where it
/// would have been read, changed or removed.
pub(super) fn is_forbidden_behind_a_body(name: &HeaderName) -> bool {
    let is_ours = matches!(
        name.as_str(),
        "x-request-id" | "traceparent" | "tracestate" | "connection" | "te" | "upgrade" | "trailer"
    );
    is_ours || FOR_ALL.contains(name) || is_claim(name.as_str())
}

/// What no head can nominate.
pub(super) const FOR_ALL: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
    header::TRANSFER_ENCODING,
];
