//! Questions and the probes that ask them, together.

use std::{fmt, sync::Arc, time::Duration};

use runner_core::{
    backend::{ContainerBackend, Fence},
    spec::{self, ProbeCheck},
};

use crate::{
    Cadence, Error, HealthSettings,
    probe::{CommandProbe, Probe},
    verdict::Question,
};

/// What is asked of an instance, with what, and how often: shared by all instances of a revision.
///
/// ```
/// use std::time::Duration;
/// use runner_health::{Cadence, Plan, probe::{Seen, from_fn}};
///
/// let second = Duration::from_secs(1);
/// let plan = Plan::new(Cadence::every(second, second), from_fn(|_| async { Seen::Accepted }))
///     .start_allowance(60 * second);
/// assert_eq!(plan.settings().start_allowance, 60 * second);
/// ```
#[derive(Clone)]
pub struct Plan {
    settings: Arc<HealthSettings>,
    startup: Option<Arc<dyn Probe>>,
    readiness: Arc<dyn Probe>,
    liveness: Option<Arc<dyn Probe>>,
}

/// What probes have to know of where instances run.
#[derive(Clone, Default)]
pub struct Surroundings {
    connecting_proves_nothing: bool,
    commands: Option<(Arc<dyn ContainerBackend>, Fence)>,
}

impl Plan {
    /// Readiness alone.
    pub fn new(cadence: Cadence, readiness: impl Probe) -> Self {
        Self {
            settings: Arc::new(HealthSettings::new(cadence)),
            startup: None,
            readiness: Arc::new(readiness),
            liveness: None,
        }
    }

    /// What a checked specification asks for.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when this build has no such probe, or the backend runs no commands.
    pub fn of_spec(health: &spec::Health, surroundings: &Surroundings) -> Result<Self, Error> {
        let probe = |probe: &spec::Probe| surroundings.probe(probe);
        Ok(Self {
            settings: Arc::new(health.into()),
            startup: health.startup.as_ref().map(probe).transpose()?,
            readiness: probe(&health.readiness)?,
            liveness: health.liveness.as_ref().map(probe).transpose()?,
        })
    }

    /// Has to pass once before the others are asked.
    #[must_use]
    pub fn startup(mut self, cadence: Cadence, probe: impl Probe) -> Self {
        Arc::make_mut(&mut self.settings).startup = Some(cadence);
        self.startup = Some(Arc::new(probe));
        self
    }

    /// Replaces the instance when it fails.
    #[must_use]
    pub fn liveness(mut self, cadence: Cadence, probe: impl Probe) -> Self {
        Arc::make_mut(&mut self.settings).liveness = Some(cadence);
        self.liveness = Some(Arc::new(probe));
        self
    }

    /// How long an instance may take until it is first ready.
    #[must_use]
    pub fn start_allowance(mut self, allowance: Duration) -> Self {
        Arc::make_mut(&mut self.settings).start_allowance = allowance;
        self
    }

    /// Whether an instance that fails readiness is replaced too.
    #[must_use]
    pub fn replacing_unready(mut self, replace: bool) -> Self {
        Arc::make_mut(&mut self.settings).replace_unready = replace;
        self
    }

    /// How often is asked, and how many answers count.
    pub fn settings(&self) -> &Arc<HealthSettings> {
        &self.settings
    }

    /// What a question is asked with.
    pub fn probe(&self, question: Question) -> &Arc<dyn Probe> {
        match question {
            Question::Startup => self.startup.as_ref().unwrap_or(&self.readiness),
            Question::Readiness => &self.readiness,
            Question::Liveness => self.liveness.as_ref().unwrap_or(&self.readiness),
        }
    }
}

impl Surroundings {
    /// Instances are reached as they are, and no command can be run in them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Instances of a backend, as its capabilities say.
    pub fn of_backend(backend: Arc<dyn ContainerBackend>, fence: Fence) -> Self {
        Self {
            connecting_proves_nothing: backend.capabilities().connecting_proves_nothing,
            commands: Some((backend, fence)),
        }
    }

    /// Something before the instances takes connections whether or not they listen.
    #[must_use]
    pub fn connecting_proves_nothing(mut self, proves_nothing: bool) -> Self {
        self.connecting_proves_nothing = proves_nothing;
        self
    }

    fn probe(&self, probe: &spec::Probe) -> Result<Arc<dyn Probe>, Error> {
        match &probe.check {
            ProbeCheck::Command(command) => match &self.commands {
                Some((backend, fence)) => {
                    let backend = Arc::clone(backend);
                    Ok(Arc::new(CommandProbe::new(backend, *fence, command.clone())?))
                }
                None => Err(Error::unsupported(
                    "a probe by command",
                    "no backend is given that could run it; use `Surroundings::of_backend`",
                )),
            },
            check => self.connecting(check, probe.port),
        }
    }

    fn connecting(
        &self,
        check: &ProbeCheck,
        port: Option<spec::Port>,
    ) -> Result<Arc<dyn Probe>, Error> {
        match check {
            #[cfg(feature = "tcp")]
            ProbeCheck::Tcp => {
                let probe = crate::probe::TcpProbe::new();
                let probe = probe.proving_nothing(self.connecting_proves_nothing);
                Ok(match port {
                    Some(port) => Arc::new(probe.on_port(port)),
                    None => Arc::new(probe),
                })
            }
            #[cfg(feature = "http")]
            ProbeCheck::Http(http) => {
                Ok(Arc::new(crate::probe::HttpProbe::from_check(http, port)?))
            }
            #[cfg(feature = "grpc")]
            ProbeCheck::Grpc { service } => {
                let probe = crate::probe::GrpcProbe::new();
                let probe = service.iter().fold(probe, |probe, name| probe.service(name));
                let probe = port.into_iter().fold(probe, crate::probe::GrpcProbe::on_port);
                Ok(Arc::new(probe))
            }
            _ => {
                let _ = port;
                Err(Error::unsupported(
                    "this kind of probe",
                    "this build has none; enable the feature `tcp`, `http` or `grpc` of \
                     runner-health",
                ))
            }
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("connecting_proves_nothing", &self.connecting_proves_nothing)
            .field("runs_commands", &self.commands.is_some())
            .finish()
    }
}
