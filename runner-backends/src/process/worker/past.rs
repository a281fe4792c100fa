//! Instances that have ended, remembered for a while, and ids that must not come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use runner_core::{
    backend::{Exit, ListedInstance, Started},
    id::{PlatformId, ServiceId},
};

use super::super::{output::Ring, record::Key};

/// What is known about ended instances, bounded in count.
#[derive(Debug, Default)]
pub(super) struct Past {
    ended: BTreeMap<Key, Ended>,
    /// Their order, oldest first.
    order: VecDeque<Key>,
    stopped: BTreeMap<(PlatformId, ServiceId), Stopped>,
}

/// An instance that has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) listed: ListedInstance,
    pub(super) exit: Exit,
    pub(super) started: Started,
    pub(super) ring: Ring,
    /// Nobody stopped it yet: it is listed.
    pub(super) by_itself: bool,
}

/// Numbers of a service that were stopped: all up to one, and some after it.
#[derive(Debug, Default)]
struct Stopped {
    up_to: u64,
    after: BTreeSet<u64>,
}

impl Past {
    pub(super) fn get(&self, key: Key) -> Option<&Ended> {
        self.ended.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Ended> {
        self.ended.get_mut(&key)
    }

    /// Remembers an end; what is forgotten for it is answered.
    pub(super) fn insert(&mut self, key: Key, ended: Ended) -> Option<Key> {
        self.ended.insert(key, ended);
        self.order.push_back(key);
        let oldest = (self.order.len() > MOST_ENDED).then(|| self.order.pop_front()).flatten()?;
        self.ended.remove(&oldest);
        // Forgotten is not unknown: it must not start again.
        self.mark_stopped(oldest);
        Some(oldest)
    }

    /// Those of a platform that nobody has stopped yet.
    pub(super) fn of(&self, platform: PlatformId) -> impl Iterator<Item = &Ended> {
        let ended = self.ended.iter().filter(move |(key, _)| key.platform == platform);
        ended.map(|(_, ended)| ended).filter(|ended| ended.by_itself)
    }

    pub(super) fn mark_stopped(&mut self, key: Key) {
        let service = (key.platform, key.instance.service);
        let stopped = self.stopped.entry(service).or_default();
        stopped.after.insert(key.instance.number);
        // Numbers count up, so the smallest of many that were stopped has nothing before it that
        // could still be started.
        while stopped.after.len() > MOST_NUMBERS {
            stopped.up_to = stopped.after.pop_first().unwrap_or(stopped.up_to);
        }
    }

    pub(super) fn is_stopped(&self, key: Key) -> bool {
        let number = key.instance.number;
        let stopped = self.stopped.get(&(key.platform, key.instance.service));
        stopped.is_some_and(|stopped| number <= stopped.up_to || stopped.after.contains(&number))
    }
}

/// Ends that can be asked about.
const MOST_ENDED: usize = 500;

/// Stopped numbers of a service that are remembered one by one.
const MOST_NUMBERS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use runner_core::backend::Condition;
    use runner_core::id::Epoch;

    fn key(number: u64) -> Key {
        let instance = ServiceId::from_random(2).instance(number);
        Key { platform: PlatformId::from_random(1), instance }
    }

    fn ended(key: Key) -> Ended {
        let (epoch, condition) = (Epoch::FIRST, Condition::Ended(Exit::unknown()));
        Ended {
            listed: ListedInstance { instance: key.instance, epoch, address: None, condition },
            exit: Exit::unknown(),
            started: Started::unreachable(),
            ring: Ring::default(),
            by_itself: true,
        }
    }

    #[test]
    fn the_oldest_end_is_forgotten_and_does_not_come_back() {
        let mut past = Past::default();
        for number in 1..=MOST_ENDED as u64 {
            assert_eq!(past.insert(key(number), ended(key(number))), None);
        }
        let forgotten = past.insert(key(9_999), ended(key(9_999)));
        assert_eq!(forgotten, Some(key(1)));
        assert!(past.get(key(1)).is_none() && past.is_stopped(key(1)));
        assert!(!past.is_stopped(key(2)));
        assert_eq!(past.of(key(1).platform).count(), MOST_ENDED);
    }

    #[test]
    fn however_many_are_stopped_none_comes_back() {
        let mut past = Past::default();
        let all = 3 * MOST_NUMBERS as u64;
        (1..=all).for_each(|number| past.mark_stopped(key(number)));
        assert!((1..=all).all(|number| past.is_stopped(key(number))));
        assert!(!past.is_stopped(key(all + 1)));
        let stopped = past.stopped.values().next().expect("one service");
        assert_eq!(stopped.after.len(), MOST_NUMBERS);
    }
}
