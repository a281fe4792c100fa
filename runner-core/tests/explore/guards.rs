//! What has to happen for each guard to be missed.

use runner_core::testing::{
    explorer::{Cause, Explorer, Failure, Rest},
    machine::Guard,
};

use super::{
    scope::{B, Scope, Way},
    world::Allowances,
};

/// What has to happen for each guard to be missed, and what breaks then.
pub(crate) fn disaster_without(guard: Guard) -> Option<(String, Failure<Scope>)> {
    let allowed = |faults, crashes, repeats, reorders, commands| Allowances {
        faults,
        crashes,
        repeats,
        reorders,
        commands,
        scales: 1,
        ..Allowances::NONE
    };
    let b = Scope { first: 2, without: Some(guard), ..B };
    let scope = match guard {
        Guard::EmptyBeforeInPlace => Scope { name: "in place", way: Way::InPlace, ..b },
        Guard::OneJobAtATime => Scope {
            name: "command, approval, warm",
            way: Way::Careful,
            allowed: allowed(0, 0, 0, 0, 1),
            ..b
        },
        Guard::MakeRoomForBlue => Scope {
            name: "room for 2",
            room: Some(2),
            first: 1,
            allowed: allowed(0, 0, 0, 0, 1),
            ..b
        },
        Guard::ReplaceInTurn => Scope {
            name: "in steps, partial surge",
            way: Way::SteppedPartial,
            allowed: allowed(0, 0, 0, 0, 0),
            ..b
        },
        Guard::DrainedAsAsked => Scope {
            name: "standby",
            standby: true,
            allowed: Allowances { repeats: 1, idles: 1, ..Allowances::NONE },
            ..b
        },
        Guard::DrainBeforeFreeze => Scope {
            name: "standby",
            standby: true,
            allowed: Allowances { idles: 1, commands: 1, scales: 0, ..Allowances::NONE },
            ..b
        },
        Guard::StopAfterFailedStart | Guard::RetryStop | Guard::ReplaceTheLost => {
            Scope { allowed: allowed(1, 0, 0, 0, 0), ..b }
        }
        Guard::GreenServesUntilBlueIsBack => Scope { allowed: allowed(1, 0, 0, 0, 1), ..b },
        Guard::ProbeBeforeTrust
        | Guard::NumbersAreDurable
        | Guard::StopAgainAfterRestart
        | Guard::StartAgainAfterRestart => Scope { allowed: allowed(0, 1, 0, 0, 0), ..b },
        Guard::AbsenceAfterAcknowledgement => Scope { allowed: allowed(0, 1, 0, 1, 0), ..b },
        Guard::ListAgain => Scope { allowed: allowed(1, 1, 0, 0, 0), ..b },
        Guard::StartedWhileStarting | Guard::ReadyWhileProving => {
            Scope { allowed: allowed(0, 0, 1, 1, 1), ..b }
        }
        _ => Scope { allowed: allowed(0, 0, 0, 0, 1), ..b },
    };
    let failure = explorer(&scope).max_states(400_000).explore().err()?;
    // Without a guard a scope may have no end, which proves nothing; what breaks, breaks early.
    let broken = !matches!(failure.cause(), Cause::CutOff(_));
    broken.then(|| (describe(&scope), failure))
}

/// The search of a scope, as all of them are searched.
pub(crate) fn explorer(scope: &Scope) -> Explorer<'_, Scope> {
    Explorer::new(scope)
        .named(describe(scope))
        .max_states(30_000_000)
        .threads(2)
        .forbid_deadlock()
        .liveness(Rest::Within(64))
}

/// What a scope allows, as the printed table says it.
fn describe(scope: &Scope) -> String {
    let Allowances { repeats, reorders, faults, crashes, commands, idles, scales } = scope.allowed;
    let mut text = format!("{} (scale 0 to {}", scope.name, scope.most);
    for (count, what) in [
        (faults, "faults"),
        (crashes, "crashes"),
        (repeats, "repeated"),
        (reorders, "overtaking"),
        (commands, "more commands"),
        (idles, "idle"),
        (scales, "scalings"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text + ")"
}
