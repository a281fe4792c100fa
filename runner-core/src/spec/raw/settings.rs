//! The tables of which a change applies at once.

#![expect(
    missing_docs,
    reason = "each field means what the field of the same name of the checked type says"
)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cap, Scalar};

/// What [`ServiceSettings`](crate::spec::ServiceSettings) are checked from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    pub scaling: Scaling,
    pub overflow: Overflow,
    pub deployment: Deployment,
    pub limits: Limits,
    pub routing: Routing,
    pub sticky: Sticky,
    pub observability: Observability,
    pub tags: BTreeMap<String, String>,
}

/// [`Scaling`](crate::spec::Scaling).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Scaling {
    pub cap: Option<Cap>,
    pub minimum: Option<u64>,
    pub maximum: Option<u64>,
    pub minimum_active: Option<u64>,
    pub target_utilisation: Option<Scalar>,
    pub scale_in_delay: Option<Scalar>,
    pub standby_after: Option<Scalar>,
    pub zero_after: Option<Scalar>,
    pub schedules: Vec<Schedule>,
}

/// A [`Schedule`](crate::spec::Schedule).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Schedule {
    pub days: Vec<String>,
    pub from: Option<String>,
    pub until: Option<String>,
    pub utc_offset: Option<String>,
    pub minimum: Option<u64>,
    pub maximum: Option<u64>,
}

/// [`Overflow`](crate::spec::Overflow).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Overflow {
    pub max_waiting: Option<Scalar>,
    pub max_wait: Option<Scalar>,
    pub hold_while_starting: Option<Scalar>,
    pub status: Statuses,
    pub priority: Vec<PriorityRule>,
    pub fairness: Fairness,
}

/// [`Statuses`](crate::spec::Statuses).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Statuses {
    pub full: Option<u64>,
    pub unavailable: Option<u64>,
    pub too_slow: Option<u64>,
}

/// A [`PriorityRule`](crate::spec::PriorityRule).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PriorityRule {
    pub path: Option<String>,
    pub header: Option<String>,
    pub value: Option<String>,
    pub class: Option<u64>,
}

/// [`Fairness`](crate::spec::Fairness).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Fairness {
    pub by: Option<String>,
    pub header: Option<String>,
    pub weights: BTreeMap<String, u64>,
}

/// [`DeploymentSettings`](crate::spec::DeploymentSettings).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Deployment {
    pub strategy: Option<String>,
    pub steps: Vec<Scalar>,
    pub step_interval: Option<Scalar>,
    pub surge: Option<Scalar>,
    pub bake: Option<Scalar>,
    pub first_bake: Option<Scalar>,
    pub drain: Option<Scalar>,
    pub keep_warm: Option<Scalar>,
    pub approval: Option<bool>,
    pub automatic: Option<bool>,
    pub concurrent_edits: Option<String>,
    pub failure_limit: Option<u64>,
}

/// [`Limits`](crate::spec::Limits).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Limits {
    pub header: Option<Scalar>,
    pub body: Option<Scalar>,
    pub idle: Option<Scalar>,
    pub total: Option<Scalar>,
    pub upgraded_idle: Option<Scalar>,
    pub header_size: Option<Scalar>,
    pub header_count: Option<u64>,
    pub body_size: Option<Scalar>,
}

/// [`Routing`](crate::spec::Routing).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Routing {
    pub published: Option<bool>,
    pub address_family: Option<String>,
    pub allow: Option<Vec<String>>,
    pub routes: Vec<Route>,
    pub domains: Vec<Domain>,
}

/// A [`Route`](crate::spec::Route).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Route {
    pub host: Option<String>,
    pub path: Option<String>,
}

/// A [`Domain`](crate::spec::Domain).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Domain {
    pub name: Option<String>,
    pub www: Option<bool>,
}

/// [`Sticky`](crate::spec::Sticky).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Sticky {
    pub by: Option<String>,
    pub name: Option<String>,
    pub lifetime: Option<Scalar>,
    pub strict: Option<bool>,
}

/// [`Observability`](crate::spec::Observability).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Observability {
    pub log_retention: Option<Scalar>,
    pub access_log: Option<bool>,
    pub tracing: Option<String>,
    pub trace_sample: Option<Scalar>,
    pub encryption_key: Option<String>,
}
