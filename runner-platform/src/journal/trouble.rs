//! What goes wrong with the file, as whose turn it is and what to do.

use runner_core::{Error, error::ErrorKind};

/// What the disk or the database answered, as whose turn it is.
pub(super) fn cannot(name: &str, verb: &str, error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let (kind, advice) = match &error {
        redb::Error::Io(io) => match io.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                (ErrorKind::Exhausted, "no space is left on its disk, make some")
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                (ErrorKind::Denied, "let this program write there")
            }
            std::io::ErrorKind::NotFound => (ErrorKind::NotFound, "make its directory first"),
            std::io::ErrorKind::InvalidData => {
                (ErrorKind::Corrupt, "it is no journal, or restore a copy of it")
            }
            _ => (ErrorKind::Unavailable, "see whether its disk is well"),
        },
        redb::Error::Corrupted(_) => (ErrorKind::Corrupt, "restore a copy of it"),
        redb::Error::UpgradeRequired(_) => {
            (ErrorKind::Unsupported, "it was written by a version that this one does not read")
        }
        _ => (ErrorKind::Unavailable, "see whether its disk is well"),
    };
    Error::new(kind, format!("cannot {verb} the journal {name}: {advice}")).caused_by(error)
}
