//! The front door: connections of clients before any tower service.
//!
//! A [`FrontDoor`] listens, speaks HTTP/1.0, 1.1 and 2, keeps every client within [`Limits`], and
//! leaves in an orderly way. Behind it stands any `Service<http::Request<RequestBody>>`: a
//! [`Router`](crate::router::Router) over pools of instances, or a service of one's own. Each
//! request comes with a [`ClientConnection`](crate::exchange::ClientConnection) and a
//! [`RequestId`](crate::exchange::RequestId) in its extensions.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use runner_proxy::front_door::{Drain, FrontDoor, RequestBody};
//! use tower::service_fn;
//!
//! let hello = service_fn(async |_: Request<RequestBody>| {
//!     Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from("hello"))))
//! });
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let (door, handle) = FrontDoor::before(hello).listen(listener).build();
//! let running = door.run(); // spawn it, or await it beside other things
//! handle.drain(Drain::default());
//! let cut = running.await;
//! assert_eq!(cut.plain + cut.streaming + cut.upgraded, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **One future.** Nothing runs unless [`FrontDoor::run`] is polled, and dropping it closes every
//!   connection: those of HTTP when the runtime next turns, tunnels when they next move.
//! - **Every wait ends:** heads, bodies, answers, silence and the drain have limits, and each of
//!   them has its answer and its count.
//! - **A service's error never reaches a client.** It is logged, and answered with 502.
//! - **Memory is bounded** by connection: a head of at most twice
//!   [`head_bytes`](Limits::head_bytes), and of bodies what the service takes.
//!
//! # What clients may not do
//!
//! Whoever stands behind is to see exactly the requests that the door saw. hyper refuses with a
//! bare 400, and closes: lengths that disagree or are no numbers, a transfer coding that does not
//! end in `chunked` or comes with HTTP/1.0, obsolete line folding, space before a colon, control
//! characters in fields, chunks whose size is none. The door refuses two hosts or none, and
//! `CONNECT` to another host; and it takes out the wish for HTTP/2 over an upgrade, which would
//! carry requests past it.
//!
//! What hyper makes of a request before the door sees it, and what therefore cannot be refused,
//! only made harmless - behind the door the framing is written anew:
//!
//! - lines that end in a bare line feed are read like any others;
//! - `Content-Length` beside `Transfer-Encoding`, in either order, is dropped, and the connection
//!   closes after its answer;
//! - several `Content-Length` fields that agree are one;
//! - empty lines before a request line are skipped, and space around a field's value is.
//!
//! # WebSockets inside HTTP/2
//!
//! A client that has a connection of HTTP/2 may open tunnels inside it, by a `CONNECT` that names a
//! protocol and a path (RFC 8441). The service gets that request as hyper gives it, with
//! `hyper::ext::Protocol` in its extensions, and opens the tunnel with a 2xx. Forwarding does, and
//! so does axum; a service that knows only the way of HTTP/1.1 stands behind a door
//! [without them](FrontDoorBuilder::without_extended_connect).
//!
//! # Clients that leave
//!
//! An end of file from the client is taken for its departure, as proxies do: a place in the queue
//! is given up, and a service's future dropped. Clients that only close their sending half, and
//! still read, are served where [`half_closed_clients`](FrontDoorBuilder::half_closed_clients) says
//! so; then a client that left is noticed when it refuses what it is sent, not before.
//!
//! # Why this way
//!
//! Time is not kept by a timer per request: connections write down what they do, and one look at
//! all of them, several times a second, judges who is overdue. A request costs a few stores for it.
//! HTTP/1 is hyper's connection itself; which protocol a client speaks is seen in its first bytes
//! where they are, so that HTTP/1 is not read twice.
//!
//! # Limits
//!
//! - Of informational answers only those are sent that hyper knows: 100 when a body is first read,
//!   and 101. A service cannot say 103.
//! - A WebSocket inside HTTP/2 is told of a drain by the GOAWAY of its connection, not by a close
//!   frame, and ends with that connection: when only such are left on it, after their time.
//!
//! # What it is not
//!
//! It speaks no TLS: bring a [`Listener`] that does, and says so in the connection. It holds no
//! opinion on paths and services, which are the router's.

mod accept;
mod body;
mod clock;
mod connection;
mod counters;
mod door;
mod drain;
mod id;
mod inside;
mod io;
mod limits;
mod listener;
mod log;
mod look;
mod serve;
mod streams;
mod tunnel;
mod turn;
mod watch;

pub use body::{BodyError, RequestBody};
pub use counters::{DoorCounters, Refused, Requests, Timeouts};
pub use door::{FrontDoor, FrontDoorBuilder, FrontDoorHandle};
pub use drain::{Drain, Drained, Listeners};
pub use limits::{Limits, Rate};
#[cfg(unix)]
pub use listener::inherited_unix;
pub use listener::{Listener, inherited_tcp};
pub use log::ACCESS_LOG;
