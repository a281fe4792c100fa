//! What is written: heads, and bodies in the framing that their heads promise.

use bytes::{Buf, Bytes};
use http::{HeaderMap, header, request};
use http_body::{Body, Frame};

use super::super::{fault::Fault, origin::Origin, outgoing::Outgoing};

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By how many bytes are left.
    Sized(u64),
    /// By a chunk of none.
    Chunked,
}

/// Writes the head of a request, with the framing that its body has and not the one it came with.
pub(super) fn head(
    out: &mut Vec<u8>,
    head: &request::Parts,
    origin: Option<&Origin>,
    body: &Outgoing,
    expects: bool,
) -> Framing {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    // All but `CONNECT` have a path and no host here.
    let target = match (head.uri.path_and_query(), head.uri.authority()) {
        (Some(path), _) => path.as_str(),
        (None, Some(authority)) => authority.as_str(),
        (None, None) => "/",
    };
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let (mut has_length, mut has_trailers) = (false, false);
    for (name, value) in &head.headers {
        if *name == header::CONTENT_LENGTH {
            has_length = true;
            continue;
        }
        has_trailers |= *name == header::TRAILER;
        line(out, name.as_str(), value.as_bytes());
    }
    if let Some(origin) = origin {
        origin.write(&head.headers, out);
    }
    if expects {
        out.extend_from_slice(b"expect: 100-continue\r\n");
    }
    // Only a chunked body has room for what comes after it.
    let exact = body.size_hint().exact().filter(|_| !has_trailers || body.is_empty());
    let framing = match exact {
        None => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Framing::Chunked
        }
        Some(length) => {
            if length > 0 || has_length {
                line(out, "content-length", Digits::of(length).text());
            }
            Framing::Sized(length)
        }
    };
    out.extend_from_slice(b"\r\n");
    framing
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

impl Framing {
    /// Frames what comes next of a body (nothing: its end): first in `out`, then in `data`, which
    /// are both empty before. Whether that was all.
    pub(super) fn frame(
        &mut self,
        frame: Option<Frame<Bytes>>,
        out: &mut Vec<u8>,
        data: &mut Bytes,
    ) -> Result<bool, Fault> {
        let Some(frame) = frame else {
            return match self {
                Self::Sized(0) => Ok(true),
                // Fewer than promised: the connection must not be used as if that were the end.
                Self::Sized(_) => Err(Fault::RequestBroke),
                Self::Chunked => {
                    out.extend_from_slice(b"0\r\n\r\n");
                    Ok(true)
                }
            };
        };
        match (self, frame.into_data()) {
            (Self::Sized(left), Ok(bytes)) => {
                // More than promised would be read as the next request.
                *left = left.checked_sub(bytes.len() as u64).ok_or(Fault::RequestBroke)?;
                let is_over = *left == 0;
                put(bytes, out, data);
                Ok(is_over)
            }
            (Self::Chunked, Ok(bytes)) => {
                // An empty chunk would be the end.
                if bytes.has_remaining() {
                    out.extend_from_slice(Digits::of_hex(bytes.len() as u64).text());
                    out.extend_from_slice(b"\r\n");
                    out.extend_from_slice(&bytes);
                    out.extend_from_slice(b"\r\n");
                }
                Ok(false)
            }
            (Self::Chunked, Err(frame)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                out.extend_from_slice(b"0\r\n");
                write_trailers(out, &trailers);
                out.extend_from_slice(b"\r\n");
                Ok(true)
            }
            // There is no room for them after a length, and nobody said that they would come.
            (Self::Sized(left), Err(_)) => Ok(*left == 0),
        }
    }
}

/// Small data is copied, so that it is written together with what stands before it.
fn put(bytes: Bytes, out: &mut Vec<u8>, data: &mut Bytes) {
    match bytes.len() <= COPIED_MOST {
        true => out.extend_from_slice(&bytes),
        false => *data = bytes,
    }
}

/// All but what would change how the message is read.
fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    for (name, value) in trailers {
        if !OF_FRAMING.contains(name) {
            line(out, name.as_str(), value.as_bytes());
        }
    }
}

/// The digits of a number, without the machinery of formatting.
struct Digits {
    text: [u8; 20],
    from: usize,
}

impl Digits {
    fn of(number: u64) -> Self {
        Self::to_base(number, 10)
    }

    fn of_hex(number: u64) -> Self {
        Self::to_base(number, 16)
    }

    fn to_base(mut number: u64, base: u64) -> Self {
        let mut digits = Self { text: [0; 20], from: 20 };
        loop {
            digits.from -= 1;
            digits.text[digits.from] = b"0123456789abcdef"[(number % base) as usize];
            number /= base;
            if number == 0 {
                return digits;
            }
        }
    }

    fn text(&self) -> &[u8] {
        &self.text[self.from..]
    }
}

/// Below this, copying costs less than another write.
const COPIED_MOST: usize = 16 * 1024;

const OF_FRAMING: [header::HeaderName; 4] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST, header::TRAILER];

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::Full;

    use super::*;

    fn written(request: request::Builder, body: &'static str) -> (String, Framing) {
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let body = Outgoing::new(Full::<Bytes>::from(body));
        let mut out = Vec::new();
        let framing = head(&mut out, &parts, None, &body, false);
        (String::from_utf8(out).expect("text"), framing)
    }

    #[test]
    fn a_head_has_the_framing_of_its_body_and_no_other() {
        let (text, framing) = written(Request::get("/a?b").header("x", "1"), "");
        assert_eq!(
            (text.as_str(), framing),
            ("GET /a?b HTTP/1.1\r\nx: 1\r\n\r\n", Framing::Sized(0))
        );
        let lies = Request::post("/").header("content-length", "7").header("content-length", "7");
        let (text, framing) = written(lies, "four");
        assert_eq!(
            (text.as_str(), framing),
            ("POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n", Framing::Sized(4))
        );
        let (text, _) = written(Request::post("/").header("content-length", "5"), "");
        assert_eq!(text, "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        let (text, framing) = written(Request::get("/").header("trailer", "x"), "four");
        assert_eq!(framing, Framing::Chunked);
        assert_eq!(text, "GET / HTTP/1.1\r\ntrailer: x\r\ntransfer-encoding: chunked\r\n\r\n");
        let (text, _) = written(Request::connect("a:443"), "");
        assert_eq!(text, "CONNECT a:443 HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn a_body_is_never_longer_or_shorter_than_its_head_says() {
        let (mut out, mut data) = (Vec::new(), Bytes::new());
        let mut some = |framing: &mut Framing, text: Option<&'static str>| {
            let frame = text.map(|text| Frame::data(Bytes::from(text)));
            framing.frame(frame, &mut out, &mut data)
        };
        let mut framing = Framing::Sized(4);
        assert_eq!(some(&mut framing, Some("abc")), Ok(false));
        assert_eq!(some(&mut framing, None), Err(Fault::RequestBroke));
        assert_eq!(some(&mut framing, Some("de")), Err(Fault::RequestBroke));
        assert_eq!(some(&mut framing, Some("d")), Ok(true));
        assert_eq!(some(&mut framing, None), Ok(true));
        assert_eq!((out.as_slice(), data.len()), (&b"abcd"[..], 0));
    }

    #[test]
    fn chunks_end_with_a_chunk_of_none_and_what_comes_after() {
        let (mut out, mut data) = (Vec::new(), Bytes::new());
        let mut framing = Framing::Chunked;
        for text in ["a", "", "0123456789abcdef"] {
            let frame = Some(Frame::data(Bytes::from(text)));
            assert_eq!(framing.frame(frame, &mut out, &mut data), Ok(false));
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().expect("a value"));
        trailers.insert("content-length", "9".parse().expect("a value"));
        let trailers = Some(Frame::trailers(trailers));
        assert_eq!(framing.frame(trailers, &mut out, &mut data), Ok(true));
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "1\r\na\r\n10\r\n0123456789abcdef\r\n0\r\nx-sum: 1\r\n\r\n");
        let mut out = Vec::new();
        assert_eq!(Framing::Chunked.frame(None, &mut out, &mut data), Ok(true));
        assert_eq!(out, b"0\r\n\r\n");
    }

    #[test]
    fn large_data_is_not_copied() {
        let (mut out, mut data) = (Vec::new(), Bytes::new());
        let large = Bytes::from(vec![b'x'; COPIED_MOST + 1]);
        let mut framing = Framing::Sized(large.len() as u64);
        let frame = Some(Frame::data(large.clone()));
        assert_eq!(framing.frame(frame, &mut out, &mut data), Ok(true));
        assert_eq!((out.len(), data.as_ptr()), (0, large.as_ptr()));
    }
}
