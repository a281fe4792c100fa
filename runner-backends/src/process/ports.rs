//! Which instance has which port.
//!
//! Ports come from a range outside the ephemeral one, so that no outgoing connection of anybody
//! takes them. Each is guarded by a file that says who has it, or until when it rests: a port that
//! was given back is not given out again for a while, since clients and connection pools that still
//! know its last owner would talk to the next one.
//!
//! The files are locked while they are read and rewritten, so several programs may share one
//! directory of them.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    net::{Ipv4Addr, SocketAddrV4},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use runner_core::{
    Error,
    error::{ErrorKind, Retry},
    time::Timestamp,
};
use rustix::{
    fs::{FlockOperation, flock},
    net::{AddressFamily, SocketFlags, SocketType, sockopt},
};

use super::sockets::{self, Holder};

/// The ports of a backend.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) files: PathBuf,
    pub(super) range: RangeInclusive<u16>,
    pub(super) rest: Duration,
    /// The port after the one that was given out last: all are used in turn, so that each rests
    /// for as long as it can.
    next: u16,
}

/// What a port's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    Free,
    /// The folder of the instance that has it.
    By(PathBuf),
    /// Nobody has it, and nobody gets it before this time.
    Rests(Timestamp),
}

/// Why a port is not to be had now.
enum Taken {
    ByInstance,
    Rests(Timestamp),
    ByOther(Option<Holder>),
}

impl Ports {
    pub(super) fn new(files: PathBuf, range: RangeInclusive<u16>, rest: Duration) -> Self {
        // Programs that share a range begin at different places, and those that were started one
        // after another far apart: by the golden ratio, and not side by side.
        let spread = u64::from(std::process::id().wrapping_mul(0x9e37_79b9));
        let next = *range.start() + ((spread * u64::from(len(&range))) >> 32) as u16;
        Self { files, range, rest, next }
    }

    /// How many instances have a port at most.
    pub(super) fn len(&self) -> u32 {
        len(&self.range)
    }

    /// Claims a port for the instance in `folder`.
    pub(super) fn claim(&mut self, folder: &Path, now: Timestamp) -> Result<u16, Error> {
        let (mut instances, mut resting, mut others) = (0, Vec::new(), Vec::new());
        for _ in 0..self.len() {
            let port = self.next;
            self.next = if port == *self.range.end() { *self.range.start() } else { port + 1 };
            match self.try_claim(port, folder, now) {
                Ok(Ok(())) => return Ok(port),
                Ok(Err(Taken::ByInstance)) => instances += 1,
                Ok(Err(Taken::Rests(until))) => resting.push(until),
                Ok(Err(Taken::ByOther(holder))) => others.push((port, holder)),
                Err(error) => return Err(self.unwritable(error)),
            }
        }
        Err(self.used_up(instances, &resting, &others, now))
    }

    fn try_claim(&self, port: u16, folder: &Path, now: Timestamp) -> io::Result<Result<(), Taken>> {
        let mut file = self.open(port)?;
        match read(&mut file)? {
            // A folder without a record is of a start that is under way or has failed: whoever
            // made it gives the port back, or clears it away when it is found.
            Claim::By(owner) if owner.exists() => return Ok(Err(Taken::ByInstance)),
            Claim::By(_) => {
                // Its owner was cleared away by hand or by a crash: it rests from now on.
                let until = now + self.rest;
                write(&mut file, &format!("rests {until}"))?;
                return Ok(Err(Taken::Rests(until)));
            }
            // A clock that was set back makes nobody wait longer than the rest itself.
            Claim::Rests(until) if until > now && until.since(now) <= self.rest => {
                return Ok(Err(Taken::Rests(until)));
            }
            Claim::Rests(_) | Claim::Free => {}
        }
        if !is_free(port)? {
            return Ok(Err(Taken::ByOther(sockets::holder_of(port))));
        }
        write(&mut file, &format!("by {}", folder.display()))?;
        Ok(Ok(()))
    }

    /// Gives a port back; nothing happens where another instance has it by now.
    pub(super) fn release(&self, port: u16, folder: &Path, now: Timestamp) {
        let Ok(mut file) = self.open(port) else { return };
        if read(&mut file).is_ok_and(|claim| claim == Claim::By(folder.to_owned())) {
            // Where this cannot be written the claim stays, and is found to be void later.
            let _ = write(&mut file, &format!("rests {}", now + self.rest));
        }
    }

    fn open(&self, port: u16) -> io::Result<File> {
        let path = self.files.join(port.to_string());
        let mut options = File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.files)?;
                options.open(&path)?
            }
            opened => opened?,
        };
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    fn unwritable(&self, error: io::Error) -> Error {
        let files = self.files.display();
        let (kind, why) = match error.kind() {
            io::ErrorKind::StorageFull => (ErrorKind::Exhausted, ": the disk is full"),
            _ => (ErrorKind::Denied, ""),
        };
        let message = format!("the files that guard ports in {files} cannot be written{why}");
        Error::new(kind, message).caused_by(error)
    }

    fn used_up(
        &self,
        instances: usize,
        resting: &[Timestamp],
        others: &[(u16, Option<Holder>)],
        now: Timestamp,
    ) -> Error {
        let mut parts = Vec::new();
        if instances > 0 {
            parts.push(format!("{instances} are instances'"));
        }
        let first = resting.iter().min().map(|until| until.since(now));
        if let Some(first) = first {
            let seconds = first.as_secs() + 1;
            parts.push(format!("{} rest, the first for {seconds} s more", resting.len()));
        }
        for (port, holder) in others.iter().take(3) {
            let holder = holder.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
            parts.push(format!("port {port} is held by {holder}"));
        }
        if others.len() > 3 {
            parts.push(format!("so are {} more", others.len() - 3));
        }
        let (from, to, why) = (self.range.start(), self.range.end(), parts.join(", "));
        let error = Error::exhausted(format!(
            "no port from {from} to {to} is free: {why}; stop an instance or give a larger range"
        ));
        match first {
            Some(first) => error.with_retry(Retry::After(first)),
            None => error,
        }
    }
}

fn len(range: &RangeInclusive<u16>) -> u32 {
    u32::from(*range.end()) - u32::from(*range.start()) + 1
}

fn read(file: &mut File) -> io::Result<Claim> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(match text.split_once(' ') {
        Some(("by", folder)) => Claim::By(folder.into()),
        Some(("rests", until)) => until.parse().map_or(Claim::Free, Claim::Rests),
        _ => Claim::Free,
    })
}

fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

/// Whether a program could listen there now. Bound and let go, never listened on, so that no
/// client is accepted by mistake.
fn is_free(port: u16) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    // As servers do: connections of its last owner that linger do not count.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    match rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::ADDRINUSE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::Scratch;
    use std::net::TcpListener;

    const REST: Duration = Duration::from_secs(60);

    fn ports(scratch: &Scratch, range: RangeInclusive<u16>) -> Ports {
        Ports::new(scratch.path().join("ports"), range, REST)
    }

    fn owner(scratch: &Scratch, name: &str) -> PathBuf {
        let folder = scratch.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[test]
    fn a_port_that_was_given_back_rests_before_it_is_given_out_again() {
        let scratch = Scratch::new("ports-rest");
        let mut ports = ports(&scratch, 21_900..=21_901);
        let (one, two) = (owner(&scratch, "one"), owner(&scratch, "two"));
        let now = Timestamp::from_secs(1_000);
        let first = ports.claim(&one, now).expect("a free port");
        ports.claim(&two, now).expect("another");
        ports.release(first, &one, now);
        let refusal = ports.claim(&one, now + Duration::from_secs(59)).expect_err("it rests");
        assert_eq!(refusal.kind(), ErrorKind::Exhausted);
        assert_eq!(refusal.retry(), Retry::After(Duration::from_secs(1)));
        assert!(refusal.to_string().contains("1 are instances', 1 rest"), "{refusal}");
        assert_eq!(ports.claim(&one, now + REST).expect("rested"), first);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_passed_over_and_its_holder_named() {
        let scratch = Scratch::new("ports-held");
        let mut ports = ports(&scratch, 21_902..=21_903);
        let held = TcpListener::bind("127.0.0.1:21902").expect("free for this test");
        let (one, now) = (owner(&scratch, "one"), Timestamp::from_secs(1_000));
        assert_eq!(ports.claim(&one, now).expect("the other"), 21_903);
        let refusal = ports.claim(&one, now).expect_err("none is left").to_string();
        let named = format!("port 21902 is held by pid {} (", std::process::id());
        assert!(refusal.contains(&named), "{refusal}");
        drop(held);
        assert_eq!(ports.claim(&one, now).expect("free again"), 21_902);
    }

    #[test]
    fn only_the_owner_gives_a_port_back_and_a_claim_without_owner_is_void() {
        let scratch = Scratch::new("ports-owner");
        let mut ports = ports(&scratch, 21_904..=21_904);
        let (one, two) = (owner(&scratch, "one"), owner(&scratch, "two"));
        let now = Timestamp::from_secs(1_000);
        let port = ports.claim(&one, now).expect("a free port");
        ports.release(port, &two, now);
        assert!(ports.claim(&two, now + REST).is_err(), "it was not theirs to give back");
        fs::remove_dir_all(&one).expect("gone");
        assert!(ports.claim(&two, now).is_err(), "it rests from when its owner was missed");
        assert_eq!(ports.claim(&two, now + REST).expect("rested"), port);
    }
}
