//! What is known about instances on disk, so that it survives the program.
//!
//! ```text
//! DIRECTORY/
//!   PLATFORM/epoch              the newest epoch that was seen
//!   PLATFORM/INSTANCE/          one folder per instance, gone when the instance was stopped
//!     lock                      locked while somebody starts it
//!     birth                     its process id, written by itself before it became the program
//!     record.json               all that is below, replaced as a whole
//!     stdout, stderr, read      what it writes, and how far that was read
//!     work/                     where it runs, unless the request names another directory
//!     run-NUMBER/               a command beside it: its own birth, stdout, stderr and read
//!   ports/                      claims of ports, where the machine's cannot be used
//!   trash/                      directories of ended instances on their way out
//!   reserve                     disk space that is given back when there is no other
//! ```
//!
//! Nothing is synced to the disk: what has to survive is the end of the program, and with the end
//! of the machine every instance is gone.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use runner_core::{
    address::Address,
    backend::{Exit, Fence, Limits, Started},
    id::{Epoch, InstanceId, PlatformId},
    time::Timestamp,
};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Whose instance is meant, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) platform: PlatformId,
    pub(super) instance: InstanceId,
}

impl Key {
    /// What the backend calls it towards others.
    pub(super) fn name(self) -> String {
        format!("{}/{}", self.platform, self.instance)
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let (platform, instance) = name.split_once('/')?;
        Some(Self { platform: platform.parse().ok()?, instance: instance.parse().ok()? })
    }
}

/// An instance on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) platform: PlatformId,
    pub(super) epoch: Epoch,
    pub(super) instance: InstanceId,
    /// The first process of the instance, which leads its session and its group.
    pub(super) pid: i32,
    /// When that process started, in ticks of the kernel: the id alone may be another's by now.
    pub(super) start_time: u64,
    /// Which start of the machine the two above are of.
    pub(super) boot_id: String,
    pub(super) port: Option<u16>,
    /// Tells a repeated start from one that contradicts the first, and holds no argument.
    pub(super) command_hash: String,
    /// The name of its control group below the delegated one.
    pub(super) cgroup: Option<String>,
    pub(super) limits: Limits,
    /// How much memory its control group lets it have, if it holds that limit.
    #[serde(default)]
    pub(super) held_memory: Option<u64>,
    pub(super) warnings: Vec<String>,
    pub(super) started_at: Timestamp,
    /// Where it was started; nothing where it got a directory of its own.
    #[serde(default)]
    pub(super) directory: Option<PathBuf>,
    pub(super) frozen: bool,
    pub(super) ended: Option<Ended>,
}

/// How an instance ended that nobody has stopped yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) at: Timestamp,
    pub(super) exit: Exit,
}

impl Record {
    pub(super) fn key(&self) -> Key {
        Key { platform: self.platform, instance: self.instance }
    }

    pub(super) fn address(&self) -> Option<Address> {
        self.port.map(|port| Address::Tcp(([127, 0, 0, 1], port).into()))
    }

    /// What its start was answered.
    pub(super) fn started(&self) -> Started {
        let started = self.address().map_or_else(Started::unreachable, Started::at);
        self.warnings.iter().fold(started, Started::with_warning)
    }
}

/// FNV-1a over the words, with their ends: told apart, not kept secret.
pub(super) fn command_hash(command: &[String]) -> String {
    let bytes: Vec<u8> = command.iter().flat_map(|word| word.bytes().chain([0])).collect();
    format!("{:016x}", fnv(&bytes))
}

/// FNV-1a.
pub(super) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The directory in which everything is.
#[derive(Clone, Debug)]
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    pub(super) fn trash(&self) -> PathBuf {
        self.0.join("trash")
    }

    pub(super) fn reserve(&self) -> PathBuf {
        self.0.join("reserve")
    }

    pub(super) fn folder(&self, key: Key) -> Folder {
        Folder(self.0.join(key.platform.to_string()).join(key.instance.to_string()))
    }

    /// All platforms that ever called.
    pub(super) fn platforms(&self) -> Vec<PlatformId> {
        names(&self.0).iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// All instances of a platform that have a folder.
    pub(super) fn instances(&self, platform: PlatformId) -> Vec<Key> {
        let names = names(&self.0.join(platform.to_string()));
        let ids = names.iter().filter_map(|name| name.parse().ok());
        ids.map(|instance| Key { platform, instance }).collect()
    }

    /// The newest epoch of a platform that was seen, by any program that uses this directory.
    pub(super) fn epoch(&self, platform: PlatformId) -> io::Result<Option<Epoch>> {
        match fs::read_to_string(self.epoch_path(platform)) {
            Ok(text) => Ok(text.trim().parse().ok().map(Epoch::new)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// On a full disk too, once there was one before: no call of a program that begins there may
    /// fail for a number. A larger one has at least as many digits, so it is written whole.
    pub(super) fn remember_epoch(&self, fence: Fence) -> io::Result<()> {
        let (path, text) = (self.epoch_path(fence.platform), fence.epoch.to_string());
        fs::create_dir_all(path.parent().unwrap_or(&self.0))?;
        match replace(&path, text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let before = fs::File::options().write(true).open(&path);
                before.and_then(|file| file.write_all_at(text.as_bytes(), 0)).map_err(|_| error)
            }
            replaced => replaced,
        }
    }

    fn epoch_path(&self, platform: PlatformId) -> PathBuf {
        self.0.join(platform.to_string()).join("epoch")
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The folder of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    pub(super) fn birth(&self) -> PathBuf {
        self.0.join("birth")
    }

    /// The folder of a command that is run beside it.
    pub(super) fn command(&self, number: u64) -> Self {
        Self(self.0.join(format!("{COMMAND}{number}")))
    }

    /// Those of all commands that are there.
    pub(super) fn commands(&self) -> Vec<Self> {
        let names = names(&self.0).into_iter().filter(|name| name.starts_with(COMMAND));
        names.map(|name| Self(self.0.join(name))).collect()
    }

    /// The highest number that a command has had of which something is left.
    pub(super) fn last_command(&self) -> u64 {
        let names = names(&self.0).into_iter();
        let numbers = names.filter_map(|name| name.strip_prefix(COMMAND)?.parse().ok());
        numbers.max().unwrap_or(0)
    }

    /// Locks it against others who would start or adopt the same instance at this moment; nothing
    /// where somebody else does. The lock goes when the file is closed, also by the kernel.
    ///
    /// A process that is about to become the instance holds it too, until it has become it: so
    /// whoever gets the lock sees its `birth`.
    pub(super) fn lock(&self) -> io::Result<Option<fs::File>> {
        let mut options = fs::File::options();
        let file = options.create(true).truncate(false).write(true).open(self.0.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What is recorded; nothing where a start was not finished.
    pub(super) fn read(&self) -> io::Result<Option<Record>> {
        match fs::read(self.0.join("record.json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        replace(&self.0.join("record.json"), &serde_json::to_vec(record)?)
    }
}

/// Whoever reads it sees the old or the new, never a part.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    private(&new)?.write_all(bytes)?;
    fs::rename(new, path)
}

/// A new file that is nobody else's to read: instances may run as another user.
fn private(path: &Path) -> io::Result<fs::File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        // What is left of a program that was ended in between had the mode that it had.
        _ => fs::File::options().create_new(true).write(true).mode(0o600).open(path),
    }
}

const COMMAND: &str = "run-";

#[cfg(test)]
mod tests {
    use super::*;
    use runner_core::id::ServiceId;

    #[test]
    fn a_name_reads_as_it_was_written_and_leads_nowhere_else() {
        let key = Key {
            platform: PlatformId::from_random(7),
            instance: ServiceId::from_random(9).instance(3),
        };
        assert_eq!(Key::parse(&key.name()), Some(key));
        for name in ["", "/", "../../etc", "a/b", "ports/8080"] {
            assert_eq!(Key::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_record_is_nobody_elses_to_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = crate::process::tests::Scratch::new("record-mode");
        let path = scratch.path().join("record.json");
        // One that was left by a program that was ended in between.
        fs::write(path.with_extension("new"), "half").expect("written");
        for text in ["one", "two"] {
            replace(&path, text.as_bytes()).expect("replaced");
            assert_eq!(fs::read_to_string(&path).expect("there"), text);
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn commands_are_told_apart_by_where_their_words_end() {
        let hash = |words: &[&str]| {
            command_hash(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
        assert_ne!(hash(&["a", "b"]), hash(&["ab"]));
        assert_ne!(hash(&["a", "b"]), hash(&["a", "b", ""]));
    }
}
