//! Secrets from the environment of the program.

use std::env::{self, VarError};

use super::{ResolvedSecret, Secret, SecretProvider};
use crate::{BoxFuture, Error, error::ErrorKind, spec::SecretReference};

/// Finds a secret in the environment variable of its name.
///
/// The variable stays in this program's environment, where its own children inherit it unless
/// they are started with another: keep this for development, and for values that whoever starts
/// the program hands over that way in any case.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EnvironmentSecrets;

impl EnvironmentSecrets {
    /// A provider over the environment of this program, read anew at each question.
    pub const fn new() -> Self {
        Self
    }
}

impl SecretProvider for EnvironmentSecrets {
    fn resolve<'a>(
        &'a self,
        reference: &'a SecretReference,
    ) -> BoxFuture<'a, Result<ResolvedSecret, Error>> {
        Box::pin(std::future::ready(read(reference)))
    }
}

fn read(reference: &SecretReference) -> Result<ResolvedSecret, Error> {
    super::refuse_version(reference, "environment variables")?;
    let name = reference.name.as_str();
    // `var` panics on a name that no environment can hold.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Error::invalid(format!(
            "`{}` cannot name an environment variable; a name is not empty and has no `=`",
            name.escape_debug()
        )));
    }
    match env::var(name) {
        Ok(value) => Ok(ResolvedSecret::unversioned(Secret::new(value))),
        Err(VarError::NotPresent) => Err(Error::not_found(format!(
            "secret `{name}` is not in the environment; set the variable before the program starts"
        ))),
        // The error of std holds the value: it must not become our source.
        Err(VarError::NotUnicode(_)) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("secret `{name}` in the environment is not UTF-8"),
        )),
    }
}
