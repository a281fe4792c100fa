//! Values that must not be seen, and where they come from.
//!
//! A [`Secret`] cannot be printed, compared by accident, serialised or hashed: it has no
//! `Display`, `Serialize`, `PartialEq` or `Hash`, and its `Debug` says only that it is one. It
//! wipes its memory when it is dropped. The one way to its value is [`Secret::expose`], which is
//! easy to find in a review.
//!
//! What it cannot do: the value is in the memory of this process while it lives, in the instance's
//! environment, and wherever whoever exposed it copied it to.

mod environment;
mod file;

pub use environment::EnvironmentSecrets;
pub use file::FileSecrets;

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{BoxFuture, Error, spec::SecretReference};

/// A value that must not be seen.
///
/// ```
/// use runner_core::secret::Secret;
///
/// let password = Secret::new("correct horse");
/// assert_eq!(format!("{password:?}"), "Secret(..)");
/// assert_eq!(password.expose(), "correct horse");
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value into keeping. The caller's own copies are the caller's to wipe.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the length, which tells a PIN from a key.
        f.write_str("Secret(..)")
    }
}

/// Which version of a secret a value is, where its store has versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretVersion(String);

impl SecretVersion {
    /// A version as the store writes it.
    pub fn new(version: impl Into<String>) -> Self {
        Self(version.into())
    }

    /// The version as the store writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret's value as a store gave it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResolvedSecret {
    /// The value.
    pub value: Secret,
    /// Which version it is; a revision pins it. Nothing where the store has none.
    pub version: Option<SecretVersion>,
}

impl ResolvedSecret {
    /// A value from a store without versions.
    pub const fn unversioned(value: Secret) -> Self {
        Self { value, version: None }
    }

    /// A value that is one version of several.
    pub const fn versioned(value: Secret, version: SecretVersion) -> Self {
        Self { value, version: Some(version) }
    }
}

/// Knows the values of secrets.
///
/// # The contract
///
/// - A reference that names a version gets that version or an error, never another one.
/// - What is not there is [`NotFound`](crate::error::ErrorKind::NotFound), what may not be read
///   [`Denied`](crate::error::ErrorKind::Denied), a store that does not answer
///   [`Unavailable`](crate::error::ErrorKind::Unavailable): the first two fail an operation at
///   once, the last is tried again.
/// - An error's message names the secret and never holds a value, nor part of one.
/// - Asking changes nothing and may be repeated.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know secrets",
    label = "is not a `SecretProvider`",
    note = "implement `resolve`; `runner_core::secret::FileSecrets` shows how, and the \
            conformance kit in `runner_core::testing` holds yours to the contract"
)]
pub trait SecretProvider: Send + Sync + 'static {
    /// The value that a reference means now, or at the version it names.
    fn resolve<'a>(
        &'a self,
        reference: &'a SecretReference,
    ) -> BoxFuture<'a, Result<ResolvedSecret, Error>>;
}

/// Stores without versions cannot honour a pinned one, and must not give another instead.
fn refuse_version(reference: &SecretReference, store: &str) -> Result<(), Error> {
    match &reference.version {
        None => Ok(()),
        Some(version) => Err(Error::invalid(format!(
            "secret `{}` is pinned to version `{version}`, but {store} have no versions; \
             leave the version out",
            reference.name
        ))),
    }
}
