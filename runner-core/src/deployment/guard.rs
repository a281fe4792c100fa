//! The guards that keep the machines right, each with a name.
//!
//! A guard is a question asked at the one place that it protects. The ordinary constructors hold
//! all of them, and without the feature `testing` the question is a constant that the compiler
//! removes. With it a machine can be made that leaves one out: the exploration then has to find a
//! way to disaster, which proves that guard and property both are worth their lines.

use serde::{Deserialize, Serialize};

/// What keeps the machines right; a test leaves one out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Guard {
    /// Green gets requests only when as many of its instances as it needs have passed.
    ProveBeforeTraffic,
    /// A deployment at zero instances still proves one.
    ProveOneAtZero,
    /// An instance that served finishes its requests, or times out, before it is stopped.
    DrainBeforeStop,
    /// An instance is drained before it is frozen.
    DrainBeforeFreeze,
    /// Blue keeps its instances until green is promoted.
    HoldBlueUntilPromotion,
    /// On the way back green goes on serving until blue can carry the load.
    GreenServesUntilBlueIsBack,
    /// What is found after a restart is probed before it is trusted.
    ProbeBeforeTrust,
    /// Numbers of instances are never used twice, restarts included.
    NumbersAreDurable,
    /// A start that failed may still have started something, so it is followed by a stop.
    StopAfterFailedStart,
    /// A stop that failed is tried again.
    RetryStop,
    /// What was being stopped when the platform died is stopped again afterwards.
    StopAgainAfterRestart,
    /// What was being started when the platform died is asked for again afterwards.
    StartAgainAfterRestart,
    /// Absence means death only in a list that was asked for after the start was acknowledged.
    AbsenceAfterAcknowledgement,
    /// The answer to a start counts only while the start is waited for.
    StartedWhileStarting,
    /// A good verdict counts only for what may still serve.
    ReadyWhileProving,
    /// Instances that were lost are replaced.
    ReplaceTheLost,
    /// Instances of a revision that nobody wants any more are stopped.
    StopTheUnwanted,
    /// An operation is finished only when nothing of it is left to do.
    FinishAtRest,
    /// In place, nothing new is started beside what is being replaced.
    EmptyBeforeInPlace,
    /// A list that failed is asked for again.
    ListAgain,
    /// That requests are finished counts only as the answer to the last time it was asked.
    DrainedAsAsked,
    /// What supersedes a deployment waits for its pre-deploy command to be gone.
    OneJobAtATime,
    /// While only a part of green stands beside blue, blue leaves no faster than green comes.
    ReplaceInTurn,
    /// On the way back green makes room for blue where the backend has no other.
    MakeRoomForBlue,
}

impl Guard {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::ProveBeforeTraffic,
        Self::ProveOneAtZero,
        Self::DrainBeforeStop,
        Self::DrainBeforeFreeze,
        Self::HoldBlueUntilPromotion,
        Self::GreenServesUntilBlueIsBack,
        Self::ProbeBeforeTrust,
        Self::NumbersAreDurable,
        Self::StopAfterFailedStart,
        Self::RetryStop,
        Self::StopAgainAfterRestart,
        Self::StartAgainAfterRestart,
        Self::AbsenceAfterAcknowledgement,
        Self::StartedWhileStarting,
        Self::ReadyWhileProving,
        Self::ReplaceTheLost,
        Self::StopTheUnwanted,
        Self::FinishAtRest,
        Self::EmptyBeforeInPlace,
        Self::ListAgain,
        Self::DrainedAsAsked,
        Self::OneJobAtATime,
        Self::ReplaceInTurn,
        Self::MakeRoomForBlue,
    ];

    /// Its name as it is written on a command line.
    pub fn name(self) -> String {
        let debug = format!("{self:?}");
        let mut name = String::new();
        for (at, letter) in debug.char_indices() {
            if letter.is_ascii_uppercase() && at > 0 {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    /// The guard of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|guard| guard.name() == name)
    }
}

/// Which guards a machine holds: all, unless a test says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Guards {
    #[cfg(feature = "testing")]
    without: Option<Guard>,
}

impl Guards {
    /// All but one.
    #[cfg(feature = "testing")]
    pub(crate) const fn without(guard: Guard) -> Self {
        Self { without: Some(guard) }
    }

    /// Whether a guard is held.
    #[cfg(feature = "testing")]
    pub(crate) fn hold(self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Whether a guard is held: always.
    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, reason = "asked the same way with and without the feature")]
    pub(crate) const fn hold(self, _: Guard) -> bool {
        true
    }
}
