//! What of a request is there to decide on before its body is read.

use http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri, header};

/// The head of a request: all that an admission decides on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// What is to be done.
    pub method: &'a Method,
    /// With what.
    pub uri: &'a Uri,
    /// What else the client says.
    pub headers: &'a HeaderMap,
    /// What layers before this one found out.
    pub extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// Of a request that was taken apart.
    pub const fn of_parts(parts: &'a http::request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }

    /// How long the client says it waits, as gRPC writes it (`grpc-timeout: 250m`).
    pub fn grpc_timeout(&self) -> Option<std::time::Duration> {
        use std::time::Duration;
        let text = self.headers.get(&GRPC_TIMEOUT)?.to_str().ok()?;
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        // At most eight digits, by the protocol.
        let number: u64 = (number.len() <= 8).then(|| number.parse().ok())??;
        match unit {
            "H" => Some(Duration::from_secs(number * 3_600)),
            "M" => Some(Duration::from_secs(number * 60)),
            "S" => Some(Duration::from_secs(number)),
            "m" => Some(Duration::from_millis(number)),
            "u" => Some(Duration::from_micros(number)),
            "n" => Some(Duration::from_nanos(number)),
            _ => None,
        }
    }

    /// Whether the client asks for the connection to become something else.
    pub fn wants_upgrade(&self) -> bool {
        *self.method == Method::CONNECT || self.headers.contains_key(header::UPGRADE)
    }
}

/// Checked once, so that looking for it in a head without headers costs nothing.
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
