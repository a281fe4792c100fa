//! Whether the standard gRPC health service says `SERVING`.
//!
//! The wire of `grpc.health.v1.Health/Check` is one field each way, so it is written here by hand
//! over HTTP/2 and checked in tests against a real server, instead of a gRPC stack with generated
//! code for everybody who embeds this crate.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, client};
use http::{HeaderMap, Method, Request, StatusCode, Version, header};
use runner_core::{BoxFuture, address::Address, spec::Port};

use super::{
    Probe, Seen, ServingStatus, Target, Waiting,
    connect::{Allowance, address, connect},
    words_of,
};

/// Asks the health service (gRPC health checking protocol, version 1) over plain HTTP/2.
#[derive(Clone, Debug, Default)]
pub struct GrpcProbe {
    service: Box<str>,
    port: Option<Port>,
}

impl GrpcProbe {
    /// Asks for the server as a whole.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for one of its services, by its full name.
    #[must_use]
    pub fn service(mut self, name: &str) -> Self {
        self.service = name.into();
        self
    }

    /// Asks another port of the same host.
    #[must_use]
    pub fn on_port(mut self, port: Port) -> Self {
        self.port = Some(port);
        self
    }
}

impl Probe for GrpcProbe {
    fn attempt(&self, target: &Target) -> BoxFuture<'static, Seen> {
        let to = address(target, self.port);
        let question = encode(&self.service);
        let (allowance, limit) = (Allowance::start(target.limit), target.limit);
        Box::pin(async move {
            let head = head(&to, limit.as_millis());
            ask(&to, head, question, allowance).await.unwrap_or_else(|seen| seen)
        })
    }
}

async fn ask(
    to: &Address,
    head: Request<()>,
    question: Bytes,
    allowance: Allowance,
) -> Result<Seen, Seen> {
    let stream = connect(to, allowance).await?;
    let shaken = allowance.keep(Waiting::Answer, client::handshake(stream)).await?;
    let (sender, connection) = shaken.map_err(|error| garbled(&error))?;
    let mut connection = pin!(connection);
    let mut call = pin!(call(sender, head, question, allowance));
    poll_fn(|context| {
        // Its own end is told by the streams on it.
        let _ = connection.as_mut().poll(context);
        match call.as_mut().poll(context) {
            Poll::Pending => {
                // What was just asked for is written before anything is waited for.
                let _ = connection.as_mut().poll(context);
                Poll::Pending
            }
            answered @ Poll::Ready(_) => answered,
        }
    })
    .await
}

async fn call(
    sender: client::SendRequest<Bytes>,
    head: Request<()>,
    question: Bytes,
    allowance: Allowance,
) -> Result<Seen, Seen> {
    let ready = allowance.keep(Waiting::Answer, sender.ready()).await?;
    let mut sender = ready.map_err(|error| garbled(&error))?;
    let (response, mut body) = sender.send_request(head, false).map_err(|error| garbled(&error))?;
    body.send_data(question, true).map_err(|error| garbled(&error))?;
    let response = allowance.keep(Waiting::Answer, response).await?;
    let response = response.map_err(|error| garbled(&error))?;
    if response.status() != StatusCode::OK {
        let words = format!("HTTP status {}; does it speak gRPC?", response.status().as_u16());
        return Err(Seen::Garbled(words_of(&words)));
    }
    // An error without a message is a head alone, which then has the status.
    grpc_status(response.headers())?;
    let (body, trailers) = allowance.keep(Waiting::Rest, read(response.into_body())).await??;
    grpc_status(&trailers)?;
    match decode(&body) {
        Some(1) => Ok(Seen::good("its health service says SERVING")),
        Some(0) => Err(Seen::NotServing(ServingStatus::Unknown)),
        Some(2) => Err(Seen::NotServing(ServingStatus::NotServing)),
        Some(3) => Err(Seen::NotServing(ServingStatus::ServiceUnknown)),
        Some(other) => Err(Seen::NotServing(ServingStatus::Other(other))),
        None => Err(Seen::Garbled("its message is no health answer".into())),
    }
}

fn head(to: &Address, limit_millis: u128) -> Request<()> {
    let authority = match to {
        Address::Tcp(address) => address.to_string(),
        _ => "localhost".to_owned(),
    };
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    // An address is an authority, so that the uri cannot but be one.
    *request.uri_mut() = format!("http://{authority}/grpc.health.v1.Health/Check")
        .parse()
        .expect("an address and a fixed path make a URI");
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
    headers.insert(header::USER_AGENT, header::HeaderValue::from_static("runner-health"));
    // At most eight digits, as gRPC has it; a day is less.
    let limit = format!("{}m", limit_millis.clamp(1, 86_400_000));
    if let Ok(limit) = header::HeaderValue::from_str(&limit) {
        headers.insert("grpc-timeout", limit);
    }
    request
}

/// The whole answer: a body of bounded size and the trailers.
async fn read(mut body: RecvStream) -> Result<(Bytes, HeaderMap), Seen> {
    let mut read = BytesMut::new();
    while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
        let data = data.map_err(|error| garbled(&error))?;
        if read.len() + data.len() > LARGEST_ANSWER {
            return Err(Seen::Garbled("its message is larger than any health answer".into()));
        }
        let _ = body.flow_control().release_capacity(data.len());
        read.extend_from_slice(&data);
    }
    let trailers = poll_fn(|cx| Pin::new(&mut body).poll_trailers(cx)).await;
    let trailers = trailers.map_err(|error| garbled(&error))?;
    Ok((read.freeze(), trailers.unwrap_or_default()))
}

/// Nothing where there is no status, or it is `OK`.
fn grpc_status(headers: &HeaderMap) -> Result<(), Seen> {
    let Some(status) = headers.get("grpc-status") else { return Ok(()) };
    let code = status.to_str().ok().and_then(|code| code.parse().ok());
    match code {
        Some(0) => Ok(()),
        Some(code) => {
            let message = headers.get("grpc-message").map(http::HeaderValue::as_bytes);
            let message = words_of(&String::from_utf8_lossy(message.unwrap_or_default()));
            Err(Seen::GrpcStatus { code, message })
        }
        None => Err(Seen::Garbled("its gRPC status is no number".into())),
    }
}

/// `HealthCheckRequest { service = 1 }` in a frame.
fn encode(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(SERVICE_FIELD);
        put_varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = vec![UNCOMPRESSED];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}

/// The status of `HealthCheckResponse { status = 1 }` in a frame; none when it is no such thing.
///
/// Fields of later versions are skipped, and the last of a repeated field counts, as everywhere
/// in protobuf. A message without the field has its default, `UNKNOWN`.
fn decode(frame: &[u8]) -> Option<u64> {
    let (head, mut rest) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
    if head[0] != UNCOMPRESSED || rest.len() != length {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let key = take_varint(&mut rest)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take_varint(&mut rest)?,
            (1.., 0) => drop(take_varint(&mut rest)?),
            (1.., 1) => rest = rest.get(8..)?,
            (1.., 2) => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (1.., 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn put_varint(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for at in 0..10 {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn garbled(error: &h2::Error) -> Seen {
    match error.get_io().map(std::io::Error::kind) {
        Some(
            std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::BrokenPipe
            | std::io::ErrorKind::UnexpectedEof,
        ) => Seen::ClosedAtOnce,
        _ => Seen::Garbled(words_of(&format!("{error}; does it speak gRPC without TLS?"))),
    }
}

const UNCOMPRESSED: u8 = 0;
/// Field 1, length-delimited.
const SERVICE_FIELD: u8 = 0x0a;
/// A hundred times what a health answer takes.
const LARGEST_ANSWER: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_question_is_the_bytes_that_the_protocol_says() {
        assert_eq!(&encode("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&encode("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = encode(&"x".repeat(300));
        assert_eq!(&long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn answers_are_read_whatever_else_they_carry() {
        for (bytes, status) in [
            (&[0, 0, 0, 0, 0][..], Some(0)),
            (&[0, 0, 0, 0, 2, 0x08, 1], Some(1)),
            (&[0, 0, 0, 0, 4, 0x08, 1, 0x08, 2], Some(2)),
            (&[0, 0, 0, 0, 6, 0x12, 2, 9, 9, 0x08, 1], Some(1)),
            (&[1, 0, 0, 0, 2, 0x08, 1], None),
            (&[0, 0, 0, 0, 3, 0x08, 1], None),
            (&[0, 0, 0, 0, 2, 0x08, 0x80], None),
            (&[0, 0, 0, 0, 3, 0x12, 9, 9], None),
            (&[0, 0], None),
            (&[], None),
        ] {
            assert_eq!(decode(bytes), status, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn numbers_come_back(number: u64) {
            let mut bytes = Vec::new();
            put_varint(number, &mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!((take_varint(&mut rest), rest.len()), (Some(number), 0));
        }
    }
}
