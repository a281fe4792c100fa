//! What happens, for people and programs that watch.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use runner_core::{BoxFuture, id::ServiceName, time::Timestamp};
use tokio::sync::broadcast::{self, error::RecvError};

/// Something that happened to a service.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Happening {
    /// The service.
    pub service: ServiceName,
    /// When.
    pub at: Timestamp,
    /// What, as a code that programs may match.
    pub code: &'static str,
    /// What, as a sentence.
    pub message: String,
}

/// What happens from now on, as it happens; made by [`Platform::events`](crate::Platform::events).
///
/// Who reads more slowly than it happens misses some: what was missed is in the history.
pub struct Events {
    next: BoxFuture<'static, (Option<Happening>, broadcast::Receiver<Happening>)>,
}

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Happening>) -> Self {
        Self { next: Box::pin(next(receiver)) }
    }

    /// The next one; nothing when the platform is gone. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Happening> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Happening;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Happening>> {
        self.next.as_mut().poll(context).map(|(happening, receiver)| {
            self.next = Box::pin(next(receiver));
            happening
        })
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

async fn next(
    mut receiver: broadcast::Receiver<Happening>,
) -> (Option<Happening>, broadcast::Receiver<Happening>) {
    loop {
        match receiver.recv().await {
            Ok(happening) => return (Some(happening), receiver),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return (None, receiver),
        }
    }
}
