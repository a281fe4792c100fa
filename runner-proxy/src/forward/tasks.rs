//! Where what outlives a request goes: to the one future that the embedding program runs.

use std::{future::Future, pin::Pin};

use tokio::sync::mpsc;

pub(super) type BoxTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Gives tasks to whoever has the other end.
#[derive(Clone, Debug)]
pub(super) struct Tasks(mpsc::UnboundedSender<BoxTask>);

impl Tasks {
    pub(super) fn channel() -> (Self, mpsc::UnboundedReceiver<BoxTask>) {
        // Unbounded in itself: each task belongs to a lease or to a connection that one opened.
        let (sender, newcomers) = mpsc::unbounded_channel();
        (Self(sender), newcomers)
    }

    /// Whether there is anybody to run it.
    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        self.0.send(Box::pin(task)).is_ok()
    }
}

/// hyper asks for its requests with a body to be run beside their HTTP/2 connection.
impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.run(async { drop(task.await) });
    }
}
