//! What happens in the world, and what the machine is told of it.

use std::{collections::BTreeMap, sync::Arc};

use runner_core::{
    address::Address,
    backend::{Condition, Exit, ExitStatus},
    deployment::{self, Cause, CauseCode, Found, Window},
    id::{InstanceId, RevisionNumber},
    service::{self, Event, Resolution},
    source::ResolvedSource,
};

use super::{
    model::{Action, NOW},
    world::{Echo, Is, Thing, World},
};

/// Lets something happen in the world; what the machine is told of it.
pub(crate) fn happen(world: &mut World, action: &Action) -> Option<Event> {
    use deployment::Event as Fleet;
    let event = match *action {
        Action::Started(id) => world.answer(Echo::Started(id))?,
        Action::Stopped(id) => world.answer(Echo::Stopped(id))?,
        Action::Passed(id) => world.answer(Echo::Passed(id))?,
        Action::Drained(id) => {
            let asked = world.thing(id).asked;
            world.answer(Echo::Drained(id, asked))?
        }
        Action::Listed => {
            let number = world.list.as_ref()?.0;
            world.answer(Echo::Listed(number))?
        }
        Action::Twice(echo) => {
            world.left.repeats -= 1;
            world.echo = Some(echo);
            world.answer(echo)?
        }
        Action::Again => {
            let echo = world.echo.take()?;
            world.repeat(echo)
        }
        Action::Overtaking(Echo::Listed(number)) => {
            world.left.reorders -= 1;
            let (_, seen) = world.list.take()?;
            let running = |id: InstanceId| {
                (id, Found { condition: Condition::Running, address: Some(address(id)) })
            };
            Fleet::Listed { asked: number, found: seen.into_iter().map(running).collect() }
        }
        Action::Overtaking(echo) => {
            world.left.reorders -= 1;
            world.answer(echo)?
        }
        Action::Noticed => {
            world.unnoticed = false;
            Fleet::Changed
        }
        Action::JobDone(id) => {
            world.thing(id).is = Is::Ended { well: true };
            Fleet::Ended(id, ExitStatus::Code(0).into())
        }
        Action::Froze(id) => {
            let thing = world.thing(id);
            thing.freeze_called = false;
            if thing.is == Is::Running {
                thing.is = Is::Frozen;
            }
            Fleet::Frozen(id)
        }
        Action::Thawed(id) => {
            let thing = world.thing(id);
            thing.thaw_called = false;
            if thing.is == Is::Frozen {
                thing.is = Is::Running;
            }
            Fleet::Thawed(id)
        }
        Action::Idle(id) => {
            world.left.idles -= 1;
            Fleet::BecameIdle(id)
        }
        Action::Demand => Fleet::Demand,
        Action::NoRoom(id) => {
            world.thing(id).start_called = false;
            Fleet::StartFailed(id, Arc::new(Cause::new(CauseCode::Exhausted)))
        }
        Action::StillUnavailable(revision) => {
            world.resolving.remove(revision);
            let cause = Arc::new(Cause::new(CauseCode::SecretsUnavailable));
            return Some(Event::Resolved(revision, Err(cause)));
        }
        Action::Scale(count) => {
            world.left.scales -= 1;
            Fleet::Desired(count)
        }
        Action::Timer(timer) => return Some(due(timer, world)),
        Action::Resolved(revision) => {
            world.resolving.remove(revision);
            let found = Resolution::of(ResolvedSource::Command);
            return Some(Event::Resolved(revision, Ok(Arc::new(found))));
        }
        _ => return fault(world, action),
    };
    Some(event.into())
}

/// Lets something go wrong.
fn fault(world: &mut World, action: &Action) -> Option<Event> {
    use deployment::Event as Fleet;
    let cause = |code| Arc::new(Cause::new(code));
    world.left.faults -= 1;
    let event = match *action {
        Action::StartFailed { id, exists } => {
            let thing = world.thing(id);
            thing.start_called = false;
            if exists && thing.is == Is::Nothing {
                thing.is = Is::Running;
            }
            Fleet::StartFailed(id, cause(CauseCode::BackendUnavailable))
        }
        Action::StartExhausted(id) => {
            world.thing(id).start_called = false;
            Fleet::StartFailed(id, cause(CauseCode::Exhausted))
        }
        Action::StopFailed(id) => {
            world.thing(id).stop_called = false;
            Fleet::StopFailed(id, cause(CauseCode::BackendUnavailable))
        }
        Action::Failed(id) => {
            world.thing(id).proven = false;
            // Verdicts about one instance come in the order in which they were found.
            world.echo = world.echo.filter(|echo| *echo != Echo::Passed(id));
            Fleet::BecameUnwell(id)
        }
        Action::Hung(id) => {
            world.thing(id).proven = false;
            world.echo = world.echo.filter(|echo| *echo != Echo::Passed(id));
            Fleet::BecameDead(id, cause(CauseCode::ProbeTimedOut))
        }
        Action::Died(id) => {
            world.thing(id).is = Is::Died;
            world.thing(id).leased = false;
            world.unnoticed = true;
            return None;
        }
        Action::JobFailed(id) => {
            world.thing(id).is = Is::Ended { well: false };
            Fleet::Ended(id, ExitStatus::Code(1).into())
        }
        Action::ListFailed => {
            let (asked, _) = world.list.take()?;
            Fleet::ListFailed { asked }
        }
        Action::FreezeFailed(id) => {
            world.thing(id).freeze_called = false;
            Fleet::FreezeFailed(id)
        }
        Action::ThawFailed(id) => {
            world.thing(id).thaw_called = false;
            Fleet::ThawFailed(id, cause(CauseCode::BackendUnavailable))
        }
        Action::Worse => {
            Fleet::Measured { green: Window::new(1000, 1000, NOW.since(NOW)), blue: None }
        }
        Action::Late(timer) => {
            return Some(due(timer, world));
        }
        Action::Missing(revision) => {
            world.resolving.remove(revision);
            return Some(Event::Resolved(revision, Err(cause(CauseCode::SecretMissing))));
        }
        Action::Unavailable(revision) => {
            world.resolving.remove(revision);
            return Some(Event::Resolved(revision, Err(cause(CauseCode::SecretsUnavailable))));
        }
        _ => unreachable!("{action:?} is no event"),
    };
    Some(event.into())
}

impl World {
    pub(crate) fn thing(&mut self, id: InstanceId) -> &mut Thing {
        self.things.get_or_insert_with(id, || Thing {
            is: Is::Stopped,
            ..Thing::new(RevisionNumber::FIRST, false)
        })
    }

    /// A call takes effect and is answered.
    fn answer(&mut self, echo: Echo) -> Option<deployment::Event> {
        match echo {
            Echo::Started(id) => {
                let thing = self.thing(id);
                thing.start_called = false;
                thing.known = true;
                if thing.is == Is::Nothing {
                    thing.is = Is::Running;
                }
            }
            Echo::Stopped(id) => {
                let thing = self.thing(id);
                thing.stop_called = false;
                thing.leased = false;
                thing.is = Is::Stopped;
            }
            Echo::Passed(id) => self.thing(id).proven = true,
            Echo::Drained(id, _) => {
                self.thing(id).drains = false;
                self.thing(id).leased = false;
            }
            Echo::Listed(number) => {
                let found = self.found();
                for id in found.keys() {
                    self.thing(*id).known = true;
                }
                self.list = None;
                return Some(deployment::Event::Listed { asked: number, found });
            }
        }
        Some(self.repeat(echo))
    }

    /// An answer as such.
    fn repeat(&self, echo: Echo) -> deployment::Event {
        use deployment::Event;
        match echo {
            Echo::Started(id) => Event::Started(id, Some(address(id))),
            Echo::Stopped(id) => Event::Stopped(id),
            Echo::Passed(id) => Event::BecameReady(id),
            Echo::Drained(instance, asked) => Event::Drained { instance, asked },
            Echo::Listed(asked) => Event::Listed { asked, found: self.found() },
        }
    }

    /// What the backend would say is there.
    fn found(&self) -> BTreeMap<InstanceId, Found> {
        let condition = |is| match is {
            Is::Running => Some(Condition::Running),
            Is::Frozen => Some(Condition::Frozen),
            Is::Ended { well } => {
                Some(Condition::Ended(Exit::from(ExitStatus::Code(i32::from(!well)))))
            }
            Is::Nothing | Is::Stopped | Is::Died => None,
        };
        let things = self.things.iter();
        things
            .filter_map(|(id, thing)| {
                let condition = condition(thing.is)?;
                Some((*id, Found { condition, address: Some(address(*id)) }))
            })
            .collect()
    }
}

/// A timer runs out. What the drain timer waited for is cut off then.
fn due(timer: service::Timer, world: &mut World) -> Event {
    if let service::Timer::Fleet(deployment::Timer::Drain(id)) = timer {
        world.thing(id).leased = false;
        world.thing(id).drains = false;
    }
    Event::Due(timer)
}

fn address(id: InstanceId) -> Address {
    Address::Tcp(([127, 0, 0, 1], id.number as u16).into())
}
