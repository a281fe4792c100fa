//! What the machine hears and what it wants done.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Cause, CauseCode, Stage, Window};
use crate::{
    address::Address,
    admission::Snapshot,
    backend::{Condition, Exit},
    id::{InstanceId, RevisionNumber},
};

/// Something that happened to an instance, or that time has come.
///
/// Whatever comes late, twice, or about something that is gone changes nothing. One order is
/// relied on: verdicts about one instance come as they were found. Nobody asks for them, so an
/// older one cannot be told by the question that it answers; and whoever probes lives in the same
/// program, where one channel keeps the order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// [`Effect::Start`] had to wait for its turn, on a host on which everything starts at once,
    /// and is handed to the backend now: what a start may take counts from here.
    Begun(InstanceId),
    /// The backend answered [`Effect::Start`]: it exists.
    Started(InstanceId, Option<Address>),
    /// The backend answered [`Effect::Start`] with an error. It may exist all the same.
    StartFailed(InstanceId, Arc<Cause>),
    /// Its probes pass.
    BecameReady(InstanceId),
    /// Its probes fail, after they had passed.
    BecameUnwell(InstanceId),
    /// It failed liveness: it will not recover by itself, and is replaced.
    BecameDead(InstanceId, Arc<Cause>),
    /// Its [`Allowance`](Timer::Allowance) has run out, and this was found when somebody looked
    /// why: which port listens instead, what the last probe saw
    /// ([`Cause::from_slow_start`]). Instead of [`Due`](Self::Due), which says nothing.
    TooSlow(InstanceId, Arc<Cause>),
    /// It has had no request for as long as the settings say; it may be frozen.
    BecameIdle(InstanceId),
    /// The requests that it had are finished, and it was given no more since it left the snapshot.
    Drained {
        /// Which one.
        instance: InstanceId,
        /// The number of the question: an answer to an older one means nothing.
        asked: u64,
    },
    /// It ended, as an answer or a list says; a hint alone is none.
    Ended(InstanceId, Exit),
    /// The backend answered [`Effect::Stop`]: nothing is left of it.
    Stopped(InstanceId),
    /// The backend answered [`Effect::Stop`] with an error.
    StopFailed(InstanceId, Arc<Cause>),
    /// The backend answered [`Effect::Freeze`].
    Frozen(InstanceId),
    /// The backend answered [`Effect::Freeze`] with an error: it runs as before.
    FreezeFailed(InstanceId),
    /// The backend answered [`Effect::Thaw`]: it runs.
    Thawed(InstanceId),
    /// The backend answered [`Effect::Thaw`] with an error.
    ThawFailed(InstanceId, Arc<Cause>),
    /// The backend may have changed: a list will tell.
    Changed,
    /// The backend answered [`Effect::List`].
    Listed {
        /// The number of the question.
        asked: u64,
        /// This service's instances, and whether each is running, frozen or ended.
        found: BTreeMap<InstanceId, Found>,
    },
    /// The backend answered [`Effect::List`] with an error.
    ListFailed {
        /// The number of the question.
        asked: u64,
    },
    /// So many instances are wanted from now on.
    Desired(u32),
    /// So many requests each instance has: where some are given up, those with the fewest go
    /// first. Instances that are not named have none. Worth saying whenever it was counted.
    Load(BTreeMap<InstanceId, u32>),
    /// A request waits for what no present instance can give.
    Demand,
    /// What was measured of requests, while green has a part of them. `blue` is the other side in
    /// the same time; where it has no traffic any more, its last window before the shift counts.
    Measured {
        /// Of the new revision.
        green: Window,
        /// Of the old one.
        blue: Option<Window>,
    },
    /// Somebody approves the shift.
    Approved,
    /// A timer that was armed has run out.
    Due(Timer),
}

/// What a list says of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is doing.
    pub condition: Condition,
    /// Where it takes requests.
    pub address: Option<Address>,
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an effect that is not carried out leaves the machine waiting"]
#[expect(clippy::exhaustive_enums, reason = "an effect that is ignored is a bug")]
pub enum Effect {
    /// Durable: start an instance.
    Start {
        /// Its id, never used before: the idempotency key.
        instance: InstanceId,
        /// What it is made from.
        revision: RevisionNumber,
        /// Whether it is the pre-deploy command rather than a server.
        job: bool,
    },
    /// Durable: stop an instance, thawed first where it is frozen.
    Stop {
        /// Which one.
        instance: InstanceId,
    },
    /// Durable: from now on this revision is the one to return to.
    Promote(RevisionNumber),
    /// Durable: the deployment came to rest.
    Conclude(Outcome),
    /// Volatile: what requests see from now on. Carried out before anything that follows it.
    Publish(Snapshot),
    /// Volatile: list what is there, and answer under this number.
    List(u64),
    /// Volatile: find out whether it may serve, and go on finding out until it is stopped, frozen
    /// or gone.
    Probe(InstanceId),
    /// Volatile: say when the requests that it has are finished.
    Drain {
        /// Which one.
        instance: InstanceId,
        /// The number under which to answer.
        asked: u64,
    },
    /// Volatile: freeze it. No request is at it any more.
    Freeze(InstanceId),
    /// Volatile: let it run again.
    Thaw(InstanceId),
    /// For people: kept in the history with whatever is committed next.
    Note(Notice),
}

impl Effect {
    /// Whether it has to wait for the journal's commit of the state that asks for it.
    pub const fn is_durable(&self) -> bool {
        matches!(
            self,
            Self::Start { .. } | Self::Stop { .. } | Self::Promote(_) | Self::Conclude(_)
        )
    }
}

/// How a deployment ended. In every case but the first blue is as it was meant to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who waits for it has to know each")]
pub enum Outcome {
    /// Green is promoted, and nothing of blue is left but what is kept warm.
    Succeeded,
    /// It failed, was cancelled or superseded, as the code says.
    Failed(Arc<Cause>),
}

/// Which timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who drives the machine names each to people")]
pub enum Timer {
    /// An instance has not become ready in its time.
    Allowance(InstanceId),
    /// An instance has not finished its requests in its time.
    Drain(InstanceId),
    /// A stop that failed is due again.
    StopAgain(InstanceId),
    /// Blue may be started again after failures.
    BlueBackoff,
    /// Green may be started again after failures.
    GreenBackoff,
    /// Blue has lived long enough for its failures to be forgotten.
    BlueForgives,
    /// The stage of the deployment has taken its time.
    Stage,
    /// It is time to look what is there. Steady: armed whenever no list is awaited.
    List,
    /// The old revision has been kept warm for long enough.
    Warm,
}

/// Something that people want to know about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// A deployment of this revision began.
    Began(RevisionNumber),
    /// It entered a stage.
    Entered(Stage),
    /// It turns back, and why.
    TurnedBack(Arc<Cause>),
    /// An instance failed.
    InstanceFailed(InstanceId, Arc<Cause>),
    /// Instances keep failing; the next is tried later.
    CrashLoop(RevisionNumber, CauseCode),
    /// The backend has nothing left to give.
    Exhausted(RevisionNumber),
    /// An instance could not be stopped and will be asked again.
    StopFailed(InstanceId, Arc<Cause>),
}

impl Notice {
    /// A code that programs may match.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Began(_) => "DeploymentStarted",
            Self::Entered(_) => "DeploymentStage",
            Self::TurnedBack(_) => "DeploymentTurnedBack",
            Self::InstanceFailed(..) => "InstanceFailed",
            Self::CrashLoop(..) => "CrashLoop",
            Self::Exhausted(_) => "BackendExhausted",
            Self::StopFailed(..) => "StopFailed",
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(revision) => write!(f, "Deployment of revision {revision} started"),
            Self::Entered(stage) => f.write_str(stage.sentence()),
            Self::TurnedBack(cause) => write!(f, "Going back to the old revision: {cause}"),
            Self::InstanceFailed(instance, cause) => {
                write!(f, "Instance {} failed: {cause}", instance.number)
            }
            Self::CrashLoop(revision, code) => write!(
                f,
                "Instances of revision {revision} keep failing ({code}); the next is tried later"
            ),
            Self::Exhausted(revision) => write!(
                f,
                "The backend has no room for another instance of revision {revision}; it is asked \
                 again later"
            ),
            Self::StopFailed(instance, cause) => {
                write!(f, "Instance {} could not be stopped: {cause}", instance.number)
            }
        }
    }
}
