//! Specifications as they are written: plain serde types, every field optional.
//!
//! One struct per table of a file, the same in TOML and JSON. Nothing here is right or wrong yet:
//! a duration is the text `"5s"`, a count any whole number. Checking makes
//! [`RevisionSpec`](super::RevisionSpec), [`ServiceSettings`](super::ServiceSettings) and
//! [`ServiceSpec`](super::ServiceSpec) of them; what each field means, and its default, is said
//! there. A checked specification turns back into these types with every default written out, so
//! that what is stored keeps its meaning when a later version of this crate has other defaults.
//!
//! Plain serde passes over fields it does not know, so that an older program can read what a newer
//! one stored. Text that people write is read with [`ServiceSpec::from_toml`] and
//! [`ServiceSpec::from_json`] (feature `text`), which refuse them.
//!
//! [`ServiceSpec::from_toml`]: super::ServiceSpec::from_toml
//! [`ServiceSpec::from_json`]: super::ServiceSpec::from_json

mod reference;
mod revision;
mod scalar;
mod settings;

pub use reference::{Cap, SecretReference};
pub use revision::{Code, Health, Instance, Networks, PreDeploy, Probe, Revision, Source};
pub use scalar::Scalar;
pub use settings::{
    Deployment, Domain, Fairness, Limits, Observability, Overflow, PriorityRule, Route, Routing,
    Scaling, Schedule, Settings, Statuses, Sticky,
};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EnvironmentName, Field, tree::fields};

/// A whole file: name, revision and settings side by side, as people write them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each field means what the accessor of the same name of the checked type says"
)]
pub struct Service {
    pub name: Option<String>,

    pub source: Source,
    pub pre_deploy: Option<PreDeploy>,
    pub port: Option<u64>,
    pub protocol: Option<String>,
    pub environment: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, SecretReference>,
    pub instance: Instance,
    pub health: Health,
    pub networks: Networks,

    pub scaling: Scaling,
    pub overflow: Overflow,
    pub deployment: Deployment,
    pub limits: Limits,
    pub routing: Routing,
    pub sticky: Sticky,
    pub observability: Observability,
    pub tags: BTreeMap<String, String>,
}

impl Service {
    /// Every field that was written, as [`ServiceSpec::fields`](super::ServiceSpec::fields).
    pub fn fields(&self) -> Vec<Field> {
        fields(self)
    }

    /// The file that these three make.
    pub fn join(name: Option<String>, revision: Revision, settings: Settings) -> Self {
        Self {
            name,
            source: revision.source,
            pre_deploy: revision.pre_deploy,
            port: revision.port,
            protocol: revision.protocol,
            environment: revision.environment,
            secrets: revision.secrets,
            instance: revision.instance,
            health: revision.health,
            networks: revision.networks,
            scaling: settings.scaling,
            overflow: settings.overflow,
            deployment: settings.deployment,
            limits: settings.limits,
            routing: settings.routing,
            sticky: settings.sticky,
            observability: settings.observability,
            tags: settings.tags,
        }
    }

    /// Name, revision and settings apart.
    pub fn split(self) -> (Option<String>, Revision, Settings) {
        let revision = Revision {
            source: self.source,
            pre_deploy: self.pre_deploy,
            port: self.port,
            protocol: self.protocol,
            environment: self.environment,
            secrets: self.secrets,
            instance: self.instance,
            health: self.health,
            networks: self.networks,
        };
        let settings = Settings {
            scaling: self.scaling,
            overflow: self.overflow,
            deployment: self.deployment,
            limits: self.limits,
            routing: self.routing,
            sticky: self.sticky,
            observability: self.observability,
            tags: self.tags,
        };
        (self.name, revision, settings)
    }
}

pub(super) fn plain_environment(
    checked: &BTreeMap<EnvironmentName, String>,
) -> BTreeMap<String, String> {
    let plain = |(name, value): (&EnvironmentName, &String)| (name.to_string(), value.clone());
    checked.iter().map(plain).collect()
}

pub(super) fn plain_secrets(
    checked: &BTreeMap<EnvironmentName, super::SecretReference>,
) -> BTreeMap<String, SecretReference> {
    checked.iter().map(|(name, reference)| (name.to_string(), reference.clone().into())).collect()
}
