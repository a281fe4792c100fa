//! How many instances each side should have, and what it takes to get there: pure leaves.

use super::instance::Count;

/// How many instances a revision should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// So many.
    Exactly(u32),
    /// So many, and those that serve beyond them stay.
    AtLeast(u32),
    /// No more than so many, and no new ones.
    AtMost(u32),
    /// As many as there are: none is replaced, none is given up.
    Keep,
}

/// What it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    pub(crate) start: u32,
    pub(crate) drop_pending: u32,
    pub(crate) drop_unwell: u32,
    pub(crate) drop_capacity: u32,
    pub(crate) wake: u32,
}

/// What it takes to get from what there is to what there should be.
///
/// What fails its probes is kept until a replacement has passed, and replaced one at a time: when
/// all fail at once the fault is rarely theirs, and a fleet that replaces itself as a whole makes a
/// slow database an outage.
pub(crate) fn moves(count: Count, target: Target, active: u32) -> Moves {
    let wanted = match target {
        Target::Keep => return Moves::default(),
        Target::AtMost(most) => {
            let moves = moves(count, Target::Exactly(most), active);
            // Nothing replaces what fails, so it is no reason to give up what may come.
            let pending = most.saturating_sub(count.capacity());
            let drop_pending = count.pending.saturating_sub(pending);
            return Moves { start: 0, drop_pending, ..moves };
        }
        Target::Exactly(wanted) => wanted,
        Target::AtLeast(wanted) => wanted.max(count.capacity()),
    };
    let missing = wanted.saturating_sub(count.capacity());
    let pending = match count.unwell {
        0 => missing,
        _ if missing == 0 => 0,
        unwell => missing.saturating_sub(unwell).max(1),
    };
    Moves {
        start: pending.saturating_sub(count.pending),
        drop_pending: count.pending.saturating_sub(pending),
        drop_unwell: count.unwell.saturating_sub(missing),
        drop_capacity: count.capacity().saturating_sub(wanted),
        wake: active
            .min(wanted)
            .saturating_sub(count.ready + count.waking + count.pending)
            .min(count.standby),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(ready: u32, pending: u32, unwell: u32) -> Count {
        Count { ready, pending, unwell, ..Count::default() }
    }

    #[test]
    fn what_is_missing_is_started_and_what_is_too_much_is_dropped() {
        for (count, target, start, pending, unwell, capacity) in [
            (count(0, 0, 0), Target::Exactly(3), 3, 0, 0, 0),
            (count(1, 1, 0), Target::Exactly(3), 1, 0, 0, 0),
            (count(3, 1, 0), Target::Exactly(3), 0, 1, 0, 0),
            (count(3, 0, 0), Target::Exactly(1), 0, 0, 0, 2),
            (count(3, 0, 0), Target::AtLeast(1), 0, 0, 0, 0),
            (count(1, 2, 0), Target::AtLeast(1), 0, 2, 0, 0),
            (count(1, 0, 0), Target::Keep, 0, 0, 0, 0),
            (count(3, 1, 1), Target::AtMost(2), 0, 1, 1, 1),
            (count(1, 2, 1), Target::AtMost(2), 0, 1, 0, 0),
            (count(1, 0, 0), Target::AtMost(3), 0, 0, 0, 0),
            // All fail at once: one is replaced at a time.
            (count(0, 0, 3), Target::Exactly(3), 1, 0, 0, 0),
            (count(0, 1, 3), Target::Exactly(3), 0, 0, 0, 0),
            (count(1, 0, 3), Target::Exactly(3), 1, 0, 1, 0),
            (count(2, 0, 1), Target::Exactly(3), 1, 0, 0, 0),
            (count(3, 0, 1), Target::Exactly(3), 0, 0, 1, 0),
            (count(0, 1, 2), Target::Exactly(0), 0, 1, 2, 0),
        ] {
            let expected = Moves {
                start,
                drop_pending: pending,
                drop_unwell: unwell,
                drop_capacity: capacity,
                wake: 0,
            };
            assert_eq!(moves(count, target, 0), expected, "{count:?} {target:?}");
        }
    }

    #[test]
    fn as_many_are_awake_as_must_be() {
        let asleep = Count { standby: 3, ..Count::default() };
        assert_eq!(moves(asleep, Target::Exactly(3), 2).wake, 2);
        assert_eq!(moves(Count { waking: 1, ..asleep }, Target::Exactly(4), 2).wake, 1);
        assert_eq!(moves(asleep, Target::Exactly(3), 0).wake, 0);
    }
}
