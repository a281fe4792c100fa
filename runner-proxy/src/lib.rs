//! The overflow queue as a tower layer, and the request path built on it.
//!
//! A service can work on so many requests at once, and the next one has three fates: it is served
//! now, it waits, or it is refused. [`OverflowQueueLayer`] decides which, for any
//! `Service<http::Request<_>>`; a [`pool::Pool`] does so before several instances of a service.
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use runner_proxy::OverflowQueueLayer;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let queue = OverflowQueueLayer::builder()
//!     .concurrency(1)
//!     .max_waiting(0)
//!     .max_wait(Duration::from_secs(10))
//!     .build()?;
//! let app = queue.layer(service_fn(async |_: Request<()>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("hello"))))
//! }));
//!
//! let served = app.clone().oneshot(Request::new(())).await?;
//! assert_eq!(served.status(), 200);
//! // The slot is taken until the body of that response has ended or is dropped.
//! let refused = app.clone().oneshot(Request::new(())).await?;
//! assert_eq!(refused.status(), 429);
//! assert_eq!(refused.headers()["x-refusal-reason"], "queue_full");
//! drop(served);
//! assert_eq!(app.oneshot(Request::new(())).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **The cap holds.** No request is admitted beyond it, whatever is cloned, dropped or changed
//!   meanwhile, and nobody waits while a slot is free that it may use.
//! - **In order.** Inside a key of a class, first come first served; a slot that comes free goes to
//!   the first who waits and never to a newcomer.
//! - **A slot is held to the end:** until the response body has ended, failed or was dropped, and,
//!   where a handler took a [`LeaseHandle`], until that is dropped too.
//! - **A refusal is a response** with a status, `Retry-After` worked out from the queue, and the
//!   reason. The error type of the inner service passes through untouched.
//! - **Nobody is refused on a guess.** Before it is known how long requests take, they wait.
//!
//! # Cancel safety
//!
//! A response future may be dropped at any time: it leaves the queue at once, or gives its slot to
//! the next. So may a response body.
//!
//! # Limits
//!
//! - A queue is one process's. Several proxies before one service each have their own.
//! - A cap is at most 1,048,575, and waiting takes a tokio runtime with time enabled.
//! - Who waits has its request in memory, the body unread: `100-continue` waits with it.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `forward` | [`forward`]: requests are sent to instances, over connections of its own |
//! | `front-door` | [`front_door`]: connections of clients, limits and a graceful drain; [`router`] |
//! | `metrics` | counters through the `metrics` facade, when the program asks |

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "front-door")]
#[cfg_attr(docsrs, doc(cfg(feature = "front-door")))]
pub mod answer;
mod clock;
pub mod exchange;
#[cfg(feature = "forward")]
#[cfg_attr(docsrs, doc(cfg(feature = "forward")))]
pub mod forward;
#[cfg(feature = "front-door")]
#[cfg_attr(docsrs, doc(cfg(feature = "front-door")))]
pub mod front_door;
pub mod pool;
pub mod queue;
#[cfg(feature = "front-door")]
#[cfg_attr(docsrs, doc(cfg(feature = "front-door")))]
pub mod router;
mod sync;
pub mod told;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use queue::{
    InvalidQueue, LeaseHandle, OverflowQueue, OverflowQueueBuilder, OverflowQueueLayer,
    QueueCounters, RequestHead, refusal_response,
};
