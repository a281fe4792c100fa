//! Where an instance is reached, as plain data.

use std::{borrow::Cow, fmt, net::SocketAddr, path::Path, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where an instance takes requests.
///
/// Data only: how such an address is connected to belongs to whoever forwards requests, so a
/// simulation can route real requests to `memory:` addresses without a socket. Written as
/// `127.0.0.1:8080`, `unix:/run/app.sock` or `memory:name`. Cloning one never allocates, since
/// every request that is forwarded takes a copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An address inside the program itself.
    Memory(Arc<str>),
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(Arc<Path>),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(name) => write!(f, "memory:{name}"),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(Path::new(path).into())),
            Some(("memory", name)) if !name.is_empty() => Ok(Self::Memory(name.into())),
            _ => text.parse().map(Self::Tcp).map_err(|_| InvalidAddress(text.to_owned())),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an address; write 127.0.0.1:8080, [::1]:8080, unix:/run/app.sock or memory:name"
)]
pub struct InvalidAddress(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_reads_as_it_is_written() {
        for text in ["127.0.0.1:8080", "[::1]:80", "unix:/run/app.sock", "memory:a"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_host_name_or_a_relative_path_is_refused_with_the_forms_that_work() {
        for text in ["localhost:80", "unix:app.sock", "memory:", "", "127.0.0.1"] {
            let refusal = text.parse::<Address>().expect_err(text).to_string();
            assert!(refusal.contains("unix:/run/app.sock"), "{refusal}");
        }
    }
}
