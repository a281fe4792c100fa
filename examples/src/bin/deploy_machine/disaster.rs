//! `--break`: the shortest way to disaster without a guard.
//!
//! A small search of its own, nearest first, over a deployment by itself and a world that answers
//! in any order; the whole exploration is in `runner-core/tests/explore.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::Write as _,
    sync::Arc,
};

use runner_core::{
    address::Address,
    deployment::{Deployment, Effect, Event, Phase, Plan, Policy, Shift, Side, Stage, Timer},
    id::{InstanceId, RevisionNumber, ServiceId},
    spec::ServiceSpec,
    testing::machine::{self, Guard},
    time::Timestamp,
};

/// Looks for the nearest broken promise and tells the way to it.
pub(crate) fn show(name: &str, story: &mut Vec<u8>) -> Result<(), String> {
    let guard = Guard::named(name).ok_or_else(|| {
        let names: Vec<_> = Guard::ALL.into_iter().map(Guard::name).collect();
        format!("no guard is named {name}; there are {}", names.join(", "))
    })?;
    let _ = writeln!(story, "without {name}:");
    let mut open = VecDeque::from([begin(guard)?]);
    let mut seen = BTreeSet::new();
    while let Some(state) = open.pop_front() {
        for event in state.events() {
            let mut next = state.clone();
            let broken = next.take(event);
            if let Some(promise) = broken {
                for (number, step) in (1..).zip(&next.way) {
                    let _ = writeln!(story, "{number:>3}. {step}");
                }
                let _ = writeln!(story, "broken: {promise}");
                return Ok(());
            }
            if next.way.len() < FAR && seen.insert(next.print()) {
                open.push_back(next);
            }
        }
    }
    Err(format!(
        "nothing breaks within {FAR} steps of one deployment alone; this guard is for restarts, \
         faults or the service around it: GUARD={name} cargo test --release -p runner-core \
         --test explore left_out -- --nocapture"
    ))
}

/// As far as one looks.
const FAR: usize = 9;

#[derive(Clone)]
struct State {
    deployment: Deployment,
    /// Instances that may have requests.
    leased: BTreeSet<InstanceId>,
    /// Answers that are owed.
    owed: BTreeMap<(InstanceId, u8), Event>,
    way: Vec<String>,
}

fn begin(guard: Guard) -> Result<State, String> {
    let spec = ServiceSpec::command(["./hello"]).between(1, 4).check("hello");
    let spec = spec.map_err(|faults| faults.to_string())?.value;
    let service = ServiceId::from_random(7);
    let mut policy = Policy::new(spec.settings(), false);
    if guard == Guard::EmptyBeforeInPlace {
        policy.shift = Shift::InPlace;
    }
    let side = |number| Side::new(RevisionNumber::new(number), spec.revision());
    let blue = [(service.instance(1), Address::Memory("1".into()))].into();
    let desired = u32::from(guard != Guard::ProveOneAtZero);
    let plan = Plan {
        service,
        policy: Arc::new(policy),
        blue: Some((side(1), blue)),
        green: side(2),
        desired,
        next_instance: 2,
    };
    let (deployment, effects) = machine::deployment_without(guard, plan, Timestamp::EPOCH);
    let mut state =
        State { deployment, leased: BTreeSet::new(), owed: BTreeMap::new(), way: Vec::new() };
    let _ = state.carry_out(effects);
    Ok(state)
}

impl State {
    fn events(&self) -> Vec<Event> {
        let timers = self.deployment.timers().into_iter().map(|(timer, _)| timer);
        let baked = timers.filter(|timer| {
            *timer == Timer::Stage && self.deployment.stage() == Some(Stage::Baking)
        });
        let scaled = [Event::Desired(0), Event::Desired(2)];
        self.owed.values().cloned().chain(baked.map(Event::Due)).chain(scaled).collect()
    }

    fn take(&mut self, event: Event) -> Option<&'static str> {
        self.way.push(format!("{event:?}"));
        self.owed.retain(|_, owed| *owed != event);
        if let Event::Drained { instance: id, .. } | Event::Stopped(id) = event {
            self.leased.remove(&id);
        }
        let effects = self.deployment.handle(event, Timestamp::EPOCH);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Option<&'static str> {
        for effect in effects {
            match effect {
                Effect::Start { instance, .. } => {
                    let address = Address::Memory(instance.number.to_string().into());
                    self.owed.insert((instance, 0), Event::Started(instance, Some(address)));
                }
                Effect::Probe(id) => _ = self.owed.insert((id, 1), Event::BecameReady(id)),
                Effect::Drain { instance, asked } => {
                    let drained = Event::Drained { instance, asked };
                    _ = self.owed.insert((instance, 2), drained);
                }
                Effect::Stop { instance } => {
                    if self.leased.contains(&instance) {
                        return Some("nothing is stopped before its requests are finished");
                    }
                    self.owed.remove(&(instance, 1));
                    self.owed.insert((instance, 3), Event::Stopped(instance));
                }
                Effect::Promote(revision) => {
                    let ready = self.ready(revision);
                    if ready == 0 {
                        return Some("only a revision that passed is promoted");
                    }
                }
                Effect::Conclude(_) => {
                    let revisions: BTreeSet<_> =
                        self.deployment.instances().values().map(|one| one.revision).collect();
                    if revisions.len() > 1 {
                        return Some("what is over leaves nothing of the other side");
                    }
                }
                Effect::Publish(snapshot) => {
                    let before = self.leased.len();
                    let accepts = snapshot.instances.iter().filter(|one| one.accepting);
                    let accepts: Vec<_> = accepts.map(|one| one.id).collect();
                    self.leased.extend(&accepts);
                    let wanted = self.deployment.snapshot().closed.is_none() && before > 0;
                    let serving = self.deployment.stage().is_some();
                    if wanted && serving && accepts.is_empty() && self.alone() {
                        return Some("capacity that passed is never given up for what has not");
                    }
                }
                Effect::List(_) | Effect::Freeze(_) | Effect::Thaw(_) | Effect::Note(_) => {}
            }
        }
        let running = self.deployment.instances().values();
        let running = running.filter(|one| !matches!(one.phase, Phase::Starting { .. }));
        let revisions: BTreeSet<_> = running.map(|one| one.revision).collect();
        let in_place = self.deployment.stage() == Some(Stage::Provisioning) && self.is_in_place();
        (in_place && revisions.len() > 1).then_some("in place, no revision runs beside another")
    }

    fn ready(&self, revision: RevisionNumber) -> usize {
        let all = self.deployment.instances().values();
        all.filter(|one| one.revision == revision && one.phase == Phase::Ready).count()
    }

    /// Whether blue could still serve, since nobody asked for fewer.
    fn alone(&self) -> bool {
        !self.is_in_place() && self.ready(RevisionNumber::FIRST) > 0
    }

    fn is_in_place(&self) -> bool {
        self.deployment.is_in_place()
    }

    fn print(&self) -> String {
        let phases: Vec<_> = self
            .deployment
            .instances()
            .iter()
            .map(|(id, one)| (id.number, one.revision, one.phase))
            .collect();
        format!("{phases:?} {:?} {:?} {:?}", self.deployment.stage(), self.leased, self.owed.keys())
    }
}
