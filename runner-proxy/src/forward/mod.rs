//! Forwarding: from an admitted request to its instance, and back.
//!
//! [`Forward`] is a tower service that stands inside a [`PoolLayer`](crate::pool::PoolLayer): the
//! pool says where a request goes, this takes it there. It has no error. What goes wrong is
//! answered, in the form that refusals of the queue have, with a code that says what it was.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{Empty, Full};
//! use runner_core::{
//!     address::Address,
//!     admission::{Instance, QueueSettings, Snapshot},
//!     id::{RevisionNumber, ServiceId},
//! };
//! use runner_proxy::{forward::{Forward, Memory}, pool::Pool};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let memory = Memory::new();
//! memory.serve("a", service_fn(async |_| {
//!     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello from a")))
//! }));
//! let (forward, connections) = Forward::builder(memory).build();
//! tokio::spawn(connections.run());
//!
//! let id = ServiceId::from_random(1).instance(1);
//! let mut snapshot = Snapshot::default();
//! snapshot.instances =
//!     vec![Instance::new(id, Address::Memory("a".into()), RevisionNumber::FIRST, 10)];
//! let pool = Pool::new(QueueSettings::new(100, Duration::from_secs(10)), snapshot);
//! let path = pool.layer().layer(forward.clone());
//!
//! let request = Request::get("/").body(Empty::<Bytes>::new()).expect("a request");
//! let Ok(response) = path.oneshot(request).await;
//! assert_eq!(response.status(), 200);
//! assert_eq!(forward.counters().instances[&id].outcomes.requests, 1);
//! # }
//! ```
//!
//! # What it guarantees
//!
//! - **A request is worked on once.** It is sent again only where it certainly was not sent, or is
//!   idempotent with its body in hand; see [`Replay`] for the kinds. Each time the slot is given
//!   back before another is asked for, at the head of the queue.
//! - **One request, framed by us.** What belongs to a connection stays on it; the length of a body
//!   is what was counted, not what was written.
//! - **Nothing is collected.** Bodies, streams of events and trailers pass frame by frame.
//! - **A client's own deadline is kept.** What `grpc-timeout` says counts from the arrival at the
//!   queue: the instance is told what a wait left of it, and when it is over the request is ended
//!   here too, as `DEADLINE_EXCEEDED` (504 to who does not speak gRPC).
//! - **No connection outlives its instance** longer than the request on it, once
//!   [`Forward::retain`] or [`Forward::close`] said so; none is used after it was seen to close.
//! - **An upgraded connection holds its slot** until both halves of it are closed. A WebSocket
//!   that a client opens inside a connection of HTTP/2 (RFC 8441) is opened to an instance of
//!   HTTP/1.1 as that knows it.
//!
//! # Cancel safety
//!
//! A response future and a response body may be dropped at any time. Where a response is still
//! owed on an HTTP/1.1 connection, that is closed: to the instance it looks as if its client left.
//!
//! # Limits
//!
//! - An instance that speaks HTTP/2 is asked for no WebSocket, and of the protocols that a client
//!   may name inside HTTP/2 no other is carried: both are answered with 501.
//! - Informational responses (103) end here, and what is behind them is the answer. No server of
//!   hyper's could send them on: it knows 100, which it says itself, and 101.
//! - A trace is passed on or cut off by [`Trust`], never begun: a span that nobody recorded would
//!   be the parent of all others, and its sampling flag the decision for all.
//! - In headers of our own making, names of hosts that are none are left out.
//!
//! # Why own connections, and an own client of HTTP/1.1
//!
//! hyper-util's client has one pool for everything: it knows neither when an instance goes nor
//! under whose slot a request is, opens connections that it then does not need, and sends again
//! on rules of its own. Here a stack of idle connections belongs to each instance, and who sends
//! decides what is sent again.
//!
//! hyper's own connection lives in a task beside the request and takes the request away from it.
//! Both cost: messages there and back for each request, and a copy of each head that may have to
//! be sent twice. Ours is polled where the request is, which takes a fifth of all instructions of
//! a proxied request away. HTTP/2, where many requests share a connection, is hyper's.
//!
//! # What is where
//!
//! A request's way is `course`, with `retry` where it is gone once more; what is done to heads is
//! `head` and `origin`, and `websocket` where one becomes a tunnel; what is known of each instance
//! is `instances`, over `connection`, which is `http1` or `http2`. `shared` is what all requests
//! have in common. Each file names only those that can be read without it.

mod body;
mod budget;
mod connect;
mod connection;
mod connections;
mod counters;
mod course;
mod fault;
mod fields;
mod head;
mod http1;
mod http2;
mod idle;
mod instances;
mod memory;
mod origin;
mod outcomes;
mod outgoing;
mod retry;
mod service;
mod settings;
mod shared;
mod tasks;
mod trust;
mod tunnel;
mod websocket;

pub use body::ForwardBody;
pub use connect::{Connect, Network, NetworkStream};
pub use connections::Connections;
pub use counters::{ForwardCounters, InstanceCounters, Replay};
pub use fault::{Fault, ForwardError};
pub use idle::Keep;
pub use memory::{InstanceBody, Memory, MemoryStream};
pub use outcomes::{HeadTimes, InstanceOutcomes};
pub use service::{Forward, ForwardFuture};
pub use settings::{Failure, ForwardBuilder, TimeLimits};
pub use trust::Trust;
