//! How the app asks another service, as any program may.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

/// Asks a service for a path, `NAME/PATH`, and says what it answered: status and body.
pub(super) async fn call(to: &str, came_with: &HeaderMap) -> io::Result<String> {
    let door = std::env::var("RUNNER_SERVICES").map_err(io::Error::other)?;
    let address = door.strip_prefix("http://").unwrap_or(&door);
    let (name, path) = to.split_at(to.find('/').unwrap_or(to.len()));
    let mut request = Request::get(if path.is_empty() { "/" } else { path });
    request = request.header(header::HOST, name);
    for (name, value) in came_with.iter().filter(|(name, _)| PASSED_ON.contains(&name.as_str())) {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    // It ends with this: with who waits for the answer.
    let mut running = JoinSet::new();
    running.spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(format!("{status} {}", String::from_utf8_lossy(&body).trim_end()))
}

/// What belongs to the whole chain of calls, and is passed on as it came.
const PASSED_ON: [&str; 4] = ["x-request-id", "traceparent", "tracestate", "x-runner-hops"];
