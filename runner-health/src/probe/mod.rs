//! Probes: one attempt each.
//!
//! A [`Probe`] asks one instance one question once and says what it [saw](Seen). It counts
//! nothing, repeats nothing and decides nothing: how often is asked and how many answers count is
//! for the [verdict](crate::verdict).
//!
//! | probe | feature | good is |
//! |---|---|---|
//! | [`TcpProbe`] | `tcp` | the port takes a connection (and keeps it, where taking proves nothing) |
//! | [`HttpProbe`] | `http` | a status within the ranges asked for, and a text in the body if asked for |
//! | [`GrpcProbe`] | `grpc` | the standard health service says `SERVING` |
//! | [`CommandProbe`] | | a command inside the instance ends with code 0 |
//! | [`from_fn`] | | whatever a closure says |
//!
//! # The contract
//!
//! 1. An attempt ends within [`Target::limit`] and says for what it was waiting. The
//!    [monitor](crate::monitor) cuts off what does not, a closure above all.
//! 2. **Cancel safety**: an attempt may be dropped at any time. Its connection is closed; a command
//!    that runs inside an instance is ended by the backend at its limit.
//! 3. Each attempt opens a connection of its own. A kept one would prove that the instance still
//!    serves those it knows, not that it takes new ones.
//!
//! # What it is not
//!
//! Not TLS: probes go to instances on the platform's own network, as App Runner's do.

mod command;
#[cfg(feature = "tcp")]
mod connect;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
mod seen;
#[cfg(feature = "tcp")]
mod tcp;

use std::{fmt, sync::Arc, time::Duration};

use runner_core::{BoxFuture, address::Address, id::InstanceId};

pub use command::CommandProbe;
#[cfg(feature = "grpc")]
pub use grpc::GrpcProbe;
#[cfg(feature = "http")]
pub use http::HttpProbe;
pub(crate) use seen::words_of;
pub use seen::{Seen, ServingStatus, Waiting};
#[cfg(feature = "tcp")]
pub use tcp::TcpProbe;

/// Asks one instance one question once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be asked",
    label = "is not a `Probe`",
    note = "implement `attempt`, or make one of a closure with `runner_health::probe::from_fn`"
)]
pub trait Probe: Send + Sync + 'static {
    /// One attempt. See the [module page](self) for the contract.
    fn attempt(&self, target: &Target) -> BoxFuture<'static, Seen>;
}

/// Whom to ask, and how long the answer may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// Which instance.
    pub instance: InstanceId,
    /// Where it takes requests. A probe with a port of its own asks there.
    pub address: Address,
    /// How long the answer may take, connecting included.
    pub limit: Duration,
}

impl Target {
    /// An instance, where it is, and how long its answer may take.
    pub const fn new(instance: InstanceId, address: Address, limit: Duration) -> Self {
        Self { instance, address, limit }
    }
}

impl<P: Probe + ?Sized> Probe for Arc<P> {
    fn attempt(&self, target: &Target) -> BoxFuture<'static, Seen> {
        (**self).attempt(target)
    }
}

/// A probe of a closure's making.
///
/// The closure's future has no time-out of its own here; the [monitor](crate::monitor) drops it
/// when the limit is over.
///
/// ```
/// use runner_health::probe::{Probe, Seen, Target, from_fn};
/// use runner_core::id::ServiceId;
///
/// let probe = from_fn(|target: Target| async move {
///     match target.instance.number {
///         1 => Seen::good("the first is always well"),
///         _ => Seen::bad("so far there is only one"),
///     }
/// });
/// let instance = ServiceId::from_random(7).instance(2);
/// let target = Target::new(instance, "memory:two".parse()?, std::time::Duration::from_secs(1));
/// let seen = futures_util::FutureExt::now_or_never(probe.attempt(&target));
/// assert_eq!(seen, Some(Seen::bad("so far there is only one")));
/// # Ok::<_, runner_core::address::InvalidAddress>(())
/// ```
pub fn from_fn<F, A>(ask: F) -> FnProbe<F>
where
    F: Fn(Target) -> A + Send + Sync + 'static,
    A: Future<Output = Seen> + Send + 'static,
{
    FnProbe(ask)
}

/// Made by [`from_fn`].
#[derive(Clone)]
pub struct FnProbe<F>(F);

impl<F, A> Probe for FnProbe<F>
where
    F: Fn(Target) -> A + Send + Sync + 'static,
    A: Future<Output = Seen> + Send + 'static,
{
    fn attempt(&self, target: &Target) -> BoxFuture<'static, Seen> {
        Box::pin((self.0)(target.clone()))
    }
}

impl<F> fmt::Debug for FnProbe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FnProbe")
    }
}
