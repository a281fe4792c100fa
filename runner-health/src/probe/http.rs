//! Whether a request is answered well.

use std::{
    fmt::Display,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use runner_core::{
    BoxFuture,
    address::Address,
    spec::{HttpCheck, Port, StatusRanges},
};

use super::{
    Probe, Seen, Target, Waiting,
    connect::{Allowance, address, connect},
    words_of,
};
use crate::Error;

/// Sends one HTTP/1.1 request on a connection of its own. Redirects are not followed.
///
/// ```
/// use runner_health::probe::HttpProbe;
///
/// let probe = HttpProbe::get("/health")?.header("x-probe", "1")?.containing("ok");
/// assert!(HttpProbe::get("health").is_err(), "a path begins with a slash");
/// # Ok::<_, runner_health::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpProbe {
    method: Method,
    path: Uri,
    host: Option<HeaderValue>,
    headers: HeaderMap,
    port: Option<Port>,
    success: StatusRanges,
    containing: Option<Box<str>>,
}

impl HttpProbe {
    /// A `GET` of a path, which begins with `/`; good is [`StatusRanges::default`].
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is no path.
    pub fn get(path: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid("the path", path, "is none; write one such as /health");
        let uri: Uri = path.parse().map_err(|_| invalid())?;
        if !path.starts_with('/') || uri.authority().is_some() {
            return Err(invalid());
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static("runner-health"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(Self {
            method: Method::GET,
            path: uri,
            host: None,
            headers,
            port: None,
            success: StatusRanges::default(),
            containing: None,
        })
    }

    /// The probe that a checked specification asks for.
    ///
    /// # Errors
    ///
    /// None for a specification that was read by `runner-core`, which checks the same.
    pub fn from_check(check: &HttpCheck, port: Option<Port>) -> Result<Self, Error> {
        let mut probe = Self::get(&check.path)?.method(&check.method)?;
        if let Some(host) = &check.host {
            probe = probe.host(host)?;
        }
        for (name, value) in &check.headers {
            probe = probe.header(name, value)?;
        }
        if let Some(text) = &check.contains {
            probe = probe.containing(text);
        }
        (probe.success, probe.port) = (check.success.clone(), port);
        Ok(probe)
    }

    /// Another method than `GET`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is no method.
    pub fn method(mut self, method: &str) -> Result<Self, Error> {
        self.method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Error::invalid("the method", method, "is none; write one such as GET"))?;
        Ok(self)
    }

    /// The host asked for; otherwise the address.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when a header cannot carry it.
    pub fn host(mut self, host: &str) -> Result<Self, Error> {
        self.host = Some(value(host)?);
        Ok(self)
    }

    /// A header to send; one of the same name is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when HTTP cannot carry it.
    pub fn header(mut self, name: &str, text: &str) -> Result<Self, Error> {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            Error::invalid("the header", name, "has no name that HTTP carries; use letters and `-`")
        })?;
        match header {
            header::HOST => self.host = Some(value(text)?),
            _ => drop(self.headers.insert(header, value(text)?)),
        }
        Ok(self)
    }

    /// Asks another port of the same host.
    #[must_use]
    pub fn on_port(mut self, port: Port) -> Self {
        self.port = Some(port);
        self
    }

    /// The statuses that are good.
    #[must_use]
    pub fn success(mut self, success: StatusRanges) -> Self {
        self.success = success;
        self
    }

    /// Good is only a body that has this text within its first 64 KiB.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.into());
        self
    }

    fn request(&self, to: &Address) -> Request<NoBody> {
        let mut request = Request::new(NoBody);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        let host = self.host.clone().unwrap_or_else(|| match to {
            Address::Tcp(address) => HeaderValue::from_str(&address.to_string())
                .unwrap_or(HeaderValue::from_static("localhost")),
            _ => HeaderValue::from_static("localhost"),
        });
        request.headers_mut().insert(header::HOST, host);
        request
    }
}

impl Probe for HttpProbe {
    fn attempt(&self, target: &Target) -> BoxFuture<'static, Seen> {
        let to = address(target, self.port);
        let (request, success) = (self.request(&to), self.success.clone());
        let (containing, allowance) = (self.containing.clone(), Allowance::start(target.limit));
        Box::pin(async move {
            let asked = ask(&to, request, &success, containing.as_deref(), allowance).await;
            asked.unwrap_or_else(|seen| seen)
        })
    }
}

async fn ask(
    to: &Address,
    request: Request<NoBody>,
    success: &StatusRanges,
    containing: Option<&str>,
    allowance: Allowance,
) -> Result<Seen, Seen> {
    let stream = connect(to, allowance).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(garbled)?;
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request));
    let head = allowance.keep(Waiting::Answer, beside(answer.as_mut(), connection.as_mut()));
    let response = head.await?.map_err(broken)?;
    let status = response.status().as_u16();
    if !success.contains(status) {
        return Err(Seen::Status {
            status,
            location: location(&response),
            wanted: success.clone(),
        });
    }
    if let Some(wanted) = containing {
        let body = read(response.into_body(), wanted);
        let read = allowance.keep(Waiting::Rest, beside(pin!(body), connection)).await?;
        read.map_err(garbled)?.map_or(Ok(()), |start| {
            Err(Seen::BodyLacks { wanted: words_of(wanted), start: words_of(&start) })
        })?;
    }
    Ok(Seen::good(format!("it answered {status}")))
}

/// Reads until the text has come; otherwise how the body began.
async fn read(body: Incoming, wanted: &str) -> Result<Option<String>, hyper::Error> {
    let (mut body, mut read) = (pin!(body), Vec::new());
    let wanted = wanted.as_bytes();
    while read.len() < MOST_OF_BODY {
        let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await.transpose()? else {
            break;
        };
        let Ok(data) = frame.into_data() else { break };
        // The text may begin in what was read before.
        let from = read.len().saturating_sub(wanted.len());
        read.extend_from_slice(&data[..data.len().min(MOST_OF_BODY - read.len())]);
        if wanted.is_empty() || read[from..].windows(wanted.len()).any(|part| part == wanted) {
            return Ok(None);
        }
    }
    read.truncate(4 * 160);
    Ok((!wanted.is_empty()).then(|| String::from_utf8_lossy(&read).into_owned()))
}

/// Runs the connection while something on it is waited for.
///
/// A connection that ends first has given its last to whoever waits, so that one is asked once
/// more and tells the end in its own words.
async fn beside<F: Future, C: Future>(
    mut waited_for: std::pin::Pin<&mut F>,
    mut connection: std::pin::Pin<&mut C>,
) -> F::Output {
    let mut is_over = false;
    poll_fn(|context| {
        if !is_over {
            is_over = connection.as_mut().poll(context).is_ready();
        }
        match waited_for.as_mut().poll(context) {
            Poll::Pending if !is_over => {
                // What was just asked for may be something to write.
                is_over = connection.as_mut().poll(context).is_ready();
                if is_over { waited_for.as_mut().poll(context) } else { Poll::Pending }
            }
            polled => polled,
        }
    })
    .await
}

fn location(response: &Response<Incoming>) -> Option<Box<str>> {
    let location = response.headers().get(header::LOCATION)?;
    Some(words_of(&String::from_utf8_lossy(location.as_bytes())))
}

/// An instance that takes a connection and ends it before a head is not the same as one that
/// talks nonsense: the first is starting, or relayed to nobody.
fn broken(error: hyper::Error) -> Seen {
    match error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        true => Seen::ClosedAtOnce,
        false if is_reset(&error) => Seen::ClosedAtOnce,
        false => garbled(error),
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| {
        matches!(io.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
    })
}

fn garbled(error: impl Display) -> Seen {
    Seen::Garbled(words_of(&format!("{error}; does it speak HTTP/1?")))
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| {
        Error::invalid("the header value", text, "is none that HTTP carries; use printable ASCII")
    })
}

/// The body of a question: there is none.
struct NoBody;

impl Body for NoBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

/// A head beyond this is not read: nobody's health page needs as much.
const LARGEST_HEAD: usize = 32 * 1024;
/// A text that is not within this much of the body is not there.
const MOST_OF_BODY: usize = 64 * 1024;
