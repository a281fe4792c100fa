//! The kit for secret providers.

mod checks;

use std::{fmt, sync::Arc, time::Duration};

use super::{
    KitClock, Report,
    run::{Miss, fail, report, run_check, skip},
};
use crate::{
    Error,
    secret::{Secret, SecretProvider, SecretVersion},
    spec::SecretReference,
};

/// Holds a [`SecretProvider`] to its contract.
///
/// The kit is told of secrets that are [known](Self::known), or is given a way to
/// [put](Self::put) some, or both; with neither all but the refusals is skipped.
///
/// ```
/// use runner_core::{
///     secret::{EnvironmentSecrets, Secret},
///     spec::SecretReference,
///     testing::{clock::TestClock, kit::SecretKit},
/// };
/// use std::sync::Arc;
///
/// let clock = TestClock::new();
/// let kit = SecretKit::new("environment", clock.clone(), Arc::new(EnvironmentSecrets::new()))
///     .known(SecretReference::new("CARGO_PKG_NAME"), Secret::new("runner-core"))
///     .missing(SecretReference::new("CONFORMANCE_NO_SUCH_VARIABLE"));
/// # if std::env::var("CARGO_PKG_NAME").is_ok() {
/// clock.run(kit.run()).assert();
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a kit does nothing until it is run"]
pub struct SecretKit {
    ground: Ground,
}

#[derive(Clone)]
struct Ground {
    subject: String,
    clock: Arc<dyn KitClock>,
    provider: Arc<dyn SecretProvider>,
    known: Vec<(SecretReference, Secret)>,
    missing: SecretReference,
    put: Option<Put>,
    patience: Duration,
}

type Put =
    Arc<dyn Fn(&SecretReference, &Secret) -> Result<Option<SecretVersion>, Error> + Send + Sync>;

impl SecretKit {
    /// A kit for a provider.
    pub fn new(
        subject: impl Into<String>,
        clock: impl KitClock,
        provider: Arc<dyn SecretProvider>,
    ) -> Self {
        Self {
            ground: Ground {
                subject: subject.into(),
                clock: Arc::new(clock),
                provider,
                known: Vec::new(),
                missing: SecretReference::new("conformance-no-such-secret"),
                put: None,
                patience: Duration::from_secs(10),
            },
        }
    }

    /// A secret that is there, with its value.
    pub fn known(mut self, reference: SecretReference, value: Secret) -> Self {
        self.ground.known.push((reference, value));
        self
    }

    /// A reference of the right form to a secret that is not there;
    /// `conformance-no-such-secret` unless it is said.
    pub fn missing(mut self, reference: SecretReference) -> Self {
        self.ground.missing = reference;
        self
    }

    /// A way to put a value under a name; answers its version where the store has versions. Names
    /// begin with `conformance-`, and no value ends in a line end.
    pub fn put(
        mut self,
        put: impl Fn(&SecretReference, &Secret) -> Result<Option<SecretVersion>, Error>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.ground.put = Some(Arc::new(put));
        self
    }

    /// Each check may take this long.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.ground.patience = patience;
        self
    }

    /// The names of all checks, in the order in which they run.
    pub fn checks() -> Vec<&'static str> {
        checks::clauses().into_iter().map(|clause| clause.name).collect()
    }

    /// Runs all checks, one after another.
    pub async fn run(self) -> Report {
        let ground = Arc::new(self.ground);
        let began = ground.clock.now();
        let mut checks = Vec::new();
        for clause in &checks::clauses() {
            let stage = Stage { ground: Arc::clone(&ground) };
            checks.push(run_check(&*ground.clock, clause, stage, ground.patience).await);
        }
        report(&ground.subject, &ground.clock, began, checks)
    }
}

impl fmt::Debug for SecretKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKit").field("subject", &self.ground.subject).finish_non_exhaustive()
    }
}

struct Stage {
    ground: Arc<Ground>,
}

impl Stage {
    /// A secret whose value is known: one that the caller named, or one that is put.
    fn any(&self) -> Result<(SecretReference, Secret), Miss> {
        match self.ground.known.first() {
            Some(known) => Ok(known.clone()),
            None => {
                let value = Secret::new(CANARY);
                self.put("conformance-any", &value).map(|(reference, _)| (reference, value))
            }
        }
    }

    fn put(
        &self,
        name: &str,
        value: &Secret,
    ) -> Result<(SecretReference, Option<SecretVersion>), Miss> {
        let reference = SecretReference::new(name);
        match &self.ground.put {
            None => skip("no known secret and no way to put one was given"),
            Some(put) => match put(&reference, value) {
                Ok(version) => Ok((reference, version)),
                Err(error) => fail(format!("putting `{name}` fails: {error}")),
            },
        }
    }
}

/// A value that is found in no text by accident.
const CANARY: &str = "canary-9d2e7c41a0";
