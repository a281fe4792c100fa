//! Listening sockets, asked for by port.
//!
//! The kernel's table in `/proc/net/tcp` walks over every connection of the machine to show the few
//! sockets that listen, which takes milliseconds where there is much memory. `NETLINK_SOCK_DIAG`
//! walks over those that listen alone, and over those of one port. What answers here is the kernel,
//! but every number is still taken as from a stranger: what is cut short is no answer.
//!
//! A sandbox may forbid it and a kernel may lack it: then the table is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink},
};

/// A socket that accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) inode: u64,
    /// It is of version 6 and does not answer at addresses of version 4. The kernel's table does
    /// not tell, and there it is taken to answer.
    pub(super) is_v6_only: bool,
}

/// The listening sockets of this network namespace, of one port or of all.
pub(super) fn listeners(port: Option<u16>) -> Result<Vec<Listener>, Errno> {
    let (flags, protocol) = (SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG));
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
    let mut found = Vec::new();
    let mut buffer = vec![0; ANSWER_LEN];
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        rustix::net::send(&socket, &question(family, port), SendFlags::empty())?;
        // The answer is there when the question was sent; what does not fit comes with the next.
        let mut left = MOST_ANSWERS;
        loop {
            let (_, len) = rustix::net::recv(&socket, &mut buffer, RecvFlags::DONTWAIT)?;
            match read(&buffer[..len.min(ANSWER_LEN)], &mut found)? {
                Part::Last => break,
                Part::More if left == 0 => return Err(Errno::TOOBIG),
                Part::More => left -= 1,
            }
        }
    }
    Ok(found)
}

/// Whether an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    More,
    Last,
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn question(family: AddressFamily, port: Option<u16>) -> [u8; QUESTION_LEN] {
    const REQUEST: u16 = 1;
    const DUMP: u16 = 0x300;
    const TCP: u8 = 6;
    const LISTENING: u32 = 1 << 10;
    let mut bytes = [0; QUESTION_LEN];
    bytes[0..4].copy_from_slice(&(QUESTION_LEN as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(REQUEST | DUMP).to_ne_bytes());
    bytes[16] = family.as_raw() as u8;
    bytes[17] = TCP;
    bytes[20..24].copy_from_slice(&LISTENING.to_ne_bytes());
    // Ports are in the order of the network here, and zero means all.
    bytes[24..26].copy_from_slice(&port.unwrap_or(0).to_be_bytes());
    bytes
}

/// Reads one piece of an answer.
fn read(mut bytes: &[u8], found: &mut Vec<Listener>) -> Result<Part, Errno> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    while let Some((message, rest)) = split(bytes, MESSAGE_HEADER) {
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        match kind {
            DONE => return Ok(Part::Last),
            // With a number of zero it would be an acknowledgement, which nobody asked for.
            ERROR => return Err(Errno::NOTSUP),
            DIAG_BY_FAMILY => found.extend(listener(&message[MESSAGE_HEADER..])),
            _ => {}
        }
        bytes = rest;
    }
    Ok(Part::More)
}

/// `struct inet_diag_msg` and the attributes after it; nothing where it cannot answer at an
/// address of version 4 although it seems so.
fn listener(bytes: &[u8]) -> Option<Listener> {
    const V6_ONLY: u16 = 11;
    let (fixed, mut attributes) = bytes.split_at_checked(DIAG_LEN)?;
    let mut is_v6_only = false;
    while let Some((attribute, rest)) = split_short(attributes) {
        let kind = u16::from_ne_bytes([attribute[2], attribute[3]]);
        is_v6_only |= kind == V6_ONLY && attribute.get(4).is_some_and(|value| *value != 0);
        attributes = rest;
    }
    let address = match AddressFamily::from_raw(fixed[0].into()) {
        AddressFamily::INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&fixed[8..12]).ok()?)),
        AddressFamily::INET6 => {
            let bytes = <[u8; 16]>::try_from(&fixed[8..24]).ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    let port = u16::from_be_bytes([fixed[4], fixed[5]]);
    let inode = u32::from_ne_bytes(fixed[68..72].try_into().ok()?).into();
    Some(Listener { address, port, inode, is_v6_only })
}

/// The first message, by the length that it says of itself, and what comes after it.
fn split(bytes: &[u8], header: usize) -> Option<(&[u8], &[u8])> {
    let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    cut(bytes, usize::try_from(len).ok()?, header)
}

/// The same for attributes, whose lengths are shorter.
fn split_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    cut(bytes, len.into(), ATTRIBUTE_HEADER)
}

fn cut(bytes: &[u8], len: usize, header: usize) -> Option<(&[u8], &[u8])> {
    if len < header || len > bytes.len() {
        return None;
    }
    // Each begins at a multiple of four; the last need not be filled up to one.
    Some((&bytes[..len], &bytes[len.next_multiple_of(4).min(bytes.len())..]))
}

/// `SOCK_DIAG_BY_FAMILY`
const DIAG_BY_FAMILY: u16 = 20;

const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
const QUESTION_LEN: usize = MESSAGE_HEADER + 56;
const DIAG_LEN: usize = 72;

/// What the kernel fills at once.
const ANSWER_LEN: usize = 32 << 10;

/// Some hundred sockets each: more than a machine has ports.
const MOST_ANSWERS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::Block;
    use std::net::TcpListener;

    fn diag(family: AddressFamily, port: u16, inode: u32, is_v6_only: u8) -> Vec<u8> {
        let mut bytes = vec![0; DIAG_LEN];
        bytes[0] = family.as_raw() as u8;
        bytes[4..6].copy_from_slice(&port.to_be_bytes());
        bytes[68..72].copy_from_slice(&inode.to_ne_bytes());
        // An attribute that means nothing here, then the one that does.
        bytes.extend([5, 0, 8, 0, 7, 0, 0, 0]);
        bytes.extend([5, 0, 11, 0, is_v6_only, 0, 0, 0]);
        bytes
    }

    fn message(kind: u16, content: &[u8]) -> Vec<u8> {
        let len = (MESSAGE_HEADER + content.len()) as u32;
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(content);
        bytes
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let mut bytes = message(DIAG_BY_FAMILY, &diag(AddressFamily::INET, 8080, 77, 0));
        bytes.extend(message(DIAG_BY_FAMILY, &diag(AddressFamily::INET6, 8081, 78, 1)));
        let mut found = Vec::new();
        assert_eq!(read(&bytes, &mut found), Ok(Part::More));
        let [four, six] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((four.port, four.inode, four.is_v6_only), (8080, 77, false));
        assert_eq!((six.port, six.inode, six.is_v6_only), (8081, 78, true));
        assert_eq!(read(&message(3, &[0; 4]), &mut found), Ok(Part::Last));
        assert_eq!(read(&message(2, &[0; 20]), &mut found), Err(Errno::NOTSUP));
    }

    #[test]
    fn what_is_cut_short_is_no_socket_and_no_panic() {
        let whole = message(DIAG_BY_FAMILY, &diag(AddressFamily::INET6, 8080, 77, 1));
        let socket = MESSAGE_HEADER + DIAG_LEN;
        for len in 0..whole.len() {
            let mut bytes = whole[..len].to_vec();
            assert_eq!(read(&bytes, &mut Vec::new()), Ok(Part::More), "as it came");
            if len >= 4 {
                bytes[..4].copy_from_slice(&(len as u32).to_ne_bytes());
            }
            let mut found = Vec::new();
            assert_eq!(read(&bytes, &mut found), Ok(Part::More), "with a length that fits");
            assert_eq!(found.len(), usize::from(len >= socket), "{len}");
        }
    }

    #[test]
    fn the_kernel_tells_the_same_as_its_table() {
        let block = Block::of(1);
        let port = *block.ports(1).start();
        let four = TcpListener::bind(("127.0.0.1", port)).expect("it is this test's");
        let asked = match listeners(Some(port)) {
            Ok(asked) => asked,
            Err(error) => return println!("skipped: no socket diagnosis here ({error})"),
        };
        let [found] = asked.as_slice() else { panic!("{asked:?}") };
        let of_table = super::super::sockets::of_tables();
        assert!(of_table.contains(found), "{found:?} in {of_table:?}");
        let of_all = listeners(None).expect("as before");
        assert!(of_all.contains(found), "{found:?} in {of_all:?}");
        drop(four);
        // A process that another test forks has it too, until it becomes its program.
        while listeners(Some(port)) != Ok(Vec::new()) {
            std::thread::yield_now();
        }
    }
}
