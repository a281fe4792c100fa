//! What a change of a specification comes to.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{Field, FieldPath, ServiceSpec};

/// What it takes to get from one specification to another.
///
/// Driven by the written form of the two: a field that is part of a
/// [`RevisionSpec`](super::RevisionSpec) deploys, one of the
/// [`ServiceSettings`](super::ServiceSettings) applies at once, so that no field can be left out
/// or land on the wrong side. Values are those in effect: where a default follows from a field
/// that changes, it is listed as well (only a derived waiting bound stays `derived`). A secret is
/// known by its reference alone; the values of plain environment variables are shown.
///
/// ```
/// use runner_core::spec::{ServiceSpec, plan};
///
/// let old = ServiceSpec::command(["./hello"]).cap(10).check("hello")?.value;
/// let new = ServiceSpec::command(["./hello"]).cap(20).port(3000).check("hello")?.value;
/// let plan = plan(&old, &new);
/// assert!(plan.deploys());
/// assert_eq!(plan.to_string(), "\
/// at once, without new instances:
///   scaling.cap  10 -> 20
/// by a deployment:
///   port  8080 -> 3000
/// ");
/// # Ok::<(), runner_core::spec::Faults>(())
/// ```
pub fn plan(old: &ServiceSpec, new: &ServiceSpec) -> Plan {
    let mut changes = Vec::new();
    if old.name() != new.name() {
        changes.push(Change {
            path: FieldPath::default().field("name"),
            old: Some(old.name().to_string()),
            new: Some(new.name().to_string()),
            effect: Effect::AnotherService,
        });
    }
    let (before, after) = (old.settings().fields(), new.settings().fields());
    differences(before, after, Effect::AtOnce, &mut changes);
    let (before, after) = (old.revision().fields(), new.revision().fields());
    differences(before, after, Effect::Deploys, &mut changes);
    Plan { changes }
}

/// The changes from one specification to another, the harmless ones first.
///
/// Displays as lists under a heading each; without any as a sentence that says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[must_use = "a plan says what would be done and does nothing"]
pub struct Plan {
    changes: Vec<Change>,
}

/// One field that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// Which field.
    pub path: FieldPath,
    /// Its value before; none if it had none.
    pub old: Option<String>,
    /// Its value after; none if it has none.
    pub new: Option<String>,
    /// What the change takes.
    pub effect: Effect,
}

/// What a change takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who carries out a plan has to handle each")]
pub enum Effect {
    /// It is another service: the name tells services apart and never changes.
    AnotherService,
    /// It applies at once, without new instances.
    AtOnce,
    /// It takes a deployment.
    Deploys,
}

impl Plan {
    /// What it takes to create a service: every field, each from nothing.
    pub fn creating(new: &ServiceSpec) -> Self {
        let mut changes = Vec::new();
        differences(Vec::new(), new.settings().fields(), Effect::AtOnce, &mut changes);
        differences(Vec::new(), new.revision().fields(), Effect::Deploys, &mut changes);
        Self { changes }
    }

    /// Every change.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether any of it takes a deployment.
    pub fn deploys(&self) -> bool {
        self.changes.iter().any(|one| one.effect == Effect::Deploys)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no change\n");
        }
        for (effect, heading) in [
            (Effect::AnotherService, "another service, created beside the old one:"),
            (Effect::AtOnce, "at once, without new instances:"),
            (Effect::Deploys, "by a deployment:"),
        ] {
            let of_it = || self.changes.iter().filter(|one| one.effect == effect);
            let paths = of_it().map(|one| one.path.to_string().chars().count());
            let Some(width) = paths.max() else { continue };
            writeln!(f, "{heading}")?;
            for change in of_it() {
                let path = change.path.to_string();
                let side =
                    |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".into());
                writeln!(f, "  {path:width$}  {} -> {}", side(&change.old), side(&change.new))?;
            }
        }
        Ok(())
    }
}

/// What differs, in the order of the new side; what is gone comes last.
fn differences(old: Vec<Field>, new: Vec<Field>, effect: Effect, changes: &mut Vec<Change>) {
    let mut before: BTreeMap<FieldPath, String> =
        old.into_iter().map(|field| (field.path, field.value)).collect();
    for Field { path, value } in new {
        let old = before.remove(&path);
        if old.as_ref() != Some(&value) {
            changes.push(Change { path, old, new: Some(value), effect });
        }
    }
    changes.extend(before.into_iter().map(|(path, old)| Change {
        path,
        old: Some(old),
        new: None,
        effect,
    }));
}
