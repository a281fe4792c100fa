//! What the tests of the parts share.

#[path = "../../tests/support/block.rs"]
mod block;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) use self::block::Block;

/// A directory of a test's own, removed after it.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("runner-{name}-{}", std::process::id()));
        // An earlier process with this number may have been killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
