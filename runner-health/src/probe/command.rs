//! A command inside the instance.

use std::{fmt, sync::Arc};

use runner_core::{
    BoxFuture,
    backend::{CommandOutput, ContainerBackend, ExitStatus, Fence},
    error::ErrorKind,
    spec::Command,
};

use super::{Probe, Seen, Target, Waiting, words_of};
use crate::Error;

/// Runs a command inside the instance; code 0 is good.
///
/// It goes through the backend's `run_command` capability, which also ends a command that is not
/// done in time.
#[derive(Clone)]
pub struct CommandProbe {
    backend: Arc<dyn ContainerBackend>,
    fence: Fence,
    command: Command,
}

impl CommandProbe {
    /// A probe that runs `command` in whichever instance it is asked about.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when the backend does not declare that it runs commands.
    pub fn new(
        backend: Arc<dyn ContainerBackend>,
        fence: Fence,
        command: Command,
    ) -> Result<Self, Error> {
        match backend.capabilities().run_command {
            true => Ok(Self { backend, fence, command }),
            false => Err(Error::unsupported(
                "a probe by command",
                "this backend runs no commands in instances; probe over tcp, http or grpc",
            )),
        }
    }
}

impl Probe for CommandProbe {
    fn attempt(&self, target: &Target) -> BoxFuture<'static, Seen> {
        let (backend, fence) = (Arc::clone(&self.backend), self.fence);
        let command = self.command.words().to_vec();
        let (instance, limit) = (target.instance, target.limit);
        Box::pin(async move {
            let ran = backend.run_command(fence, instance, command, limit).await;
            match ran {
                Ok(CommandOutput { exit }) if exit.status == ExitStatus::Code(0) => {
                    Seen::good("the command ended with code 0")
                }
                Ok(CommandOutput { exit }) => Seen::Exited {
                    status: exit.status,
                    last_line: exit.last_lines.last().map(|line| words_of(line)),
                },
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    Seen::TimedOut { limit, waiting_for: Waiting::Command }
                }
                Err(error) => Seen::NotAsked(words_of(&error.to_string())),
            }
        })
    }
}

impl fmt::Debug for CommandProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandProbe").field("command", &self.command).finish_non_exhaustive()
    }
}
