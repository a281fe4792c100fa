//! Whose word is taken for where a request came from.

use std::net::IpAddr;

use runner_core::spec::Cidr;

use crate::exchange::ClientConnection;

/// Which clients may say on whose behalf they ask, and what the request is called.
///
/// Of a client that is trusted, `forwarded`, `x-forwarded-*`, `x-request-id` and the W3C trace
/// context are kept and what we know is added. Of any other they are removed, whatever it wrote,
/// with hyphens or with underlines, and what we know stands alone: an application behind us may
/// believe each of these headers. Behind a body nobody's are passed on.
///
/// Nobody is trusted by default, since whoever trusts a network has to know that only proxies of
/// its own can send from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    networks: Vec<Cidr>,
    unix_sockets: bool,
}

impl Trust {
    /// No client.
    pub const fn nobody() -> Self {
        Self { networks: Vec::new(), unix_sockets: false }
    }

    /// Clients whose address lies in one of these ranges.
    pub fn networks(networks: impl IntoIterator<Item = Cidr>) -> Self {
        Self { networks: networks.into_iter().collect(), unix_sockets: false }
    }

    /// And those that came by a Unix socket, which has no address: who may connect there is for
    /// the file system to say.
    #[must_use]
    pub fn and_unix_sockets(mut self) -> Self {
        self.unix_sockets = true;
        self
    }

    /// Whether a client is trusted. One that nothing is known of never is.
    pub fn covers(&self, client: Option<&ClientConnection>) -> bool {
        let Some(client) = client else { return false };
        match client.peer {
            None => self.unix_sockets,
            Some(peer) => self.covers_address(peer.ip()),
        }
    }

    fn covers_address(&self, address: IpAddr) -> bool {
        // A socket for both families says an IPv4 address in the form of the other.
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str) -> ClientConnection {
        ClientConnection { peer: Some(peer.parse().expect("an address")), secure: false }
    }

    #[test]
    fn only_who_is_named_is_trusted() {
        let trust = Trust::networks(["10.0.0.0/8".parse().expect("a range")]);
        let cases = [
            ("10.1.2.3:1", true),
            ("[::ffff:10.1.2.3]:1", true),
            ("11.1.2.3:1", false),
            ("[::1]:1", false),
        ];
        for (peer, expected) in cases {
            assert_eq!(trust.covers(Some(&from(peer))), expected, "{peer}");
            assert!(!Trust::nobody().covers(Some(&from(peer))), "{peer}");
        }
        let unix = ClientConnection { peer: None, secure: false };
        assert!(!trust.covers(Some(&unix)));
        assert!(trust.and_unix_sockets().covers(Some(&unix)));
        assert!(!Trust::nobody().and_unix_sockets().covers(None));
    }
}
