//! Where a request came from and what it is called, as its instance is told: `x-request-id`,
//! `x-forwarded-for`, `x-forwarded-proto`, `x-forwarded-host` and `forwarded`.
//!
//! Written as text into the memory that a head is written from, without a stop in a map of headers:
//! that would cost as much as everything else that is done to a head.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::exchange::ClientConnection;

/// What is added to the head of a request.
#[derive(Debug)]
pub(super) struct Origin {
    /// What the request is called.
    pub(super) id: HeaderValue,
    /// The connection that it came by, where that is known.
    pub(super) client: Option<ClientConnection>,
    /// What a client said about it that is trusted.
    pub(super) said: Option<Said>,
}

/// What somebody who is trusted said about where a request came from.
#[derive(Debug)]
pub(super) struct Said {
    /// Each with what separates it from what is added.
    forwarded_for: Vec<u8>,
    forwarded: Vec<u8>,
    has_proto: bool,
    has_host: bool,
}

impl Said {
    /// Takes out the lists that are added to; what is no list stays.
    pub(super) fn take(headers: &mut HeaderMap) -> Self {
        let mut list = |name: HeaderName| {
            let mut text = Vec::new();
            for value in headers.get_all(&name) {
                text.extend_from_slice(value.as_bytes());
                text.extend_from_slice(b", ");
            }
            headers.remove(name);
            text
        };
        let (forwarded_for, forwarded) = (list(FORWARDED_FOR), list(header::FORWARDED));
        Self {
            forwarded_for,
            forwarded,
            has_proto: headers.contains_key(FORWARDED_PROTO),
            has_host: headers.contains_key(FORWARDED_HOST),
        }
    }
}

impl Origin {
    /// Writes the lines of a head, each with its end.
    pub(super) fn write(&self, headers: &HeaderMap, out: &mut Vec<u8>) {
        let peer = self.client.and_then(|client| client.peer);
        let is_secure = self.client.is_some_and(|client| client.secure);
        let proto = if is_secure { "https" } else { "http" };
        let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
        let mut text = Text(out);
        text.line("x-request-id", self.id.as_bytes());
        let (earlier_for, earlier) = match &self.said {
            None => (&[][..], &[][..]),
            Some(said) => (&said.forwarded_for[..], &said.forwarded[..]),
        };
        let mut address = 0..0;
        if let Some(peer) = peer {
            text.put(b"x-forwarded-for: ");
            text.put(earlier_for);
            address.start = text.0.len();
            text.address(peer.ip().to_canonical());
            address.end = text.0.len();
            text.put(b"\r\n");
        } else if let Some(earlier) = earlier_for.strip_suffix(b", ") {
            text.line("x-forwarded-for", earlier);
        }
        text.put(b"forwarded: ");
        text.put(earlier);
        text.element(peer, address, host, proto);
        text.put(b"\r\n");
        let (has_proto, has_host) =
            self.said.as_ref().map_or((false, false), |said| (said.has_proto, said.has_host));
        if !has_proto {
            text.line("x-forwarded-proto", proto.as_bytes());
        }
        if let (Some(host), false) = (host, has_host) {
            text.line("x-forwarded-host", host);
        }
    }

    /// Adds the same to a map.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        let mut text = Vec::new();
        self.write(headers, &mut text);
        for line in text.split(|byte| *byte == b'\n') {
            let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
            let name = HeaderName::from_bytes(&line[..at]);
            let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Text of headers.
struct Text<'a>(&'a mut Vec<u8>);

impl Text<'_> {
    fn put(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        self.put(name.as_bytes());
        self.put(b": ");
        self.put(value);
        self.put(b"\r\n");
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                for (at, part) in address.octets().into_iter().enumerate() {
                    if at > 0 {
                        self.0.push(b'.');
                    }
                    self.byte(part);
                }
            }
            IpAddr::V6(address) => {
                let _ = write!(self, "{address}");
            }
        }
    }

    /// A number without the machinery of formatting, which costs more than the rest of the head.
    fn byte(&mut self, number: u8) {
        if number >= 100 {
            self.0.push(b'0' + number / 100);
        }
        if number >= 10 {
            self.0.push(b'0' + number / 10 % 10);
        }
        self.0.push(b'0' + number % 10);
    }

    /// One element of `forwarded`, as RFC 7239 has it. The address is written already, at `at`.
    fn element(
        &mut self,
        peer: Option<SocketAddr>,
        at: Range<usize>,
        host: Option<&[u8]>,
        proto: &str,
    ) {
        let (before, after): (&[u8], &[u8]) = match peer.map(|peer| peer.ip().to_canonical()) {
            None => (b"for=unknown", b""),
            Some(IpAddr::V4(_)) => (b"for=", b""),
            Some(IpAddr::V6(_)) => (b"for=\"[", b"]\""),
        };
        self.put(before);
        self.0.extend_from_within(at);
        self.put(after);
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
        if let Some(host) = host
            && !host.is_empty()
            && host.iter().all(is_plain)
        {
            let is_quoted = host.iter().any(|byte| b":[]".contains(byte));
            let quote: &[u8] = if is_quoted { b"\"" } else { b"" };
            for part in [b";host=", quote, host, quote] {
                self.put(part);
            }
        }
        self.put(b";proto=");
        self.put(proto.as_bytes());
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
