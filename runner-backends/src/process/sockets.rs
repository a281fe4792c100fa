//! Who listens where: the listening sockets of the machine, and whose they are.
//!
//! A port number proves nothing: whoever was there first answers on it. The kernel
//! [names](super::diag) each socket by an inode, and `/proc/PID/fd` says which process holds that
//! inode.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    diag::{self, Listener},
    proc,
};

/// Whose the socket is that would answer at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The processes that were asked about.
    Theirs,
    /// Nobody listens there.
    Nobody,
    /// Somebody else does.
    Other(Holder),
}

/// Who holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder(Option<(i32, String)>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some((pid, name)) => write!(f, "pid {pid} ({name})"),
            // Another user's process, seen by an ordinary one.
            None => f.write_str("a process that may not be looked into"),
        }
    }
}

/// The listening sockets of this network namespace: those of a port, and perhaps others, or all.
fn listeners(port: Option<u16>) -> Vec<Listener> {
    diag::listeners(port).unwrap_or_else(|_| of_tables())
}

/// All of them, by the kernel's tables.
pub(super) fn of_tables() -> Vec<Listener> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    texts.flat_map(|text| text.lines().filter_map(parse).collect::<Vec<_>>()).collect()
}

fn parse(line: &str) -> Option<Listener> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let inode = fields.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { address: ip(address)?, port, inode, is_v6_only: false })
}

/// Words of 32 bits in the machine's own order; a mapped IPv4 address is one.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for part in 0..4 {
                bytes[part * 4..][..4].copy_from_slice(&word(part * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

/// Those that would answer a connection to `127.0.0.1` at a port: the kernel prefers the socket
/// that is bound most exactly.
fn answering(listeners: &[Listener], port: u16) -> Vec<Listener> {
    let exactness = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let at = |address: IpAddr| {
        let here = move |it: &&Listener| it.port == port && it.address == address && !it.is_v6_only;
        listeners.iter().filter(here).copied().collect::<Vec<_>>()
    };
    exactness.into_iter().map(at).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Whose socket answers at a port, seen from these processes.
pub(super) fn owner(port: u16, pids: &[i32]) -> Owner {
    let answering = answering(&listeners(Some(port)), port);
    if answering.is_empty() {
        return Owner::Nobody;
    }
    let held = inodes(pids);
    // Several may share a port on purpose: then the kernel chooses, so all must be theirs.
    match answering.iter().find(|listener| !held.contains(&listener.inode)) {
        None => Owner::Theirs,
        Some(other) => Owner::Other(holder(other.inode)),
    }
}

/// On which ports these processes listen.
pub(super) fn ports(pids: &[i32]) -> BTreeSet<u16> {
    let held = inodes(pids);
    let theirs = listeners(None).into_iter().filter(|listener| held.contains(&listener.inode));
    theirs.map(|listener| listener.port).collect()
}

/// Who holds a port, if anybody does.
pub(super) fn holder_of(port: u16) -> Option<Holder> {
    answering(&listeners(Some(port)), port).first().map(|listener| holder(listener.inode))
}

fn holder(inode: u64) -> Holder {
    let holds = |stat: &proc::Stat| inodes(&[stat.pid]).contains(&inode);
    Holder(proc::all().find(holds).map(|stat| (stat.pid, stat.name)))
}

/// The sockets that processes have open.
fn inodes(pids: &[i32]) -> BTreeSet<u64> {
    let folders = pids.iter().map(|pid| format!("/proc/{pid}/fd"));
    let entries = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::Block;
    use std::net::TcpListener;

    #[test]
    fn the_table_of_the_kernel_is_read() {
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 77 1 0";
        let v6 = "   1: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 78 1";
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(
            parse(v4),
            Some(Listener { address: local, port: 8080, inode: 77, is_v6_only: false })
        );
        assert_eq!(
            parse(v6),
            Some(Listener { address: local, port: 8080, inode: 78, is_v6_only: false })
        );
        assert_eq!(parse(&v4.replace(" 0A ", " 01 ")), None, "connected, not listening");
        assert_eq!(parse("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn whoever_is_bound_most_exactly_answers() {
        let at = |address: &str, inode| Listener {
            address: address.parse().expect("an address"),
            port: 80,
            inode,
            is_v6_only: false,
        };
        let all = [at("::", 1), at("0.0.0.0", 2), at("127.0.0.1", 3), at("::1", 4)];
        let inodes = |listeners: &[Listener]| {
            answering(listeners, 80).iter().map(|it| it.inode).collect::<Vec<_>>()
        };
        assert_eq!(inodes(&all), [3]);
        assert_eq!(inodes(&all[..2]), [2]);
        assert_eq!(inodes(&all[..1]), [1]);
        assert_eq!(inodes(&all[3..]), Vec::<u64>::new());
        let only = Listener { is_v6_only: true, ..all[0] };
        assert_eq!(inodes(&[only]), Vec::<u64>::new(), "it answers at version 6 alone");
    }

    #[test]
    fn the_owner_of_a_socket_is_found() {
        let block = Block::of(1);
        let port = *block.ports(1).start();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("it is this test's");
        let own = std::process::id() as i32;
        assert_eq!(owner(port, &[own]), Owner::Theirs);
        assert!(ports(&[own]).contains(&port));
        let Owner::Other(holder) = owner(port, &[1]) else { panic!("process 1 has it") };
        assert!(holder.to_string().starts_with(&format!("pid {own} (")), "{holder}");
        drop(listener);
        // A process that another test forks has it too, until it becomes its program.
        while owner(port, &[own]) != Owner::Nobody {
            std::thread::yield_now();
        }
    }
}
