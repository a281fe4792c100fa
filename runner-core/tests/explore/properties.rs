//! What must hold, always.

use runner_core::{
    deployment::{Phase, Stage},
    id::InstanceId,
    service::{Service, Status},
    testing::explorer::Violation,
};

use super::{
    model::{Effect, End},
    scope::{Scope, Way},
    world::{Is, Thing, World},
};

/// In every state.
pub(crate) fn of_state(scope: &Scope, service: &Service, world: &World) -> Result<(), Violation> {
    for (id, thing) in world.things.iter() {
        let believed = service.instances().get(id);
        if thing.accepting {
            Violation::unless(
                !thing.stop_called && thing.is != Is::Stopped,
                "traffic points at nothing that is being stopped",
            )?;
            let ready = believed.is_some_and(|one| one.phase == Phase::Ready);
            Violation::unless(
                ready && thing.proven && world.passed.contains(thing.revision),
                "traffic points only at instances that are ready and of a revision that passed",
            )?;
        }
        Violation::unless(!thing.exists() || believed.is_some(), "no instance is orphaned")?;
    }
    // Each side may have one more that replaces what fails its probes.
    let most = scope.most as usize;
    Violation::unless(
        service.instances().values().filter(|one| !one.phase.is_leaving()).count() <= 2 * most + 2,
        "there are never more instances than both sides may have",
    )?;
    let jobs = world.things.values().filter(|one| one.job && one.is == Is::Running);
    Violation::unless(jobs.count() <= 1, "no pre-deploy command runs beside another")?;
    if service.stage() == Some(Stage::Holding) {
        Violation::unless(service.live().is_some(), "where nothing serves nobody is asked")?;
        Violation::unless(
            !scope.way.is_in_place()
                || service.instances().values().all(|one| Some(one.revision) != service.green()),
            "in place, nothing new is started until somebody approves",
        )?;
    }
    if scope.way.is_in_place() {
        let running = || world.things.values().filter(|one| one.is == Is::Running && !one.job);
        let first = running().next().map(|one| one.revision);
        Violation::unless(
            running().all(|one| Some(one.revision) == first),
            "in place, no revision runs beside another",
        )?;
    }
    Ok(())
}

/// Of every effect, before it is carried out.
pub(crate) fn of_effect(
    scope: &Scope,
    service: &Service,
    world: &World,
    effect: &Effect,
) -> Result<(), Violation> {
    match effect {
        Effect::Publish(accepting) => {
            proven_before_traffic(scope, service, world, accepting)?;
            capacity_is_kept(scope, service, world, accepting)
        }
        Effect::Start { id, revision, job } => {
            let new = match world.things.get(id) {
                None => id.number > world.highest,
                Some(thing) => {
                    thing.revision == *revision
                        && thing.job == *job
                        && !thing.known
                        && !thing.start_called
                        && thing.is != Is::Stopped
                }
            };
            Violation::unless(new, "nothing is started twice, and no number is used twice")
        }
        Effect::Stop(id) => Violation::unless(
            !world.things.get(id).is_some_and(|thing| thing.leased),
            "nothing is stopped before its requests are finished or timed out",
        ),
        Effect::Freeze(id) => Violation::unless(
            !world.things.get(id).is_some_and(|thing| thing.leased),
            "nothing is frozen before its requests are finished",
        ),
        Effect::Drain(id, _) => match world.things.get(id) {
            Some(thing) if thing.proven && thing.exists() => blue_stands(scope, service, *id),
            _ => Ok(()),
        },
        Effect::Promote(revision) => Violation::unless(
            world.passed.contains(*revision),
            "only a revision that passed is promoted",
        ),
        Effect::Finished { operation, ending } => {
            Violation::unless(world.open.contains_key(operation), "an operation ends once")?;
            over_means_over(service, world, *ending)
        }
        Effect::Retire => Violation::unless(
            !world.things.values().any(|thing| thing.exists()),
            "what is deleted has no instance left",
        ),
        Effect::Accepted(..)
        | Effect::List(_)
        | Effect::Probe(_)
        | Effect::Thaw(_)
        | Effect::Resolve(_) => Ok(()),
    }
}

/// A revision gets its first requests when as many of its instances as it needs are ready at once.
fn proven_before_traffic(
    scope: &Scope,
    service: &Service,
    world: &World,
    accepting: &[(InstanceId, runner_core::id::RevisionNumber)],
) -> Result<(), Violation> {
    for (_, revision) in accepting {
        if !world.passed.contains(*revision) {
            let ready = service
                .instances()
                .values()
                .filter(|one| one.revision == *revision && one.phase == Phase::Ready);
            Violation::unless(
                ready.count() as u32 >= scope.share(service.desired()),
                "a revision gets requests only when enough of its instances have passed",
            )?;
        }
    }
    Ok(())
}

/// Whatever is taken from the traffic on purpose leaves enough behind.
fn capacity_is_kept(
    scope: &Scope,
    service: &Service,
    world: &World,
    accepting: &[(InstanceId, runner_core::id::RevisionNumber)],
) -> Result<(), Violation> {
    let goes_on = matches!(service.status(), Status::Running | Status::OperationInProgress)
        && service.snapshot().closed.is_none();
    // A first deployment has nothing to go back to.
    if world.outlasted || scope.way.is_in_place() || !goes_on || service.live().is_none() {
        return Ok(());
    }
    let before = world.things.values().filter(|thing| thing.accepting).count();
    let given_up = world.things.iter().any(|(id, thing)| {
        thing.accepting
            && thing.exists()
            && thing.proven
            && !accepting.iter().any(|(accepts, _)| accepts == id)
            && service.instances().get(id).is_some_and(|one| one.phase != Phase::Unwell)
    });
    let asleep = |phase| {
        matches!(phase, Phase::Freezing { .. } | Phase::Standby | Phase::Waking { proven: true })
    };
    let asleep = service.instances().values().filter(|one| asleep(one.phase)).count();
    let wanted = before.min(service.desired() as usize);
    // On the way back one goes where nothing else makes room for the next of blue; never the last.
    let turns_back = service.stage() == Some(Stage::TurningBack);
    let for_room = usize::from(turns_back && world.refused && !accepting.is_empty());
    Violation::unless(
        !given_up || accepting.len() + asleep + for_room >= wanted,
        "capacity that passed is never given up for what has not",
    )
}

/// Until promotion enough of blue stands to return to.
fn blue_stands(scope: &Scope, service: &Service, id: InstanceId) -> Result<(), Violation> {
    let returns = matches!(scope.way, Way::AtOnce | Way::Stepped | Way::Careful);
    let (Some(live), Some(_)) = (service.live(), service.green()) else { return Ok(()) };
    let of_blue = |one: &&runner_core::deployment::Instance| one.revision == live;
    let blue = service.instances().get(&id).filter(of_blue);
    if !returns || blue.is_none() || service.snapshot().closed.is_some() {
        return Ok(());
    }
    let standing = service.instances().values().filter(of_blue).filter(|one| {
        matches!(
            one.phase,
            Phase::Ready | Phase::Standby | Phase::Freezing { .. } | Phase::Waking { proven: true }
        )
    });
    Violation::unless(
        standing.count() as u32 >= service.desired(),
        "until promotion blue stands as it was",
    )
}

/// What ended without success left nothing of green, and blue as it was meant to be.
fn over_means_over(service: &Service, world: &World, ending: End) -> Result<(), Violation> {
    let live = service.live();
    let well = ending == End::Well;
    // What served before may still be on its way out when the next deployment has failed already.
    let gone = |revision| {
        Some(revision) != live
            && Some(revision) != service.warm()
            && (well || !world.promoted.contains(revision))
    };
    let stays = |id| service.instances().get(id).is_some_and(|one| !one.phase.is_leaving());
    // What comes after it does not wait for the last requests of what it supersedes.
    if ending == End::Superseded {
        // It may have waited itself, for one that is on its way back and still serves.
        let left = |revision| gone(revision) && Some(revision) != service.green();
        Violation::unless(
            !world.things.iter().any(|(id, thing)| left(thing.revision) && stays(id)),
            "what is left of a superseded deployment is on its way out",
        )?;
    }
    if ending == End::RolledBack && service.green().is_none() {
        let left = |id, thing: &Thing| {
            thing.exists()
                && gone(thing.revision)
                && (stays(id) || !world.superseded.contains(thing.revision))
        };
        Violation::unless(
            !world.things.iter().any(|(id, thing)| left(id, thing)),
            "a deployment that failed leaves nothing of green",
        )?;
    }
    if well && service.green().is_none() && service.snapshot().closed.is_none() {
        Violation::unless(
            !world.things.values().any(|thing| thing.exists() && gone(thing.revision)),
            "a deployment that succeeded leaves nothing of blue but what is kept warm",
        )?;
    }
    Ok(())
}
