//! Heads on their way: what belongs to one connection stays behind, and so does what clients say
//! who are not trusted.
//!
//! A head is read once. What was found is removed; what we know is [added](super::origin) when it
//! is written, so that nothing a client nominates in `connection` can remove it.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request,
    response, uri::PathAndQuery,
};
use http_body::Body;
use runner_core::address::Address;

use super::{
    fault::Fault,
    fields::{FOR_ALL, is_claim},
    origin::{Origin, Said},
    outgoing::Outgoing,
    trust::Trust,
    websocket::{self, Key},
};
use crate::{
    exchange::ClientConnection,
    queue::RequestHead,
    told::{Form, REQUEST_ID, given_id},
};

/// What has to be known to rewrite the head of a request.
pub(super) struct Way<'a> {
    pub(super) trust: &'a Trust,
    pub(super) client: Option<ClientConnection>,
    /// Whether it is an instance's: its names are kept, and its claims are not.
    pub(super) from_inside: bool,
    /// What the request is called, if that was decided before.
    pub(super) id: Option<&'a HeaderValue>,
    /// What it is called otherwise, unless a client that is trusted says it.
    pub(super) new_id: &'a dyn Fn() -> HeaderValue,
}

/// What was found in a head on the way.
#[derive(Debug)]
pub(super) struct Noted {
    /// What is to be added.
    pub(super) origin: Origin,
    /// In which form its client would like to be told of a fault.
    pub(super) form: Form,
    pub(super) upgrade: Upgrade,
    /// Whether its client sends the body only when told to.
    pub(super) expects: bool,
    /// How long its client waits for the end of it, as gRPC says it.
    pub(super) timeout: Option<Duration>,
}

/// How a connection is to become another protocol's.
#[derive(Debug)]
pub(super) enum Upgrade {
    /// It is not.
    No,
    /// In the way of HTTP/1.1.
    Asked,
    /// By `CONNECT`, to another host.
    Tunnel,
    /// By the `CONNECT` of HTTP/2 that names a protocol.
    Socket(Key),
}

impl Upgrade {
    pub(super) const fn is_wanted(&self) -> bool {
        !matches!(self, Self::No)
    }
}

/// Makes the head of a request that of our own request to an instance.
pub(super) fn rewrite_request(
    parts: &mut request::Parts,
    way: &Way<'_>,
) -> Result<Noted, (Fault, Form)> {
    let found = Found::in_head(&parts.headers);
    let form = match found.has(CONTENT_TYPE | ACCEPT) {
        true => Form::of(&parts.method, &parts.headers),
        false => Form::Text,
    };
    if found.has(TRANSFER_ENCODING) && !is_plainly_chunked(&parts.headers) {
        return Err((Fault::CodingNotSupported, form));
    }
    let is_socket = websocket::is_asked(parts).map_err(|fault| (fault, form))?;
    let is_tunnel = parts.method == Method::CONNECT && !is_socket;
    let is_asked = found.has(UPGRADE) && names_upgrade(&parts.headers);
    let protocol = if is_asked { parts.headers.get(header::UPGRADE).cloned() } else { None };
    let wants_trailers = found.has(TE) && names_trailers(&parts.headers);
    let expects = found.has(EXPECT);
    let timeout = match found.has(TIMEOUT) {
        true => RequestHead::of_parts(parts).grpc_timeout(),
        false => None,
    };
    strip(&mut parts.headers, found);
    if let Some(protocol) = protocol {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    }
    if wants_trailers {
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let is_trusted = !way.from_inside && way.trust.covers(way.client.as_ref());
    if !is_trusted && found.has(FORWARDED | TRACE) {
        strip_claims(&mut parts.headers, if way.from_inside { found.but(TRACE) } else { found });
    }
    if !is_tunnel {
        make_origin(parts);
    }
    parts.version = Version::HTTP_11;
    let id = name_of(&mut parts.headers, way, is_trusted || way.from_inside, found);
    let upgrade = match () {
        () if is_socket => Upgrade::Socket(websocket::ask(parts, &id)),
        () if is_tunnel => Upgrade::Tunnel,
        () if is_asked => Upgrade::Asked,
        () => Upgrade::No,
    };
    // What is there by now was said by somebody who is trusted.
    let said = found.has(FORWARDED).then(|| Said::take(&mut parts.headers));
    let origin = Origin { id, client: way.client, said };
    Ok(Noted { origin, form, upgrade, expects, timeout })
}

/// Says how long a client still waits, in the way of gRPC: eight digits and a unit, the finest that
/// they are enough for. Rounded down, so that nobody is told of time that there is not.
pub(super) fn say_timeout(headers: &mut HeaderMap, left: Duration) {
    let (seconds, most) = (u128::from(left.as_secs()), 99_999_999);
    let units = [
        (left.as_nanos(), 'n'),
        (left.as_micros(), 'u'),
        (left.as_millis(), 'm'),
        (seconds, 'S'),
        (seconds / 60, 'M'),
        (seconds / 3_600, 'H'),
    ];
    let said = units.into_iter().find(|(count, _)| *count <= most);
    let (count, unit) = said.unwrap_or((most, 'H'));
    if let Ok(value) = HeaderValue::from_str(&format!("{count}{unit}")) {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

/// The same head in the form that HTTP/2 has, for an instance there.
pub(super) fn for_http2(
    head: &request::Parts,
    origin: &Origin,
    body: &Outgoing,
    address: &Address,
) -> request::Parts {
    let mut parts = head.clone();
    origin.add_to(&mut parts.headers);
    parts.version = Version::HTTP_2;
    // What layers before us found out is not for hyper, which would act on some of it.
    parts.extensions.clear();
    let headers = &mut parts.headers;
    // Frames tell the length; what is said beside them has to agree.
    if headers.remove(header::CONTENT_LENGTH).is_some()
        && let Some(length) = body.size_hint().exact()
    {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let host = headers.remove(header::HOST).filter(|host| !host.is_empty());
    let authority = host.and_then(|host| host.as_bytes().try_into().ok());
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(http::uri::Scheme::HTTP);
    uri.authority = authority.or_else(|| match address {
        Address::Tcp(address) => address.to_string().parse().ok(),
        _ => Some(http::uri::Authority::from_static("localhost")),
    });
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    parts
}

/// Makes the head of an instance's response that of our own.
pub(super) fn rewrite_response(parts: &mut response::Parts) {
    let found = Found::in_head(&parts.headers);
    let is_switch = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let protocol = if is_switch { parts.headers.get(header::UPGRADE).cloned() } else { None };
    strip(&mut parts.headers, found);
    if let Some(protocol) = protocol {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    }
    parts.version = Version::HTTP_11;
}

/// Which headers that mean something to us are in a head.
#[derive(Clone, Copy)]
struct Found(u32);

impl Found {
    fn in_head(headers: &HeaderMap) -> Self {
        let mut found = 0;
        for name in headers.keys() {
            found |= match name.as_str() {
                "connection" => CONNECTION,
                "keep-alive" => KEEP_ALIVE,
                "proxy-connection" => PROXY_CONNECTION,
                "proxy-authenticate" | "proxy-authorization" => PROXY_AUTHENTICATION,
                "te" => TE,
                "transfer-encoding" => TRANSFER_ENCODING,
                "upgrade" | "http2-settings" => UPGRADE,
                "expect" => EXPECT,
                "content-type" => CONTENT_TYPE,
                "accept" => ACCEPT,
                "x-request-id" => ID,
                "grpc-timeout" => TIMEOUT,
                "traceparent" | "tracestate" => TRACE,
                other if is_claim(other) => FORWARDED,
                _ => 0,
            };
        }
        Self(found)
    }

    const fn has(self, any: u32) -> bool {
        self.0 & any != 0
    }

    const fn but(self, these: u32) -> Self {
        Self(self.0 & !these)
    }
}

/// Removes what belongs to one connection.
fn strip(headers: &mut HeaderMap, found: Found) {
    if !found.has(OF_CONNECTION) {
        return;
    }
    if found.has(CONNECTION) {
        strip_nominated(headers);
        headers.remove(header::CONNECTION);
    }
    let names: [(u32, &[HeaderName]); 7] = [
        (KEEP_ALIVE, &[KEEP_ALIVE_NAME]),
        (PROXY_CONNECTION, &[PROXY_CONNECTION_NAME]),
        (PROXY_AUTHENTICATION, &[header::PROXY_AUTHENTICATE, header::PROXY_AUTHORIZATION]),
        (TE, &[header::TE]),
        (TRANSFER_ENCODING, &[header::TRANSFER_ENCODING]),
        (UPGRADE, &[header::UPGRADE, HTTP2_SETTINGS]),
        (EXPECT, &[header::EXPECT]),
    ];
    for (bit, names) in names {
        if found.has(bit) {
            for name in names {
                headers.remove(name);
            }
        }
    }
}

/// Removes what the head itself nominates, but for what every recipient needs: without that rule
/// a client takes from the instance what somebody before us added.
fn strip_nominated(headers: &mut HeaderMap) {
    let is_usual = |value: &HeaderValue| {
        value.as_bytes().eq_ignore_ascii_case(b"keep-alive")
            || value.as_bytes().eq_ignore_ascii_case(b"close")
    };
    if headers.get_all(header::CONNECTION).iter().all(is_usual) {
        return;
    }
    let nominated: Vec<HeaderName> = (headers.get_all(header::CONNECTION).iter())
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !FOR_ALL.contains(name))
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

/// Removes what a client that is not trusted says about where its request came from.
fn strip_claims(headers: &mut HeaderMap, found: Found) {
    if found.has(TRACE) {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
    if found.has(FORWARDED) {
        let claims: Vec<HeaderName> =
            headers.keys().filter(|name| is_claim(name.as_str())).cloned().collect();
        for claim in claims {
            headers.remove(claim);
        }
    }
}

/// The path alone stands in the first line, and the host in its header: the form that every
/// server takes.
fn make_origin(parts: &mut request::Parts) {
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        // What the first line names is what was asked, whatever the header says.
        if let Some(authority) = uri.authority.take() {
            // A name and a password are nobody's business but the client's.
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            if let Ok(host) = HeaderValue::from_str(host) {
                parts.headers.insert(header::HOST, host);
            }
        }
        uri.scheme = None;
        let asterisk = || match parts.method == Method::OPTIONS {
            true => PathAndQuery::from_static("*"),
            false => PathAndQuery::from_static("/"),
        };
        uri.path_and_query = Some(match uri.path_and_query.take() {
            // `http://a?b` has no path, but a first line has to.
            Some(query) if query.as_str().starts_with('?') => {
                PathAndQuery::try_from(format!("/{}", query.as_str()))
                    .unwrap_or_else(|_| asterisk())
            }
            Some(path) => path,
            None => asterisk(),
        });
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
    }
    if !parts.headers.contains_key(header::HOST) {
        // HTTP/1.0 needs none, HTTP/1.1 does, be it empty.
        parts.headers.insert(header::HOST, HeaderValue::from_static(""));
    }
}

/// What the request is called.
fn name_of(headers: &mut HeaderMap, way: &Way<'_>, is_trusted: bool, found: Found) -> HeaderValue {
    let is_theirs = is_trusted && found.has(ID) && given_id(headers).is_some();
    let theirs = if found.has(ID) { headers.remove(REQUEST_ID) } else { None };
    match (way.id, theirs.filter(|_| is_theirs)) {
        (Some(id), _) => id.clone(),
        (None, Some(theirs)) => theirs,
        (None, None) => (way.new_id)(),
    }
}

/// Whether the body is chunked and nothing else: another coding would have to be undone by us.
fn is_plainly_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = values.next().map(|value| value.as_bytes().trim_ascii());
    first.is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) && values.next().is_none()
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    names(headers, header::CONNECTION, b"upgrade")
}

fn names_trailers(headers: &HeaderMap) -> bool {
    names(headers, header::TE, b"trailers")
}

fn names(headers: &HeaderMap, list: HeaderName, wanted: &[u8]) -> bool {
    let mut values = headers.get_all(list).into_iter();
    let is_wanted = |name: &[u8]| name.trim_ascii().eq_ignore_ascii_case(wanted);
    values.any(|value| value.as_bytes().split(|byte| *byte == b',').any(is_wanted))
}

const CONNECTION: u32 = 1;
const KEEP_ALIVE: u32 = 1 << 1;
const PROXY_CONNECTION: u32 = 1 << 2;
const PROXY_AUTHENTICATION: u32 = 1 << 3;
const TE: u32 = 1 << 4;
const TRANSFER_ENCODING: u32 = 1 << 5;
const UPGRADE: u32 = 1 << 6;
const EXPECT: u32 = 1 << 7;
/// All that belongs to one connection.
const OF_CONNECTION: u32 = (1 << 8) - 1;
const CONTENT_TYPE: u32 = 1 << 8;
const ACCEPT: u32 = 1 << 9;
const ID: u32 = 1 << 10;
const TRACE: u32 = 1 << 11;
const FORWARDED: u32 = 1 << 12;
const TIMEOUT: u32 = 1 << 13;

const KEEP_ALIVE_NAME: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION_NAME: HeaderName = HeaderName::from_static("proxy-connection");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
