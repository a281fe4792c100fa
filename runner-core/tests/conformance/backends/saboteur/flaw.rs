//! Which flaws there are, and the one check that each should fail.

use runner_core::{backend::Capabilities, testing::backend::Engine};

/// What a [`Saboteur`](super::Saboteur) does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    HidesAddress,
    RepeatStartsTwice,
    AtOnceStartsTwice,
    StartsWhatWasStopped,
    RevivesTheDead,
    FailsHalf,
    OneAddressForMany,
    StartsAfterDrop,
    LeaksSecret,
    AnswersBeforeTheEnd,
    WaitsOutTheGrace,
    HalvesGrace,
    RefusesRepeatedStop,
    InventsExits,
    RefusesStopsAtOnce,
    ForgetsDroppedStop,
    InventsCodes,
    ListsTheDead,
    ListsTooLittle,
    WatchGoesDeaf,
    WatchesOnce,
    ListsOwnAsForeign,
    SharesAddress,
    StopsTheNeighbours,
    WatchesAll,
    ReapsNothing,
    ReapsQuietly,
    ListsOwnEpoch,
    ForgetsOverCrash,
    CannotStopAdopted,
    ThawsOnReturn,
    UnfencedStart,
    UnfencedStop,
    UnfencedList,
    ChangesCapabilities,
    AnswersUndeclared,
    MeasuresWhatIsNotThere,
    ListsFrozenAsRunning,
    RefusesRepeatedFreeze,
    StopsFrozenByForce,
    CommandsAlwaysSucceed,
    CommandsNeverTimeOut,
    LogsNothing,
    LogsForgetSince,
    MeasuresNothing,
    SeesNoPorts,
    HasNothing,
    MisnamesExhausted,
    TiresOfStarting,
    LeavesHelpers,
}

impl Flaw {
    /// All of them, in the order of the checks.
    pub(crate) const ALL: &'static [Self] = &[
        Self::HidesAddress,
        Self::RepeatStartsTwice,
        Self::AtOnceStartsTwice,
        Self::StartsWhatWasStopped,
        Self::RevivesTheDead,
        Self::FailsHalf,
        Self::OneAddressForMany,
        Self::StartsAfterDrop,
        Self::LeaksSecret,
        Self::AnswersBeforeTheEnd,
        Self::WaitsOutTheGrace,
        Self::HalvesGrace,
        Self::RefusesRepeatedStop,
        Self::InventsExits,
        Self::RefusesStopsAtOnce,
        Self::ForgetsDroppedStop,
        Self::InventsCodes,
        Self::ListsTheDead,
        Self::ListsTooLittle,
        Self::WatchGoesDeaf,
        Self::WatchesOnce,
        Self::ListsOwnAsForeign,
        Self::SharesAddress,
        Self::StopsTheNeighbours,
        Self::WatchesAll,
        Self::ReapsNothing,
        Self::ReapsQuietly,
        Self::ListsOwnEpoch,
        Self::ForgetsOverCrash,
        Self::CannotStopAdopted,
        Self::ThawsOnReturn,
        Self::UnfencedStart,
        Self::UnfencedStop,
        Self::UnfencedList,
        Self::ChangesCapabilities,
        Self::AnswersUndeclared,
        Self::MeasuresWhatIsNotThere,
        Self::ListsFrozenAsRunning,
        Self::RefusesRepeatedFreeze,
        Self::StopsFrozenByForce,
        Self::CommandsAlwaysSucceed,
        Self::CommandsNeverTimeOut,
        Self::LogsNothing,
        Self::LogsForgetSince,
        Self::MeasuresNothing,
        Self::SeesNoPorts,
        Self::HasNothing,
        Self::MisnamesExhausted,
        Self::TiresOfStarting,
        Self::LeavesHelpers,
    ];

    /// The check that names it.
    pub(crate) fn breaks(self) -> [&'static str; 1] {
        [match self {
            Self::HidesAddress => "a started instance is listed with its epoch and address",
            Self::RepeatStartsTwice => "a start that is repeated starts nothing twice",
            Self::AtOnceStartsTwice => "starts of one id at once start one instance",
            Self::StartsWhatWasStopped => "an id that was stopped stays stopped",
            Self::RevivesTheDead => "a start does not bring back what ended by itself",
            Self::FailsHalf => "a start that fails leaves nothing",
            Self::OneAddressForMany => "many starts at once are all there, each at its own address",
            Self::StartsAfterDrop => {
                "a start that was dropped leaves nothing once its id was stopped"
            }
            Self::LeaksSecret => "a secret is in no answer and in no error",
            Self::AnswersBeforeTheEnd => "a stop ends the instance before it answers",
            Self::WaitsOutTheGrace => "a stop does not wait longer than the instance takes",
            Self::HalvesGrace => "a stop kills what ignores it, and not before its grace",
            Self::RefusesRepeatedStop => "a stop that is repeated is answered",
            Self::InventsExits => "a stop of what never was is answered",
            Self::RefusesStopsAtOnce => "stops of one id at once are all answered",
            Self::ForgetsDroppedStop => "a stop that was dropped can be repeated",
            Self::InventsCodes => "how an instance ended is told as it was, or as unknown",
            Self::ListsTheDead => "what ended by itself is not listed as running",
            Self::ListsTooLittle => "a list that began after a start was answered holds it",
            Self::WatchGoesDeaf => "a watch hints at ends",
            Self::WatchesOnce => "a watch that was lost can be begun anew",
            Self::ListsOwnAsForeign => "another platform's instance is foreign and not one's own",
            Self::SharesAddress => "one id of two platforms is two instances",
            Self::StopsTheNeighbours => "a stop leaves another platform's instance of the same id",
            Self::WatchesAll => "a watch does not speak of another platform's ends",
            Self::ReapsNothing => "a reap removes what another platform left",
            Self::ReapsQuietly => "a reap does not remove one's own",
            Self::ListsOwnEpoch => "instances outlive their platform, with address and epoch",
            Self::ForgetsOverCrash => "a start that is repeated after a crash starts nothing twice",
            Self::CannotStopAdopted => "an adopted instance is stopped like any other",
            Self::ThawsOnReturn => "a frozen instance stays frozen over a crash",
            Self::UnfencedStart => "an older epoch starts nothing",
            Self::UnfencedStop => "an older epoch stops nothing",
            Self::UnfencedList => "an older epoch is told nothing",
            Self::ChangesCapabilities => "capabilities do not change",
            Self::AnswersUndeclared => "what is not declared refuses as unsupported",
            Self::MeasuresWhatIsNotThere => {
                "questions about what is not there are answered with not found"
            }
            Self::ListsFrozenAsRunning => {
                "a frozen instance is listed as frozen, a thawed one as running"
            }
            Self::RefusesRepeatedFreeze => "freezing and thawing may be repeated",
            Self::StopsFrozenByForce => "a frozen instance can be stopped",
            Self::CommandsAlwaysSucceed => "a command that was run is told as it ended",
            Self::CommandsNeverTimeOut => "a command that takes too long is refused as timed out",
            Self::LogsNothing => "what an instance writes can be read",
            Self::LogsForgetSince => "what was written before is not read again",
            Self::MeasuresNothing => "usage is measured, and CPU time does not fall",
            Self::SeesNoPorts => "the ports on which an instance listens are seen",
            Self::HasNothing => "capacity is told",
            Self::MisnamesExhausted => {
                "room that is used up refuses as exhausted until it is free again"
            }
            Self::TiresOfStarting => "instances start and stop again and again",
            Self::LeavesHelpers => "nothing is left over",
        }]
    }

    /// The engine beneath: one that can do all, unless the flaw is about what it cannot.
    pub(crate) fn engine(self) -> Engine {
        let engine = Engine::new();
        let all = engine.capabilities();
        match self {
            Self::AnswersUndeclared => {
                let mut capabilities: Capabilities = all;
                capabilities.usage = false;
                engine.with_capabilities(capabilities)
            }
            _ => engine,
        }
    }
}
