//! Describing a service in a program.

use std::time::Duration;

use super::{Checked, Faults, ServiceSpec, raw};

/// A service as it is being described; nothing is checked before [`check`](Self::check), which
/// then says all that is wrong at once.
///
/// The usual fields have methods; all others are reached with [`with`](Self::with):
///
/// ```
/// use std::time::Duration;
/// use runner_core::spec::ServiceSpec;
///
/// let spec = ServiceSpec::image("ghcr.io/acme/hello:1.2")
///     .port(3000)
///     .environment("GREETING", "hello")
///     .secret("DATABASE_URL", "hello/database")
///     .auto_cap(10, 80)
///     .max_wait(Duration::from_secs(5))
///     .with(|raw| raw.deployment.strategy = Some("stepped".into()))
///     .check("hello")?
///     .value;
/// assert_eq!(spec.settings().scaling().cap.upper().number(), 80);
/// # Ok::<(), runner_core::spec::Faults>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a description is no service until it is checked"]
pub struct ServiceBuilder(raw::Service);

impl ServiceBuilder {
    /// A program that is there already, run directly.
    pub fn command(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let words = words.into_iter().map(Into::into).collect();
        Self::default().with(|raw| raw.source.command = Some(words))
    }

    /// An image.
    pub fn image(reference: impl Into<String>) -> Self {
        Self::default().with(|raw| raw.source.image = Some(reference.into()))
    }

    /// How many requests an instance is given at once.
    pub fn cap(self, cap: u32) -> Self {
        self.with(|raw| raw.scaling.cap = Some(raw::Cap::Fixed(cap.into())))
    }

    /// As many as turn out best, within these bounds.
    pub fn auto_cap(self, minimum: u32, maximum: u32) -> Self {
        self.with(|raw| {
            raw.scaling.cap = Some(raw::Cap::Auto {
                minimum: Some(minimum.into()),
                maximum: Some(maximum.into()),
            });
        })
    }

    /// How many instances there are at least and at most.
    pub fn between(self, minimum: u32, maximum: u32) -> Self {
        self.with(|raw| {
            raw.scaling.minimum = Some(minimum.into());
            raw.scaling.maximum = Some(maximum.into());
        })
    }

    /// How many may wait.
    pub fn max_waiting(self, count: u32) -> Self {
        self.with(|raw| raw.overflow.max_waiting = Some(count.into()))
    }

    /// How long one may wait.
    pub fn max_wait(self, wait: Duration) -> Self {
        self.with(|raw| raw.overflow.max_wait = Some(wait.into()))
    }

    /// How long a request may take in all.
    pub fn request_timeout(self, total: Duration) -> Self {
        self.with(|raw| raw.limits.total = Some(total.into()))
    }

    /// Where an instance listens.
    pub fn port(self, port: u16) -> Self {
        self.with(|raw| raw.port = Some(port.into()))
    }

    /// A variable.
    pub fn environment(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|raw| {
            raw.environment.insert(name.into(), value.into());
        })
    }

    /// A variable whose value is a secret of the default store.
    pub fn secret(self, name: impl Into<String>, reference: impl Into<String>) -> Self {
        let reference = super::SecretReference::new(reference).into();
        self.with(|raw| {
            raw.secrets.insert(name.into(), reference);
        })
    }

    /// Readiness is asked with `GET` of this path.
    pub fn http_readiness(self, path: impl Into<String>) -> Self {
        self.with(|raw| {
            raw.health.readiness.protocol = Some("http".to_owned());
            raw.health.readiness.path = Some(path.into());
        })
    }

    /// Whatever else is to be said.
    pub fn with(mut self, change: impl FnOnce(&mut raw::Service)) -> Self {
        change(&mut self.0);
        self
    }

    /// The service of that name, if nothing is wrong with it.
    ///
    /// # Errors
    ///
    /// Every fault there is.
    pub fn check(self, name: impl Into<String>) -> Result<Checked<ServiceSpec>, Faults> {
        ServiceSpec::check(self.with(|raw| raw.name = Some(name.into())).0)
    }
}

impl From<raw::Service> for ServiceBuilder {
    fn from(raw: raw::Service) -> Self {
        Self(raw)
    }
}

/// To change some of a service and keep the rest. Every default of it is then written out: one
/// that followed from another field no longer does.
impl From<&ServiceSpec> for ServiceBuilder {
    fn from(spec: &ServiceSpec) -> Self {
        Self(spec.into())
    }
}
