//! Directories of ended instances, removed piece by piece.
//!
//! An instance may leave a million files. Its directory is moved aside at once, so that it is gone
//! where it was, and removed a bounded number of entries at a time between other work.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What is to be removed.
#[derive(Debug)]
pub(super) struct Trash {
    folder: PathBuf,
    /// Directories that are being emptied, the innermost last.
    open: Vec<(PathBuf, fs::ReadDir)>,
    thrown: u64,
    is_empty: bool,
}

impl Trash {
    /// The trash in this folder, with what an earlier program left in it.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, open: Vec::new(), thrown: 0, is_empty: false }
    }

    /// Moves a directory here; what is not there is thrown away already.
    pub(super) fn throw(&mut self, directory: &Path) {
        let _ = fs::create_dir_all(&self.folder);
        self.thrown += 1;
        // Told apart from what other programs throw away at this moment.
        let name = format!("{}-{}", std::process::id(), self.thrown);
        match fs::rename(directory, self.folder.join(name)) {
            Ok(()) => self.is_empty = false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // An earlier program had this id and left something of this name.
            Err(_) => {
                let _ = fs::remove_dir_all(directory);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Removes so many entries at most.
    pub(super) fn empty(&mut self, most: usize) {
        for _ in 0..most {
            if self.is_empty {
                return;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let Some((directory, entries)) = self.open.last_mut() else {
            match fs::read_dir(&self.folder) {
                Ok(entries) => self.open.push((self.folder.clone(), entries)),
                Err(_) => self.is_empty = true,
            }
            return;
        };
        match entries.next() {
            Some(Ok(entry)) => {
                let path = entry.path();
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let _ = fs::remove_file(path);
                } else if let Ok(entries) = enter(&path) {
                    self.open.push((path, entries));
                }
            }
            Some(Err(_)) => {}
            None => {
                // What cannot be removed stays until the next program tries.
                let _ = fs::remove_dir(directory);
                self.open.pop();
                self.is_empty = self.open.is_empty();
            }
        }
    }
}

/// Programs make directories that even their owner may not write.
fn enter(path: &Path) -> io::Result<fs::ReadDir> {
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    fs::read_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::Scratch;

    #[test]
    fn what_was_thrown_away_is_gone_at_once_and_removed_bit_by_bit() {
        let scratch = Scratch::new("trash");
        let (folder, work) = (scratch.path().join("trash"), scratch.path().join("work"));
        for deep in 0..5 {
            let below = work.join(format!("{deep}/closed"));
            fs::create_dir_all(&below).expect("made");
            fs::write(below.join("file"), "text").expect("written");
            fs::set_permissions(&below, fs::Permissions::from_mode(0o500)).expect("set");
        }
        let mut trash = Trash::new(folder.clone());
        trash.throw(&work);
        assert!(!work.exists() && folder.exists());
        trash.empty(3);
        assert!(!trash.is_empty() && folder.exists(), "three are not all");
        trash.empty(100);
        assert!(trash.is_empty() && !folder.exists());
        trash.throw(&work);
        assert!(trash.is_empty(), "it was thrown away already");
    }
}
