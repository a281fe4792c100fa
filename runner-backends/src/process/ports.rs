//! Which instance has which port.
//!
//! Ports come from a range outside the ephemeral one, so that no outgoing connection of anybody
//! takes them. Each is guarded by a [claim](super::claims) that says who on this machine has it, or
//! until when it rests: a port that was given back is not given out again for a while, since
//! clients and connection pools that still know its last owner would talk to the next one.
//!
//! Backends that share a range begin at places of their own in it, far apart, so that they hardly
//! ever look at the same port at the same time; where they do, the lock of its claim decides.

use std::{
    io,
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
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::{
    claims::{Barred, Claim, Claims, Holding},
    record::fnv,
    sockets::{self, Holder},
};

/// The ports of a backend.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    /// Where all backends of the machine keep their claims.
    shared: PathBuf,
    /// Where this one keeps them when that cannot be used.
    own: PathBuf,
    range: RangeInclusive<u16>,
    rest: Duration,
    boot_id: String,
    /// The port after the one that was given out last: all are used in turn, so that each rests
    /// for as long as it can.
    next: u16,
    /// How often in a row there was nothing but a claim that somebody else was looking at.
    waits: u32,
    /// What could not be given back, for the same reason.
    unreleased: Vec<(u16, PathBuf, Timestamp)>,
}

/// Why a port is not to be had now.
enum Taken {
    ByInstance,
    Rests(Timestamp),
    ByOther(Option<Holder>),
    Busy,
    Unusable,
}

/// All ports that were looked at and not to be had.
#[derive(Default)]
struct Refused {
    instances: usize,
    resting: Vec<Timestamp>,
    others: Vec<(u16, Option<Holder>)>,
    busy: usize,
    unusable: usize,
}

impl Ports {
    /// Ports of the backend that keeps its things in `directory`.
    pub(super) fn new(
        shared: PathBuf,
        directory: &Path,
        range: RangeInclusive<u16>,
        rest: Duration,
        boot_id: String,
    ) -> Self {
        let place = fnv(directory.as_os_str().as_encoded_bytes()) % u64::from(len(&range));
        let next = range.start() + place as u16;
        let own = directory.join("ports");
        Self { shared, own, range, rest, boot_id, next, waits: 0, unreleased: Vec::new() }
    }

    /// How many could be given out now, as far as claims say, counted up to `most`.
    pub(super) fn left(&self, now: Timestamp, most: u32) -> u32 {
        let Ok(claims) = self.claims() else { return most.min(len(&self.range)) };
        let is_free = |port: &u16| match claims.look(*port) {
            Some(Claim::Held(holding)) => {
                !holding.stands(&self.boot_id) && !self.rests_when_found(&holding)
            }
            Some(Claim::Rests(until, span)) => !rests(until, span, now),
            Some(Claim::Free) | None => true,
        };
        self.range.clone().filter(is_free).take(most as usize).count() as u32
    }

    /// Whether the port of one that ended while nobody watched rests from when that is found.
    fn rests_when_found(&self, holding: &Holding) -> bool {
        holding.boot == self.boot_id && !self.rest.is_zero()
    }

    /// Claims a port for the instance in `folder`; nothing where somebody else looks at the only
    /// ones that may be free, which is over in a moment.
    pub(super) fn claim(&mut self, folder: &Path, now: Timestamp) -> Result<Option<u16>, Error> {
        for (port, folder, at) in std::mem::take(&mut self.unreleased) {
            self.release(port, &folder, at);
        }
        let claims = self.claims().map_err(|error| self.unwritable(error))?;
        let mut refused = Refused::default();
        for _ in 0..len(&self.range) {
            let port = self.next;
            self.next = if port == *self.range.end() { *self.range.start() } else { port + 1 };
            let claimed = match self.try_claim(&claims, port, folder, now) {
                // The shared directory may be full or read-only: it is as if it were not there.
                Err(Barred::Failed(_)) => Claims::own(&self.own)
                    .map_err(Barred::Failed)
                    .and_then(|own| self.try_claim(&own, port, folder, now)),
                tried => tried,
            };
            match claimed {
                Ok(None) => {
                    self.waits = 0;
                    return Ok(Some(port));
                }
                Ok(Some(taken)) => refused.add(port, taken),
                Err(Barred::Busy) => refused.add(port, Taken::Busy),
                Err(Barred::Unusable) => refused.add(port, Taken::Unusable),
                Err(Barred::Failed(error)) => return Err(self.unwritable(error)),
            }
        }
        if refused.busy > 0 && self.waits < LONGEST_WAIT {
            self.waits += 1;
            return Ok(None);
        }
        self.waits = 0;
        Err(self.used_up(&refused, now))
    }

    fn claims(&self) -> io::Result<Claims> {
        Claims::shared(&self.shared).or_else(|_| Claims::own(&self.own))
    }

    /// Nothing where it was claimed.
    fn try_claim(
        &self,
        claims: &Claims,
        port: u16,
        folder: &Path,
        now: Timestamp,
    ) -> Result<Option<Taken>, Barred> {
        let Some(file) = claims.lock(port, true)? else { return Err(Barred::Busy) };
        match file.read()? {
            Claim::Held(holding) if holding.stands(&self.boot_id) => {
                return Ok(Some(Taken::ByInstance));
            }
            Claim::Held(holding) if self.rests_when_found(&holding) => {
                file.write(&Claim::Rests(now + self.rest, self.rest))?;
                return Ok(Some(Taken::Rests(now + self.rest)));
            }
            Claim::Rests(until, span) if rests(until, span, now) => {
                return Ok(Some(Taken::Rests(until)));
            }
            Claim::Held(_) | Claim::Rests(..) | Claim::Free => {}
        }
        if !is_free(port).map_err(Barred::Failed)? {
            return Ok(Some(Taken::ByOther(sockets::holder_of(port))));
        }
        file.write(&Claim::Held(Holding::by_this_program(&self.boot_id, folder)))?;
        Ok(None)
    }

    /// The instance in `folder` is there: from now on its port is claimed by it and no longer by
    /// whoever started it, who may be killed.
    pub(super) fn hand_over(&self, port: u16, folder: &Path, pid: i32, start: u64) {
        let Ok(claims) = self.claims() else { return };
        // Where it cannot be written what stands there is true enough: its folder has its number.
        let Ok(Some(file)) = claims.lock(port, true) else { return };
        let is_anothers = match file.read() {
            Ok(Claim::Held(holding)) => !holding.is_of(folder) && holding.stands(&self.boot_id),
            Ok(Claim::Free | Claim::Rests(..)) => false,
            Err(_) => true,
        };
        if !is_anothers {
            let held = Claim::Held(Holding::by(pid, start, &self.boot_id, folder));
            let _ = file.write(&held);
        }
    }

    /// Gives a port back; nothing happens where another instance has it by now.
    pub(super) fn release(&mut self, port: u16, folder: &Path, now: Timestamp) {
        let rests = Claim::Rests(now + self.rest, self.rest);
        // It may have been claimed in either.
        let own = self.own.exists().then(|| Claims::own(&self.own));
        for claims in [Some(Claims::shared(&self.shared)), own].into_iter().flatten().flatten() {
            match claims.lock(port, false) {
                Ok(Some(file)) => {
                    let is_own = |held: &Holding| held.is_of(folder);
                    if matches!(file.read(), Ok(Claim::Held(held)) if is_own(&held)) {
                        // Where this cannot be written it is found to be void later.
                        let _ = file.write(&rests);
                    }
                }
                Err(Barred::Busy) => self.unreleased.push((port, folder.to_owned(), now)),
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn unwritable(&self, error: io::Error) -> Error {
        let files = self.own.display();
        let (kind, why) = match error.kind() {
            io::ErrorKind::StorageFull => (ErrorKind::Exhausted, ": the disk is full"),
            _ => (ErrorKind::Denied, ""),
        };
        let message = format!("the files that guard ports in {files} cannot be written{why}");
        Error::new(kind, message).caused_by(error)
    }

    fn used_up(&self, refused: &Refused, now: Timestamp) -> Error {
        let Refused { instances, resting, others, busy, unusable } = refused;
        let mut parts = Vec::new();
        if *instances > 0 {
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
        let barred = busy + unusable;
        if barred > 0 {
            let shared = self.shared.display();
            parts.push(format!("{barred} have files in {shared} that are not to be had"));
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

impl Refused {
    fn add(&mut self, port: u16, taken: Taken) {
        match taken {
            Taken::ByInstance => self.instances += 1,
            Taken::Rests(until) => self.resting.push(until),
            Taken::ByOther(holder) => self.others.push((port, holder)),
            Taken::Busy => self.busy += 1,
            Taken::Unusable => self.unusable += 1,
        }
    }
}

fn len(range: &RangeInclusive<u16>) -> u32 {
    u32::from(*range.end()) - u32::from(*range.start()) + 1
}

/// A clock that was set back makes nobody wait longer than the rest itself.
fn rests(until: Timestamp, span: Duration, now: Timestamp) -> bool {
    until > now && until.since(now) <= span
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

/// Looks, a millisecond apart: a claim is locked for some microseconds, and whoever locks one for
/// longer means harm.
const LONGEST_WAIT: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{
        proc::Stat,
        tests::{Block, Scratch},
    };
    use std::{fs, net::TcpListener};

    const REST: Duration = Duration::from_secs(60);
    const BOOT: &str = "this-boot";

    /// Ports of one of several backends that share a machine.
    fn ports_of(scratch: &Scratch, name: &str, range: RangeInclusive<u16>) -> Ports {
        let directory = scratch.path().join(name);
        let shared = scratch.path().join("claims");
        Ports::new(shared, &directory, range, REST, BOOT.to_owned())
    }

    fn ports(scratch: &Scratch, range: RangeInclusive<u16>) -> Ports {
        ports_of(scratch, "state", range)
    }

    fn claim(ports: &mut Ports, folder: &str, at: Timestamp) -> Result<u16, Error> {
        ports.claim(Path::new(folder), at).map(|port| port.expect("nobody else looks at it"))
    }

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    #[test]
    fn a_port_that_was_given_back_rests_before_it_is_given_out_again() {
        let scratch = Scratch::new("ports-rest");
        let block = Block::of(2);
        let mut ports = ports(&scratch, block.ports(2));
        let first = claim(&mut ports, "/one", NOW).expect("a free port");
        claim(&mut ports, "/two", NOW).expect("another");
        assert_eq!(ports.left(NOW, 9), 0);
        ports.release(first, Path::new("/one"), NOW);
        let late = NOW + Duration::from_secs(59);
        let refusal = claim(&mut ports, "/three", late).expect_err("it rests");
        assert_eq!(refusal.kind(), ErrorKind::Exhausted);
        assert_eq!(refusal.retry(), Retry::After(Duration::from_secs(1)));
        assert!(refusal.to_string().contains("1 are instances', 1 rest"), "{refusal}");
        assert_eq!((ports.left(late, 9), ports.left(NOW + REST, 9)), (0, 1));
        assert_eq!(claim(&mut ports, "/three", NOW + REST).expect("rested"), first);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_passed_over_and_its_holder_named() {
        let scratch = Scratch::new("ports-held");
        let block = Block::of(2);
        let mut ports = ports(&scratch, block.ports(2));
        let (taken, other) = (*ports.range.start(), *ports.range.end());
        let held = TcpListener::bind(("127.0.0.1", taken)).expect("it is this test's");
        assert_eq!(claim(&mut ports, "/one", NOW).expect("the other"), other);
        let refusal = claim(&mut ports, "/two", NOW).expect_err("none is left").to_string();
        let named = format!("port {taken} is held by pid {} (", std::process::id());
        assert!(refusal.contains(&named), "{refusal}");
        drop(held);
        // A process that another test forks has it too, until it becomes its program.
        while !is_free(taken).expect("it can be asked") {
            std::thread::yield_now();
        }
        assert_eq!(claim(&mut ports, "/two", NOW).expect("free again"), taken);
    }

    #[test]
    fn only_the_owner_gives_a_port_back_and_a_claim_without_owner_is_void() {
        let scratch = Scratch::new("ports-owner");
        let block = Block::of(1);
        let mut ports = ports(&scratch, block.ports(1));
        let port = claim(&mut ports, "/one", NOW).expect("a free port");
        ports.release(port, Path::new("/two"), NOW);
        assert!(claim(&mut ports, "/two", NOW + REST).is_err(), "it was not theirs to give back");
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("it starts");
        let pid = child.id().cast_signed();
        ports.hand_over(port, Path::new("/one"), pid, Stat::of(pid).expect("it runs").start);
        assert!(claim(&mut ports, "/two", NOW + REST).is_err(), "it lives");
        child.kill().expect("killed");
        child.wait().expect("waited for");
        assert!(claim(&mut ports, "/two", NOW).is_err(), "it rests from when its owner was missed");
        assert_eq!(claim(&mut ports, "/two", NOW + REST).expect("rested"), port);
    }

    #[test]
    fn backends_of_one_machine_share_no_port_and_heed_each_others_rests() {
        let scratch = Scratch::new("ports-shared");
        let block = Block::of(4);
        let mut one = ports_of(&scratch, "one", block.ports(4));
        let mut two = Ports { rest: Duration::ZERO, ..ports_of(&scratch, "two", block.ports(4)) };
        let mut given = Vec::new();
        for number in 0..2 {
            given.push(claim(&mut one, &format!("/one/{number}"), NOW).expect("a free port"));
            given.push(claim(&mut two, &format!("/two/{number}"), NOW).expect("a free port"));
        }
        let last = given[0];
        given.sort_unstable();
        assert_eq!(given, block.ports(4).collect::<Vec<_>>(), "each was given out once");
        one.release(last, Path::new("/one/0"), NOW);
        assert!(claim(&mut two, "/two/2", NOW).is_err(), "whose last owner is known to clients");
        assert_eq!(claim(&mut two, "/two/2", NOW + REST).expect("rested"), last);
        one.release(last, Path::new("/one/0"), NOW + REST);
        assert!(
            claim(&mut one, "/one/3", NOW + REST + REST).is_err(),
            "it is not its own any more"
        );
    }

    #[test]
    fn a_claim_that_somebody_looks_at_is_waited_for_and_not_for_ever() {
        let scratch = Scratch::new("ports-busy");
        let block = Block::of(1);
        let mut ports = ports(&scratch, block.ports(1));
        let port = claim(&mut ports, "/one", NOW).expect("a free port");
        let shared = Claims::shared(&scratch.path().join("claims")).expect("it is there");
        let looked_at = shared.lock(port, false).expect("nobody else").expect("it is there");
        ports.release(port, Path::new("/one"), NOW);
        assert_eq!(ports.claim(Path::new("/two"), NOW + REST).expect("in a moment"), None);
        drop(looked_at);
        assert_eq!(claim(&mut ports, "/two", NOW + REST).expect("given back late"), port);
        let _kept = shared.lock(port, false).expect("nobody else").expect("it is there");
        let mut waits = 0;
        let refusal = loop {
            match ports.claim(Path::new("/three"), NOW) {
                Ok(port) => assert_eq!((port, waits < LONGEST_WAIT), (None, true)),
                Err(refusal) => break refusal.to_string(),
            }
            waits += 1;
        };
        assert!(refusal.contains("1 have files in "), "{refusal}");
    }

    #[test]
    fn without_a_shared_directory_claims_are_kept_in_the_own_one() {
        let scratch = Scratch::new("ports-alone");
        fs::write(scratch.path().join("claims"), "not a directory").expect("written");
        let block = Block::of(1);
        let mut ports = ports(&scratch, block.ports(1));
        let port = claim(&mut ports, "/one", NOW).expect("a free port");
        assert!(claim(&mut ports, "/two", NOW).is_err());
        ports.release(port, Path::new("/one"), NOW);
        assert!(claim(&mut ports, "/two", NOW).is_err(), "it rests");
        assert_eq!(claim(&mut ports, "/two", NOW + REST).expect("rested"), port);
        assert!(scratch.path().join("state/ports").exists());
    }

    #[test]
    fn backends_begin_at_places_of_their_own() {
        let scratch = Scratch::new("ports-begin");
        let begin = |name: &str| ports_of(&scratch, name, 20_000..=24_999).next;
        let places: std::collections::BTreeSet<_> =
            (0..20).map(|number| begin(&format!("platform-{number}"))).collect();
        assert!(places.len() > 15, "{places:?}");
        let span = places.last().expect("some") - places.first().expect("some");
        assert!(span > 2_000, "{places:?}");
        assert_eq!(begin("platform-1"), begin("platform-1"));
    }
}
