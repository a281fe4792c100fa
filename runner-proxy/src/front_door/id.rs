//! Names of requests.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use http::HeaderValue;

use crate::exchange::RequestId;

/// Makes names that no other door makes: sixty-four random bits of this one, and a count.
#[derive(Debug)]
pub(super) struct Ids {
    door: [u8; 16],
    count: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        // What the standard library seeds its maps with: random, and not a secret.
        let seed = RandomState::new().hash_one(0_u8);
        Self { door: hex(seed), count: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> RequestId {
        let mut name = [b'-'; 33];
        name[..16].copy_from_slice(&self.door);
        name[17..].copy_from_slice(&hex(self.count.fetch_add(1, Relaxed)));
        RequestId(HeaderValue::from_bytes(&name).expect("hexadecimal digits may stand in a header"))
    }
}

fn hex(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|at| DIGITS[((number >> (60 - 4 * at)) & 0xf) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_between_requests_and_between_doors() {
        let (one, other) = (Ids::new(), Ids::new());
        let names = [one.next(), one.next(), other.next()];
        assert_eq!(names[0].0.as_bytes()[17..], *b"0000000000000000");
        assert_eq!(names[1].0.as_bytes()[17..], *b"0000000000000001");
        assert_ne!(names[0], names[2]);
        assert_eq!(names[0].0.as_bytes()[..16], names[1].0.as_bytes()[..16]);
        assert_eq!(hex(0xdead_beef), *b"00000000deadbeef");
    }
}
