//! What waits for a commit, and what a crash leaves.

use runner_core::{
    deployment::{self, CauseCode},
    service::{self, Ending, Service},
};

use super::{
    model::{Effect, End, NOW},
    scope::Scope,
    world::{Disk, Is, Thing, Waiting, World},
};

/// What becomes of what the machine wants: durable effects wait for a commit where a crash may
/// come between, all others happen at once.
pub(crate) fn route(wanted: Vec<service::Effect>, world: &mut World, effects: &mut Vec<Effect>) {
    use service::Effect as Wanted;
    let waits = world.left.crashes > 0;
    for effect in wanted {
        match effect {
            Wanted::Fleet(effect) => route_fleet(effect, waits, world, effects),
            Wanted::Resolve(revision) => effects.push(Effect::Resolve(revision)),
            Wanted::Accepted(operation, kind) if waits => {
                world.waiting.push(Waiting::Accepted(operation, kind));
            }
            Wanted::Accepted(operation, kind) => effects.push(Effect::Accepted(operation, kind)),
            Wanted::Finished(finished) => {
                let operation = finished.operation;
                let ending = match finished.result {
                    Ending::Succeeded => End::Well,
                    Ending::RollbackSucceeded(cause) | Ending::Failed(cause)
                        if cause.code == CauseCode::Superseded =>
                    {
                        End::Superseded
                    }
                    Ending::RollbackSucceeded(_) => End::RolledBack,
                    Ending::Failed(_) => End::Failed,
                };
                match waits {
                    true => world.waiting.push(Waiting::Finished(operation, ending)),
                    false => effects.push(Effect::Finished { operation, ending }),
                }
            }
            Wanted::Retire if waits => world.waiting.push(Waiting::Retire),
            Wanted::Retire => effects.push(Effect::Retire),
            Wanted::Note(_) => {}
        }
    }
}

fn route_fleet(
    effect: deployment::Effect,
    waits: bool,
    world: &mut World,
    effects: &mut Vec<Effect>,
) {
    use deployment::Effect as Wanted;
    let effect = match effect {
        Wanted::Start { instance: id, revision, job } if waits => {
            let thing = world.things.get_or_insert_with(id, || Thing::new(revision, job));
            thing.start_waits = true;
            return;
        }
        Wanted::Start { instance: id, revision, job } => Effect::Start { id, revision, job },
        Wanted::Stop { instance } if waits => {
            world.thing(instance).stop_waits = true;
            return;
        }
        Wanted::Stop { instance } => Effect::Stop(instance),
        Wanted::Promote(revision) if waits => {
            world.waiting.push(Waiting::Promote(revision));
            return;
        }
        Wanted::Promote(revision) => Effect::Promote(revision),
        Wanted::Publish(snapshot) => {
            let accepting = snapshot.instances.iter().filter(|one| one.accepting);
            Effect::Publish(accepting.map(|one| (one.id, one.revision)).collect())
        }
        Wanted::List(number) => Effect::List(number),
        Wanted::Probe(id) => Effect::Probe(id),
        Wanted::Drain { instance, asked } => Effect::Drain(instance, asked),
        Wanted::Freeze(id) => Effect::Freeze(id),
        Wanted::Thaw(id) => Effect::Thaw(id),
        Wanted::Conclude(_) | Wanted::Note(_) => return,
    };
    effects.push(effect);
}

pub(crate) fn commit(
    scope: &Scope,
    service: &Service,
    world: &mut World,
    effects: &mut Vec<Effect>,
) {
    world.born = true;
    world.disk = scope.lag.then(|| Disk::new(service.clone()));
    for (&id, thing) in world.things.iter_mut() {
        if std::mem::take(&mut thing.start_waits) {
            effects.push(Effect::Start { id, revision: thing.revision, job: thing.job });
        }
        if std::mem::take(&mut thing.stop_waits) {
            effects.push(Effect::Stop(id));
        }
    }
    for waiting in std::mem::take(&mut world.waiting) {
        effects.push(match waiting {
            Waiting::Promote(revision) => Effect::Promote(revision),
            Waiting::Accepted(operation, kind) => Effect::Accepted(operation, kind),
            Waiting::Finished(operation, ending) => Effect::Finished { operation, ending },
            Waiting::Retire => Effect::Retire,
        });
    }
}

pub(crate) fn crash(
    scope: &Scope,
    service: &mut Service,
    world: &mut World,
    kept: bool,
) -> Vec<service::Effect> {
    world.left.crashes -= 1;
    for thing in world.things.values_mut() {
        *thing = Thing { is: left_of(thing, kept), ..Thing::new(thing.revision, thing.job) };
    }
    world.list = None;
    world.unnoticed = false;
    world.echo = None;
    world.resolving.clear();
    world.waiting.clear();
    let record = match &world.disk {
        Some(disk) => disk.service.record(),
        None => service.record(),
    };
    if !scope.lag || world.left.crashes == 0 {
        world.disk = None;
    }
    let (recovered, effects) = Service::recover(record, NOW);
    *service = recovered;
    effects
}

/// What a crash leaves of an instance, whose calls took effect or did not.
pub(crate) fn left_of(thing: &Thing, kept: bool) -> Is {
    match thing.is {
        is if !kept => is,
        _ if thing.stop_called => Is::Stopped,
        Is::Nothing if thing.start_called => Is::Running,
        Is::Running if thing.freeze_called => Is::Frozen,
        Is::Frozen if thing.thaw_called => Is::Running,
        is => is,
    }
}

/// Drops what nothing refers to any more.
pub(crate) fn forget(service: &Service, world: &mut World) {
    let believed = service.instances();
    if !world.superseded.is_empty() {
        world.superseded.retain(world.left_behind());
    }
    let World { things, disk, echo, .. } = world;
    things.retain(|id, thing| {
        thing.is_referred_to()
            || believed.contains_key(id)
            || disk.as_ref().is_some_and(|disk| disk.parts.contains_key(id))
            || echo.is_some_and(|echo| echo.about() == Some(*id))
    });
}
