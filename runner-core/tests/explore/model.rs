//! The model: what can happen to the service machine, and what must hold.

use std::hash::Hash;

use runner_core::{
    deployment::{self, Phase},
    id::{InstanceId, OperationId, RevisionNumber},
    service::{self, Command, Kind, Service, Status},
    testing::{
        explorer::{Allowance, Fingerprinter, Model, Progress, Reliance},
        machine,
    },
    time::Timestamp,
};

use super::{
    choices, durability, happens, offers,
    ordered::{Map, Revisions},
    properties,
    scope::{Order, Scope, Way},
    world::{Allowances, Disk, Echo, Is, Thing, World},
};

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// The journal has committed the state as it is; what waited for it is carried out.
    Commit,
    /// The platform dies and comes back; the calls that were under way took effect, or did not.
    Crash {
        kept: bool,
    },
    Started(InstanceId),
    StartFailed {
        id: InstanceId,
        exists: bool,
    },
    StartExhausted(InstanceId),
    /// The backend is full, for good.
    NoRoom(InstanceId),
    Stopped(InstanceId),
    StopFailed(InstanceId),
    Passed(InstanceId),
    Failed(InstanceId),
    Hung(InstanceId),
    Drained(InstanceId),
    Died(InstanceId),
    Noticed,
    JobDone(InstanceId),
    JobFailed(InstanceId),
    Listed,
    ListFailed,
    Froze(InstanceId),
    FreezeFailed(InstanceId),
    Thawed(InstanceId),
    ThawFailed(InstanceId),
    Idle(InstanceId),
    Demand,
    Scale(u32),
    Timer(service::Timer),
    /// A deadline that runs out before the answer that it waits for.
    Late(service::Timer),
    Resolved(RevisionNumber),
    Missing(RevisionNumber),
    Unavailable(RevisionNumber),
    /// What could not be had a moment ago cannot be had yet.
    StillUnavailable(RevisionNumber),
    Worse,
    Approve,
    Order(Order),
    /// An answer that will come once more.
    Twice(Echo),
    /// It comes once more.
    Again,
    /// An answer that overtakes another, or comes when nobody waits for it any more.
    Overtaking(Echo),
    /// Something happens, and of instances that are alike to the machine these go first where some
    /// have to go.
    Choosing {
        first: Vec<InstanceId>,
        action: Box<Self>,
    },
}

/// What the machine wants, as far as the world cares.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Start {
        id: InstanceId,
        revision: RevisionNumber,
        job: bool,
    },
    Stop(InstanceId),
    Promote(RevisionNumber),
    Accepted(OperationId, Kind),
    Finished {
        operation: OperationId,
        ending: End,
    },
    Retire,
    /// Who gets newcomers from now on.
    Publish(Vec<(InstanceId, RevisionNumber)>),
    List(u64),
    Probe(InstanceId),
    Drain(InstanceId, u64),
    Freeze(InstanceId),
    Thaw(InstanceId),
    Resolve(RevisionNumber),
}

/// How an operation ended, as far as it says what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Well,
    RolledBack,
    Superseded,
    /// Something that was never begun, or has nothing to go back to.
    Failed,
}

pub(crate) const NOW: Timestamp = Timestamp::EPOCH;

impl Model for Scope {
    type Machine = Service;
    type World = World;
    type Action = Action;
    type Effect = Effect;

    fn initial(&self) -> (Service, World) {
        let mut world = World {
            things: Map::new(),
            list: None,
            unnoticed: false,
            resolving: Revisions::default(),
            passed: Revisions::default(),
            promoted: Revisions::default(),
            superseded: Revisions::default(),
            waiting: Vec::new(),
            disk: None,
            born: false,
            open: Map::new(),
            highest: 0,
            left: if self.begun.is_empty() { self.allowed } else { Allowances::default() },
            echo: None,
            commands: 1,
            retired: false,
            gone: false,
            outlasted: false,
            refused: false,
        };
        let operation = Self::operation(0);
        let (mut service, wanted) = machine::create(
            self.without,
            Self::SERVICE,
            operation,
            &self.spec(),
            self.standby,
            NOW,
        );
        let mut effects = Vec::new();
        durability::route(wanted, &mut world, &mut effects);
        self.perform_all(&mut world, effects);
        if !self.begun.is_empty() {
            for order in self.begun {
                self.bring_to_rest(&mut service, &mut world);
                world.left = Allowances { commands: 1, ..Allowances::default() };
                let mut effects = Vec::new();
                self.step(&mut service, &mut world, &Action::Order(*order), &mut effects);
                self.perform_all(&mut world, effects);
            }
            world.left = self.allowed;
            world.born = true;
            if self.lag {
                world.disk = Some(Disk::new(service.clone()));
            }
        }
        (service, world)
    }

    fn actions(&self, service: &Service, world: &World, actions: &mut Vec<Action>) {
        if world.owes_commit() {
            actions.push(Action::Commit);
        }
        if world.left.crashes > 0 && world.born {
            actions.push(Action::Crash { kept: true });
            if world.calls() > 0 {
                actions.push(Action::Crash { kept: false });
            }
        }
        // What is committed late is seen by nobody but a crash: in between nothing else happens.
        if !world.owes_commit() {
            offers::answers(self, service, world, actions);
            if world.calls() <= 2 {
                offers::chances(self, service, world, actions);
            }
        }
        choices::add(self, service, world, actions);
    }

    fn step(
        &self,
        service: &mut Service,
        world: &mut World,
        action: &Action,
        effects: &mut Vec<Effect>,
    ) {
        let keeps = !self.lag && world.left.crashes > 0 && !world.owes_commit() && world.born;
        let before = keeps.then(|| service.clone());
        world.outlasted = service.stage() == Some(deployment::Stage::TurningBack)
            && (world.outlasted || action.ends_a_stage());
        world.refused = action.refuses();
        match action {
            Action::Choosing { first, action } => {
                choices::choosing(first, action, service, world, |service, world| {
                    self.act(action, service, world, effects);
                });
            }
            action => self.act(action, service, world, effects),
        }
        if let Some(before) = before
            && world.owes_commit()
        {
            world.disk = Some(Disk::new(before));
        }
        let kind = service.operation().map(|(_, kind)| kind);
        world.gone &= kind == Some(Kind::ResumeService);
        durability::forget(service, world);
    }

    fn perform(&self, world: &mut World, effect: Effect) {
        match effect {
            Effect::Start { id, revision, job } => {
                let thing = world.things.get_or_insert_with(id, || Thing::new(revision, job));
                thing.start_called = true;
                world.highest = world.highest.max(id.number);
            }
            Effect::Stop(id) => {
                let gone = || Thing { is: Is::Stopped, ..Thing::new(RevisionNumber::FIRST, false) };
                let thing = world.things.get_or_insert_with(id, gone);
                thing.stop_called = true;
                thing.probed = false;
                thing.drains = false;
            }
            Effect::Promote(revision) => {
                world.promoted.insert(revision);
            }
            Effect::Accepted(operation, kind) => {
                world.open.insert(operation, kind);
            }
            Effect::Finished { operation, ending } => {
                world.open.remove(&operation);
                if ending == End::Superseded {
                    world.superseded = world.left_behind();
                }
            }
            Effect::Retire => world.retired = true,
            Effect::Publish(accepting) => {
                for (_, revision) in &accepting {
                    world.passed.insert(*revision);
                }
                for (id, thing) in world.things.iter_mut() {
                    thing.accepting = accepting.iter().any(|(accepts, _)| accepts == id);
                    thing.leased |= thing.accepting;
                }
            }
            Effect::List(number) => {
                let there = world.things.iter().filter(|(_, thing)| thing.exists());
                let seen = match world.left.reorders {
                    0 => Vec::new(),
                    _ => there.map(|(id, _)| *id).collect(),
                };
                world.list = Some((number, seen));
            }
            Effect::Probe(id) => world.thing(id).probed = true,
            Effect::Drain(id, asked) => {
                world.thing(id).drains = true;
                world.thing(id).asked = asked;
            }
            Effect::Freeze(id) => {
                world.thing(id).freeze_called = true;
                world.thing(id).probed = false;
            }
            Effect::Thaw(id) => world.thing(id).thaw_called = true,
            Effect::Resolve(revision) => {
                world.resolving.insert(revision);
            }
        }
    }

    fn check(
        &self,
        service: &Service,
        world: &World,
    ) -> Result<(), runner_core::testing::explorer::Violation> {
        properties::of_state(self, service, world)
    }

    fn check_effect(
        &self,
        service: &Service,
        world: &World,
        effect: &Effect,
    ) -> Result<(), runner_core::testing::explorer::Violation> {
        properties::of_effect(self, service, world, effect)
    }

    fn essence(&self, service: &Service, world: &World, fingerprint: &mut Fingerprinter) {
        service.hash(fingerprint);
        let (under_way, queued) = (service.operation(), service.queued());
        let is =
            |operation: Option<(OperationId, Kind)>, id| operation.is_some_and(|(it, _)| it == id);
        let role = |id| u8::from(is(under_way, id)) | (u8::from(is(queued, id)) << 1);
        world.essence(service.instances(), role, self.standby, fingerprint);
    }

    fn allowance(&self, _: &Service, world: &World) -> Allowance {
        let Allowances { repeats, reorders, faults, crashes, commands, idles, scales } = world.left;
        Allowance::of([repeats, reorders, faults, crashes, commands, idles, scales])
    }
}

impl Progress for Scope {
    fn is_rest(&self, service: &Service, world: &World) -> bool {
        let quiet = world.calls() == 0
            && !world.owes_commit()
            && world.resolving.is_empty()
            && !world.unnoticed
            && world.open.is_empty()
            && service.operation().is_none();
        if !quiet {
            return false;
        }
        let steady = |timer: &service::Timer| {
            matches!(timer, service::Timer::Fleet(deployment::Timer::List))
        };
        let only_steady = service.timers().iter().all(|(timer, _)| steady(timer));
        let phases = || service.instances().values().map(|one| one.phase);
        let settled = match service.status() {
            Status::Running => {
                let there = phases().filter(|phase| matches!(phase, Phase::Ready | Phase::Standby));
                there.count() as u32 == service.desired()
                    && service.instances().len() as u32 == service.desired()
            }
            Status::CreateFailed | Status::DeleteFailed => {
                service.instances().is_empty() && service.trouble().is_some()
            }
            Status::Paused | Status::Deleted => service.instances().is_empty(),
            _ => false,
        };
        only_steady && settled
    }

    fn reliance(&self, action: &Action) -> Reliance {
        match action {
            Action::Choosing { action, .. } => self.reliance(action),
            Action::Commit => Reliance::Free,
            Action::Started(_)
            | Action::Stopped(_)
            | Action::Passed(_)
            | Action::Drained(_)
            | Action::Noticed
            | Action::JobDone(_)
            | Action::Listed
            | Action::Froze(_)
            | Action::Thawed(_)
            | Action::Timer(_)
            | Action::NoRoom(_)
            | Action::StillUnavailable(_)
            | Action::Resolved(_) => Reliance::Good,
            Action::StartFailed { .. }
            | Action::StartExhausted(_)
            | Action::StopFailed(_)
            | Action::JobFailed(_)
            | Action::ListFailed
            | Action::FreezeFailed(_)
            | Action::ThawFailed(_)
            | Action::Late(_)
            | Action::Missing(_)
            | Action::Unavailable(_) => Reliance::Due,
            Action::Crash { .. }
            | Action::Failed(_)
            | Action::Hung(_)
            | Action::Died(_)
            | Action::Idle(_)
            | Action::Demand
            | Action::Scale(_)
            | Action::Worse
            | Action::Approve
            | Action::Order(_)
            | Action::Twice(_)
            | Action::Again
            | Action::Overtaking(_) => Reliance::Chance,
        }
    }
}

impl Action {
    /// Whether it says that there is no room.
    fn refuses(&self) -> bool {
        match self {
            Self::Choosing { action, .. } => action.refuses(),
            action => matches!(action, Self::NoRoom(_) | Self::StartExhausted(_)),
        }
    }

    /// Whether it is the end of the time that a stage has.
    fn ends_a_stage(&self) -> bool {
        match self {
            Self::Choosing { action, .. } => action.ends_a_stage(),
            Self::Timer(timer) | Self::Late(timer) => {
                *timer == service::Timer::Fleet(deployment::Timer::Stage)
            }
            _ => false,
        }
    }
}

impl Scope {
    fn perform_all(&self, world: &mut World, effects: Vec<Effect>) {
        for effect in effects {
            self.perform(world, effect);
        }
    }

    /// Lets everything go well until nothing is owed.
    fn bring_to_rest(&self, service: &mut Service, world: &mut World) {
        for _ in 0..64 {
            let mut actions = Vec::new();
            self.actions(service, world, &mut actions);
            let good = actions.into_iter().find(|action| {
                *action == Action::Approve || self.reliance(action) >= Reliance::Good
            });
            let Some(good) = good else { return };
            let mut effects = Vec::new();
            self.step(service, world, &good, &mut effects);
            self.perform_all(world, effects);
        }
    }

    /// Lets something happen, to the machine and in the world.
    pub(crate) fn act(
        &self,
        action: &Action,
        service: &mut Service,
        world: &mut World,
        effects: &mut Vec<Effect>,
    ) {
        match action {
            Action::Commit => durability::commit(self, service, world, effects),
            Action::Crash { kept } => {
                let wanted = durability::crash(self, service, world, *kept);
                durability::route(wanted, world, effects);
            }
            Action::Order(order) => self.order(service, world, *order, effects),
            Action::Approve => {
                let approved =
                    service.command(Self::operation(99), Command::Approve, NOW).unwrap_or_default();
                durability::route(approved, world, effects);
            }
            action => {
                if let Action::Missing(_) | Action::Unavailable(_) = action {
                    // Cleared after the step where it is no resume that asks.
                    world.gone = true;
                }
                if let Some(event) = happens::happen(world, action) {
                    let wanted = service.handle(event, NOW);
                    durability::route(wanted, world, effects);
                }
            }
        }
    }

    fn order(
        &self,
        service: &mut Service,
        world: &mut World,
        order: Order,
        effects: &mut Vec<Effect>,
    ) {
        let command = match order {
            Order::Deploy => Command::Deploy,
            Order::Cancel => Command::Cancel,
            Order::RollBack => Command::RollBack(RevisionNumber::FIRST),
            Order::Pause => Command::Pause,
            Order::Resume => Command::Resume,
            Order::Delete => Command::Delete,
            Order::Edit => {
                let revision = Some(self.edited(world.commands));
                Command::Update { revision, settings: None }
            }
        };
        // What is refused changes nothing, so it costs nothing either.
        if let Ok(wanted) = service.command(Self::operation(world.commands), command, NOW) {
            world.left.commands -= 1;
            world.commands += 1;
            durability::route(wanted, world, effects);
        }
    }

    /// How many instances of green have to be proven at once.
    pub(crate) fn share(&self, desired: u32) -> u32 {
        let needed = desired.max(1);
        match self.way {
            Way::Partial | Way::SteppedPartial => (needed * 50).div_ceil(100).max(1),
            Way::AtOnce | Way::Stepped | Way::InPlace | Way::InPlaceApproved | Way::Careful => {
                needed
            }
        }
    }
}
