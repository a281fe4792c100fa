//! A store with versions, true or with one flaw.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use runner_core::{
    BoxFuture, Error,
    secret::{ResolvedSecret, Secret, SecretProvider, SecretVersion},
    spec::SecretReference,
};

use crate::notes::Notes;

/// What the store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    MistakesTheKnown,
    TrimsValues,
    ChangesItsMind,
    TiresOfCrowds,
    BreaksWhenDropped,
    IgnoresVersions,
    ForgetsVersions,
    DeniesTheMissing,
    DoesNotNameTheMissing,
    TakesAnyName,
    LeaksInMessage,
    LeaksInSource,
    LeaksAPart,
}

impl Flaw {
    /// All of them, in the order of the checks.
    pub(crate) const ALL: &'static [Self] = &[
        Self::MistakesTheKnown,
        Self::TrimsValues,
        Self::ChangesItsMind,
        Self::TiresOfCrowds,
        Self::BreaksWhenDropped,
        Self::IgnoresVersions,
        Self::ForgetsVersions,
        Self::DeniesTheMissing,
        Self::DoesNotNameTheMissing,
        Self::TakesAnyName,
        Self::LeaksInMessage,
        Self::LeaksInSource,
        Self::LeaksAPart,
    ];

    /// The checks that name it. A known secret with a wrong value fails wherever it is asked for.
    pub(crate) fn breaks(self) -> Vec<&'static str> {
        vec![match self {
            Self::MistakesTheKnown => "a known secret has its value",
            Self::TrimsValues => "a value that was put comes back exactly",
            Self::ChangesItsMind => "asking again gives the same",
            Self::TiresOfCrowds => "many may ask at once",
            Self::BreaksWhenDropped => "a question that was dropped can be asked again",
            Self::IgnoresVersions => "a reference to a version gets that version or an error",
            Self::ForgetsVersions => "a version that is told can be asked for",
            Self::DeniesTheMissing => "what is not there is not found",
            Self::DoesNotNameTheMissing => "the error of what is not there names it",
            Self::TakesAnyName => "a name that no store takes is refused",
            Self::LeaksInMessage | Self::LeaksInSource | Self::LeaksAPart => {
                "no error holds a value"
            }
        }]
    }
}

/// Values by name and version, newest last.
pub(crate) struct VersionedStore {
    flaw: Option<Flaw>,
    values: Notes<BTreeMap<String, Vec<Secret>>>,
    asked: AtomicUsize,
    asking: AtomicUsize,
    dropped: AtomicUsize,
}

impl VersionedStore {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        let (values, asked, asking, dropped) = Default::default();
        Self { flaw, values, asked, asking, dropped }
    }

    pub(crate) fn put(&self, reference: &SecretReference, value: &Secret) -> SecretVersion {
        let mut values = self.values();
        let versions = values.entry(reference.name.clone()).or_default();
        versions.push(value.clone());
        SecretVersion::new(versions.len().to_string())
    }

    fn values(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Secret>>> {
        self.values.lock()
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn look_up(&self, reference: &SecretReference) -> Result<ResolvedSecret, Error> {
        let values = self.values();
        let Some(versions) = values.get(&reference.name) else {
            return Err(self.missing(reference));
        };
        let newest = versions.len();
        let pinned = reference.version.as_ref().filter(|_| !self.is(Flaw::IgnoresVersions));
        let wanted = match pinned {
            None => newest,
            Some(version) => version.parse::<usize>().unwrap_or(0),
        };
        if self.is(Flaw::ForgetsVersions) && reference.version.is_some() {
            return Err(Error::not_found(format!("`{}` has one version", reference.name)));
        }
        match wanted.checked_sub(1).and_then(|index| versions.get(index)) {
            Some(value) => {
                let version = SecretVersion::new(wanted.to_string());
                Ok(ResolvedSecret::versioned(self.twist(reference, value), version))
            }
            None => Err(self.no_version(reference, &versions[newest - 1])),
        }
    }

    fn missing(&self, reference: &SecretReference) -> Error {
        let message = format!("secret `{}` is not there; put it", reference.name.escape_debug());
        match self.flaw {
            Some(Flaw::DeniesTheMissing) => {
                Error::new(runner_core::error::ErrorKind::Denied, message)
            }
            Some(Flaw::DoesNotNameTheMissing) => Error::not_found("a secret is not there"),
            _ => Error::not_found(message),
        }
    }

    fn no_version(&self, reference: &SecretReference, newest: &Secret) -> Error {
        let error = Error::not_found(format!("secret `{}` has no such version", reference.name));
        match self.flaw {
            Some(Flaw::LeaksInMessage) => {
                Error::not_found(format!("the newest version is {}", newest.expose()))
            }
            Some(Flaw::LeaksInSource) => {
                let beneath = Error::not_found(newest.expose().to_owned());
                error.caused_by(Error::unavailable("the store").caused_by(beneath))
            }
            Some(Flaw::LeaksAPart) => {
                let part: String = newest.expose().chars().skip(3).take(9).collect();
                Error::not_found(format!("the newest version is ...{part}..."))
            }
            _ => error,
        }
    }

    fn twist(&self, reference: &SecretReference, value: &Secret) -> Secret {
        let asked = self.asked.fetch_add(1, Relaxed);
        let another = || Secret::new(format!("{} and more", value.expose()));
        match self.flaw {
            Some(Flaw::TrimsValues) => Secret::new(value.expose().trim()),
            // Only at its very first question, so that no other check meets it.
            Some(Flaw::MistakesTheKnown) if asked == 0 => another(),
            // The check of the known asks once, that of exact values seven times.
            Some(Flaw::ChangesItsMind) if asked == 9 && reference.name == "known" => another(),
            Some(Flaw::TiresOfCrowds) if self.asking.load(Relaxed) > 20 => another(),
            Some(Flaw::BreaksWhenDropped) if self.dropped.swap(0, Relaxed) > 0 => another(),
            _ => value.clone(),
        }
    }
}

impl SecretProvider for VersionedStore {
    fn resolve<'a>(
        &'a self,
        reference: &'a SecretReference,
    ) -> BoxFuture<'a, Result<ResolvedSecret, Error>> {
        Box::pin(async move {
            let asking = Asking::begin(self);
            // A real store is asked over a connection: give others a turn.
            let mut asked = false;
            poll_fn(|context| match std::mem::replace(&mut asked, true) {
                true => Poll::Ready(()),
                false => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
            let answer = match self.is(Flaw::TakesAnyName) && reference.name.contains('=') {
                true => Ok(ResolvedSecret::unversioned(Secret::new("anything"))),
                false => self.look_up(reference),
            };
            asking.end();
            answer
        })
    }
}

/// One question under way; dropped before its end, it is counted.
struct Asking<'a>(&'a VersionedStore);

impl<'a> Asking<'a> {
    fn begin(store: &'a VersionedStore) -> Self {
        store.asking.fetch_add(1, Relaxed);
        Self(store)
    }

    fn end(self) {
        let store = self.0;
        drop(self);
        store.dropped.store(0, Relaxed);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Relaxed);
        self.0.dropped.fetch_add(1, Relaxed);
    }
}
