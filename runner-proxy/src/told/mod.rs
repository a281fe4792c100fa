//! How a client is told what was decided without a service: one answer, in the form it reads.
//!
//! The queue refuses, the door and the router find fault with a request, and forwarding finds no
//! instance that answers. Why is theirs to say, each in a vocabulary of its own
//! (`Reason` of the ledger, `answer::DoorFault`, `forward::Fault`); how it
//! reads to a client is written here, once. A client therefore needs no more than one way to read
//! us: `x-refusal-reason` has the code, `x-request-id` the name to ask about, `retry-after` (with
//! the exact value in `retry-after-ms`) when to come back, and a short body has all three.
//!
//! It decides nothing, and knows none of the reasons. A layer of one's own that turns requests away
//! says so in the same form:
//!
//! ```
//! use http::{Request, StatusCode};
//! use runner_proxy::told::{Form, Grpc, Told};
//!
//! let request = Request::get("/").header("accept", "application/json").body(())?;
//! let form = Form::of(request.method(), request.headers());
//! let told = Told::new(StatusCode::FORBIDDEN, "closed_today", format_args!("it is Sunday"));
//! let response = told.grpc(Grpc::PermissionDenied).response(form);
//! assert_eq!(response.headers()["x-refusal-reason"], "closed_today");
//! assert!(response.body().starts_with(br#"{"reason":"closed_today","message":"it is Sunday""#));
//! # Ok::<(), http::Error>(())
//! ```

mod body;

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

pub use body::MaybeOwn;

/// One thing to tell a client.
#[derive(Clone, Copy, Debug)]
#[must_use = "nobody is told before there is a response"]
pub struct Told<'a> {
    pub(crate) status: StatusCode,
    /// What it is, as programs read it.
    pub(crate) code: &'static str,
    /// One sentence for people, without its full stop. Printable ASCII without `"`, `%`, `&`, `<`
    /// and `\`, so that it stands in every form as it is.
    pub(crate) sentence: fmt::Arguments<'a>,
    /// What stands for the status in gRPC.
    pub(crate) grpc: Grpc,
    /// When it is worth coming back.
    pub(crate) retry: Option<Duration>,
    /// What the request is called. One that is no plain word is left out.
    pub(crate) id: Option<&'a str>,
}

impl<'a> Told<'a> {
    /// A status, a code for programs, and one sentence for people: without its full stop, in
    /// printable ASCII, and without `"`, `%`, `&`, `<` and `\`, so that it stands in every form as
    /// it is.
    pub const fn new(status: StatusCode, code: &'static str, sentence: fmt::Arguments<'a>) -> Self {
        Self { status, code, sentence, grpc: Grpc::Unavailable, retry: None, id: None }
    }

    /// What stands for the status in gRPC. Default: [`Grpc::Unavailable`].
    pub const fn grpc(mut self, grpc: Grpc) -> Self {
        self.grpc = grpc;
        self
    }

    /// When it is worth coming back.
    pub const fn retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }

    /// What the request is called, if it is called anything. A name that could break out of a
    /// header or a page is left out.
    pub fn id(mut self, id: impl Into<Option<&'a str>>) -> Self {
        self.id = id.into();
        self
    }

    /// The answer, in the form that the client reads.
    pub fn response(self, form: Form) -> Response<Bytes> {
        let id = self.id.filter(|id| is_plain(id.as_bytes()));
        let mut response = match form {
            Form::Grpc => self.trailers(),
            Form::Text => self.plain("text/plain; charset=utf-8", self.text(id)),
            Form::Html => self.plain("text/html; charset=utf-8", self.html(id)),
            Form::Json => self.plain("application/json", self.json(id)),
        };
        let headers = response.headers_mut();
        headers.insert(REASON, HeaderValue::from_static(self.code));
        if let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }

    fn plain(&self, kind: &'static str, body: String) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(retry) = self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(retry)));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis(retry)));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static(PASSED_ON));
        }
        response
    }

    /// A response of headers alone, which stand for gRPC's trailers.
    fn trailers(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(self.grpc as u16));
        if let Ok(message) = HeaderValue::from_str(&self.sentence.to_string()) {
            headers.insert("grpc-message", message);
        }
        if let Some(retry) = self.retry {
            headers.insert("grpc-retry-pushback-ms", HeaderValue::from(millis(retry)));
        }
        response
    }

    fn text(&self, id: Option<&str>) -> String {
        let mut text = format!("{}\nreason: {}\n", self.sentences(), self.code);
        if let Some(id) = id {
            text.extend(["request: ", id, "\n"]);
        }
        text
    }

    fn html(&self, id: Option<&str>) -> String {
        let (status, sentences, code) = (self.status, self.sentences(), self.code);
        let request = id.map_or_else(String::new, |id| format!("<br>request: {id}"));
        format!(
            "<!doctype html>\n<title>{status}</title>\n<h1>{status}</h1>\n<p>{sentences}</p>\n\
             <p><small>reason: {code}{request}</small></p>\n"
        )
    }

    fn json(&self, id: Option<&str>) -> String {
        let Self { sentence, code, .. } = self;
        let retry = self.retry.map_or_else(|| "null".to_owned(), |retry| millis(retry).to_string());
        let id = id.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""));
        format!(
            "{{\"reason\":\"{code}\",\"message\":\"{sentence}\",\"retry_after_ms\":{retry},\
             \"request_id\":{id}}}\n"
        )
    }

    /// What is read by people, with when to come back.
    fn sentences(&self) -> String {
        let sentence = self.sentence;
        match self.retry.map(seconds) {
            None => sentence.to_string(),
            Some(1) => format!("{sentence}. Try again in 1 second."),
            Some(seconds) => format!("{sentence}. Try again in {seconds} seconds."),
        }
    }
}

/// How a client reads what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// Lines of text.
    Text,
    /// A short page.
    Html,
    /// One object.
    Json,
    /// A status of gRPC's, in a response of headers alone.
    Grpc,
}

impl Form {
    /// That of a request.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        match is_grpc(method, headers) {
            true => Self::Grpc,
            false => Self::accepted(headers.get(header::ACCEPT)),
        }
    }

    /// The first that a client names which is known here; its weights are not looked at.
    pub(crate) fn accepted(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or("");
        for kind in accept.split(',') {
            match kind.split(';').next().unwrap_or("").trim() {
                "text/html" | "application/xhtml+xml" => return Self::Html,
                "text/plain" | "text/*" => return Self::Text,
                kind if kind == "application/json" || kind.ends_with("+json") => return Self::Json,
                _ => {}
            }
        }
        Self::Text
    }
}

/// Whether a request is one of gRPC, which reads what happened from trailers of a 200.
///
/// A `CONNECT` never is, whatever it says of itself: there a 200 opens the tunnel.
pub(crate) fn is_grpc(method: &Method, headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_grpc = |kind: &[u8]| {
        kind.starts_with(b"application/grpc") && !kind.starts_with(b"application/grpc-web")
    };
    kind.is_some_and(is_grpc) && *method != Method::CONNECT
}

/// What stands for a status in gRPC, by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grpc {
    /// The client has gone.
    Cancelled = 1,
    /// The request is none.
    InvalidArgument = 3,
    /// It took too long.
    DeadlineExceeded = 4,
    /// This client may not.
    PermissionDenied = 7,
    /// There is no room for it.
    ResourceExhausted = 8,
    /// Nobody here does that.
    Unimplemented = 12,
    /// Something broke.
    Internal = 13,
    /// Its client tries again by itself.
    Unavailable = 14,
}

/// The name that a request came with, if it may be used.
pub(crate) fn given_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(REQUEST_ID).filter(|id| is_plain(id.as_bytes()))
}

/// Whether this may stand in a header, a line of a log, HTML and JSON as it is.
fn is_plain(word: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/');
    (1..=128).contains(&word.len()) && word.iter().all(plain)
}

/// Rounded up: nobody is to come too early.
const fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + (duration.subsec_nanos() > 0) as u64
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REASON: HeaderName = HeaderName::from_static("x-refusal-reason");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// What a 405 owes its reader. Only `CONNECT` is refused for its method, and every other is passed
/// on, so these are the methods that a service may have. `TRACE` is not advertised to anybody.
const PASSED_ON: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

#[cfg(test)]
mod tests;
