//! WebSockets that clients open over HTTP/2, for instances that know those of HTTP/1.1.
//!
//! Over HTTP/2 a client asks by a `CONNECT` that names its protocol (RFC 8441), and a 200 opens the
//! tunnel. Over HTTP/1.1 it asks by a `GET` with `upgrade` and a key, and a 101 that proves to have
//! understood the key opens it (RFC 6455). We are the client of the second kind here, so the key is
//! ours and the proof is checked: nobody else could.
//!
//! What is said inside the tunnel is the same, and passes untouched.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request, response};
use hyper::ext::Protocol;

use super::fault::Fault;

/// What an instance has to prove that it has read, and understood to be about a WebSocket.
#[derive(Debug)]
pub(super) struct Key(HeaderValue);

/// Whether a request is one of these; a fault where it asks for another protocol in this way.
pub(super) fn is_asked(parts: &request::Parts) -> Result<bool, Fault> {
    match parts.extensions.get::<Protocol>() {
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => Ok(true),
        Some(_) => Err(Fault::ProtocolNotSupported),
        None => Ok(false),
    }
}

/// Makes the head of such a request that of a `GET`. The key is made from what the request is
/// called: it need not be a secret, only another one each time.
pub(super) fn ask(parts: &mut request::Parts, id: &HeaderValue) -> Key {
    parts.method = Method::GET;
    let key: String = base64(&sha1(id.as_bytes())[..16]);
    let key = HeaderValue::try_from(key).expect("base64 may stand in a header");
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    parts.headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
    // It has no body to describe. One that called itself gRPC could be refused by a 200, on its way
    // through the queue once more, and that would open the tunnel.
    parts.headers.remove(header::CONTENT_TYPE);
    Key(key)
}

impl Key {
    /// Makes the head of an instance's response that of the answer over HTTP/2. Whether it opens
    /// the tunnel.
    ///
    /// A success of any other kind would open it too, and so is a fault of the instance.
    pub(super) fn answer(&self, parts: &mut response::Parts) -> Result<bool, Fault> {
        if parts.status != StatusCode::SWITCHING_PROTOCOLS {
            return if parts.status.is_success() { Err(Fault::BadResponse) } else { Ok(false) };
        }
        let headers = &mut parts.headers;
        let is = |headers: &HeaderMap, name: &HeaderName, wanted: &[u8]| {
            headers.get(name).is_some_and(|value| value.as_bytes() == wanted)
        };
        let upgrade = headers.get(header::UPGRADE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_websocket = upgrade.eq_ignore_ascii_case(b"websocket");
        if !is_websocket || !is(headers, &header::SEC_WEBSOCKET_ACCEPT, self.proof().as_bytes()) {
            return Err(Fault::BadResponse);
        }
        for name in OF_HTTP1 {
            headers.remove(name);
        }
        parts.status = StatusCode::OK;
        Ok(true)
    }

    fn proof(&self) -> String {
        base64(&sha1(&[self.0.as_bytes(), GUID].concat()))
    }
}

/// SHA-1, as FIPS 180-4 has it. It guards nothing here: it is what the proof is made of. Forty
/// lines for one message per socket, instead of five crates.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((message.len() + 9).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for at in 16..80 {
            let mixed = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words[at] = mixed.rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.into_iter().enumerate() {
            let (chosen, constant) = match at {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = [a.rotate_left(5), chosen, e, constant, word];
            let next = next.into_iter().fold(0, u32::wrapping_add);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = u32::wrapping_add(*sum, part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | three.get(at).map_or(0, |b| *b as usize));
        for at in 0..4 {
            match at <= three.len() {
                true => text.push(DIGITS[bits >> (18 - 6 * at) & 0x3f] as char),
                false => text.push('='),
            }
        }
    }
    text
}

/// What makes a proof of a key that is about WebSocket and nothing else (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What an answer over HTTP/2 does without.
const OF_HTTP1: [HeaderName; 4] =
    [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_ACCEPT, header::CONTENT_LENGTH];

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

    use super::*;

    fn key() -> Key {
        Key(HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="))
    }

    fn answered(response: response::Builder) -> (Result<bool, Fault>, response::Parts) {
        let (mut parts, ()) = response.body(()).expect("a response").into_parts();
        (key().answer(&mut parts), parts)
    }

    fn opening() -> response::Builder {
        Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-protocol", "chat")
    }

    #[test]
    fn only_a_connect_that_names_websocket_is_one() {
        for (method, protocol, asked) in [
            ("CONNECT", Some("websocket"), Ok(true)),
            ("CONNECT", Some("WebSocket"), Ok(true)),
            ("CONNECT", Some("connect-udp"), Err(Fault::ProtocolNotSupported)),
            ("CONNECT", None, Ok(false)),
            ("GET", None, Ok(false)),
        ] {
            let mut request = Request::builder().method(method).body(()).expect("a request");
            if let Some(protocol) = protocol {
                request.extensions_mut().insert(Protocol::from_static(protocol));
            }
            assert_eq!(is_asked(&request.into_parts().0), asked, "{method} {protocol:?}");
        }
    }

    #[test]
    fn an_instance_is_asked_as_http_1_1_does_with_a_key_for_each() {
        let keys = ["a-1", "a-2"].map(|id| {
            let request = Request::connect("a").header("content-type", "application/grpc");
            let (mut parts, ()) = request.body(()).expect("a request").into_parts();
            let key = ask(&mut parts, &HeaderValue::from_static(id));
            assert_eq!(parts.method, Method::GET);
            assert_eq!(parts.headers["connection"], "upgrade");
            assert_eq!(parts.headers["upgrade"], "websocket");
            assert_eq!(parts.headers["sec-websocket-key"], key.0);
            assert_eq!(key.0.len(), 24, "sixteen bytes");
            assert!(!parts.headers.contains_key("content-type"));
            key.0
        });
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn the_proof_opens_the_tunnel_and_nothing_else_does() {
        let proof = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let (opened, parts) = answered(opening().header("sec-websocket-accept", proof));
        assert_eq!((opened, parts.status), (Ok(true), StatusCode::OK));
        assert_eq!(parts.headers.len(), 1, "{:?}", parts.headers);
        assert_eq!(parts.headers["sec-websocket-protocol"], "chat");
        for wrong in [
            opening(),
            opening().header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO="),
            Response::builder().status(101).header("sec-websocket-accept", proof),
            Response::builder().status(200),
            Response::builder().status(204),
        ] {
            assert_eq!(answered(wrong).0, Err(Fault::BadResponse));
        }
        for status in [302, 403, 426, 503] {
            let (opened, parts) = answered(Response::builder().status(status).header("x", "y"));
            assert_eq!((opened, parts.status.as_u16()), (Ok(false), status));
            assert_eq!(parts.headers["x"], "y");
        }
    }

    #[test]
    fn digests_and_digits_are_those_of_their_standards() {
        let hex = |digest: [u8; 20]| digest.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex(sha1(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(sha1(two_blocks)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        let texts =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (text, coded) in texts {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }

    proptest! {
        #[test]
        fn a_proof_is_what_another_library_makes_of_the_same_key(key in "[ -~]{0,200}") {
            let ours = Key(HeaderValue::from_str(&key).expect("text")).proof();
            prop_assert_eq!(ours, derive_accept_key(key.as_bytes()));
        }
    }
}
