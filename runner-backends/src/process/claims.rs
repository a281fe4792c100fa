//! The files by which all backends of a machine tell each other who has which port.
//!
//! That nobody listens on a port says nothing about the next moment: an instance listens some time
//! after it was given one, and some never do. So each port has a file that says who has it, in one
//! directory of the machine, whatever directories the backends keep their own things in. It is
//! locked while it is read and rewritten, and what it says is believed only as far as the kernel
//! agrees: a claim names a process by its number, its start and the machine's, and is void without
//! it. So nothing has to be tidied up after a `kill -9`, and a claim of a program that was killed
//! stands for as long as its instance does.
//!
//! The directory is everybody's, like `/tmp`, in which it lies. So nothing is followed, nothing is
//! waited for, and what does not read as a claim is not written over. Who may spoil it can keep
//! ports from being given out, as anybody can who listens on them; that an answer comes from the
//! instance is proven in any case. Where it cannot be had, the files lie in the backend's own
//! directory, and towards other backends only the look who listens is left.
//!
//! Namespaces of the kernel that have ports or processes of their own have files of their own: a
//! number means nothing in another one.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use runner_core::time::Timestamp;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, RawMode, flock, fstat, open, openat};

use super::{
    proc::{self, Stat},
    record::Folder,
    spawn::session_of,
};

/// A directory of claims that may be used now.
#[derive(Debug)]
pub(super) struct Claims {
    folder: OwnedFd,
    /// What begins the name of each file: where its numbers mean what they say.
    space: String,
}

/// What a port's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Free,
    /// An instance that lives, or is being started, has it.
    Held(Holding),
    /// Nobody has it, and nobody gets it before this time, which was so far away when it was
    /// written.
    Rests(Timestamp, Duration),
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    /// The instance's, or that of the program that is starting it.
    pub(super) pid: i32,
    /// When that process started.
    pub(super) start: u64,
    /// Which start of the machine those two are of.
    pub(super) boot: String,
    /// The folder of the instance, by which its backend knows its claim again.
    folder: String,
}

/// A file that was locked.
#[derive(Debug)]
pub(super) struct Locked(File);

/// Why a file cannot be had.
#[derive(Debug)]
pub(super) enum Barred {
    /// Somebody else reads or rewrites it at this moment.
    Busy,
    /// It is no claim, or not this user's to change.
    Unusable,
    /// Nothing can be written there at all.
    Failed(io::Error),
}

impl Claims {
    /// The directory that all backends share, made where there is none.
    pub(super) fn shared(path: &Path) -> io::Result<Self> {
        let made = match rustix::fs::mkdir(path, Mode::from_raw_mode(EVERYBODYS)) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let folder = open_folder(path, OFlags::NOFOLLOW)?;
        if made {
            // Whatever this program's own mask is.
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(EVERYBODYS))?;
        }
        let mode = fstat(&folder)?.st_mode;
        // Where anybody may remove anything, a claim is worth nothing.
        match mode & OTHERS_WRITE == 0 || mode & STICKY != 0 {
            true => Ok(Self { folder, space: space() }),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// One that is this backend's alone.
    pub(super) fn own(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self { folder: open_folder(path, OFlags::empty())?, space: space() })
    }

    fn name(&self, port: u16) -> String {
        format!("{}-{port}", self.space)
    }

    /// Locks the file of a port, which is made where there is none and it `may_make` one.
    pub(super) fn lock(&self, port: u16, may_make: bool) -> Result<Option<Locked>, Barred> {
        let name = self.name(port);
        // Whoever clears up may remove one between two steps; nobody does so for long.
        for _ in 0..8 {
            let file = match openat(&self.folder, &name, OPEN | OFlags::RDWR, Mode::empty()) {
                Ok(file) => file,
                Err(rustix::io::Errno::NOENT) if !may_make => return Ok(None),
                Err(rustix::io::Errno::NOENT) => match self.make(&name) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                    Err(error) => return Err(Barred::Failed(error)),
                },
                Err(rustix::io::Errno::ROFS) => {
                    return Err(Barred::Failed(io::ErrorKind::ReadOnlyFilesystem.into()));
                }
                Err(_) => return Err(Barred::Unusable),
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(Barred::Busy),
                Err(error) => return Err(Barred::Failed(error.into())),
            }
            let locked = Locked(file.into());
            let stat = fstat(&locked.0).map_err(|error| Barred::Failed(error.into()))?;
            match (FileType::from_raw_mode(stat.st_mode), stat.st_nlink) {
                (FileType::RegularFile, 1) => return Ok(Some(locked)),
                (FileType::RegularFile, 0) => {}
                // A second name may be one that matters to somebody.
                _ => return Err(Barred::Unusable),
            }
        }
        Err(Barred::Busy)
    }

    fn make(&self, name: &str) -> io::Result<OwnedFd> {
        let mode = Mode::from_raw_mode(0o666);
        let flags = OPEN | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = openat(&self.folder, name, flags, mode)?;
        // Whatever this program's own mask is.
        rustix::fs::fchmod(&file, mode)?;
        Ok(file)
    }

    /// What the file of a port says at this moment, without a lock; nothing where it says nothing
    /// that can be read.
    pub(super) fn look(&self, port: u16) -> Option<Claim> {
        let flags = OPEN | OFlags::RDONLY;
        let file = openat(&self.folder, self.name(port), flags, Mode::empty()).ok()?;
        read(&file.into()).ok().flatten()
    }
}

impl Locked {
    pub(super) fn read(&self) -> Result<Claim, Barred> {
        read(&self.0).map_err(Barred::Failed)?.ok_or(Barred::Unusable)
    }

    pub(super) fn write(&self, claim: &Claim) -> Result<(), Barred> {
        let text = claim.to_string();
        // In this order: cut short in between it still says one of the two.
        let write = self.0.write_all_at(text.as_bytes(), 0);
        write.and_then(|()| self.0.set_len(text.len() as u64)).map_err(Barred::Failed)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Not left to closing it: a process that another thread has just forked holds the file
        // until it becomes its program.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Holding {
    /// By a process that is there.
    pub(super) fn by(pid: i32, start: u64, boot: &str, folder: &Path) -> Self {
        Self { pid, start, boot: boot.to_owned(), folder: shown(folder) }
    }

    /// By this program, until the instance is there.
    pub(super) fn by_this_program(boot: &str, folder: &Path) -> Self {
        let pid = std::process::id().cast_signed();
        Self::by(pid, Stat::of(pid).map_or(0, |stat| stat.start), boot, folder)
    }

    pub(super) fn is_of(&self, folder: &Path) -> bool {
        self.folder == shown(folder)
    }

    /// Whether the process is still there, seen from a machine that was started as `boot`.
    pub(super) fn stands(&self, boot: &str) -> bool {
        if self.boot != boot {
            return false;
        }
        let is_there = match Stat::of(self.pid) {
            Some(stat) => stat.start == self.start && stat.lives(),
            // Another user's may be hidden: then what can be told is that there is one.
            None => session_of(self.pid).is_some(),
        };
        is_there || self.is_born()
    }

    /// Whether a program that was killed had got as far as its instance.
    fn is_born(&self) -> bool {
        let folder = Folder(PathBuf::from(&self.folder));
        // Whoever wrote the claim may have put anything there too.
        let read = || {
            let birth = File::from(open(folder.birth(), OPEN | OFlags::RDONLY, Mode::empty())?);
            let is_file = birth.metadata()?.is_file();
            let mut text = String::new();
            (&birth).take(if is_file { LONGEST } else { 0 }).read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        };
        read().is_ok_and(|text| text.trim().parse().is_ok_and(|pid| is_in(pid, folder.path())))
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Free => Ok(()),
            Self::Held(Holding { pid, start, boot, folder }) => {
                writeln!(f, "by {pid} {start} {boot} {folder}")
            }
            Self::Rests(until, span) => writeln!(f, "rests {until} {}", span.as_nanos()),
        }
    }
}

impl std::str::FromStr for Claim {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.is_empty() {
            return Ok(Self::Free);
        }
        // What comes after the first line is of a longer one before it.
        let (line, _) = text.split_once('\n').ok_or(())?;
        let parse = || match line.split_once(' ')? {
            ("by", rest) => {
                let mut words = rest.splitn(4, ' ');
                Some(Self::Held(Holding {
                    pid: words.next()?.parse().ok()?,
                    start: words.next()?.parse().ok()?,
                    boot: words.next()?.to_owned(),
                    folder: words.next()?.to_owned(),
                }))
            }
            ("rests", rest) => {
                let (until, span) = rest.split_once(' ')?;
                let span = Duration::from_nanos(span.parse().ok()?);
                Some(Self::Rests(until.parse().ok()?, span))
            }
            _ => None,
        };
        parse().ok_or(())
    }
}

fn read(file: &File) -> io::Result<Option<Claim>> {
    let mut text = String::new();
    match file.take(LONGEST).read_to_string(&mut text) {
        Ok(_) => Ok(text.parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_in(pid: i32, folder: &Path) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.lives()) && proc::is_at_home(pid, folder)
}

fn open_folder(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(open(path, flags, Mode::empty())?)
}

/// On one line.
fn shown(folder: &Path) -> String {
    folder.display().to_string().replace('\n', "?")
}

/// The namespaces of this program that ports and processes belong to.
fn space() -> String {
    let of = |kind: &str| {
        let link = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        link.to_str().map(digits).unwrap_or_default()
    };
    format!("{}-{}", of("net"), of("pid"))
}

/// A link is not followed, and what is no file keeps nobody waiting.
const OPEN: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// As `/tmp` itself: everybody makes files there, and removes only their own.
const EVERYBODYS: RawMode = 0o1777;
const OTHERS_WRITE: RawMode = 0o022;
const STICKY: RawMode = 0o1000;

/// A claim is a line with one path in it.
const LONGEST: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::Scratch;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const BOOT: &str = "this-boot";

    fn own_holding(folder: &Path) -> Holding {
        Holding::by_this_program(BOOT, folder)
    }

    #[test]
    fn a_claim_reads_as_it_was_written_and_half_of_one_is_none() {
        let held = Claim::Held(Holding::by(7, 8, BOOT, Path::new("/a b/c\nd")));
        let rests = Claim::Rests(Timestamp::from_secs(9), Duration::from_millis(5));
        for claim in [held.clone(), rests, Claim::Free] {
            assert_eq!(claim.to_string().parse(), Ok(claim.clone()), "{claim:?}");
        }
        let Claim::Held(holding) = &held else { panic!("it is held") };
        assert!(holding.is_of(Path::new("/a b/c\nd")) && !holding.is_of(Path::new("/a b/c")));
        for text in ["by", "by 7\n", "by x 8 boot /a\n", "rests soon 5\n", "root:x:0:0\n", "by 7 8"]
        {
            assert_eq!(text.parse::<Claim>(), Err(()), "{text}");
        }
        let over = format!("{}5\nof a longer one", Claim::Rests(Timestamp::from_secs(9), REST));
        assert!(matches!(over.parse(), Ok(Claim::Rests(_, REST))));
    }

    const REST: Duration = Duration::from_secs(60);

    #[test]
    fn a_claim_stands_as_long_as_its_process_on_this_start_of_the_machine() {
        let folder = Path::new("/nowhere");
        let own = own_holding(folder);
        assert!(own.stands(BOOT) && !own.stands("another-boot"));
        let other = Holding { start: own.start + 1, ..own };
        assert!(!other.stands(BOOT), "the number is another's by now");
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("it starts");
        let pid = child.id().cast_signed();
        let start = Stat::of(pid).expect("it runs").start;
        let held = Holding::by(pid, start, BOOT, folder);
        assert!(held.stands(BOOT));
        child.kill().expect("killed");
        while Stat::of(pid).is_some_and(|stat| stat.lives()) {
            std::thread::yield_now();
        }
        assert!(!held.stands(BOOT), "a zombie listens nowhere");
        child.wait().expect("waited for");
        assert!(!held.stands(BOOT));
    }

    #[test]
    fn an_instance_that_its_program_was_killed_beside_holds_its_port_by_its_number() {
        let scratch = Scratch::new("claims-born");
        let folder = scratch.path().canonicalize().expect("it is there");
        let gone = Holding { boot: BOOT.to_owned(), ..Holding::by(i32::MAX, 1, BOOT, &folder) };
        assert!(!gone.stands(BOOT));
        let mut command = std::process::Command::new("sleep");
        let mut child = command.arg("1000").current_dir(&folder).spawn().expect("it starts");
        fs::write(folder.join("birth"), child.id().to_string()).expect("written");
        assert!(gone.stands(BOOT));
        child.kill().expect("killed");
        child.wait().expect("waited for");
        assert!(!gone.stands(BOOT));
        // What would keep whoever opens it waiting.
        fs::remove_file(folder.join("birth")).expect("removed");
        let mode = Mode::from_raw_mode(0o600);
        let at = folder.join("birth");
        rustix::fs::mknodat(rustix::fs::CWD, &at, FileType::Fifo, mode, 0).expect("made");
        assert!(!gone.stands(BOOT));
    }

    #[test]
    fn the_directory_is_everybodys_and_no_other_kind_is_used() {
        let scratch = Scratch::new("claims-directory");
        let at = |name: &str| scratch.path().join(name);
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode();
        let claims = Claims::shared(&at("made")).expect("made");
        assert_eq!(mode(&at("made")) & 0o7777, 0o1777);
        drop(claims.lock(5, true).expect("a file").expect("made"));
        let file = at("made").join(claims.name(5));
        assert_eq!(mode(&file) & 0o777, 0o666, "whoever has another mask");
        Claims::shared(&at("made")).expect("found again");

        symlink(at("made"), at("link")).expect("made");
        fs::write(at("file"), "").expect("written");
        fs::create_dir(at("loose")).expect("made");
        fs::set_permissions(at("loose"), fs::Permissions::from_mode(0o777)).expect("set");
        for name in ["link", "file", "loose", "missing/below"] {
            assert!(Claims::shared(&at(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn what_somebody_put_there_is_neither_followed_nor_waited_for_nor_written_over() {
        let scratch = Scratch::new("claims-spoiled");
        let folder = scratch.path().join("claims");
        let claims = Claims::shared(&folder).expect("made");
        let at = |port: u16| folder.join(claims.name(port));
        let precious = scratch.path().join("precious");
        fs::write(&precious, "precious").expect("written");
        symlink(&precious, at(1)).expect("made");
        fs::hard_link(&precious, at(2)).expect("made");
        let fifo = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(rustix::fs::CWD, at(3), FileType::Fifo, fifo, 0).expect("made");
        fs::create_dir(at(4)).expect("made");
        for port in 1..=4 {
            assert!(matches!(claims.lock(port, true), Err(Barred::Unusable)), "{port}");
        }
        fs::write(at(5), "precious too").expect("written");
        let locked = claims.lock(5, true).expect("a file").expect("it is there");
        assert!(matches!(locked.read(), Err(Barred::Unusable)));
        drop(locked);
        let held = File::open(at(5)).expect("it is there");
        held.lock().expect("nobody else has it");
        assert!(matches!(claims.lock(5, true), Err(Barred::Busy)));
        assert_eq!(fs::read_to_string(precious).expect("there"), "precious");
        assert!(claims.lock(6, false).expect("nothing is wrong").is_none());
    }
}
