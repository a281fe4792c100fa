//! What an instance is given and how it is stopped.

use std::time::Duration;

use super::{
    ByteSize, Cpu, Memory,
    check::{Section, Word},
    raw,
};

/// What each instance of a revision is given. Any size is good: whether a machine has it is for
/// the backend to say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Instance {
    /// Its share of processors. Default: [`DEFAULT_CPU`].
    pub cpu: Cpu,
    /// Its memory. Default: [`DEFAULT_MEMORY`].
    pub memory: Memory,
    /// Its ephemeral disk, image included. Default: [`DEFAULT_DISK`].
    pub disk: ByteSize,
    /// For which processors its code is. Default: those of the machine, since whoever pulls or
    /// builds for another one knows it (App Runner has x86-64 alone).
    pub architecture: Architecture,
    /// As whom it runs, as the engine takes it (`1000`, `app:app`). Default: as the image says,
    /// or as the platform itself.
    pub user: Option<String>,
    /// Where it runs. Default: as the image says, or a folder of its own.
    pub working_directory: Option<String>,
    /// Which identity it has towards other services, as the backend understands it (App Runner's
    /// instance role). Default: none.
    pub role: Option<String>,
    /// How long it has between being asked to stop and being stopped. Default:
    /// [`DEFAULT_STOP_GRACE`].
    pub stop_grace: Duration,
}

/// For which processors code is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
    /// Whatever the machine has.
    #[default]
    Native,
}

/// App Runner's: one processor.
pub const DEFAULT_CPU: Cpu = match Cpu::from_millis(1000) {
    Some(cpu) => cpu,
    None => panic!("one processor is within bounds"),
};

/// App Runner's: 2 GB.
pub const DEFAULT_MEMORY: Memory = Memory::gigabytes(2);

/// App Runner's: 3 GB, there the only size.
pub const DEFAULT_DISK: ByteSize = ByteSize::gigabytes(3);

/// App Runner documents none. What container engines grant, so that programs written for them
/// have the time they expect.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(30);

impl Instance {
    pub(super) fn check(raw: raw::Instance, mut at: Section<'_>) -> Self {
        Self {
            cpu: at.parsed("cpu", raw.cpu).unwrap_or(DEFAULT_CPU),
            memory: at.parsed("memory", raw.memory).unwrap_or(DEFAULT_MEMORY),
            disk: at.parsed("disk", raw.disk).unwrap_or(DEFAULT_DISK),
            architecture: at.word(
                "architecture",
                raw.architecture.as_deref(),
                Architecture::default(),
            ),
            user: at.text("user", raw.user),
            working_directory: at.text("working_directory", raw.working_directory),
            role: at.text("role", raw.role),
            stop_grace: at.span(
                "stop_grace",
                raw.stop_grace.as_ref(),
                DEFAULT_STOP_GRACE,
                Duration::ZERO,
            ),
        }
    }
}

impl From<&Instance> for raw::Instance {
    fn from(instance: &Instance) -> Self {
        Self {
            cpu: Some(instance.cpu.to_string().into()),
            memory: Some(instance.memory.to_string().into()),
            disk: Some(instance.disk.to_string().into()),
            architecture: instance.architecture.raw(),
            user: instance.user.clone(),
            working_directory: instance.working_directory.clone(),
            role: instance.role.clone(),
            stop_grace: Some(instance.stop_grace.into()),
        }
    }
}

impl Word for Architecture {
    const WORDS: &'static [(&'static str, Self)] =
        &[("amd64", Self::Amd64), ("arm64", Self::Arm64), ("native", Self::Native)];
}
