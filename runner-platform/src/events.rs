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

/// What those who watch are told.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum Told {
    /// Something happened.
    Happened(Happening),
    /// Whoever watches was too slow, and missed so many: of all services, whichever are watched.
    /// What they were stands in the history of each.
    Missed(u64),
}

impl Told {
    /// What happened, if this is no gap.
    pub fn happening(self) -> Option<Happening> {
        match self {
            Self::Happened(happening) => Some(happening),
            Self::Missed(_) => None,
        }
    }
}

/// What happens from now on, as it happens; made by [`Platform::events`](crate::Platform::events)
/// and [`Platform::events_of`](crate::Platform::events_of).
///
/// Who reads more slowly than it happens misses some, and is told how many.
pub struct Events {
    next: BoxFuture<'static, (Option<Told>, Receiver)>,
}

/// What is heard, and of which service if not of all.
struct Receiver {
    heard: broadcast::Receiver<Happening>,
    only: Option<ServiceName>,
}

impl Events {
    pub(crate) fn new(heard: broadcast::Receiver<Happening>, only: Option<ServiceName>) -> Self {
        Self { next: Box::pin(next(Receiver { heard, only })) }
    }

    /// The next one; nothing when the platform is gone. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Told> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Told>> {
        self.next.as_mut().poll(context).map(|(told, receiver)| {
            self.next = Box::pin(next(receiver));
            told
        })
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

async fn next(mut receiver: Receiver) -> (Option<Told>, Receiver) {
    loop {
        let told = match receiver.heard.recv().await {
            Ok(happening)
                if receiver.only.as_ref().is_some_and(|only| *only != happening.service) =>
            {
                continue;
            }
            Ok(happening) => Some(Told::Happened(happening)),
            Err(RecvError::Lagged(missed)) => Some(Told::Missed(missed)),
            Err(RecvError::Closed) => None,
        };
        return (told, receiver);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_too_slow_is_told_how_much_was_missed() {
        let sender = broadcast::Sender::new(4);
        let mut events = Events::new(sender.subscribe(), Some("one".parse().expect("a name")));
        let happening = |name: &str, message: usize| Happening {
            service: name.parse().expect("a name"),
            at: Timestamp::EPOCH,
            code: "Test",
            message: message.to_string(),
        };
        for number in 0..8 {
            let _ = sender.send(happening("other", number));
        }
        let _ = sender.send(happening("one", 8));
        drop(sender);
        assert_eq!(events.next().await, Some(Told::Missed(5)));
        assert_eq!(events.next().await, Some(Told::Happened(happening("one", 8))));
        assert_eq!(events.next().await, None);
    }
}
