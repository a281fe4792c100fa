//! The router: host and path to a service.
//!
//! [`Routes`] is one plain value, and [`Router`] a tower service over the newest one that was
//! published through its [`RouterHandle`]. It changes when routes change and at no other time:
//! which revision and instance take a request is the business of the service behind.
//!
//! # What matches
//!
//! A route is a host and a path prefix, both of which have to match. Of those that match, the most
//! exact host wins (`shop.example.com`, then `*.shop.example.com` before `*.example.com`, then any
//! host), and of its routes the one with the longest path. `*.` stands for one label or more.
//!
//! **Hosts** are compared without case, port and the trailing dot of the root; an IPv6 literal by
//! its value. An absolute target's host goes before the `Host` field, and where there are both they
//! must agree. A request with no host (HTTP/1.0 has it so) meets only routes for any host.
//!
//! **Paths** are compared by whole segments and with case: `/api` has `/api` and `/api/v1`, never
//! `/apiary`. They are compared as a service will read them: an escape of a letter, digit or
//! `-._~` means that character, so `/%61pi` is `/api`. The service gets the path as it came. Three
//! traps are decided like this:
//!
//! - *Dot segments* (`/a/../b`, also as `%2e%2e`) are refused with 400: the service would resolve
//!   them after the route was chosen. Clients resolve them before they ask.
//! - *Escaped slashes and backslashes* (`%2f`, `%5c`) are data, as in `/objects/a%2fb`: no part of
//!   a route matches across them. When looking for dot segments they count as separators.
//! - *Empty segments* (`//admin`) are data too and are not `/admin`; what does not match goes to
//!   the next shorter route, which is of the same host.
//!
//! # What it is not
//!
//! It rewrites nothing, redirects nobody and knows no methods or fields: a layer of one service can
//! (see [`Layered`]).

mod host;
mod layered;
mod path;
mod routes;
mod service;
mod sticky;

pub(crate) use host::host_of;
pub use layered::{Layered, LayeredBody, LayeredFuture};
pub use routes::{InvalidRoute, Route, Routes, TakenRoute};
pub use service::{Router, RouterFuture, RouterHandle};
pub use sticky::{InvalidCookie, Sticky, StickyFuture, StickyLayer, StickyService};

#[cfg(test)]
mod tests;
