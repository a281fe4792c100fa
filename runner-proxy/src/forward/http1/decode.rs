//! What is read: heads, and bodies to the end that their heads promise.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header, response};

use super::super::fault::Fault;

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: response::Parts,
    pub(super) body: Decoder,
    /// Whether another request may follow on the connection.
    pub(super) may_persist: bool,
}

/// Where a header is: its name and its value, each from and to.
pub(super) type Place = [u32; 4];

/// How far a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// There is none, or it is over.
    Nothing,
    /// So many bytes are left.
    Sized(u64),
    Chunked(Chunk),
    /// All until the connection ends.
    ToEnd,
}

/// How far a chunked body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Size,
    /// So many bytes of the chunk are left.
    Data(u64),
    DataEnd,
    Trailers,
}

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// Nothing, before more was read.
    More,
}

/// Takes the head of a response off what was read, if all of it was.
pub(super) fn head(
    incoming: &mut BytesMut,
    places: &mut Vec<Place>,
    is_head: bool,
    is_connect: bool,
) -> Result<Option<Head>, Fault> {
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let outcome = config.parse_response_with_uninit_headers(&mut parsed, incoming, &mut headers);
    let length = match outcome {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if incoming.len() < LARGEST_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Fault::BadResponse),
    };
    let start = incoming.as_ptr() as usize;
    let place = |text: &[u8]| {
        let from = text.as_ptr() as usize - start;
        // A head is far below 4 GiB.
        [from as u32, (from + text.len()) as u32]
    };
    places.clear();
    places.extend(parsed.headers.iter().map(|header| {
        let ([a, b], [c, d]) = (place(header.name.as_bytes()), place(header.value));
        [a, b, c, d]
    }));
    let code = parsed.code.unwrap_or_default();
    let version = parsed.version;
    let text = incoming.split_to(length).freeze();
    let status = StatusCode::from_u16(code).map_err(|_| Fault::BadResponse)?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = if version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let said;
    (*response.headers_mut(), said) = headers_of(&text, places)?;
    let (mut parts, ()) = response.into_parts();
    let (body, may_persist) = framing(&mut parts, said, is_head, is_connect)?;
    Ok(Some(Head { parts, body, may_persist }))
}

/// Which headers that say something about the framing are in a head.
#[derive(Clone, Copy, Default)]
struct Said {
    connection: bool,
    length: bool,
    coding: bool,
}

fn headers_of(text: &Bytes, places: &[Place]) -> Result<(HeaderMap, Said), Fault> {
    let mut headers = HeaderMap::with_capacity(places.len());
    let mut said = Said::default();
    for [a, b, c, d] in places.iter().map(|place| place.map(|at| at as usize)) {
        let name = HeaderName::from_bytes(&text[a..b]).map_err(|_| Fault::BadResponse)?;
        let value = HeaderValue::from_maybe_shared(text.slice(c..d));
        said.connection |= name == header::CONNECTION;
        said.length |= name == header::CONTENT_LENGTH;
        said.coding |= name == header::TRANSFER_ENCODING;
        headers.append(name, value.map_err(|_| Fault::BadResponse)?);
    }
    Ok((headers, said))
}

/// How the body of a response ends (RFC 9112, 6.3), and whether the connection outlives it.
fn framing(
    parts: &mut response::Parts,
    said: Said,
    is_head: bool,
    is_connect: bool,
) -> Result<(Decoder, bool), Fault> {
    let is_old = parts.version == Version::HTTP_10;
    let may_persist = match said.connection {
        false => !is_old,
        true => match (names(&parts.headers, b"close"), is_old) {
            (true, _) => false,
            (false, true) => names(&parts.headers, b"keep-alive"),
            (false, false) => true,
        },
    };
    let has_none = parts.status.is_informational()
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || is_head
        || (is_connect && parts.status.is_success());
    if said.coding {
        let is_ambiguous = parts.headers.remove(header::CONTENT_LENGTH).is_some();
        let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
        let is_chunked = codings
            .next()
            .is_some_and(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
            && codings.next().is_none();
        return match (has_none, is_chunked && !is_old) {
            (true, _) => Ok((Decoder::Nothing, may_persist)),
            (false, true) => Ok((Decoder::Chunked(Chunk::Size), may_persist && !is_ambiguous)),
            // We would have to undo the other coding, or could not tell where it ends.
            (false, false) => Err(Fault::BadResponse),
        };
    }
    let length = if said.length { content_length(&mut parts.headers)? } else { None };
    match (length, has_none) {
        (_, true) | (Some(0), false) => Ok((Decoder::Nothing, may_persist)),
        (Some(length), false) => Ok((Decoder::Sized(length), may_persist)),
        (None, false) => Ok((Decoder::ToEnd, false)),
    }
}

/// The one length that a head says, in one line from here on.
fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, Fault> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(None) };
    let (mut count, text) = (1, first.as_bytes());
    for other in lengths {
        if other.as_bytes() != text {
            return Err(Fault::BadResponse);
        }
        count += 1;
    }
    // At most 19 digits fit in any case; signs and spaces are no digits.
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return Err(Fault::BadResponse);
    }
    let length = text.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    if count > 1 {
        let first = first.clone();
        headers.insert(header::CONTENT_LENGTH, first);
    }
    Ok(Some(length))
}

fn names(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let mut values = headers.get_all(header::CONNECTION).iter();
    let is_wanted = |name: &[u8]| name.trim_ascii().eq_ignore_ascii_case(wanted);
    values.any(|value| value.as_bytes().split(|byte| *byte == b',').any(is_wanted))
}

impl Decoder {
    /// Takes what comes next off what was read.
    pub(super) fn step(&mut self, incoming: &mut BytesMut) -> Result<Step, Fault> {
        match self {
            Self::Nothing => Ok(Step::End),
            Self::Sized(left) => {
                let Some(data) = take(incoming, *left) else { return Ok(Step::More) };
                *left -= data.len() as u64;
                if *left == 0 {
                    *self = Self::Nothing;
                }
                Ok(Step::Data(data))
            }
            Self::ToEnd => Ok(take(incoming, u64::MAX).map_or(Step::More, Step::Data)),
            Self::Chunked(_) => self.step_chunk(incoming),
        }
    }

    fn step_chunk(&mut self, incoming: &mut BytesMut) -> Result<Step, Fault> {
        loop {
            let Self::Chunked(chunk) = self else { return Ok(Step::End) };
            match chunk {
                Chunk::Size => match chunk_size(incoming)? {
                    None => return Ok(Step::More),
                    Some(0) => *chunk = Chunk::Trailers,
                    Some(size) => *chunk = Chunk::Data(size),
                },
                Chunk::Data(left) => {
                    let Some(data) = take(incoming, *left) else { return Ok(Step::More) };
                    *left -= data.len() as u64;
                    if *left == 0 {
                        *chunk = Chunk::DataEnd;
                    }
                    return Ok(Step::Data(data));
                }
                Chunk::DataEnd => {
                    if incoming.len() < 2 {
                        return Ok(Step::More);
                    }
                    if !incoming.starts_with(b"\r\n") {
                        return Err(Fault::BadResponse);
                    }
                    incoming.advance(2);
                    *chunk = Chunk::Size;
                }
                Chunk::Trailers => {
                    let Some(trailers) = trailers(incoming)? else { return Ok(Step::More) };
                    *self = Self::Nothing;
                    return Ok(match trailers.is_empty() {
                        true => Step::End,
                        false => Step::Trailers(trailers),
                    });
                }
            }
        }
    }

    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Whether the end of the connection is its end, and not a fault.
    pub(super) const fn ends_with_connection(self) -> bool {
        matches!(self, Self::ToEnd)
    }

    pub(super) const fn size_left(self) -> Option<u64> {
        match self {
            Self::Nothing => Some(0),
            Self::Sized(left) => Some(left),
            Self::Chunked(_) | Self::ToEnd => None,
        }
    }
}

/// What was read, at most so much; nothing if nothing was.
fn take(incoming: &mut BytesMut, most: u64) -> Option<Bytes> {
    if incoming.is_empty() {
        return None;
    }
    let count = usize::try_from(most).map_or(incoming.len(), |most| most.min(incoming.len()));
    Some(incoming.split_to(count).freeze())
}

/// The line that a chunk begins with, if all of it was read. Extensions mean nothing to us.
fn chunk_size(incoming: &mut BytesMut) -> Result<Option<u64>, Fault> {
    let window = &incoming[..incoming.len().min(LONGEST_LINE)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if incoming.len() < LONGEST_LINE { Ok(None) } else { Err(Fault::BadResponse) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(Fault::BadResponse)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    // Sixteen digits are all that fit; what is far too large ends with the connection.
    if !(1..=16).contains(&digits) || !(rest.is_empty() || rest.starts_with(b";")) {
        return Err(Fault::BadResponse);
    }
    let value = |digit: &u8| (*digit as char).to_digit(16).unwrap_or_default();
    let size = line[..digits].iter().fold(0, |size, digit| size << 4 | u64::from(value(digit)));
    incoming.advance(end + 1);
    Ok(Some(size))
}

/// What comes after the last chunk, if all of it was read.
fn trailers(incoming: &mut BytesMut) -> Result<Option<HeaderMap>, Fault> {
    if incoming.starts_with(b"\r\n") {
        incoming.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let (length, places) = match httparse::parse_headers(incoming, &mut headers) {
        Ok(httparse::Status::Complete((length, parsed))) => {
            let mut trailers = HeaderMap::with_capacity(parsed.len());
            for header in parsed {
                let name = HeaderName::from_bytes(header.name.as_bytes());
                let value = HeaderValue::from_bytes(header.value);
                let (Ok(name), Ok(value)) = (name, value) else { return Err(Fault::BadResponse) };
                trailers.append(name, value);
            }
            (length, trailers)
        }
        Ok(httparse::Status::Partial) if incoming.len() < LARGEST_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Fault::BadResponse),
    };
    incoming.advance(length);
    Ok(Some(places))
}

/// As many as hyper takes.
const MOST_HEADERS: usize = 100;

/// What proxies take without being told.
const LARGEST_HEAD: usize = 64 * 1024;

/// The line that a chunk begins with, extensions included.
const LONGEST_LINE: usize = 1024;

#[cfg(test)]
mod tests;
