//! What a revision is made from: its pinned source and the values of its secrets, in memory only.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use runner_core::{
    Error,
    deployment::Cause,
    id::RevisionNumber,
    service::{Event, Resolution},
    source::ResolvedSource,
    spec::{RevisionSpec, SecretReference, Source},
};
use runner_health::{Plan, Surroundings};

use super::{
    Actor,
    answer::{Answer, Resolved, Values},
};
use crate::{shared::Shared, within::answer_within};

impl Actor {
    pub(super) fn resolve(&mut self, revision: RevisionNumber) {
        let Some(spec) = self.machine.revision(revision).cloned() else { return };
        let pinned = self.machine.resolution(revision).cloned();
        let shared = Arc::clone(&self.shared);
        self.call(async move {
            let resolved = look_up(&shared, &spec, pinned.as_deref()).await;
            Answer::Resolved(revision, Box::new(resolved.map_err(Arc::new)))
        });
    }

    pub(super) fn keep_values(&mut self, revision: RevisionNumber, resolved: Resolved) {
        let known = self.machine.revisions().map(|(number, _)| number).collect::<Vec<_>>();
        self.values.retain(|number, _| known.contains(number));
        self.plans.retain(|number, _| known.contains(number));
        let event = match resolved {
            Ok((values, resolution)) => {
                self.values.insert(revision, Box::new(values));
                Event::Resolved(revision, Ok(resolution))
            }
            // What is in memory is good enough for what was resolved before: a store that is down
            // stops no restart.
            Err(cause) => match (self.values.get(&revision), self.machine.resolution(revision)) {
                (Some(_), Some(resolution)) => {
                    Event::Resolved(revision, Ok(Arc::clone(resolution)))
                }
                _ => Event::Resolved(revision, Err(cause)),
            },
        };
        self.tell_machine(event);
    }

    /// What instances of a revision are asked.
    pub(super) fn plan_of(&mut self, revision: RevisionNumber) -> Option<Arc<Plan>> {
        if let Some(plan) = self.plans.get(&revision) {
            return Some(Arc::clone(plan));
        }
        let shared = &self.shared;
        let surroundings = Surroundings::of_backend(Arc::clone(&shared.backend), shared.fence);
        let health = self.machine.revision(revision)?.health().clone();
        match (shared.plans)(&health, &surroundings) {
            Ok(plan) => {
                let plan = Arc::new(plan);
                self.plans.insert(revision, Arc::clone(&plan));
                Some(plan)
            }
            // Then nothing ever passes, and the start allowance ends it with this in the history.
            Err(error) => {
                let now = self.shared.clock.now();
                self.say("ProbeUnsupported", error.to_string(), now);
                None
            }
        }
    }
}

/// Asks every store, pinned where it is pinned already.
async fn look_up(
    shared: &Shared,
    spec: &RevisionSpec,
    pinned: Option<&Resolution>,
) -> Result<(Values, Arc<Resolution>), Cause> {
    let mut secrets = BTreeMap::new();
    let mut versions = BTreeMap::new();
    for (name, reference) in spec.secrets() {
        let name = name.to_string();
        let mut reference: SecretReference = reference.clone();
        if let Some(version) = pinned.and_then(|pinned| pinned.secrets.get(&name)) {
            reference.version = Some(version.as_str().to_owned());
        }
        let asked = answer_within(STORE_LIMIT, || shared.secrets.resolve(&reference)).await;
        let found = asked.map_err(|error| Cause::from_secret(&reference.name, &error))?;
        if let Some(version) = found.version {
            versions.insert(name.clone(), version);
        }
        secrets.insert(name, found.value);
    }
    let source = match pinned {
        Some(pinned) => pinned.source.clone(),
        None => source(shared, spec.source()).await?,
    };
    let mut resolution = Resolution::of(source.clone());
    resolution.secrets = versions;
    Ok((Values { source, secrets }, Arc::new(resolution)))
}

async fn source(shared: &Shared, source: &Source) -> Result<ResolvedSource, Cause> {
    let (name, built, limit) = match source {
        Source::Command(command) => (command.program().to_owned(), false, STORE_LIMIT),
        Source::Image(image) => (image.reference.to_string(), false, STORE_LIMIT),
        Source::Code(_) => ("the build".to_owned(), true, BUILD_LIMIT),
        _ => ("the source".to_owned(), false, STORE_LIMIT),
    };
    let resolved: Result<_, Error> = answer_within(limit, || shared.sources.resolve(source)).await;
    resolved.map_err(|error| Cause::from_source(&name, built, &error))
}

/// A store or registry that takes longer is asked again.
const STORE_LIMIT: Duration = Duration::from_secs(30);
/// Builds take minutes; one that takes longer hangs.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);
