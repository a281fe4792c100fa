//! Idle connections to one instance: the last one in is the first one out.
//!
//! So few connections are as busy as they can be and the others age and go; and the one that was
//! used last is the one least likely to have been closed by the other end.

use std::time::Duration;

use tokio::time::Instant;

/// How many idle connections are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keep {
    /// How many to one instance. Default: 128, more than the requests at once of most instances;
    /// each costs a socket at both ends and about 10 kB here.
    pub most: usize,
    /// How long without a request. Default: 4 seconds, since servers in wide use close theirs
    /// after 5, and a request that meets such a close is the one that must be sent again.
    pub idle: Duration,
    /// How long since it was opened. Default: 5 minutes.
    pub life: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { most: 128, idle: Duration::from_secs(4), life: Duration::from_secs(300) }
    }
}

impl Keep {
    /// No connection is used twice.
    pub const NONE: Self = Self { most: 0, idle: Duration::ZERO, life: Duration::ZERO };
}

/// What the stack has to know of a connection.
pub(super) trait Kept {
    /// Whether a request may be sent on it.
    fn is_open(&mut self) -> bool;

    /// When it was opened.
    fn born(&self) -> Instant;
}

#[derive(Debug)]
pub(super) struct Idle<C>(Vec<(Instant, C)>);

impl<C: Kept> Idle<C> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps a connection whose response is finished. Gives back what is not kept, to be dropped
    /// outside of any lock.
    pub(super) fn push(&mut self, connection: C, keep: Keep, now: Instant) -> Option<C> {
        if keep.most == 0 || now.duration_since(connection.born()) >= keep.life {
            return Some(connection);
        }
        // The newest is the best one, so the oldest has to go.
        let oldest = (self.0.len() >= keep.most).then(|| self.0.remove(0).1);
        self.0.push((now, connection));
        oldest
    }

    /// The connection that was used last and takes a request. Those that never will again go to
    /// `dead`, to be dropped outside of any lock.
    pub(super) fn pop(&mut self, keep: Keep, now: Instant, dead: &mut Vec<C>) -> Option<C> {
        while let Some((since, mut connection)) = self.0.pop() {
            if !is_over(since, &connection, keep, now) && connection.is_open() {
                return Some(connection);
            }
            dead.push(connection);
        }
        None
    }

    /// Takes out what is closed or too old, to be dropped outside of any lock.
    pub(super) fn sweep(&mut self, keep: Keep, now: Instant) -> Vec<C> {
        let over = |(since, connection): &mut (Instant, C)| {
            is_over(*since, connection, keep, now) || !connection.is_open()
        };
        self.0.extract_if(.., over).map(|(_, connection)| connection).collect()
    }

    pub(super) fn take_all(&mut self) -> Vec<(Instant, C)> {
        std::mem::take(&mut self.0)
    }
}

fn is_over<C: Kept>(since: Instant, connection: &C, keep: Keep, now: Instant) -> bool {
    now.duration_since(since) >= keep.idle || now.duration_since(connection.born()) >= keep.life
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Fake {
        name: u32,
        is_open: bool,
        born: Instant,
    }

    impl Kept for Fake {
        fn is_open(&mut self) -> bool {
            self.is_open
        }

        fn born(&self) -> Instant {
            self.born
        }
    }

    fn open(name: u32, born: Instant) -> Fake {
        Fake { name, is_open: true, born }
    }

    const KEEP: Keep =
        Keep { most: 3, idle: Duration::from_secs(4), life: Duration::from_secs(60) };

    #[test]
    fn the_last_in_is_the_first_out_and_the_oldest_has_to_go() {
        let now = Instant::now();
        let mut idle = Idle::new();
        for name in 1..=3 {
            assert_eq!(idle.push(open(name, now), KEEP, now), None);
        }
        let gone = idle.push(open(4, now), KEEP, now);
        assert_eq!(gone.map(|fake| fake.name), Some(1));
        let mut dead = Vec::new();
        let out = std::iter::from_fn(|| idle.pop(KEEP, now, &mut dead));
        assert_eq!(out.map(|fake| fake.name).collect::<Vec<_>>(), [4, 3, 2]);
        assert!(dead.is_empty());
    }

    #[test]
    fn what_is_closed_is_given_to_nobody() {
        let now = Instant::now();
        let mut idle = Idle::new();
        idle.push(open(1, now), KEEP, now);
        idle.push(Fake { is_open: false, ..open(2, now) }, KEEP, now);
        let mut dead = Vec::new();
        assert_eq!(idle.pop(KEEP, now, &mut dead).map(|fake| fake.name), Some(1));
        assert_eq!(dead[0].name, 2);
        idle.push(Fake { is_open: false, ..open(3, now) }, KEEP, now);
        assert_eq!(idle.sweep(KEEP, now).len(), 1);
        assert_eq!(idle.len(), 0);
    }

    #[test]
    fn nobody_gets_one_that_idled_or_lived_too_long() {
        let born = Instant::now();
        let mut idle = Idle::new();
        idle.push(open(1, born), KEEP, born);
        let (just, over) = (born + Duration::from_millis(3_999), born + Duration::from_secs(4));
        assert_eq!(idle.sweep(KEEP, just), []);
        assert_eq!(idle.sweep(KEEP, over).len(), 1);
        idle.push(open(2, born), KEEP, born);
        assert_eq!(idle.pop(KEEP, over, &mut vec![]), None);
        assert_eq!(idle.len(), 0, "it is not looked at twice");
        let old = born + Duration::from_secs(60);
        assert!(idle.push(open(3, born), KEEP, old).is_some());
        // Too old while it idles, though it does not idle for long.
        idle.push(open(4, born), KEEP, old - Duration::from_secs(1));
        assert_eq!(idle.pop(KEEP, old, &mut vec![]), None);
        assert!(idle.push(open(5, born), Keep::NONE, born).is_some());
    }
}
