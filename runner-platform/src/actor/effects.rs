//! What the machine wants done, and doing it.

use runner_core::{
    admission::Snapshot,
    deployment::{self, Effect as Fleet, Phase},
    id::InstanceId,
    journal::HistoryEntry,
    service::{Effect, Event},
    spec::CapSetting,
    time::Timestamp,
};
use runner_health::verdict::Verdict;

use super::Actor;
use crate::{events::Happening, path::time_limits, queue};

impl Actor {
    /// Does what waits for nothing.
    pub(super) fn act(&mut self, effect: Effect, now: Timestamp) {
        match effect {
            Effect::Fleet(Fleet::Publish(snapshot)) => self.publish(snapshot, now),
            Effect::Fleet(Fleet::List(asked)) => self.ask_for_list(asked),
            Effect::Fleet(Fleet::Probe(instance)) => self.probe(instance),
            Effect::Fleet(Fleet::Drain { instance, asked }) => self.drain(instance, asked),
            Effect::Fleet(Fleet::Freeze(instance)) => {
                self.monitor.freeze(instance);
                self.freeze(instance);
            }
            Effect::Fleet(Fleet::Thaw(instance)) => self.thaw(instance),
            Effect::Resolve(revision) => self.resolve(revision),
            Effect::Fleet(Fleet::Note(_)) | Effect::Note(_) => {
                if let Some(entry) = self.entry_of(&effect, now) {
                    self.outbox.note(entry);
                }
                self.tell(&effect, now);
            }
            // All others are durable.
            effect => self.outbox.push(effect),
        }
    }

    /// Does what was committed.
    pub(super) fn carry_out(&mut self, effect: Effect, now: Timestamp) {
        match effect {
            Effect::Fleet(Fleet::Start { instance, revision, job }) => {
                self.start(instance, revision, job, now);
            }
            Effect::Fleet(Fleet::Stop { instance }) => {
                self.monitor.remove(instance);
                self.draining.remove(&instance);
                self.starting.remove(&instance);
                self.give_up_turn(instance);
                self.stop(instance);
            }
            // Being on record is all there is to it.
            Effect::Fleet(Fleet::Promote(_)) | Effect::Accepted(..) => {}
            Effect::Finished(finished) => {
                self.shared.with(|registry| {
                    registry.operations.end(finished.operation, &finished.result);
                });
                // A first revision that is not to be had is not waited for any more.
                if self.has_no_side() {
                    self.publish(self.machine.snapshot(), now);
                }
            }
            Effect::Retire => self.retire(),
            effect => self.act(effect, now),
        }
    }

    /// Requests see this from now on.
    pub(super) fn publish(&mut self, snapshot: Snapshot, now: Timestamp) {
        let snapshot = match self.has_no_side() && self.machine.operation().is_some() {
            true => queue::being_resolved(snapshot, self.machine.settings()),
            false => snapshot,
        };
        let snapshot = self.capped(snapshot);
        if self.published.as_ref() != Some(&snapshot) {
            self.show(&snapshot, now);
            self.published = Some(snapshot);
            self.look.stir(now);
        }
        // What has left the fleet is asked nothing any more, however it left.
        let gone = self.look.forget_gone(self.machine.instances(), now);
        for instance in gone {
            self.monitor.remove(instance);
            self.starting.remove(&instance);
            self.give_up_turn(instance);
        }
        let instances = self.machine.instances();
        self.starting.retain(|instance, _| {
            let phase = instances.get(instance).map(|one| one.phase);
            matches!(phase, Some(Phase::Starting { .. } | Phase::Proving))
        });
    }

    /// Shows requests a snapshot that is another than before.
    fn show(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let accepts =
            |id: InstanceId| snapshot.instances.iter().any(|one| one.id == id && one.accepting);
        self.draining.retain(|instance, _| !accepts(*instance));
        let settings = self.machine.settings();
        let snapshot = queue::by_clock(snapshot.clone(), now, self.way.pool.now());
        if let Some(settings) = self.look.queue_settings(&snapshot, settings) {
            self.way.pool.configure(settings);
        }
        for one in &snapshot.instances {
            if let Some(spec) = self.machine.revision(one.revision) {
                self.way.forward.speak(one.revision, spec.protocol());
            }
        }
        let there: Vec<_> = snapshot.instances.iter().map(|one| one.id).collect();
        self.way.book.serve_by(&snapshot);
        self.way.pool.apply(snapshot);
        self.way.forward.retain(there);
    }

    fn has_no_side(&self) -> bool {
        self.machine.live().is_none() && self.machine.green().is_none()
    }

    fn probe(&mut self, instance: InstanceId) {
        let Some(one) = self.machine.instances().get(&instance) else { return };
        let (Some(address), revision) = (one.address.0.clone(), one.revision) else { return };
        // One whose start was not answered is known from a list.
        self.is_there(instance);
        match self.monitor.verdict(instance) {
            // It may serve already, which is not said twice.
            Some(Verdict::Ready) => {
                self.became_ready(instance);
            }
            Some(Verdict::Frozen) => self.monitor.thaw(instance),
            Some(_) => {}
            None => {
                if let Some(plan) = self.plan_of(revision) {
                    self.monitor.add(instance, address, plan);
                }
            }
        }
    }

    fn drain(&mut self, instance: InstanceId, asked: u64) {
        // It left the snapshot before this was asked. What has no request is not told again.
        match self.way.pool.leases_of(instance) {
            0 => self.queue.push_back(deployment::Event::Drained { instance, asked }.into()),
            _ => _ = self.draining.insert(instance, asked),
        }
    }

    /// New settings reach the policy and the queue with the command that brought them.
    pub(super) fn apply_settings(&mut self, now: Timestamp) {
        let standby = self.shared.capabilities.standby;
        self.look.apply(&self.shared, self.machine.settings(), standby, now);
        if let Some(settings) =
            self.look.queue_settings(&self.machine.snapshot(), self.machine.settings())
        {
            self.way.pool.configure(settings);
        }
        // The machine publishes what it changes, and knows of a cap nothing but its upper bound.
        if matches!(self.machine.settings().scaling().cap, CapSetting::Auto { .. }) {
            self.publish(self.machine.snapshot(), now);
        }
        let settings = self.machine.settings();
        self.way.book.change(settings);
        self.way.forward.set_limits(time_limits(settings.limits()));
        if self.routed.as_ref() == Some(settings.routing()) {
            return;
        }
        self.routed = Some(settings.routing().clone());
        self.route(now);
        // What it gave back, others may have waited for.
        self.shared.rerouted(&self.name);
    }

    /// Leads its routes to it. One that was free when the command was accepted may be somebody
    /// else's by now, who was faster: then it has the others, and tries again when routes change.
    pub(super) fn route(&mut self, now: Timestamp) {
        // Before: one that is given back in between is not missed.
        self.shared.with(|registry| registry.unrouted.insert(self.name.clone()));
        let taken = self.shared.paths.publish(&self.name, self.machine.settings(), &self.way);
        let taken: Vec<_> = taken.iter().map(ToString::to_string).collect();
        for one in taken.iter().filter(|one| !self.unrouted.contains(one)) {
            tracing::warn!(service = %self.name, "{one}");
            self.say("RouteTaken", one.clone(), now);
        }
        self.lack_routes(taken);
    }

    pub(super) fn lack_routes(&mut self, taken: Vec<String>) {
        self.shared.with(|registry| match taken.is_empty() {
            true => registry.unrouted.remove(&self.name),
            false => registry.unrouted.insert(self.name.clone()),
        });
        self.unrouted = taken;
    }

    /// What an effect says for people.
    pub(super) fn entry_of(&self, effect: &Effect, now: Timestamp) -> Option<HistoryEntry> {
        let (code, message) = words_of(effect)?;
        let service = self.machine.id();
        Some(HistoryEntry { service, at: now, code: code.to_owned(), message })
    }

    pub(super) fn tell(&self, effect: &Effect, now: Timestamp) {
        let Some((code, message)) = words_of(effect) else { return };
        tracing::info!(service = %self.name, code, "{message}");
        self.say(code, message, now);
    }

    pub(super) fn say(&self, code: &'static str, message: String, at: Timestamp) {
        // Nobody need watch.
        let _ =
            self.shared.events.send(Happening { service: self.name.clone(), at, code, message });
    }

    pub(super) fn tell_machine(&mut self, event: impl Into<Event>) {
        self.queue.push_back(event.into());
    }
}

fn words_of(effect: &Effect) -> Option<(&'static str, String)> {
    match effect {
        Effect::Fleet(Fleet::Note(notice)) => Some((notice.code(), notice.to_string())),
        Effect::Note(notice) => Some((notice.code(), notice.to_string())),
        _ => None,
    }
}
