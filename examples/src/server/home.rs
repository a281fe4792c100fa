//! Where a platform keeps what it knows, and its instances what they write.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::Scratch;

/// A directory for a platform.
#[derive(Debug)]
pub(super) enum Home {
    /// For the length of the program; nothing is remembered.
    Scratch(Scratch),
    /// There before and after it: what runs is found again.
    Kept(PathBuf),
}

impl Home {
    /// This directory, which is made where it is not there; a temporary one where none is named.
    pub(super) fn open(kept: Option<PathBuf>) -> io::Result<Self> {
        let Some(path) = kept else { return Ok(Self::Scratch(Scratch::new("runner")?)) };
        // What services are told, and what they write, is nobody else's to read.
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self::Kept(path))
    }

    /// Where the journal is, if one is kept.
    pub(super) fn journal(&self) -> Option<PathBuf> {
        match self {
            Self::Scratch(_) => None,
            Self::Kept(path) => Some(path.join("journal.redb")),
        }
    }

    /// Where instances live.
    pub(super) fn instances(&self) -> PathBuf {
        match self {
            Self::Scratch(scratch) => scratch.path().to_owned(),
            Self::Kept(path) => path.join("instances"),
        }
    }

    /// What it is called where something is wrong with it.
    pub(super) fn named(kept: Option<&Path>) -> String {
        kept.map_or_else(|| "a temporary directory".to_owned(), |path| path.display().to_string())
    }
}
