//! From what a specification says runs to what exactly runs.
//!
//! A revision is immutable, so what it runs is pinned when it is made: an image by its digest, a
//! build by the image or directory it produced. A tag that moves later changes no revision.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{BoxFuture, Error, spec::Source};

/// What exactly an instance runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResolvedSource {
    /// A program of the host; which one, the command says.
    Command,
    /// What a build left in a directory of the host.
    Directory(PathBuf),
    /// An image by its content.
    Image(PinnedImage),
}

/// An image that cannot change under its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PinnedImage {
    /// Where it is found, registry included, without tag or digest.
    pub repository: String,
    /// Its content: `sha256:` and 64 hexadecimal digits, or whatever the engine calls an image
    /// that no registry has.
    pub digest: String,
}

impl fmt::Display for PinnedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

/// Finds what a source means now: asks a registry, builds code.
///
/// # The contract
///
/// - The answer is pinned: starting it later gives the same bytes or an error.
/// - What is not there is [`NotFound`](crate::error::ErrorKind::NotFound), what may not be read
///   [`Denied`](crate::error::ErrorKind::Denied), a registry that does not answer
///   [`Unavailable`](crate::error::ErrorKind::Unavailable).
/// - Dropping the future may leave work done (layers pulled, a build's cache), never a revision
///   half-made.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot find what a source means",
    label = "is not a `SourceResolver`",
    note = "implement `resolve`; `runner_core::source::CommandsOnly` is the smallest one"
)]
pub trait SourceResolver: Send + Sync + 'static {
    /// What `source` means now.
    fn resolve<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<ResolvedSource, Error>>;
}

/// Resolves commands, which need no resolving, and refuses all else by name.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to hold")]
pub struct CommandsOnly;

impl SourceResolver for CommandsOnly {
    fn resolve<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<ResolvedSource, Error>> {
        let resolved = match source {
            Source::Command(_) => Ok(ResolvedSource::Command),
            Source::Code(_) => Err(unsupported("code")),
            Source::Image(_) => Err(unsupported("an image")),
        };
        Box::pin(std::future::ready(resolved))
    }
}

fn unsupported(what: &str) -> Error {
    Error::unsupported(format!(
        "{what} cannot be resolved here: only commands can; give the platform a resolver for it"
    ))
}
