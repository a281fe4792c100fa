//! What is waited for: every wait with a name, a beginning, an end at the latest, and what ends it.

use serde::Serialize;

use super::{Phase, Stage, Timer, plan::Hold, rollout::Course, sides::Sides};
use crate::{id::InstanceId, time::Timestamp};

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Wait {
    /// What it is, for people.
    pub name: &'static str,
    /// The instance that it is about, where it is one.
    pub instance: Option<InstanceId>,
    /// Since when.
    pub since: Timestamp,
    /// Until when at the latest; none where an answer is owed, which whoever owes it bounds.
    pub until: Option<Timestamp>,
    /// What ends it.
    pub ends_with: EndsWith,
}

/// What ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndsWith {
    /// An answer of the backend.
    Answer,
    /// A verdict of the probes.
    Verdict,
    /// The end of the last request.
    LastRequest,
    /// The end of the command.
    Exit,
    /// Time alone.
    Time,
    /// Somebody's word.
    Approval,
    /// Enough instances being ready, or gone.
    Instances,
    /// The values of secrets.
    Secrets,
}

impl Wait {
    pub(crate) const fn new(
        name: &'static str,
        since: Timestamp,
        until: Option<Timestamp>,
        ends_with: EndsWith,
    ) -> Self {
        Self { name, instance: None, since, until, ends_with }
    }
}

impl Sides {
    /// Everything that is waited for.
    pub(crate) fn waits(&self) -> Vec<Wait> {
        let timers = self.timers();
        let until = |wanted: &dyn Fn(&Timer) -> bool| {
            timers.iter().find(|(timer, _)| wanted(timer)).map(|(_, at)| *at)
        };
        let mut waits = Vec::new();
        for (id, one) in self.instances.iter() {
            let Some((name, ends_with)) = of_phase(one.phase) else { continue };
            let until = until(&|timer| {
                [Timer::Allowance(*id), Timer::Drain(*id), Timer::StopAgain(*id)].contains(timer)
            });
            waits.push(Wait { name, instance: Some(*id), since: one.since.0, until, ends_with });
        }
        let mut wait = |name, since, until, ends_with| {
            waits.push(Wait::new(name, since, until, ends_with));
        };
        if let Course::Rolling(rollout) = &self.course {
            let (name, ends_with) = match rollout.stage {
                Stage::TurningBack if self.waits_for_blue() => {
                    ("old instances to be ready again", EndsWith::Instances)
                }
                stage => of_stage(stage),
            };
            let until = match rollout.stage {
                Stage::TurningBack if self.waits_for_blue() => until(&|at| *at == Timer::Stage),
                Stage::Emptying | Stage::TurningBack => self.gone_by(),
                _ => until(&|timer| *timer == Timer::Stage),
            };
            wait(name, rollout.since.0, until, ends_with);
        }
        if self.course == Course::Leaving {
            let began = self.timings().last().map(|timing| timing.began);
            let (name, ends_with) = of_stage(Stage::Leaving);
            let since = began.unwrap_or(self.listing.since.0);
            wait(name, since, self.gone_by(), ends_with);
        }
        let green = self.rollout().map(|rollout| (&rollout.green, Timer::GreenBackoff));
        for (side, timer) in self.live.iter().map(|live| (live, Timer::BlueBackoff)).chain(green) {
            let until = until(&|armed| *armed == timer);
            match side.pace.hold {
                Some(Hold::Failed) => {
                    wait("back-off after failures", side.pace.since.0, until, EndsWith::Time);
                }
                Some(Hold::Exhausted) => {
                    wait("backend exhausted", side.pace.since.0, until, EndsWith::Time);
                }
                Some(Hold::Values) => {
                    wait("values of secrets", side.pace.since.0, until, EndsWith::Secrets);
                }
                None => {}
            }
        }
        if let Some(warm) = &self.warm {
            let until = until(&|timer| *timer == Timer::Warm);
            wait("old revision kept warm", warm.since.0, until, EndsWith::Time);
        }
        if self.listing.awaited {
            wait("list of instances", self.listing.since.0, None, EndsWith::Answer);
        }
        waits
    }
}

impl Sides {
    /// Whether the way back waits for blue rather than for green's way out.
    fn waits_for_blue(&self) -> bool {
        let outlasted = self.rollout().is_some_and(|rollout| rollout.outlasted);
        !outlasted
            && self.is_open()
            && self.live().is_some()
            && self.live_count().capacity() < self.desired()
    }

    /// When the last of what is leaving has had its time; then only answers are owed.
    pub(crate) fn gone_by(&self) -> Option<Timestamp> {
        let timers = self.timers().into_iter();
        let leave = timers.filter(|(timer, _)| {
            let (Timer::Drain(id) | Timer::StopAgain(id)) = timer else { return false };
            self.instances.get(id).is_some_and(|one| one.phase.is_leaving())
        });
        leave.map(|(_, at)| at).max()
    }
}

fn of_phase(phase: Phase) -> Option<(&'static str, EndsWith)> {
    Some(match phase {
        Phase::Starting { asked: true } => ("start", EndsWith::Answer),
        Phase::Starting { asked: false } => ("start, asked for again", EndsWith::Secrets),
        Phase::Proving => ("first good probe", EndsWith::Verdict),
        Phase::Unwell => ("recovery or replacement", EndsWith::Verdict),
        Phase::Freezing { asked: false } => ("last request before standby", EndsWith::LastRequest),
        Phase::Freezing { asked: true } => ("freeze", EndsWith::Answer),
        Phase::Waking { .. } => ("thaw", EndsWith::Answer),
        Phase::Running => ("end of the pre-deploy command", EndsWith::Exit),
        Phase::Adopting => ("being found after a restart", EndsWith::Answer),
        Phase::Draining => ("last request before stop", EndsWith::LastRequest),
        Phase::Stopping { asked: true } => ("stop", EndsWith::Answer),
        Phase::Stopping { asked: false } => ("stop, to be tried again", EndsWith::Time),
        Phase::Ready | Phase::Standby => return None,
    })
}

fn of_stage(stage: Stage) -> (&'static str, EndsWith) {
    match stage {
        Stage::PreDeploy { .. } => ("pre-deploy command", EndsWith::Exit),
        Stage::Emptying => ("old instances to leave", EndsWith::Instances),
        Stage::Provisioning => ("new instances to be ready", EndsWith::Instances),
        Stage::Holding => ("approval", EndsWith::Approval),
        Stage::Shifting { .. } => ("next step of the shift", EndsWith::Time),
        Stage::Replacing => ("instances to be replaced", EndsWith::Instances),
        Stage::Baking => ("bake", EndsWith::Time),
        Stage::Leaving => ("old instances to leave, replaced", EndsWith::Instances),
        Stage::TurningBack => ("new instances to leave", EndsWith::Instances),
    }
}
