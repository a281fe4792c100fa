//! What survives a restart of the platform, and how it is found again.
//!
//! On record is what was decided, not what was seen: an instance that was ready is on record as
//! one that exists. After a restart a list says which of them do, and probes which of them may
//! serve. Requests that instances had are gone with the platform that held their connections, so
//! whatever was draining has nothing to wait for.

use std::collections::BTreeMap;

use super::{
    Aside, Effect, Found, Guard, Instance, Phase,
    plan::Hold,
    rollout::{Course, Stage},
    sides::Sides,
};
use crate::{
    backend::{Condition, Exit},
    id::{InstanceId, RevisionNumber},
    time::Timestamp,
};

impl Sides {
    /// What goes on record.
    pub(crate) fn durable(&self) -> Self {
        let mut record = self.clone();
        if !self.holds(Guard::NumbersAreDurable) {
            let newest = record.instances.keys().next_back().map_or(1, |id| id.number);
            record.next = Aside(newest.min(*self.next));
        }
        for (_, instance) in record.instances.iter_mut() {
            instance.phase = match instance.phase {
                Phase::Starting { .. } => Phase::Starting { asked: false },
                Phase::Draining | Phase::Stopping { .. } => Phase::Stopping { asked: false },
                Phase::Proving
                | Phase::Ready
                | Phase::Unwell
                | Phase::Freezing { .. }
                | Phase::Standby
                | Phase::Waking { .. }
                | Phase::Running
                | Phase::Adopting => Phase::Adopting,
            };
            instance.too_new_to_miss = false;
            // How long the platform was down is no part of what a start takes.
            instance.begun = Aside(None);
        }
        if let Course::Rolling(rollout) = &mut record.course {
            // Where blue stands as it was, proving green again costs time and nothing else. Where
            // it was replaced in part, green goes on serving until blue is back.
            let whole = self.share() >= self.needed();
            let again = match rollout.stage {
                // In place there is nothing of green before the word.
                Stage::Holding => !rollout.in_place,
                Stage::Baking => true,
                Stage::Shifting { .. } => whole,
                _ => false,
            };
            if again {
                rollout.stage = Stage::Provisioning;
                rollout.passed = false;
            }
        }
        record.listing.awaited = false;
        record.listing.again = false;
        record
    }

    /// Goes on after a restart, from what was on record.
    pub(crate) fn resume(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let from = effects.len();
        for (_, instance) in self.instances.iter_mut() {
            instance.since = Aside(now);
        }
        self.rollout_mut(|rollout| rollout.since = Aside(now));
        let stopping: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, one)| one.phase == Phase::Stopping { asked: false })
            .map(|(id, _)| *id)
            .collect();
        for id in stopping {
            match self.holds(Guard::StopAgainAfterRestart) {
                true => self.stop(id, now, effects),
                false => self.instances.remove(&id),
            }
        }
        self.look(now, effects);
        self.settle(from, now, effects);
    }

    /// From now on the values of a revision's secrets are in memory, or are not: without them
    /// nothing of it is started.
    pub(crate) fn set_values(&mut self, revision: RevisionNumber, known: bool) {
        if let Some(side) = self.side_mut(revision) {
            match known {
                true if side.pace.hold == Some(Hold::Values) => side.pace.hold = None,
                true => {}
                false => side.pace.hold = Some(Hold::Values),
            }
        }
    }

    /// Asks what is there.
    pub(super) fn look(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.listing.awaited {
            *self.listing.number += 1;
            self.listing.awaited = true;
            self.listing.since = Aside(now);
            effects.push(Effect::List(*self.listing.number));
        }
    }

    /// A hint: looks, or looks once more after the list that is under way.
    pub(super) fn changed(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.listing.awaited {
            true => self.listing.again = true,
            false => self.look(now, effects),
        }
    }

    pub(super) fn list_failed(&mut self, asked: u64, now: Timestamp) {
        if self.listing.awaited && asked == *self.listing.number && self.holds(Guard::ListAgain) {
            self.listing.awaited = false;
            self.listing.since = Aside(now);
        }
    }

    /// Compares what is there with what should be.
    pub(super) fn listed(
        &mut self,
        asked: u64,
        mut found: BTreeMap<InstanceId, Found>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if !self.listing.awaited || asked != *self.listing.number {
            return;
        }
        self.listing.awaited = false;
        self.listing.since = Aside(now);
        let ids: Vec<_> = self.instances.keys().copied().collect();
        for id in ids {
            match found.remove(&id) {
                Some(Found { condition: Condition::Ended(exit), .. }) => {
                    self.ended(id, exit, now, effects);
                }
                Some(Found { condition, address }) => {
                    self.found(id, condition == Condition::Frozen, address, now, effects);
                }
                None => self.missed(id, now, effects),
            }
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.too_new_to_miss = false;
            }
        }
        for (id, Found { condition, .. }) in found {
            *self.next = (*self.next).max(id.number + 1);
            // What ended is only remembered, for people: nothing is left to stop, and no start
            // brings it back.
            if !matches!(condition, Condition::Ended(_)) {
                self.nobodys(id, now, effects);
            }
        }
        if std::mem::take(&mut self.listing.again) {
            self.look(now, effects);
        }
    }

    /// (Adopting | Starting) => (Running | Proving | Waking): probed, and only then trusted.
    fn found(
        &mut self,
        id: InstanceId,
        frozen: bool,
        address: Option<crate::address::Address>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        // What was being started when the platform died may have been: then nothing is left to ask.
        let lost_sight =
            matches!(self.phase(id), Some(Phase::Adopting | Phase::Starting { asked: false }));
        if !lost_sight {
            return;
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.address = Aside(address.or_else(|| instance.address.0.clone()));
        }
        if self.job() == Some(id) {
            self.set(id, Phase::Running, now);
        } else if frozen {
            self.set(id, Phase::Waking { proven: false }, now);
            effects.push(Effect::Thaw(id));
        } else {
            let trusted = !self.holds(Guard::ProbeBeforeTrust);
            self.set(id, if trusted { Phase::Ready } else { Phase::Proving }, now);
            effects.push(Effect::Probe(id));
        }
    }

    /// It is not there. That means death only where it had to be: its start was acknowledged
    /// before the list was asked for.
    fn missed(&mut self, id: InstanceId, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(instance) = self.instances.get(&id) else { return };
        let too_new = instance.too_new_to_miss || matches!(instance.phase, Phase::Starting { .. });
        if too_new && self.holds(Guard::AbsenceAfterAcknowledgement) {
            return;
        }
        match instance.phase {
            // Whoever stops it says when it is gone.
            Phase::Stopping { .. } => {}
            _ if self.job() == Some(id) => {
                self.instances.remove(&id);
                self.job_is_lost(id, now, effects);
            }
            _ => self.ended(id, Exit::unknown(), now, effects),
        }
    }

    /// It is there, and nobody here knows it any more: it is stopped (once more).
    fn nobodys(&mut self, id: InstanceId, now: Timestamp, effects: &mut Vec<Effect>) {
        let instance = Instance::new(RevisionNumber::FIRST, Phase::Stopping { asked: true }, now);
        self.instances.insert(id, instance);
        self.stop(id, now, effects);
    }
}
