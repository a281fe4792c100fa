//! What one client may take of the door.

use std::{num::NonZeroU32, time::Duration};

/// Bounds on clients. Every one of them has its answer and its count.
///
/// Times are kept by looks, one every quarter of a second, or every eighth of the shortest of them
/// where that is less. A limit is never early, and late by two looks at most.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// From the first byte of a head (of a new connection: from the start) to its last. A client
    /// that sent a part gets a bare 408, one that sent nothing is left without a word.
    pub head: Duration,
    /// Between two requests of a connection. It ends without a word: clients expect it.
    pub idle: Duration,
    /// From the end of the head until the answer was written, its body included: 504, or the end
    /// of the connection once the answer has begun. 120 s as App Runner had it; nothing for no
    /// limit. An upgraded connection has none.
    pub total: Option<Duration>,
    /// Fields of a head: 431. hyper has a limit of its own at 100.
    pub fields: usize,
    /// Bytes of the method and of the fields of a head, 32 for each field included: 431. At twice
    /// that hyper stops reading, with a bare 431.
    pub head_bytes: usize,
    /// Bytes of the target: 414. hyper has a limit of its own at 65,534.
    pub target_bytes: usize,
    /// Bytes of a body, as announced and as counted: 413. Nothing for no limit.
    pub body_bytes: Option<u64>,
    /// What a client has to send while its body is waited for, or to take while its answer waits
    /// to be written. Nothing for no limit.
    pub rate: Option<Rate>,
    /// Concurrent streams of an HTTP/2 connection.
    pub streams: NonZeroU32,
    /// Connections over all listeners, upgraded ones included. Beyond it nobody is accepted until
    /// somebody leaves; who waits stays in the system's backlog. Without a value it is half of
    /// the files that this process may have open: each connection may need a second one to an
    /// instance.
    pub connections: Option<u32>,
    /// Connections of one listener, where less than all.
    pub connections_per_listener: Option<u32>,
}

/// The least rate of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// Bytes per second.
    pub bytes_per_second: NonZeroU32,
    /// How far a client may fall behind. Time in which nobody waits for it does not count.
    pub grace: Duration,
}

impl Rate {
    /// A least rate, and how far a client may fall behind it.
    pub const fn new(bytes_per_second: NonZeroU32, grace: Duration) -> Self {
        Self { bytes_per_second, grace }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            total: Some(Duration::from_secs(120)),
            fields: 100,
            head_bytes: 32 << 10,
            target_bytes: 8 << 10,
            body_bytes: Some(1 << 30),
            rate: Some(Rate::new(
                NonZeroU32::new(240).unwrap_or(NonZeroU32::MIN),
                Duration::from_secs(10),
            )),
            streams: NonZeroU32::new(256).unwrap_or(NonZeroU32::MIN),
            connections: None,
            connections_per_listener: None,
        }
    }
}

impl Limits {
    /// How often those who may be overdue are looked at.
    pub(super) fn look_every(&self) -> Duration {
        let times = [Some(self.head), Some(self.idle), self.total, self.rate.map(|r| r.grace)];
        let shortest = times.into_iter().flatten().min().unwrap_or(LOOK_SELDOM);
        (shortest / 8).clamp(LOOK_OFTEN, LOOK_SELDOM)
    }

    /// Connections over all listeners.
    pub(super) fn most_connections(&self) -> u32 {
        self.connections.unwrap_or_else(|| half_of(open_files())).max(1)
    }
}

/// How many files this process may have open.
fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

fn half_of(files: Option<u64>) -> u32 {
    let half = files.map(|files| files.saturating_sub(SPARE_FILES) / 2);
    half.and_then(|half| u32::try_from(half).ok())
        .map_or(MOST_CONNECTIONS, |n| n.min(MOST_CONNECTIONS))
}

const LOOK_OFTEN: Duration = Duration::from_millis(5);
const LOOK_SELDOM: Duration = Duration::from_millis(250);
/// Listeners, logs, journals and whatever else the program has open.
const SPARE_FILES: u64 = 64;
/// Where files are not limited, memory is: at 16 KiB each these are 16 GiB.
const MOST_CONNECTIONS: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_half_of_what_files_there_are() {
        assert_eq!(half_of(Some(1024)), 480);
        assert_eq!(half_of(Some(10)), 0, "and one at least is made of it");
        assert_eq!(half_of(None), MOST_CONNECTIONS);
        let none = Limits { connections: Some(0), ..Limits::default() };
        assert_eq!(none.most_connections(), 1);
    }

    #[test]
    fn short_limits_are_looked_at_often() {
        let mut limits = Limits::default();
        assert_eq!(limits.look_every(), LOOK_SELDOM);
        limits.head = Duration::from_millis(400);
        assert_eq!(limits.look_every(), Duration::from_millis(50));
        limits.total = Some(Duration::ZERO);
        assert_eq!(limits.look_every(), LOOK_OFTEN);
    }
}
