//! The tables of which a change deploys.

#![expect(
    missing_docs,
    reason = "each field means what the field of the same name of the checked type says"
)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Scalar, SecretReference};

/// What a [`RevisionSpec`](crate::spec::RevisionSpec) is checked from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Revision {
    pub source: Source,
    pub pre_deploy: Option<PreDeploy>,
    pub port: Option<u64>,
    pub protocol: Option<String>,
    pub environment: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, SecretReference>,
    pub instance: Instance,
    pub health: Health,
    pub networks: Networks,
}

/// A [`Source`](crate::spec::Source): `image` with or without `command`, `command` alone, or
/// `code`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Source {
    pub image: Option<String>,
    pub command: Option<Vec<String>>,
    pub credentials: Option<SecretReference>,
    pub code: Option<Code>,
}

/// [`Code`](crate::spec::Code), its origin and revision side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Code {
    pub path: Option<String>,
    pub repository: Option<String>,
    pub branch: Option<String>,
    pub tag: Option<String>,
    pub commit: Option<String>,
    pub credentials: Option<SecretReference>,
    pub directory: Option<String>,
    pub runtime: Option<String>,
    pub dockerfile: Option<String>,
    pub file: Option<String>,
    pub build: Vec<String>,
    pub start: Option<String>,
    pub build_environment: BTreeMap<String, String>,
    pub build_secrets: BTreeMap<String, SecretReference>,
}

/// A [`PreDeploy`](crate::spec::PreDeploy).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PreDeploy {
    pub command: Vec<String>,
    pub timeout: Option<Scalar>,
}

/// An [`Instance`](crate::spec::Instance).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Instance {
    pub cpu: Option<Scalar>,
    pub memory: Option<Scalar>,
    pub disk: Option<Scalar>,
    pub architecture: Option<String>,
    pub user: Option<String>,
    pub working_directory: Option<String>,
    pub role: Option<String>,
    pub stop_grace: Option<Scalar>,
}

/// [`Health`](crate::spec::Health).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Health {
    pub start_allowance: Option<Scalar>,
    pub startup: Option<Probe>,
    pub readiness: Probe,
    pub liveness: Option<Probe>,
}

/// A [`Probe`](crate::spec::Probe), the fields of all protocols side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Probe {
    pub protocol: Option<String>,
    pub path: Option<String>,
    pub method: Option<String>,
    pub host: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub success: Option<Scalar>,
    pub contains: Option<String>,
    pub service: Option<String>,
    pub command: Option<Vec<String>>,
    pub port: Option<u64>,
    pub delay: Option<Scalar>,
    pub interval: Option<Scalar>,
    pub timeout: Option<Scalar>,
    pub healthy: Option<u64>,
    pub unhealthy: Option<u64>,
}

/// [`Networks`](crate::spec::Networks).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Networks {
    pub attach: Vec<String>,
    pub egress: Option<Vec<String>>,
}
