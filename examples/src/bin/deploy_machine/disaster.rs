//! `--break`: the shortest way to disaster without a guard.
//!
//! It searches with the very model by which the machine is proven, nearest states first.

use std::io::Write as _;

use runner_core::testing::machine::Guard;

#[path = "../../../../runner-core/tests/explore/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests explore more than the guards")]
mod explored;

/// Looks for the nearest broken promise and tells the way to it.
pub(crate) fn show(name: &str, story: &mut Vec<u8>) -> Result<(), String> {
    let guard = Guard::named(name).ok_or_else(|| {
        let names: Vec<_> = Guard::ALL.into_iter().map(Guard::name).collect();
        format!("no guard is named {name}; there are {}", names.join(", "))
    })?;
    let Some((scope, failure)) = explored::disaster_without(guard) else {
        let _ = writeln!(story, "without {name}:");
        return Err("nothing breaks: either the guard is needless, or its scope is".to_owned());
    };
    let _ = writeln!(story, "without {name}, in scope {scope}:");
    let steps = failure.path().map_or(&[][..], |path| &path.steps);
    for (number, step) in (1..).zip(steps) {
        let _ = writeln!(story, "{number:>3}. {:?}", step.action);
        for effect in &step.effects {
            let _ = writeln!(story, "       {effect}");
        }
    }
    let _ = writeln!(story, "{}", failure.cause());
    Ok(())
}
