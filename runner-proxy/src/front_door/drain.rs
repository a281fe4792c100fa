//! How a door is left: by class, each with its notice and its deadline.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    clock::Tick,
    watch::{Phase, Watch},
};

/// How a door is drained.
///
/// | class | is | is told | ends after |
/// |---|---|---|---|
/// | idle | waits for a request | its next answer has `connection: close` | `idle` |
/// | plain | its answer has a length, or has not begun | `connection: close`, GOAWAY | `plain` |
/// | streaming | its answer has no length | the same | `streaming` |
/// | upgraded | WebSocket, and other tunnels | a WebSocket close frame, 1012; GOAWAY | `upgraded` |
///
/// A head that has begun to come is waited for, as long as [heads](super::Limits::head) may take.
/// A WebSocket inside HTTP/2 is told nothing of its own: hyper hands its stream to the service, so
/// its connection says GOAWAY and no close frame is said.
///
/// The default loses no plain request that keeps the default [total time](super::Limits::total).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drain {
    /// How long a connection without a request may wait for one, so that a busy client learns
    /// from an answer, not from a broken request, that it should go. HTTP/2 says so at once and
    /// loses nothing by it.
    pub idle: Duration,
    /// How long answers with a length may take.
    pub plain: Duration,
    /// How long answers without one may go on. Their clients come back by themselves.
    pub streaming: Duration,
    /// How long upgraded connections may take to end.
    pub upgraded: Duration,
    /// Whether listeners are closed at once or kept open, unserved, to the end of the drain. Kept,
    /// new connections wait in the backlog for whoever has the same socket.
    pub listeners: Listeners,
}

/// What becomes of listeners while a door drains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listeners {
    /// Closed at once. A socket that the program has a duplicate of stays open by that.
    #[default]
    Close,
    /// Kept open until the drain is over.
    Keep,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(1),
            plain: Duration::from_secs(121),
            streaming: Duration::from_secs(30),
            upgraded: Duration::from_secs(10),
            listeners: Listeners::Close,
        }
    }
}

impl Drain {
    /// One deadline for all classes.
    pub fn within(deadline: Duration) -> Self {
        Self {
            idle: deadline.min(Duration::from_secs(1)),
            plain: deadline,
            streaming: deadline,
            upgraded: deadline,
            listeners: Listeners::Close,
        }
    }

    /// When the last of all is over.
    pub(super) fn longest(&self) -> Duration {
        self.idle.max(self.plain).max(self.streaming).max(self.upgraded)
    }

    pub(super) fn class_of(&self, watch: &Watch, phase: Phase) -> (Class, Duration) {
        // A connection of HTTP/2 outlives its streams, which are judged one by one, but for those
        // that are tunnels: when no others are left, it is judged as they would be.
        match (watch.streams.load(Relaxed), watch.tunnels.load(Relaxed)) {
            (0, _) => {}
            (streams, tunnels) if streams == tunnels => return (Class::Upgraded, self.upgraded),
            _ => return (Class::Plain, self.longest()),
        }
        match phase {
            Phase::Tunnel => (Class::Upgraded, self.upgraded),
            Phase::Busy if watch.flags.streaming.load(Relaxed) => {
                (Class::Streaming, self.streaming)
            }
            _ => (Class::Plain, self.plain),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Plain,
    Streaming,
    Upgraded,
}

/// What a drain had to cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Requests whose answer has a length, or had not begun.
    pub plain: u64,
    /// Answers without a length.
    pub streaming: u64,
    /// Upgraded connections.
    pub upgraded: u64,
}

impl Drained {
    pub(super) fn count(&mut self, class: Class, more: u64) {
        match class {
            Class::Plain => self.plain += more,
            Class::Streaming => self.streaming += more,
            Class::Upgraded => self.upgraded += more,
        }
    }
}

/// A drain that goes on.
#[derive(Debug)]
pub(super) struct Draining {
    pub(super) drain: Drain,
    pub(super) since: Tick,
    pub(super) cut: Drained,
}
