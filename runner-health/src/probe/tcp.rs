//! Whether the port takes a connection.

use std::time::Duration;

use runner_core::{BoxFuture, spec::Port};
use tokio::{io::AsyncReadExt as _, time::timeout};

use super::{
    Probe, Seen, Target,
    connect::{Allowance, Stream, address, connect},
};

/// Connects; App Runner's default check.
///
/// Where something before the instance takes connections whether or not it listens (the backend
/// declares `connecting_proves_nothing`), [`proving_nothing`](Self::proving_nothing) makes it look
/// a second time: such a relay closes at once when it finds nobody behind it.
#[derive(Clone, Debug, Default)]
pub struct TcpProbe {
    port: Option<Port>,
    look_again: bool,
}

impl TcpProbe {
    /// How long after it was taken a connection has to be open still, where that is asked for.
    pub const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

    /// Asks the instance's own port.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks another port of the same host.
    #[must_use]
    pub fn on_port(mut self, port: Port) -> Self {
        self.port = Some(port);
        self
    }

    /// Good is a connection that is open [a moment](Self::LOOK_AGAIN_AFTER) later still.
    #[must_use]
    pub fn proving_nothing(mut self, proves_nothing: bool) -> Self {
        self.look_again = proves_nothing;
        self
    }
}

impl Probe for TcpProbe {
    fn attempt(&self, target: &Target) -> BoxFuture<'static, Seen> {
        let (address, look_again) = (address(target, self.port), self.look_again);
        let allowance = Allowance::start(target.limit);
        Box::pin(async move {
            match connect(&address, allowance).await {
                Ok(mut stream) => {
                    stream.leave_no_trace();
                    match look_again && is_closed_soon(&mut stream).await {
                        true => Seen::ClosedAtOnce,
                        false => Seen::Accepted,
                    }
                }
                Err(seen) => seen,
            }
        })
    }
}

/// Whether the other side closes within the moment. One that says something first is there.
async fn is_closed_soon(stream: &mut Stream) -> bool {
    let mut byte = [0];
    matches!(timeout(TcpProbe::LOOK_AGAIN_AFTER, stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
}
