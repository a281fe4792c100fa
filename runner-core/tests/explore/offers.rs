//! What can happen in a state.

use runner_core::{
    deployment::{self, Phase, Stage},
    id::InstanceId,
    service::{self, Service, Status},
};

use super::{
    model::Action,
    scope::Scope,
    world::{Allowances, Echo, Is, World},
};

/// What is owed: answers, verdicts, timers.
pub(crate) fn answers(scope: &Scope, service: &Service, world: &World, actions: &mut Vec<Action>) {
    let Allowances { faults, repeats, reorders, .. } = world.left;
    let (fault, repeat, reorder) = (faults > 0, repeats > 0, reorders > 0);
    for (&id, thing) in world.things.iter() {
        let phase = service.instances().get(&id).map(|one| one.phase);
        if thing.start_called && thing.is == Is::Nothing && world.is_full(scope.room) {
            actions.push(Action::NoRoom(id));
        } else if thing.start_called {
            actions.push(Action::Started(id));
            if repeat {
                actions.push(Action::Twice(Echo::Started(id)));
            }
            if fault {
                actions.push(Action::StartFailed { id, exists: false });
                actions.push(Action::StartFailed { id, exists: true });
                actions.push(Action::StartExhausted(id));
            }
        }
        if thing.stop_called {
            match thing.start_called {
                false => actions.push(Action::Stopped(id)),
                true if reorder => actions.push(Action::Overtaking(Echo::Stopped(id))),
                true => {}
            }
            if repeat && !thing.start_called {
                actions.push(Action::Twice(Echo::Stopped(id)));
            }
            if fault && !thing.start_called {
                actions.push(Action::StopFailed(id));
            }
        }
        if thing.freeze_called {
            actions.push(Action::Froze(id));
            if fault {
                actions.push(Action::FreezeFailed(id));
            }
        }
        if thing.thaw_called {
            actions.push(Action::Thawed(id));
            if fault {
                actions.push(Action::ThawFailed(id));
            }
        }
        if thing.probed && thing.is == Is::Running {
            match phase {
                Some(Phase::Proving | Phase::Unwell) => {
                    actions.push(Action::Passed(id));
                    if repeat {
                        actions.push(Action::Twice(Echo::Passed(id)));
                    }
                }
                Some(Phase::Draining | Phase::Stopping { .. } | Phase::Freezing { .. })
                    if reorder =>
                {
                    actions.push(Action::Overtaking(Echo::Passed(id)));
                }
                _ => {}
            }
        }
        if thing.drains {
            actions.push(Action::Drained(id));
            if repeat {
                actions.push(Action::Twice(Echo::Drained(id, thing.asked)));
            }
        }
        if thing.job && thing.is == Is::Running && phase == Some(Phase::Running) {
            actions.push(Action::JobDone(id));
            if fault {
                actions.push(Action::JobFailed(id));
            }
        }
    }
    if let Some((number, _)) = &world.list {
        actions.push(Action::Listed);
        if fault {
            actions.push(Action::ListFailed);
        }
        if repeat {
            actions.push(Action::Twice(Echo::Listed(*number)));
        }
        if reorder {
            actions.push(Action::Overtaking(Echo::Listed(*number)));
        }
    }
    if world.echo.is_some() {
        actions.push(Action::Again);
    }
    for revision in world.resolving.iter() {
        actions.push(match world.gone {
            true => Action::StillUnavailable(revision),
            false => Action::Resolved(revision),
        });
        if fault {
            actions.push(Action::Missing(revision));
            actions.push(Action::Unavailable(revision));
        }
    }
    if world.unnoticed {
        actions.push(Action::Noticed);
    }
}

/// What nobody owes: time, users, load, and what breaks by itself.
pub(crate) fn chances(scope: &Scope, service: &Service, world: &World, actions: &mut Vec<Action>) {
    let fault = world.left.faults > 0;
    for (timer, _) in service.timers() {
        match kind_of(scope, timer, service, world) {
            Clock::Due => actions.push(Action::Timer(timer)),
            Clock::Deadline if fault => actions.push(Action::Late(timer)),
            Clock::Deadline | Clock::Idle => {}
        }
    }
    for (&id, thing) in world.things.iter() {
        let phase = service.instances().get(&id).map(|one| one.phase);
        if fault && thing.is == Is::Running && phase.is_some_and(|phase| !phase.is_leaving()) {
            if !thing.job {
                actions.push(Action::Died(id));
            }
            if phase == Some(Phase::Ready) {
                actions.push(Action::Failed(id));
                actions.push(Action::Hung(id));
            }
        }
        if world.left.idles > 0 && phase == Some(Phase::Ready) {
            actions.push(Action::Idle(id));
        }
    }
    if fault && matches!(service.stage(), Some(Stage::Baking | Stage::Shifting { .. })) {
        actions.push(Action::Worse);
    }
    if service.stage() == Some(Stage::Holding) {
        actions.push(Action::Approve);
    }
    if world.left.commands > 0 {
        actions.extend(scope.commands.iter().copied().map(Action::Order));
    }
    if world.left.scales > 0 && !matches!(service.status(), Status::Deleted) {
        let sizes = (0..=scope.most).filter(|size| *size != service.desired());
        actions.extend(sizes.map(Action::Scale));
    }
    let asleep =
        |one: &deployment::Instance| matches!(one.phase, Phase::Standby | Phase::Freezing { .. });
    if service.instances().values().any(asleep) {
        actions.push(Action::Demand);
    }
}

fn kind_of(scope: &Scope, timer: service::Timer, service: &Service, world: &World) -> Clock {
    use deployment::Timer;
    let timer = match timer {
        service::Timer::Fleet(timer) => timer,
        service::Timer::Resume => return Clock::Deadline,
        _ => return Clock::Due,
    };
    match timer {
        Timer::Allowance(_) | Timer::Drain(_) => Clock::Deadline,
        Timer::Stage => match service.stage() {
            // Where room is short for good it is no fault that they run out.
            Some(Stage::Provisioning | Stage::Replacing) if scope.room.is_some() => Clock::Due,
            Some(
                Stage::PreDeploy { .. }
                | Stage::Provisioning
                | Stage::Replacing
                | Stage::TurningBack,
            ) => Clock::Deadline,
            _ => Clock::Due,
        },
        Timer::List => {
            let astray = |(id, one): (&InstanceId, &deployment::Instance)| match one.phase {
                Phase::Adopting => true,
                Phase::Starting { .. } => false,
                phase => {
                    !phase.is_leaving() && world.things.get(id).is_none_or(|thing| !thing.exists())
                }
            };
            match !world.unnoticed && service.instances().iter().any(astray) {
                true => Clock::Due,
                false => Clock::Idle,
            }
        }
        Timer::StopAgain(_)
        | Timer::BlueBackoff
        | Timer::GreenBackoff
        | Timer::BlueForgives
        | Timer::Warm => Clock::Due,
    }
}

/// What a timer is to the world.
enum Clock {
    /// It runs out sooner or later.
    Due,
    /// It runs out when something else does not come in time, which is a fault.
    Deadline,
    /// It runs out, and nothing comes of it.
    Idle,
}
