//! Who has the journal open.
//!
//! A file beside the journal is locked and says who holds it. It is never removed: whoever has it
//! open already would lock a file that nobody else finds.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use runner_core::{Error, error::ErrorKind};

use super::trouble::cannot;

/// Held as long as the journal is open; given up when dropped, and by the kernel when the program
/// dies.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

impl Lock {
    pub(super) fn take(journal: &Path, holder: &str) -> Result<Self, Error> {
        let path = beside(journal);
        let name = journal.display().to_string();
        let mut file = private(&path).map_err(|error| cannot(&name, "lock", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut who = String::new();
                // It may be just being written; then it is not known who it is.
                let read = file.read_to_string(&mut who);
                let who = match (read, who.trim()) {
                    (Err(_), _) | (_, "") => "another program",
                    (Ok(_), who) => who,
                };
                return Err(held(&name, who));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(&name, "lock", error)),
        }
        let note = format!("pid {} ({holder})\n", std::process::id());
        // What it says is a courtesy: on a full disk the lock holds all the same.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(note.as_bytes()));
        Ok(Self(file))
    }
}

pub(super) fn held(journal: &str, who: &str) -> Error {
    let message = format!("the journal {journal} is held by {who}; end that program first");
    Error::new(ErrorKind::Conflict, message)
}

/// Opens a file for reading and writing, or makes one that nobody else may read. One that others
/// may is made private first: whoever put it there (a copy, a file of before) hardly meant them to
/// read what services are told.
pub(super) fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mut permissions = file.metadata()?.permissions();
        if permissions.mode() & OTHERS != 0 {
            permissions.set_mode(permissions.mode() & !OTHERS);
            file.set_permissions(permissions)?;
        }
    }
    Ok(file)
}

/// What its group and all others may do.
#[cfg(unix)]
const OTHERS: u32 = 0o077;

fn beside(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
