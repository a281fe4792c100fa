//! What is known of each instance: its connections and how its requests went.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use runner_core::{
    address::Address,
    id::{InstanceId, RevisionNumber},
    spec::Protocol,
};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{
    connection::Connection,
    http1::Http1,
    http2::Http2,
    idle::{Idle, Keep, Kept},
    outcomes::{InstanceOutcomes, Outcomes},
};
use crate::pool::Assignment;

/// All instances that requests went to and that are still there.
pub(super) struct Instances {
    keep: Keep,
    pub(super) sweep: Arc<Sweep>,
    inside: Lock<Inside>,
}

#[expect(clippy::disallowed_types, reason = "held for a look; nothing is awaited under it")]
type Lock<T> = std::sync::Mutex<T>;

struct Inside {
    by_id: BTreeMap<InstanceId, Arc<Instance>>,
    /// Which are there, once somebody said so.
    known: Option<BTreeSet<InstanceId>>,
    /// What is spoken to a revision, where it is not the default; what was said last is last.
    spoken: VecDeque<(RevisionNumber, Protocol)>,
    spoken_by_default: Protocol,
}

/// One instance.
pub(super) struct Instance {
    pub(super) id: InstanceId,
    pub(super) address: Address,
    pub(super) protocol: Protocol,
    pub(super) outcomes: Arc<Outcomes>,
    /// Whether its connections are used again.
    is_kept: AtomicBool,
    keep: Keep,
    sweep: Arc<Sweep>,
    connections: Lock<Connections>,
    /// Held while a connection that many share is opened, so that a burst opens one and not many.
    opening: Semaphore,
}

struct Connections {
    /// With one request at a time each, while they have none.
    idle: Idle<Box<Http1>>,
    /// With many requests at once each; the last one opened is the last one here.
    shared: Vec<(Instant, Http2)>,
}

/// Whether there are connections that may grow too old: a service without traffic sets no timer.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    is_wanted: AtomicBool,
    told: Notify,
}

impl Sweep {
    /// Connections are kept. Told once for all of them.
    #[inline]
    fn want(&self) {
        if !self.is_wanted.load(Ordering::Relaxed) && !self.is_wanted.swap(true, Ordering::SeqCst) {
            self.told.notify_one();
        }
    }

    /// Waits until there is something to sweep. May be dropped and called again.
    pub(super) async fn wanted(&self) {
        while !self.is_wanted.load(Ordering::SeqCst) {
            self.told.notified().await;
        }
    }
}

impl Instances {
    pub(super) fn new(keep: Keep, spoken_by_default: Protocol) -> Self {
        let (by_id, spoken) = (BTreeMap::new(), VecDeque::new());
        let inside = Inside { by_id, known: None, spoken, spoken_by_default };
        Self { keep, sweep: Arc::default(), inside: Lock::new(inside) }
    }

    /// The instance that a request is assigned to.
    pub(super) fn of(&self, assignment: &Assignment) -> Arc<Instance> {
        let mut inside = self.lock();
        if let Some(instance) = inside.by_id.get(&assignment.instance) {
            return Arc::clone(instance);
        }
        let said = inside.spoken.iter().find(|(revision, _)| *revision == assignment.revision);
        let protocol = said.map(|(_, protocol)| *protocol);
        let instance = Arc::new(Instance::new(
            assignment,
            protocol.unwrap_or(inside.spoken_by_default),
            (self.keep, &self.sweep),
        ));
        // A request may be older than the news that its instance has gone. Its connection is then
        // for itself alone, and nothing stays behind.
        match &inside.known {
            Some(known) if !known.contains(&assignment.instance) => {
                instance.is_kept.store(false, Ordering::Relaxed);
            }
            _ => drop(inside.by_id.insert(assignment.instance, Arc::clone(&instance))),
        }
        instance
    }

    pub(super) fn speak(&self, revision: RevisionNumber, protocol: Protocol) {
        let mut inside = self.lock();
        inside.spoken.retain(|(said, _)| *said != revision);
        if protocol == inside.spoken_by_default {
            return;
        }
        if inside.spoken.len() == MOST_SPOKEN {
            inside.spoken.pop_front();
        }
        inside.spoken.push_back((revision, protocol));
    }

    /// Only these are there.
    pub(super) fn retain(&self, ids: BTreeSet<InstanceId>) {
        let mut inside = self.lock();
        let mut gone = Vec::new();
        inside.by_id.retain(|id, instance| {
            let stays = ids.contains(id);
            if !stays {
                gone.push(Arc::clone(instance));
            }
            stays
        });
        inside.known = Some(ids);
        drop(inside);
        gone.iter().for_each(|instance| instance.forget());
    }

    /// Closes the connections to an instance that have no request, and the others after theirs.
    pub(super) fn close(&self, id: InstanceId) {
        let mut inside = self.lock();
        let Some(instance) = inside.by_id.get_mut(&id) else { return };
        let anew = Arc::new(instance.anew());
        let gone = std::mem::replace(instance, anew);
        drop(inside);
        gone.forget();
    }

    /// Closes what has idled or lived too long. Where none idles any more, nobody need look again
    /// until [`Sweep::wanted`] says so.
    pub(super) fn sweep(&self, now: Instant) {
        // Before the look: a connection that is kept after it is said anew.
        self.sweep.is_wanted.store(false, Ordering::SeqCst);
        let all: Vec<_> = self.lock().by_id.values().map(Arc::clone).collect();
        all.iter().for_each(|instance| instance.sweep(now));
        if all.iter().any(|instance| instance.keeps_any()) {
            self.sweep.want();
        }
    }

    /// How requests to each went, and how many connections to it are open and idle.
    pub(super) fn read(&self) -> BTreeMap<InstanceId, (InstanceOutcomes, usize)> {
        let inside = self.lock();
        let seen = |instance: &Instance| (instance.outcomes.read(), instance.idle());
        inside.by_id.iter().map(|(id, instance)| (*id, seen(instance))).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instance {
    fn new(
        assignment: &Assignment,
        protocol: Protocol,
        (keep, sweep): (Keep, &Arc<Sweep>),
    ) -> Self {
        Self {
            id: assignment.instance,
            address: assignment.address.clone(),
            protocol,
            outcomes: Arc::default(),
            is_kept: AtomicBool::new(true),
            keep,
            sweep: Arc::clone(sweep),
            connections: Lock::new(Connections { idle: Idle::new(), shared: Vec::new() }),
            opening: Semaphore::new(1),
        }
    }

    /// The same instance without any connection.
    fn anew(&self) -> Self {
        Self {
            id: self.id,
            address: self.address.clone(),
            protocol: self.protocol,
            outcomes: Arc::clone(&self.outcomes),
            is_kept: AtomicBool::new(true),
            keep: self.keep,
            sweep: Arc::clone(&self.sweep),
            connections: Lock::new(Connections { idle: Idle::new(), shared: Vec::new() }),
            opening: Semaphore::new(1),
        }
    }

    /// An open connection that takes a request now.
    pub(super) fn take(&self, now: Instant) -> Option<Connection> {
        // Dropped after the lock was given back: closing a connection wakes whoever drives it.
        let mut dead = Vec::new();
        let mut connections = self.lock();
        if self.protocol == Protocol::Http1 {
            return connections.idle.pop(self.keep, now, &mut dead).map(Connection::Http1);
        }
        let usable = |connection: &Http2| {
            connection.is_open()
                && connection.has_room()
                && now.duration_since(connection.born) < self.keep.life
        };
        // Packed into the first with room, so that the others become idle and go.
        let (since, connection) = connections.shared.iter_mut().find(|(_, c)| usable(c))?;
        *since = now;
        Some(Connection::Http2(connection.share()))
    }

    /// The right to open a connection that many share, once it is this one's turn. Nothing where
    /// each request has a connection of its own.
    pub(super) async fn turn_to_open(&self) -> Option<SemaphorePermit<'_>> {
        match self.protocol {
            Protocol::H2c => self.opening.acquire().await.ok(),
            _ => None,
        }
    }

    /// Takes in a connection that was just opened; gives it back to be used.
    pub(super) fn opened(&self, connection: Connection) -> Connection {
        let Connection::Http2(connection) = connection else { return connection };
        let mut first = connection.share();
        first.is_reused = false;
        if self.is_kept.load(Ordering::Relaxed) {
            self.lock().shared.push((connection.born, connection));
            self.sweep.want();
        }
        Connection::Http2(first)
    }

    /// Takes back a connection whose response is finished.
    pub(super) fn give_back(&self, mut connection: Box<Http1>, now: Instant) {
        if !connection.is_reusable() || !self.is_kept.load(Ordering::Relaxed) {
            return;
        }
        connection.lie_down();
        let gone = self.lock().idle.push(connection, self.keep, now);
        self.sweep.want();
        drop(gone);
    }

    /// Lets go of all connections, now and from now on.
    fn forget(&self) {
        self.is_kept.store(false, Ordering::Relaxed);
        let mut connections = self.lock();
        let idle = connections.idle.take_all();
        let shared = std::mem::take(&mut connections.shared);
        drop(connections);
        drop((idle, shared));
    }

    fn sweep(&self, now: Instant) {
        let mut connections = self.lock();
        let idle = connections.idle.sweep(self.keep, now);
        let over = |(since, connection): &mut (Instant, Http2)| {
            !connection.is_open()
                || now.duration_since(connection.born) >= self.keep.life
                || (connection.is_unused() && now.duration_since(*since) >= self.keep.idle)
        };
        let shared: Vec<_> = connections.shared.extract_if(.., over).collect();
        drop(connections);
        drop((idle, shared));
    }

    fn keeps_any(&self) -> bool {
        let connections = self.lock();
        connections.idle.len() > 0 || !connections.shared.is_empty()
    }

    /// How many connections have no request.
    fn idle(&self) -> usize {
        let connections = self.lock();
        let unused = connections.shared.iter().filter(|(_, c)| c.is_unused()).count();
        connections.idle.len() + unused
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept for Box<Http1> {
    fn is_open(&mut self) -> bool {
        Http1::is_open(self)
    }

    fn born(&self) -> Instant {
        self.born
    }
}

/// Of how many revisions it is remembered what is spoken to them. A service has two at a time, and
/// some more while deployments overtake each other; one that comes back is said anew.
const MOST_SPOKEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_is_remembered_of_those_it_was_said_of_last() {
        let instances = Instances::new(Keep::default(), Protocol::Http1);
        for number in 1..=1_000 {
            instances.speak(RevisionNumber::new(number), Protocol::H2c);
            // As often as it is shown, the one that stays is said anew.
            instances.speak(RevisionNumber::FIRST, Protocol::H2c);
            instances.speak(RevisionNumber::new(2_000 + number), Protocol::Http1);
        }
        let spoken = std::mem::take(&mut instances.lock().spoken);
        assert_eq!(spoken.len(), MOST_SPOKEN);
        assert!(spoken.contains(&(RevisionNumber::FIRST, Protocol::H2c)));
        assert!(spoken.contains(&(RevisionNumber::new(1_000), Protocol::H2c)));
        instances.speak(RevisionNumber::FIRST, Protocol::H2c);
        instances.speak(RevisionNumber::FIRST, Protocol::Http1);
        assert!(instances.lock().spoken.is_empty(), "the default need not be remembered");
    }
}
