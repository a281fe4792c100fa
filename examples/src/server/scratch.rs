//! A directory for the length of a program.

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A directory of this program's own among the temporary ones, removed when it is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one whose name begins so.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn new(name: &str) -> io::Result<Self> {
        // Who was killed could not remove its own, and process numbers come again.
        #[expect(clippy::disallowed_methods, reason = "for a name that nobody else has")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("{name}-{}-{:x}", std::process::id(), now.as_nanos());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays among what is temporary.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
