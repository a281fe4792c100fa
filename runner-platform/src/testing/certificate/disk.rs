//! A small disk for journal and logs, and filling it.
//!
//! It is one in memory, in a namespace of the test's own. Where that is not to be had the journal
//! is kept on a medium that refuses to be written while a file says so, and the backend is told by
//! [`Place::is_full`].

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use redb::StorageBackend;
use rustix::fs::statvfs;

use super::log::Files;
use crate::{Error, PlatformBuilder, journal::DiskJournal};

/// Where a platform under test keeps what it has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Place {
    /// For the backend alone. The disk is small: some megabytes.
    pub directory: PathBuf,
    /// The disk cannot be filled here: a backend that keeps a reserve for records is to take it for
    /// full while this says so, as it is when the backend is made.
    pub is_full: bool,
}

/// The disk, as the stage has it.
#[derive(Debug)]
pub(super) struct Disk {
    files: Files,
    is_real: bool,
}

impl Disk {
    /// Makes it, with room for setting all up.
    pub(super) fn make(files: &Files, in_namespace: bool) -> io::Result<Self> {
        fs::create_dir(files.disk())?;
        let disk = Self { files: files.clone(), is_real: in_namespace };
        match in_namespace {
            true => disk.mount("size=256m,mode=0700", &["-t", "tmpfs", "certificate"])?,
            false => drop(File::create(files.injected())?),
        }
        Ok(disk)
    }

    /// Leaves as much room as is said beside what is there; how large it is then.
    pub(super) fn shrink(&self, left: u64) -> io::Result<u64> {
        if !self.is_real {
            return Ok(0);
        }
        let now = statvfs(self.files.disk())?;
        let size = (now.f_blocks - now.f_bfree) * now.f_frsize + left;
        self.mount(&format!("remount,size={size}"), &["certificate"])?;
        Ok(size)
    }

    fn mount(&self, options: &str, what: &[&str]) -> io::Result<()> {
        let mut command = Command::new("mount");
        command.args(["-o", options]).args(what).arg(self.files.disk());
        match done_quietly(&mut command).status()?.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("mount -o {options} failed"))),
        }
    }

    /// Fills it to the last byte.
    pub(super) fn fill(&self) -> io::Result<()> {
        if !self.is_real {
            return File::create(self.files.full()).map(drop);
        }
        let mut file = File::options().create(true).append(true).open(self.filling())?;
        for piece in [64 << 10, 4 << 10, 1] {
            let bytes = vec![b'x'; piece];
            while file.write(&bytes).is_ok_and(|written| written > 0) {}
        }
        Ok(())
    }

    /// Gives back what filled it.
    pub(super) fn free(&self) {
        let path = if self.is_real { self.filling() } else { self.files.full() };
        let _ = fs::remove_file(path);
    }

    fn filling(&self) -> PathBuf {
        self.files.disk().join("filling")
    }

    /// Takes it away, with all that is on it.
    pub(super) fn remove(&self) {
        if self.is_real {
            let mut command = Command::new("umount");
            let _ = done_quietly(command.arg("-l").arg(self.files.disk())).status();
        }
    }
}

fn done_quietly(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// A platform with its journal on that disk.
pub(super) fn journal(files: &Files, builder: PlatformBuilder) -> Result<PlatformBuilder, Error> {
    if !files.injected().exists() {
        return Ok(builder.journal(files.journal()));
    }
    let full = files.full();
    let journal = DiskJournal::builder(files.journal())
        .open_behind(move |file| Arc::new(Fillable { file, full }))?;
    Ok(builder.journal_in(journal))
}

/// A file on a disk that takes nothing while another file is there.
#[derive(Debug)]
struct Fillable {
    file: Arc<dyn StorageBackend>,
    full: PathBuf,
}

impl Fillable {
    fn room(&self) -> io::Result<()> {
        match self.full.exists() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Fillable {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.len()? {
            self.room()?;
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // What is there can be written over on a full disk.
        if offset + data.len() as u64 > self.len()? {
            self.room()?;
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
