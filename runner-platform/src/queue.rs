//! What the queue of a service is told, from what its machine says and its settings.

use runner_core::{
    admission::{Attainable, QueueSettings, Snapshot},
    spec::{ServiceSettings, WaitingBound},
    time::Timestamp,
};

use crate::path::rules::weights;

/// A snapshot with its times by the queue's clock: the two differ where the host's clock was set
/// between their starts.
pub(crate) fn by_clock(mut snapshot: Snapshot, now: Timestamp, there: Timestamp) -> Snapshot {
    let moved = |at: Timestamp| match at >= now {
        true => there + at.since(now),
        false => there - now.since(at),
    };
    for expected in &mut snapshot.expected {
        expected.at = expected.at.map(moved);
    }
    for ramp in snapshot.instances.iter_mut().filter_map(|one| one.ramp.as_mut()) {
        ramp.since = moved(ramp.since);
    }
    snapshot
}

/// How long and how many may wait. While nothing is ready requests are held for as long as the
/// settings say for a start, and as many more as one instance would have: the bound that follows
/// from cap and maximum counts on one that is there.
pub(crate) fn settings(snapshot: &Snapshot, settings: &ServiceSettings) -> QueueSettings {
    let overflow = settings.overflow();
    let ready = snapshot.instances.iter().any(|one| one.accepting);
    let max_wait = match ready {
        true => overflow.max_wait,
        false => overflow.max_wait.max(overflow.hold_while_starting),
    };
    let most = match overflow.max_waiting {
        WaitingBound::Derived(most) if !ready => {
            most.number().saturating_add(settings.scaling().cap.upper().number())
        }
        bound => bound.count().number(),
    };
    let mut queue = QueueSettings::new(most, max_wait);
    queue.key_weights = weights(overflow.fairness.as_ref());
    queue
}

/// What requests see before a service's machine has said anything: they wait.
pub(crate) fn unknown(settings: &ServiceSettings) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.attainable = all(settings);
    snapshot
}

/// What requests see while the first revision is looked up: an image that is pulled for a minute is
/// no reason to refuse who could wait for it. The machine has no side yet, so it promises nothing.
pub(crate) fn being_resolved(mut snapshot: Snapshot, settings: &ServiceSettings) -> Snapshot {
    if snapshot.closed.is_none() {
        snapshot.attainable = all(settings);
    }
    snapshot
}

/// A snapshot with a cap that was found, in the place of the upper bound that it was made with.
pub(crate) fn with_cap(mut snapshot: Snapshot, cap: u32, upper: u32) -> Snapshot {
    let scaled = |slots: u32| {
        let scaled = u64::from(slots) * u64::from(cap) / u64::from(upper.max(1));
        u32::try_from(scaled).unwrap_or(u32::MAX)
    };
    for one in &mut snapshot.instances {
        one.cap = cap;
    }
    for expected in &mut snapshot.expected {
        expected.slots = scaled(expected.slots);
    }
    if let Attainable::Slots { count, .. } = &mut snapshot.attainable {
        *count = scaled(*count);
    }
    snapshot
}

/// As many slots as the service may ever have, at a time that nobody knows.
fn all(settings: &ServiceSettings) -> Attainable {
    let (cap, most) = (settings.scaling().cap.upper(), settings.scaling().largest_maximum());
    Attainable::Slots { count: cap.number().saturating_mul(most.number()), after: None }
}

#[cfg(test)]
mod tests {
    use runner_core::admission::Expected;

    use super::*;

    #[test]
    fn times_keep_their_distance_from_now() {
        let at = Timestamp::from_secs;
        let mut snapshot = Snapshot::default();
        let expected = [Some(at(103)), Some(at(98)), None];
        snapshot.expected = expected.map(|at| Expected { slots: 1, at }).to_vec();
        let moved = by_clock(snapshot, at(100), at(5_000));
        let times: Vec<_> = moved.expected.iter().map(|one| one.at).collect();
        assert_eq!(times, [Some(at(5_003)), Some(at(4_998)), None]);
    }
}
