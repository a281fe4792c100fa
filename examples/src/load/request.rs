//! One request, from its connection to the last byte of its answer.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch, time::timeout};

use super::{
    Target,
    tally::{Loss, Outcome},
};

/// A connection on which the next request may be sent.
pub(super) type Connection = SendRequest<Empty<Bytes>>;

/// The versions that may answer.
pub(super) type Versions = Arc<BTreeSet<String>>;

/// Sends one request, and gives the connection back where it can be used again.
///
/// What is expected may change while it is under way: the versions that may answer are those from
/// before it was sent, and those when its answer came.
pub(super) async fn ask(
    target: &Target,
    idle: Option<Connection>,
    before: &Versions,
    expected: &watch::Receiver<Versions>,
) -> (Outcome, Option<Connection>) {
    let asked = timeout(target.limit, exchange(target, idle)).await;
    let (response, connection) = match asked {
        Ok(Ok(answered)) => answered,
        Ok(Err(loss)) => return (Outcome::Lost(loss), None),
        Err(_) => return (Outcome::Lost(Loss::TimedOut), None),
    };
    let (status, said) = (response.status().as_u16(), response.body().trim());
    let reason = response.headers().get("x-refusal-reason").and_then(|text| text.to_str().ok());
    let outcome = match (status, reason) {
        (200..300, _) if before.contains(said) || expected.borrow().contains(said) => {
            Outcome::Answered(said.to_owned())
        }
        (200..300, _) => Outcome::Unexpected(said.chars().take(40).collect()),
        (429 | 503, Some(reason)) => Outcome::Refused(status, reason.to_owned()),
        _ => Outcome::Lost(Loss::Status(status)),
    };
    (outcome, Some(connection))
}

async fn exchange(
    target: &Target,
    idle: Option<Connection>,
) -> Result<(Response<String>, Connection), Loss> {
    if let Some(mut connection) = idle
        && connection.ready().await.is_ok()
    {
        match on(&mut connection, target).await {
            Ok(response) => return Ok((response, connection)),
            // It was closed while it was idle: nothing was sent, so nothing is lost.
            Err(Fault::NotSent) => {}
            Err(Fault::Broken) => return Err(Loss::Broken),
        }
    }
    let mut connection = connect(target).await.map_err(|_| Loss::Unconnected)?;
    let response = on(&mut connection, target).await.map_err(|_| Loss::Broken)?;
    Ok((response, connection))
}

#[expect(clippy::disallowed_methods, reason = "it ends when the connection is dropped")]
async fn connect(target: &Target) -> io::Result<Connection> {
    let stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // Who sent a request is told.
        let _ = connection.await;
    });
    Ok(sender)
}

enum Fault {
    NotSent,
    Broken,
}

async fn on(connection: &mut Connection, target: &Target) -> Result<Response<String>, Fault> {
    let request = Request::get(&*target.path).header(HOST, &*target.host).body(Empty::new());
    // Checked when the target was made.
    let request = request.map_err(|_| Fault::NotSent)?;
    let response = connection
        .send_request(request)
        .await
        .map_err(|error| if error.is_canceled() { Fault::NotSent } else { Fault::Broken })?;
    let (head, body) = response.into_parts();
    let said = whole(body).await.ok_or(Fault::Broken)?;
    Ok(Response::from_parts(head, said))
}

/// The whole body, which has to come to its end: half an answer is none.
async fn whole(body: Incoming) -> Option<String> {
    let bytes = Limited::new(body, LONGEST).collect().await.ok()?.to_bytes();
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// How long an answer may be, in bytes: those of the sample app are a word.
const LONGEST: usize = 64 << 10;

/// How long an answer may take, where nothing else is said: longer than any wait that a queue here
/// allows, so that it is the queue that gives up first.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
