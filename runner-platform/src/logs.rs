//! What the instances of a service write, as one stream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use runner_core::{backend::LogLine, id::InstanceId, time::Timestamp};
use tokio::sync::mpsc;

/// From where on lines are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogsFrom {
    /// What is written from now on.
    Now,
    /// What was written from this time on, as far as the backend still has it.
    Since(Timestamp),
    /// The newest so many of all instances together, those that have ended and are still remembered
    /// included, and what is written from now on. At most [`MOST_LAST`](Self::MOST_LAST).
    Last(usize),
}

impl LogsFrom {
    /// As many lines as are gathered at most for [`Last`](Self::Last): more than anybody reads in a
    /// terminal, and some megabytes at worst.
    pub const MOST_LAST: usize = 10_000;
}

/// What the instances of a service write; made by [`Platform::logs`](crate::Platform::logs).
///
/// Lines of one instance come in their order. Those of several come as they are read; the first
/// ones of [`LogsFrom::Last`] by their times. Who reads more slowly than it is written holds up
/// nobody: the backend keeps the newest, and says where some are missing.
#[derive(Debug)]
pub struct Logs {
    lines: mpsc::Receiver<(InstanceId, LogLine)>,
}

impl Logs {
    pub(crate) fn new(lines: mpsc::Receiver<(InstanceId, LogLine)>) -> Self {
        Self { lines }
    }

    /// The next line, and whose it is; nothing when the service is gone or the platform ended. May
    /// be dropped and called again.
    pub async fn next(&mut self) -> Option<(InstanceId, LogLine)> {
        self.lines.recv().await
    }
}

impl Stream for Logs {
    type Item = (InstanceId, LogLine);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.lines.poll_recv(context)
    }
}

/// As many lines as are read ahead of who follows.
pub(crate) const LINES: usize = 64;
